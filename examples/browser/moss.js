/**
 * A small client for moss, the many-to-one signaling server. Load it with
 * `<script src="moss.js"></script>` (a page opened from a file may not import
 * modules) or with `import "./moss.js"`; either way it defines `Moss`:
 *
 *     const moss = new Moss();                                   // a client of the moss that served the page
 *     const moss = new Moss("192.168.1.5");                      // of another one
 *     const moss = new Moss(address, { loginSecret });           // where clients need one
 *     const moss = new Moss(address, { secret, offer: {…} });    // the master
 *     moss.addEventListener("packet", ({ detail: { type, payload, id } }) => …);
 *     moss.addEventListener("status", ({ detail: { state, message } }) => …);
 *     moss.addEventListener("problem", ({ detail: { code, message, id } }) => …);
 *     moss.start();
 *     moss.send("hello", { any: "JSON" });                       // client to master
 *     moss.send("hello", { any: "JSON" }, id);                   // master to one client
 *
 * `status` goes connecting → ready → waiting → connecting → … → stopped:
 * - `ready`: logged in, or confirmed as master. It comes again after every
 *   reconnect, and a client then has another id.
 * - `waiting`: the connection failed or was lost; `message` says why. The next try
 *   comes by itself, later each time and not in the instant of everybody else's.
 * - `stopped`: by `stop()`, or because trying again would not help: the secret
 *   is wrong, another master took over, moss sent this page away. `code` is moss's word
 *   for it: `wrong-secret` tells a client that it needs a secret, or another one.
 *
 * `packet` is what the other side sent. On the master's side `id` is the client that
 * sent it; without one it is moss itself that speaks (of a client that joined or left).
 * `problem` is moss's answer to a packet that it could not pass on; all else goes on.
 */
globalThis.Moss = class Moss extends EventTarget {
  // Milliseconds: the longest pause between two tries, the longest wait for a connection to open.
  static RETRY_AT_MOST = 10_000;
  static CONNECT_WITHIN = 10_000;
  static PING_EVERY = 15_000;

  static #CLOSED = {
    1001: "moss is stopping.",
    1009: "A packet was too large for moss (MOSS_MAX_PACKET_BYTES).",
    1011: "moss saw no sign of life from this page.",
    1013: "This page read too slowly.",
  };
  static #FATAL = {
    "wrong-secret": "The secret is wrong.",
    replaced: "Another master took over.",
  };

  #socket;
  #timer;
  #tries;
  #heard; // Anything, since the last ping.

  /** Throws a TypeError if `address` cannot be made into a WebSocket address. */
  constructor(address = Moss.here, { secret, loginSecret, offer = {}, errorType = "moss-error" } = {}) {
    Object.assign(super(), { address: Moss.address(address), secret, loginSecret, offer, errorType });
  }

  /** Where moss is if it served this page, below the path of a proxy too: ws://box:8080/ for http://box:8080/client.html. */
  static get here() {
    return new URL(".", location).href.replace(/^http/, "ws");
  }

  /** What people type as a WebSocket address: "box" is ws://box:8080/, but wss://box:8443/ to a page
   *  from https://, which may not open ws://. A full URL stays. */
  static address(text) {
    const typed = text.trim();
    const full = /^\w+:\/\//.test(typed);
    const [scheme, port] = globalThis.location?.protocol === "https:" ? ["wss", 8443] : ["ws", 8080];
    const url = new URL(full ? typed.replace(/^http/i, "ws") : `${scheme}://${typed}`);
    if (!/^wss?:$/.test(url.protocol)) throw new TypeError(`${url.protocol} is not ws: or wss:`);
    if (!full && !/:\d+(\/|$)/.test(typed)) url.port = port;
    url.hash = "";
    return url.href;
  }

  start() {
    this.#drop();
    this.#tries = 0;
    this.#connect();
  }

  stop(message = "Not connected.", code = undefined) {
    this.#drop();
    this.#socket = undefined;
    this.#tell("status", { state: "stopped", message, code });
  }

  /** False if there is no connection now; packets are not kept for later. */
  send(type, payload = "", id = undefined) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ type, payload, id }));
    return true;
  }

  #connect() {
    this.#tell("status", { state: "connecting", message: `Connecting to ${this.address} …` });
    try {
      this.#socket = new WebSocket(this.address);
    } catch {
      return this.stop("A page from https:// may not open ws://, only wss://.");
    }
    const socket = this.#socket;
    let opened = 0;
    const lost = async (code, reason) => {
      this.#drop();
      if (code === 1008) return this.stop(`moss sent this page away: ${reason || "it gave no reason"}.`);
      const why = opened ? (Moss.#CLOSED[code] ?? "The connection was lost.") : await this.#whyNot();
      if (socket !== this.#socket) return; // Stopped or started anew meanwhile.
      if (opened && Date.now() - opened > Moss.RETRY_AT_MOST) this.#tries = 0;
      const pause = Math.min(500 * 2 ** this.#tries++, Moss.RETRY_AT_MOST) * (0.5 + Math.random() / 2);
      this.#timer = setTimeout(() => this.#connect(), pause);
      this.#tell("status", { state: "waiting", message: `${why} Trying again.` });
    };
    this.#timer = setTimeout(lost, Moss.CONNECT_WITHIN); // Some networks swallow the attempt silently.
    socket.onclose = ({ code, reason }) => lost(code, reason);
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onopen = () => {
      opened = Date.now();
      clearTimeout(this.#timer);
      this.#heard = true; // TCP takes minutes to notice that the other side is gone; a ping does not.
      this.#timer = setInterval(() => {
        if (!this.#heard) return lost();
        this.#heard = false;
        this.send("ping");
      }, Moss.PING_EVERY);
      if (this.secret !== undefined) return this.send("set-master", { sdp: this.offer, secret: this.secret });
      this.send("login", this.loginSecret === undefined ? "" : { secret: this.loginSecret });
      this.#tell("status", { state: "ready", message: "Logged in." });
    };
  }

  #receive({ type, payload, id }) {
    this.#heard = true;
    const moss = id === undefined; // With an id it is a client's packet, whatever type it claims.
    if (moss && type === "pong") return;
    if (moss && type === "master-confirmation") return this.#tell("status", { state: "ready", message: "Master." });
    if (!moss || type !== this.errorType) return this.#tell("packet", { type, payload, id });
    this.#tell("problem", payload);
    const { code } = payload;
    if (code === "wrong-secret" && this.secret === undefined)
      return this.stop(this.loginSecret === undefined ? "This moss asks for a code." : "That code is wrong.", code);
    if (Moss.#FATAL[code]) this.stop(Moss.#FATAL[code], code);
  }

  /** A browser hides why a WebSocket was refused. /health tells "not there" from "not let in",
   *  where the page's policy lets it be asked: another origin's is closed to the example pages. */
  #whyNot() {
    const health = new URL("health", this.address.replace(/^ws/, "http"));
    const origin = `this page's origin, "${self.origin}", is not allowed`;
    let nothing = `Nothing answers at ${this.address}: is the address right, moss running, the network the same?`;
    if (health.origin !== self.origin) nothing += ` Or ${origin}.`;
    if (health.protocol === "https:") nothing += ` Or this browser does not trust the certificate: open ${health} in it, and see.`;
    return fetch(health, { mode: "no-cors", signal: AbortSignal.timeout(3000) }).then(
      () => `moss is there but refuses this page: ${origin}, or moss is full.`,
      () => nothing,
    );
  }

  /** After this the old socket is never heard of again. */
  #drop() {
    clearTimeout(this.#timer); // Ends an interval as well.
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
};
