import { offerCamera } from "./camera.js";
import { enter } from "./entrance.js";
import { Client } from "./moss-signaling.js";
import { $, inMilliseconds, showLine, showNotice, showVideo } from "./page.js";

let game;
let camera = null; // The track that this page shares.

function open(options) {
  // Asked for from the start, video can be switched on later, in both directions, without a new offer.
  game = new Client({ ...options, fallback: "moss", receive: { picture: "video" } });
  game.on("message", (data) => showLine("master", data));
  game.on("media", ({ name, track }) => {
    if (name !== "picture") return;
    showVideo($("video"), track);
    $("picture").hidden = !track;
  });
  game.on("status", ({ state }) => state === "stopped" && stopCamera()); // Nobody is filmed after they have left.
  if (camera) game.share("picture", camera);
  return game;
}

const stopCamera = offerCamera((track) => {
  camera = track;
  showVideo($("preview"), track);
  $("self").hidden = !track;
  game?.share("picture", track);
});

$("compose").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!text) return;
  if (!game) return showNotice("Not connected: the message was not sent.");
  if (!game.send(text)) return; // A `problem` event has told why.
  showLine("you", text);
  $("text").value = "";
};

setInterval(() => ($("rtt").textContent = inMilliseconds(game?.roundTripTime)), 1000);

enter(open);
