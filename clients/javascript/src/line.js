/**
 * A line: one RTCPeerConnection between a client and its master, and what both sides do with it
 * in the same way. It negotiates ("perfect negotiation": the client is polite) and carries packets
 * in its own data channel. It closes only when it is told to: its owner decides whether a line that
 * is down is restarted or given up.
 *
 * Offers are numbered, so that a lost, repeated or late one does no harm: an answer counts only
 * for the open offer, an offer that was answered gets the same answer again, and an offer without
 * an answer is sent again.
 */

import { Media } from "./media.js";
import { measure } from "./statistics.js";

const OFFER_AGAIN_AFTER = 5000; // Milliseconds, doubled each time: a network that comes back delivers all of them at once.
const OFFER_AGAIN_AT_MOST = 40_000;
const CANDIDATES = 100; // From the other side, for one description. Browsers send a dozen.
const CHANNELS = 64; // Opened by the other side's application.
const SECTIONS = 64; // In an offer from the other side: hundreds keep a browser busy for many seconds.
const UNSENT_DATAGRAMS = 65_536; // Bytes. Above that, datagrams are dropped: they would arrive too late.

/**
 * What a line needs from its owner:
 * `signal` sends a packet of negotiation to the other side, and returns false if it can't;
 * `heard` gets the packets of the line's channel;
 * `changed` is called when the line came up, went down or was closed by the other side;
 * `offered` is called before an offer is answered: tracks that it shares become part of that answer;
 * `media` gets all tracks that the other side sends now;
 * `channel` and `datagram` are for the application; `problem` gets what the other side did wrong.
 * @typedef {object} Owner
 * @property {(type: string, payload: object) => boolean} signal
 * @property {(text: string) => void} heard
 * @property {() => void} changed
 * @property {() => Promise<unknown>} offered
 * @property {(media: { name: string, kind: string, track: MediaStreamTrack }[]) => void} media
 * @property {(channel: RTCDataChannel) => void} channel
 * @property {(data: string | ArrayBuffer) => void} datagram
 * @property {(code: string, message: string) => void} problem
 */

export class Line {
  /** Whether it was up at any time. */
  wasUp = false;
  /** Whether it goes through a TURN server; undefined while that is unknown.
   *  @type {boolean | undefined} */
  relayed;
  /** Milliseconds to the other side and back, as ICE measures them.
   *  @type {number | undefined} */
  roundTripTime;
  /** Whether the other side has closed it, so that no restart can help. */
  ended = false;

  /** @type {Owner} */
  #owner;
  #polite;
  /** @type {RTCDataChannel | undefined} */
  #channel;
  /** @type {RTCDataChannel | undefined} */
  #datagrams;
  #theirChannels = 0;

  #making = false;
  #offers = 0; // The number of our last offer.
  #unanswered = 0; // Milliseconds since it was sent; infinite if it never was.
  #patience = OFFER_AGAIN_AFTER;
  #heardOffer = 0; // The number of their last offer that was answered.
  #candidates = 0; // Theirs, since their last description.
  /** @type {Promise<void>} */
  #queue = Promise.resolve(); // Their packets are handled one after the other.
  #isClosed = false;
  /** Resolve the promises of `share` when the line closes. @type {Set<() => void>} */
  #waiting = new Set();
  /** @type {Promise<void>} */
  #sharing = Promise.resolve();

  #media;
  #said = 0; // The version of our media that was sent last.
  #asked = false; // Statistics are being fetched.
  #isUp = false;

  /**
   * @param {string} call
   * @param {RTCPeerConnection} pc
   * @param {Owner} owner
   * @param {{ polite: boolean }} options
   */
  constructor(call, pc, owner, { polite }) {
    this.call = call;
    this.pc = pc;
    this.#owner = owner;
    this.#polite = polite;
    this.#media = new Media(pc);
    pc.onnegotiationneeded = () => this.#offer();
    pc.onicecandidate = ({ candidate }) => candidate && owner.signal("candidate", { call, candidate });
    pc.onconnectionstatechange = pc.oniceconnectionstatechange = () => this.#look();
    pc.ondatachannel = ({ channel }) => this.#take(channel);
  }

  /** Makes the library's own channels. The calling side does so, before the first offer. */
  open() {
    this.#take(this.pc.createDataChannel("moss"));
    this.#take(this.pc.createDataChannel("moss-datagrams", { ordered: false, maxRetransmits: 0 }));
  }

