/**
 * What a client and a member of a master have in common: the other side, reached by a line or,
 * where that is wanted and there is no line, by moss. It owns the line of the moment and the
 * messages, which outlive it, and knows by which path they go. Who calls, and when, is not
 * decided here.
 */

import { Emitter } from "./emitter.js";
import { Line, messageOf } from "./line.js";
import { Messages } from "./messages.js";

/** Milliseconds without a line after which messages go by moss. */
const FALLBACK_AFTER = 3000;

/** @typedef {"direct" | "relayed" | "moss" | "lost" | "no-master"} Path */

/** The browser's, or that of a package for Node.
 *  @typedef {new (configuration?: RTCConfiguration) => RTCPeerConnection} PeerConnection */

/**
 * @typedef {object} PeerEvents
 * @property {any} message
 * @property {Path} path
 * @property {{ name: string, kind: string, track: MediaStreamTrack | null }} media
 * @property {string | ArrayBuffer} datagram
 * @property {RTCDataChannel} channel
 * @property {RTCPeerConnection} connection
 * @property {{ code: string, message: string }} problem
 */

/**
 * @template {PeerEvents} Events
 * @extends {Emitter<Events>}
 */
export class Peer extends Emitter {
  /** @protected @type {Line | undefined} */
  line;
  /** Whether messages may go by moss. @protected */
  fallback = false;
  /** Milliseconds for which there was no line that is up. @protected */
  downFor = 0;
  /** @protected */
  messages;
  /** @protected @type {Map<string, MediaStreamTrack | null>} */
  shares = new Map();

  /** @type {Path} */
  #path = "lost";
  #overMoss = false;
  /** @type {Line | "moss" | undefined} */
  #way;
  #isFull = false;
  /** What the application was told of: by name. @type {Map<string, { kind: string, track: MediaStreamTrack }>} */
  #told = new Map();
  #makePeerConnection;

  /** @param {{ RTCPeerConnection?: PeerConnection, messages?: Messages }} options */
  constructor({ RTCPeerConnection: PeerConnection = globalThis.RTCPeerConnection, messages = new Messages() }) {
    super();
    this.#makePeerConnection = PeerConnection;
    this.messages = messages;
    messages.belongTo(
      (type, payload) => this.#carry(type, payload),
      (data) => this.emit("message", data),
    );
  }

  /** By which way messages go now. */
  get path() {
    return this.#path;
  }

  /** The RTCPeerConnection of the line of the moment: another one after each call. */
  get pc() {
    return this.line?.pc;
  }

  /** Milliseconds to the other side and back on the line; undefined without one. */
  get roundTripTime() {
    return this.line?.roundTripTime;
  }

