import assert from "node:assert/strict";
import { test } from "node:test";
import { Emitter } from "../src/emitter.js";

function heard(emitter, name) {
  const all = [];
  emitter.on(name, (detail) => all.push(detail));
  return all;
}

test("each handler gets each event, until it is removed", () => {
  const emitter = new Emitter();
  const all = heard(emitter, "message");
  const some = [];
  const off = emitter.on("message", (detail) => some.push(detail));
  emitter.emit("message", 1);
  off();
  off();
  emitter.emit("message", 2);
  emitter.emit("other", 3);
  assert.deepEqual([all, some], [[1, 2], [1]]);
});

test("a function that is added twice is called twice, and removed once", () => {
  const emitter = new Emitter();
  const all = [];
  const handler = (detail) => all.push(detail);
  const off = emitter.on("message", handler);
  emitter.on("message", handler);
  emitter.emit("message", 1);
  off();
  emitter.emit("message", 2);
  assert.deepEqual(all, [1, 1, 2]);
});

test("handlers may be added and removed during an event", () => {
  const emitter = new Emitter();
  const all = [];
  emitter.on("message", () => {
    off();
    emitter.on("message", () => all.push("new"));
  });
  const off = emitter.on("message", () => all.push("removed"));
  emitter.emit("message", 1);
  assert.deepEqual(all, []);
});

test("an error of a handler is reported, and the other handlers are called", async (t) => {
  const reported = t.mock.method(console, "error", () => {});
  const emitter = new Emitter();
  emitter.on("message", () => {
    throw new Error("thrown");
  });
  emitter.on("message", async () => {
    throw new Error("rejected");
  });
  const all = heard(emitter, "message");
  emitter.emit("message", 1);
  await new Promise(setImmediate);
  assert.deepEqual(all, [1]);
  assert.deepEqual(
    reported.mock.calls.map((call) => call.arguments[0].message),
    ["thrown", "rejected"],
  );
});

test("reportError is used if there is one", (t) => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  t.after(() => delete globalThis.reportError);
  const emitter = new Emitter();
  emitter.on("message", () => {
    throw new Error("thrown");
  });
  emitter.emit("message", 1);
  assert.deepEqual(reported, ["thrown"]);
});

test("a problem without a handler goes to the console", (t) => {
  const warned = t.mock.method(console, "warn", () => {});
  const emitter = new Emitter();
  emitter.emit("problem", { code: "full", message: "Too much is kept." });
  assert.equal(warned.mock.calls[0].arguments[0], "moss: Too much is kept. (full)");
  const all = heard(emitter, "problem");
  emitter.emit("problem", { code: "full", message: "" });
  assert.deepEqual([all.length, warned.mock.callCount()], [1, 1]);
});

test("a handler that is not a function is refused", () => {
  assert.throws(() => new Emitter().on("message", undefined), /"message" is not a function/);
});
