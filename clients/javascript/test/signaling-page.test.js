// Signaling in a page. The page is a fake, and the clock is the test's.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Signaling } from "../src/signaling.js";
import { fakeWebSocket } from "./fake-websocket.js";

const NAMES = ["location", "origin", "document", "addEventListener", "removeEventListener", "fetch"];
const before = NAMES.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  mock.method(Math, "random", () => 1);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
  for (const [name, property] of before) {
    delete globalThis[name];
    if (property) Object.defineProperty(globalThis, name, property);
  }
});

class Listened extends EventTarget {
  listeners = new Set();
  addEventListener(name, listener) {
    this.listeners.add(listener);
    super.addEventListener(name, listener);
  }
  removeEventListener(name, listener) {
    this.listeners.delete(listener);
    super.removeEventListener(name, listener);
  }
}

/** A page at `href`, and its calls of `fetch`. */
function page(href) {
  const { origin, protocol } = new URL(href);
  const window = new Listened();
  const document = Object.assign(new Listened(), { visibilityState: "visible" });
  const asked = [];
  const globals = {
    location: { href, protocol },
    origin: protocol === "file:" ? "null" : origin,
    document,
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window),
    fetch: (url, { mode, signal }) =>
      new Promise((resolve, reject) => asked.push({ url: url.href, mode, signal, answers: () => resolve({}), fails: reject })),
  };
  for (const [name, value] of Object.entries(globals))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  return {
    asked,
    listeners: () => [window.listeners.size, document.listeners.size],
    online: () => window.dispatchEvent(new Event("online")),
    look: (visibilityState) => {
      document.visibilityState = visibilityState;
      document.dispatchEvent(new Event("visibilitychange"));
    },
  };
}

function started(options = {}) {
  const WebSocket = fakeWebSocket();
  const moss = new Signaling({ WebSocket, ...options });
  const status = [];
  moss.on("status", (detail) => status.push(detail));
  moss.start();
  return { moss, WebSocket, status, messages: () => status.map(({ message }) => message) };
}

/** Waits until all promises have settled. */
const settled = () => new Promise(setImmediate);

test("the default address is the moss that served the page, even for a page in a subfolder", () => {
  for (const [href, address] of [
    ["http://box:8080/client.html?a#b", "ws://box:8080/"],
    ["https://example.org/game/client.html", "wss://example.org/"],
  ]) {
    page(href);
    assert.equal(Signaling.here, address);
    assert.equal(started().WebSocket.last.address, address);
  }
});

test("a page from a file needs an address", () => {
  page("file:///home/me/client.html");
  assert.throws(() => new Signaling({ WebSocket: fakeWebSocket() }), /TypeError: this page did not come from a server/);
});

test("on a page from https:// a bare name means wss:// and port 8443", () => {
  page("https://box:8443/");
  assert.equal(Signaling.address("box"), "wss://box:8443/");
  assert.equal(Signaling.address("box:1"), "wss://box:1/");
});

test("a ws:// address on a page from https:// stops with a message that says why", () => {
  page("https://box:8443/");
  const { status } = started({
    address: "ws://box",
    WebSocket: class {
      constructor() {
        throw new DOMException("insecure", "SecurityError");
      }
    },
  });
  assert.deepEqual(status, [{ state: "stopped", message: "A page from https:// may not open ws://, only wss://." }]);
});

test("when the network is back, it connects at once, or tests its connection", () => {
  const { online } = page("http://box:8080/");
  const { WebSocket, moss } = started();
  WebSocket.last.end();
  online();
  assert.equal(WebSocket.all.length, 2);
  WebSocket.last.open();
  WebSocket.last.receive("pong");
  WebSocket.last.sent.length = 0;
  online();
  assert.deepEqual(WebSocket.last.sent, [{ type: "ping", payload: "" }]);
  moss.stop();
  online();
  assert.equal(WebSocket.all.length, 2);
});

test("a page that becomes visible connects at once, one that becomes hidden does not", () => {
  const { look } = page("http://box:8080/");
  const { WebSocket, moss } = started();
  WebSocket.last.end();
  look("hidden");
  assert.equal(WebSocket.all.length, 1);
  look("visible");
  assert.equal(WebSocket.all.length, 2);
  WebSocket.last.end();
  moss.stop();
  look("visible");
  assert.equal(WebSocket.all.length, 2);
});

test("a stopped Signaling leaves no listener at the page", () => {
  const { listeners } = page("http://box:8080/");
  const { moss, WebSocket } = started();
  moss.start();
  assert.deepEqual(listeners(), [1, 1]);
  moss.stop();
  assert.deepEqual(listeners(), [0, 0]);
  moss.start();
  WebSocket.last.end(1008);
  assert.deepEqual(listeners(), [0, 0]);
});

const NO_CONNECTION = "No connection to ws://box:8080/. Check that the address is right, that moss is running, and that this device is in the same network.";

test("if nothing answers, the message says only that there is no connection", async () => {
  const { asked } = page("http://box:8080/client.html");
  const { WebSocket, messages } = started();
  WebSocket.last.end();
  asked[0].fails(new TypeError("Failed to fetch"));
  await settled();
  assert.deepEqual([asked[0].url, asked[0].mode], ["http://box:8080/health", "no-cors"]);
  assert.deepEqual(messages().slice(1), [`${NO_CONNECTION} Trying again.`]);
});

test("if something answers but opens no WebSocket, the message names possible reasons", async () => {
  const { asked } = page("http://elsewhere/");
  const { WebSocket, messages } = started({ address: "box" });
  WebSocket.last.end();
  asked[0].answers();
  await settled();
  assert.deepEqual(messages().slice(1), [
    `${NO_CONNECTION} Check that moss allows this page's origin, "http://elsewhere". Trying again.`,
    "Something answers at ws://box:8080/, but does not open a WebSocket: moss may be full, or not allow this page's origin, " +
      '"http://elsewhere". Trying again.',
  ]);
});

test("the message does not claim that a moss which was frozen refuses connections", async () => {
  const { asked } = page("http://box:8080/");
  const { messages } = started();
  for (let i = 0; i < 100; i++) mock.timers.tick(100);
  asked[0].answers();
  await settled();
  assert.equal(
    messages().at(-1),
    "Something answers at ws://box:8080/, but no WebSocket opened within 10 seconds. Trying again.",
  );
});

test("an answer of /health that comes after the next attempt is ignored", async () => {
  const { asked } = page("http://box:8080/");
  const { WebSocket, status } = started();
  WebSocket.last.end();
  mock.timers.tick(500);
  asked[0].answers();
  await settled();
  assert.ok(asked[0].signal.aborted);
  assert.deepEqual(
    status.map(({ state }) => state),
    ["connecting", "waiting", "connecting"],
  );
});

test("/health is not requested when an open connection is lost", () => {
  const { asked } = page("http://box:8080/");
  const { WebSocket, messages } = started();
  WebSocket.last.open();
  WebSocket.last.receive("pong");
  WebSocket.last.end();
  assert.equal(asked.length, 0);
  assert.equal(messages().at(-1), "The connection was lost. Trying again.");
});

test("with wss:// the message names the certificate as a possible reason", () => {
  page("https://elsewhere/");
  const { WebSocket, messages } = started({ address: "box" });
  WebSocket.last.end();
  assert.match(messages().at(-1), /Check that its certificate is trusted: open https:\/\/box:8443\/health in this browser\./);
});
