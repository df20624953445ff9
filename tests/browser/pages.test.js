// The example pages against a real moss: one machine, many tabs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openTab, PAGES, servePages, startBrowser, startMoss, until } from "./harness.js";
import {
  clientsAreOpen, conversation, heard, isMaster, lineIsNotOpen, lineIsOpen, notice, openClient, openIds, openMaster, say,
} from "./people.js";
import { picture } from "./screenshots.js";

let browser;
let pages;
const page = (name) => `${pages.origin}/${name}`;

before(async () => {
  [browser, pages] = await Promise.all([
    startBrowser({ args: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] }),
    servePages(),
  ]);
});

after(async () => {
  await browser?.close();
  await pages?.stop();
});

/** A moss of the test's own; it and every tab are gone when the test ends. */
async function mossFor(t, settings) {
  const moss = await startMoss(settings);
  t.after(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
    await moss.stop();
  });
  return moss;
}

/** Everyone says something of their own, and gets an answer that nobody else gets. */
async function everyoneTalks(master, clients, round) {
  const ids = await Promise.all(
    clients.map(async (client, number) => {
      await lineIsOpen(client);
      await say(client, `${round}: this is ${number}`);
      return heard(master, `${round}: this is ${number}`);
    }),
  );
  assert.equal(new Set(ids).size, clients.length, `each message under an id of its own: ${ids}`);
  for (const [number, id] of ids.entries()) await say(master, `${round}: you are ${number}`, id);
  for (const [number, client] of clients.entries()) {
    assert.equal(await heard(client, `${round}: you are ${number}`), "master");
    const answers = (await conversation(client)).filter(([, text]) => text.startsWith(`${round}: you are`));
    assert.deepEqual(answers, [["master", `${round}: you are ${number}`]], "no answer meant for another client");
  }
  return ids;
}

test("five clients: each talks to the master under its own id, through reloads and restarts", async (t) => {
  const moss = await mossFor(t);
  // The clients come first: they wait for a master, and are called when there is one.
  const clients = await Promise.all([0, 1, 2, 3, 4].map(() => openClient(browser, page("client.html"), moss.address)));
  const master = await openMaster(browser, page("master.html"), moss.address);
  await isMaster(master);
  let ids;

  await t.test("every line opens and carries both ways", async () => {
    ids = await everyoneTalks(master, clients, "first");
    await until("a round-trip time at both ends", async () => /ms$/.test(await clients[0].locator("#rtt").textContent()) && /ms$/.test(await master.locator("#clients output").first().textContent()));
  });

  await t.test("a broadcast reaches all", async () => {
    await say(master, "to all of you", "");
    for (const client of clients) assert.equal(await heard(client, "to all of you"), "master");
  });

  await t.test("the master page is reloaded: all come back, with the ids that they had", async () => {
    await master.reload();
    await isMaster(master);
    await clientsAreOpen(master, clients.length);
    assert.deepEqual((await everyoneTalks(master, clients, "reloaded")).sort(), ids.toSorted());
  });

  await t.test("moss is restarted: all come back, with new ids", async () => {
    await moss.stop();
    await say(clients[0], "moss is away");
    assert.equal(await heard(master, "moss is away"), ids[0], "the lines outlive moss");
    await moss.again();
    // So only new ids show that everybody came back.
    await until("five new ids", async () => {
      const now = await openIds(master);
      return now.length === clients.length && now.every((id) => !ids.includes(id));
    });
    const now = await everyoneTalks(master, clients, "restarted");
    assert.ok(now.every((id) => !ids.includes(id)), "an id is never given twice, not even by the next start of moss");
  });

  await t.test("a client that leaves is gone from the master's page", async () => {
    await clients.pop().close();
    await clientsAreOpen(master, clients.length);
    await until("its row is gone", async () => (await master.locator("#clients li").count()) === clients.length);
  });
});

test("the master sends a client away, and it stays away", async (t) => {
  const moss = await mossFor(t);
  const master = await openMaster(browser, page("master.html"), moss.address);
  const [stays, goes] = await Promise.all([0, 1].map(() => openClient(browser, page("client.html"), moss.address)));
  const [, id] = await everyoneTalks(master, [stays, goes], "before");
  await master.locator(`#clients li[data-id="${id}"]`).getByText("Send away").click();
  await notice(goes, /sent this page away.*the master closed the line/);
  assert.equal(await goes.locator("#status").textContent(), "Not connected");
  await clientsAreOpen(master, 1);
  await everyoneTalks(master, [stays], "after");
});

