// What a developer copies: the client and the master of the README, and the Rust master.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { openTab, ROOT, run, SECRET, servePages, startBrowser, startMoss, until } from "./harness.js";
import { heard, isMaster, openIds, openMaster, say } from "./people.js";

let browser;
let pages;
let moss;

before(async () => {
  [browser, pages, moss] = await Promise.all([startBrowser(), servePages(), startMoss()]);
});

after(async () => {
  await browser?.close();
  await pages?.stop();
  await moss?.stop();
});

/** The JavaScript of the README that begins so, if it is as short as promised. */
async function copied(beginning, lines) {
  const readme = await readFile(`${ROOT}/README.md`, "utf8");
  const code = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code).find((code) => code.startsWith(beginning));
  assert.ok(code, `the README has a block that begins with "${beginning}"`);
  assert.ok(code.trimEnd().split("\n").length <= lines, `${beginning}: at most ${lines} lines`);
  return code;
}

/** A tab that runs the code and keeps all that its lines carry. */
async function runs(code, start, ...args) {
  const tab = await openTab(browser, pages.origin);
  await tab.addScriptTag({ content: code });
  await tab.evaluate(
    ([start, args]) => {
      window.heard = [];
      window.lines = new Map();
      const keep = (id, line) => {
        line.onopen = () => lines.set(id, line);
        line.onmessage = ({ data }) => heard.push([id, data]);
      };
      globalThis[start](...args, (...line) => keep(line.length > 1 ? line[0] : "master", line.at(-1)));
    },
    [start, args],
  );
  return tab;
}

const openLines = (tab, count) =>
  until(`${count} open lines`, () => tab.evaluate((count) => {
    const open = [...lines].filter(([, line]) => line.readyState === "open").map(([id]) => id);
    return open.length === count && open;
  }, count));
const sends = (tab, id, text) => tab.evaluate(([id, text]) => lines.get(id).send(text), [id, text]);
const hears = (tab, text) =>
  until(`"${text}" is heard`, () => tab.evaluate((text) => heard.find(([, said]) => said === text)?.[0], text));

test("the README's client and master find each other, and again after either is gone", async () => {
  const clientCode = await copied("function connect(", 25);
  const masterCode = await copied("function serve(", 35);
  const clients = await Promise.all([0, 1].map(() => runs(clientCode, "connect", moss.address)));
  let master = await runs(masterCode, "serve", moss.address, SECRET);
  const talk = async (round) => {
    await openLines(master, clients.length);
    for (const [number, client] of clients.entries()) {
      await openLines(client, 1);
      await sends(client, "master", `${round}: this is ${number}`);
      const id = await hears(master, `${round}: this is ${number}`);
      await sends(master, id, `${round}: you are ${number}`);
      assert.equal(await hears(client, `${round}: you are ${number}`), "master");
      const others = await clients[1 - number].evaluate(() => heard.map(([, text]) => text));
      assert.ok(!others.includes(`${round}: you are ${number}`), "no answer meant for another client");
    }
  };
  await talk("first");
  await master.close();
  master = await runs(masterCode, "serve", moss.address, SECRET);
  await talk("another master");
  await moss.stop();
  await moss.again();
  await talk("another moss");
  for (const tab of [master, ...clients]) await tab.context().close();
});

test("the README's client talks to the master page", async () => {
  const master = await openMaster(browser, `${pages.origin}/master.html`, moss.address);
  await isMaster(master);
  const client = await runs(await copied("function connect(", 25), "connect", moss.address);
  await openLines(client, 1);
  await sends(client, "master", "by hand");
  const id = await heard(master, "by hand");
  assert.deepEqual(await openIds(master), [id]);
  await say(master, "by page", id);
  await hears(client, "by page");
  await master.context().close();
  await client.context().close();
});

test("the Rust master echoes, says who wrote what, and stops when it should", async (t) => {
  const start = (secret) => run(process.env.MASTER_EXAMPLE, [moss.address], { MOSS_CONNECTION_SECRET: secret });
  await start("not the secret of the tests").until(/secret is wrong/);
  const master = start(SECRET);
  t.after(() => master.stop());
  await master.until(/^master at/m);
  const tab = await openTab(browser, pages.origin);
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
  await tab.context().close();
});
