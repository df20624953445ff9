// The page of each side of a line. Both send 1, 2, 3 … and share a picture; the page shows the state.

import { Client, Master, turnServers } from "./moss-signaling.js";

const { role, secret, turn } = JSON.parse(decodeURIComponent(location.hash.slice(1)));

const show = (id, text) => (document.getElementById(id).textContent = text);
const add = (id, text) => (document.getElementById(id).textContent += `${text} `);

/** Spoiled credentials have already expired. */
async function iceServers({ key }) {
  if (!turn) return [];
  const servers = await turnServers({ ...turn, key });
  if (turn.spoiled) await new Promise((resolve) => setTimeout(resolve, 1000 * (turn.lifetime + 2))); // coturn counts whole seconds.
  return servers;
}

let number = 0;
function talk(side) {
  const timer = setInterval(() => side.send(++number) && show("said", number), 100);
  window.hush = () => clearInterval(timer);
}

let last = 0;
function listen(side) {
  side.on("path", (path) => {
    show("path", path);
    add("paths", path);
  });
  side.on("message", (heard) => {
    if (heard !== last + 1) add("wrong", `${heard} after ${last}`);
    show("heard", (last = heard));
  });
  side.on("media", ({ track }) => (document.getElementById("video").srcObject = track && new MediaStream([track])));
}

/** A changing colour, because a page from http:// has no camera. */
function picture() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
  const paper = canvas.getContext("2d");
  let hue = 0;
  setInterval(() => {
    paper.fillStyle = `hsl(${(hue += 20) % 360} 80% 50%)`;
    paper.fillRect(0, 0, 160, 120);
  }, 100);
  return canvas.captureStream(10).getVideoTracks()[0];
}

function beMaster() {
  const master = new Master({ secret, iceServers });
  let members = 0;
  master.on("member", (member) => {
    show("members", ++members);
    member.on("left", (why) => add("left", why));
    listen(member);
    talk(member);
    member.share("picture", picture());
    window.side = member;
  });
}

function beClient() {
  const client = new Client({ fallback: "moss", receive: { picture: "video" } });
  listen(client);
  talk(client);
  client.share("picture", picture());
  window.side = client;
}

role === "master" ? beMaster() : beClient();
