// One moss serves the pages and the WebSocket from one port over TLS. Chromium and Firefox are each the master at the
// box and the phone, in the same two network namespaces as in lan.test.js. docs/https-in-the-lan.md has a table of the
// results.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { makeCertificates, makeSelfSigned } from "./certificates.js";
import { BROWSERS, opening } from "./browsers.js";
import { SECRET, startMoss, until } from "./harness.js";
import { heard, isMaster, lineIsOpen, say } from "./people.js";
import { picture } from "./screenshots.js";

const { BOX, PHONE_NETNS } = process.env;
const AT_THE_BOX = {}; // The tests themselves run there.
const ON_THE_PHONE = { netns: PHONE_NETNS };
const names = Object.keys(BROWSERS);

let certificates;
let selfSigned;

before(async () => {
  assert.ok(BOX && PHONE_NETNS, "start these tests by tests/browser/run");
  [certificates, selfSigned] = await Promise.all([makeCertificates(BOX), makeSelfSigned(BOX)]);
});

after(async () => {
  await certificates?.remove();
  await selfSigned?.remove();
});

/** A moss with this certificate that serves the example pages; stopped when the test ends. */
async function serve(t, { certificate, key }) {
  const moss = await startMoss({ MOSS_TLS_CERTIFICATE_FILE: certificate, MOSS_TLS_KEY_FILE: key, MOSS_TLS_PORT: "0" });
  t.after(() => moss.stop());
  return `https://${BOX}:${moss.tlsPort}`;
}

/** The present picture of a video, made small; undefined if there is none yet. */
const look = (tab) =>
  tab.evaluate(() => {
    const video = document.querySelector("#clients video");
    if (!video?.videoWidth || !video.checkVisibility()) return undefined;
    const [width, height] = [32, 24];
    const paper = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
    paper.drawImage(video, 0, 0, width, height);
    return [...paper.getImageData(0, 0, width, height).data];
  });

async function seesAPictureThatMoves(tab) {
  const first = await until("a first picture", () => look(tab));
  await until("a picture that moves", async () => {
    const now = await look(tab);
    return now?.filter((value, place) => Math.abs(value - first[place]) > 32).length > 10;
  });
}

/** All steps of the people on both sides, up to the phone's camera. */
async function phoneShowsItsCamera(url, [master, openAtTheBox], [phone, openOnThePhone]) {
  await openAtTheBox(master, `${url}/master.html`);
  await master.fill("#secret", SECRET);
  await master.click("#button");
  await isMaster(master);

  await openOnThePhone(phone, `${url}/client.html`);
  await lineIsOpen(phone);
  await say(phone, "from the phone");
  await heard(master, "from the phone");
  await say(master, "from the box");
  assert.equal(await heard(phone, "from the box"), "master");

  await phone.click("#camera");
  await seesAPictureThatMoves(master);
}

test("with a certificate from a CA that both trust", async (t) => {
  const start = (place) => Promise.all(names.map((name) => BROWSERS[name].start(t, { ...place, ...certificates })));
  const [masters, phones] = await Promise.all([start(AT_THE_BOX), start(ON_THE_PHONE)]);
  const open = (tab, url) => tab.goto(url);
  for (const [m, master] of masters.entries())
    for (const [p, phone] of phones.entries())
      await t.test(`${names[p]} on the phone shows its camera to ${names[m]} at the box`, async (t) => {
        await phoneShowsItsCamera(await serve(t, certificates), [master, open], [phone, open]);
        await picture(master, `master-${names[m]}-sees-${names[p]}`);
        await picture(phone, `phone-${names[p]}-at-${names[m]}`);
      });
});

for (const [m, p] of [names, names.toReversed()])
  test(`behind the warning for a self-signed certificate ${p} on the phone shows its camera to ${m} at the box`, async (t) => {
    const [master, phone] = await Promise.all([BROWSERS[m].start(t, AT_THE_BOX), BROWSERS[p].start(t, ON_THE_PHONE)]);
    await phoneShowsItsCamera(await serve(t, selfSigned), [master, BROWSERS[m].proceed], [phone, BROWSERS[p].proceed]);
  });

/** Goes through the warning for a page. `sockets` tries wss:// at the page's port, at another port, and at a port with
 *  another certificate. */
async function behindTheWarning(t, name) {
  const tab = await BROWSERS[name].start(t, ON_THE_PHONE);
  const renewed = await makeSelfSigned(BOX);
  t.after(() => renewed.remove());
  const [here, anotherPort, anotherCertificate] = [await serve(t, selfSigned), await serve(t, selfSigned), await serve(t, renewed)];
  const visit = (url) => BROWSERS[name].proceed(tab, `${url}/client.html`);
  await visit(here);
  assert.equal(await tab.evaluate(() => isSecureContext), true);
  const sockets = async () => {
    const ends = [];
    for (const url of [here, anotherPort, anotherCertificate]) ends.push(await opening(tab, url.replace("https", "wss")));
    return ends;
  };
  return { sockets, anotherPort, visit };
}

test("in Chromium a certificate that was accepted for a page is accepted at every port of the box", async (t) => {
  const { sockets } = await behindTheWarning(t, "Chromium");
  assert.deepEqual(await sockets(), ["open", "open", BROWSERS.Chromium.untrusted]);
});

test("in Firefox it is accepted only at the page's port, until it was accepted at another port, too", async (t) => {
  const { sockets, anotherPort, visit } = await behindTheWarning(t, "Firefox");
  const { untrusted } = BROWSERS.Firefox;
  assert.deepEqual(await sockets(), ["open", untrusted, untrusted]);
  await visit(anotherPort);
  assert.deepEqual(await sockets(), ["open", "open", untrusted]);
});
