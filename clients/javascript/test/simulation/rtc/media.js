import { Target } from "../target.js";

/** A fake MediaStreamTrack. */
export class Track extends Target {
  muted = false;
  readyState = "live";

  constructor(world, page, kind, label = kind) {
    super(page);
    this.kind = kind;
    this.label = label;
    this.id = `track-${world.number()}`;
  }

  stop() {
    this.readyState = "ended";
  }
}

export class Stream {
  id = "stream";
  #tracks;

  constructor(tracks = []) {
    this.#tracks = [...tracks];
  }

  getTracks() {
    return [...this.#tracks];
  }

  addTrack(track) {
    this.#tracks.push(track);
  }
}

class Sender {
  track = null;
  #transceiver;

  constructor(transceiver, track) {
    this.#transceiver = transceiver;
    this.track = track;
  }

  replaceTrack(track) {
    const { connection, kind } = this.#transceiver;
    if (track && track.kind !== kind) return Promise.reject(new TypeError(`${track.kind} on a sender of ${kind}`));
    return connection.chain(() => {
      if (this.#transceiver.stopped) throw new DOMException("The transceiver is stopped.", "InvalidStateError");
      this.track = track;
    });
  }

  getStats() {
    return Promise.resolve(new Map());
  }
}

export class Transceiver {
  mid = null;
  currentDirection = null;
  stopped = false;
  fired = "inactive"; // The direction of the last `track` event.
  #direction;

  constructor(connection, kind, direction, track = null) {
    this.connection = connection;
    this.kind = kind;
    this.#direction = direction;
    this.sender = new Sender(this, track);
    this.receiver = { track: new Track(connection.world, connection.page, kind), getStats: () => Promise.resolve(new Map()) };
    this.receiver.track.muted = true;
  }

  get direction() {
    return this.#direction;
  }

  set direction(direction) {
    if (this.connection.closed || this.stopped) throw new DOMException("closed or stopped", "InvalidStateError");
    if (direction === this.#direction) return;
    this.#direction = direction;
    this.connection.updateNegotiationNeeded();
  }

  stop() {
    throw new DOMException("The fake can't stop transceivers.", "NotSupportedError");
  }
}
