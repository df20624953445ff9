// What a phone may and may not do with moss's own TLS, in the same two network namespaces as in lan.test.js. Here nobody
// goes through a warning: the phone trusts the certificate authority, or can't connect. phone.test.js has the rest.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BROWSERS, opening } from "./browsers.js";
import { makeCertificates } from "./certificates.js";
import { servePages, startMoss } from "./harness.js";

const { BOX, PHONE_NETNS } = process.env;

let certificates;
let moss;
let pages; // The same pages from a server without TLS.

before(async () => {
  assert.ok(BOX && PHONE_NETNS, "start these tests by tests/browser/run");
  certificates = await makeCertificates(BOX);
  const { certificate, key } = certificates;
  [pages, moss] = await Promise.all([
    servePages(),
    startMoss({ MOSS_TLS_CERTIFICATE_FILE: certificate, MOSS_TLS_KEY_FILE: key, MOSS_TLS_PORT: "0" }),
  ]);
});

after(async () => {
  await moss?.stop();
  await pages?.stop();
  await certificates?.remove();
});

const onThePhone = (t, name, trusted) => BROWSERS[name].start(t, { netns: PHONE_NETNS, ...trusted });
const withoutTls = () => `http://${BOX}:${pages.port}/`;
const wss = () => `wss://${BOX}:${moss.tlsPort}/`;

test("a page from http:// gets no camera, and the plain port is closed to the network", async (t) => {
  const phone = await onThePhone(t, "Chromium", certificates);
  await phone.goto(withoutTls());
  assert.deepEqual(await phone.evaluate(() => [isSecureContext, typeof navigator.mediaDevices]), [false, "undefined"]);
  assert.equal(await opening(phone, `ws://${BOX}:${moss.port}/`), 1006);
  assert.equal(await opening(phone, wss()), "open");
});

test("http:// at the TLS port is redirected to https://", async (t) => {
  const phone = await onThePhone(t, "Chromium", certificates);
  await phone.goto(`http://${BOX}:${moss.tlsPort}/client.html`);
  assert.equal(phone.url(), `https://${BOX}:${moss.tlsPort}/client.html`);
  assert.equal(await phone.title(), "moss client");
});

for (const [name, { warning, untrusted }] of Object.entries(BROWSERS))
  test(`${name} that does not trust the authority gets neither the page nor wss://`, async (t) => {
    const stranger = await onThePhone(t, name);
    await stranger.goto(withoutTls());
    assert.equal(await opening(stranger, wss()), untrusted);
    await assert.rejects(stranger.goto(`https://${BOX}:${moss.tlsPort}/client.html`), warning);
  });
