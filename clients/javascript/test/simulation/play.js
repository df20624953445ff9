import { FAULTS, SIGNALING } from "./faults.js";
import { Guest } from "./guest.js";
import { Hostile } from "./hostile.js";
import { Host } from "./host.js";
import { FakeMoss } from "./moss.js";
import { Network } from "./network.js";
import { Oracle } from "./oracle.js";
import { Stream, Track } from "./rtc/media.js";
import { peerConnection } from "./rtc/connection.js";
import { Storage } from "./page.js";
import { webSocket } from "./websocket.js";
import { World } from "./world.js";

const TURN = [{ urls: "turn:box:3478", username: "2000000000:key", credential: "c" }];

/**
 * Runs one play, whose events depend on the seed: a master and some clients, faults for some minutes,
 * then a time without faults, until the oracle's checks pass. Throws an error that says which did not.
 */
export async function play(seed, { trace } = {}) {
  const one = new Play(seed, trace);
  one.world.install();
  try {
    return await one.run();
  } finally {
    one.world.restore();
  }
}

class Play {
  guests = [];
  hosts = [];
  #pages = 0;
  #undos = new Set();

  constructor(seed, trace) {
    const world = new World(seed, { trace });
    const { random } = world;
    Object.assign(this, { world, random, network: new Network(world) });
    this.onlySignaling = random.chance(0.2);
    this.most = random.chance(0.05) ? 30 : random.whole(1, 5);
    this.turn = random.chance(0.3);
    this.fallback = random.chance(0.5);
    this.loginSecret = random.chance(0.2) ? "code" : undefined;
    const optional = { joined: "client-joined", left: "client-left", masterLeft: "master-left", kick: "kick" };
    const types = { offer: "master-offer", error: random.chance(0.1) ? undefined : "moss-error" };
    for (const [name, type] of Object.entries(optional)) if (random.chance(0.6)) types[name] = type;
    this.types = types;
    this.moss = new FakeMoss(world, { types, loginSecret: this.loginSecret });
    this.moss.log = (...words) => world.log("moss", ...words);
    this.rates = { lose: random.pick([0, 0, 0.02, 0.2]), double: random.pick([0, 0, 0.05, 0.3]), late: random.pick([0, 0, 0.05, 0.3]) };
    const names = this.onlySignaling ? SIGNALING : Object.keys(FAULTS);
    this.faults = names.filter(() => random.chance(0.5));
    this.pause = random.pick([3, 10, 30]); // Seconds between two faults, on average.
    this.busy = random.pick([0.2, 1, 5]); // Actions of applications per second.
    this.lasts = random.between(40, 200);
    this.staysBlocked = !this.onlySignaling && random.chance(0.2) ? random.pick(["direct", "all"]) : undefined;
    this.oracle = new Oracle(this);
  }

  async run() {
    const { world, random } = this;
    this.#classes();
    world.log(`${this.most} clients at most, faults: ${this.faults.join(", ")}; ${JSON.stringify({ ...this.rates, types: this.types, turn: this.turn, fallback: this.fallback })}`);
    this.#startMaster();
    for (let i = random.whole(1, this.most); i > 0; i--) this.open();
    if (random.chance(0.3)) this.hostile = new Hostile(this);
    this.moss.spoil = () => {
      const draw = random.next();
      const { lose, double, late } = this.rates;
      return draw < lose ? "lose" : draw < lose + double ? "double" : draw < lose + double + late ? "late" : "pass";
    };
    await this.#trouble(0.7 * this.lasts);
    if (this.staysBlocked) this.#blockOne();
    await this.#trouble(0.3 * this.lasts);
    this.#peace();
    return this.oracle.judge();
  }

  // The pages.

  /** The present master's page: of several pages, the newest one that was not replaced. */
  get host() {
    return this.hosts.findLast(({ page, status }) => page.alive && status !== "stopped") ?? this.hosts.at(-1);
  }

  /** The guests that must be members in the end. */
  get present() {
    return this.guests.filter((guest) => guest.page.alive && !guest.isOver && !this.wasKicked(guest) && !this.hasMoved(guest));
  }

  /** A restarted master does not know earlier kicks. */
  wasKicked({ kickedBy, isStopped, masters }) {
    return kickedBy !== undefined && (isStopped || (kickedBy.host === this.host && kickedBy.masters === masters));
  }

  /** Of several pages with one key, only the last that the master heard of is a member. */
  hasMoved({ client, code }) {
    return code === "moved" && this.guests.some((other) => other.client?.key === client.key && other.code !== "moved");
  }

  someGuest() {
    return this.present.length ? this.random.pick(this.present) : undefined;
  }

  somePage() {
    const pages = [this.host, ...this.present].map(({ page }) => page).filter(({ alive }) => alive);
    return pages.length ? this.random.pick(pages) : undefined;
  }

  open({ storage = new Storage(), host = `c${this.#pages + 1}` } = {}) {
    const page = this.world.page(`c${++this.#pages}`, { storage, host });
    const options = {
      WebSocket: this.WebSocket,
      RTCPeerConnection: this.RTCPeerConnection,
      loginSecret: this.loginSecret,
      fallback: this.fallback ? "moss" : undefined,
      receive: this.random.chance(0.5) ? { picture: "video" } : {},
      storage,
      onlySignaling: this.onlySignaling,
      clumsy: this.random.chance(0.2),
    };
    this.world.log(page.name, "opens on", host);
    this.guests.push(new Guest(this.world, page, options));
  }

  close(guest) {
    if (!guest) return;
    const torn = this.random.chance(0.4);
    this.world.log(guest.page.name, torn ? "is torn away" : "closes");
    guest.page.close({ torn });
  }

