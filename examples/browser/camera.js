/** The camera and the microphone of this device. */

import { $, showNotice } from "./page.js";

/** A track of the "camera" or the "microphone"; undefined, and a notice, if there is none. */
export async function capture(device) {
  if (!navigator.mediaDevices) return showNotice(`Browsers give the ${device} only to pages from https:// or localhost.`);
  try {
    const stream = await navigator.mediaDevices.getUserMedia(device === "camera" ? { video: true } : { audio: true });
    return stream.getTracks()[0];
  } catch (error) {
    showNotice(`No ${device}: ${error.message}`);
  }
}

/** A button that hands the device's track to `share`, and null when it is pressed again. It returns a function that
 *  does what pressing it does, if the device is not `wanted` as it is. */
export function switchFor(button, device, share) {
  let track = null;
  let asking = false;
  const set = (now) => {
    track?.stop();
    track = now;
    if (track) track.onended = () => set(null); // Unplugged, or the person took the permission back.
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

/** The button `camera`. A reload of the tab shares the camera again; `stopCamera` takes it back. */
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
