import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { FakeMoss } from "./moss.js";
import { Network } from "./network.js";
import { Track } from "./rtc/media.js";
import { peerConnection } from "./rtc/connection.js";
import { webSocket } from "./websocket.js";
import { World } from "./world.js";

let world, network, a, b;

beforeEach(() => {
  world = new World(1);
  network = new Network(world);
  a = world.page("a");
  b = world.page("b");
  world.install();
});

const restored = (test) => async () => {
  try {
    await test();
  } finally {
    world.restore();
  }
  for (const page of world.pages) assert.deepEqual(page.errors, [], page.name);
};

describe("the world", () => {
  it("runs each event to the end of its promises, in the order of time", restored(async () => {
    const seen = [];
    await world.do(a, async () => {
      setTimeout(() => seen.push("late"), 20);
      setTimeout(async () => {
        await null;
        await null;
        seen.push(`early ${world.now}`);
      }, 10);
      setTimeout(() => seen.push("same time"), 10);
    });
    await world.run(100);
    assert.deepEqual(seen, ["early 10", "same time", "late"]);
  }));

  it("stops the timers of a page that is closed, and holds those of a frozen one", restored(async () => {
    const seen = [];
    await world.do(a, () => setInterval(() => seen.push("a"), 10));
    await world.do(b, () => setInterval(() => seen.push("b"), 10));
    a.close();
    b.freeze();
    await world.run(1000);
    assert.deepEqual(seen, []);
    b.thaw();
    await world.run(25);
    assert.deepEqual(seen, ["b", "b", "b"]);
  }));

  it("reports a page's errors, those of promises too", async () => {
    await world.do(a, () => setTimeout(() => Promise.reject(new Error("nobody looked")), 1));
    await world.do(b, () => setTimeout(() => { throw new Error("escaped"); }, 1));
    // The test runner must not see this error.
    const listeners = process.listeners("unhandledRejection").slice(0, -1);
    for (const listener of listeners) process.off("unhandledRejection", listener);
    await world.run(10);
    for (const listener of listeners) process.on("unhandledRejection", listener);
    world.restore();
    assert.deepEqual(world.pages.map(({ errors }) => errors.map(({ message }) => message)), [["nobody looked"], ["escaped"]]);
  });

  it("is the same for the same seed", restored(async () => {
    const draw = (seed) => {
      const again = new World(seed);
      return [again.random.next(), again.chance.hex(8), again.random.whole(1, 6)];
    };
    assert.deepEqual(draw(7), draw(7));
    assert.notDeepEqual(draw(7), draw(8));
  }));
});

describe("the fake moss", () => {
  let moss, WebSocket;

  beforeEach(() => {
    moss = new FakeMoss(world, { types: { offer: "master-offer", error: "moss-error", joined: "client-joined", left: "client-left", masterLeft: "master-left", kick: "kick" } });
    WebSocket = webSocket(world, moss);
  });

  async function connect(page, ...packets) {
    const peer = { seen: [], socket: undefined };
    await world.do(page, () => {
      peer.socket = new WebSocket("ws://box:8080/");
      peer.send = (type, payload, id) => page.run(() => peer.socket.send(JSON.stringify({ type, payload, id })));
      peer.socket.onopen = () => packets.forEach((packet) => peer.send(...packet));
      peer.socket.onmessage = ({ data }) => peer.seen.push(JSON.parse(data));
      peer.socket.onclose = ({ code, reason }) => peer.seen.push(`${code} ${reason}`);
    });
    await world.run(1000);
    return peer;
  }

  const claim = ["set-master", { secret: "secret", sdp: { calls: 1 } }];
  const types = ({ seen }) => seen.map((packet) => packet.type ?? packet);

  it("passes packets on between a client and the master", restored(async () => {
    const client = await connect(a, ["login"]);
    assert.deepEqual(client.seen, []);
    const master = await connect(b, claim);
    assert.deepEqual(types(master), ["master-confirmation", "client-joined"]);
    assert.deepEqual(client.seen, [{ type: "master-offer", payload: { calls: 1 } }]);
    client.send("hello", { x: 1 });
    await world.run(1000);
    const { id } = master.seen[1].payload;
    assert.deepEqual(master.seen[2], { type: "hello", payload: { x: 1 }, id });
    master.send("welcome", "", id);
    master.send("welcome", "", "1");
    master.send("welcome", "");
    await world.run(1000);
    assert.deepEqual(client.seen[1], { type: "welcome", payload: "" });
    assert.deepEqual(master.seen.slice(3).map(({ payload }) => payload.code), ["unknown-client", "missing-id"]);
    master.send("kick", "why", id);
    await world.run(1000);
    assert.equal(client.seen[2], "1008 why");
    assert.equal(types(master).at(-1), "client-left");
  }));

  it("reports masters that leave, and that are replaced", restored(async () => {
    const client = await connect(a, ["login"], ["x"]);
    assert.equal(client.seen[0].payload.code, "no-master");
    const first = await connect(b, claim);
    const second = await connect(world.page("c"), claim);
    assert.equal(first.seen.at(-1).payload.code, "replaced");
    await world.do(b, () => second.socket.close());
    await world.run(1000);
    assert.deepEqual(types(client).slice(1), ["master-offer", "master-offer", "master-left"]);
    const guest = await connect(world.page("d"), ["x"]);
    assert.equal(guest.seen[0].payload.code, "not-logged-in");
  }));

  it("breaks connections in every way", restored(async () => {
    const client = await connect(a, ["login"]);
    moss.kill();
    await world.run(1000);
    assert.deepEqual(client.seen, ["1006 "]);
    assert.deepEqual((await connect(a)).seen, ["1006 "]);
    moss.start();
    const silent = await connect(a, ["login"]);
    silent.socket.wire.silence();
    await world.run(30_000);
    assert.equal(moss.clients, 1);
    await world.run(11_000);
    assert.equal(moss.clients, 0);
    assert.deepEqual(silent.seen, []);
    moss.freeze();
    const late = await connect(a, ["login"]);
    assert.equal(late.socket.readyState, 0);
    moss.thaw();
    await world.run(100);
    assert.equal(late.socket.readyState, 1);
    a.offline = true;
    late.send("ping");
    await world.run(10_000);
    a.offline = false;
    await world.run(1000);
    assert.deepEqual(types(late), ["pong"]);
  }));

  it("loses, doubles and delays packets, and keeps their order", restored(async () => {
    const client = await connect(a, ["login"]);
    const master = await connect(b, claim);
    const fates = ["lose", "double", "late", "pass"];
    moss.spoil = () => fates.shift();
    for (const type of ["1", "2", "3", "4"]) client.send(type);
    await world.run(10_000);
    assert.deepEqual(types(master), ["master-confirmation", "client-joined", "2", "2", "3", "4"]);
  }));
});

