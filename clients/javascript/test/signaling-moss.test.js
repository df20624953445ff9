// Signaling with a real moss, and with Node's own WebSocket: in Node before 22, with that of the package `ws`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, test } from "node:test";
import { Signaling } from "../src/signaling.js";
import { SECRET, startMoss, until } from "./moss.js";

const skip = !process.env.MOSS_BIN && "MOSS_BIN names no moss";
const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;

/** A peer that keeps all its events. */
function peer(t, address, options = {}) {
  const moss = new Signaling({ address, WebSocket, ...options });
  const events = { status: [], packet: [], problem: [] };
  for (const name of Object.keys(events)) moss.on(name, (detail) => events[name].push(detail));
  t.after(() => moss.stop());
  moss.start();
  const last = () => events.status.at(-1);
  return {
    moss,
    events,
    last,
    states: () => events.status.map(({ state }) => state),
    is: (state) => until(`${state}; it was ${JSON.stringify(events.status)}`, () => last().state === state),
    gets: (type, count = 1) =>
      until(`${count} ${type}; there were ${JSON.stringify(events.packet)}`, () => {
        const all = events.packet.filter((packet) => packet.type === type);
        return all.length >= count && all.at(-1);
      }),
  };
}

const master = (t, address, offer = { from: "the master" }) => peer(t, address, { secret: SECRET, offer });

describe("with a real moss", { skip, concurrency: true }, () => {
  test("packets go from a client to the master and back", async (t) => {
    const { address } = await startMoss(t);
    const client = peer(t, address);
    await client.is("ready");
    const host = master(t, address);
    assert.deepEqual((await client.gets("master-offer")).payload, { from: "the master" });
    const { payload } = await host.gets("client-joined");
    assert.ok(client.moss.send("hello", { a: [1] }));
    assert.deepEqual(await host.gets("hello"), { type: "hello", payload: { a: [1] }, id: payload.id });
    assert.ok(host.moss.send("hello", null, payload.id));
    assert.deepEqual(await client.gets("hello"), { type: "hello", payload: null });
  });

  test("`ready` comes before the offer", async (t) => {
    const { address } = await startMoss(t);
    await master(t, address).is("ready");
    const order = [];
    const moss = new Signaling({ address, WebSocket });
    t.after(() => moss.stop());
    moss.on("status", ({ state }) => order.push(state));
    moss.on("packet", ({ type }) => order.push(type));
    moss.start();
    await until("the offer", () => order.includes("master-offer"));
    assert.deepEqual(order, ["connecting", "ready", "master-offer"]);
  });

  test("a wrong secret stops a master; the next master replaces the first", async (t) => {
    const { address } = await startMoss(t);
    const wrong = peer(t, address, { secret: "not-the-secret-of-it" });
    await wrong.is("stopped");
    assert.deepEqual(wrong.last(), { state: "stopped", message: "The secret is wrong.", code: "wrong-secret" });
    const first = master(t, address);
    await first.is("ready");
    const second = master(t, address);
    await Promise.all([first.is("stopped"), second.is("ready")]);
    assert.equal(first.last().code, "replaced");
  });

  test("a moss with a login secret accepts clients that know it", async (t) => {
    const { address } = await startMoss(t, { MOSS_LOGIN_SECRET: "4711-and-some-more" });
    const none = peer(t, address);
    const wrong = peer(t, address, { loginSecret: "0815" });
    const right = peer(t, address, { loginSecret: "4711-and-some-more" });
    await Promise.all([none.is("stopped"), wrong.is("stopped"), right.is("ready")]);
    assert.equal(none.last().message, "moss asks for a code.");
    assert.equal(wrong.last().message, "The code is wrong.");
    assert.deepEqual([none.states(), wrong.states()], Array(2).fill(["connecting", "stopped"]));
  });

  test("a master's renewed offer reaches present and later clients", async (t) => {
    const { address } = await startMoss(t);
    const client = peer(t, address);
    const host = master(t, address, 1);
    assert.equal((await client.gets("master-offer")).payload, 1);
    host.moss.renew(2);
    assert.equal((await client.gets("master-offer", 2)).payload, 2);
    assert.equal((await peer(t, address).gets("master-offer")).payload, 2);
    assert.deepEqual(host.states(), ["connecting", "ready"]);
  });

  test("a client that is kicked does not come back", async (t) => {
    const { address } = await startMoss(t);
    const host = master(t, address);
    await host.is("ready");
    const client = peer(t, address);
    const { payload } = await host.gets("client-joined");
    host.moss.send("kick", "too loud", payload.id);
    await client.is("stopped");
    assert.deepEqual(client.last(), { state: "stopped", message: "moss closed this connection: too loud.", code: "kicked" });
  });

  test("a packet that moss could not pass on is a problem", async (t) => {
    const { address } = await startMoss(t);
    const client = peer(t, address);
    await client.is("ready");
    client.moss.send("hello");
    const problem = await until("a problem", () => client.events.problem[0]);
    assert.equal(problem.code, "no-master");
    assert.equal(client.last().state, "ready");
  });

  test("both sides reconnect to a moss that was killed, and the client gets the offer again", async (t) => {
    const moss = await startMoss(t);
    const host = master(t, moss.address);
    await host.is("ready");
    const client = peer(t, moss.address);
    await client.gets("master-offer");
    await moss.kill();
    const failed = (side) => until("a failed attempt", () => side.states().filter((s) => s === "waiting")[1]);
    await Promise.all([host, client].map(failed));
    const said = [...host.events.status, ...client.events.status].filter(({ state }) => state === "waiting");
    for (const { message } of said) assert.match(message, /^(The connection was lost|No connection to \S+\. Check that the address is right)/);
    await moss.again();
    await Promise.all([host.is("ready"), client.is("ready")]);
    await client.gets("master-offer", 2);
  });

  test("a moss that stops says so", async (t) => {
    const moss = await startMoss(t);
    const client = peer(t, moss.address);
    await client.is("ready");
    await moss.stop();
    // The client may have tried again before moss had ended.
    const { message } = await until("the client waits", () => client.events.status.find(({ state }) => state === "waiting"));
    assert.equal(message, "moss is stopping. Trying again.");
  });

  test("check() notices a frozen moss, and the message is right", async (t) => {
    const moss = await startMoss(t);
    const client = peer(t, moss.address);
    await client.is("ready");
    moss.freeze();
    client.moss.check();
    const waits = () => client.events.status.filter(({ state }) => state === "waiting").map(({ message }) => message);
    await until("an attempt that is given up", () => waits().length === 2);
    assert.deepEqual(waits(), [
      "moss no longer answers. Trying again.",
      `No connection to ${moss.address}. Check that the address is right, that moss is running, and that this device is in the same network. Trying again.`,
    ]);
    moss.thaw();
    await client.is("ready");
  });

  test("after stop() nothing keeps the program running", async (t) => {
    const { address } = await startMoss(t);
    const script = `
      import { Signaling } from "./src/signaling.js";
      const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;
      const moss = new Signaling({ address: "${address}", WebSocket });
      moss.on("status", ({ state }) => { if (state === "ready") moss.check(), moss.stop(); });
      moss.start();`;
    const program = spawn(process.execPath, ["--input-type=module", "-e", script], {
      cwd: new URL("..", import.meta.url),
      stdio: "inherit",
    });
    t.after(() => program.kill("SIGKILL"));
    await until("the program's end", () => program.exitCode !== null);
    assert.equal(program.exitCode, 0);
  });
});
