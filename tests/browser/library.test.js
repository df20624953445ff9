// The programs in clients/javascript/README.md, unchanged.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, test } from "node:test";
import { blockOf, blocksOf, openWatched, pagesOf } from "./copied.js";
import { mossFor, startBrowser, until } from "./harness.js";

const FILE = "clients/javascript/README.md";
const PROGRAMS = {
  "host.html": ["document.querySelector(\"output\")", "<button>Next</button><output></output>"],
  "player.html": ["new Client({ hello", "<button></button>"],
  "camera.html": ["getUserMedia", ""],
  "viewer.html": ["srcObject", "<video autoplay muted></video>"],
  "turn.html": ["turnServers", ""],
  "signaling.html": ["new Signaling(", ""],
};

let browser;
let folder;

before(async () => {
  browser = await startBrowser({ args: ["--use-fake-device-for-media-stream"] });
  const pages = {};
  for (const [name, [words, body]] of Object.entries(PROGRAMS))
    pages[name] = `${body}<script type="module">${await blockOf(FILE, "js", words)}</script>`;
  assert.equal((await blocksOf(FILE, "js")).length, Object.keys(pages).length, "each program must be tested");
  folder = await pagesOf(pages);
});

after(async () => {
  await browser?.close();
  if (folder) await rm(folder, { recursive: true });
});

const start = (t) => mossFor(t, browser, { MOSS_PAGES_DIRECTORY: folder });
const open = (moss, name, options) => openWatched(browser, moss.page(name), options);
const shows = (tab, selector, text) => until(`"${text}"`, async () => (await tab.textContent(selector)) === text);

/** Returns a function that waits for a line in the page's console. */
function console(tab) {
  const said = [];
  tab.on("console", (message) => said.push(message.text()));
  return (pattern) => until(`${pattern} in the console`, () => said.find((text) => pattern.test(text)));
}

test("the buzzer: the first of two players is shown to all, in each round", async (t) => {
  const moss = await start(t);
  const host = await open(moss, "host.html");
  const players = await Promise.all(["Ada", "Bo"].map((name) => open(moss, "player.html", { answers: { "Your name": name } })));
  for (const name of ["Ada", "Bo"]) {
    for (const player of players) await shows(player, "button", "Buzz");
    await players[name === "Ada" ? 0 : 1].click("button");
    for (const player of players) await shows(player, "button", `${name} was first`);
    await shows(host, "output", name);
    await host.click("button");
  }
});

test("the camera: its picture is shown, the pointer's position arrives, and a data channel opens", async (t) => {
  const moss = await start(t);
  const viewer = await open(moss, "viewer.html");
  const camera = await open(moss, "camera.html", { permissions: ["camera"] });
  const says = console(camera);
  await until("a moving picture", () => viewer.evaluate(() => document.querySelector("video").currentTime > 0.5));
  await until("a channel", () => camera.evaluate(() => channels.includes("picture of the map")));
  await viewer.mouse.move(20, 30);
  await says(/^the master points at \{"x":20,"y":30\}$/);
});

test("TURN: both sides get the credentials that the master makes", async (t) => {
  const moss = await start(t);
  const master = await open(moss, "turn.html");
  const client = await open(moss, "player.html");
  const key = await until("a key", () => client.evaluate(() => sessionStorage.getItem("moss-key")));
  for (const tab of [master, client]) {
    await until("a call", () => tab.evaluate(() => calls.length));
    const [{ urls, username, credential }] = await tab.evaluate(() => calls[0].getConfiguration().iceServers);
    assert.deepEqual([urls].flat(), ["turn:192.168.1.5:3478"]);
    assert.match(username, new RegExp(`^\\d{10}:${key}$`));
    assert.match(credential, /^.{28}$/);
  }
});

test("signaling alone: it logs in and gets packets from the master", async (t) => {
  const moss = await start(t);
  await open(moss, "host.html");
  const client = await open(moss, "empty.html");
  const says = console(client);
  await client.goto(moss.page("signaling.html"));
  await says(/^ready Logged in\.$/);
  await says(/^master-offer /);
});
