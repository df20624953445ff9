import { Client, Master } from "../../src/index.js";
import { FakeMoss } from "./moss.js";
import { Network } from "./network.js";
import { Storage } from "./page.js";
import { peerConnection } from "./rtc/connection.js";
import { Track } from "./rtc/media.js";
import { webSocket } from "./websocket.js";
import { World } from "./world.js";

const OPTIONAL = { joined: "client-joined", left: "client-left", masterLeft: "master-left", kick: "kick" };

/**
 * Pages with clients and masters in virtual time, for tests with a fixed sequence of events. `seen` keeps
 * the events of their emitters, by name. At the end of the test `t` no page may have failed.
 */
export function stage(t, { optional = OPTIONAL, ...options } = {}) {
  const world = new World(1);
  const network = new Network(world);
  const moss = new FakeMoss(world, { types: { offer: "master-offer", error: "moss-error", ...optional }, ...options });
  const classes = { WebSocket: webSocket(world, moss), RTCPeerConnection: peerConnection(world, network) };
  world.install();
  t.after(() => {
    world.restore();
    const [error] = world.pages.flatMap(({ errors }) => errors);
    if (error) throw error;
  });
  const all = { world, network, moss, classes, run: (seconds) => world.run(seconds * 1000) };
  return Object.assign(all, {
    client: (name, given) => open(all, name, given, (more) => new Client({ ...classes, ...more }), CLIENT),
    master: (name, given) => openMaster(all, name, given),
    track: ({ page }, kind) => new Track(world, page, kind),
  });
}

const CLIENT = ["path", "message", "media", "datagram", "channel", "connection", "master", "status", "problem"];
const MASTER = ["member", "status", "problem"];
const MEMBER = ["path", "message", "media", "datagram", "channel", "connection", "hello", "left", "problem"];

async function openMaster(all, name, given) {
  const make = (more) => new Master({ ...all.classes, secret: "secret", ...more });
  const one = await open(all, name, given, make, MASTER);
  one.members = one.seen.member;
  return one;
}

/** Opens a page. `do` runs code of the page to its end, `seen` has the events of its emitter. */
async function open({ world }, name, { storage = new Storage(), host = name, before = () => {}, ...given } = {}, make, names) {
  const page = world.page(name, { storage, host });
  const one = { page, do: (code) => world.do(page, () => code(one.it)) };
  await world.do(page, () => {
    one.it = make({ ...(names === CLIENT ? { storage } : {}), ...given });
    one.seen = watch(one.it, names);
    if (names === MASTER) one.it.on("member", (member) => (member.seen = watch(member, MEMBER)));
    before(one.it);
  });
  await world.run(1);
  return one;
}

function watch(emitter, names) {
  const seen = {};
  for (const name of names) {
    seen[name] = [];
    emitter.on(name, (detail) => seen[name].push(detail));
  }
  return seen;
}
