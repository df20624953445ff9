// Hostile peers, with raw packets: a client among honest ones, or a master with an honest client.

const address = new URL(".", location).href.replace(/^http/, "ws");
const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A connection to moss; `heard` gets each packet. Resolves when the connection is open. */
function connect(heard) {
  const socket = new WebSocket(address);
  const send = (type, payload, id) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify({ type, payload, id }));
  socket.onmessage = ({ data }) => heard(JSON.parse(data), send);
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(send);
    socket.onerror = reject;
  });
}

/** A client that is welcomed normally. */
async function becomeMember(member = {}) {
  let send;
  const facts = { refused: [] };
  const session = await new Promise((resolve) => {
    connect(({ type, payload }) => {
      if (type === "master-offer") resolve(payload.session);
      if (type === "answer") facts.answer = payload;
      if (type === "refused") facts.refused.push(payload.code);
    }).then((sender) => (send = sender) && send("login", ""));
  });
  const life = random();
  send("member", { session, key: random(), life, hello: { name: "stranger" }, ...member });
  return { send, session, life, facts };
}

const NONSENSE = [null, 0, -1, 1e300, "", "rubbish", "x".repeat(50_000), [], {}, [[[]]], true, { n: {} }, { length: -1 }, { toJSON: 1 }, { __proto__: null }];

async function sdp() {
  const pc = new RTCPeerConnection();
  pc.createDataChannel("moss");
  const { sdp } = await pc.createOffer();
  pc.close();
  return sdp;
}

/** Invalid values in every field of every packet that a client may send. */
async function sendRubbish() {
  const { send, life, session } = await becomeMember();
  const call = random();
  const fields = { member: ["session", "key", "life", "hello", "fallback", "call", "again"], offer: ["call", "n", "description", "media"], answer: ["call", "n", "description", "media"],
    candidate: ["call", "candidate"], media: ["call", "media"], message: ["n", "data", "session", "life"], ack: ["n", "session", "life"], welcome: ["iceServers"], kick: [], refused: ["code"] };
  const good = { session, life, key: random(), call, n: 1, description: { type: "offer", sdp: await sdp() }, media: [], candidate: { candidate: "" } };
  for (const [type, names] of Object.entries(fields))
    for (const nonsense of NONSENSE) {
      send(type, nonsense);
      for (const name of names) send(type, { ...good, [name]: nonsense });
    }
  for (const sdp of ["rubbish", "v=0\r\n".repeat(5000), "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n" + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(1000)])
    for (const type of ["offer", "answer", "rollback", "pranswer", 7]) send("offer", { call, n: 2, description: { type, sdp } });
}

/** A thousand valid calls. */
async function callAThousandTimes() {
  const { send } = await becomeMember();
  const description = { type: "offer", sdp: await sdp() };
  for (let number = 0; number < 1000; number++) send("offer", { call: random(), n: 1, description });
}

/** More candidates than ports exist. */
async function sendCandidates() {
  const { send } = await becomeMember();
  const call = random();
  send("offer", { call, n: 1, description: { type: "offer", sdp: await sdp() } });
  for (let port = 1; port < 20_000; port++)
    send("candidate", { call, candidate: { candidate: `candidate:${port} 1 udp 1 192.168.77.250 ${port} typ host`, sdpMid: "0", sdpMLineIndex: 0 } });
}

/** Many members: each connection has only one key, so this takes many connections. */
async function beMany(count = 50) {
  for (let number = 0; number < count; number++) await becomeMember();
}

