import { offerCamera } from "./camera.js";
import { enter } from "./entrance.js";
import { invite } from "./invite.js";
import { Master } from "./moss-signaling.js";
import { $, inMilliseconds, isOpen, PATHS, showLine, showNotice, showVideo } from "./page.js";

// None are needed within one network. Across networks: STUN or TURN servers, or a function that makes TURN passwords (`turnServers`).
const ICE_SERVERS = [];

let host;
let camera = null;
const rows = new Map(); // key → { member, row, option }

// Anyone who knows a key can take the client's place, so the page shows only the start of it.
const nameOf = (key) => key.slice(0, 8);
const hueOf = (key) => [...key].reduce((sum, letter) => (sum * 31 + letter.codePointAt()) % 360, 7);

function open(options) {
  host = new Master({ ...options, iceServers: ICE_SERVERS });
  host.on("member", welcome);
  host.on("status", ({ state }) => {
    $("phones").hidden = state !== "ready";
    if (state === "stopped") stopCamera();
  });
  if (camera) host.share("picture", camera);
  return host;
}

function welcome(member) {
  const { key } = member;
  const row = addRow(member);
  member.on("message", (data) => showLine(nameOf(key), data, hueOf(key)));
  member.on("media", ({ name, track }) => name === "picture" && showVideo(row.querySelector("video"), track));
  member.on("path", render);
  member.on("left", () => removeRow(key)); // Comes before the `member` of a reloaded page with the same key.
  render();
}

function addRow(member) {
  const { key } = member;
  const row = $("row").content.firstElementChild.cloneNode(true);
  row.style.setProperty("--hue", hueOf(key));
  row.querySelector("b").textContent = nameOf(key);
  const [reply, kick] = row.querySelectorAll("button");
  reply.ariaLabel = `Reply to ${nameOf(key)}`;
  kick.ariaLabel = `Disconnect ${nameOf(key)}`;
  reply.onclick = () => {
    $("to").value = key;
    $("text").focus();
  };
  kick.onclick = () => member.kick("the master closed the connection");
  const option = new Option(nameOf(key), key);
  $("clients").append(row);
  $("to").append(option);
  rows.set(key, { member, row, option });
  return row;
}

function removeRow(key) {
  const { row, option } = rows.get(key);
  if (row.contains(document.activeElement)) $("text").focus(); // Otherwise the focus would go to the top of the page.
  row.remove();
  option.remove();
  rows.delete(key);
  render();
}

function render() {
  $("count").textContent = rows.size || "";
  for (const { member, row } of rows.values()) {
    row.dataset.state = isOpen(member.path) ? "open" : "wait";
    row.querySelector("code").textContent = member.id ?? "";
    row.querySelector("span").textContent = `${PATHS[member.path]} ${inMilliseconds(member.roundTripTime)}`;
  }
}

const stopCamera = offerCamera((track) => {
  camera = track;
  host?.share("picture", track);
});

$("compose").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value;
  const to = $("to").value;
  const addressed = to ? [rows.get(to).member] : [...rows.values()].map(({ member }) => member);
  if (!text) return;
  if (!addressed.length) return showNotice("No client is connected: the message was not sent.");
  for (const member of addressed) member.send(text);
  showLine(`you → ${to ? nameOf(to) : "everyone"}`, text, to ? hueOf(to) : undefined);
  $("text").value = "";
};

setInterval(render, 1000);
invite("client.html");
enter(open, "Become master");