describe("the fake RTCPeerConnection", () => {
  let Pc, pa, pb, log;

  beforeEach(async () => {
    Pc = peerConnection(world, network);
    log = [];
    await world.do(a, () => (pa = new Pc()));
    await world.do(b, () => (pb = new Pc()));
    for (const [page, pc, name] of [[a, pa, "a"], [b, pb, "b"]])
      await world.do(page, () => pc.addEventListener("connectionstatechange", () => log.push(`${name} ${pc.connectionState}`)));
  });

  const pass = (from, to, toPage) => {
    from.onicecandidate = ({ candidate }) =>
      candidate && world.after(5, toPage, () => to.addIceCandidate(candidate.toJSON()).catch((error) => log.push(error.name)));
  };
  const trickle = () => (pass(pa, pb, b), pass(pb, pa, a));

  /** The result of a promise of the page, a moment later. */
  async function ask(page, job) {
    let outcome = "pending";
    await world.do(page, () => job().then((value) => (outcome = value), (error) => (outcome = error.name)));
    await world.run(200);
    return outcome;
  }

  /** Exchanges offer and answer between two connections, as the pages would. */
  async function negotiate(offerer = pa, answerer = pb, pages = [a, b]) {
    await ask(pages[0], () => offerer.setLocalDescription());
    const offer = offerer.localDescription.toJSON();
    await ask(pages[1], () => answerer.setRemoteDescription(offer));
    await ask(pages[1], () => answerer.setLocalDescription());
    const answer = answerer.localDescription.toJSON();
    assert.equal(await ask(pages[0], () => offerer.setRemoteDescription(answer)), undefined);
  }

  async function call() {
    trickle();
    const channel = pa.createDataChannel("line");
    const seen = [];
    pb.ondatachannel = ({ channel: twin }) => {
      seen.twin = twin;
      twin.onmessage = ({ data }) => seen.push(data);
      twin.onclose = () => seen.push("closed");
    };
    await negotiate();
    await world.run(2000);
    return { channel, seen };
  }

  it("connects, and carries what a channel sends", restored(async () => {
    const { channel, seen } = await call();
    assert.equal(channel.readyState, "open");
    await world.do(a, () => channel.send("1"));
    await world.do(a, () => channel.send("2"));
    await world.run(100);
    assert.deepEqual([...seen], ["1", "2"]);
    assert.deepEqual([pa.connectionState, pb.connectionState], ["connected", "connected"]);
    const stats = await ask(a, () => pa.getStats());
    assert.equal(stats.get("L").candidateType, "host");
    await world.do(a, () => pa.close());
    await world.run(100);
    assert.deepEqual([...seen], ["1", "2", "closed"]);
  }));

  it("needs candidates", restored(async () => {
    pa.createDataChannel("line");
    await world.do(a, () => pa.setLocalDescription());
    await world.run(1);
    await negotiate();
    assert.ok(pa.localDescription.sdp.includes("a=candidate"), "candidates found so far must be in the description");
    const withNone = (description) => ({ type: description.type, sdp: description.sdp.replace(/a=candidate.*\r\n/g, "") });
    await world.do(a, () => (pa = new Pc()));
    await world.do(b, () => (pb = new Pc()));
    pa.createDataChannel("line");
    await ask(a, () => pa.setLocalDescription());
    await ask(b, () => pb.setRemoteDescription(withNone(pa.localDescription)));
    await ask(b, () => pb.setLocalDescription());
    await ask(a, () => pa.setRemoteDescription(withNone(pb.localDescription)));
    await world.run(60_000);
    assert.equal(pa.connectionState, "failed");
  }));

  it("is disconnected, comes back, fails, and is restarted", restored(async () => {
    const { channel, seen } = await call();
    network.block("direct", a, b);
    await world.run(8000);
    assert.deepEqual([pa.connectionState, pb.connectionState], ["disconnected", "disconnected"]);
    await world.do(a, () => channel.send("kept"));
    network.unblock("direct", a, b);
    await world.run(2000);
    assert.deepEqual([pa.connectionState, ...seen], ["connected", "kept"]);
    network.block("direct", a, b);
    await world.run(60_000);
    network.unblock("direct", a, b);
    await world.run(5000);
    assert.deepEqual([pa.connectionState, pb.connectionState], ["failed", "failed"]);
    const { ufrag } = pa.currentLocalDescription;
    let needed = 0;
    pa.onnegotiationneeded = () => (needed += 1);
    await world.do(a, () => pa.restartIce());
    await world.run(100);
    assert.equal(needed, 1);
    await negotiate();
    await world.run(2000);
    assert.notEqual(pa.currentLocalDescription.ufrag, ufrag);
    assert.deepEqual([pa.connectionState, pb.connectionState, channel.readyState], ["connected", "connected", "open"]);
  }));

  it("uses a relay if the direct path is blocked, and needs a restart for a new address", restored(async () => {
    const iceServers = [{ urls: "turn:box", username: "u", credential: "c" }];
    pa.setConfiguration({ iceServers });
    network.block("direct", a, b);
    await call();
    assert.equal((await ask(b, () => pb.getStats())).get("L").candidateType, "relay");
    a.address += 1;
    world.networkChanged();
    await world.run(60_000);
    assert.equal(pa.connectionState, "failed");
  }));

  it("rejects calls in wrong states, and rolls back", restored(async () => {
    trickle();
    assert.equal(await ask(a, () => pa.addIceCandidate({ candidate: "candidate:1", sdpMid: "0" })), "InvalidStateError");
    assert.equal(await ask(a, () => pa.setRemoteDescription({ type: "offer", sdp: "rubbish" })), "OperationError");
    pa.createDataChannel("line");
    await negotiate();
    assert.equal(await ask(a, () => pa.setRemoteDescription(pb.localDescription)), "InvalidStateError");
    await world.do(a, () => pa.addTransceiver("video"));
    await world.do(b, () => pb.addTransceiver("audio"));
    await ask(a, () => pa.setLocalDescription());
    await ask(b, () => pb.setLocalDescription());
    assert.deepEqual([pa.getTransceivers()[0].mid, pb.getTransceivers()[0].mid], ["1", "1"]);
    assert.equal(await ask(b, () => pb.setRemoteDescription({ type: "answer", sdp: pb.localDescription.sdp.replace("mid:1", "mid:7") })), "InvalidAccessError");
    // a is polite: b's offer wins, and a's transceiver waits for the next offer.
    await ask(a, () => pa.setRemoteDescription(pb.localDescription.toJSON()));
    assert.equal(pa.getTransceivers()[0].mid, null);
    let needed = 0;
    pa.onnegotiationneeded = () => (needed += 1);
    await ask(a, () => pa.setLocalDescription());
    await ask(b, () => pb.setRemoteDescription(pa.localDescription.toJSON()));
    await world.run(100);
    assert.equal(needed, 1);
    await negotiate();
    assert.deepEqual(pb.getTransceivers().map(({ kind, mid, currentDirection }) => [kind, mid, currentDirection]), [["audio", "1", "sendonly"], ["video", "2", "recvonly"]]);
  }));

  it("reports tracks, and replaces them without negotiation", restored(async () => {
    const tracks = [];
    pb.ontrack = ({ transceiver, track }) => tracks.push([transceiver.mid, track.kind, track === transceiver.receiver.track]);
    const camera = new Track(world, a, "video");
    const transceiver = pa.addTransceiver(camera, { direction: "sendonly" });
    await negotiate();
    assert.deepEqual(tracks, [["0", "video", true]]);
    pa.onnegotiationneeded = () => assert.fail("negotiation");
    assert.equal(await ask(a, () => transceiver.sender.replaceTrack(null)), undefined);
    assert.equal(await ask(a, () => transceiver.sender.replaceTrack(new Track(world, a, "audio"))), "TypeError");
    assert.equal(transceiver.sender.track, null);
  }));

  it("never settles promises that were pending when it was closed", restored(async () => {
    pa.createDataChannel("line");
    const outcome = await ask(a, () => {
      const promise = pa.setLocalDescription();
      pa.close();
      return promise;
    });
    assert.equal(outcome, "pending");
    assert.equal(await ask(a, () => pa.createOffer()), "InvalidStateError");
    assert.throws(() => pa.createDataChannel("x"), { name: "InvalidStateError" });
  }));
});
