"use strict";
// What moss was started with: MOSS_CLIENT_JOINED_TYPE, MOSS_CLIENT_LEFT_TYPE, MOSS_KICK_TYPE.
const JOINED = "client-joined", LEFT = "client-left", KICK = "kick";
// Enough in one network. Across networks: a STUN or TURN server, which every client is then told as well.
const ICE_SERVERS = [];

// Every client gets this first, whenever it logs in, so it is no WebRTC offer (one
// offer serves one peer connection) but what they all need to call: who this master
// is, so that a client can tell a new one from one that only reconnected.
const invitation = { session: Math.random().toString(36).slice(2), iceServers: ICE_SERVERS };

let moss;
let state = "stopped";
let camera;                  // the shared video track
const clients = new Map();   // id → { call, pc, channel, video, rtt, row, option }

const isOpen = (client) => client?.channel?.readyState === "open";
// An id counts connections above its lowest 20 bits: neighbours get colours far apart.
const hue = (id) => Number(((BigInt(id) >> 20n) * 137n) % 360n);

function connect() {
  try {
    moss = new Moss($("address").value, { secret: $("secret").value, offer: invitation });
  } catch {
    return showNotice(`"${$("address").value}" is no address. Try one like localhost or ws://192.168.1.5:8080`);
  }
  moss.addEventListener("status", ({ detail }) => {
    state = detail.state;
    // moss tells who is here right after this. Lines that are open live on without it.
    if (state === "ready") for (const [id, client] of clients) if (!isOpen(client)) remove(id);
    if (state === "stopped") {
      sessionStorage.removeItem("master"); // A reload must not fight for the place that another master took.
      for (const id of clients.keys()) remove(id);
    }
    if (state !== "connecting") showNotice(state === "ready" ? "" : detail.message);
    render();
  });
  moss.addEventListener("problem", ({ detail }) => detail.code !== "unknown-client" && showNotice(detail.message));
  moss.addEventListener("packet", ({ detail }) => receive(detail).catch((error) => showLine("moss", `${detail.id} sent nonsense: ${error.message}`)));
  // Survives a reload of this tab, and is gone with it.
  sessionStorage.setItem("master", JSON.stringify([$("address").value, $("secret").value]));
  moss.start();
}

async function receive({ type, payload, id }) {
  if (id === undefined) { // moss itself
    if (type === JOINED && !clients.has(payload.id)) add(payload.id);
    if (type === LEFT) remove(payload.id);
    return;
  }
  if (type === "offer") await answer(id, payload);
  const client = clients.get(id);
  if (type === "candidate" && client?.call === payload.call) await client.pc.addIceCandidate(payload.candidate);
}

/** A peer connection per client, known by the id that moss puts on its packets. */
async function answer(id, { call, description }) {
  const client = clients.get(id) ?? add(id);
  client.pc?.close(); // It calls again: the line before is dead.
  const pc = new RTCPeerConnection({ iceServers: ICE_SERVERS });
  Object.assign(client, { call, pc, channel: undefined });
  pc.onicecandidate = ({ candidate }) => candidate && moss.send("candidate", { call, candidate }, id);
  pc.ontrack = ({ track }) => track.kind === "video" && showVideo(client.row.querySelector("video"), track);
  pc.onconnectionstatechange = () => (pc.connectionState === "failed" ? remove(id) : render());
  pc.ondatachannel = ({ channel }) => {
    client.channel = channel;
    channel.onopen = render;
    channel.onclose = () => remove(id);
    channel.onmessage = ({ data }) => showLine(id, data, hue(id));
  };
  await pc.setRemoteDescription(description);
  client.video = pc.getTransceivers().find(({ receiver }) => receiver.track.kind === "video");
  if (client.video) {
    client.video.direction = "sendrecv"; // Now, even without a camera: it can then be shared at any time without a new offer.
    await client.video.sender.replaceTrack(camera ?? null);
  }
  await pc.setLocalDescription();
  moss.send("answer", { call, description: pc.localDescription }, id);
}

function add(id) {
  const row = document.createElement("li");
  row.dataset.id = id;
  row.style.setProperty("--hue", hue(id));
  row.innerHTML = `<div><code></code><small><i class="dot"></i><output aria-live="off"></output></small></div>
    <button type="button" class="plain small">Answer</button><button type="button" class="plain small">Send away</button>
    <video autoplay playsinline muted hidden></video>`;
  row.querySelector("code").textContent = id;
  const [reply, kick] = row.querySelectorAll("button");
  reply.onclick = () => {
    $("to").value = id;
    $("text").focus();
  };
  kick.onclick = () => moss.send(KICK, "the master closed the line", id);
  $("clients").append(row);
  const client = { row, option: new Option(id, id) };
  $("to").append(client.option);
  clients.set(id, client);
  render();
  return client;
}

function remove(id) {
  const client = clients.get(id);
  client?.pc?.close();
  client?.row.remove();
  client?.option.remove();
  clients.delete(id);
  render();
}

function render() {
  const text = { ready: "Master", stopped: "Not connected" }[state] ?? "Connecting";
  showStatus({ ready: "open", stopped: "off" }[state] ?? "wait", text);
  $("button").textContent = state === "stopped" ? "Become master" : "Stop";
  $("button").className = state === "stopped" ? "" : "plain";
  $("address").disabled = $("secret").disabled = state !== "stopped";
  $("phones").hidden = state !== "ready" || !canInvite;
  $("count").value = clients.size || "";
  for (const client of clients.values()) {
    const video = client.row.querySelector("video");
    video.hidden = !isOpen(client) || !hasPicture(video);
    client.row.dataset.state = isOpen(client) ? "open" : "wait";
    client.row.querySelector("output").value = isOpen(client) ? `open ${client.rtt ?? ""}` : client.pc ? "connecting" : "logged in";
  }
}

$("connect").onsubmit = (event) => {
  event.preventDefault();
  if (state === "stopped") return connect();
  moss.stop();
  showNotice();
};

$("compose").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value;
  const to = $("to").value;
  const addressed = [...clients].filter(([id, client]) => isOpen(client) && (!to || to === id));
  if (!text || !addressed.length) return;
  for (const [, client] of addressed) client.channel.send(text);
  showLine(`you → ${to || "everyone"}`, text, to ? hue(to) : undefined);
  $("text").value = "";
};

$("camera").onclick = async () => {
  camera = await openCamera();
  for (const { video } of clients.values()) video?.sender.replaceTrack(camera ?? null);
};

setInterval(async () => {
  for (const client of clients.values()) if (isOpen(client)) client.rtt = inMilliseconds(await roundTrip(client.pc)) || undefined;
  render();
}, 1000);

async function begin() {
  const served = (await askHealth()).served ?? true;
  const [address, secret] = JSON.parse(sessionStorage.getItem("master")) ?? [probableAddress(), ""];
  $("where").hidden = served;
  $("address").value = served ? Moss.here : address;
  $("secret").value = secret;
  $("way").hidden = false;
  if (canInvite) invite();
  render();
  if (secret) connect();
  if (cameraWasShared()) $("camera").click();
}

begin();
