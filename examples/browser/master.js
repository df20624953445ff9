import { offerCamera } from "./camera.js";
import { enter } from "./entrance.js";
import { invite } from "./invite.js";
import { Master } from "./moss-signaling.js";
import { $, inMilliseconds, isOpen, PATHS, showLine, showNotice, showVideo } from "./page.js";

// Enough in one network. Across networks: STUN or TURN servers, or a function that makes TURN's passwords (`turnServers`).
const ICE_SERVERS = [];

let host;
let camera = null;
const rows = new Map(); // key → { member, row, option }

// Whoever knows a key can take the client's place, so people see no more of it than tells one from another.
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
  member.on("left", () => removeRow(key)); // Before the next page of the same key comes.
  render();
}

function addRow(member) {
  const { key } = member;
  const row = $("row").content.firstElementChild.cloneNode(true);
  row.style.setProperty("--hue", hueOf(key));
  row.querySelector("b").textContent = nameOf(key);
  const [reply, kick] = row.querySelectorAll("button");
  reply.ariaLabel = `Answer ${nameOf(key)}`;
  kick.ariaLabel = `Send away ${nameOf(key)}`;
  reply.onclick = () => {
    $("to").value = key;
    $("text").focus();
  };
  kick.onclick = () => member.kick("the master closed the line");
  const option = new Option(nameOf(key), key);
  $("clients").append(row);
  $("to").append(option);
  rows.set(key, { member, row, option });
  return row;
}

function removeRow(key) {
  const { row, option } = rows.get(key);
  if (row.contains(document.activeElement)) $("text").focus(); // Else the keyboard would be at the top of the page again.
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
  if (!addressed.length) return showNotice("Nobody is here to read it.");
  for (const member of addressed) member.send(text);
  showLine(`you → ${to ? nameOf(to) : "everyone"}`, text, to ? hueOf(to) : undefined);
  $("text").value = "";
};

setInterval(render, 1000);
invite("client.html");
enter(open, "Become master");
