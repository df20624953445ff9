// A hostile client affects only itself.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { staged } from "./actors.js";

const SECTION = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendrecv\r\n";
const DEEP = "[".repeat(20_000) + "]".repeat(20_000); // JSON.parse takes it, JSON.stringify does not.
const GROWS = `[${"1e20,".repeat(40_000)}1]`; // JSON.stringify writes each number with 21 digits.

describe("a stranger", () => {
  test("does not get back a call that is too long", staged(async (stage) => {
    await stage.master();
    const stranger = await stage.stranger();
    await stranger.sendText(`{"type":"member","payload":{"session":"${stranger.session}","key":"k","life":"l","call":${GROWS}}}`);
    await stage.run(1);
    assert.equal(stage.tooLong, 0);
    assert.equal(stranger.of("welcome").length, 1);
  }));

  for (const field of ["call", "hello", "life"])
    test(`may have a ${field} that JSON.stringify refuses`, staged(async (stage) => {
      const { master } = await stage.master();
      await stage.run(1);
      const { session } = master;
      const text = JSON.stringify({ type: "member", payload: { session, key: "k", life: "l", [field]: 0 }, id: "1" });
      stage.moss.master.toPage(text.replace(`"${field}":0`, `"${field}":${DEEP}`));
      await stage.run(1);
    }));

  test("does not get back an invalid number", staged(async (stage) => {
    await stage.master();
    const stranger = await stage.stranger();
    await stranger.enter();
    await stranger.call();
    for (const n of ["2".repeat(250_000), [2], 2.5, 1e300, true])
      await stranger.send("offer", { call: "call", n, description: stranger.pc.localDescription });
    await stage.run(3);
    assert.equal(stage.tooLong, 0);
    assert.equal(stranger.of("answer").length, 1);
  }));

  test("can't send `member` without limit", staged(async (stage) => {
    const { problems, last } = await stage.master();
    const stranger = await stage.stranger();
    await stranger.enter();
    let heard = 0;
    last().on("hello", () => heard++);
    for (let hello = 0; hello < 3000; hello++) await stranger.send("member", { session: stranger.session, key: "key", life: "life", hello });
    await stage.run(1);
    assert.ok(heard > 1000 && heard < 2600, `${heard} times`);
    assert.deepEqual(problems, ["flood"]);
  }));

  test("can offer at most 64 media", staged(async (stage) => {
    const { problems } = await stage.master();
    const stranger = await stage.stranger();
    await stranger.enter();
    const sdp = (count) => `v=0\r\na=ice-ufrag:u\r\na=fingerprint:sha-256 F\r\n${Array.from({ length: count }, (_, i) => `${SECTION}a=mid:${i}\r\n`).join("")}`;
    for (const count of [65, 64]) await stranger.send("offer", { call: `${count}`, n: 1, description: { type: "offer", sdp: sdp(count) } });
    await stage.run(1);
    assert.deepEqual(problems, ["invalid"]);
    assert.deepEqual(stranger.of("answer").map(({ call }) => call), ["64"]);
  }));

  test("uses up its limit by each medium as by a packet", staged(async (stage) => {
    const { problems, last } = await stage.master();
    const stranger = await stage.stranger();
    await stranger.enter();
    await stranger.call();
    let events = 0;
    last().on("media", () => events++);
    const media = Array.from({ length: 2500 }, (_, i) => ({ mid: "1", name: `${i}`, on: true }));
    for (let i = 0; i < 10; i++) await stranger.send("media", { call: "call", media: media.map((medium) => ({ ...medium, on: i % 2 === 0 })) });
    await stage.run(1);
    assert.equal(events, 0);
    assert.deepEqual(problems, ["flood"]);
  }));

  test("gets at most a thousand datagrams a second through", staged(async (stage) => {
    const { problems, last } = await stage.master();
    const stranger = await stage.stranger();
    await stranger.enter();
    await stranger.call();
    let heard = 0;
    last().on("datagram", () => heard++);
    const datagrams = await stage.on(stranger.page, () => stranger.pc.createDataChannel("moss-datagrams"));
    await stage.run(1);
    await stage.on(stranger.page, () => {
      for (let i = 0; i < 4000; i++) datagrams.send("x");
    });
    await stage.run(0.5);
    assert(heard >= 2000 && heard <= 3000, `${heard}`);
    assert.deepEqual(problems, ["flood"]);
    // Packets are counted separately.
    await stage.on(stranger.page, () => stranger.channel.send('{"type":"member","payload":{"life":"life","hello":"still here"}}'));
    await stage.run(0.5);
    assert.equal(last().hello, "still here");
  }));

  test("has its messages kept until there are too many others", staged(async (stage) => {
    const { page, master } = await stage.master();
    const come = async (i, more) => {
      const stranger = await stage.stranger();
      await stranger.enter({ key: `key ${i}`, life: `life ${i}`, ...more });
      return stranger;
    };
    for (let i = 0; i < 20; i++) {
      const stranger = await come(i);
      await stage.on(page, () => {
        for (let n = 0; n < 17; n++) master.send("x".repeat(59_000));
      });
      await stage.on(stranger.page, () => stranger.page.close());
      await stage.run(35);
      assert.equal(master.members.size, 0);
    }
    assert.equal((await come(0, { again: true })).of("refused")[0]?.code, "gone");
    assert.equal((await come(19, { again: true })).of("welcome").length, 1);
  }));

  test("may send as many answers as offers", staged(async (stage) => {
    const { page, master, problems } = await stage.master();
    const stranger = await stage.stranger();
    await stranger.enter();
    await stranger.call();
    await stage.on(page, () => void master.share("picture", stage.track(page)));
    await stage.run(1);
    assert.equal(stranger.of("offer").length, 1);
    for (let i = 0; i < 100; i++) await stranger.send("answer", { call: "call", n: 1, description: { sdp: "rubbish" } });
    await stage.run(1);
    assert(problems.length < 25, `${problems.length} problems`);
  }));

  test("can't delay a call longer than all present members could", staged(async (stage) => {
    await stage.master();
    const stranger = await stage.stranger();
    for (let i = 0; i < 500; i++) await stranger.send("member", { session: stranger.session, key: "key", life: "life" });
    const other = await stage.stranger();
    await other.enter({ key: "other" });
    assert(other.of("welcome")[0].wait <= 200, `${other.of("welcome")[0].wait} ms`);
  }));

  test("gets no packet that is too long for moss", staged(async (stage) => {
    const iceServers = [{ urls: "stun:box", comment: "x".repeat(263_000) }];
    const { problems } = await stage.master({ iceServers });
    const stranger = await stage.stranger();
    await stranger.enter();
    await stage.run(1);
    assert.equal(stage.tooLong, 0);
    assert.deepEqual(problems, ["too-long"]);
  }));
});
