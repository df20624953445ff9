import { Target } from "../target.js";
import { Channel } from "./channel.js";
import { Ice } from "./ice.js";
import { Transceiver } from "./media.js";
import { intersect, read, receives, reverse, write } from "./sdp.js";

/** The RTCPeerConnection class for the pages of a world. */
export function peerConnection(world, network) {
  const all = new Map(); // fingerprint → connection
  world.changed.push(() => {
    for (const connection of all.values()) connection.networkChanged();
  });
  const flavours = { restartShows: world.random.chance(0.5) };
  return class extends Connection {
    constructor(configuration) {
      super(world, network, all, flavours, configuration);
    }
  };
}

const CONNECTION_STATE = { completed: "connected", checking: "connecting" };

/** An RTCPeerConnection that follows the algorithms of the WebRTC specification, as far as the library needs them. */
class Connection extends Target {
  signalingState = "stable";
  iceConnectionState = "new";
  iceGatheringState = "new";
  connectionState = "new";
  currentLocalDescription = null;
  currentRemoteDescription = null;
  pendingLocalDescription = null;
  pendingRemoteDescription = null;
  onnegotiationneeded = null;
  onicecandidate = null;
  oniceconnectionstatechange = null;
  onconnectionstatechange = null;
  ondatachannel = null;
  ontrack = null;
  closed = false;
  dead = false; // Its page was killed.
  localUfrag; // Of the latest description, pending ones included.
  remoteUfrag;
  agreed; // The ufrags of both sides when offer and answer were last complete.
  #all;
  #configuration;
  #chain = [];
  #transceivers = [];
  #channels = [];
  #wantsChannels = false;
  #needed = false;
  #updateWhenEmpty = false;
  #replace = new Set(); // [[LocalIceCredentialsToReplace]]
  #version = 0;
  #mids = 0;
  #far; // Fingerprint of the other side.
  #before; // The state that a rollback restores.
  #gathered = new Map(); // ufrag → candidates so far
  #remote = new Map(); // ufrag → candidates
  #up = false; // DTLS and SCTP are connected.

  constructor(world, network, all, flavour, configuration = {}) {
    const page = world.current;
    super(page);
    Object.assign(this, { world, page, flavour });
    this.#configuration = check(configuration);
    this.fingerprint = `F${world.number()}`;
    this.#all = all;
    all.set(this.fingerprint, this);
    page.connections.add(this);
    this.ice = new Ice(this, network);
  }

  // For the page.

  get localDescription() {
    return this.pendingLocalDescription ?? this.currentLocalDescription;
  }

  get remoteDescription() {
    return this.pendingRemoteDescription ?? this.currentRemoteDescription;
  }

