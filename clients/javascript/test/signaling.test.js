// Signaling against a fake WebSocket; the clock is the test's.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Signaling } from "../src/signaling.js";
import { fakeWebSocket } from "./fake-websocket.js";

const OFFER = { calls: 1, session: "s" };

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  mock.method(Math, "random", () => 1);
  mock.method(console, "warn", () => {});
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

/** A started Signaling, its fake WebSocket, and all its events. */
function started(options = {}) {
  const WebSocket = fakeWebSocket();
  const moss = new Signaling({ address: "box", WebSocket, ...options });
  const events = { status: [], packet: [], problem: [], order: [] };
  for (const name of ["status", "packet", "problem"])
    moss.on(name, (detail) => {
      events[name].push(detail);
      events.order.push(detail.state ?? detail.type ?? detail.code);
    });
  moss.start();
  return { moss, WebSocket, events, last: () => events.status.at(-1) };
}

function ready(options = {}) {
  const all = started(options);
  logIn(all);
  return all;
}

function logIn({ WebSocket, moss }) {
  WebSocket.last.open();
  WebSocket.last.receive(moss.secret === undefined ? "pong" : "master-confirmation");
}

/** Lets time pass in small steps, so that each timer runs at its own time. */
function pass(milliseconds) {
  for (let gone = 0; gone < milliseconds; gone += 100) mock.timers.tick(100);
}

/** The other side answers each ping until the time is over. */
function passAnswered({ WebSocket }, milliseconds) {
  for (let gone = 0; gone < milliseconds; gone += 100) {
    mock.timers.tick(100);
    const { sent } = WebSocket.last;
    if (sent.at(-1)?.type === "ping") {
      sent.push({ type: "answered" });
      WebSocket.last.receive("pong");
    }
  }
}

test("a client logs in, and is ready at the first packet from moss, before the event of that packet", () => {
  const { moss, WebSocket, events } = started();
  assert.equal(WebSocket.last.address, "ws://box:8080/");
  WebSocket.last.open();
  assert.deepEqual(WebSocket.last.sent, [
    { type: "login", payload: "" },
    { type: "ping", payload: "" },
  ]);
  assert.equal(moss.state, "connecting");
  WebSocket.last.receive("master-offer", OFFER);
  WebSocket.last.receive("pong");
  assert.deepEqual(events.order, ["connecting", "ready", "master-offer"]);
  assert.deepEqual(events.packet[0].payload, OFFER);
});

test("a master sends set-master, and is ready once confirmed", () => {
  const { WebSocket, events } = started({ secret: "s3cret", offer: OFFER });
  WebSocket.last.open();
  assert.deepEqual(WebSocket.last.sent, [{ type: "set-master", payload: { sdp: OFFER, secret: "s3cret" } }]);
  WebSocket.last.receive("pong");
  assert.deepEqual(events.order, ["connecting"]);
  WebSocket.last.receive("master-confirmation");
  WebSocket.last.receive("hello", 1, "7");
  assert.deepEqual(events.order, ["connecting", "ready", "hello"]);
  assert.equal(events.packet[0].id, "7");
});

test("send() from a master names the client, and fails before the master is ready and while it closes", () => {
  const { moss, WebSocket, last } = started({ secret: "s" });
  assert.equal(moss.send("hello"), false);
  WebSocket.last.open();
  assert.equal(moss.send("hello"), false);
  WebSocket.last.receive("master-confirmation");
  assert.equal(moss.send("hello", { a: 1 }, "7"), true);
  assert.equal(moss.send("hello"), true);
  assert.deepEqual(WebSocket.last.sent.slice(1), [
    { type: "hello", payload: { a: 1 }, id: "7" },
    { type: "hello", payload: "" },
  ]);
  WebSocket.last.readyState = 2;
  assert.equal(moss.send("hello"), false);
  assert.equal(last().state, "ready");
});

const refused = (code) => ["moss-error", { code, message: "no" }];
for (const [what, options, code, message] of [
  ["a client without the code that moss asks for", {}, "wrong-secret", "moss asks for a code."],
  ["a client with a wrong code", { loginSecret: "1" }, "wrong-secret", "The code is wrong."],
  ["a master with a wrong secret", { secret: "1" }, "wrong-secret", "The secret is wrong."],
  ["a master that another one replaced", { secret: "1" }, "replaced", "Another master has taken over."],
])
  test(`${what} stops, is never ready, and does not come back`, () => {
    const { WebSocket, events, last } = started(options);
    WebSocket.last.open();
    WebSocket.last.receive(...refused(code));
    WebSocket.last.receive("pong");
    assert.deepEqual(last(), { state: "stopped", message, code });
    assert.deepEqual(events.order, ["connecting", "stopped"]);
    pass(60_000);
    assert.equal(WebSocket.all.length, 1);
  });

