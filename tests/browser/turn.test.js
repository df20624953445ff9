// A phone in another network. The router between phone and box lets through different packets in each test, but always
// those to moss. Debian's coturn runs on the router, set up as docs/webrtc.md says.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BROWSERS } from "./browsers.js";
import { startCoturn } from "./coturn.js";
import { PAGES, ROOT, run, SECRET, startMoss, until } from "./harness.js";
import { makeRouter } from "./router.js";

const TURN_SECRET = "a secret that coturn knows";

let pages;

before(async () => {
  pages = await mkdtemp(join(tmpdir(), "moss-pages-"));
  await cp(join(ROOT, "tests/browser/turn"), pages, { recursive: true });
  await cp(join(PAGES, "moss-signaling.js"), join(pages, "moss-signaling.js"));
});

after(() => rm(pages, { recursive: true, force: true }));

/** The text of an element. Firefox reports a page as open before it has read it. */
const shown = (tab, id) => tab.evaluate((id) => document.getElementById(id)?.textContent.trim(), id);

/** The present colour of the other side's picture, which changes all the time; undefined if there is no picture yet. */
const colour = (tab) =>
  tab.evaluate(() => {
    const video = document.querySelector("video");
    if (!video.videoWidth) return undefined;
    const paper = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
    paper.drawImage(video, 0, 0, 1, 1);
    return paper.getImageData(0, 0, 1, 1).data.join();
  });

const path = (tab, wanted) => until(`path ${wanted}`, async () => (await shown(tab, "path")) === wanted);

async function hearsMore(tab) {
  const before = Number(await shown(tab, "heard"));
  await until("more is heard", async () => Number(await shown(tab, "heard")) > before + 5);
}

async function seesMore(tab) {
  const colours = new Set();
  await until("a picture that moves", async () => colours.add((await colour(tab)) ?? "none").size > 4);
}

/** When the present credentials of this side expire, in seconds since 1970. */
const expiry = (tab) => tab.evaluate(() => parseInt(window.side?.pc?.getConfiguration().iceServers[0]?.username));

/** A box and a phone with a page each, used for several calls. */
async function makePlace(t, atTheBox, onThePhone) {
  const router = await makeRouter(t);
  const [master, phone] = [await BROWSERS[atTheBox].start(t), await BROWSERS[onThePhone].start(t, { netns: router.phone })];
  return { router, master, phone };
}

/** The box's page becomes the master of a new moss, and the phone's page its client. `blocked` is what the router drops
 *  from the start. `spoiled` credentials have already expired. */
async function meet(t, { router, master, phone }, { blocked, turn = true, lifetime = 3600, spoiled = false }) {
  await router.block(blocked);
  const coturn = turn && (await startCoturn(t, { netns: router.netns, address: router.address, secret: TURN_SECRET }));
  const moss = await startMoss({ MOSS_PAGES_DIRECTORY: pages });
  t.after(() => moss.stop());
  const open = async (tab, host, options) => {
    const url = moss.page(`line.html#${encodeURIComponent(JSON.stringify(options))}`, host);
    await tab.goto(url);
    await until("the tab is there", async () => (await tab.evaluate(() => location.href)) === url);
  };
  const turnOptions = coturn && { urls: coturn.urls, secret: TURN_SECRET, lifetime, spoiled };
  await open(master, "127.0.0.1", { role: "master", secret: SECRET, turn: turnOptions });
  await open(phone, router.box, { role: "client" });
  return { coturn, tabs: [master, phone] };
}

const each = (tabs, what) => Promise.all(tabs.map(what));

/** Both stop sending. All messages must arrive, once and in order, and the master must have had one member only. */
async function allWasHeard([master, phone]) {
  await each([master, phone], (tab) => tab.evaluate(() => window.hush()));
  for (const [from, to] of [[master, phone], [phone, master]]) {
    const said = await shown(from, "said");
    await until(`${said} is heard`, async () => (await shown(to, "heard")) === said);
    assert.equal(await shown(to, "wrong"), "");
  }
  assert.equal(await shown(master, "members"), "1");
  assert.equal(await shown(master, "left"), "");
}