/** A normal line, and then only invalid packets in it. */
async function misuseALine() {
  const pc = new RTCPeerConnection();
  const channel = pc.createDataChannel("moss");
  const call = random();
  const { send, facts } = await becomeMember();
  await pc.setLocalDescription();
  await new Promise((resolve) => (pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && resolve()));
  send("offer", { call, n: 1, description: pc.localDescription });
  while (!facts.answer) await new Promise((resolve) => setTimeout(resolve, 50));
  await pc.setRemoteDescription(facts.answer.description);
  await new Promise((resolve) => (channel.onopen = resolve));
  for (const nonsense of NONSENSE) {
    channel.send(typeof nonsense === "string" ? nonsense : "{");
    channel.send(JSON.stringify(nonsense));
    for (const type of ["member", "offer", "answer", "candidate", "media", "message", "ack", "bye", "welcome", "refused", "kick", 5, null]) {
      channel.send(JSON.stringify({ type, payload: nonsense }));
      channel.send(JSON.stringify({ type, payload: { call, n: nonsense, media: nonsense, candidate: nonsense, description: nonsense, life: nonsense } }));
    }
  }
  channel.send(new Uint8Array(100_000));
  for (let n = 1; n < 20_000 && channel.readyState === "open"; n++) {
    if (channel.bufferedAmount > 1_000_000) await new Promise((resolve) => setTimeout(resolve, 20));
    channel.send(JSON.stringify({ type: "message", payload: { n: n % 100, data: "x".repeat(100) } }));
  }
  for (let number = 0; number < 200; number++) pc.createDataChannel(`channel ${number}`);
}

/** Becomes a member with the key of another page. Returns the codes of refusals. */
async function takeKey(key) {
  const { facts } = await becomeMember({ key });
  return facts.refused;
}

/** A master that sends all kinds of wrong packets to all clients. `done` is set at the end. */
async function beMaster(secret) {
  const session = random();
  const known = { lives: 0 };
  const servers = [null, "x", [{ urls: "rubbish:" }], [{}], [{ urls: "turn:192.168.77.250" }], Array(1000).fill({ urls: "stun:192.168.77.250" }), NONSENSE];
  const heard = async ({ type, payload, id }, send) => {
    if (type === "member") {
      const { life } = payload;
      if (known.lives++ > 3) return send("welcome", { session, life, iceServers: [], wait: 0 }, id); // Otherwise it might never call.
      for (const wait of NONSENSE) send("welcome", { session, life, wait, iceServers: [] }, id);
      for (const iceServers of servers) send("welcome", { session, life, iceServers }, id);
      for (const type of ["welcome", "offer", "answer", "candidate", "media", "message", "ack", "bye", "master-offer"])
        for (const nonsense of NONSENSE) {
          send(type, nonsense, id);
          send(type, { session, life, n: nonsense, call: nonsense, description: nonsense, media: nonsense, candidate: nonsense, data: nonsense }, id);
        }
      for (const nonsense of NONSENSE) if (nonsense !== "moved") send("refused", { code: nonsense, message: nonsense }, id);
      for (const code of ["unknown", "gone", "full", "invalid"]) for (let number = 0; number < 3; number++) send("refused", { code, message: "no" }, id);
      send("set-master", { secret, sdp: { calls: 1, session } }); // A client does not call after a `bye`.
      known.done = true;
    }
    if (type === "offer" && id !== undefined) {
      const { call, n } = payload;
      for (const description of [...NONSENSE, { type: "answer", sdp: "rubbish" }, { type: "offer", sdp: "v=0\r\n" }]) send("answer", { call, n, description, media: NONSENSE }, id);
      for (let number = 0; number < 1000; number++) send("candidate", { call, candidate: NONSENSE[number % NONSENSE.length] }, id);
      const offer = { type: "offer", sdp: await sdp() };
      for (let number = 1; number < 200; number++) send("offer", { call, n: number, description: offer, media: [{ mid: "0", name: "__proto__", on: true }] }, id);
      known.called = true;
    }
  };
  const send = await connect(heard);
  for (const sdp of [...NONSENSE.filter((nonsense) => JSON.stringify(nonsense).length < 10_000), { calls: 1 }, { calls: 1, session: 5 }, { calls: 2, session }, { calls: 1, session }]) send("set-master", { secret, sdp });
  return known;
}

Object.assign(window, { sendRubbish, callAThousandTimes, sendCandidates, beMany, misuseALine, takeKey, beMaster });
