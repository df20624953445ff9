// A box and a phone in two network namespaces, joined by a cable. The tests run in the box's namespace; BOX is its
// address, PHONE_NETNS the name of the phone's namespace. `tests/browser/run` makes both and removes them. The port is
// the README's: no other program uses it in this namespace.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import jsQR from "jsqr";
import { PNG } from "pngjs";
import { openTab, ROOT, run, SECRET, startBrowser, startMoss, until } from "./harness.js";
import { clientsAreOpen, heard, isMaster, isShown, lineIsOpen, openClient, openMaster, say } from "./people.js";
import { picture } from "./screenshots.js";

const { BOX, PHONE_NETNS, PYTHON } = process.env;
const onPhone = `http://${BOX}:8080/client.html`;

let moss;
let phone;

before(async () => {
  assert.ok(BOX && PHONE_NETNS && PYTHON, "start these tests by tests/browser/run");
  [moss, phone] = await Promise.all([startMoss({ MOSS_PORT: "8080" }), startBrowser({ netns: PHONE_NETNS })]);
});

after(async () => {
  await phone?.close();
  await moss?.stop();
});

/** The text of a QR code on a screen. */
function scan(png) {
  const { data, width, height } = PNG.sync.read(png);
  return jsQR(new Uint8ClampedArray(data), width, height)?.data;
}

test("a phone opens the address in the master's QR code, and both exchange messages", async (t) => {
  const box = await startBrowser();
  t.after(() => box.close());
  const master = await openMaster(box, `http://${BOX}:8080/master.html?from=a-bookmark`);
  await isMaster(master);
  assert.equal(await master.textContent("#invitation a"), onPhone);
  await master.emulateMedia({ colorScheme: "dark" });
  const read = await until("the code can be read", async () => scan(await master.screenshot()));
  assert.equal(read, onPhone);

  const client = await openClient(phone, read);
  t.after(() => client.context().close());
  await lineIsOpen(client);
  await say(client, "hello from the phone");
  const id = await heard(master, "hello from the phone");
  await say(master, "hello from the box", id);
  assert.equal(await heard(client, "hello from the box"), "master");
});

test("a master at localhost and a phone exchange messages, too", async (t) => {
  const box = await startBrowser();
  t.after(() => box.close());
  const master = await openMaster(box, "http://localhost:8080/master.html");
  await isMaster(master);
  const client = await openClient(phone, onPhone);
  t.after(() => client.context().close());
  await lineIsOpen(client);
  await clientsAreOpen(master, 1);
});

test("the aiortc master answers two browsers and shows both a picture", async (t) => {
  const master = run(PYTHON, [join(ROOT, "examples/python/master.py"), moss.address], { MOSS_CONNECTION_SECRET: SECRET });
  t.after(() => master.stop());
  await master.until(/^master$/m);
  const clients = await Promise.all(
    [0, 1].map(() => openClient(phone, onPhone, undefined, { viewport: { width: 390, height: 844 } })),
  );
  await Promise.all(
    clients.map(async (client, number) => {
      await lineIsOpen(client);
      await say(client, `echo ${number}`);
      await until("the echo", async () => (await client.locator("#log p").allTextContents()).includes(`masterecho ${number}`));
      const frames = () => client.locator("#video").evaluate((video) => video.getVideoPlaybackQuality().totalVideoFrames);
      const first = await until("a first frame", frames);
      await until("more frames", async () => (await frames()) > first + 10);
    }),
  );
  await picture(clients[0], "viewer-phone");
  const viewer = await openTab(phone, `http://${BOX}:8080/camera/`);
  await lineIsOpen(viewer);
  await isShown(viewer.locator("#video"));
  await viewer.context().close();
  assert.doesNotMatch(master.printed, /invalid packet|Traceback/);
  await Promise.all(clients.map((client) => client.context().close()));
});

test("the aiortc master stops when another one replaces it, and when its secret is wrong", async (t) => {
  const start = (secret) => run(PYTHON, [join(ROOT, "examples/python/master.py"), moss.address], { MOSS_CONNECTION_SECRET: secret });
  const first = start(SECRET);
  t.after(() => first.stop());
  await first.until(/^master$/m);
  const second = start(SECRET);
  t.after(() => second.stop());
  await second.until(/^master$/m);
  await first.until(/another master took over/);
  await start("not the secret of the tests").until(/secret is wrong/);
});
