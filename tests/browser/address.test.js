// The WebSocket address that the library makes from what people type, and from the page's own address.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Signaling } from "../../examples/browser/moss-signaling.js";

const on = (page) => (globalThis.location = new URL(page));

test("a page's own address is the root of its origin, with the scheme of WebSockets", () => {
  for (const [page, address] of [
    ["http://192.168.1.5:8080/", "ws://192.168.1.5:8080/"],
    ["http://[fd00::5]:8080/client.html", "ws://[fd00::5]:8080/"],
    ["https://box.local:8443/client.html?query=/#fragment", "wss://box.local:8443/"],
    ["https://example.org/game/client.html", "wss://example.org/"],
  ]) {
    on(page);
    assert.equal(Signaling.here, address);
  }
});

test("a page from a file has no address of its own", () => {
  on("file:///home/somebody/client.html");
  assert.throws(() => new Signaling(), TypeError);
});

test("missing parts of an address are added", () => {
  on("http://192.168.1.5:8000/client.html");
  for (const [typed, address] of [
    ["box", "ws://box:8080/"],
    [" 192.168.1.5 ", "ws://192.168.1.5:8080/"],
    ["box:80", "ws://box/"],
    ["[fd00::5]", "ws://[fd00::5]:8080/"],
    ["box/moss", "ws://box:8080/moss"],
    ["http://box/moss#here", "ws://box/moss"],
    ["https://box:8443", "wss://box:8443/"],
  ])
    assert.equal(Signaling.address(typed), address);
  for (const none of ["", "box:808080", "ftp://box", "a b"]) assert.throws(() => Signaling.address(none), TypeError, none);
});

test("on a page from https:// an address becomes wss://", () => {
  on("https://192.168.1.5:8000/client.html");
  for (const [typed, address] of [
    ["box", "wss://box:8443/"],
    ["box:443", "wss://box/"],
    ["box:9000", "wss://box:9000/"],
    ["ws://localhost:8080", "ws://localhost:8080/"],
  ])
    assert.equal(Signaling.address(typed), address);
});
