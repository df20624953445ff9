// A quiz with the buzzer: a host's page, some phones, and faults during the game.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mossFor, openTab, startBrowser, until } from "./harness.js";
import { callsOf, claim, isMaster, lineIsOpen, notice, openMaster, openWatched } from "./people.js";
import { picture } from "./screenshots.js";

const PHONE = { viewport: { width: 390, height: 844 } };
const NAMES = ["Ada", "Bo", "Christopher the Long"];

let browser;

before(async () => {
  browser = await startBrowser();
});

after(() => browser?.close());

const reads = (tab, selector, text) => until(`${selector} reads "${text}"`, async () => (await tab.textContent(selector)) === text);

/** The scores on the host's page, the best first. */
const scores = (host) =>
  host.evaluate(() => [...document.querySelectorAll("#players li")].map((row) => [row.querySelector("b").textContent, row.querySelector("output").value]));

const scoresAre = (host, ...wanted) =>
  until(`scores ${wanted.join(" ")}`, async () => JSON.stringify((await scores(host)).toSorted()) === JSON.stringify(wanted.toSorted()));

const mayPress = (player) => player.locator('#buzz[aria-disabled="false"]').waitFor();

async function join(player, name) {
  await player.fill("#name", name);
  await player.click("#naming button");
  await mayPress(player);
}

/** One round: `first` presses first and gets the point. */
async function round(host, players, first) {
  // If nobody has pressed yet, this is the round: a player who hasn't heard of the next one would still press in this one.
  if (/was first/.test(await host.textContent("#first"))) await host.click("#next");
  await Promise.all(players.map(mayPress));
  await players[first].click("#buzz");
  await reads(host, "#first", `${NAMES[first]} was first`);
  for (const [number, player] of players.entries())
    await reads(player, "#says", number === first ? "You were first!" : `${NAMES[first]} was first`);
  await host.click(`[aria-label="+1 for ${NAMES[first]}"]`);
}

test("names and scores outlive reloads, restarts of moss, and the host's page", async (t) => {
  const moss = await mossFor(t, browser);
  const host = await openWatched(browser, moss.page("buzzer/host.html"), { viewport: { width: 1100, height: 820 } });
  await claim(host);
  const players = await Promise.all(NAMES.map(() => openWatched(browser, moss.page("buzzer/"), PHONE)));
  for (const [number, player] of players.entries()) await join(player, NAMES[number]);

  await t.test("the player who presses first wins the round and gets the point", async () => {
    await scoresAre(host, ["Ada", "0"], ["Bo", "0"], ["Christopher the Long", "0"]);
    await round(host, players, 2);
    await reads(players[2], "#score", "Points: 1");
    await picture(host, "buzzer-host");
    await picture(players[0], "buzzer-second");
    await picture(players[2], "buzzer-first");
    await round(host, players, 1);
    await round(host, players, 2);
    assert.deepEqual((await scores(host))[0], ["Christopher the Long", "2"], "the best comes first");
  });

  await t.test("a player reloads", async () => {
    await players[2].reload();
    await reads(players[2], "#score", "Points: 2");
    assert.equal(await players[2].inputValue("#name"), NAMES[2]);
    await round(host, players, 2);
    await scoresAre(host, ["Ada", "0"], ["Bo", "1"], ["Christopher the Long", "3"]);
  });

  await t.test("moss is restarted, and the quiz goes on without it", async () => {
    const calls = await callsOf(host, ...players);
    await moss.stop();
    for (const tab of [host, ...players]) await notice(tab, /Trying again/);
    await round(host, players, 0);
    await moss.again();
    await isMaster(host);
    for (const tab of [host, ...players]) await tab.locator("#notice").waitFor({ state: "hidden" });
    await round(host, players, 0);
    await scoresAre(host, ["Ada", "2"], ["Bo", "1"], ["Christopher the Long", "3"]);
    assert.deepEqual(await callsOf(host, ...players), calls, "no new call was made");
  });

  await t.test("the host's page is reloaded", async () => {
    await host.reload();
    await reads(host, "#first", "Ada was first");
    await scoresAre(host, ["Ada", "2"], ["Bo", "1"], ["Christopher the Long", "3"]);
    await host.getByText("Direct").nth(2).waitFor();
    await round(host, players, 1);
  });

  await t.test("the host's page is closed, and opened again", async () => {
    const again = await host.context().newPage();
    await host.close();
    await again.goto(moss.page("buzzer/host.html"));
    await scoresAre(again, ["Ada", "2"], ["Bo", "2"], ["Christopher the Long", "3"]);
    await claim(again);
    await round(again, players, 1);
    await scoresAre(again, ["Ada", "2"], ["Bo", "3"], ["Christopher the Long", "3"]);
    again.once("dialog", (dialog) => dialog.accept());
    await again.click("#reset");
    for (const player of players) await reads(player, "#score", "Points: 0");
  });
});

