// Debian's Firefox, controlled by its Marionette protocol: over TCP, a JSON array after its length and a colon.
// Playwright supports only a Firefox that it has patched.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { trust } from "./certificates.js";
import { PATIENCE, run, until } from "./harness.js";

const PREFERENCES = {
  "marionette.port": 0, // A free port, which Firefox writes into a file.
  "media.navigator.streams.fake": true, // A fake camera.
  "media.navigator.permission.disabled": true,
  // No requests to hosts outside the namespaces.
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.safebrowsing.downloads.enabled": false,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.safebrowsing.update.enabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,#remote-settings-dummy/v1",
};

/** A Firefox with one tab, in the network namespace `netns` if one is given, that trusts `authority` if one is given.
 *  `openTab` opens more, each in a window of its own, so that none is in the background. */
export async function startFirefox({ netns, authority, preferences: more = {} } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "moss-firefox-"));
  const preferences = Object.entries({ ...PREFERENCES, ...more }).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
  await writeFile(join(profile, "user.js"), preferences.join(""));
  if (authority) await trust(profile, authority);

  const there = netns ? ["ip", "netns", "exec", netns] : ["env"];
  const command = [...there, "firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", profile];
  const firefox = run(command[0], command.slice(1), { HOME: profile, MOZ_CRASHREPORTER_DISABLE: "1" });
  let cable;
  const close = async () => {
    cable?.stdin.end();
    await firefox.stop();
    await rm(profile, { recursive: true, force: true });
  };
  try {
    const port = await until("Firefox names its port", () => readFile(join(profile, "MarionetteActivePort"), "utf8").catch(() => ""));
    // Marionette listens on the loopback of the namespace that Firefox is in.
    const pipe = `exec 3<>/dev/tcp/127.0.0.1/${port}; cat <&3 & exec cat >&3`;
    cable = spawn(there[0], [...there.slice(1), "bash", "-c", pipe], { stdio: ["pipe", "pipe", "inherit"] });
    return { ...(await control(cable)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The first tab, with the methods of Playwright that the tests use, and a method to open others. */
async function control(cable) {
  const waiting = new Map(); // By the command's number; 0 is the greeting.
  const answer = (number) =>
    new Promise((resolve, reject) => {
      waiting.set(number, { resolve, reject });
      setTimeout(() => reject(new Error("Firefox does not answer")), 2 * PATIENCE).unref();
    });
  const greeting = answer(0);
  let read = Buffer.alloc(0);
  cable.stdout.on("data", (bytes) => {
    read = Buffer.concat([read, bytes]);
    for (;;) {
      const colon = read.indexOf(":");
      const end = colon + 1 + Number(read.subarray(0, Math.max(colon, 0)));
      if (colon < 0 || read.length < end) return;
      const message = JSON.parse(read.subarray(colon + 1, end));
      read = read.subarray(end);
      const [, number, error, result] = Array.isArray(message) ? message : [1, 0, null, message];
      if (error) waiting.get(number).reject(new Error(`${error.error}: ${error.message}`));
      else waiting.get(number).resolve(result);
      waiting.delete(number);
    }
  });
  once(cable, "close").then(() => waiting.forEach(({ reject }) => reject(new Error("Firefox is gone"))));
  let last = 0;
  const plainCommand = (name, parameters = {}) => {
    const message = JSON.stringify([0, ++last, name, parameters]);
    cable.stdin.write(`${Buffer.byteLength(message)}:${message}`);
    return answer(last);
  };
  await greeting;
  await plainCommand("WebDriver:NewSession", { timeouts: { pageLoad: PATIENCE, script: PATIENCE, implicit: PATIENCE } });
  // Commands go to the window that was switched to last, so they run one after the other.
  let queue = Promise.resolve();
  let current;
  const inWindow = (handle, name, parameters) => {
    const turn = queue.then(async () => {
      if (current !== handle) await plainCommand("WebDriver:SwitchToWindow", { handle, focus: false });
      current = handle;
      return plainCommand(name, parameters);
    });
    queue = turn.catch(() => {});
    return turn;
  };
  const first = (current = (await plainCommand("WebDriver:GetWindowHandle")).value);
  const tabIn = (handle) => tabOf((name, parameters) => inWindow(handle, name, parameters));
  const openTab = async () => tabIn((await inWindow(first, "WebDriver:NewWindow", { type: "window" })).handle);
  return { tab: tabIn(first), openTab };
}

/** A tab, by commands to its window. */
function tabOf(command) {
  /** The element at the end of a path of selectors: each is searched in the shadow root of the previous one. */
  const find = async (first, ...deeper) => {
    const id = ({ value }) => Object.values(value)[0];
    const search = (value) => ({ using: "css selector", value });
    let element = id(await command("WebDriver:FindElement", search(first)));
    for (const selector of deeper) {
      const shadowRoot = id(await command("WebDriver:GetShadowRoot", { id: element }));
      element = id(await command("WebDriver:FindElementFromShadowRoot", { ...search(selector), shadowRoot }));
    }
    return { id: element };
  };
  const evaluate = async (code, ...args) => (await command("WebDriver:ExecuteScript", { script: `return (${code})(...arguments)`, args })).value;
  return {
    goto: (url) => command("WebDriver:Navigate", { url }),
    reload: () => command("WebDriver:Refresh"),
    close: () => command("WebDriver:CloseWindow"),
    evaluate,
    click: async (...path) => command("WebDriver:ElementClick", await find(...path)),
    fill: async (selector, text) => {
      const field = await find(selector);
      await command("WebDriver:ElementClear", field);
      await command("WebDriver:ElementSendKeys", { ...field, text });
    },
    textContent: (selector) => evaluate((selector) => document.querySelector(selector).textContent, selector),
    url: () => evaluate(() => document.URL),
    screenshot: async ({ path }) => writeFile(path, (await command("WebDriver:TakeScreenshot", { full: false })).value, "base64"),
  };
}
