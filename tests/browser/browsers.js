// Chromium and Firefox with the same interface: a browser with one tab and a camera, closed at the end of its test.

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

/** `start` takes the test and, optionally, a network namespace and a CA to trust. `proceed` takes a tab and the URL of
 *  a page, and goes through the warning about its certificate. `warning` matches the error of a navigation to such a
 *  page; `untrusted` is the close code of a WebSocket to the same server. */
export const BROWSERS = {
  Chromium: { start: chromium, proceed: proceedInChromium, warning: CHROMIUM_WARNS, untrusted: 1006 },
  Firefox: { start: firefox, proceed: proceedInFirefox, warning: FIREFOX_WARNS, untrusted: 1015 },
};

// Sound plays without a click, and timers run in all tabs as in a visible tab.
const FIREFOX_AT_WORK = {
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  "dom.min_background_timeout_value": 4,
  "dom.timeout.enable_budget_timer_throttling": false,
};

/** The same for a browser with many tabs. `open` takes a URL; each tab has a storage of its own. Pages without a camera
 *  hide their addresses behind mDNS names, which only their own network knows: `found` lets others find them, too. */
export const FOR_MANY_TABS = {
  async Chromium(t, { netns, found, args = [] } = {}) {
    const finding = found ? ["--disable-features=WebRtcHideLocalIpsWithMdns"] : [];
    const browser = await startBrowser({ netns, args: ["--autoplay-policy=no-user-gesture-required", ...finding, ...args] });
    t.after(() => browser.close());
    return { open: (url) => openTab(browser, url) };
  },
  async Firefox(t, { netns, found } = {}) {
    const preferences = { ...FIREFOX_AT_WORK, "media.peerconnection.ice.obfuscate_host_addresses": !found };
    const browser = await startFirefox({ netns, preferences });
    t.after(() => browser.close());
    let first = browser.tab;
    const open = async (url) => {
      const tab = first ?? (await browser.openTab());
      first = undefined;
      await tab.goto(url);
      return tab;
    };
    return { open };
  },
};

/** Tries to open a WebSocket from the tab's page. Returns "open", or the close code. */
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
