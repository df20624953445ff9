/** What the pages share: asking how moss is, showing things, and the camera. */

const $ = (id) => document.getElementById(id);

/** What moss says of itself at /health, with `served: true`. Otherwise only `served`: false if something
 *  else than moss served this page, undefined if nothing that knows answers just now. */
async function askHealth() {
  if (!location.protocol.startsWith("http")) return { served: false };
  let text;
  try {
    const response = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(3000) });
    if (response.status === 429 || response.status >= 500) return {}; // moss is full, or away behind its proxy.
    text = await response.text();
  } catch {
    return {};
  }
  try {
    const health = JSON.parse(text);
    return { ...health, served: typeof health.master === "boolean" };
  } catch {
    return { served: false };
  }
}

/** The pill at the top: `state` chooses its colour. */
function showStatus(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
}

/** One sentence under the form when something needs attention; none hides it. */
function showNotice(text = "") {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

/** Appends a line to the conversation. Text stays text: it came from a stranger. */
function showLine(who, text, hue) {
  const line = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = who;
  if (hue !== undefined) name.style.setProperty("--hue", hue);
  line.className = who.startsWith("you") ? "mine" : "";
  line.append(name, text);
  $("log").append(line);
  if ($("log").children.length > 200) $("log").firstElementChild.remove();
  $("log").scrollTop = $("log").scrollHeight;
}

/** The camera's video track, for the button `camera`; undefined, and a notice, if there is none.
 *  `cameraWasShared` tells a reload of this tab to share it again. */
async function openCamera() {
  if (!navigator.mediaDevices) return showNotice("Browsers give the camera only to pages from https://, localhost or a file.");
  showCamera(true);
  try {
    const [track] = (await navigator.mediaDevices.getUserMedia({ video: true })).getVideoTracks();
    track.onended = () => showCamera(false); // Unplugged, or the person took the permission back.
    return track;
  } catch (error) {
    showCamera(false);
    showNotice(`No camera: ${error.message}`);
  }
}

function showCamera(shared) {
  $("camera").disabled = shared;
  $("camera").textContent = shared ? "Camera shared" : "Share camera";
  if (shared) sessionStorage.setItem("camera", "shared");
  else sessionStorage.removeItem("camera");
}

const cameraWasShared = () => sessionStorage.getItem("camera") !== null;

/** The other side may send no picture yet, or never: `render` is to look at `hasPicture`. */
function showVideo(video, track) {
  video.srcObject = new MediaStream([track]);
  track.onmute = track.onunmute = () => render();
}

const hasPicture = ({ srcObject }) => srcObject?.getVideoTracks()[0].muted === false;

/** Milliseconds to the other side and back, as ICE's own checks measure them all the time. */
async function roundTrip(pc) {
  for (const report of (await pc.getStats()).values())
    if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined)
      return report.currentRoundTripTime * 1000;
}

const inMilliseconds = (time) => (time === undefined ? "" : time < 1 ? "< 1 ms" : `${Math.round(time)} ms`);

/** Where moss probably is if it did not serve this page: on the machine that did. */
const probableAddress = () => location.hostname || "localhost";
