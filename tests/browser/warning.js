// Goes through a browser's warning about an untrusted certificate, as a person does.

import assert from "node:assert/strict";
import { until } from "./harness.js";

/** The error of a navigation to such a page. */
export const CHROMIUM_WARNS = /ERR_CERT_AUTHORITY_INVALID/;
export const FIREFOX_WARNS = /insecure certificate/;

/** "Advanced", then "Proceed to … (unsafe)". */
export async function proceedInChromium(tab, url) {
  await assert.rejects(tab.goto(url), CHROMIUM_WARNS);
  await tab.click("#details-button");
  await tab.click("#proceed-link");
  await tab.waitForURL(url);
}

/** "Advanced", then "Proceed to … (Risky)", which Firefox enables after some seconds. */
export async function proceedInFirefox(tab, url) {
  await assert.rejects(tab.goto(url), FIREFOX_WARNS);
  await tab.click("net-error-card", "#advanced-button");
  await until("Firefox lets one proceed", () =>
    tab.evaluate(() => document.querySelector("net-error-card").shadowRoot.querySelector("#exception-button")?.disabled === false),
  );
  await tab.click("net-error-card", "#exception-button");
  await until("the page behind the warning", async () => (await tab.url()) === url);
}
