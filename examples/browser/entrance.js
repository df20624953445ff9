/**
 * The form in the section `way` asks for what a page can't know: the address of moss, if another server served the
 * page; the master's secret; the code, if moss asks clients for one. Then it makes the Client or Master, and shows
 * its state in the pill, the notice and the form's button.
 */

import { Signaling } from "./moss-signaling.js";
import { $, askHealth, isOpen, PATHS, showNotice, showStatus } from "./page.js";

const FORM = `<form id="connect">
  <label id="where">Address of moss <input id="address" required autocapitalize="off" spellcheck="false" inputmode="url"></label>
  <label id="lock">Code <input id="code" autocomplete="off" autocapitalize="off" spellcheck="false"></label>
  <label id="claim">Secret <input id="secret" type="password" autocomplete="off"></label>
  <button id="button"></button>
</form>`;

/** Where moss is if it served this page: at the folder of this module, which may be below a proxy's path. */
const HERE = new URL(".", import.meta.url).href;

/** The storage key of the form's fields: with them a reload connects again. */
const KEPT = `entrance to ${location.pathname}`;
const FIELDS = ["address", "code", "secret"];

let peer; // The Client or the Master.
let served;
let state = "stopped";
let codeIsWanted = false; // Whether moss asks clients for a code.
let wasOpen = false; // Whether there was a connection to this master, which can be lost.

/** For a client's page, `open` gets `{ address, loginSecret }` and returns a Client. For a master's, `claim` is the
 *  text of its button, and `open` gets `{ address, secret }` and returns a Master. */
export async function enter(open, claim) {
  $("way").innerHTML = FORM;
  $("secret").required = claim !== undefined;
  // If nothing answers now, moss most likely served the page and is down: the library tries again.
  served = (await askHealth()).served ?? true;
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  for (const field of FIELDS) $(field).value = kept?.[field] ?? "";
  // If moss did not serve this page, it is probably on the same machine as the server that did.
  if (served || !kept) $("address").value = served ? HERE : location.hostname;
  $("connect").onsubmit = (event) => {
    event.preventDefault();
    if (state === "stopped") return connect(open, claim);
    sessionStorage.removeItem(KEPT);
    peer.stop();
    showNotice();
  };
  render(claim);
  if (kept || (served && !claim)) connect(open, claim);
}

function connect(open, claim) {
  const { address, code, secret } = Object.fromEntries(FIELDS.map((field) => [field, $(field).value]));
  try {
    Signaling.address(address);
  } catch {
    return showNotice(`"${address}" is not an address. Try one like 192.168.1.5 or ws://box:8080`);
  }
  sessionStorage.setItem(KEPT, JSON.stringify({ address, code, secret }));
  state = "connecting";
  wasOpen = false;
  peer = open({ address, ...(claim ? { secret } : { loginSecret: code || undefined }) });
  peer.on("path", () => render(claim));
  peer.on("problem", ({ message }) => showNotice(message));
  peer.on("status", ({ state: now, message, code }) => {
    state = now;
    if (state === "stopped" && claim) sessionStorage.removeItem(KEPT); // After a reload this page must not replace the master that replaced it.
    if (state !== "connecting") showNotice(state === "ready" ? "" : message);
    codeIsWanted ||= code === "wrong-secret" && !claim;
    render(claim);
    if (code === "wrong-secret") $(claim ? "secret" : "code").select();
  });
  render(claim);
}

function render(claim) {
  const path = peer?.path ?? "no-master";
  const stopped = state === "stopped";
  wasOpen = isOpen(path) || (wasOpen && path === "lost");
  if (state === "ready") codeIsWanted = false; // The code was right, or none was needed.
  if (stopped) showStatus("off", "Not connected");
  else if (isOpen(path)) showStatus("open", PATHS[path]);
  else if (state !== "ready") showStatus("wait", wasOpen ? PATHS.lost : "Connecting");
  else if (claim) showStatus("open", "Master");
  else showStatus("wait", path === "lost" && !wasOpen ? "Calling" : PATHS[path]);
  $("way").hidden = served && !claim && !stopped && !codeIsWanted;
  $("where").hidden = served;
  $("lock").hidden = !($("code").required = codeIsWanted);
  $("claim").hidden = !claim;
  for (const field of FIELDS) $(field).disabled = !stopped;
  $("button").textContent = stopped ? (claim ?? "Connect") : claim ? "Stop" : "Disconnect";
  $("button").className = stopped ? "" : "plain";
}
