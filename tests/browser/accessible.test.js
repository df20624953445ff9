// axe-core checks pages against WCAG and good practice. It must find no fault in any page, in any state. Phones are
// tested in dark mode and desktops in light mode: no colour depends on the size.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { mossFor, openTab, SECRET, servePages, startBrowser, until } from "./harness.js";
import { claim, heard, isMaster, isShown, lineIsOpen, notice, openClient, openMaster, say, statusIs } from "./people.js";

const LOOKS = [
  { colorScheme: "dark", size: { width: 390, height: 844 } },
  { colorScheme: "light", size: { width: 1100, height: 820 } },
];

let axe;
let browser;
let elsewhere; // The same pages, from a server that is not moss.

before(async () => {
  axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  [browser, elsewhere] = await Promise.all([
    startBrowser({ args: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] }),
    servePages(),
  ]);
});

after(async () => {
  await browser?.close();
  await elsewhere?.stop();
});

/** The faults that axe finds in the page now. */
const faults = (tab) =>
  tab.evaluate(async () => {
    const { violations } = await window.axe.run();
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
  });

async function isAccessible(what, tab) {
  if (!(await tab.evaluate("window.axe"))) await tab.evaluate(axe);
  for (const { colorScheme, size } of LOOKS) {
    await tab.setViewportSize(size);
    await tab.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    assert.deepEqual(await faults(tab), [], `${what}, ${size.width} wide, ${colorScheme}`);
  }
}

const opener = (moss) => (page, options) => openTab(browser, moss.page(page), options);

test("the start page", async (t) => {
  const moss = await mossFor(t, browser);
  const start = await openTab(browser, moss.page(""));
  const says = (pattern) => until(`it says ${pattern}`, async () => pattern.test(await start.textContent("#now")));
  await says(/^No master/);
  await isAccessible("without a master", start);
  await openMaster(browser, moss.page("master.html"));
  await says(/^A master and/);
  await isAccessible("with a master", start);
  await moss.stop();
  await says(/does not answer/);
  await isAccessible("without moss", start);
});

test("the client's and the master's page", async (t) => {
  const moss = await mossFor(t, browser);
  const client = await openTab(browser, moss.page("client.html"));
  await statusIs(client, "No master");
  await isAccessible("a client that waits", client);
  const master = await openTab(browser, moss.page("master.html"));
  await isAccessible("a master's form", master);
  await claim(master);
  await isMaster(master);
  await lineIsOpen(client);
  await isAccessible("a client with nothing said", client);
  for (let line = 0; line < 15; line++) await say(client, `line ${line} of a long conversation`);
  await say(master, "to all", "");
  const others = await Promise.all([0, 1, 2].map(() => openClient(browser, moss.page("client.html"))));
  for (const other of others) await say(other, "here, too");
  await heard(client, "to all");
  for (const tab of [client, master]) await tab.click("#camera");
  await isShown(client.locator("#video"));
  await isShown(master.locator("#clients video:visible"));
  await isAccessible("a client with pictures", client);
  await isAccessible("a master with clients", master);
  await master.evaluate(() => document.querySelectorAll("#log b").forEach((name, place) => name.style.setProperty("--hue", place * 20)));
  await isAccessible("names of all colours", master);
  await moss.stop();
  for (const tab of [client, master]) await notice(tab, /Trying again/);
  await isAccessible("a client without moss", client);
  await isAccessible("a master without moss", master);
  await moss.again();
  await isMaster(master);
  for (const tab of [client, master]) await tab.locator("#notice").waitFor({ state: "hidden" });
  await master.getByText("Disconnect").first().click();
  await notice(client, /(master disconnected this page|moss closed this connection)/);
  await isAccessible("a client that the master disconnected", client);
  await master.click("#button");
  await isAccessible("a master that stopped", master);
});

test("an invitation with a code to scan", async (t) => {
  const { BOX } = process.env;
  if (!BOX) return t.skip("needs an address of another kind: start these tests by tests/browser/run");
  const moss = await mossFor(t, browser);
  for (const page of ["master.html", "buzzer/host.html"]) {
    const master = await openMaster(browser, moss.page(page, BOX));
    await isMaster(master);
    await master.locator("#qr path").waitFor();
    await isAccessible(page, master);
    await master.context().close();
  }
});

test("a page from elsewhere, a code, and a wrong secret", async (t) => {
  const moss = await mossFor(t, browser, { MOSS_LOGIN_SECRET: "4711" });
  const stranger = await openTab(browser, `${elsewhere.origin}/client.html`);
  await stranger.locator("#address").waitFor();
  await isAccessible("asked for the address", stranger);
  for (const page of ["client.html", "buzzer/", "camera/"]) {
    const client = await openTab(browser, moss.page(page));
    await client.locator("#code").waitFor();
    await isAccessible(`${page} asked for a code`, client);
  }
  const master = await openMaster(browser, moss.page("master.html"), undefined, { secret: "a wrong one" });
  await notice(master, /secret is wrong/);
  await isAccessible("a wrong secret", master);
});

test("the buzzer", async (t) => {
  const moss = await mossFor(t, browser);
  const open = opener(moss);
  const [host, first, second] = [await open("buzzer/host.html"), await open("buzzer/"), await open("buzzer/")];
  await isAccessible("a host's form", host);
  await isAccessible("a player's form", first);
  await claim(host);
  for (const [player, name] of [[first, "Ada"], [second, "Bo"]]) {
    await player.fill("#name", name);
    await player.click("#naming button");
    await player.locator('#buzz[aria-disabled="false"]').waitFor();
  }
  await isAccessible("a player who may press", first);
  await first.click("#buzz");
  await second.getByText("Ada was first").waitFor();
  await host.click('[aria-label="+1 for Ada"]');
  await first.getByText("Points: 1").waitFor();
  await isAccessible("a player who was first", first);
  await isAccessible("a player who was not", second);
  await isAccessible("a host with players", host);
  await host.click("#button");
  await first.getByText("Waiting for the host").waitFor();
  await isAccessible("a player without a host", first);
  await isAccessible("a host that stopped", host);
});

test("the camera's viewer", async (t) => {
  const moss = await mossFor(t, browser);
  const viewer = await openTab(browser, moss.page("camera/"));
  await statusIs(viewer, "No master");
  await isAccessible("a viewer that waits", viewer);
  const box = await openTab(browser, moss.page("favicon.svg"));
  await box.evaluate(async (secret) => {
    const { Master } = await import("/moss-signaling.js");
    window.box = new Master({ secret });
  }, SECRET);
  await lineIsOpen(viewer);
  await isAccessible("a viewer without a picture", viewer);
  await box.evaluate(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    window.box.share("picture", stream.getVideoTracks()[0]);
  });
  await isShown(viewer.locator("#video"));
  await isAccessible("a viewer with a picture", viewer);
  await viewer.click("#talk");
  await viewer.getByText("hear you").waitFor();
  await isAccessible("a viewer who talks", viewer);
});