test("coturn relays only with credentials, and only to relays", async (t) => {
  const router = await makeRouter(t);
  await router.block([]);
  await startCoturn(t, { netns: router.netns, address: router.address, secret: TURN_SECRET });
  const ask = async (answer, ...options) => {
    const command = ["netns", "exec", router.phone, "turnutils_uclient", "-m", "1", "-n", "20", "-u", "test", ...options, router.address];
    const program = run("ip", command);
    t.after(() => program.stop());
    await program.until(answer);
  };
  await ask(/Total lost packets 0 /, "-W", TURN_SECRET, "-y");
  await ask(/Cannot complete Allocation/, "-W", "another secret", "-y");
  for (const outside of [router.box, "127.0.0.1"]) await ask(/403 \(Forbidden IP\)/, "-W", TURN_SECRET, "-e", outside);
});

const names = Object.keys(BROWSERS);
const pairs = [names, names.toReversed()]; // The second one takes a minute and tests the same.
for (const [atTheBox, onThePhone] of process.env.MOSS_CALLS === "long" ? pairs : pairs.slice(0, 1))
  test(`${onThePhone} in another network than ${atTheBox}`, async (t) => {
    const place = await makePlace(t, atTheBox, onThePhone);
    const { router, phone } = place;

    for (const [where, blocked] of Object.entries({
      "only the TURN server is reachable": ["direct"],
      "it is reachable only by TCP": ["direct", "turn by UDP"],
    }))
      await t.test(`where ${where} the path is relayed`, async (t) => {
        const { tabs } = await meet(t, place, { blocked });
        await each(tabs, (tab) => path(tab, "relayed"));
        await each(tabs, seesMore);
        await each(tabs, hearsMore);
        await allWasHeard(tabs);
      });

    await t.test("without a TURN server messages go through moss", async (t) => {
      const { tabs } = await meet(t, place, { blocked: ["direct"], turn: false });
      await each(tabs, (tab) => path(tab, "moss"));
      await each(tabs, hearsMore);
      await allWasHeard(tabs);
    });

    await t.test("expired credentials are refused", async (t) => {
      const { tabs, coturn } = await meet(t, place, { blocked: ["direct"], lifetime: 1, spoiled: true });
      const refusals = () => coturn.log().match(/Cannot find credentials of user <\d+:/g)?.length ?? 0;
      await until("an attempt is refused", refusals);
      await each(tabs, (tab) => path(tab, "moss"));
      const before = refusals();
      await until("another attempt is refused", () => refusals() > before);
      await each(tabs, hearsMore);
      for (const tab of tabs) assert.doesNotMatch(await shown(tab, "paths"), /relayed|direct/);
      await allWasHeard(tabs);
    });

    await t.test("relayed, then through moss, then direct: each message comes once", async (t) => {
      const { tabs } = await meet(t, place, { blocked: ["direct"] });
      for (const [blocked, wanted] of [
        [["direct"], "relayed"],
        [["direct", "turn"], "moss"],
        [[], "direct"],
      ]) {
        await router.block(blocked);
        await each(tabs, (tab) => path(tab, wanted));
        await each(tabs, hearsMore);
      }
      await each(tabs, seesMore);
      await allWasHeard(tabs);
    });

    await t.test("renewed credentials interrupt nothing, and are used after a restart of coturn", async (t) => {
      const lifetime = 10;
      const { tabs, coturn } = await meet(t, place, { blocked: ["direct"], lifetime });
      await each(tabs, (tab) => path(tab, "relayed"));
      const paths = () => Promise.all(tabs.map((tab) => shown(tab, "paths")));
      const before = await paths();
      const first = await expiry(phone);
      assert.ok(first > 0, `the first credentials expire at ${first}`);
      await each(tabs, (tab) => until("credentials made after the first ones expired", async () => (await expiry(tab)) - lifetime > first));
      assert.deepEqual(await paths(), before);
      await each(tabs, hearsMore);
      await each(tabs, seesMore);

      await coturn.again();
      await each(tabs, (tab) => until("relayed again", async () => /relayed .*relayed$/.test(await shown(tab, "paths"))));
      await each(tabs, seesMore);
      await allWasHeard(tabs);
    });
  });
