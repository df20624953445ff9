"use strict";
// What moss was started with: MOSS_CONNECTION_OFFER_TYPE, MOSS_MASTER_LEFT_TYPE, MOSS_KICK_TYPE.
const OFFER = "master-offer", MASTER_LEFT = "master-left", KICK = "kick";

let moss;           // the way to the master until the line is open
let state = "stopped";
let invitation;     // the `sdp` of the master's set-master: who it is, and its ICE servers
let line;           // { call, session, pc, channel, video }: the peer connection and what belongs to it
let camera;         // the shared video track
let served;         // whether moss served this page, and so its address is known
let codeIsWanted = false;

const lineIsOpen = () => line?.channel.readyState === "open";

function connect() {
  try {
    moss = new Moss($("address").value, { loginSecret: $("code").value || undefined });
  } catch {
    return showNotice(`"${$("address").value}" is no address. Try one like 192.168.1.5 or ws://box:8080`);
  }
  moss.addEventListener("status", ({ detail }) => {
    state = detail.state;
    if (state === "ready" && line) line.session = undefined; // A new login has a new id: the master can't know this line by it.
    if (state === "stopped") leave();
    if (state !== "connecting") showNotice(state === "ready" ? "" : detail.message);
    codeIsWanted ||= detail.code === "wrong-secret"; // Most are not asked for one.
    render();
    if (detail.code === "wrong-secret") $("code").select();
  });
  moss.addEventListener("problem", ({ detail }) => {
    if (detail.code !== "no-master") showNotice(detail.message);
    else if (!lineIsOpen()) hangUp(); // The next master will invite.
  });
  moss.addEventListener("packet", ({ detail }) => receive(detail).catch((error) => showNotice(`The master sent nonsense: ${error.message}`)));
  sessionStorage.setItem("client", $("address").value); // A reload connects again.
  sessionStorage.setItem("code", $("code").value);
  moss.start();
}

function leave() {
  camera?.stop(); // Who left or was sent away is not filmed any longer.
  if (camera) showCamera(false);
  camera = undefined;
  $("self").hidden = true;
  hangUp();
}

async function receive({ type, payload }) {
  if (type === OFFER) {
    invitation = payload;
    codeIsWanted = false; // It was right, if there was one.
    render();
    // The master only lost its way to moss and invites again: the line is fine as it is.
    if (payload.session && payload.session === line?.session && lineIsOpen()) return;
    await dial();
  }
  if (type === MASTER_LEFT && !lineIsOpen()) hangUp();
  if (type === KICK) moss.stop(`The master sent this page away: ${payload}`); // Only where moss was not told to do it.
  if (!line || payload?.call !== line.call) return; // For a line that was given up since.
  if (type === "answer") await line.pc.setRemoteDescription(payload.description);
  if (type === "candidate") await line.pc.addIceCandidate(payload.candidate);
}

/** Always the client makes the WebRTC offer, one of its own, and the master answers: both never call at once. */
async function dial() {
  hangUp();
  const pc = new RTCPeerConnection({ iceServers: invitation.iceServers });
  const channel = pc.createDataChannel("chat");
  const call = Math.random().toString(36).slice(2);
  // Both ways, even without a camera: it can then be shared at any time without a new offer.
  const video = pc.addTransceiver(camera ?? "video");
  const mine = (line = { call, session: invitation.session, pc, channel, video });
  pc.ontrack = ({ track }) => showVideo($("video"), track);
  pc.onicecandidate = ({ candidate }) => candidate && moss.send("candidate", { call, candidate });
  const ended = () => {
    render();
    // Not all clients of a master that hung up should call at the same moment.
    setTimeout(() => line === mine && state === "ready" && dial(), 1000 + 2000 * Math.random());
  };
  pc.onconnectionstatechange = () => pc.connectionState === "failed" && ended();
  channel.onopen = render;
  channel.onclose = ended;
  channel.onmessage = ({ data }) => showLine("master", data);
  await pc.setLocalDescription();
  moss.send("offer", { call, description: pc.localDescription });
}

function hangUp() {
  line?.pc.close();
  line = undefined;
  render();
}

function render() {
  const open = lineIsOpen();
  if (open) showStatus("open", "Line open");
  else if (state === "ready") showStatus("wait", line?.channel.readyState === "connecting" ? "Calling the master" : "Waiting for the master");
  else showStatus(state === "stopped" ? "off" : "wait", state === "stopped" ? "Not connected" : "Connecting");
  $("way").hidden = served && state !== "stopped" && !codeIsWanted;
  $("where").hidden = served;
  $("lock").hidden = !codeIsWanted;
  $("code").required = codeIsWanted;
  $("button").textContent = state === "stopped" ? "Connect" : "Disconnect";
  $("button").className = state === "stopped" ? "" : "plain";
  $("address").disabled = $("code").disabled = state !== "stopped";
  $("text").disabled = $("send").disabled = !open;
  $("picture").hidden = !open || !hasPicture($("video"));
  if (!open) $("rtt").value = "";
}

$("connect").onsubmit = (event) => {
  event.preventDefault();
  if (state === "stopped") return connect();
  sessionStorage.removeItem("client");
  moss.stop();
  showNotice();
};

$("compose").onsubmit = (event) => {
  event.preventDefault();
  if (!$("text").value || !lineIsOpen()) return;
  line.channel.send($("text").value);
  showLine("you", $("text").value);
  $("text").value = "";
};

$("camera").onclick = async () => {
  camera = await openCamera();
  if (!camera) return;
  $("preview").srcObject = new MediaStream([camera]);
  $("self").hidden = false;
  await line?.video.sender.replaceTrack(camera);
};

setInterval(async () => lineIsOpen() && ($("rtt").value = inMilliseconds(await roundTrip(line.pc))), 1000);

async function begin() {
  // Where nothing answers just now, it is best to knock again and again at the address that the page came from.
  served = (await askHealth()).served ?? true;
  const before = sessionStorage.getItem("client");
  $("address").value = served ? Moss.here : (before ?? probableAddress());
  $("code").value = sessionStorage.getItem("code") ?? "";
  render();
  if (served || before) connect();
  if (cameraWasShared()) $("camera").click();
}

begin();
