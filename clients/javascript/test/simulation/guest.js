import { Client } from "../../src/index.js";
import { makeClumsy } from "./clumsy.js";
import { Track } from "./rtc/media.js";

const QUIET = new Set(["no-master", "full", "unsent"]); // Problems that an honest page may see.

/** One life of a client's page. Its application records and checks all events. */
export class Guest {
  received = new Map(); // life → the last number
  sent = 0;
  since = new Map(); // session → the first number that was sent in it
  media = new Map(); // The master's media: name → track
  shares = new Map(); // Its own media.
  datagrams = 0;
  problems = [];
  paths = [];
  connections = [];
  revision = 0;
  status;
  session;
  isOver = false; // It was stopped.
  masters = 0; // How many events `master` it got.
  kickedBy; // The host that kicked it, and the value of `masters` then.

  constructor(world, page, options) {
    this.world = world;
    this.page = page;
    const { onlySignaling, clumsy, ...rest } = options;
    this.onlySignaling = onlySignaling;
    page.soon(() => {
      this.client = new Client({ ...rest, hello: this.hello });
      if (clumsy) makeClumsy(this.client, ["message", "media", "path", "master", "connection", "status"]);
      this.#listen();
    });
  }

  get hello() {
    return { page: this.page.name, revision: this.revision };
  }

  get isStopped() {
    return this.status === "stopped";
  }

  changeHello() {
    this.revision += 1;
    this.page.soon(() => (this.client.hello = this.hello));
  }

  send() {
    this.page.soon(() => {
      const n = this.sent + 1;
      if (this.client.send({ n, from: this.page.name, pad: "x".repeat(this.world.random.whole(0, 200)) })) this.sent = n;
    });
  }

  sendDatagram() {
    this.page.soon(() => this.client.sendDatagram(`datagram ${this.page.name}`));
  }

  share(name, on) {
    const kind = name === "microphone" ? "audio" : "video";
    this.page.soon(() => {
      const track = on ? new Track(this.world, this.page, kind, `${this.page.name} ${name}`) : null;
      this.shares.set(name, track);
      this.world.log(this.page.name, "shares", name, on ? "on" : "off");
      this.client.share(name, track);
    });
  }

  #listen() {
    const { client, page, world } = this;
    const log = (...words) => world.log(page.name, ...words);
    client.on("message", (data) => this.#heard(data));
    client.on("datagram", (data) => {
      if (data !== `datagram for ${page.name}`) page.fail(new Error(`a strange datagram: ${data}`));
      this.datagrams += 1;
    });
    client.on("media", ({ name, kind, track }) => {
      log("media", name, kind, track ? "on" : "off");
      if (track) this.media.set(name, track);
      else if (!this.media.delete(name)) page.fail(new Error(`${name} was switched off twice`));
    });
    client.on("path", (path) => {
      log("path", path);
      this.#pathIs(path);
    });
    client.on("master", ({ session }) => {
      log("master", session.slice(0, 6));
      this.session = session;
      this.masters += 1;
      this.since.set(session, this.sent + 1);
    });
    client.on("connection", (pc) => {
      log("calls", pc.fingerprint);
      this.connections.push({ pc, session: this.session, wasUp: false });
      this.#outlived();
    });
    client.on("status", ({ state, message, code }) => {
      log("status", state, message, code ?? "");
      this.status = state;
      if (state === "stopped" && !this.isOver && !["kicked", "moved"].includes(code)) page.fail(new Error(`stopped: ${message}`));
      this.code = code;
    });
    client.on("problem", ({ code, message }) => {
      log("problem", code, message);
      if (!QUIET.has(code)) this.problems.push(`${code}: ${message}`);
    });
  }

  #heard(data) {
    const { life, n } = data;
    const last = this.received.get(life) ?? 0;
    if (n !== last + 1) this.page.fail(new Error(`${this.page.name} got message ${n} of life ${life} after ${last}`));
    this.received.set(life, n);
  }

  #pathIs(path) {
    this.paths.push(path);
    const latest = this.connections.at(-1);
    if (path === "direct" && latest) latest.wasUp = true;
    else if (this.onlySignaling && latest?.wasUp && latest.session === this.session && !this.isStopped && path !== "no-master")
      this.page.fail(new Error(`the path became ${path} although the network was there`));
  }

  /** While only signaling fails, a line that was up must stay up. */
  #outlived() {
    const before = this.connections.at(-2);
    if (this.onlySignaling && before?.wasUp && before.session === this.session) this.page.fail(new Error("a living line was given up"));
  }
}
