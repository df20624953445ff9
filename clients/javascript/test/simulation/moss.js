/**
 * A stand-in for moss that follows docs/protocol.md: it reads the envelope and passes payloads on.
 * `spoil(packet)` decides whether a packet between two peers is lost, repeated or late.
 */
export class FakeMoss {
  wires = new Set();
  up = true;
  frozen = false;
  spoil = () => "pass";
  log = () => {};
  #world;
  #options;
  #peers = new Map(); // wire → { role, id, bad }
  #ids = new Map(); // id → wire
  #master;
  #offer;
  #waiting = [];

  constructor(world, options = {}) {
    this.#world = world;
    this.#options = {
      secret: "secret",
      loginSecret: undefined,
      keepalive: 40_000,
      types: { offer: "master-offer", error: "moss-error" },
      ...options,
    };
    world.fetch = () => {
      const page = world.current;
      return new Promise((resolve, reject) => {
        world.after(20, page, () => (this.up && !page.offline ? resolve({ type: "opaque" }) : reject(new TypeError("Failed to fetch"))));
      });
    };
  }

  get clients() {
    return this.#ids.size;
  }

  get master() {
    return this.#master;
  }

  /** The process dies; if `silent`, the whole machine does, and the peers are not notified. */
  kill({ silent = false } = {}) {
    this.log("moss is killed", silent ? "silently" : "");
    this.up = false;
    this.frozen = false;
    this.#waiting = [];
    this.#peers.clear();
    this.#ids.clear();
    this.#master = this.#offer = undefined;
    for (const wire of [...this.wires]) silent ? wire.silence() : wire.reset();
  }

  /** A normal stop, with a Close to all peers. */
  stop() {
    for (const wire of this.#peers.keys()) wire.closeFromMoss(1001);
    this.#peers.clear();
    this.#ids.clear();
    this.#master = this.#offer = undefined;
    this.up = false;
  }

  start() {
    this.log("moss starts");
    this.up = true;
  }

  freeze() {
    this.log("moss freezes");
    this.frozen = true;
  }

  thaw() {
    this.log("moss thaws");
    this.frozen = false;
    for (const job of this.#waiting.splice(0)) job();
  }

  accept(wire) {
    this.#do(() => {
      if (!this.up) return wire.refuse();
      this.#peers.set(wire, { role: "guest", bad: 0 });
      wire.open();
    });
  }

  receive(wire, text) {
    this.#do(() => {
      const peer = this.#peers.get(wire);
      if (!peer) return wire.refuse(); // A restarted moss does not know the connection.
      const packet = parse(text);
      if (!packet) return this.#error(wire, "invalid-packet");
      this.#packet(wire, peer, packet);
    });
  }

  ended(wire) {
    this.#do(() => {
      const peer = this.#peers.get(wire);
      if (!peer) return;
      this.#peers.delete(wire);
      if (peer.role === "client") this.#left(peer.id);
      if (peer.role === "master") this.#masterLeft();
    });
  }

  #do(job) {
    if (this.frozen) this.#waiting.push(job);
    else job();
  }

  #packet(wire, peer, { type, payload = "", id }) {
    if (type === "ping") return this.#say(wire, "pong", "");
    if (type === "login") return this.#login(wire, peer, payload);
    if (type === "set-master") return this.#claim(wire, peer, payload);
    if (peer.role === "guest") return this.#error(wire, "not-logged-in");
    if (peer.role === "client") return this.#fromClient(wire, peer, type, payload);
    return this.#fromMaster(wire, type, payload, id);
  }

  #login(wire, peer, payload) {
    const { loginSecret } = this.#options;
    if (peer.role === "master") return this.#error(wire, "master-cannot-login");
    if (loginSecret !== undefined && payload?.secret !== loginSecret) return this.#wrong(wire, peer);
    if (peer.role === "guest") {
      peer.role = "client";
      peer.id = String(this.#world.number() * 7 + 10 ** 12);
      this.#ids.set(peer.id, wire);
      this.#toMaster("joined", { id: peer.id });
    }
    if (this.#master) this.#say(wire, this.#options.types.offer, this.#offer);
  }

  #claim(wire, peer, payload) {
    if (typeof payload?.secret !== "string") return this.#error(wire, "invalid-set-master");
    if (payload.secret !== this.#options.secret) return this.#wrong(wire, peer);
    if (peer.role === "client") this.#left(peer.id);
    if (this.#master && this.#master !== wire) {
      this.#error(this.#master, "replaced");
      this.#peers.get(this.#master).role = "guest";
    }
    const renewed = this.#master === wire;
    this.#master = wire;
    peer.role = "master";
    this.#offer = payload.sdp ?? {};
    this.#say(wire, "master-confirmation", "");
    if (!renewed) for (const id of this.#ids.keys()) this.#toMaster("joined", { id });
    for (const client of this.#ids.values()) this.#say(client, this.#options.types.offer, this.#offer);
  }

  #wrong(wire, peer) {
    this.#error(wire, "wrong-secret");
    if (++peer.bad < 5) return;
    wire.closeFromMoss(1008, "wrong secrets");
    this.ended(wire);
  }

  #fromClient(wire, peer, type, payload) {
    if (!this.#master) return this.#error(wire, "no-master", undefined, type);
    const master = this.#master;
    this.#pass({ type, payload, id: peer.id }, master, () => this.#say(master, type, payload, peer.id));
  }

  #fromMaster(wire, type, payload, id) {
    if (id === undefined || id === null) return this.#error(wire, "missing-id", undefined, type);
    const client = this.#ids.get(id);
    if (!client) return this.#error(wire, "unknown-client", id, type);
    if (type === this.#options.types.kick) {
      client.closeFromMoss(1008, String(payload).slice(0, 120));
      return this.ended(client);
    }
    this.#pass({ type, payload, id }, client, () => this.#say(client, type, payload));
  }

  /** moss keeps the order: a copy comes right after the packet, and a late one delays later ones. */
  #pass(packet, receiver, deliver) {
    const fate = this.spoil(packet);
    if (fate === "lose") return this.log("lost:", packet.type, packet.id);
    if (fate === "late") receiver.delay(this.#world.chance.between(1, 4000));
    deliver();
    if (fate === "double") deliver();
  }

  #left(id) {
    this.#ids.delete(id);
    this.#toMaster("left", { id });
  }

  #masterLeft() {
    this.#master = undefined;
    const { masterLeft } = this.#options.types;
    if (masterLeft) for (const client of this.#ids.values()) this.#say(client, masterLeft, "");
  }

  #toMaster(name, payload) {
    const type = this.#options.types[name];
    if (type && this.#master) this.#say(this.#master, type, payload);
  }

  #error(wire, code, id, about) {
    const type = this.#options.types.error;
    if (type && about !== type) this.#say(wire, type, { code, message: code, id });
  }

  #say(wire, type, payload, id) {
    this.log(`→ ${wire.page.name}:`, type, JSON.stringify(payload).replace(/"sdp":".*?"/g, "…").replace(/([0-9a-f]{6})[0-9a-f]{26}/g, "$1").slice(0, 300));
    wire.toPage(JSON.stringify({ type, payload, id }));
  }
}

function parse(text) {
  try {
    const packet = JSON.parse(text);
    return typeof packet === "object" && packet && typeof packet.type === "string" ? packet : undefined;
  } catch {
    return undefined;
  }
}