  /**
   * Sends any JSON. It arrives once and in order as long as both pages live, whatever becomes
   * of lines and of moss meanwhile. False, and a `problem` "unsent", if more than 1 MiB waits for
   * the other side already; throws a TypeError for what is no JSON, a RangeError above 60,000 bytes.
   * @param {unknown} data
   */
  send(data) {
    const isKept = this.messages.send(data);
    if (!isKept && !this.#isFull) this.emit("problem", { code: "unsent", message: "The message was not sent: over 1 MiB already waits for the other side." });
    this.#isFull = !isKept;
    return isKept;
  }

  /**
   * Sends text or bytes at once or never: for what the next one makes stale. Up to some 1,200 bytes travel best.
   * @param {string | ArrayBuffer | ArrayBufferView} data
   * @returns {boolean} false: it is lost already
   */
  sendDatagram(data) {
    return this.line?.sendDatagram(data) ?? false;
  }

  /**
   * Sends a track under a name of yours, from now on and in every later call; null switches it
   * off. On, off and on again needs no new call.
   * @param {string} name
   * @param {MediaStreamTrack | null} track
   */
  async share(name, track) {
    mustBeTrack(track);
    this.shares.set(name, track);
    await this.line?.share(name, track);
  }

  /** Whether moss can bring a packet to the other side now. @protected @returns {boolean} */
  get mossIsReady() {
    return false;
  }

  /** Whether there is nobody on the other side, as far as is known. @protected @returns {boolean} */
  get isAlone() {
    return false;
  }

  /** Nothing comes back. @protected */
  doubt() {}

  /** A packet by moss; false if there is no way. @protected
   *  @param {string} _type @param {object} _payload @returns {boolean} */
  sendByMoss(_type, _payload) {
    return false;
  }

  /** What a packet by moss says of the two pages between which it goes. @protected @returns {object} */
  get lives() {
    return {};
  }

  /** A packet of the other side, of those that both sides know. @protected
   *  @param {string} type @param {any} payload */
  receive(type, payload) {
    if (type === "message") this.messages.receive(payload);
    if (type === "ack") this.messages.acknowledged(payload);
    if (this.line && payload?.call === this.line.call) this.line.receive(type, payload);
  }

  /** A packet in the line's channel. @protected @param {string} type @param {any} payload */
  receiveByLine(type, payload) {
    this.receive(type, payload);
  }

  /** @protected @param {string | ArrayBuffer} data */
  receiveDatagram(data) {
    this.emit("datagram", data);
  }

  /**
   * Another line takes the place of the one before.
   * @protected
   * @param {string} call
   * @param {{ polite: boolean, iceServers: RTCIceServer[] }} options
   */
  makeLine(call, { polite, iceServers }) {
    this.line?.close();
    if (!this.#makePeerConnection) throw new Error("There is no RTCPeerConnection: give one as an option.");
    const { pc, refusal } = connect(this.#makePeerConnection, iceServers);
    /** @type {Line} */
    const line = new Line(call, pc, {
      // A channel that is open but leads nowhere would keep each repeat of an offer.
      signal: (type, payload) => this.sendByMoss(type, payload) || (line.up && line.send(type, payload)),
      heard: (text) => this.#heard(text),
      changed: () => this.look(),
      offered: () => Promise.all([...this.shares].map(([name, track]) => line.share(name, track))),
      media: (media) => this.#heardMedia(media),
      channel: (channel) => this.emit("channel", channel),
      datagram: (data) => this.receiveDatagram(data),
      problem: (code, message) => this.emit("problem", { code, message }),
    }, { polite });
    this.line = line;
    if (refusal) this.emit("problem", { code: "ice-servers", message: refusal });
    if (this.line === line) this.emit("connection", pc);
    return line;
  }

  /** Nothing is expected of the line any more. @protected */
  endLine() {
    this.line?.close();
    this.line = undefined;
    this.#heardMedia([]);
    this.look();
  }

  /** Looks by which path messages go now, and tells if that is another one. @protected */
  look() {
    const { line } = this;
    if (line?.up) {
      this.downFor = 0;
      this.#overMoss = false;
    }
    const way = line?.up ? line : this.#overMoss && this.mossIsReady ? "moss" : undefined;
    if (way !== this.#way) {
      this.#way = way;
      if (way) this.messages.flush();
    }
    const path = this.#find();
    if (path === this.#path) return;
    this.#path = path;
    this.emit("path", path);
  }

  /** The other side is known to moss by a new id: what went to the old one may be lost. @protected */
  repeat() {
    this.line?.repeat();
    this.look();
    if (this.#way === "moss") this.messages.flush();
  }

  /** @protected @param {number} elapsed milliseconds since the last call, as a page that slept counts them */
  tick(elapsed) {
    this.line?.tick(elapsed);
    if (!this.line?.up) this.downFor += elapsed;
    this.#overMoss = this.fallback && this.downFor >= FALLBACK_AFTER;
    this.look();
    if (this.messages.tick(elapsed)) this.doubt();
  }

  /** @returns {Path} */
  #find() {
    const way = this.#way;
    if (way === "moss") return "moss";
    if (!way) return this.isAlone ? "no-master" : "lost";
    // Whether a line that has just come up is relayed is known a moment later.
    return way.relayed === undefined ? this.#path : way.relayed ? "relayed" : "direct";
  }

  /** @param {string} type @param {{ n: number }} payload */
  #carry(type, payload) {
    if (this.#way === "moss") return this.sendByMoss(type, { ...payload, ...this.lives });
    return this.#way?.send(type, payload) ?? false;
  }

  /** @param {string} text */
  #heard(text) {
    let packet;
    try {
      packet = JSON.parse(text);
    } catch {
      return; // No packet: the channel is the library's own.
    }
    if (typeof packet?.type === "string") this.receiveByLine(packet.type, packet.payload);
  }

  /** @param {{ name: string, kind: string, track: MediaStreamTrack }[]} media all that the other side sends now */
  #heardMedia(media) {
    for (const [name, { kind }] of this.#told)
      if (!media.some((medium) => medium.name === name)) {
        this.#told.delete(name);
        this.emit("media", { name, kind, track: null });
      }
    const { line } = this;
    for (const { name, kind, track } of media) {
      if (line !== this.line) return; // A handler ended it, and all is off.
      if (this.#told.get(name)?.track === track) continue;
      this.#told.set(name, { kind, track });
      this.emit("media", { name, kind, track });
    }
  }
}

/** A stream, for example, would be refused only when there is a line, and then with each new one. @param {unknown} track */
export function mustBeTrack(track) {
  const { kind } = /** @type {{ kind?: unknown }} */ (track ?? {});
  if (track !== null && kind !== "audio" && kind !== "video") throw new TypeError("share takes a MediaStreamTrack, or null");
}

/** Servers that the browser refuses (a wrong URL, TURN without a password) are worse than none.
 *  @param {PeerConnection} PeerConnection @param {RTCIceServer[]} iceServers
 *  @returns {{ pc: RTCPeerConnection, refusal?: string }} */
function connect(PeerConnection, iceServers) {
  try {
    return { pc: new PeerConnection({ iceServers }) };
  } catch (error) {
    return { pc: new PeerConnection({ iceServers: [] }), refusal: messageOf(error) };
  }
}
