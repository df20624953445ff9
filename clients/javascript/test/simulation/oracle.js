import { Clumsy } from "./clumsy.js";

const BOUND = 150_000; // Milliseconds without faults, after which all promises must hold.
const SILENT = 330_000; // This much longer, if nothing tells the master that a client has vanished.
const CALLS = 40; // How many calls a hostile client may make at once.
const CALM = 20_000; // All promises must hold for this time: a dead path is noticed by then.

/** Checks after the last fault that all promises hold. */
export class Oracle {
  #play;

  constructor(play) {
    this.#play = play;
  }

  /** Resolves to the time until all promises held. */
  async judge() {
    const { world, types } = this.#play;
    const peace = world.now;
    const bound = BOUND + (types.left || types.error ? 0 : SILENT);
    let took = 0;
    while (world.now - peace - took < CALM) {
      const complaints = this.#complaints();
      if (complaints.length) took = world.now - peace;
      if (took > bound) this.#dump(), this.#throw(`${bound / 1000} s after the last fault`, complaints);
      await world.run(1000);
      this.#noErrors();
    }
    world.log("ALL IS WELL");
    await this.#lastWords();
    await this.#stop();
    return took;
  }

  /** Messages that are sent now must arrive. */
  async #lastWords() {
    const { world, host, present } = this.#play;
    for (const guest of present) guest.send();
    for (const visitor of host.present.values()) host.send(visitor);
    await world.run(2000);
    this.#noErrors();
    const after = this.#complaints();
    if (after.length) this.#dump(), this.#throw("after the last words", after);
  }

  /** After `stop()` nothing of the library may run, and the master must know which clients have left. */
  async #stop() {
    const { world, host, present, guests, hosts, types } = this.#play;
    const heard = new Map();
    host.left = (name, why) => heard.set(name, why);
    for (const guest of present) {
      guest.isOver = true;
      await world.do(guest.page, () => guest.client.stop());
    }
    await world.run(90_000 + (types.left || types.error ? 0 : SILENT));
    const complaints = [];
    // Packets sent just before the end may be lost.
    for (const { page } of present)
      if (!["goodbye", "gone"].includes(heard.get(page.name))) complaints.push(`${page.name} stopped, and left by ${heard.get(page.name)}`);
    host.isOver = true;
    await world.do(host.page, () => host.master.stop());
    await world.run(12_000);
    for (const { page } of [...guests, ...hosts]) if (page.alive && page.timers.size) complaints.push(`${page.timers.size} timers of ${page.name} run although it stopped`);
    for (const { page } of [...guests, ...hosts]) if (page.alive && page.connections.size) complaints.push(`connections of ${page.name} are open although it stopped`);
    this.#noErrors();
    if (complaints.length) this.#throw("after stop()", complaints);
  }

  #noErrors() {
    const { world, guests, host, hosts } = this.#play;
    const complaints = world.pages.flatMap(({ name, errors }) => errors.filter((error) => !(error instanceof Clumsy)).map((error) => `${name}: ${error.stack ?? error}`));
    const { calls, page } = host;
    if (calls > CALLS + world.now / 1000) complaints.push(`${page.name} made ${calls} connections for a hostile client`);
    for (const { page, problems } of [...guests, ...hosts]) complaints.push(...problems.map((problem) => `${page.name}: a problem: ${problem}`));
    if (complaints.length) this.#throw("at once", complaints);
  }

  /** Writes the state of all connections into the trace. */
  #dump() {
    const { world } = this.#play;
    for (const { name, alive, connections } of world.pages)
      for (const pc of alive ? connections : [])
        world.log(name, pc.fingerprint, pc.connectionState, pc.signalingState, `carries ${pc.carries}`, pc.getTransceivers().map(({ mid, direction, currentDirection, sender }) => `${mid} ${direction} ${currentDirection} ${sender.track?.label}`).join(", "));
  }

  #throw(when, complaints) {
    throw new Error(`seed ${this.#play.world.seed}: ${when}:\n  ${complaints.slice(0, 8).join("\n  ")}`);
  }

  #complaints() {
    const { present, host, guests, hosts } = this.#play;
    const complaints = present.flatMap((guest) => this.#ofGuest(guest));
    const names = present.map(({ page }) => page.name);
    for (const { name } of host.present.values()) if (!names.includes(name)) complaints.push(`${name} is a member but not there`);
    for (const guest of guests)
      if (guest.page.alive && this.#play.wasKicked(guest) && !guest.isStopped) complaints.push(`${guest.page.name} should have stopped, but is ${guest.status}`);
    for (const other of hosts)
      if (other !== host && other.page.alive && (other.status !== "stopped" || other.present.size)) complaints.push(`${other.page.name} was replaced and goes on`);
    return complaints;
  }

  #ofGuest(guest) {
    const { host } = this.#play;
    const { page, client } = guest;
    if (!client) return [`${page.name} has only just been opened`];
    const visitor = host.visitor(page.name);
    const say = (text) => `${page.name} ${text}`;
    if (!visitor) return [say(`is no member (its path is ${client.path}, its state ${client.state})`)];
    const { member } = visitor;
    const complaints = [];
    if (host.master.members.get(client.key) !== member) complaints.push(say("is not in the master's map"));
    for (const [side, path] of [["client", client.path], ["master", member.path]])
      if (!this.#play.pathOf(guest).includes(path)) complaints.push(say(`has the path ${path} at the ${side}`));
    if (JSON.stringify(visitor.hello) !== JSON.stringify(guest.hello)) complaints.push(say(`is known by the hello ${JSON.stringify(visitor.hello)}`));
    if (client.path !== "lost") complaints.push(...this.#messages(guest, member, say));
    if (client.path === "lost" || client.path === "moss") return complaints;
    const theirs = new Map([...host.shares, ...visitor.shares]);
    complaints.push(...this.#media(theirs, guest.media, client.pc, (text) => say(`at the client: ${text}`)));
    complaints.push(...this.#media(guest.shares, visitor.media, member.pc, (text) => say(`at the master: ${text}`)));
    return complaints;
  }

  #messages({ since, sent, received }, { life }, say) {
    const { host } = this.#play;
    const { session } = host.master;
    const complaints = [];
    const due = host.sent.get(life) ?? 0;
    const got = received.get(life) ?? 0;
    if (got !== due) complaints.push(say(`got ${got} of ${due} messages of the master`));
    const first = since.get(session);
    const last = host.heard.get(life) ?? 0;
    if (first === undefined) return [...complaints, say("knows nothing of this session")];
    if (sent >= first && last !== sent) complaints.push(say(`sent ${sent} messages, the master heard ${last}`));
    if (sent >= first && (host.firsts.get(life) ?? Infinity) > first)
      complaints.push(say(`sent ${first} first in this session, the master heard ${host.firsts.get(life)}`));
    return complaints;
  }

  /** Each medium that is on must arrive as the right track, over a transceiver that carries it. */
  #media(shares, seen, pc, say) {
    const on = [...shares].filter(([, track]) => track);
    const complaints = [];
    for (const name of seen.keys()) if (!shares.get(name)) complaints.push(say(`${name} seems on`));
    for (const [name, track] of on) {
      const place = pc?.getTransceivers().find(({ receiver }) => receiver.track === seen.get(name));
      const far = pc?.ice.other?.getTransceivers().find(({ mid }) => mid !== null && mid === place?.mid);
      if (!place) complaints.push(say(`${name} is not seen`));
      else if (far?.sender.track !== track) complaints.push(say(`${name} shows ${far?.sender.track?.label ?? "nothing"}`));
      else if (!/recv/.test(place.currentDirection) || !/send/.test(far.currentDirection)) complaints.push(say(`${name} is ${place.currentDirection} here and ${far.currentDirection} there`));
    }
    return complaints;
  }
}
