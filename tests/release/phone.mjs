// A phone calls a laptop, the master, by the example pages of a moss with a self-signed certificate:
//
//     node phone.mjs https://ADDRESS:PORT SECRET

import assert from "node:assert/strict";
import { openTab, startBrowser, until } from "../browser/harness.js";
import { claim, heard, isMaster, lineIsOpen, say } from "../browser/people.js";
import { proceedInChromium } from "../browser/warning.js";

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 3, isMobile: true, hasTouch: true };
const [url, secret] = process.argv.slice(2);

const browser = await startBrowser();
try {
  const phone = await openTab(browser, "about:blank", PHONE);
  await proceedInChromium(phone, `${url}/`);
  await until("the first page shows moss's state", async () => (await phone.textContent("#status")) === "No master yet");

  const laptop = await openTab(browser, "about:blank");
  await proceedInChromium(laptop, `${url}/master.html`);
  await claim(laptop, secret);
  await isMaster(laptop);

  await phone.click('a[href="client.html"]');
  await lineIsOpen(phone);
  assert.ok(await phone.evaluate(() => isSecureContext && innerWidth < 400));
  await say(phone, "from the phone");
  await heard(laptop, "from the phone");
} finally {
  await browser.close();
}
