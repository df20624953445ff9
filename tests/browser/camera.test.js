// Cameras in both directions: Chromium's fake camera, which shows a clock, with the permission granted.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mossFor, openTab, startBrowser, until } from "./harness.js";
import { claim, callsOf, clientsAreOpen, everyoneTalks, isMaster, isShown, lineIsOpen, notice, openClient, openMaster, openWatched, rowOf } from "./people.js";
import { picture } from "./screenshots.js";

let browser;

before(async () => {
  browser = await startBrowser({ args: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] });
});

after(() => browser?.close());

const videoOf = (master, name) => rowOf(master, name).locator("video");

test("the master's camera is shown to present and later clients, and again after a reload", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const early = await openClient(browser, moss.page("client.html"));
  await everyoneTalks(master, [early], "without a picture");
  assert.equal(await early.locator("#picture").isVisible(), false);
  await master.click("#camera");
  const late = await openClient(browser, moss.page("client.html"));
  for (const client of [early, late]) await isShown(client.locator("#video"));
  await master.reload();
  await isMaster(master);
  await clientsAreOpen(master, 2);
  for (const client of [early, late]) await isShown(client.locator("#video"));
});

test("a client's camera is shown to the master in its row, and again after a reload of either", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const phone = { viewport: { width: 390, height: 844 } };
  const [films, other] = await Promise.all([0, 1].map(() => openClient(browser, moss.page("client.html"), undefined, phone)));
  const [name, otherName] = await everyoneTalks(master, [films, other], "without a picture");
  assert.equal(await master.locator("#clients video:visible").count(), 0);

  await films.click("#camera");
  await isShown(videoOf(master, name));
  await isShown(films.locator("#preview"));
  assert.equal(await videoOf(master, otherName).isVisible(), false);
  await picture(films, "client-phone-films");
  await picture(master, "master-watches");

  await films.reload();
  await everyoneTalks(master, [films, other], "the client was reloaded");
  await isShown(videoOf(master, name));

  await master.reload();
  await isMaster(master);
  await clientsAreOpen(master, 2);
  await isShown(videoOf(master, name));
  await films.click("#text"); // The page can still be used.
});

test("both share their cameras with each other", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const client = await openClient(browser, moss.page("client.html"));
  await client.click("#camera"); // Perhaps before the line is open: then the camera is in the first offer.
  await master.click("#camera");
  const [name] = await everyoneTalks(master, [client], "with pictures");
  await isShown(videoOf(master, name));
  await isShown(client.locator("#video"));
});

test("cameras are switched off and on again on both sides, without a new call", async (t) => {
  const moss = await mossFor(t, browser);
  const [master, client] = [await openWatched(browser, moss.page("master.html")), await openWatched(browser, moss.page("client.html"))];
  await claim(master);
  const [name] = await everyoneTalks(master, [client], "without pictures");
  for (const [films, video] of [[master, client.locator("#video")], [client, videoOf(master, name)]])
    for (let round = 0; round < 2; round++) {
      await films.click("#camera");
      await isShown(video);
      await films.click("#camera");
      await video.waitFor({ state: "hidden" });
    }
  assert.deepEqual(await callsOf(master, client), [1, 1]);
});

test("the camera of a client that is disconnected stops", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const client = await openClient(browser, moss.page("client.html"));
  await lineIsOpen(client);
  await client.click("#camera");
  await isShown(client.locator("#preview"));
  const track = await client.evaluateHandle(() => document.querySelector("#preview").srcObject.getVideoTracks()[0]);
  await master.getByText("Disconnect").click();
  await notice(client, /(master disconnected this page|moss closed this connection)/);
  assert.equal(await track.evaluate(({ readyState }) => readyState), "ended");
  assert.equal(await client.locator("#preview").isVisible(), false);
  await client.reload();
  await lineIsOpen(client);
  assert.equal(await client.textContent("#camera"), "Share camera");
});

test("a page without a camera says why", async (t) => {
  const moss = await mossFor(t, browser);
  const strict = await startBrowser({ args: ["--deny-permission-prompts"] });
  t.after(() => strict.close());
  const master = await openTab(strict, moss.page("master.html"));
  await master.click("#camera");
  await notice(master, /^Can't use the camera: /);
  assert.equal(await master.textContent("#camera"), "Share camera");
  if (!process.env.BOX) return; // Only a page from another address than localhost may not ask for the camera.
  const client = await openClient(browser, moss.page("client.html", process.env.BOX));
  await until("the button", () => client.locator("#camera").isVisible());
  await client.click("#camera");
  await notice(client, /only on pages from https:/);
});
