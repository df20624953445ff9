/** A client that sends raw packets: rubbish, a flood, or many calls. */
export class Hostile {
  #play;
  #isOn = true;

  constructor(play) {
    this.#play = play;
    const { world, random } = play;
    this.page = world.page("hostile");
    this.way = random.pick(["rubbish", "flood", "caller"]);
    this.#enter();
  }

  /** Leaves, before the final checks. */
  stop() {
    this.#isOn = false;
    this.page.close();
  }

  #enter() {
    const { WebSocket, world, loginSecret } = this.#play;
    world.after(0, this.page, () => {
      if (!this.#isOn) return;
      this.socket = new WebSocket("ws://box:8080/");
      this.socket.onopen = () => this.#send("login", { secret: loginSecret });
      this.socket.onmessage = ({ data }) => this.#heard(JSON.parse(data));
      this.socket.onclose = () => world.after(2000, this.page, () => this.#enter());
    });
  }

  #send(type, payload) {
    if (this.socket.readyState === 1) this.socket.send(JSON.stringify({ type, payload }));
  }

  #heard({ type, payload }) {
    const { random, world } = this.#play;
    if (type !== "master-offer") return;
    this.session = payload.session;
    this.#send("member", this.#member());
    const go = () => {
      if (!this.#isOn) return;
      for (let i = this.way === "flood" ? 400 : random.whole(1, 20); i > 0; i--) this.#act();
      world.after(random.between(10, 3000), this.page, go);
    };
    if (!this.goes) world.after(100, this.page, go);
    this.goes = true;
  }

  #member() {
    this.key ??= this.#play.world.chance.hex(32);
    this.life ??= this.#play.world.chance.hex(32);
    return { session: this.session, key: this.key, life: this.life, hello: { hostile: true } };
  }

  #act() {
    const { random } = this.#play;
    const type = random.pick(["member", "offer", "answer", "candidate", "media", "message", "ack", "bye", "kick", "welcome", "refused", "moss-error", "client-left", "master-confirmation", "x"]);
    this.#send(type, this.way === "rubbish" ? this.#rubbish() : this.#plausible(type));
  }

  #rubbish() {
    const { random } = this.#play;
    const value = () =>
      random.pick([null, true, 0, -1, 1e308, "", "x", "__proto__", [], {}, [null], { n: 1 }, "y".repeat(2000), { session: null }, [[[[]]]]]);
    if (random.chance(0.3)) return value();
    const keys = ["session", "key", "life", "hello", "call", "n", "description", "media", "candidate", "data", "again", "fallback", "code", "id", "__proto__", "toString"];
    return Object.fromEntries(keys.filter(() => random.chance(0.5)).map((key) => [key, random.chance(0.2) ? this.session : value()]));
  }

  #plausible(type) {
    const { random, world } = this.#play;
    const { session, life } = this;
    const n = random.whole(-1, 5);
    const call = random.chance(this.way === "caller" ? 0.7 : 0.3) ? world.chance.hex(8) : "call";
    const sdp = random.pick(["", "rubbish", "v=0\r\n", offer(world)]);
    const media = random.pick([undefined, null, [], [null], [{ mid: "0", name: "camera", on: true }], [{ mid: "9", name: "__proto__", on: 1 }], "x"]);
    const description = random.pick([undefined, null, { type: random.pick(["offer", "answer", "rollback"]), sdp }]);
    const payloads = {
      member: random.chance(0.5) ? this.#member() : { ...this.#member(), key: world.chance.hex(32) },
      offer: { call, n, description, media },
      answer: { call, n, description, media },
      candidate: { call, candidate: random.pick([null, "", {}, { candidate: "rubbish", sdpMid: "0" }, { candidate: "candidate:1 1 udp 1 x.local 1 typ host", sdpMid: "0" }]) },
      media: { call, media },
      message: { session, life, n, data: "hostile" },
      ack: { session, life, n },
      bye: random.chance(0.1) ? { life } : {},
    };
    return payloads[type] ?? { id: "1", code: "replaced", message: "hostile", session, life };
  }
}

function offer(world) {
  const lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"];
  lines.push(`a=ice-ufrag:${world.chance.hex(8)}`, `a=fingerprint:sha-256 H${world.number()}`, "a=mid:0");
  if (world.chance.chance(0.5)) lines.push("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:1", "a=sendrecv");
  return `${lines.join("\r\n")}\r\n`;
}
