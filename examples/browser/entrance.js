/**
 * The form in the section `way` asks for what a page can't know by itself: the address of moss where something else
 * served the page, the master's secret, and the code where moss wants one from clients. Pill, notice and the form's
 * button show how the Client or Master does that was made of it.
 */

import { Signaling } from "./moss-signaling.js";
import { $, askHealth, isOpen, PATHS, showNotice, showStatus } from "./page.js";

const FORM = `<form id="connect">
  <label id="where">Address of moss <input id="address" required autocapitalize="off" spellcheck="false" inputmode="url"></label>
  <label id="lock">Code <input id="code" autocomplete="off" autocapitalize="off" spellcheck="false"></label>
  <label id="claim">Secret <input id="secret" type="password" autocomplete="off"></label>
  <button id="button"></button>
</form>`;

/** Where moss is if it served this page: in the folder that this module is in, below the path of a proxy too. */
const HERE = new URL(".", import.meta.url).href;

/** What a reload of this tab needs to come back. */
const KEPT = `entrance to ${location.pathname}`;
const FIELDS = ["address", "code", "secret"];

let peer; // The Client or the Master.
let served;
let state = "stopped";
let codeIsWanted = false; // Most are not asked for one.
let wasOpen = false; // Since the master came: what opens for the first time was not lost before.

/** `open` gets `{ address, loginSecret }` and returns a Client, or gets `{ address, secret }` and returns a Master
 *  if there is something to `claim`: the words on the button. */
export async function enter(open, claim) {
  $("way").innerHTML = FORM;
  $("secret").required = claim !== undefined;
  // Where nothing answers just now, it is best to knock again and again at the address that the page came from.
  served = (await askHealth()).served ?? true;
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  for (const field of FIELDS) $(field).value = kept?.[field] ?? "";
  // Where moss probably is if it did not serve this page: on the machine that did.
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
    return showNotice(`"${address}" is no address. Try one like 192.168.1.5 or ws://box:8080`);
  }
  sessionStorage.setItem(KEPT, JSON.stringify({ address, code, secret }));
  state = "connecting";
  wasOpen = false;
  peer = open({ address, ...(claim ? { secret } : { loginSecret: code || undefined }) });
  peer.on("path", () => render(claim));
  peer.on("problem", ({ message }) => showNotice(message));
  peer.on("status", ({ state: now, message, code }) => {
    state = now;
    if (state === "stopped" && claim) sessionStorage.removeItem(KEPT); // A reload must not fight for the place that another master took.
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
  if (state === "ready") codeIsWanted = false; // It was right, if there was one.
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