  getConfiguration() {
    return structuredClone(this.#configuration);
  }

  setConfiguration(configuration = {}) {
    this.#notClosed();
    this.#configuration = check(configuration);
  }

  getTransceivers() {
    return [...this.#transceivers];
  }

  getSenders() {
    return this.#transceivers.map(({ sender }) => sender);
  }

  addTransceiver(trackOrKind, { direction: wanted = "sendrecv" } = {}) {
    this.#notClosed();
    const track = typeof trackOrKind === "string" ? null : trackOrKind;
    const kind = track ? track.kind : trackOrKind;
    if (kind !== "audio" && kind !== "video") throw new TypeError(`${kind} is no kind`);
    const transceiver = new Transceiver(this, kind, wanted, track);
    this.#transceivers.push(transceiver);
    this.updateNegotiationNeeded();
    return transceiver;
  }

  addTrack(track) {
    const transceiver = this.addTransceiver(track);
    transceiver.addedByTrack = true;
    return transceiver.sender;
  }

  createDataChannel(label, options = {}) {
    this.#notClosed();
    if (options.negotiated) throw new DOMException("The fake has in-band channels only.", "NotSupportedError");
    const channel = new Channel(this, String(label), options);
    this.#channels.push(channel);
    if (this.#up) this.#openAtFarSide(channel);
    if (!this.#wantsChannels) {
      this.#wantsChannels = true;
      this.updateNegotiationNeeded();
    }
    return channel;
  }

  createOffer() {
    return this.chain(() => this.#offer());
  }

  createAnswer() {
    return this.chain(() => this.#answer());
  }

  setLocalDescription(description) {
    return this.chain(() => this.#setLocal(description));
  }

  setRemoteDescription(description) {
    if (!description?.type) return Promise.reject(new TypeError("a description needs a type"));
    return this.chain(() => this.#setRemote(description));
  }

  addIceCandidate(candidate) {
    if (candidate?.candidate && candidate.sdpMid == null && candidate.sdpMLineIndex == null)
      return Promise.reject(new TypeError("neither sdpMid nor sdpMLineIndex"));
    return this.chain(() => this.#addCandidate(candidate));
  }

  restartIce() {
    if (this.closed || !this.localUfrag) return;
    this.#replace = new Set([this.localUfrag, this.#before?.localUfrag].filter(Boolean));
    this.updateNegotiationNeeded();
  }

  getStats() {
    if (this.closed) return Promise.resolve(new Map()); // As Chromium.
    return new Promise((resolve) => this.later(() => resolve(this.#stats())));
  }

  close() {
    if (this.closed) return;
    this.#end();
    this.signalingState = this.connectionState = this.iceConnectionState = "closed";
    for (const channel of this.#channels) channel.torn();
    for (const { receiver } of this.#transceivers) receiver.track.readyState = "ended";
    for (const transceiver of this.#transceivers) transceiver.stopped = true;
  }

  // For the other fakes.

  /** Runs `job` a moment later as code of this page, unless the connection is closed then. */
  later(job, milliseconds = this.world.chance.between(0, 3)) {
    this.world.after(milliseconds, this.page, () => this.closed || job());
  }

  /** Adds to the operations chain. Operations that are pending when the connection closes never settle. */
  chain(operation) {
    if (this.closed) return Promise.reject(new DOMException("The connection is closed.", "InvalidStateError"));
    return new Promise((resolve, reject) => {
      this.#chain.push({ operation, resolve, reject });
      if (this.#chain.length === 1) this.#nextOperation();
    });
  }

  /** Milliseconds that a packet takes to the other side. */
  delay() {
    return this.world.chance.between(3, 40);
  }

  get carries() {
    return this.#up && this.ice.carries;
  }

  get remoteCandidates() {
    return this.#remote.get(this.agreed?.remote) ?? [];
  }

  farSide() {
    return this.#all.get(this.#far);
  }

  pump() {
    for (const channel of this.#channels) channel.pump();
  }

  networkChanged() {
    this.ice.evaluate();
    this.pump();
  }

  iceIs(state) {
    this.later(() => {
      if (this.iceConnectionState === state) return;
      this.world.log(this.page.name, this.fingerprint, "ICE", state, this.ice.selected?.type ?? "");
      this.iceConnectionState = state;
      this.connectionState = CONNECTION_STATE[state] ?? state;
      this.dispatch("iceconnectionstatechange");
      if (!this.closed) this.dispatch("connectionstatechange");
    }, 1);
  }

  /** ICE and DTLS are connected for the first time: the channels open. */
  associated(other) {
    if (this.#up) return;
    this.#up = true;
    for (const channel of this.#channels) this.#openAtFarSide(channel, other);
    for (const { receiver } of this.#transceivers) receiver.track.muted = false;
  }

  tear(torn) {
    if (torn && this.world.chance.chance(0.7)) {
      this.dead = true;
      this.closed = true;
      this.#all.delete(this.fingerprint);
      this.ice.close();
      return;
    }
    this.#end();
  }

  updateNegotiationNeeded() {
    if (this.closed) return;
    if (this.#chain.length) {
      this.#updateWhenEmpty = true;
      return;
    }
    this.later(() => this.#checkNegotiation(), 0);
  }

  // Ends.

  #notClosed() {
    if (this.closed) throw new DOMException("The connection is closed.", "InvalidStateError");
  }

  #end() {
    const far = this.ice.other;
    const heard = this.carries;
    this.page.connections.delete(this);
    this.#all.delete(this.fingerprint);
    if (heard && this.world.chance.chance(0.5)) for (const channel of this.#channels) channel.flush();
    if (heard) this.world.after(this.delay(), undefined, () => far.farEnded(this));
    this.closed = true;
    this.ice.close();
  }

  /** The other side's DTLS has sent a close. */
  farEnded(other) {
    if (this.closed || this.ice.other !== other) return;
    for (const channel of this.#channels) channel.ended();
  }

  #openAtFarSide(channel, far = this.ice.other) {
    const twin = new Channel(far, channel.label, channel);
    const open = () => {
      channel.twin = twin;
      twin.twin = channel;
      far.receiveChannel(twin);
      channel.announce();
      channel.pump();
    };
    const when = () => {
      if (this.closed || far.closed) return;
      if (this.carries) open();
      else this.world.after(200, undefined, when);
    };
    this.world.after(this.delay(), undefined, when);
  }

  receiveChannel(channel) {
    this.#channels.push(channel);
    this.later(() => {
      channel.readyState = "open"; // The event comes a moment later.
      this.dispatch("datachannel", { channel });
      channel.announce();
      channel.pump();
    });
  }

  // Descriptions.

  #nextOperation() {
    this.later(() => {
      const { operation, resolve, reject } = this.#chain[0];
      try {
        const result = operation();
        if (this.closed) return;
        resolve(result);
      } catch (error) {
        reject(error);
      }
      this.#chain.shift();
      if (this.#chain.length) return this.#nextOperation();
      if (!this.#updateWhenEmpty) return;
      this.#updateWhenEmpty = false;
      this.updateNegotiationNeeded();
    }, this.world.chance.between(0, 12));
  }

  #checkNegotiation() {
    if (this.#chain.length) {
      this.#updateWhenEmpty = true;
      return;
    }
    if (this.signalingState !== "stable") return;
    if (!this.#negotiationIsNeeded()) {
      this.#needed = false;
      return;
    }
    if (this.#needed) return;
    this.#needed = true;
    this.dispatch("negotiationneeded");
  }

  #negotiationIsNeeded() {
    const local = this.currentLocalDescription;
    if (this.#replace.size) return true;
    if (this.#wantsChannels && !local?.sections.some(({ kind }) => kind === "application")) return true;
    return this.#transceivers.some((transceiver) => {
      const mine = local?.sections.find(({ mid }) => mid === transceiver.mid);
      if (transceiver.mid === null || !mine) return true;
      const theirs = this.currentRemoteDescription.sections.find(({ mid }) => mid === transceiver.mid);
      if (local.type === "offer") return mine.direction !== transceiver.direction && reverse(theirs.direction) !== transceiver.direction;
      return mine.direction !== intersect(transceiver.direction, reverse(theirs.direction));
    });
  }

  #offer() {
    const sections = (this.currentLocalDescription?.sections ?? []).map((section) => {
      const transceiver = this.#byMid(section.mid);
      return { ...section, direction: transceiver?.direction ?? section.direction };
    });
    const known = new Set(sections.map(({ mid }) => mid));
    const free = () => {
      while (known.has(String(this.#mids))) this.#mids += 1;
      known.add(String(this.#mids));
      return String(this.#mids);
    };
    if (this.#wantsChannels && !sections.some(({ kind }) => kind === "application"))
      sections.push({ kind: "application", mid: free(), direction: "sendrecv" });
    for (const transceiver of this.#transceivers.filter(({ mid }) => mid === null || !known.has(mid)))
      sections.push({ kind: transceiver.kind, mid: transceiver.mid ?? free(), direction: transceiver.direction, transceiver });
    const restart = !this.localUfrag || this.#replace.has(this.localUfrag);
    return this.#describe("offer", sections, restart ? this.world.chance.hex(8) : this.localUfrag);
  }

  #answer() {
    if (this.signalingState !== "have-remote-offer") throw wrongState("createAnswer", this.signalingState);
    const offered = this.pendingRemoteDescription;
    const sections = offered.sections.map(({ kind, mid, direction: theirs }) => {
      const transceiver = this.#byMid(mid);
      return { kind, mid, direction: transceiver ? intersect(transceiver.direction, reverse(theirs)) : "sendrecv" };
    });
    const restarts = offered.ufrag !== this.currentRemoteDescription?.ufrag || !this.localUfrag;
    return this.#describe("answer", sections, restarts ? this.world.chance.hex(8) : this.localUfrag);
  }

  /** A description with all candidates so far. Its parsed parts are kept with it. */
  #describe(type, sections, ufrag) {
    const { fingerprint } = this;
    const setup = type === "offer" ? "actpass" : "active";
    const version = (this.#version += 1);
    const text = () => {
      const candidates = (this.#gathered.get(ufrag) ?? []).map((candidate) => candidate.text);
      return write({ ufrag, fingerprint, setup, sections, candidates, version });
    };
    const description = { type, toJSON: () => ({ type, sdp: text() }) };
    Object.defineProperty(description, "sdp", { get: text });
    return Object.defineProperties(description, { sections: { value: sections }, ufrag: { value: ufrag } });
  }

  #setLocal(given) {
    const stable = ["stable", "have-local-offer"].includes(this.signalingState);
    const type = given?.type ?? (stable ? "offer" : "answer");
    if (type === "rollback") return this.#rollback("have-local-offer");
    if (type === "offer" && !stable) throw wrongState("setLocalDescription(offer)", this.signalingState);
    if (type === "answer" && this.signalingState !== "have-remote-offer") throw wrongState("setLocalDescription(answer)", this.signalingState);
    const made = given?.sections ? given : type === "offer" ? this.#offer() : this.#answer();
    if (given?.sdp && !given.sections) throw new DOMException("not the SDP that was made here", "InvalidModificationError");
    if (this.signalingState === "stable") this.#save();
    for (const { mid, transceiver } of made.sections) if (transceiver) transceiver.mid = mid;
    this.#useLocal(made.ufrag);
    if (type === "offer") {
      this.pendingLocalDescription = made;
      return this.#signal("have-local-offer");
    }
    this.currentLocalDescription = made;
    this.currentRemoteDescription = this.pendingRemoteDescription;
    return this.#agreed();
  }

  #setRemote({ type, sdp }) {
    if (type === "rollback") return this.#rollback("have-remote-offer");
    if (type !== "offer" && type !== "answer") throw new TypeError(`${type} is no type`);
    const found = Object.assign(read(sdp), { type, sdp, toJSON: () => ({ type, sdp }) });
    if (type === "answer") return this.#setRemoteAnswer(found);
    if (this.signalingState === "have-local-offer") this.#rollback("have-local-offer", { silently: true });
    this.#matches(found);
    if (this.signalingState === "stable") this.#save();
    this.#useRemote(found);
    this.pendingRemoteDescription = found;
    this.#takeOffered(found.sections);
    return this.#signal("have-remote-offer");
  }

  #setRemoteAnswer(found) {
    if (this.signalingState !== "have-local-offer") throw wrongState("setRemoteDescription(answer)", this.signalingState);
    const offered = this.pendingLocalDescription.sections;
    if (found.sections.length !== offered.length || found.sections.some(({ mid }, i) => mid !== offered[i].mid))
      throw new DOMException("The answer's m-lines are not those of the offer.", "InvalidAccessError");
    this.#matches(found);
    this.#useRemote(found);
    this.currentLocalDescription = this.pendingLocalDescription;
    this.currentRemoteDescription = found;
    return this.#agreed();
  }

  /** The other side must be the same as before: otherwise DTLS would fail. */
  #matches({ fingerprint }) {
    if (this.#far && this.#far !== fingerprint) throw new DOMException("The fingerprint changed.", "InvalidAccessError");
  }

  #agreed() {
    this.pendingLocalDescription = this.pendingRemoteDescription = null;
    this.#before = undefined;
    if (!this.#replace.has(this.localUfrag)) this.#replace.clear();
    for (const transceiver of this.#transceivers) this.#agreeOn(transceiver);
    this.agreed = { local: this.localUfrag, remote: this.remoteUfrag };
    this.#needed = false;
    this.#signal("stable");
    this.ice.evaluate();
    this.farSide()?.ice.evaluate();
    this.updateNegotiationNeeded();
  }

  #agreeOn(transceiver) {
    const mine = this.currentLocalDescription.sections.find(({ mid }) => mid === transceiver.mid);
    const theirs = this.currentRemoteDescription.sections.find(({ mid }) => mid === transceiver.mid);
    if (!mine || !theirs) return;
    transceiver.currentDirection = intersect(mine.direction, reverse(theirs.direction));
    this.#fireTrack(transceiver, transceiver.currentDirection);
  }

  #takeOffered(sections) {
    for (const { kind, mid, direction: theirs } of sections) {
      if (kind === "application") this.#wantsChannels = true;
      else this.#fireTrack(this.#associate(kind, mid), reverse(theirs));
    }
  }

  #associate(kind, mid) {
    const known = this.#byMid(mid);
    if (known) return known;
    const waiting = this.#transceivers.find((each) => each.addedByTrack && each.mid === null && each.kind === kind);
    const transceiver = waiting ?? new Transceiver(this, kind, "recvonly");
    if (!waiting) this.#transceivers.push(transceiver);
    transceiver.mid = mid;
    return transceiver;
  }

  #fireTrack(transceiver, now) {
    const { receiver } = transceiver;
    if (receives(now) && !receives(transceiver.fired)) this.later(() => this.dispatch("track", { transceiver, receiver, track: receiver.track, streams: [] }), 0);
    transceiver.fired = now;
  }

  #byMid(mid) {
    return this.#transceivers.find((each) => each.mid === mid);
  }

  /** Saves the state for a rollback. */
  #save() {
    this.#before = {
      localUfrag: this.localUfrag,
      remoteUfrag: this.remoteUfrag,
      far: this.#far,
      transceivers: this.#transceivers.map((transceiver) => ({ transceiver, mid: transceiver.mid, fired: transceiver.fired })),
      wantsChannels: this.#wantsChannels,
    };
  }

  #rollback(from, { silently = false } = {}) {
    if (this.signalingState !== from) throw wrongState("rollback", this.signalingState);
    const before = this.#before;
    this.#before = undefined;
    this.localUfrag = before.localUfrag;
    this.remoteUfrag = before.remoteUfrag;
    this.#far = before.far;
    for (const { transceiver, mid, fired } of before.transceivers) Object.assign(transceiver, { mid, fired });
    if (from === "have-remote-offer") {
      const old = new Set(before.transceivers.map(({ transceiver }) => transceiver));
      this.#transceivers = this.#transceivers.filter((each) => old.has(each) || each.sender.track);
      this.#wantsChannels = before.wantsChannels;
    } else {
      const old = new Map(before.transceivers.map(({ transceiver, mid }) => [transceiver, mid]));
      for (const transceiver of this.#transceivers) transceiver.mid = old.get(transceiver) ?? null;
    }
    this.pendingLocalDescription = this.pendingRemoteDescription = null;
    this.signalingState = "stable";
    if (silently) return;
    this.dispatch("signalingstatechange");
    this.#needed = false;
    this.updateNegotiationNeeded();
  }

  #signal(state) {
    if (this.signalingState === state) return;
    this.signalingState = state;
    this.dispatch("signalingstatechange");
  }

  // ICE.

  #useRemote({ ufrag, fingerprint, candidates }) {
    this.remoteUfrag = ufrag;
    this.#far = fingerprint;
    for (const text of candidates) this.#learn(ufrag, text);
  }

  #learn(ufrag, text) {
    const candidate = parse(text);
    const known = this.#remote.get(ufrag) ?? [];
    this.#remote.set(ufrag, known);
    if (!known.some((each) => each.text === text)) known.push(candidate);
    this.ice.evaluate();
    this.farSide()?.ice.evaluate();
  }

  #addCandidate(candidate) {
    if (!this.remoteUfrag) throw wrongState("addIceCandidate", "no remote description");
    const text = candidate?.candidate;
    if (!text) return;
    parse(text);
    const ufrag = candidate.usernameFragment ?? this.remoteUfrag;
    const known = [this.remoteUfrag, this.currentRemoteDescription?.ufrag];
    if (!known.includes(ufrag)) throw new DOMException("The candidate is of an unknown generation.", "OperationError");
    const mids = this.remoteDescription.sections.map(({ mid }) => mid);
    if (candidate.sdpMid != null && !mids.includes(candidate.sdpMid)) throw new DOMException("no such mid", "OperationError");
    this.#learn(ufrag, text);
  }

  #useLocal(ufrag) {
    if (ufrag === this.localUfrag) return;
    this.localUfrag = ufrag;
    const relays = this.#configuration.iceServers.some(({ urls }) => [urls].flat().some((url) => /^turns?:/.test(url)));
    const direct = this.#configuration.iceTransportPolicy !== "relay";
    const texts = [
      ...(direct ? [`candidate:1 1 udp 2122260223 ${this.page.host}.local 50${this.world.number()} typ host`] : []),
      ...(relays ? [`candidate:2 1 udp 41885439 turn.local 60${this.world.number()} typ relay raddr 0.0.0.0 rport 0`] : []),
    ];
    this.#gather(ufrag, texts);
  }

  #gather(ufrag, texts) {
    this.#gathered.set(ufrag, []);
    this.#gathering("gathering", ufrag);
    let pause = 1;
    for (const text of texts) {
      pause += this.world.chance.between(1, 150);
      this.later(() => this.#found(ufrag, text), pause);
    }
    this.later(() => {
      if (ufrag !== this.localUfrag) return;
      this.dispatch("icecandidate", { candidate: null });
      this.#gathering("complete", ufrag);
    }, pause + 5);
  }

  #found(ufrag, text) {
    if (ufrag !== this.localUfrag) return; // A rollback or a restart came first.
    if (this.page.offline && / typ relay/.test(text)) return;
    this.#gathered.get(ufrag).push({ text });
    const sdpMid = this.localDescription?.sections[0].mid ?? "0";
    const fields = { candidate: text, sdpMid, sdpMLineIndex: 0, usernameFragment: ufrag };
    this.dispatch("icecandidate", { candidate: { ...fields, toJSON: () => fields } });
  }

  #gathering(state, ufrag) {
    this.later(() => {
      if (ufrag !== this.localUfrag || this.iceGatheringState === state) return;
      this.iceGatheringState = state;
      this.dispatch("icegatheringstatechange");
    }, 0);
  }

  #stats() {
    const { selected } = this.ice;
    const reports = [{ type: "peer-connection", id: "P" }];
    if (selected && this.ice.state !== "failed") {
      const candidateType = selected.type === "relay" ? "relay" : "host";
      reports.push(
        { type: "transport", id: "T", selectedCandidatePairId: "CP", dtlsState: "connected" },
        {
          type: "candidate-pair", id: "CP", state: "succeeded", nominated: true, selected: true,
          localCandidateId: "L", remoteCandidateId: "R", currentRoundTripTime: 0.04,
        },
        { type: "local-candidate", id: "L", candidateType },
        { type: "remote-candidate", id: "R", candidateType },
      );
    }
    return new Map(reports.map((report) => [report.id, report]));
  }
}

function parse(text) {
  const found = /^(?:a=)?candidate:\S+ 1 udp \d+ \S+ \d+ typ (host|relay|srflx|prflx)/.exec(text);
  if (!found) throw new DOMException("Failed to parse the candidate.", "OperationError");
  return { text, type: found[1] === "relay" ? "relay" : "direct", works: /(\.local) \d+ typ/.test(text) };
}

function check(configuration) {
  const { iceServers = [] } = configuration;
  for (const { urls, username, credential } of iceServers)
    for (const url of [urls].flat()) {
      if (!/^(stun|stuns|turn|turns):/.test(url)) throw new DOMException(`${url} is no ICE server`, "SyntaxError");
      if (/^turns?:/.test(url) && (username === undefined || credential === undefined))
        throw new DOMException("TURN needs a username and a credential", "InvalidAccessError");
    }
  return { iceTransportPolicy: "all", ...configuration, iceServers };
}

function wrongState(what, state) {
  return new DOMException(`${what} in state ${state}`, "InvalidStateError");
}
