// Pages with the library, and the aiortc master on the other side. These tests use a browser; tests/calls tests the
// protocol in detail.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BROWSERS } from "./browsers.js";
import { openTab, PAGES, ROOT, run, SECRET, startBrowser, startMoss, until } from "./harness.js";

const { BOX, PHONE_NETNS, PYTHON } = process.env;

let phone;
let pages;

before(async () => {
  assert.ok(BOX && PHONE_NETNS && PYTHON, "start these tests by tests/browser/run");
  phone = await startBrowser({ netns: PHONE_NETNS });
  pages = await mkdtemp(join(tmpdir(), "moss-pages-"));
  await copyFile(join(PAGES, "moss-signaling.js"), join(pages, "moss-signaling.js"));
  await copyFile(join(ROOT, "tests/browser/viewer.html"), join(pages, "index.html"));
});

after(async () => {
  await phone?.close();
  if (pages) await rm(pages, { recursive: true });
});

/** Starts a moss, and the box with its master. */
async function startBox(t) {
  const moss = await startMoss({ MOSS_PAGES_DIRECTORY: pages });
  const start = () => run(PYTHON, [join(ROOT, "examples/python/master.py"), moss.address], { MOSS_CONNECTION_SECRET: SECRET });
  const box = { moss, start, master: start() };
  box.url = (options = {}) => `${moss.page("", BOX)}?${encodeURIComponent(JSON.stringify(options))}`;
  t.after(async () => {
    await Promise.all(phone.contexts().map((context) => context.close()));
    await box.master.stop();
    await moss.stop();
    assert.doesNotMatch(box.master.printed, /Traceback|never (awaited|retrieved)/);
  });
  await box.master.until(/^master$/m);
  return box;
}

/** A page with a client, which shows the box's picture. */
async function openViewer(box) {
  const tab = await openTab(phone, box.url());
  await isOpen(tab);
  return tab;
}

const isOpen = (tab) => until("the line is open", () => tab.evaluate(() => window.game?.path === "direct"));

/** Sends a message, and waits until it comes back. */
async function echo(tab, text) {
  assert.ok(await tab.evaluate((text) => game.send(text), text));
  await until(`"${text}" comes back`, () => tab.evaluate((text) => heard.includes(text), text));
}

/** Waits for new frames. */
async function moves(tab) {
  const frames = () => tab.evaluate(() => countFrames());
  const before = await frames();
  await until("the picture moves", async () => (await frames()) > before + 10);
}

const heardInOrder = async (tab, expected) => assert.deepEqual(await tab.evaluate(() => heard), expected);

test("a page talks to the box and sees its picture", async (t) => {
  const box = await startBox(t);
  const tab = await openViewer(box);
  await echo(tab, "hello");
  await moves(tab);
  await until("a datagram comes back", () => tab.evaluate(() => game.sendDatagram("now") && datagrams.includes("now")));
  await tab.evaluate(() => (game.hello = { name: "Bo" }));
  await box.master.until(/joined: \{'name': 'Ada'\}[^]*hello: \{'name': 'Bo'\}/);
});

test("three pages see the picture, and closing one does not affect the others", async (t) => {
  const box = await startBox(t);
  const tabs = await Promise.all([1, 2, 3].map(() => openViewer(box)));
  await Promise.all(tabs.map((tab, number) => echo(tab, `from ${number}`)));
  await Promise.all(tabs.map(moves));
  await tabs[0].context().close();
  await box.master.until(/left: goodbye|left: gone/);
  await Promise.all(tabs.slice(1).map(moves));
});

for (const [name, browser] of Object.entries(BROWSERS))
  test(`messages and picture go on in ${name} while moss is down, and when it is back`, async (t) => {
    const box = await startBox(t);
    const tab = await browser.start(t, { netns: PHONE_NETNS });
    await tab.goto(box.url());
    await isOpen(tab);
    await echo(tab, "before");
    await box.moss.kill();
    await box.master.until(/moss is unreachable/);
    await until("the page knows it, too", () => tab.evaluate(() => game.state !== "ready"));
    await echo(tab, "while it is away");
    await moves(tab);
    await box.moss.again();
    await box.master.until(/^master$[^]*^master$/m);
    await until("the page is back", () => tab.evaluate(() => game.state === "ready"));
    await echo(tab, "after it");
    await moves(tab);
    await heardInOrder(tab, ["before", "while it is away", "after it"]);
    assert.deepEqual(await tab.evaluate(() => [pcs.length, sessions.length, paths]), [1, 1, ["direct"]]);
    assert.equal(box.master.printed.match(/joined/g).length, 1);
  });

test("media that a page adds and switches off again do not change the call", async (t) => {
  const box = await startBox(t);
  const tab = await openViewer(box);
  await tab.evaluate(async () => {
    const canvas = document.createElement("canvas");
    canvas.getContext("2d");
    const [track] = canvas.captureStream(5).getTracks();
    await game.share("camera", track);
    await game.share("camera", null);
    await game.share("camera", track);
  });
  await until("both sides agree", () => tab.evaluate(() => pcs[0].signalingState === "stable" && pcs[0].getTransceivers().every(({ mid }) => mid !== null)));
  await echo(tab, "beside it");
  await moves(tab);
  assert.equal(await tab.evaluate(() => pcs.length), 1);
});

test("a reloaded page is another life of the same member", async (t) => {
  const box = await startBox(t);
  const tab = await openViewer(box);
  await echo(tab, "before");
  const key = await tab.evaluate(() => game.key);
  await tab.reload();
  await isOpen(tab);
  await echo(tab, "after");
  await moves(tab);
  assert.equal(await tab.evaluate(() => game.key), key);
  await box.master.until(/left: (goodbye|replaced)[^]*joined/);
});

test("aiortc can't restart a line, so the page calls again, and no message is lost", async (t) => {
  const box = await startBox(t);
  const tab = await openViewer(box);
  await echo(tab, "before");
  await tab.evaluate(() => pcs[0].restartIce());
  await until("a new call", () => tab.evaluate(() => pcs.length === 2));
  await echo(tab, "after");
  await moves(tab);
  await heardInOrder(tab, ["before", "after"]);
});

test("messages go through moss if no line comes up", async (t) => {
  const box = await startBox(t);
  const tab = await openTab(phone, box.url({ relayed: true, fallback: "moss" }));
  await until("the path is known", () => tab.evaluate(() => window.game?.path === "moss"));
  await echo(tab, "the long way");
  await box.master.until(/path: moss/);
});

test("a restarted master is called again", async (t) => {
  const box = await startBox(t);
  const tab = await openViewer(box);
  await echo(tab, "before");
  await box.master.stop();
  await until("it is missed", () => tab.evaluate(() => game.path === "no-master"));
  box.master = box.start();
  await until("it is found", () => tab.evaluate(() => game.path === "direct"));
  await echo(tab, "after");
  await moves(tab);
  assert.equal(await tab.evaluate(() => new Set(sessions).size), 2);
});

test("a master that was killed is called again once it is back", async (t) => {
  const box = await startBox(t);
  const tab = await openViewer(box);
  await box.master.kill();
  box.master = box.start();
  await until("it is found", () => tab.evaluate(() => sessions.length === 2 && game.path === "direct"));
  await echo(tab, "after");
});