  get up() {
    if (this.#isClosed || this.#channel?.readyState !== "open") return false;
    const { connectionState } = this.pc;
    // Firefox is `connecting` for a moment when media are added, without an interruption.
    return connectionState === "connected" || (this.#isUp && (connectionState === "connecting" || connectionState === "new"));
  }

  /** Whether an offer was made. */
  get isOffered() {
    return this.#offers > 0;
  }

  get failed() {
    return this.pc.connectionState === "failed" || this.pc.iceConnectionState === "failed";
  }

  /** Sends a packet in the line's channel; returns false if that is not open.
   *  @param {string} type @param {unknown} payload */
  send(type, payload) {
    return this.#isClosed ? false : put(this.#channel, JSON.stringify({ type, payload }));
  }

  /** @param {string | ArrayBuffer | ArrayBufferView} data */
  sendDatagram(data) {
    return this.up && this.#datagrams !== undefined && this.#datagrams.bufferedAmount <= UNSENT_DATAGRAMS && put(this.#datagrams, data);
  }

  /** Restarts ICE, which looks for another path while the present one stays in use. */
  restart() {
    if (!this.#isClosed) this.pc.restartIce();
  }

  /** Sends an open offer again: it may be lost. */
  repeat() {
    if (this.#isClosed || this.pc.signalingState !== "have-local-offer") return;
    this.#sendDescription("offer", this.#offers);
  }

  /** @param {RTCIceServer[]} iceServers */
  setServers(iceServers) {
    try {
      if (!this.#isClosed) this.pc.setConfiguration({ ...this.pc.getConfiguration?.(), iceServers });
    } catch (error) {
      this.#owner.problem("ice-servers", messageOf(error));
    }
  }

  /** Prepares to receive media of that name: the other side may then send it without another negotiation.
   *  @param {string} name @param {string} kind */
  want(name, kind) {
    this.#media.want(name, kind);
  }

  /**
   * Sends the track under that name, or none.
   * @param {string} name
   * @param {MediaStreamTrack | null} track
   * @returns {Promise<void>}
   */
  share(name, track) {
    // One after the other, or the track of an earlier call might win.
    const done = this.#sharing.then(() => this.#share(name, track));
    this.#sharing = done.catch(() => {});
    // A replaceTrack never ends if the connection is closed meanwhile.
    return new Promise((resolve, reject) => {
      this.#waiting.add(resolve);
      done.then(resolve, reject).finally(() => this.#waiting.delete(resolve));
    });
  }

  /** @param {string} name @param {MediaStreamTrack | null} track */
  async #share(name, track) {
    if (this.#isClosed) return;
    await this.#media.share(name, track);
    this.#sayMedia();
  }

  /**
   * Handles a packet of negotiation, which came through moss or over the line.
   * @param {string} type @param {any} payload
   */
  receive(type, payload) {
    this.#queue = this.#queue.then(async () => {
      if (this.#isClosed) return;
      try {
        if (type === "offer") await this.#answer(payload);
        if (type === "answer") await this.#answered(payload);
        if (type === "candidate") await this.#candidate(payload);
        if (type === "media") this.#takeMedia(payload);
      } catch (error) {
        if (!this.#isClosed) this.#owner.problem("invalid", `${type}: ${messageOf(error)}`);
      }
    });
  }

  /** @param {number} elapsed milliseconds since the last call */
  tick(elapsed) {
    if (this.#isClosed) return;
    this.#measure();
    this.#sayMedia();
    if (this.pc.signalingState !== "have-local-offer" || this.#making) return;
    this.#unanswered += elapsed;
    if (this.#unanswered < this.#patience) return;
    this.repeat();
    if (this.#unanswered === 0) this.#patience = Math.min(this.#patience * 2, OFFER_AGAIN_AT_MOST);
  }

  close() {
    this.#isClosed = true;
    for (const end of this.#waiting) end();
    const { pc } = this;
    // Events that are already queued must not reach the owner any more.
    for (const channel of [this.#channel, this.#datagrams]) if (channel) channel.onmessage = channel.onopen = channel.onclose = null;
    pc.onnegotiationneeded = pc.onicecandidate = pc.onconnectionstatechange = pc.oniceconnectionstatechange = pc.ondatachannel = null;
    pc.close();
  }

  async #offer() {
    if (this.#isClosed) return;
    this.#making = true;
    try {
      await describe(this.pc);
    } catch (error) {
      return this.#isClosed || this.#owner.problem("offer", messageOf(error));
    } finally {
      this.#making = false;
    }
    if (this.pc.signalingState !== "have-local-offer") return;
    this.#patience = OFFER_AGAIN_AFTER;
    this.#sendDescription("offer", ++this.#offers);
  }

  /** @param {{ n: number, description: RTCSessionDescriptionInit, media?: unknown, version?: unknown }} offer */
  async #answer({ n, description, ...state }) {
    const { pc } = this;
    if (!Number.isSafeInteger(n)) throw new TypeError("an offer needs a number");
    if (String(description.sdp).split("\nm=").length > SECTIONS + 1) throw new RangeError(`an offer has at most ${SECTIONS} media`);
    if (n <= this.#heardOffer) {
      // Also while an offer of ours is open: the other side ignores that until it has this answer.
      const answer = pc.currentLocalDescription;
      if (n === this.#heardOffer && pc.signalingState !== "have-remote-offer" && answer?.type === "answer") this.#sendDescription("answer", n, answer);
      return this.#takeRepeated(state);
    }
    // The impolite side ignores an offer that collides with its own. The polite side answers, and offers again.
    if (!this.#polite && (this.#making || pc.signalingState !== "stable")) return;
    await pc.setRemoteDescription({ type: "offer", sdp: description.sdp });
    this.#heardOffer = n;
    this.#candidates = 0;
    this.#media.take(state);
    await this.#owner.offered();
    await describe(pc);
    this.#sendDescription("answer", n);
    this.#owner.media(this.#media.received);
  }

  /** @param {{ n: number, description: RTCSessionDescriptionInit, media?: unknown, version?: unknown }} answer */
  async #answered({ n, description, ...state }) {
    if (n !== this.#offers || this.pc.signalingState !== "have-local-offer") return this.#takeRepeated(state); // Repeated, or late.
    await this.pc.setRemoteDescription({ type: "answer", sdp: description.sdp });
    this.#candidates = 0;
    this.#takeMedia(state);
    this.#sayMedia();
  }

  /** @param {{ candidate: RTCIceCandidateInit }} payload */
  async #candidate({ candidate }) {
    if (++this.#candidates > CANDIDATES) return this.#candidates === CANDIDATES + 1 && this.#owner.problem("flood", "too many candidates");
    // Fails if it came before its description or belongs to an ignored offer. A later description has it, too.
    await this.pc.addIceCandidate(candidate).catch(() => {});
  }

  /** @param {"offer" | "answer"} type @param {number} n */
  #sendDescription(type, n, description = this.pc.localDescription) {
    const { call } = this;
    const state = this.#media.state();
    const sent = this.#owner.signal(type, { call, n, description, ...state });
    if (sent) this.#said = state.version;
    if (type === "offer") this.#unanswered = sent ? 0 : Infinity;
  }

  /** @param {RTCDataChannel} channel */
  #take(channel) {
    channel.binaryType = "arraybuffer";
    if (channel.label === "moss-datagrams" && !this.#datagrams) {
      this.#datagrams = channel;
      channel.onmessage = ({ data }) => this.#owner.datagram(data);
    } else if (channel.label === "moss" && !this.#channel) {
      this.#channel = channel;
      channel.onmessage = ({ data }) => typeof data === "string" && this.#owner.heard(data);
      channel.onopen = () => this.#look();
      channel.onclose = () => {
        this.ended = true;
        this.#look();
      };
      if (channel.readyState === "open") this.#look();
    } else if (++this.#theirChannels > CHANNELS) {
      channel.close();
    } else {
      this.#owner.channel(channel);
    }
  }

  #look() {
    if (this.#isClosed) return;
    const { up } = this;
    if (up && !this.#isUp) this.#said = 0; // What was sent last may be lost.
    this.#isUp = up;
    if (up) {
      this.wasUp = true;
      this.#sayMedia();
      this.#measure();
    } else {
      this.relayed = this.roundTripTime = undefined;
    }
    this.#owner.changed();
  }

  async #measure() {
    if (!this.up || this.#asked) return;
    this.#asked = true;
    try {
      const { relayed: isRelayed, roundTripTime } = await measure(this.pc);
      if (!this.up) return;
      const { relayed } = this;
      this.relayed = isRelayed ?? relayed ?? false; // If the browser names no pair: most lines are direct.
      this.roundTripTime = roundTripTime ?? this.roundTripTime;
      if (relayed !== this.relayed) this.#owner.changed();
    } catch (error) {
      if (!this.#isClosed) this.#owner.problem("statistics", messageOf(error));
    } finally {
      this.#asked = false;
    }
  }

  /** Sends the state of our media, if it changed. During a negotiation it is part of the offer or answer. */
  #sayMedia() {
    if (this.#isClosed || this.pc.signalingState !== "stable") return;
    const state = this.#media.state();
    if (state.version === this.#said) return;
    const payload = { call: this.call, ...state };
    if (this.send("media", payload) || this.#owner.signal("media", payload)) this.#said = state.version;
  }

  /** An outdated description may still have a new state of media. @param {import("./media.js").State} state */
  #takeRepeated(state) {
    if (typeof state.version === "number") this.#takeMedia(state);
  }

  /** @param {import("./media.js").State} state */
  #takeMedia(state) {
    this.#media.take(state);
    this.#owner.media(this.#media.received);
  }
}

/** Sets the local description. Node's wrtc, unlike browsers, has to be given an offer or an answer.
 *  @param {RTCPeerConnection} pc */
async function describe(pc) {
  try {
    await pc.setLocalDescription();
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "TypeError") throw error;
    await pc.setLocalDescription(await (pc.signalingState === "have-remote-offer" ? pc.createAnswer() : pc.createOffer()));
  }
}

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/** @param {RTCDataChannel | undefined} channel @param {any} data */
function put(channel, data) {
  if (channel?.readyState !== "open") return false;
  try {
    channel.send(data);
    return true;
  } catch {
    return false; // Its buffer is full, or it has just closed.
  }
}
