import { enter } from "../entrance.js";
import { Client } from "../moss-signaling.js";
import { $, isOpen, say } from "../page.js";

let game;
let now = {}; // The host's last message: { round, first, mine, score }.
let pressed; // The round in which this player has pressed.
let name = sessionStorage.getItem("name") ?? "";

enter((options) => {
  game = new Client({ ...options, fallback: "moss", hello: { name } });
  game.on("message", (told) => {
    now = told;
    render();
  });
  game.on("path", render);
  return game;
});

const mayPress = () => isOpen(game?.path) && now.round !== undefined && !now.first && pressed !== now.round;

function buzz() {
  if (!mayPress()) return;
  pressed = now.round;
  game.send({ buzz: pressed });
  render();
}

function says() {
  if (!isOpen(game?.path) || now.round === undefined) return "Waiting for the host";
  if (now.mine) return "You were first!";
  if (now.first) return `${now.first} was first`;
  return pressed === now.round ? "Pressed …" : "Press when you know the answer";
}

function render() {
  $("buzz").hidden = !name;
  $("buzz").ariaDisabled = !mayPress(); // Not `disabled`, which would lose the keyboard's focus each round.
  $("buzz").dataset.first = now.mine ?? "";
  $("score").textContent = now.score === undefined ? "" : `Points: ${now.score}`;
  say("says", says());
}

$("buzz").onpointerdown = buzz; // When the finger touches, not when it lifts (`onclick`).
$("buzz").onclick = buzz; // For keyboards.
$("naming").onsubmit = (event) => {
  event.preventDefault();
  name = $("name").value.trim();
  sessionStorage.setItem("name", name);
  if (game) game.hello = { name };
  render();
  $("buzz").focus();
};
$("name").value = name;
render();
