// How Client and Master react to what applications do, right or wrong.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { staged } from "./actors.js";

describe("an application", () => {
  test("can only share tracks", staged(async (stage) => {
    const { page, master, problems } = await stage.master();
    const { page: other, client } = await stage.client();
    const shares = (it, what) => stage.on(it === master ? page : other, () => it.share("camera", what).then(() => "shared", ({ name }) => name));
    for (const what of [undefined, {}, "video", { getTracks: () => [] }])
      for (const it of [master, client]) assert.equal(await shares(it, what), "TypeError");
    await stage.run(5);
    assert.equal(client.path, "direct");
    assert.deepEqual(problems, []);
  }));

  test("can't set a hello that masters would refuse", staged(async (stage) => {
    const { last } = await stage.master();
    const { page, client } = await stage.client({ hello: "before" });
    await stage.run(5);
    const cycle = {};
    cycle.itself = cycle;
    for (const [hello, error] of [[1n, TypeError], [cycle, TypeError], ["x".repeat(4000), RangeError]]) {
      await stage.on(page, () => assert.throws(() => (client.hello = hello), error));
      await stage.on(page, () => assert.throws(() => stage.make("client", { hello }), error));
    }
    await stage.run(30);
    assert.deepEqual([client.hello, last().hello], ["before", "before"]);
  }));

  test("is a new member each time if its storage fails", staged(async (stage) => {
    const fail = () => {
      throw new Error("forbidden");
    };
    for (const storage of [{ getItem: fail, setItem: fail }, { getItem: () => "", setItem: fail }, { getItem: () => "x".repeat(65), setItem: fail }, null]) {
      const { client } = await stage.client({ storage });
      assert.match(client.key, /^[0-9a-f]{32}$/);
    }
  }));

  test("can't ask for an unknown kind of media", staged(async (stage) => {
    await stage.on(stage.page("client"), () => assert.throws(() => stage.make("client", { receive: { picture: "film" } }), TypeError));
  }));

  test("may stop in its handler of `connection`", staged(async (stage) => {
    const { last } = await stage.master();
    const { page, client } = await stage.client();
    const problems = [];
    client.on("connection", () => client.stop());
    client.on("problem", ({ code }) => problems.push(code));
    await stage.run(5);
    assert.deepEqual([client.state, problems, page.connections.size], ["stopped", [], 0]);
    assert.equal(last().isHere, false);
  }));

  for (const kind of ["client", "master"])
    test(`may stop a ${kind} before it has started by itself, and start it`, staged(async (stage) => {
      const page = stage.page(kind);
      await stage.on(page, () => stage.make(kind).stop());
      await stage.run(1);
      assert.equal(page.sockets.size, 0);
      const states = [];
      await stage.on(page, () => {
        const it = stage.make(kind);
        it.on("status", ({ state }) => states.push(state));
        it.start();
      });
      await stage.run(1);
      assert.deepEqual(states, ["connecting", "ready"]);
    }));

  test("leaves nothing behind when it has stopped", staged(async (stage) => {
    const { page, master } = await stage.master();
    const client = await stage.client();
    for (let i = 0; i < 20; i++) {
      await stage.run(3);
      for (const [where, it] of [[page, master], [client.page, client.client]]) {
        await stage.on(where, () => it.stop());
        await stage.run(30);
        assert.deepEqual([where.timers.size, where.connections.size, where.sockets.size, where.window.listeners, where.document.listeners], [0, 0, 0, 0, 0]);
        await stage.on(where, () => it.start());
        await stage.run(3);
        assert.equal(where.window.listeners, 3);
      }
      await stage.run(3);
      assert.equal(client.client.path, "direct");
    }
  }));

  test("may call start() while it starts", staged(async (stage) => {
    const { page, master, last } = await stage.master();
    const { page: other, client } = await stage.client();
    await stage.run(5);
    const timers = [page.timers.size, other.timers.size];
    let isFirst = true;
    const again = (it) => isFirst && ((isFirst = false), it.start());
    client.on("path", (path) => path === "lost" && again(client));
    await stage.on(other, () => client.start());
    await stage.run(5);
    isFirst = true;
    last().on("left", () => again(master));
    await stage.on(page, () => master.start());
    await stage.run(5);
    assert.equal(client.path, "direct");
    assert.deepEqual([page.timers.size, other.timers.size], timers);
  }));

  for (const kind of ["client", "master"])
    test(`a ${kind}'s page may be left, and come back from the browser's cache`, staged(async (stage) => {
      const { page, master } = await stage.master();
      const { page: other, client } = await stage.client();
      const left = [];
      master.on("member", (member) => member.on("left", (why) => left.push(why)));
      const paths = [];
      client.on("path", (path) => paths.push(path));
      await stage.run(5);
      const { window } = kind === "client" ? other : page;
      await stage.on(kind === "client" ? other : page, () => window.dispatch("pagehide", { persisted: true }));
      await stage.run(1);
      if (kind === "client") assert.deepEqual(left, ["goodbye"]);
      else assert.equal(client.path, "no-master");
      for (const persisted of [false, true]) {
        await stage.on(kind === "client" ? other : page, () => window.dispatch("pageshow", { persisted }));
        await stage.run(5);
        assert.equal(client.path === "direct", persisted);
      }
    }));

  test("gets no media event after it has stopped", staged(async (stage) => {
    const { page, master } = await stage.master();
    const { client } = await stage.client();
    const events = [];
    client.on("media", ({ name, track }) => {
      events.push(`${name} ${track ? "on" : "off"}`);
      if (track) client.stop();
    });
    for (const name of ["a", "b"]) await stage.on(page, () => master.share(name, stage.track(page)));
    await stage.run(5);
    assert.deepEqual(events, ["a on", "a off"]);
  }));

  test("may stop its master when a member joins, leaves or is replaced", staged(async (stage) => {
    for (const event of ["member", "left"]) {
      const { page, master } = await stage.master();
      const stop = () => master.stop();
      master.on("member", (member) => (event === "member" ? stop() : member.on("left", stop)));
      const stranger = await stage.stranger();
      await stranger.enter();
      if (event === "left") await (await stage.stranger()).enter({ life: "another" });
      assert.deepEqual([master.state, master.members.size, page.timers.size], ["stopped", 0, 0], event);
      page.close();
    }
  }));

  test("sends nothing to a member that has left", staged(async (stage) => {
    const { page, last } = await stage.master();
    await stage.client({ fallback: "moss", RTCPeerConnection: undefined });
    await stage.run(10);
    assert.equal(last().path, "moss");
    const paths = [];
    last().on("path", (path) => paths.push(path));
    await stage.on(page, () => last().kick());
    assert.deepEqual([last().path, last().id, paths], ["lost", undefined, ["lost"]]);
    assert.equal(await stage.on(page, () => last().send("too late")), false);
  }));

  test("may give invalid ICE servers: the previous ones are used", staged(async (stage) => {
    let servers = [{ urls: "stun:box", username: `${Math.floor(Date.now() / 1000) + 20}:key` }];
    const { problems } = await stage.master({ iceServers: () => servers });
    const stranger = await stage.stranger();
    await stranger.enter();
    const [before] = stranger.of("welcome");
    assert.deepEqual(before.iceServers, servers);
    for (servers of ["stun:box", { urls: "stun:box" }, [null], 5, null, undefined]) {
      await stage.run(40);
      await stranger.enter();
      assert.deepEqual(stranger.of("welcome").at(-1).iceServers, before.iceServers, JSON.stringify(servers));
    }
    assert.deepEqual(new Set(problems), new Set(["ice-servers"]));
  }));

  test("gets no event of a line that was closed", staged(async (stage) => {
    const { page, master } = await stage.master();
    const { page: other, client } = await stage.client();
    const channels = [];
    client.on("connection", (pc) => {
      const make = pc.createDataChannel.bind(pc);
      pc.createDataChannel = (...of) => (channels.push(make(...of)), channels.at(-1));
    });
    const heard = [];
    for (const event of ["message", "datagram"]) client.on(event, (data) => heard.push(data));
    await stage.run(5);
    const [line, datagrams] = channels;
    await stage.on(page, () => master.start());
    await stage.run(5);
    // Events that a browser had queued when the connection was closed.
    await stage.on(other, () => {
      line.dispatch("message", { data: '{"type":"message","payload":{"n":1,"data":"old"}}' });
      datagrams.dispatch("message", { data: "old" });
    });
    await stage.on(page, () => master.send("new"));
    await stage.run(5);
    assert.deepEqual(heard, ["new"]);
  }));

  test("does not call after a handler of a problem has stopped it", staged(async (stage) => {
    await stage.master();
    const { page, client } = await stage.client();
    await stage.run(5);
    client.on("problem", () => client.stop());
    await stage.on(page, () => client.pc.close()); // A closed connection refuses the next servers.
    await stage.run(30);
    assert.deepEqual([client.state, page.connections.size, page.timers.size], ["stopped", 0, 0]);
  }));

  test("does not wait for ever in share() if the line is closed before it ends", staged(async (stage) => {
    await stage.master();
    const { page, client } = await stage.client();
    await stage.run(5);
    await stage.on(page, () => void client.share("camera", stage.track(page)));
    await stage.run(5);
    let isDone = false;
    await stage.on(page, () => {
      client.share("camera", stage.track(page)).then(() => (isDone = true));
      setTimeout(() => client.stop(), 1); // While the track is being replaced.
    });
    await stage.run(5);
    assert(isDone);
  }));
});
