import { Master } from "../../src/index.js";
import { makeClumsy } from "./clumsy.js";
import { Track } from "./rtc/media.js";

const QUIET = new Set(["full", "unsent"]);

/** One life of the master's page. Its application records and checks all events. */
export class Host {
  present = new Map(); // Member → Visitor
  sent = new Map(); // life → how many messages
  firsts = new Map(); // life → the first received number
  heard = new Map(); // life → the last received number
  shares = new Map();
  problems = [];
  floods = 0; // Problems `flood` of hostile clients.
  calls = 0; // RTCPeerConnections made for hostile clients.
  status;
  isOver = false; // It was stopped.

  /** `isHonest` gets a member's hello, and returns whether the member is one of the guests. */
  constructor(world, page, { clumsy, ...options }, isHonest) {
    this.world = world;
    this.page = page;
    this.isHonest = isHonest;
    this.isClumsy = clumsy;
    page.soon(() => {
      this.master = new Master(options);
      if (clumsy) makeClumsy(this.master, ["member", "status"]);
      this.#listen();
    });
  }

  visitor(name) {
    return [...this.present.values()].find((visitor) => visitor.name === name);
  }

  send(visitor) {
    const { life } = visitor.member;
    this.page.soon(() => {
      const n = (this.sent.get(life) ?? 0) + 1;
      if (visitor.member.isHere && visitor.member.send({ life, n })) this.sent.set(life, n);
    });
  }

  sendDatagram({ member, name }) {
    this.page.soon(() => member.sendDatagram(`datagram for ${name}`));
  }

  share(name, on, visitor) {
    const kind = name === "sound" ? "audio" : "video";
    this.page.soon(() => {
      const track = on ? new Track(this.world, this.page, kind, `${this.page.name} ${name}`) : null;
      (visitor ?? this).shares.set(name, track);
      this.world.log(this.page.name, "shares", name, on ? "on" : "off", visitor ? `for ${visitor.name}` : "");
      (visitor?.member ?? this.master).share(name, track);
    });
  }

  kick({ member }) {
    this.page.soon(() => member.kick("begone"));
  }

  #listen() {
    const { master, page, world } = this;
    master.on("member", (member) => this.#welcome(member));
    master.on("status", ({ state, message, code }) => {
      world.log(page.name, "status", state, message, code ?? "");
      this.status = state;
      if (state === "stopped" && !this.isOver && code !== "replaced") page.fail(new Error(`stopped: ${message}`));
    });
    master.on("problem", ({ code, message }) => {
      world.log(page.name, "problem", code, message);
      if (!QUIET.has(code)) this.problems.push(`${code}: ${message}`);
    });
  }

  #welcome(member) {
    const { page, world } = this;
    const name = member.hello?.page;
    if (!this.isHonest(member.hello)) return this.#endure(member);
    if (this.isClumsy) makeClumsy(member, ["message", "media", "path", "hello", "left"]);
    const visitor = { name, member, media: new Map(), shares: new Map(), hello: member.hello };
    const log = (...words) => world.log(page.name, `of ${name}:`, ...words);
    log("member", member.key.slice(0, 6), member.life.slice(0, 6));
    for (const other of this.present.values())
      if (other.member.key === member.key) page.fail(new Error(`${name} came while ${other.name} was there with the same key`));
    this.present.set(member, visitor);
    member.on("message", (data) => this.#heard(visitor, data));
    member.on("datagram", (data) => data === `datagram ${name}` || page.fail(new Error(`a strange datagram: ${data}`)));
    member.on("path", (path) => log("path", path));
    member.on("hello", (hello) => (visitor.hello = hello));
    member.on("media", ({ name: medium, track }) => {
      log("media", medium, track ? "on" : "off");
      if (track) visitor.media.set(medium, track);
      else if (!visitor.media.delete(medium)) page.fail(new Error(`${medium} was switched off twice`));
    });
    member.on("left", (why) => {
      log("left", why);
      if (!this.present.delete(member)) page.fail(new Error(`${name} left twice`));
      this.left(name, why);
    });
    member.on("problem", ({ code, message }) => {
      log("problem", code, message);
      if (!QUIET.has(code)) this.problems.push(`${name}: ${code}: ${message}`);
    });
  }

  #endure(member) {
    member.on("problem", ({ code }) => (this.floods += code === "flood"));
    member.on("connection", () => (this.calls += 1));
  }

  /** To be overridden. */
  left() {}

  #heard({ name, member: { life } }, { n, from }) {
    if (from !== name) this.page.fail(new Error(`a message of ${from} came from ${name}`));
    const last = this.heard.get(life);
    if (last === undefined) this.firsts.set(life, n);
    else if (n !== last + 1) this.page.fail(new Error(`${this.page.name} got message ${n} of ${name} after ${last}`));
    this.heard.set(life, n);
  }
}
