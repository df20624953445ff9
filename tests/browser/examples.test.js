// Code that developers copy: the programs of README.md and docs/webrtc.md, the packets of docs/calls.md, and the Rust master.

import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { blockOf, openWatched as open, pagesOf } from "./copied.js";
import { mossFor, openTab, ROOT, run, SECRET, startBrowser, until } from "./harness.js";

let browser;
let folder; // The pages that moss serves: these blocks and the library.

before(async () => {
  browser = await startBrowser();
  folder = await pagesOf({
    "first-client.html": await blockOf("README.md", "html", "new Client(", 10),
    "first-master.html": await blockOf("README.md", "html", "new Master(", 10),
    "client.html": await blockOf("docs/webrtc.md", "html", "new Client(", 10),
    "master.html": await blockOf("docs/webrtc.md", "html", "new Master(", 10),
    "by-hand.html": `<script>${await blockOf("docs/webrtc.md", "js", "function connect(", 35)}</script>`,
    "listener.html": `<script type="module">${LISTENER}</script>`,
  });
});

after(async () => {
  await browser?.close();
  if (folder) await rm(folder, { recursive: true });
});

/** A master for clients that open a channel of their own: it sends everything back. */
const LISTENER = `
  import { Master } from "./moss-signaling.js";
  window.master = new Master({ secret: ${JSON.stringify(SECRET)} });
  master.on("member", (member) =>
    member.on("channel", (channel) => (channel.onmessage = ({ data }) => channel.send("You said: " + data))));
`;

const openWatched = (moss, name, options) => open(browser, moss.page(name), options);

const made = (tab) => tab.evaluate(() => calls.length);

/** Presses the button, and waits for the score from the master. */
async function buzzes(tab, score) {
  await tab.click("button");
  await until(`a score of ${score}`, async () => (await tab.textContent("output")) === String(score));
}

const titleIs = (tab, title) => until(title, async () => (await tab.title()) === title);

/** Waits until both are connected to moss. */
const areBack = (moss) =>
  until("a master and a client at moss", async () => {
    const { master, clients } = await (await fetch(moss.page("health"))).json();
    return master && clients === 1;
  });

test("the README's client is answered by its master", async (t) => {
  const moss = await mossFor(t, browser, { MOSS_PAGES_DIRECTORY: folder });
  const client = await openWatched(moss, "first-client.html");
  await openWatched(moss, "first-master.html");
  await titleIs(client, "Ada said: Here I am");
});

test("docs/webrtc.md's client and master keep their line while moss restarts", async (t) => {
  const moss = await mossFor(t, browser, { MOSS_PAGES_DIRECTORY: folder });
  const client = await openWatched(moss, "client.html");
  await titleIs(client, "no-master");
  const master = await openWatched(moss, "master.html");
  await titleIs(client, "direct");
  await buzzes(client, 1);
  await moss.kill();
  await buzzes(client, 2);
  await moss.again();
  await areBack(moss);
  await buzzes(client, 3);
  assert.deepEqual([await made(client), await made(master)], [1, 1], "one line at both ends");
  assert.equal(await client.title(), "direct");

  await client.reload();
  await titleIs(client, "direct");
  await buzzes(client, 4);
  await master.reload();
  await until("another call", async () => (await made(client)) === 2);
  await buzzes(client, 1);
});

/** A tab with the client by hand: `line` is its channel, `heard` has what arrived. */
async function openByHand(moss, hear) {
  const tab = await openWatched(moss, "by-hand.html", { hear });
  await tab.evaluate((address) => {
    window.heard = [];
    connect(address, (line) => {
      window.line = line;
      line.onmessage = ({ data }) => heard.push(data);
    });
  }, moss.address);
  return tab;
}

async function talks(tab, text) {
  await until("an open channel", () => tab.evaluate(() => window.line?.readyState === "open"));
  await tab.evaluate((text) => line.send(text), text);
  await until(`an answer to ${text}`, () => tab.evaluate((answer) => heard.includes(answer), `You said: ${text}`));
}

test("docs/webrtc.md's client by hand keeps its line to a master of the library while moss restarts", async (t) => {
  const moss = await mossFor(t, browser, { MOSS_PAGES_DIRECTORY: folder });
  const client = await openByHand(moss);
  const master = await openWatched(moss, "listener.html");
  await talks(client, "first");
  assert.deepEqual(await master.evaluate(() => [...window.master.members.values()].map(({ path }) => path)), ["direct"]);
  await moss.kill();
  await talks(client, "without moss");
  await moss.again();
  await areBack(moss);
  await until("the master knows it again", () => master.evaluate(() => [...window.master.members.values()].every(({ id }) => id !== undefined)));
  await talks(client, "with moss again");
  assert.deepEqual([await made(client), await made(master)], [1, 1], "one line at both ends");

  await master.reload();
  await talks(client, "another master");
  assert.equal(await made(client), 2);
});


/** The shape of a packet, without its values. */
const shape = ({ type, payload }) => `${type}: ${Object.keys(payload ?? {}).sort().join()}`;

test("the packets of docs/calls.md are those that are sent", async (t) => {
  const moss = await mossFor(t, browser, { MOSS_PAGES_DIRECTORY: folder });
  const seen = new Set();
  const hear = (packet) => seen.add(shape(packet));
  await openWatched(moss, "master.html");
  const byHand = await openByHand(moss, hear);
  await until("an open channel", () => byHand.evaluate(() => window.line?.readyState === "open"));
  await moss.kill();
  await moss.again();
  const client = await openWatched(moss, "client.html", { hear });
  await titleIs(client, "direct");
  await buzzes(client, 1);
  const page = await readFile(join(ROOT, "docs/calls.md"), "utf8");
  const shown = [...page.matchAll(/^ *(\{"type":.*\})$/gm)].map(([, packet]) => shape(JSON.parse(packet)));
  assert.ok(shown.length > 9);
  for (const packet of shown) await until(packet, () => seen.has(packet));
});

test("the Rust master echoes, prints who sent what, and stops when it is replaced or its secret is wrong", async (t) => {
  const moss = await mossFor(t, browser);
  const start = (secret) => run(process.env.MASTER_EXAMPLE, [moss.address], { MOSS_CONNECTION_SECRET: secret });
  await start("not the secret of the tests").until(/secret is wrong/);
  const master = start(SECRET);
  t.after(() => master.stop());
  await master.until(/^master at/m);
  const tab = await openTab(browser, moss.page("favicon.svg"));
  const packet = await tab.evaluate(
    (address) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(address);
        socket.onerror = reject;
        socket.onopen = () => socket.send(JSON.stringify({ type: "login" }));
        socket.onmessage = ({ data }) => {
          const packet = JSON.parse(data);
          if (packet.type !== "master-offer") return resolve(packet);
          socket.send(JSON.stringify({ type: "replaced", payload: { code: "replaced" } }));
        };
      }),
    moss.address,
  );
  assert.deepEqual(packet, { type: "replaced", payload: { code: "replaced" } });
  await master.until(/^\d+ replaced \{"code":"replaced"\}$/m);
  const second = start(SECRET);
  t.after(() => second.stop());
  await second.until(/^master at/m);
  await master.until(/another master took over/);
});