  reload(guest) {
    if (!guest) return;
    this.close(guest);
    this.later(0, 2, () => this.open(guest.page));
  }

  /** Only the last page with a key is a member: the former tab stops. */
  duplicate(guest) {
    if (!guest) return;
    this.world.log(guest.page.name, "is duplicated");
    this.open({ storage: guest.page.storage.copy(), host: guest.page.host });
  }

  kick() {
    const visitors = [...this.host.present.values()];
    if (!visitors.length || !this.host.page.alive || this.host.page.frozen) return;
    const visitor = this.random.pick(visitors);
    const guest = this.guests.find(({ page }) => page.name === visitor.name);
    this.world.log(this.host.page.name, "kicks", visitor.name);
    this.host.kick(visitor);
    if (guest) guest.kickedBy = { host: this.host, masters: guest.masters };
  }

  reloadMaster(seconds) {
    const { page } = this.host;
    if (!page.alive) return;
    const torn = this.random.chance(0.4);
    this.world.log(page.name, torn ? "is torn away" : "closes");
    page.close({ torn });
    this.later(seconds, seconds, () => this.#startMaster());
  }

  /** A second page becomes master; the first one must stop. */
  replaceMaster() {
    if (!this.host.page.alive || !this.types.error) return; // Without error packets the old one would not know.
    if (this.hosts.filter(({ page, status }) => page.alive && status !== "stopped").length > 1) return;
    this.world.log(this.host.page.name, "will be replaced");
    this.#startMaster();
  }

  mossGone(end) {
    if (!this.moss.up) return;
    end();
    this.undo(0, 60, () => this.moss.up || this.moss.start());
  }

  online(page) {
    page.offline = false;
    this.world.networkChanged();
    if (page.alive && this.random.chance(0.5)) this.world.after(10, page, () => page.window.dispatch("online"));
  }

  // Events.

  /** Undoes something after this many seconds, or at the end of the faults. */
  undo(low, high, job) {
    this.#undos.add(job);
    this.world.after(1000 * this.random.between(low, high), undefined, () => this.#undos.delete(job) && job());
  }

  later(low, high, job) {
    this.undo(low, high, job);
  }

  async #trouble(seconds) {
    const { world, random } = this;
    const end = world.now + seconds * 1000;
    let fault = world.now + 1000 * random.between(1, this.pause);
    while (world.now < end) {
      const next = Math.min(fault, world.now + 1000 * random.between(0, 2 / this.busy), end);
      await world.run(next - world.now);
      if (world.now >= fault) {
        if (this.faults.length) this.#fault(random.pick(this.faults));
        fault = world.now + 1000 * random.between(0, 2 * this.pause);
      } else this.#application();
    }
  }

  #fault(name) {
    this.world.log("FAULT", name);
    FAULTS[name](this);
  }

  #application() {
    const { random } = this;
    const guest = this.someGuest();
    const visitors = [...this.host.present.values()];
    const visitor = visitors.length ? random.pick(visitors) : undefined;
    const times = random.chance(0.005) ? 400 : random.chance(0.1) ? random.whole(2, 40) : 1;
    const what = random.next();
    const on = random.chance(0.5);
    if (guest && !guest.page.frozen) {
      if (what < 0.28) for (let i = 0; i < times; i++) guest.send();
      else if (what < 0.31) guest.sendDatagram();
      else if (what < 0.44) guest.share(random.pick(["camera", "microphone", "screen"]), on);
      else if (what < 0.5) guest.changeHello();
    }
    if (what < 0.5 || !this.host.page.alive || this.host.page.frozen) return;
    if (what < 0.77 && visitor) for (let i = 0; i < times; i++) this.host.send(visitor);
    else if (what < 0.8 && visitor) this.host.sendDatagram(visitor);
    else if (what < 0.92) this.host.share(random.pick(["picture", "sound"]), on);
    else if (visitor) this.host.share("private", on, visitor);
  }

  #peace() {
    this.world.log("PEACE");
    this.rates = { lose: 0, double: 0, late: 0 };
    this.hostile?.stop();
    for (const job of this.#undos) {
      this.#undos.delete(job);
      job();
    }
  }

  /** One device can't reach the master by WebRTC any more: the expected path changes. */
  #blockOne() {
    const guest = this.someGuest();
    if (!guest) return;
    this.blocked = guest.page.host;
    this.world.log(this.blocked, "stays blocked:", this.staysBlocked);
    for (const type of this.staysBlocked === "all" ? ["direct", "relay"] : ["direct"]) this.network.block(type, guest.page, this.host.page);
  }

  /** The expected path of a guest in the end. */
  pathOf({ page }) {
    if (page.host !== this.blocked) return ["direct", "relayed"];
    if (this.staysBlocked === "direct" && this.turn) return ["relayed"];
    return [this.fallback ? "moss" : "lost"];
  }

  #startMaster() {
    const page = this.world.page(`m${++this.#pages}`, { host: "m" });
    this.world.log(page.name, "opens");
    const servers = this.turn ? TURN : [];
    const slow = this.random.chance(0.3);
    const iceServers = () => new Promise((resolve) => setTimeout(resolve, slow ? 3000 : 5, servers));
    const options = {
      WebSocket: this.WebSocket,
      RTCPeerConnection: this.RTCPeerConnection,
      secret: "secret",
      iceServers: this.random.chance(0.3) ? iceServers : servers,
      clumsy: this.random.chance(0.2),
    };
    const host = new Host(this.world, page, options, (hello) => this.guests.some((guest) => guest.page.name === hello?.page));
    this.hosts.push(host);
  }

  #classes() {
    this.WebSocket = webSocket(this.world, this.moss);
    this.RTCPeerConnection = peerConnection(this.world, this.network);
    Object.assign(this, { Stream, Track });
  }
}
