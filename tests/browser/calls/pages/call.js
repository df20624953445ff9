// One side of calls: a client or a master, as the query says. It sends numbered messages, shares a picture and a sound,
// and records what a person would notice. `look` returns the record.

import { Client, Master } from "/moss-signaling.js";

const { role, name, media = false, every = 50, ...options } = JSON.parse(decodeURIComponent(location.search.slice(1)));

const seen = { role, status: [], problems: [], masters: 0, watches: [] };
const made = []; // Every RTCPeerConnection.
class CountedConnection extends RTCPeerConnection {
  constructor(...args) {
    super(...args);
    made.push(this);
  }
}

const errors = [];
addEventListener("error", ({ message }) => errors.push(message));
addEventListener("unhandledrejection", ({ reason }) => errors.push(String(reason)));

const now = () => performance.timeOrigin + performance.now();

/** Records something that should arrive all the time. `gap` is the longest interruption since the last `mark`. */
class Flow {
  count = 0;
  #longest = 0;

  /** `last` is when it last arrived before a reload. */
  constructor(last = now()) {
    this.last = last;
  }

  came() {
    this.#longest = this.gap;
    this.last = now();
    this.count++;
  }

  get gap() {
    return Math.max(this.#longest, now() - this.last);
  }

  mark() {
    this.#longest = 0;
  }

  toJSON() {
    return { count: this.count, gap: Math.round(this.gap) };
  }
}

const players = new Map(); // Not in the page: painting costs CPU time.
const page = Math.random().toString(36).slice(2);
const heard = {}; // The number of each sender's last message.

/** Records what arrives from one other side: from a client's master, or from one of a master's members. */
class Watch {
  constructor(side) {
    const before = JSON.parse(sessionStorage[`flows ${side.key}`] ?? "{}");
    this.side = side;
    this.number = seen.watches.push(this);
    this.said = 0;
    this.paths = [];
    this.connections = 0;
    this.wrong = []; // Messages that arrived twice, out of order, or never.
    this.problems = [];
    this.media = {};
    this.flows = Object.fromEntries(["messages", "video", "audio"].map((kind) => [kind, new Flow(before[kind])]));
    side.on("path", (path) => this.paths.push(path));
    side.on("connection", () => this.connections++);
    side.on("message", (data) => this.#hear(data));
    side.on("problem", ({ code, message }) => this.problems.push(`${code}: ${message}`));
    side.on("media", ({ name, kind, track }) => this.#show(name, kind, track));
  }

  say() {
    this.side.send({ from: `${page} ${this.number}`, n: ++this.said });
  }

  /** A client gets its master's messages from the first one on. A master may miss a client's first ones, if it started
   *  after the client's page. */
  #hear(data) {
    const { from, n } = data ?? {};
    if (from === undefined) return; // From a hostile client.
    const before = heard[from] ?? (role === "client" ? 0 : n - 1);
    if (n !== before + 1) this.wrong.push(`${n} after ${before}`);
    heard[from] = n;
    this.flows.messages.came();
  }

  /** Stores when each thing last arrived, for the next life with the same key. */
  keep() {
    const last = Object.entries(this.flows).map(([kind, flow]) => [kind, flow.last]);
    sessionStorage[`flows ${this.side.key}`] = JSON.stringify(Object.fromEntries(last));
  }

  #show(name, kind, track) {
    this.media[name] = track !== null;
    if (!track) return;
    const player = Object.assign(document.createElement(kind), { autoplay: true, muted: true, srcObject: new MediaStream([track]) });
    players.set(name, player);
  }

  /** Counts received frames and sound. */
  async count() {
    const { pc } = this.side;
    if (!pc || pc.signalingState === "closed") return;
    const totals = { video: 0, audio: 0 };
    for (const report of (await pc.getStats()).values()) {
      if (report.type !== "inbound-rtp") continue;
      totals[report.kind] += (report.kind === "video" ? report.framesDecoded : report.packetsReceived) ?? 0;
    }
    const before = this.pc === pc ? this.totals : { video: 0, audio: 0 };
    Object.assign(this, { pc, totals });
    for (const kind of ["video", "audio"]) if (totals[kind] > before[kind]) this.flows[kind].came();
  }

  toJSON() {
    const { side, number, said, paths, connections, wrong, problems, media, left, flows } = this;
    const { key, hello, path, roundTripTime, pc } = side;
    const ice = pc?.iceConnectionState;
    return { key, name: hello?.name, path, number, said, paths, connections, wrong, problems, media, left, roundTripTime, ice, ...flows };
  }
}

function picture() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
  const paper = canvas.getContext("2d");
  let hue = 0;
  setInterval(() => {
    paper.fillStyle = `hsl(${(hue += 17) % 360} 80% 50%)`;
    paper.fillRect(0, 0, 160, 120);
  }, 200);
  return canvas.captureStream(5).getVideoTracks()[0];
}

function sound() {
  const context = new AudioContext();
  const tone = context.createOscillator();
  const out = context.createMediaStreamDestination();
  tone.connect(out);
  tone.start();
  return out.stream.getAudioTracks()[0];
}

const settings = { ...options, RTCPeerConnection: CountedConnection };

function beClient() {
  const client = new Client({ ...settings, hello: { name } });
  new Watch(client);
  client.on("master", () => seen.masters++);
  return client;
}

function beMaster() {
  const master = new Master(settings);
  master.on("problem", ({ code, message }) => seen.problems.push(`${code}: ${message}`));
  master.on("member", (member) => {
    const watch = new Watch(member);
    member.on("left", (why) => {
      watch.left = why;
      watch.keep();
    });
  });
  return master;
}

const me = role === "master" ? beMaster() : beClient();
me.on("status", ({ state, message, code }) => seen.status.push({ state, message, code }));

const makers = { camera: picture, sound };
const tracks = {};
/** Switches `camera` or `sound` on or off. */
const share = (what, on) => me.share(what, on ? (tracks[what] ??= makers[what]()) : null);
if (media) for (const what of Object.keys(makers)) share(what, true);

const present = () => seen.watches.filter(({ left }) => !left);
setInterval(() => present().forEach((watch) => watch.say()), every);
setInterval(() => present().forEach((watch) => watch.count().catch(() => {})), 200);

addEventListener("pagehide", () => present().forEach((watch) => watch.keep()));

Object.assign(window, {
  me,
  share,
  /** All that was recorded, as JSON. */
  look: () => JSON.stringify({ ...seen, errors, open: made.filter(({ signalingState }) => signalingState !== "closed").length, made: made.length }),
  mark: () => seen.watches.forEach(({ flows }) => Object.values(flows).forEach((flow) => flow.mark())),
});
