// What a person does with the two example pages, and what a person sees there.

import assert from "node:assert/strict";
import { openTab, SECRET, until } from "./harness.js";

const status = (tab) => tab.textContent("#status");

/** Opens client.html: from moss it connects by itself, from elsewhere it is told the address and does when Connect is pressed. */
export async function openClient(browser, url, address, options) {
  const tab = await openTab(browser, url, options);
  if (address) {
    await tab.fill("#address", address);
    await tab.click("#button");
  }
  return tab;
}

/** Opens master.html, types the secret and becomes the master. */
export async function openMaster(browser, url, address, { secret = SECRET, ...options } = {}) {
  const tab = await openTab(browser, url, options);
  if (address) await tab.fill("#address", address);
  await tab.fill("#secret", secret);
  await tab.click("#button");
  return tab;
}

export const isMaster = (tab) => until("master", async () => (await status(tab)) === "Master");

export const lineIsOpen = (tab) => until("line open", async () => (await status(tab)) === "Line open");

export const lineIsNotOpen = (tab) => until("line not open", async () => (await status(tab)) !== "Line open");

/** The sentence that says what is wrong. */
export const notice = (tab, pattern) =>
  until(`notice ${pattern}`, async () => {
    const text = await tab.textContent("#notice");
    return pattern.test(text) && text;
  });

/** The conversation as [who, text] pairs. */
export const conversation = (tab) =>
  tab.evaluate(() => [...document.querySelectorAll("#log li")].map(({ firstChild, lastChild }) => [firstChild.textContent, lastChild.textContent]));

/** Waits for a line of the conversation; returns who said it. */
export const heard = (tab, text) =>
  until(`"${text}" is heard`, async () => (await conversation(tab)).find(([, said]) => said === text)?.[0]);

/** Says it to `to`; a client has nobody but the master to say it to. */
export async function say(tab, text, to) {
  if (to !== undefined) await tab.selectOption("#to", to);
  await tab.fill("#text", text);
  await tab.click("#send");
}

/** The ids of the clients whose line the master page shows as open. */
export const openIds = (master) =>
  master.evaluate(() => [...document.querySelectorAll('#clients li[data-state="open"]')].map(({ dataset }) => dataset.id));

export const clientsAreOpen = (master, count) => until(`${count} lines open`, async () => (await openIds(master)).length === count);

/** Waits until a video shows a moving picture to who looks at the page. */
export async function isShown(video) {
  const frames = () => video.evaluate((video) => video.getVideoPlaybackQuality().totalVideoFrames);
  await until("a picture", () => video.isVisible());
  const first = await until("a first frame", frames);
  await until("more frames", async () => (await frames()) > first + 5);
}

/** Everyone says something of their own, and gets an answer that nobody else gets. */
export async function everyoneTalks(master, clients, round) {
  const ids = await Promise.all(
    clients.map(async (client, number) => {
      await lineIsOpen(client);
      await say(client, `${round}: this is ${number}`);
      return heard(master, `${round}: this is ${number}`);
    }),
  );
  assert.equal(new Set(ids).size, clients.length, `each message under an id of its own: ${ids}`);
  for (const [number, id] of ids.entries()) await say(master, `${round}: you are ${number}`, id);
  for (const [number, client] of clients.entries()) {
    assert.equal(await heard(client, `${round}: you are ${number}`), "master");
    const answers = (await conversation(client)).filter(([, text]) => text.startsWith(`${round}: you are`));
    assert.deepEqual(answers, [["master", `${round}: you are ${number}`]], "no answer meant for another client");
  }
  return ids;
}