test("a client sends its code in the login", () => {
  const { WebSocket } = started({ loginSecret: "4711" });
  WebSocket.last.open();
  assert.deepEqual(WebSocket.last.sent[0], { type: "login", payload: { secret: "4711" } });
});

test("a kicked client stops, and reports the reason", () => {
  const { WebSocket, last } = ready();
  WebSocket.last.end(1008, "be quiet");
  assert.deepEqual(last(), { state: "stopped", message: "moss closed this connection: be quiet.", code: "kicked" });
  pass(60_000);
  assert.equal(WebSocket.all.length, 1);
});

test("the message tells why moss closed a connection", () => {
  for (const [code, words] of [
    [1001, /^moss is stopping\. Trying again\.$/],
    [1009, /too large/],
    [1011, /received nothing/],
    [1013, /too slowly, or moss is full/],
    [1006, /^The connection was lost\. Trying again\.$/],
  ]) {
    const { WebSocket, last, moss } = ready();
    WebSocket.last.end(code);
    assert.match(last().message, words);
    moss.stop();
  }
});

test("pauses between attempts grow up to ten seconds", () => {
  const { WebSocket } = started();
  for (const pause of [500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
    const before = WebSocket.all.length;
    WebSocket.last.end();
    pass(pause - 100);
    assert.equal(WebSocket.all.length, before);
    pass(100);
    assert.equal(WebSocket.all.length, before + 1);
  }
});

test("pauses are random: between half of their length and all of it", () => {
  Math.random.mock.mockImplementation(() => 0);
  const { WebSocket } = started();
  WebSocket.last.end();
  mock.timers.tick(249);
  assert.equal(WebSocket.all.length, 1);
  mock.timers.tick(1);
  assert.equal(WebSocket.all.length, 2);
});

/** The length of the pause after the next loss. */
function pauseAfterLoss({ WebSocket }) {
  const before = WebSocket.all.length;
  WebSocket.last.end();
  for (let gone = 100; ; gone += 100) {
    mock.timers.tick(100);
    if (WebSocket.all.length > before) return gone;
  }
}

test("a connection of ten seconds resets the pause, one of a second does not", () => {
  const all = started();
  for (let i = 0; i < 4; i++) pauseAfterLoss(all);
  logIn(all);
  passAnswered(all, 1000);
  assert.equal(pauseAfterLoss(all), 8000);
  logIn(all);
  passAnswered(all, 10_000);
  assert.equal(pauseAfterLoss(all), 500);
});

test("a connection that answered for long before it stopped resets the pause, and so does start()", () => {
  const all = started();
  for (let i = 0; i < 4; i++) pauseAfterLoss(all);
  logIn(all);
  passAnswered(all, 30_000);
  while (all.last().state === "ready") pass(100);
  pass(400);
  assert.equal(all.last().state, "waiting");
  pass(100);
  assert.equal(all.last().state, "connecting");
  for (let i = 0; i < 4; i++) pauseAfterLoss(all);
  all.moss.start();
  assert.equal(pauseAfterLoss(all), 500);
});

test("a connection that opened and got no answer does not reset the pause", () => {
  const all = started();
  for (let i = 0; i < 4; i++) pauseAfterLoss(all);
  all.WebSocket.last.open();
  pass(14_900);
  assert.equal(all.last().state, "connecting");
  pass(100);
  assert.equal(all.last().state, "waiting");
  pass(7900);
  assert.equal(all.WebSocket.all.length, 5);
  pass(100);
  assert.equal(all.WebSocket.all.length, 6);
});

test("an attempt without an answer ends after ten seconds", () => {
  const { WebSocket, last } = started();
  const [first] = WebSocket.all;
  pass(9900);
  assert.equal(last().state, "connecting");
  pass(100);
  assert.equal(last().state, "waiting");
  assert.ok(first.closed);
  pass(500);
  assert.equal(WebSocket.all.length, 2);
});

test("an attempt that fails by `error` alone, as in Node 22, or by both, is tried again once", () => {
  for (const closes of [false, true]) {
    const { WebSocket, events, moss } = started();
    WebSocket.last.fail();
    if (closes) WebSocket.last.end(1006);
    pass(500);
    assert.deepEqual(events.order, ["connecting", "waiting", "connecting"]);
    assert.equal(WebSocket.all.length, 2);
    moss.stop();
  }
});

test("an error of an open connection waits for its close, which says more", () => {
  const { WebSocket, last } = ready();
  WebSocket.last.fail();
  assert.equal(last().state, "ready");
  WebSocket.last.end(1009);
  assert.match(last().message, /too large/);
});

test("the message of a failed attempt is about that attempt", () => {
  const { WebSocket, last } = ready();
  WebSocket.last.end();
  pass(500);
  WebSocket.last.end();
  assert.match(last().message, /^No connection to ws:\/\/box:8080\/\. Check that the address is right/);
});

test("an error of a connection that was given up is ignored", () => {
  const { moss, WebSocket, events } = started();
  moss.stop();
  WebSocket.last.fail();
  assert.deepEqual(events.order, ["connecting", "stopped"]);
  assert.equal(typeof WebSocket.last.onerror, "function");
});

test("a connection whose pings are not answered is given up", () => {
  const all = ready();
  passAnswered(all, 60_000);
  assert.equal(all.last().state, "ready");
  pass(30_000);
  assert.equal(all.events.status.find(({ state }) => state === "waiting").message, "moss no longer answers. Trying again.");
  assert.ok(all.WebSocket.all[0].closed);
});

test("check(): without an answer within five seconds, the connection is lost", () => {
  const { moss, WebSocket, last } = ready();
  WebSocket.last.sent.length = 0;
  moss.check();
  pass(2000);
  moss.check();
  assert.deepEqual(WebSocket.last.sent, [{ type: "ping", payload: "" }]);
  pass(2900);
  assert.equal(last().state, "ready");
  pass(100);
  assert.equal(last().state, "waiting");
  assert.equal(last().message, "moss no longer answers. Trying again.");
});

test("check(): any packet from moss is an answer, and the next check starts from zero", () => {
  const { moss, WebSocket, last } = ready();
  moss.check();
  pass(4000);
  WebSocket.last.receive("hello");
  pass(4000);
  moss.check();
  pass(4900);
  assert.equal(last().state, "ready");
  WebSocket.last.receive("pong");
  pass(1000);
  assert.equal(last().state, "ready");
});

test("check(): the time in which a page was frozen does not count", () => {
  const { moss, WebSocket, last } = ready();
  // A frozen page gets only one late tick of a repeated timer.
  let tick;
  mock.method(globalThis, "setInterval", (run) => ((tick = run), 1));
  moss.check();
  for (let i = 0; i < 4; i++) tick();
  assert.equal(last().state, "ready");
  WebSocket.last.receive("pong");
  assert.equal(last().state, "ready");
});

test("check() connects at once while waiting, and does nothing while connecting or stopped", () => {
  const { moss, WebSocket, last } = started();
  moss.check();
  assert.equal(WebSocket.all.length, 1);
  WebSocket.last.end();
  moss.check();
  assert.equal(last().state, "connecting");
  assert.equal(WebSocket.all.length, 2);
  pass(2000);
  assert.equal(WebSocket.all.length, 2);
  moss.stop();
  moss.check();
  pass(20_000);
  assert.equal(WebSocket.all.length, 2);
});

test("renew() works before the confirmation, when ready and after a reconnect, and `ready` comes once", () => {
  const { moss, WebSocket, events } = started({ secret: "s", offer: 1 });
  moss.renew(2);
  WebSocket.last.open();
  moss.renew(3);
  WebSocket.last.receive("master-confirmation");
  moss.renew(4);
  WebSocket.last.receive("master-confirmation");
  const offers = () => WebSocket.last.sent.map(({ payload }) => payload.sdp);
  assert.deepEqual(offers(), [2, 3, 4]);
  assert.deepEqual(events.order, ["connecting", "ready"]);
  WebSocket.last.end();
  moss.renew(5);
  pass(500);
  logIn({ WebSocket, moss });
  assert.deepEqual(offers(), [5]);
  assert.throws(() => ready().moss.renew({}), TypeError);
});

test("after stop() there is no event, and no timer runs", () => {
  for (const reach of [started, ready, () => (started().WebSocket.last.end(), started())]) {
    const { moss, WebSocket, events } = reach();
    moss.check();
    moss.stop("Enough.", "enough");
    const { length } = events.order;
    WebSocket.last.receive("hello");
    WebSocket.last.end();
    pass(60_000);
    assert.deepEqual(events.status.at(-1), { state: "stopped", message: "Enough.", code: "enough" });
    assert.equal(events.order.length, length);
    assert.equal(WebSocket.all.length, 1);
    moss.stop();
    assert.equal(events.order.length, length);
  }
});

test("a handler may stop it in any state", () => {
  for (const at of ["connecting", "ready", "waiting"]) {
    const WebSocket = fakeWebSocket();
    const moss = new Signaling({ address: "box", WebSocket });
    const order = [];
    moss.on("packet", ({ type }) => order.push(type));
    moss.on("status", ({ state }) => {
      order.push(state);
      if (state === at) moss.stop();
    });
    moss.start();
    if (at !== "connecting") WebSocket.last.open();
    if (at !== "connecting") WebSocket.last.receive("master-offer");
    if (at === "waiting") WebSocket.last.end();
    pass(60_000);
    assert.equal(order.at(-1), "stopped");
    assert.equal(order.at(-2), at === "waiting" ? "waiting" : at);
    assert.ok(WebSocket.all.every(({ closed }) => closed) || at === "waiting");
    assert.equal(WebSocket.all.length, 1);
  }
});

test("a second start() makes a new connection and closes the old one", () => {
  const { moss, WebSocket, events } = ready();
  moss.start();
  assert.ok(WebSocket.all[0].closed);
  WebSocket.all[0].receive("late");
  assert.deepEqual(events.order, ["connecting", "ready", "connecting"]);
});

test("other errors from moss are problems, and the connection stays open", () => {
  const { WebSocket, events, last } = ready({ secret: "s" });
  const problem = { code: "unknown-client", message: "no client with this id is here", id: "7" };
  WebSocket.last.receive("moss-error", problem);
  assert.deepEqual(events.problem, [problem]);
  assert.equal(last().state, "ready");
});

test("errorType names the type of moss's errors", () => {
  const { WebSocket, events } = ready({ errorType: "oops" });
  WebSocket.last.receive("oops", { code: "no-master", message: "" });
  WebSocket.last.receive("moss-error", { code: "no-master", message: "" });
  assert.deepEqual(events.order.slice(2), ["no-master", "moss-error"]);
});

test("a client's packet is not taken for moss's, whatever its type", () => {
  const { WebSocket, events, last } = ready({ secret: "s" });
  for (const type of ["moss-error", "pong", "master-confirmation"]) WebSocket.last.receive(type, { code: "replaced" }, "7");
  assert.deepEqual(events.order.slice(2), ["moss-error", "pong", "master-confirmation"]);
  assert.equal(last().state, "ready");
});

test("a client's packet does not confirm a master", () => {
  const { moss, WebSocket } = started({ secret: "s" });
  WebSocket.last.open();
  WebSocket.last.receive("master-confirmation", "", "7");
  assert.equal(moss.state, "connecting");
});

test("invalid payloads from the other side end nothing", () => {
  const { WebSocket, events, last } = ready();
  for (const payload of [null, 5, [], { code: 5 }, {}]) WebSocket.last.receive("moss-error", payload);
  for (const code of ["constructor", "toString", "__proto__", "replaced"])
    WebSocket.last.receive("moss-error", { code, message: "" });
  assert.equal(events.packet.length, 5);
  assert.equal(events.problem.length, 4);
  assert.equal(last().state, "ready");
});

test("a server that sends no packets is reported as `not-moss`", () => {
  const { WebSocket, events } = ready();
  for (const text of ["hello", "null", "5", "{}", '{"type":5}']) WebSocket.last.text(text);
  assert.deepEqual(events.order.slice(2), Array(5).fill("not-moss"));
  assert.match(events.problem[0].message, /ws:\/\/box:8080\//);
});

test("addresses may be written as people type them", () => {
  for (const [typed, address] of [
    ["box", "ws://box:8080/"],
    [" 192.168.1.5 ", "ws://192.168.1.5:8080/"],
    ["box:9000", "ws://box:9000/"],
    ["box:80", "ws://box/"],
    ["box:9000?x=1", "ws://box:9000/?x=1"],
    ["box/game/", "ws://box:8080/game/"],
    ["[::1]", "ws://[::1]:8080/"],
    ["ws://box", "ws://box/"],
    ["wss://box:8443/", "wss://box:8443/"],
    ["http://box:8080/game/#a", "ws://box:8080/game/"],
    ["HTTPS://box", "wss://box/"],
    [new URL("http://box"), "ws://box/"],
  ])
    assert.equal(Signaling.address(typed), address);
  for (const typed of ["", "ftp://box", "a b", "fe80::1"]) assert.throws(() => Signaling.address(typed), TypeError);
});

test("invalid options throw", () => {
  const WebSocket = fakeWebSocket();
  assert.throws(() => new Signaling({ WebSocket }), /TypeError: this page did not come from a server: give the address of moss/);
  assert.throws(() => new Signaling({ address: "box", WebSocket: undefined, ...noWebSocket() }), /use Node 22 or newer/);
  assert.throws(() => new Signaling({ address: "box", WebSocket, secret: 5 }), TypeError);
  assert.throws(() => new Signaling({ address: "box", WebSocket, loginSecret: 5 }), TypeError);
});

function noWebSocket() {
  return globalThis.WebSocket ? { WebSocket: null } : {};
}

test("an error in the WebSocket's constructor stops it", () => {
  const { last } = started({
    WebSocket: class {
      constructor() {
        throw new SyntaxError("no");
      }
    },
  });
  assert.deepEqual(last(), { state: "stopped", message: "No WebSocket: SyntaxError: no" });
});
