// moss's own TLS, and what a page is allowed to do only from https://: in the same two
// network namespaces as lan.test.js. Nothing here makes a browser overlook a certificate:
// a phone trusts the authority that signed it, or it does not come in.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeCertificates, trust } from "./certificates.js";
import { startFirefox } from "./firefox.js";
import { openTab, SECRET, servePages, startBrowser, startMoss, until } from "./harness.js";
import { picture } from "./screenshots.js";

const { BOX, PHONE_NETNS } = process.env;
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 3, isMobile: true, hasTouch: true, permissions: ["camera"] };

let certificates;
let moss;
let pages; // The same pages by http:// …
let securePages; // … and by https://.
let box; // The browser of the master, who sits at the box.

before(async () => {
  assert.ok(BOX && PHONE_NETNS, "start these tests by tests/browser/run");
  certificates = await makeCertificates(BOX);
  const { certificate, key } = certificates;
  [pages, securePages, moss, box] = await Promise.all([
    servePages(),
    certificates.read().then(servePages),
    startMoss({ MOSS_TLS_CERTIFICATE_FILE: certificate, MOSS_TLS_KEY_FILE: key, MOSS_TLS_PORT: "0" }),
    startBrowser(),
  ]);
});

after(async () => {
  await box?.close();
  await moss?.stop();
  await securePages?.stop();
  await pages?.stop();
  await certificates?.remove();
});

/** A Chromium on the phone; gone when the test ends. */
async function chromium(t, { authority } = {}) {
  const home = await mkdtemp(join(tmpdir(), "moss-phone-"));
  let phone;
  t.after(async () => {
    await phone?.close();
    await rm(home, { recursive: true, force: true });
  });
  if (authority) await trust(join(home, ".pki/nssdb"), authority);
  phone = await startBrowser({ netns: PHONE_NETNS, home, args: ["--use-fake-device-for-media-stream"] });
  return phone;
}

const wss = () => `wss://${BOX}:${moss.tlsPort}/`;
const camera = ({ port }, scheme) => `${scheme}://${BOX}:${port}/camera.html?${wss()}`;

/** Presses the button on the phone, and looks at what the master sees. */
async function sharesItsCamera(t, phone) {
  const master = await openTab(box, `${pages.origin}/screen.html?${moss.address}`);
  t.after(() => master.context().close());
  await master.fill("#secret", SECRET);
  await master.click("#start");
  await until("master", async () => (await master.textContent("#status")) === "Master.");

  await phone.click("#share");
  const said = () => phone.evaluate(() => document.getElementById("status").textContent);
  await until("logged in", async () => (await said()) === "Logged in.");
  const seen = () =>
    master.evaluate(() => {
      const { videoWidth, currentTime } = document.getElementById("video");
      const { totalVideoFrames } = document.getElementById("video").getVideoPlaybackQuality();
      return { videoWidth, currentTime, totalVideoFrames, pixels: look() };
    });
  const first = await until("a first frame", async () => {
    const now = await seen();
    return now.totalVideoFrames > 0 && now.videoWidth > 0 && now;
  });
  await until("a picture that moves", async () => {
    const now = await seen();
    const changed = now.pixels.filter((pixel, place) => Math.abs(pixel - first.pixels[place]) > 32).length;
    return changed > 10 && now.totalVideoFrames > first.totalVideoFrames + 10 && now.currentTime > first.currentTime;
  });
  return master;
}

/** How a try to open a WebSocket from the page ends. */
const opening = (tab, address) =>
  tab.evaluate(
    (address) =>
      new Promise((resolve) => {
        const socket = new WebSocket(address);
        socket.onopen = () => resolve("open");
        socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
      }),
    address,
  );
/** All that Chromium tells a page, be it a certificate that it does not trust or a port that is closed. */
const CLOSED = { code: 1006, reason: "", wasClean: false };

test("a phone opens a page from https://, connects by wss:// and shares its camera with the master", async (t) => {
  const phone = await openTab(await chromium(t, certificates), camera(securePages, "https"), PHONE);
  assert.equal(await phone.evaluate(() => isSecureContext), true);
  const master = await sharesItsCamera(t, phone);
  await picture(phone, "camera-phone");
  await picture(master, "camera-master");
});

test("so does one with Firefox", async (t) => {
  const phone = await startFirefox({ netns: PHONE_NETNS, ...certificates });
  t.after(() => phone.close());
  await phone.tab.goto(camera(securePages, "https"));
  await sharesItsCamera(t, phone.tab);
});

test("the same page from http:// is given no camera, and finds the plain port closed to the network", async (t) => {
  const phone = await openTab(await chromium(t, certificates), camera(pages, "http"), PHONE);
  assert.deepEqual(await phone.evaluate(() => [isSecureContext, typeof navigator.mediaDevices]), [false, "undefined"]);
  assert.deepEqual(await opening(phone, `ws://${BOX}:${moss.port}/`), CLOSED);
  assert.equal(await opening(phone, wss()), "open");
});

test("who leaves out the s is sent on to https://", async (t) => {
  const phone = await openTab(await chromium(t, certificates), `http://${BOX}:${moss.tlsPort}/health`, PHONE);
  assert.equal(phone.url(), `https://${BOX}:${moss.tlsPort}/health`);
  assert.match(await phone.textContent("body"), /"status":"ok"/);
});

test("a phone that does not trust the authority gets neither the page nor wss://", async (t) => {
  const stranger = await openTab(await chromium(t), `http://${BOX}:${pages.port}/`, PHONE);
  assert.deepEqual(await opening(stranger, wss()), CLOSED);
  await assert.rejects(stranger.goto(camera(securePages, "https")), /ERR_CERT_AUTHORITY_INVALID/);

  const firefox = await startFirefox({ netns: PHONE_NETNS });
  t.after(() => firefox.close());
  await firefox.tab.goto(`http://${BOX}:${pages.port}/`);
  assert.deepEqual(await opening(firefox.tab, wss()), { ...CLOSED, code: 1015 }, "Firefox tells a TLS failure");
  await assert.rejects(firefox.tab.goto(camera(securePages, "https")), /insecure certificate/);
});
