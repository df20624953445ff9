/**
 * What a client and a member of a master have in common: the other side, reached over a line or,
 * if the client chose that and there is no line, through moss. It owns the present line and the
 * messages, which outlive it, and decides which path they take. It does not decide when to call.
 */

import { Emitter } from "./emitter.js";
import { Line, messageOf } from "./line.js";
import { Messages } from "./messages.js";

/** Milliseconds without a line, after which messages go through moss. */
const FALLBACK_AFTER = 3000;

/** @typedef {"direct" | "relayed" | "moss" | "lost" | "no-master"} Path */

/** The constructor of the browser, or of a package for Node.
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
  /** Whether messages may go through moss. @protected */
  fallback = false;
  /** Milliseconds since a line was up. @protected */
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
  /** The media that the application was told of, by name. @type {Map<string, { kind: string, track: MediaStreamTrack }>} */
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

  /** The path that messages take now. */
  get path() {
    return this.#path;
  }

  /** The present RTCPeerConnection: another one after each call. */
  get pc() {
    return this.line?.pc;
  }

  /** Milliseconds to the other side and back; undefined while there is no line. */
  get roundTripTime() {
    return this.line?.roundTripTime;
  }

  /**
   * Sends a JSON value. It arrives once and in order as long as both pages stay open, even if the
   * line or moss fails in the meantime. Returns false, with a `problem` "unsent", if more than 1 MiB
   * already waits for the other side. Throws a TypeError for what is not JSON, a RangeError above
   * 60,000 bytes.
   * @param {unknown} data
   */
  send(data) {
    const isKept = this.messages.send(data);
    if (!isKept && !this.#isFull) this.emit("problem", { code: "unsent", message: "The message was not sent: over 1 MiB already waits for the other side." });
    this.#isFull = !isKept;
    return isKept;
  }

  /**
   * Sends text or bytes without repeating them if they are lost: for data that the next datagram
   * replaces. Best up to 1,200 bytes.
   * @param {string | ArrayBuffer | ArrayBufferView} data
   * @returns {boolean} false: it could not be sent
   */
  sendDatagram(data) {
    return this.line?.sendDatagram(data) ?? false;
  }

  /**
   * Sends a track under a name that you choose, now and in every later call; null switches it
   * off. Switching it on again needs no new call.
   * @param {string} name
   * @param {MediaStreamTrack | null} track
   */
  async share(name, track) {
    mustBeTrack(track);
    this.shares.set(name, track);
    await this.line?.share(name, track);
  }

  /** Whether a packet can be sent through moss now. @protected @returns {boolean} */
  get mossIsReady() {
    return false;
  }

  /** Whether there is no master, as far as is known. @protected @returns {boolean} */
  get isAlone() {
    return false;
  }

  /** Called when the other side does not answer any more. @protected */
  doubt() {}

  /** Sends a packet through moss; returns false if it can't. @protected
   *  @param {string} _type @param {object} _payload @returns {boolean} */
  sendByMoss(_type, _payload) {
    return false;
  }

  /** The session and the life that packets through moss belong to. @protected @returns {object} */
  get lives() {
    return {};
  }

  /** Handles a packet of a type that both sides may send. @protected
   *  @param {string} type @param {any} payload */
  receive(type, payload) {
    if (type === "message") this.messages.receive(payload);
    if (type === "ack") this.messages.acknowledged(payload);
    if (this.line && payload?.call === this.line.call) this.line.receive(type, payload);
  }

  /** Handles a packet that came over the line. @protected @param {string} type @param {any} payload */
  receiveByLine(type, payload) {
    this.receive(type, payload);
  }

  /** @protected @param {string | ArrayBuffer} data */
  receiveDatagram(data) {
    this.emit("datagram", data);
  }

  /**
   * Replaces the present line by a new one.
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
      // Through moss first. The line only if it is up: a dead channel would queue each repeated offer.
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

  /** Closes the line. @protected */
  endLine() {
    this.line?.close();
    this.line = undefined;
    this.#heardMedia([]);
    this.look();
  }

  /** Finds the path that messages take now, and emits `path` if it changed. @protected */
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

  /** Sends again what may be lost, as it went to an old id of the other side. @protected */
  repeat() {
    this.line?.repeat();
    this.look();
    if (this.#way === "moss") this.messages.flush();
  }

  /** @protected @param {number} elapsed milliseconds since the last call, as `everySecond` counts them */
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
    // When a line has just come up, it is not known yet whether it is relayed.
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
      return; // Not JSON: no packet of this library.
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
      if (line !== this.line) return; // A handler ended the line, and with it all media.
      if (this.#told.get(name)?.track === track) continue;
      this.#told.set(name, { kind, track });
      this.emit("media", { name, kind, track });
    }
  }
}

/** Checked at once: otherwise the error would come only with a line, and with each new one. @param {unknown} track */
export function mustBeTrack(track) {
  const { kind } = /** @type {{ kind?: unknown }} */ (track ?? {});
  if (track !== null && kind !== "audio" && kind !== "video") throw new TypeError("share takes a MediaStreamTrack, or null");
}

/** Without any servers, if the browser refuses them (a wrong URL, TURN without a password): a call may still succeed.
 *  @param {PeerConnection} PeerConnection @param {RTCIceServer[]} iceServers
 *  @returns {{ pc: RTCPeerConnection, refusal?: string }} */
function connect(PeerConnection, iceServers) {
  try {
    return { pc: new PeerConnection({ iceServers }) };
  } catch (error) {
    return { pc: new PeerConnection({ iceServers: [] }), refusal: messageOf(error) };
  }
}