test("the game can be played by keyboard, and the focus stays where it is from round to round", async (t) => {
  const moss = await mossFor(t, browser);
  const host = await openMaster(browser, moss.page("buzzer/host.html"));
  const player = await openTab(browser, moss.page("buzzer/"));
  await lineIsOpen(player);
  await player.focus("#name");
  await player.keyboard.type("Ada");
  await player.keyboard.press("Enter");
  for (let round = 1; round <= 2; round++) {
    await mayPress(player);
    await player.keyboard.press("Space");
    await reads(host, "#first", "Ada was first");
    await host.focus('[aria-label="+1 for Ada"]');
    await host.keyboard.press("Enter");
    await reads(player, "#score", `Points: ${round}`);
    assert.equal(await host.evaluate("document.activeElement.ariaLabel"), "+1 for Ada");
    await host.focus("#next");
    await host.keyboard.press("Enter");
  }
});

test("a player who changes the name keeps the points, and one who leaves without points is removed", async (t) => {
  const moss = await mossFor(t, browser);
  const host = await openMaster(browser, moss.page("buzzer/host.html"));
  const [stays, goes] = await Promise.all([0, 1].map(() => openTab(browser, moss.page("buzzer/"))));
  await join(stays, "Ada");
  await join(goes, "Bo");
  await host.click('[aria-label="+1 for Ada"]');
  await join(stays, "Ada L.");
  await scoresAre(host, ["Ada L.", "1"], ["Bo", "0"]);
  await goes.close();
  await scoresAre(host, ["Ada L.", "1"]);
});

test("a player's text is shown as text, and a press of an earlier round does not count", async (t) => {
  const moss = await mossFor(t, browser);
  const host = await openMaster(browser, moss.page("buzzer/host.html"));
  await isMaster(host);
  const stranger = await openTab(browser, moss.page(""));
  const name = "<img src=x>";
  await stranger.evaluate(async (name) => {
    const { Client } = await import("/moss-signaling.js");
    window.round = 0;
    window.silent = false;
    class Muted extends WebSocket {
      send(text) {
        if (!silent) super.send(text);
      }
    }
    window.game = new Client({ hello: { name }, WebSocket: Muted });
    game.on("message", ({ round }) => (window.round = round));
  }, name);
  await scoresAre(host, [name, "0"]);
  await host.click("#next");
  await until("the stranger knows the round", () => stranger.evaluate("window.round === 2"));
  await until("a line", () => stranger.evaluate("game.path === 'direct'"));
  await stranger.evaluate(() => {
    silent = true; // Now the name comes by the line alone, and so after all presses.
    for (const said of [null, "buzz", [], { buzz: 1 }, { buzz: "2" }, { buzz: 3 }]) game.send(said);
    game.hello = null;
    game.hello = { name: { length: 1e9 } };
  });
  await scoresAre(host, ["[object Object]", "0"]);
  assert.equal(await host.textContent("#first"), "Round 2: who is first?");
  await stranger.evaluate("game.send({ buzz: 2 })");
  await reads(host, "#first", "[object Object] was first");
});