test("a master that another one replaces says so and stops; the clients go over", async (t) => {
  const moss = await mossFor(t);
  const first = await openMaster(browser, page("master.html"), moss.address);
  await isMaster(first);
  const client = await openClient(browser, page("client.html"), moss.address);
  await everyoneTalks(first, [client], "first");
  const second = await openMaster(browser, page("master.html"), moss.address);
  await notice(first, /Another master took over/);
  await clientsAreOpen(second, 1);
  await everyoneTalks(second, [client], "second");
  await first.reload();
  await until("the first master's page is back", () => first.locator("#button").isEnabled());
  assert.equal(await first.locator("#status").textContent(), "Not connected", "a reload must not take the place back");
  await everyoneTalks(second, [client], "still");
});

test("a master that only loses its connection to moss keeps its lines", async (t) => {
  const moss = await mossFor(t);
  const master = await openMaster(browser, page("master.html"), moss.address);
  const client = await openClient(browser, page("client.html"), moss.address);
  const [id] = await everyoneTalks(master, [client], "before");
  const call = await client.evaluate("line.call");
  await client.evaluate(() => {
    window.invited = 0;
    moss.addEventListener("packet", ({ detail }) => (invited += detail.type === OFFER));
  });
  await master.evaluate("moss.start()");
  await until("the client is invited again", () => client.evaluate("invited"));
  assert.deepEqual(await everyoneTalks(master, [client], "after"), [id]);
  assert.equal(await client.evaluate("line.call"), call, "still the same line");
});

test("a client whose master leaves waits for the next one", async (t) => {
  const moss = await mossFor(t);
  const master = await openMaster(browser, page("master.html"), moss.address);
  const client = await openClient(browser, page("client.html"), moss.address);
  await everyoneTalks(master, [client], "first");
  await master.click("#button");
  await until("the client waits", async () => (await client.locator("#status").textContent()) === "Waiting for the master");
  await master.click("#button");
  await everyoneTalks(master, [client], "second");
});

test("the client's page survives its own reload", async (t) => {
  const moss = await mossFor(t);
  const master = await openMaster(browser, page("master.html"), moss.address);
  const client = await openClient(browser, page("client.html"), moss.address);
  const [before] = await everyoneTalks(master, [client], "before");
  await client.reload();
  const [after] = await everyoneTalks(master, [client], "after");
  assert.notEqual(before, after, "another connection, another id");
  await clientsAreOpen(master, 1);
});

test("pages opened from a file work as well", async (t) => {
  const moss = await mossFor(t);
  const file = (name) => pathToFileURL(join(PAGES, name)).href;
  const master = await openMaster(browser, file("master.html"), `127.0.0.1:${moss.port}`);
  const client = await openClient(browser, file("client.html"), `127.0.0.1:${moss.port}`);
  await everyoneTalks(master, [client], "from a file");
});

test("the master's camera is shown to who is there and to who comes later", async (t) => {
  const moss = await mossFor(t);
  const master = await openMaster(browser, page("master.html"), moss.address);
  const early = await openClient(browser, page("client.html"), moss.address);
  await everyoneTalks(master, [early], "without a picture");
  assert.equal(await early.locator("#picture").isVisible(), false);
  await master.click("#camera");
  const late = await openClient(browser, page("client.html"), moss.address);
  for (const client of [early, late]) {
    const frames = () => client.locator("#video").evaluate((video) => video.getVideoPlaybackQuality().totalVideoFrames);
    const first = await until("a first frame", frames);
    await until("more frames", async () => (await frames()) > first + 5);
    assert.equal(await client.locator("#picture").isVisible(), true);
  }
});

