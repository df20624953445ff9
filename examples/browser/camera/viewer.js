import { switchFor } from "../camera.js";
import { enter } from "../entrance.js";
import { Client } from "../moss-signaling.js";
import { $, inMilliseconds, isOpen, say, showVideo } from "../page.js";

let box;
let microphone = null; // The track while this person talks.

enter((options) => {
  box = new Client({ ...options, receive: { picture: "video" } });
  box.on("media", ({ name, track }) => {
    if (name === "picture") showVideo($("video"), track);
    render();
  });
  box.on("path", render);
  box.on("status", ({ state }) => {
    if (state === "stopped") talk(false); // Nobody is listened to after they have left.
    render();
  });
  if (microphone) box.share("talk", microphone);
  return box;
});

const talk = switchFor($("talk"), "microphone", (track) => {
  microphone = track;
  box?.share("talk", track);
  render();
});

function says() {
  if (box?.path === "lost") return $("video").hidden ? "Connecting to the camera …" : "The connection was lost, and the picture is frozen. Connecting again …";
  if (!isOpen(box?.path)) return "The camera is not connected yet. Its picture will appear here.";
  return $("video").hidden ? "The camera is connected, but sends no picture now." : "";
}

function render() {
  $("talk").ariaPressed = microphone !== null;
  say("says", says());
  say("talks", microphone && isOpen(box?.path) ? "People at the camera hear you." : "");
  $("video").dataset.state = isOpen(box?.path) ? "open" : "wait";
}

setInterval(() => ($("rtt").textContent = inMilliseconds(box?.roundTripTime)), 1000);
render();
