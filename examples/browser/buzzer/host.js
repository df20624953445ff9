import { enter } from "../entrance.js";
import { invite } from "../invite.js";
import { Master } from "../moss-signaling.js";
import { $, PATHS, say } from "../page.js";

/** The path is part of the key: several masters at one address, each at its own path, share its storage. */
const KEPT = `buzzer at ${location.pathname}`;
const { round = 1, first = null, players = [] } = JSON.parse(localStorage.getItem(KEPT)) ?? {};
const game = { round, first, players: new Map(players) }; // `players`: key → { name, score }; `first`: a key.
let host;

enter((options) => {
  host = new Master({ ...options, most: 200 });
  host.on("member", (member) => {
    const { key } = member;
    const named = () => {
      const name = String(member.hello?.name ?? "").slice(0, 20);
      if (name) game.players.set(key, { score: 0, ...game.players.get(key), name });
      change();
    };
    member.on("hello", named);
    member.on("message", (said) => {
      if (said?.buzz === game.round && game.first === null && game.players.has(key)) change({ first: key });
    });
    member.on("path", render);
    member.on("left", () => change());
    named();
  });
  return host;
}, "Host the game");

const nameOfFirst = () => game.players.get(game.first)?.name;

/** Stores the game for the next load of this page, sends it to all players, and shows it. */
function change(what = {}) {
  Object.assign(game, what);
  for (const [key, { score }] of game.players) if (!score && key !== game.first && !host?.members.has(key)) game.players.delete(key);
  localStorage.setItem(KEPT, JSON.stringify({ ...game, players: [...game.players] }));
  for (const [key, member] of host?.members ?? [])
    member.send({ round: game.round, first: nameOfFirst(), mine: key === game.first, score: game.players.get(key)?.score });
  render();
}

function render() {
  say("first", nameOfFirst() ? `${nameOfFirst()} was first` : `Round ${game.round}: who is first?`);
  const shown = [...game.players].sort(([, one], [, other]) => other.score - one.score);
  const { id } = document.activeElement; // The rows are replaced, and with them the button that has the focus.
  $("players").replaceChildren(...shown.map(([key, player]) => rowOf(key, player)));
  $(id)?.focus();
}

function rowOf(key, player) {
  const row = $("row").content.firstElementChild.cloneNode(true);
  const path = host?.members.get(key)?.path;
  row.className = key === game.first ? "first" : "";
  row.querySelector("b").textContent = player.name;
  row.querySelector("small").textContent = path ? PATHS[path] : "Away";
  row.querySelector("output").value = player.score;
  for (const [place, button] of row.querySelectorAll("button").entries()) {
    button.id = `${key} ${place}`;
    button.ariaLabel = `${button.textContent} for ${player.name}`;
    button.onclick = () => {
      player.score += place ? -1 : 1;
      change();
    };
  }
  return row;
}

$("next").onclick = () => change({ round: game.round + 1, first: null });
$("reset").onclick = () => {
  if (!confirm("Set all scores to 0?")) return;
  for (const player of game.players.values()) player.score = 0;
  change();
};
invite("./");
render();
