/** Decides between which pages WebRTC packets get through: directly, and through the TURN server. */
export class Network {
  #world;
  #blocked = new Map(); // "type a b" → how many faults block it

  constructor(world) {
    this.#world = world;
  }

  /** `type` is "direct" or "relay". */
  open(a, b, type) {
    if (a.offline || b.offline) return false;
    return !this.#blocked.get(`${type} ${pair(a, b)}`);
  }

  block(type, a, b) {
    this.#count(`${type} ${pair(a, b)}`, 1);
  }

  unblock(type, a, b) {
    this.#count(`${type} ${pair(a, b)}`, -1);
  }

  #count(key, by) {
    this.#blocked.set(key, (this.#blocked.get(key) ?? 0) + by);
    this.#world.networkChanged();
  }
}

function pair(a, b) {
  return [a.host, b.host].sort().join(" ");
}
