import assert from "node:assert/strict";
import { Client, Master } from "../src/index.js";
import { Track } from "./simulation/rtc/media.js";
import { stage } from "./simulation/stage.js";

const LONGEST = 262_144; // MOSS_MAX_PACKET_BYTES: moss closes a connection that sends more.

/** A test with applications, and with clients that send raw packets, on the simulation's stage. */
export const staged = (play) => (t) => play(new Stage(stage(t)));

class Stage {
  tooLong = 0; // Packets for which moss would have closed the connection.
  #options;

  constructor({ world, moss, classes }) {
    Object.assign(this, { world, moss });
    this.#options = classes;
    const receive = moss.receive.bind(moss);
    moss.receive = (wire, text) => {
      if (Buffer.byteLength(text) > LONGEST) this.tooLong++;
      receive(wire, text);
    };
  }

  /** Runs the code as code of the page, and then all events that it causes at once. */
  async on(page, code) {
    let result;
    await this.world.do(page, () => (result = code()));
    await this.world.run(0);
    return result;
  }

  run(seconds) {
    return this.world.run(seconds * 1000);
  }

  page(name) {
    return this.world.page(name);
  }

  track(page, kind = "video") {
    return new Track(this.world, page, kind);
  }

  /** Starts a master. `problems` has the codes of its members' problems; `last()` is the newest member. */
  async master(options = {}) {
    const page = this.page("master");
    const master = await this.on(page, () => this.make("master", options));
    const problems = [];
    let last;
    master.on("member", (member) => {
      last = member;
      member.on("problem", ({ code }) => problems.push(code));
    });
    return { page, master, problems, last: () => last };
  }

  async client(options = {}) {
    const page = this.page(`client-${this.world.number()}`);
    const client = await this.on(page, () => this.make("client", options));
    return { page, client };
  }

  /** Makes a client or a master. To be called as code of a page. */
  make(kind, options = {}) {
    if (kind === "client") return new Client({ ...this.#options, ...options });
    return new Master({ secret: "secret", ...this.#options, ...options });
  }

  /** A client that sends raw packets, and keeps those that it receives. */
  async stranger() {
    const page = this.page(`stranger-${this.world.number()}`);
    const { WebSocket, RTCPeerConnection } = this.#options;
    const heard = [];
    const stranger = { page, heard, get session() {
      return heard.find(({ type }) => type === "master-offer").payload.session;
    } };
    const socket = await this.on(page, () => new WebSocket("ws://box:8080/"));
    socket.onopen = () => socket.send('{"type":"login"}');
    socket.onmessage = ({ data }) => heard.push(JSON.parse(data));
    stranger.sendText = (text) => this.on(page, () => socket.send(text));
    stranger.send = (type, payload) => stranger.sendText(JSON.stringify({ type, payload }));
    stranger.of = (type) => heard.filter((packet) => packet.type === type).map(({ payload }) => payload);
    /** Sends `member`. */
    stranger.enter = async (more = {}) => {
      await stranger.send("member", { session: stranger.session, key: "key", life: "life", ...more });
      await this.run(1);
    };
    /** Makes an RTCPeerConnection with the channel and a video, and its offer. */
    stranger.call = async (media = []) => {
      const pc = await this.on(page, () => new RTCPeerConnection({ iceServers: [] }));
      stranger.pc = pc;
      stranger.channel = await this.on(page, () => pc.createDataChannel("moss"));
      await this.on(page, () => {
        pc.addTransceiver("video");
        pc.setLocalDescription();
      });
      await this.run(1);
      await stranger.send("offer", { call: "call", n: 1, description: pc.localDescription, media });
      await this.run(1);
      await this.on(page, () => {
        pc.setRemoteDescription(stranger.of("answer")[0].description);
        for (const { candidate } of stranger.of("candidate")) pc.addIceCandidate(candidate);
      });
      await this.run(3);
      assert.equal(stranger.channel.readyState, "open");
    };
    await this.run(1);
    return stranger;
  }
}