test("both pages fit a phone and a desktop, light and dark", async (t) => {
  const moss = await mossFor(t);
  const phone = { viewport: { width: 390, height: 844 } };
  const desktop = { viewport: { width: 1100, height: 600 } };
  const master = await openMaster(browser, page("master.html"), moss.address, desktop);
  const clients = await Promise.all([0, 1, 2].map(() => openClient(browser, page("client.html"), moss.address, phone)));
  await Promise.all(clients.map(lineIsOpen));
  await say(clients[0], "Is anybody there?");
  const id = await heard(master, "Is anybody there?");
  await say(master, "Yes, you are on the box.", id);
  await heard(clients[0], "Yes, you are on the box.");
  await say(clients[1], "Player two is ready.");
  await heard(master, "Player two is ready.");
  await say(master, "The game starts in ten seconds.", "");
  await heard(clients[0], "The game starts in ten seconds.");
  await until("every round-trip time", async () => (await master.locator("#clients output", { hasText: "ms" }).count()) === 3);
  await until("the client's round-trip time", async () => /ms/.test(await clients[0].locator("#rtt").textContent()));
  for (const colorScheme of ["light", "dark"])
    for (const [size, { viewport }] of Object.entries({ phone, desktop }))
      for (const [name, tab] of Object.entries({ master, client: clients[0] })) {
        await tab.emulateMedia({ colorScheme });
        await tab.setViewportSize(viewport);
        await picture(tab, `${name}-${size}-${colorScheme}`);
      }
});

test("a wrong secret is named and not tried again", async (t) => {
  const moss = await mossFor(t);
  const master = await openMaster(browser, page("master.html"), moss.address, { secret: "not the secret of the tests" });
  await notice(master, /secret is wrong/i);
  assert.equal(await master.locator("#status").textContent(), "Not connected");
});

test("an address where nothing answers is named", async (t) => {
  const moss = await mossFor(t);
  await moss.stop();
  for (const open of [openClient, openMaster]) {
    const name = open === openClient ? "client.html" : "master.html";
    const tab = await open(browser, page(name), moss.address);
    await notice(tab, new RegExp(`Nothing answers at ${moss.address}`));
    await tab.context().close();
  }
  const tab = await openClient(browser, page("client.html"), "192.168.1.5:808080");
  await notice(tab, /is no address/);
});

test("a page from an origin that is not allowed is refused and says so", async (t) => {
  const moss = await mossFor(t, { MOSS_ALLOWED_ORIGINS: "https://elsewhere.example" });
  const client = await openClient(browser, page("client.html"), moss.address);
  await notice(client, new RegExp(`Or this page's origin, "${pages.origin}", is not allowed`));
  await lineIsNotOpen(client);
});

test("no packet of a client passes for moss's own voice", async (t) => {
  const moss = await mossFor(t);
  const master = await openMaster(browser, page("master.html"), moss.address);
  await isMaster(master);
  const stranger = await openTab(browser, page("client.html"));
  await stranger.evaluate(
    (address) =>
      new Promise((resolve) => {
        const socket = new WebSocket(address);
        socket.onopen = () => socket.send(JSON.stringify({ type: "login" }));
        socket.onmessage = () => {
          for (const [type, payload] of [["moss-error", { code: "replaced" }], ["client-joined", { id: "1" }], ["offer", null], ["offer", { call: "1" }]])
            socket.send(JSON.stringify({ type, payload }));
          resolve();
        };
      }),
    moss.address,
  );
  // After them in the same order comes this one, so all were heard when it is answered.
  const client = await openClient(browser, page("client.html"), moss.address);
  await everyoneTalks(master, [client], "undisturbed");
  assert.equal(await master.locator("#status").textContent(), "Master");
  assert.equal(await master.locator('#clients li[data-id="1"]').count(), 0);
});

test("a moss that asks for a code: the field shows then, and a right code opens the line", async (t) => {
  const moss = await mossFor(t, { MOSS_LOGIN_SECRET: "4 7 1 1" });
  const master = await openMaster(browser, page("master.html"), moss.address);
  await isMaster(master);
  const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 };
  const client = await openTab(browser, page("client.html"), phone);
  assert.equal(await client.locator("#code").isVisible(), false, "nobody is asked for what most don't need");
  await client.fill("#address", moss.address);
  await client.click("#button");
  await notice(client, /asks for a code/);
  await until("the field", () => client.locator("#code").isVisible());
  await picture(client, "client-phone-code");
  for (const wrong of ["4711", "4 7 1 2"]) {
    await client.fill("#code", wrong);
    await client.click("#button");
    await notice(client, /code is wrong/);
  }
  await client.fill("#code", "4 7 1 1");
  await client.click("#button");
  await lineIsOpen(client);
  await client.reload();
  await lineIsOpen(client);
  // Nobody came back by itself with what was refused.
  assert.equal(moss.log().match(/: wrong-secret$/gm).length, 3, moss.log());
});
