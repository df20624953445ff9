/** The camera and the microphone of this device. */

import { $, showNotice } from "./page.js";

/** A track of the "camera" or the "microphone". If there is none: undefined, and a notice says why. */
async function capture(device) {
  if (!navigator.mediaDevices) return showNotice(`Browsers allow the ${device} only on pages from https:// or localhost.`);
  try {
    const stream = await navigator.mediaDevices.getUserMedia(device === "camera" ? { video: true } : { audio: true });
    return stream.getTracks()[0];
  } catch (error) {
    showNotice(`Can't use the ${device}: ${error.message}`);
  }
}

/** Makes `button` switch the device on and off: `share` gets its track, or null. Returns a function that switches it
 *  on (true) or off (false). */
export function switchFor(button, device, share) {
  let track = null;
  let asking = false;
  const set = (now) => {
    track?.stop();
    track = now;
    if (track) track.onended = () => set(null); // Unplugged, or no longer permitted.
    share(track);
  };
  const turn = async (wanted) => {
    if (asking || wanted === (track !== null)) return;
    asking = wanted;
    const opened = wanted ? await capture(device) : null;
    asking = false;
    if (opened !== undefined) set(opened);
  };
  button.onclick = () => turn(track === null);
  return turn;
}

/** Makes the button `camera` switch the camera, which stays on over a reload. Returns a function that switches it off. */
export function offerCamera(share) {
  const turn = switchFor($("camera"), "camera", (track) => {
    $("camera").textContent = track ? "Stop camera" : "Share camera";
    if (track) sessionStorage.setItem("camera", "shared");
    else sessionStorage.removeItem("camera");
    share(track);
  });
  if (sessionStorage.getItem("camera")) turn(true);
  return () => turn(false);
}
