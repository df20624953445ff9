// Pages that call each other, and checks of what they record.

import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FOR_MANY_TABS } from "../browsers.js";
import { PAGES, SECRET, startMoss, until } from "../harness.js";
import { BOX } from "./network.js";

/** Whether all tests run in all pairs of browsers: else only those that depend on the browser do. */
export const LONG = process.env.MOSS_CALLS === "long";

/** A moss in the box's namespace, which serves the pages of these tests and the library. */
export async function startServer(t, { box }, settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), "moss-calls-"));
  await cp(new URL("pages", import.meta.url), folder, { recursive: true });
  await cp(join(PAGES, "moss-signaling.js"), join(folder, "moss-signaling.js"));
  const moss = await startMoss({ MOSS_PAGES_DIRECTORY: folder, ...settings }, { netns: box });
  t.after(async () => {
    await moss.stop();
    await rm(folder, { recursive: true });
  });
  moss.socket = `ws://${BOX}:${moss.port}/`;
  moss.call = ({ page = "call", ...options }) => `${moss.page(`${page}.html`, BOX)}?${encodeURIComponent(JSON.stringify(options))}`;
  return moss;
}

/** A tab with one side of calls. */
class Player {
  constructor(tab, url, about) {
    Object.assign(this, { tab, url, ...about });
  }

  async look() {
    return JSON.parse(await this.tab.evaluate(() => look()));
  }

  mark() {
    return this.tab.evaluate(() => mark());
  }

  share(what, on) {
    return this.tab.evaluate((what, on) => share(what, on), what, on);
  }

  reload() {
    return this.tab.reload();
  }

  /** Opens another address. */
  leave() {
    return this.tab.goto("about:blank");
  }

  return() {
    return this.tab.goto(this.url);
  }
}

/** Chromium's `evaluate` takes one argument. */
const spread = (tab) => ({
  evaluate: (code, ...args) => tab.evaluate(typeof code === "string" ? code : `(${code})(...${JSON.stringify(args)})`),
  goto: (url) => tab.goto(url),
  reload: () => tab.reload(),
  close: () => tab.close(),
  tab,
});

/** Starts these browsers in a namespace. Returns a function that opens a page in one of them. */
export async function startBrowsers(t, netns, names = Object.keys(FOR_MANY_TABS), options = {}) {
  const browsers = Object.fromEntries(
    await Promise.all(names.map(async (browser) => [browser, await FOR_MANY_TABS[browser](t, { netns, ...options })])),
  );
  return async (browser, moss, options) => {
    const url = moss.call(options);
    const tab = await browsers[browser].open(url);
    return new Player(browser === "Chromium" ? spread(tab) : tab, url, { browser, name: options.name });
  };
}

export const masterOptions = { role: "master", secret: SECRET };

/** A client and the master that it calls. */
export class Pair {
  constructor(client, master) {
    Object.assign(this, { client, master, label: `${client.browser} → ${master.browser}` });
  }

  /** What the client has recorded of its master, and the master of this client: the present or the last connection. */
  async look() {
    const [client, master] = await Promise.all([this.client.look(), this.master.look()]);
    return {
      client: client.watches[0],
      master: master.watches.findLast(({ name }) => name === this.client.name),
      pages: { client, master },
    };
  }

  mark() {
    return Promise.all([this.client.mark(), this.master.mark()]);
  }

  /** Waits until both have this path, and messages, picture and sound arrive on both sides. */
  async flows({ path = "direct", kinds = ["messages", "video", "audio"], some = 5 } = {}) {
    const before = await this.look();
    let now;
    const many = (side, kind) => {
      const old = before[side]?.number === now[side].number ? before[side][kind].count : 0;
      return now[side][kind].count >= old + some;
    };
    try {
      await until(`${this.label}: all flows`, async () => {
        now = await this.look();
        return ["client", "master"].every((side) => now[side] && !now[side].left && now[side].path === path && kinds.every((kind) => many(side, kind)));
      });
    } catch (error) {
      throw new Error(`${error.message}\n${describe(now)}`);
    }
    return now;
  }

