import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { KEPT_BYTES, MESSAGE_BYTES, Messages } from "../src/messages.js";

test.beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
test.afterEach(() => mock.timers.reset());

/** One side. While its path is open, its packets go into `out`. */
function end() {
  const one = { messages: new Messages(), out: [], got: [], isOpen: true };
  one.messages.belongTo(
    (type, payload) => one.isOpen && one.out.push({ type, payload: structuredClone(payload) }) > 0,
    (data) => one.got.push(data),
  );
  one.sent = () => one.out.splice(0).map(({ type, payload }) => `${type} ${payload.n}`);
  one.hear = ({ type, payload }) => (type === "message" ? one.messages.receive(payload) : one.messages.acknowledged(payload));
  return one;
}

test("messages are numbered from 1, and acknowledged together", () => {
  const [a, b] = [end(), end()];
  for (const data of ["x", { y: [1] }, null]) assert.equal(a.messages.send(data), true);
  a.out.splice(0).forEach(b.hear);
  assert.deepEqual(b.got, ["x", { y: [1] }, null]);
  assert.deepEqual(b.sent(), []);
  mock.timers.tick(200);
  assert.deepEqual(b.sent(), ["ack 3"]);
});

test("each sixteenth message is acknowledged at once", () => {
  const b = end();
  for (let n = 1; n <= 16; n++) b.messages.receive({ n, data: n });
  assert.deepEqual(b.sent(), ["ack 16"]);
  mock.timers.tick(1000);
  assert.deepEqual(b.sent(), []);
});

test("a repeated message is acknowledged and not delivered again", () => {
  const b = end();
  b.messages.receive({ n: 1, data: "x" });
  b.messages.receive({ n: 1, data: "x" });
  assert.deepEqual([b.got, b.sent()], [["x"], ["ack 1"]]);
});

test("after a gap nothing is delivered or acknowledged", () => {
  const b = end();
  b.messages.receive({ n: 1, data: "x" });
  b.messages.receive({ n: 3, data: "z" });
  mock.timers.tick(200);
  assert.deepEqual([b.got, b.sent()], [["x"], ["ack 1"]]);
});

test("unacknowledged messages are sent again after 3 s, then 6, 12 and 24", () => {
  const a = end();
  a.messages.send("x");
  a.messages.send("y");
  a.sent();
  const when = [];
  for (let second = 1; second <= 75; second++) {
    a.messages.tick(1000);
    if (a.sent().length) when.push(second);
  }
  assert.deepEqual(when, [3, 9, 21, 45, 69]);
  a.messages.acknowledged({ n: 1 });
  a.messages.tick(3000);
  assert.deepEqual(a.sent(), ["message 2"]);
});

test("on a new path all unacknowledged messages and the last acknowledgement are sent again", () => {
  const a = end();
  a.isOpen = false;
  a.messages.send("x");
  a.messages.send("y");
  a.isOpen = true;
  a.messages.receive({ n: 1, data: "theirs" });
  a.messages.flush();
  assert.deepEqual(a.sent(), ["message 1", "message 2", "ack 1"]);
});

test("at most 256 messages are in flight", () => {
  const a = end();
  for (let n = 1; n <= 300; n++) a.messages.send(n);
  assert.equal(a.sent().at(-1), "message 256");
  a.messages.acknowledged({ n: 16 });
  assert.deepEqual(a.sent().slice(-1), ["message 272"]);
  a.messages.flush();
  assert.deepEqual(a.sent().filter((_, i, all) => i === 0 || i === all.length - 1), ["message 17", "message 272"]);
});

test("kept messages are sent at a rate below a master's limit", () => {
  const a = end();
  a.isOpen = false;
  for (let n = 1; n <= 3000; n++) a.messages.send(n);
  a.isOpen = true;
  let sent = 0;
  // Everything is acknowledged as soon as it is sent.
  const drain = () => {
    for (let packets = a.out.splice(0); packets.length; packets = a.out.splice(0)) {
      sent += packets.length;
      a.messages.acknowledged({ n: packets.at(-1).payload.n });
    }
    return sent;
  };
  a.messages.flush();
  assert.equal(drain(), 1000);
  a.messages.tick(1000);
  assert.equal(drain(), 1400);
  for (let second = 0; second < 4; second++) {
    a.messages.tick(1000);
    drain();
  }
  assert.equal(sent, 3000);
});

test("later changes to the application's object do not change the message", () => {
  const a = end();
  const data = { list: [1] };
  a.isOpen = false;
  a.messages.send(data);
  data.list.push(2);
  a.isOpen = true;
  a.messages.flush();
  assert.deepEqual(a.out[0].payload, { n: 1, data: { list: [1] } });
});

test("only JSON of up to 60,000 bytes is sent", () => {
  const a = end();
  assert.throws(() => a.messages.send(undefined), TypeError);
  assert.throws(() => a.messages.send(() => {}), TypeError);
  assert.throws(() => a.messages.send({ n: 1n }), TypeError);
  assert.equal(a.messages.send("x".repeat(MESSAGE_BYTES - 2)), true);
  assert.throws(() => a.messages.send("ä".repeat(MESSAGE_BYTES / 2)), RangeError);
});

test("at most 1 MiB is kept, and an acknowledgement makes room", () => {
  const a = end();
  const data = "x".repeat(49_998);
  const most = Math.floor(KEPT_BYTES / 50_000);
  for (let n = 1; n <= most; n++) assert.equal(a.messages.send(data), true);
  assert.equal(a.messages.send(data), false);
  a.messages.acknowledged({ n: 1 });
  assert.equal(a.messages.send(data), true);
  assert.equal(a.out.at(-1).payload.n, most + 1);
});

test("a new page on the other side gets only what was never sent, numbered from 1", () => {
  const a = end();
  a.messages.send("sent");
  a.isOpen = false;
  a.messages.send("not sent");
  a.messages.receive({ n: 1, data: "theirs" });
  a.messages.reset();
  a.isOpen = true;
  a.messages.flush();
  assert.deepEqual(a.out.slice(1), [{ type: "message", payload: { n: 1, data: "not sent" } }]);
  a.messages.receive({ n: 1, data: "of the next page" });
  assert.deepEqual(a.got, ["theirs", "of the next page"]);
});

test("invalid numbers change nothing", () => {
  const a = end();
  a.messages.send("x");
  a.sent();
  for (const n of [undefined, null, "1", 0, -1, 0.5, NaN, 1e308, {}, [1]]) {
    a.messages.receive({ n, data: "y" });
    if (n !== 0 && n !== -1 && n !== 0.5) a.messages.acknowledged({ n: n === 1e308 ? 1e308 : n });
  }
  a.messages.receive(null);
  a.messages.receive(undefined);
  a.messages.acknowledged(null);
  a.messages.acknowledged({ n: 2 });
  assert.deepEqual(a.got, []);
  a.sent();
  a.messages.flush();
  assert.deepEqual(a.sent(), ["message 1"]);
});

test("nothing runs after stop()", () => {
  const b = end();
  b.messages.receive({ n: 1, data: "x" });
  b.messages.stop();
  mock.timers.tick(1000);
  assert.deepEqual(b.sent(), []);
});
