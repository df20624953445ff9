// A master and five clients against a real moss, with the `ws` library.
//
//     node peers.js ws://127.0.0.1:8080/   # or wss://, from an authority in NODE_EXTRA_CA_CERTS
//
// The secret and the offer's type are taken from moss's variables. Each step prints a line; the
// first violation of the protocol ends the script with status 1.

import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";

const url = process.argv[2];
const secret = process.env.MOSS_CONNECTION_SECRET;
const offer = process.env.MOSS_CONNECTION_OFFER_TYPE;
const patience = 60_000;

/** A connection that sends and receives packets. */
class Peer {
  #socket;
  #received = [];
  #wake = () => {};

  static async connect() {
    const peer = new Peer();
    peer.#socket = new WebSocket(url, { handshakeTimeout: patience });
    peer.#socket.on("message", (data, isBinary) => {
      assert(!isBinary, "packets come as text");
      peer.#received.push(JSON.parse(data.toString()));
      peer.#wake();
    });
    await once(peer.#socket, "open");
    return peer;
  }

  send(type, payload, id) {
    this.#socket.send(JSON.stringify({ type, payload, id }));
  }

  async receive() {
    if (this.#received.length === 0) {
      const { promise, resolve, reject } = withResolvers();
      const timer = setTimeout(() => reject(new Error("no packet came")), patience);
      this.#wake = resolve;
      await promise;
      clearTimeout(timer);
    }
    return this.#received.shift();
  }

  /** The next packet must have this type and payload. Returns the packet. */
  async expect(type, payload) {
    const packet = await this.receive();
    assert.deepEqual([packet.type, packet.payload], [type, payload]);
    return packet;
  }

  async expectError(code) {
    const packet = await this.receive();
    assert.deepEqual([packet.type, packet.payload.code], ["moss-error", code]);
  }

  /** No packet may be waiting: the answer to a ping must be the next one. */
  async expectNothing() {
    this.send("ping");
    await this.expect("pong", "");
  }

  async setMaster(sdp) {
    this.send("set-master", { secret, sdp });
    await this.expect("master-confirmation", "");
  }

  /** Closes, and returns the code of moss's answer. */
  async close() {
    this.#socket.close(1000);
    const [code] = await once(this.#socket, "close", { signal: AbortSignal.timeout(patience) });
    return code;
  }
}

function withResolvers() {
  let resolve, reject;
  const promise = new Promise((...functions) => ([resolve, reject] = functions));
  return { promise, resolve, reject };
}

/** Each client exchanges a packet with the master. Returns the clients' ids. */
async function forwardBothWays(master, clients) {
  const ids = [];
  for (const [number, client] of clients.entries()) {
    const answer = { sdp: `answer ${number}` };
    client.send("answer", answer);
    ids.push((await master.expect("answer", answer)).id);
  }
  for (const [number, id] of ids.entries()) {
    master.send("candidate", [number, null], id);
  }
  for (const [number, client] of clients.entries()) {
    const packet = await client.expect("candidate", [number, null]);
    assert(!("id" in packet));
  }
  for (const peer of [master, ...clients]) {
    await peer.expectNothing();
  }
  return ids;
}

async function expectOffer(clients, sdp) {
  for (const client of clients) {
    await client.expect(offer, sdp);
  }
}

const clients = [];
for (let count = 0; count < 5; count++) {
  const client = await Peer.connect();
  client.send("login");
  await client.expectNothing();
  clients.push(client);
}
console.log("login: five clients, and no offer without a master");

const first = await Peer.connect();
await first.setMaster({ sdp: "first" });
await expectOffer(clients, { sdp: "first" });
console.log("offer: sent to each client");

const ids = await forwardBothWays(first, clients);
assert.equal(new Set(ids).size, 5);
first.send("candidate", "", "0");
await first.expectError("unknown-client");
console.log("forward: in both directions, under five ids");

let second = await Peer.connect();
await second.setMaster({ sdp: "second" });
await first.expectError("replaced");
await expectOffer(clients, { sdp: "second" });
assert.deepEqual(await forwardBothWays(second, clients), ids);
await first.expectNothing();
console.log("takeover: the old master is told, the ids stay");

await second.close();
clients[0].send("answer");
await clients[0].expectError("no-master");
clients[0].send("login");
await clients[0].expectNothing();
second = await Peer.connect();
await second.setMaster({ sdp: "restarted" });
await expectOffer(clients, { sdp: "restarted" });
assert.deepEqual(await forwardBothWays(second, clients), ids);
console.log("restart: no stale offer, a new one to each client, the ids stay");

for (const peer of [first, second, ...clients]) {
  assert.equal(await peer.close(), 1000);
}
