/**
 * The media of one line, by name: which transceiver carries what, and which media the other side
 * sends. It sends no packets: its owner sends the result of `state` to the other side, and passes
 * the other side's state to `take`.
 */

/** @typedef {{ mid: string, name: string, on: boolean }} Medium */
/** The state of one side's media: all of them each time. The higher `version` is the newer one: a state that was sent
 *  through moss may arrive after one that was sent later over the line.
 *  @typedef {{ media?: unknown, version?: unknown }} State */

export class Media {
  #pc;
  /** @type {Map<RTCRtpTransceiver, string>} */
  #names = new Map();
  /** @type {Medium[]} */
  #theirs = [];
  #theirVersion = 0;
  #stated = "";
  #version = 0;

  /** @param {RTCPeerConnection} pc */
  constructor(pc) {
    this.#pc = pc;
  }

  /** Prepares to receive media of that name: the other side may then send it without another negotiation.
   *  @param {string} name @param {string} kind */
  want(name, kind) {
    this.#names.set(this.#pc.addTransceiver(kind, { direction: "recvonly" }), name);
  }

  /** Sends the track under that name, or none. @param {string} name @param {MediaStreamTrack | null} track */
  async share(name, track) {
    const mine = this.#pc.getTransceivers().filter((transceiver) => this.#names.get(transceiver) === name && !isStopped(transceiver));
    const place = track && mine.find(({ receiver }) => receiver.track.kind === track.kind);
    for (const transceiver of mine) if (transceiver !== place && transceiver.sender.track) await transceiver.sender.replaceTrack(null);
    if (place) {
      await place.sender.replaceTrack(track);
      place.direction = "sendrecv";
    } else if (track) {
      // In both directions: the other side may share under the same name, too.
      this.#names.set(this.#pc.addTransceiver(track, { direction: "sendrecv" }), name);
    }
  }

  /** The state of our media. @returns {{ media: Medium[], version: number }} */
  state() {
    const media = [];
    for (const transceiver of this.#pc.getTransceivers()) {
      const name = this.#names.get(transceiver);
      if (name !== undefined && transceiver.mid !== null && !isStopped(transceiver))
        media.push({ mid: transceiver.mid, name, on: transceiver.sender.track !== null && transceiver.direction.startsWith("send") });
    }
    const text = JSON.stringify(media);
    if (text !== this.#stated) this.#version++;
    this.#stated = text;
    return { media, version: this.#version };
  }

  /** Takes the state of the other side's media, unless it is older than the last one. @param {State} state */
  take({ media, version }) {
    if (!Array.isArray(media) || (typeof version === "number" && version < this.#theirVersion)) return;
    if (typeof version === "number") this.#theirVersion = version;
    this.#theirs = media.filter((medium) => typeof medium?.mid === "string" && typeof medium.name === "string");
    for (const { mid, name } of this.#theirs) {
      const transceiver = this.#at(mid);
      if (transceiver && !this.#names.has(transceiver)) this.#names.set(transceiver, name);
    }
  }

  /** The media that the other side sends now. */
  get received() {
    const received = [];
    for (const { mid, name, on } of this.#theirs) {
      const track = this.#at(mid)?.receiver.track;
      if (on && track) received.push({ name, kind: track.kind, track });
    }
    return received;
  }

  /** @param {string} mid */
  #at(mid) {
    return this.#pc.getTransceivers().find((transceiver) => transceiver.mid === mid);
  }
}

/** @param {RTCRtpTransceiver} transceiver */
const isStopped = ({ direction, currentDirection }) => direction === "stopped" || currentDirection === "stopped";