  /** Checks that no message arrived twice, out of order or not at all, and no script failed. */
  async isInOrder() {
    const { pages } = await this.look();
    for (const [side, { watches, errors }] of Object.entries(pages)) {
      assert.deepEqual(errors, [], `${this.label}: scripts of the ${side}`);
      for (const { wrong } of watches) assert.deepEqual(wrong, [], `${this.label}: what the ${side} got`);
    }
  }
}

/** A summary of what both have recorded. */
const describe = (seen) =>
  ["client", "master"]
    .map((side) => {
      const { paths, problems, ...rest } = seen?.[side] ?? {};
      const { status, errors } = seen?.pages[side] ?? {};
      return `${side}: ${JSON.stringify({ ...rest, paths: paths?.slice(-8), problems: problems?.slice(-5), status: status?.slice(-3), errors })}`;
    })
    .join("\n");

/** Runs `during`, a disturbance, during calls, and prints for how long each kind of thing was interrupted. If other
 *  pairs talk afterwards, `then` names them. */
export async function interrupted(t, what, pairs, during, { kinds = ["messages", "video", "audio"], path, then = pairs } = {}) {
  await Promise.all(pairs.map((pair) => pair.mark()));
  await during();
  const all = await Promise.all(then.map((pair) => pair.flows({ path, kinds })));
  for (const [number, pair] of then.entries()) {
    const seconds = (side, kind) => (all[number][side][kind].gap / 1000).toFixed(1);
    const gaps = kinds.map((kind) => `${kind} ${seconds("client", kind)} / ${seconds("master", kind)}`);
    const line = `${what} | ${pair.label} | ${gaps.join(" | ")}`;
    t.diagnostic(line);
    if (process.env.MOSS_CALLS_TABLE) appendFileSync(process.env.MOSS_CALLS_TABLE, `${line}\n`);
  }
  return all;
}

/** What the master recorded of this client's lives. */
export const lives = async ({ client, master }) => (await master.look()).watches.filter(({ name }) => name === client.name);

/** The client opens another page, and the master hears it from the client. A busy browser may close a page before its
 *  `bye` is sent: then the member is gone after 30 s. That must not happen each time. */
export async function saysGoodbye(pair, tries = 3) {
  await pair.client.leave();
  await until(`${pair.label}: left`, async () => (await lives(pair)).every(({ left }) => left));
  const { left } = (await lives(pair)).at(-1);
  if (left === "goodbye") return;
  assert.ok(left === "gone" && tries > 1, `${pair.label}: left by ${left}`);
  await pair.client.return();
  await pair.flows();
  await saysGoodbye(pair, tries - 1);
}

/** Two masters, one in each browser, and for each a client in the other browser; all four pairs if LONG. Each master has
 *  a moss of its own, and each client's browser a namespace. `found`: clients in other networks find the masters, too. */
export async function everyPair(t, network, { settings, found, options = { media: true } } = {}) {
  const phones = await Promise.all([network.phone(), network.phone()]);
  const names = Object.keys(FOR_MANY_TABS);
  const [atBox, mosses, ...onPhones] = await Promise.all([
    startBrowsers(t, network.box, names, { found }),
    Promise.all(names.map(() => startServer(t, network, settings))),
    ...names.map((name, number) => startBrowsers(t, phones[number].netns, [name])),
  ]);
  const masters = await Promise.all(names.map((name, number) => atBox(name, mosses[number], { ...masterOptions, ...options, name: `master in ${name}` })));
  const pairs = [];
  for (const [m, master] of masters.entries())
    for (const [c, open] of onPhones.entries()) {
      if (c === m && !LONG) continue; // Each browser is still tested on both sides.
      pairs.push(new Pair(await open(names[c], mosses[m], { role: "client", ...options, name: `${names[c]} to ${names[m]}` }), master));
    }
  await Promise.all(pairs.map((pair) => pair.flows({ kinds: options.media ? undefined : ["messages"] })));
  return { phones, mosses, masters, pairs, atBox };
}

/** Waits for some seconds, where there is no event to wait for. */
export const pass = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
