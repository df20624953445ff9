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
    if (state === "stopped") talk(false); // Who left is not listened to any longer.
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
  if (box?.path === "lost") return $("video").hidden ? "Calling the camera …" : "The picture stands still: the line is lost. Calling again …";
  if (!isOpen(box?.path)) return "The camera is not here yet. Its picture comes by itself.";
  return $("video").hidden ? "The camera is here, but sends no picture now." : "";
}

function render() {
  $("talk").ariaPressed = microphone !== null;
  say("says", says());
  say("talks", microphone && isOpen(box?.path) ? "The camera's side hears you." : "");
  $("video").dataset.state = isOpen(box?.path) ? "open" : "wait";
}

setInterval(() => ($("rtt").textContent = inMilliseconds(box?.roundTripTime)), 1000);
render();
