// Chromium and Firefox by the same names: a browser with one tab and a camera, which ends with its test.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { trust } from "./certificates.js";
import { startFirefox } from "./firefox.js";
import { openTab, startBrowser } from "./harness.js";
import { CHROMIUM_WARNS, FIREFOX_WARNS, proceedInChromium, proceedInFirefox } from "./warning.js";

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 3, isMobile: true, hasTouch: true };

async function chromium(t, { netns, authority } = {}) {
  const home = await mkdtemp(join(tmpdir(), "moss-chromium-"));
  let browser;
  t.after(async () => {
    await browser?.close();
    await rm(home, { recursive: true, force: true });
  });
  if (authority) await trust(join(home, ".pki/nssdb"), authority);
  browser = await startBrowser({ netns, home, args: ["--use-fake-device-for-media-stream"] });
  return openTab(browser, "about:blank", { ...(netns && PHONE), permissions: ["camera"] });
}

async function firefox(t, { netns, authority } = {}) {
  const browser = await startFirefox({ netns, authority });
  t.after(() => browser.close());
  return browser.tab;
}

/** `start` takes the test, and a network namespace and a CA to trust if there are any. `proceed` takes a tab and the
 *  URL of a page, and goes through the warning for its certificate. `warning` is what a navigation to such a page
 *  fails with, and `untrusted` the code that a WebSocket to the same place is closed with. */
export const BROWSERS = {
  Chromium: { start: chromium, proceed: proceedInChromium, warning: CHROMIUM_WARNS, untrusted: 1006 },
  Firefox: { start: firefox, proceed: proceedInFirefox, warning: FIREFOX_WARNS, untrusted: 1015 },
};

/** How a try to open a WebSocket from the tab's page ends: "open", or the code that it was closed with. */
export const opening = (tab, address) =>
  tab.evaluate(
    (address) =>
      new Promise((resolve) => {
        const socket = new WebSocket(address);
        socket.onopen = () => resolve("open");
        socket.onclose = ({ code }) => resolve(code);
      }),
    address,
  );
