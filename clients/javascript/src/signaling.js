import { Emitter } from "./emitter.js";

// All in milliseconds.
const CONNECT_WITHIN = 10_000;
const PING_EVERY = 15_000;
const GOOD_AFTER = 10_000;
const RETRY_FIRST = 500;
const RETRY_AT_MOST = 10_000;
/** Seconds. */
const CHECKED_WITHIN = 5;

/** Why moss closes a connection, by close code. @type {Record<number, string>} */
const CLOSED = {
  1001: "moss is stopping.",
  1009: "A packet was too large for moss (MOSS_MAX_PACKET_BYTES).",
  1011: "moss received nothing on this connection for too long.",
  1013: "moss closed this connection: it was read too slowly, or moss is full or short of memory.",
};

/**
 * @typedef {"connecting" | "ready" | "waiting" | "stopped"} State
 * @typedef {{ state: State, message: string, code?: string }} Status
 * @typedef {{ type: string, payload: any, id?: string }} Packet
 * @typedef {{ code: string, message: string, id?: string }} Problem
 * @typedef {{ status: Status, packet: Packet, problem: Problem }} SignalingEvents
 *
 * What this class uses of a WebSocket: the browser's, Node's, or that of the package `ws`.
 * @typedef {{
 *   readonly readyState: number, send(text: string): void, close(): void,
 *   onopen: any, onmessage: any, onclose: any, onerror: any,
 * }} Socket
 *
 * @typedef {object} SignalingOptions
 * @property {string | URL} [address] As people type it ("box", "192.168.1.5:8080", "https://box/game/"). By
 *   default the moss that served this page.
 * @property {string} [secret] With it this is a master, without it a client.
 * @property {string} [loginSecret] The secret of clients, if moss has one (MOSS_LOGIN_SECRET).
 * @property {unknown} [offer] The master's `sdp`: any JSON, sent to each client that logs in.
 * @property {string} [errorType] MOSS_ERROR_TYPE.
 * @property {new (address: string) => Socket} [WebSocket]
 */

/**
 * The connection to moss: packets to the other side and back, over a WebSocket that reconnects by
 * itself. A master if `secret` is given, otherwise a client.
 *
 *     const moss = new Signaling({ address: "192.168.1.5" });
 *     moss.on("packet", ({ type, payload, id }) => …);
 *     moss.on("status", ({ state, message, code }) => …);
 *     moss.on("problem", ({ code, message, id }) => …);
 *     moss.start();
 *     moss.send("hello", { any: "JSON" });        // client to master
 *     moss.send("hello", { any: "JSON" }, id);    // master to one client
 *
 * `status` goes connecting → ready → waiting → connecting … → stopped:
 * - `ready`: logged in, or confirmed as master. It comes again after every reconnect, and a client
 *   then has another id.
 * - `waiting`: the connection failed or was lost; `message` says why, as far as is known. It may come
 *   twice, the second time with more details. It tries again after a random pause, which grows with
 *   each failure; at once when the network is back or the page becomes visible.
 * - `stopped`: by `stop()`, or because trying again would not help. `code` tells why: `wrong-secret`
 *   (a client needs a secret, or another one), `replaced` (by another master), `kicked`.
 *
 * `packet` is a packet from the other side. At a master `id` is the client that sent it; without an
 * id it comes from moss (a client joined or left).
 * `problem` is moss's answer to a packet that it could not pass on; the connection stays open.
 *
 * @extends {Emitter<SignalingEvents>}
 */
