// What people do with the example pages, and what they see there.

import assert from "node:assert/strict";
import { openTab, SECRET, until } from "./harness.js";

const status = (tab) => tab.textContent("#status");

/** Opens client.html. From moss it connects by itself. On another server, it gets moss's address, and Connect is pressed. */
export async function openClient(browser, url, address, options) {
  const tab = await openTab(browser, url, options);
  if (address) {
    await tab.fill("#address", address);
    await tab.click("#button");
  }
  return tab;
}

/** Opens a master's page, types the secret and becomes the master. */
export async function openMaster(browser, url, address, { secret = SECRET, ...options } = {}) {
  const tab = await openTab(browser, url, options);
  if (address) await tab.fill("#address", address);
  await claim(tab, secret);
  return tab;
}

export async function claim(tab, secret = SECRET) {
  await tab.fill("#secret", secret);
  await tab.click("#button");
}

export const isMaster = (tab) => statusIs(tab, "Master");

/** Waits until the status is one of these texts. */
export const statusIs = (tab, ...words) => until(words.join(" or "), async () => words.includes(await status(tab)));

export const lineIsOpen = (tab) => statusIs(tab, "Direct", "Relayed");

export const lineIsNotOpen = (tab) => until("line not open", async () => !["Direct", "Relayed"].includes(await status(tab)));

/** Opens a page that keeps each RTCPeerConnection that it makes in `calls`, and each WebSocket in `sockets`. */
export async function openWatched(browser, url, options) {
  const tab = await openTab(browser, new URL("favicon.svg", url).href, options);
  await tab.addInitScript(() => {
    for (const [list, name] of [["calls", "RTCPeerConnection"], ["sockets", "WebSocket"]]) {
      window[list] = [];
      window[name] = class extends window[name] {
        constructor(...args) {
          super(...args);
          window[list].push(this);
        }
      };
    }
  });
  await tab.goto(url);
  return tab;
}

export const callsOf = (...tabs) => Promise.all(tabs.map((tab) => tab.evaluate("calls.length")));

/** Waits for a text in the notice. */
export const notice = (tab, pattern) =>
  until(`notice ${pattern}`, async () => {
    const text = await tab.textContent("#notice");
    return pattern.test(text) && text;
  });

/** The conversation as [who, text] pairs. */
export const conversation = (tab) =>
  tab.evaluate(() => [...document.querySelectorAll("#log p")].map(({ firstChild, lastChild }) => [firstChild.textContent, lastChild.textContent]));

/** Waits for a message in the conversation; returns its sender. */
export const heard = (tab, text) =>
  until(`"${text}" is heard`, async () => (await conversation(tab)).find(([, said]) => said === text)?.[0]);

/** Sends a message to `to`; a client can only write to the master. */
export async function say(tab, text, to) {
  if (to !== undefined) await tab.selectOption("#to", to && { label: to });
  await tab.fill("#text", text);
  await tab.click("#send");
}

const rows = (master, selector) => master.locator(`#clients li[data-state="open"] ${selector}`).allTextContents();

/** The names of the clients that the master's page shows as connected. A name stays the same for as long as the client's tab. */
export const openNames = (master) => rows(master, "b");

/** The ids that moss has given these clients. */
export const openIds = (master) => rows(master, "code");

export const rowOf = (master, name) => master.locator("#clients li").filter({ has: master.getByText(name, { exact: true }) });

export const clientsAreOpen = (master, count) => until(`${count} lines open`, async () => (await openNames(master)).length === count);

/** Waits until a visible video shows a moving picture. */
export async function isShown(video) {
  const frames = () => video.evaluate((video) => video.getVideoPlaybackQuality().totalVideoFrames);
  await until("a picture", () => video.isVisible());
  const first = await until("a first frame", frames);
  await until("more frames", async () => (await frames()) > first + 5);
}

/** Each client sends a message, and gets an answer that no other client gets. Returns their names. */
export async function everyoneTalks(master, clients, round) {
  const names = await Promise.all(
    clients.map(async (client, number) => {
      await lineIsOpen(client);
      await say(client, `${round}: this is ${number}`);
      return heard(master, `${round}: this is ${number}`);
    }),
  );
  assert.equal(new Set(names).size, clients.length, `each message under a name of its own: ${names}`);
  for (const [number, name] of names.entries()) await say(master, `${round}: you are ${number}`, name);
  for (const [number, client] of clients.entries()) {
    assert.equal(await heard(client, `${round}: you are ${number}`), "master");
    const answers = (await conversation(client)).filter(([, text]) => text.startsWith(`${round}: you are`));
    assert.deepEqual(answers, [["master", `${round}: you are ${number}`]], "an answer for another client arrived");
  }
  return names;
}