export class Signaling extends Emitter {
  #WebSocket;
  /** @type {State} */
  #state = "stopped";
  /** @type {Socket | undefined} */
  #socket;
  /** Depending on the state: gives up connecting, pings, or tries again. @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #checking;
  /** @type {AbortController | undefined} */
  #asking;
  #tries = 0;
  #opened = 0; // When the socket opened; 0 while it is not open.
  #heard = false; // Whether anything was received since the last ping.
  #check = () => this.check();
  #checkIfVisible = () => {
    if (document.visibilityState === "visible") this.check();
  };

  /**
   * Throws a TypeError if `address` cannot be made into a WebSocket address.
   *
   * @param {SignalingOptions} [options]
   */
  constructor({
    address = Signaling.here,
    secret,
    loginSecret,
    offer = {},
    errorType = "moss-error",
    WebSocket = globalThis.WebSocket,
  } = {}) {
    super();
    if (!WebSocket) throw new TypeError("there is no WebSocket: use Node 22 or newer, or give one as an option");
    for (const text of [secret, loginSecret])
      if (text !== undefined && typeof text !== "string") throw new TypeError("a secret must be a string");
    this.address = Signaling.address(address);
    this.secret = secret;
    this.loginSecret = loginSecret;
    this.offer = offer;
    this.errorType = errorType;
    this.#WebSocket = WebSocket;
  }

  /** The address of moss, if it served this page: ws://box:8080/ for http://box:8080/game/client.html. Behind a
   *  proxy that has moss below a path, give the address. Throws a TypeError if no server served this page. */
  static get here() {
    const page = globalThis.location?.href ?? "";
    if (!/^https?:/.test(page)) throw new TypeError("this page did not come from a server: give the address of moss");
    return new URL("/", page).href.replace(/^http/, "ws");
  }

  /**
   * The WebSocket address for what people type: ws://box:8080/ for "box", but wss://box:8443/ on a page
   * from https://, which may not open ws://. A full URL stays as it is.
   *
   * @param {string | URL} text
   */
  static address(text) {
    const typed = String(text).trim();
    const full = /^\w+:\/\//.test(typed);
    const [scheme, port] = globalThis.location?.protocol === "https:" ? ["wss", "8443"] : ["ws", "8080"];
    const url = new URL(full ? typed.replace(/^http/i, "ws") : `${scheme}://${typed}`);
    if (!/^wss?:$/.test(url.protocol)) throw new TypeError(`${url.protocol} is not ws: or wss:`);
    if (!full && !/:\d+([/?#]|$)/.test(typed)) url.port = port;
    url.hash = "";
    return url.href;
  }

  get state() {
    return this.#state;
  }

  /** Connects; if it was started before, connects again. */
  start() {
    this.#tries = 0;
    globalThis.addEventListener?.("online", this.#check);
    globalThis.document?.addEventListener("visibilitychange", this.#checkIfVisible);
    this.#connect();
  }

  /** The event `status` gets both arguments. */
  stop(message = "Not connected.", /** @type {string | undefined} */ code = undefined) {
    if (this.#state !== "stopped") this.#end(message, code);
  }

  /**
   * Sends a packet. Returns false if there is no connection now: the packet is not kept.
   *
   * @param {string} type
   * @param {unknown} [payload]
   * @param {string} [id] From the master: the client.
   */
  send(type, payload = "", id = undefined) {
    if (this.#state !== "ready" || this.#socket?.readyState !== 1) return false;
    this.#put(type, payload, id);
    return true;
  }

  /**
   * Sets another offer of the master: it is sent to all clients now, and after each reconnect.
   *
   * @param {unknown} offer
   */
  renew(offer) {
    if (this.secret === undefined) throw new TypeError("only a master has an offer");
    this.offer = offer;
    if (this.#opened) this.#claim();
  }

  /** Tests the connection: if there is no answer within 5 seconds, it is lost. In the state `waiting`,
   *  tries to connect at once. */
  check() {
    if (this.#state === "waiting") return this.#connect();
    if (this.#state !== "ready" || this.#checking !== undefined) return;
    this.#checking = countdown(CHECKED_WITHIN, () => this.#lost());
    this.#put("ping");
  }

  #connect() {
    this.#drop();
    let socket;
    try {
      this.#socket = socket = new this.#WebSocket(this.address);
    } catch (error) {
      const mixed = globalThis.location?.protocol === "https:" && this.address.startsWith("ws:");
      return this.#end(mixed ? "A page from https:// may not open ws://, only wss://." : `No WebSocket: ${error}`);
    }
    socket.onopen = () => this.#enter();
    socket.onmessage = (/** @type {MessageEvent} */ { data }) => this.#receive(data);
    socket.onclose = (/** @type {CloseEvent} */ { code, reason }) => this.#lost(code, reason);
    // In Node 22 the only event of a failed attempt. Never removed: the package `ws` ends a program in
    // which an error has no handler.
    socket.onerror = () => {
      if (socket === this.#socket && !this.#opened) this.#lost(1006);
    };
    this.#timer = setTimeout(() => this.#lost(), CONNECT_WITHIN); // Some networks drop the attempt without an answer.
    this.#tell("connecting", `Connecting to ${this.address} …`);
  }

  #enter() {
    clearTimeout(this.#timer);
    this.#opened = Date.now();
    this.#heard = false;
    // TCP takes minutes to notice that the other side is gone, pings take seconds.
    this.#timer = setInterval(() => {
      if (!this.#heard) return this.#lost();
      this.#heard = false;
      this.#put("ping");
    }, PING_EVERY);
    if (this.secret !== undefined) return this.#claim();
    this.#put("login", this.loginSecret === undefined ? "" : { secret: this.loginSecret });
    this.#put("ping"); // moss answers a login only by an error. If `pong` comes, the login succeeded.
  }

  #claim() {
    this.#put("set-master", { sdp: this.offer, secret: this.secret });
  }

  /** @param {string} type @param {unknown} [payload] @param {string} [id] */
  #put(type, payload = "", id = undefined) {
    this.#socket?.send(JSON.stringify({ type, payload, id }));
  }

  /** @param {string} text */
  #receive(text) {
    this.#heard = true;
    this.#endCheck();
    if (Date.now() - this.#opened >= GOOD_AFTER) this.#tries = 0;
    const packet = parse(text);
    if (!packet) return this.emit("problem", { code: "not-moss", message: `The server at ${this.address} is not moss.` });
    const { type, payload, id } = packet;
    const moss = id === undefined; // With an id it is a client's packet, whatever type it claims.
    const problem = moss && type === this.errorType && typeof payload?.code === "string";
    const why = problem && this.#whyStop(payload.code);
    if (why) return this.#end(why, payload.code);
    const confirmed = moss && type === "master-confirmation";
    if (this.#state === "connecting" && (confirmed || this.secret === undefined)) {
      const socket = this.#socket;
      this.#tell("ready", this.secret === undefined ? "Logged in." : "Master.");
      if (socket !== this.#socket) return; // A handler of `status` called `stop` or `start`.
    }
    if (moss && (type === "pong" || type === "master-confirmation")) return;
    if (problem) this.emit("problem", payload);
    else this.emit("packet", packet);
  }

  /** The sentence for an error after which trying again would not help. @param {string} code */
  #whyStop(code) {
    const master = this.secret !== undefined;
    if (master && code === "replaced") return "Another master has taken over.";
    if (code !== "wrong-secret") return undefined;
    if (master) return "The secret is wrong.";
    return this.loginSecret === undefined ? "moss asks for a code." : "The code is wrong.";
  }

  /** The connection was closed; or, without a code, timed out. @param {number} [code] @param {string} [reason] */
  #lost(code, reason) {
    const opened = this.#opened;
    this.#drop();
    if (code === 1008) return this.#end(`moss closed this connection: ${reason || "it gave no reason"}.`, "kicked");
    if (opened && code && Date.now() - opened >= GOOD_AFTER) this.#tries = 0;
    const pause = Math.min(RETRY_FIRST * 2 ** this.#tries++, RETRY_AT_MOST) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#connect(), pause);
    if (!opened) this.#ask(code === undefined);
    const lost = code === undefined ? "moss no longer answers." : (CLOSED[code] ?? "The connection was lost.");
    this.#tell("waiting", `${opened ? lost : this.#unopened()} Trying again.`);
  }

  #unopened() {
    const health = this.#health();
    let text = `No connection to ${this.address}. Check that the address is right, that moss is running, and that this device is in the same network.`;
    const { origin } = globalThis;
    if (origin && health.origin !== origin) text += ` Check that moss allows this page's origin, "${origin}".`;
    if (health.protocol === "https:") text += ` Check that its certificate is trusted${origin ? `: open ${health} in this browser` : ""}.`;
    return text;
  }

  /** Browsers hide why no WebSocket opened, but show whether anything answers at that address. (Its answer is
   *  hidden, too, if it is another origin's.) @param {boolean} late It was not refused, but timed out. */
  async #ask(late) {
    if (!globalThis.location) return;
    const { signal } = (this.#asking = new AbortController());
    const answer = await fetch(this.#health(), { mode: "no-cors", signal }).catch(() => undefined);
    if (!answer || signal.aborted) return;
    const why = late
      ? `but no WebSocket opened within ${CONNECT_WITHIN / 1000} seconds.`
      : `but does not open a WebSocket: moss may be full, or not allow this page's origin, "${globalThis.origin}".`;
    this.#tell("waiting", `Something answers at ${this.address}, ${why} Trying again.`);
  }

  #health() {
    return new URL("health", this.address.replace(/^ws/, "http"));
  }

  /** @param {string} message @param {string} [code] */
  #end(message, code) {
    this.#drop();
    globalThis.removeEventListener?.("online", this.#check);
    globalThis.document?.removeEventListener("visibilitychange", this.#checkIfVisible);
    this.#tell("stopped", message, code);
  }

  /** Closes the socket. After this it calls no handler, and no timer runs. */
  #drop() {
    clearTimeout(this.#timer); // Ends an interval as well.
    this.#endCheck();
    this.#asking?.abort();
    this.#opened = 0;
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #endCheck() {
    clearTimeout(this.#checking);
    this.#checking = undefined;
  }

  /** @param {State} state @param {string} message @param {string} [code] */
  #tell(state, message, code) {
    this.#state = state;
    this.emit("status", code === undefined ? { state, message } : { state, message, code });
  }
}

/** Counts seconds in which this program ran: a frozen or sleeping program gets a single late tick.
 *  @param {number} seconds @param {() => void} then */
function countdown(seconds, then) {
  const timer = setInterval(() => {
    if (--seconds > 0) return;
    clearTimeout(timer);
    then();
  }, 1000);
  return timer;
}

/** @param {string} text @returns {Packet | undefined} */
function parse(text) {
  try {
    const packet = JSON.parse(text);
    return typeof packet?.type === "string" ? packet : undefined;
  } catch {
    return undefined;
  }
}
