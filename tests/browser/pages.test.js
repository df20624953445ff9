// The example pages as moss serves them: one machine, many tabs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mossFor, openTab, startBrowser, until } from "./harness.js";
import {
  clientsAreOpen, everyoneTalks, heard, isMaster, lineIsOpen, notice, openClient, openIds, openMaster, say,
} from "./people.js";
import { picture } from "./screenshots.js";

let browser;

before(async () => {
  browser = await startBrowser();
});

after(() => browser?.close());

test("five clients: each talks to the master under its own id, through reloads and restarts", async (t) => {
  const moss = await mossFor(t, browser);
  // The clients come first: they wait for a master, and are called when there is one.
  const clients = await Promise.all([0, 1, 2, 3, 4].map(() => openClient(browser, moss.page("client.html"))));
  const master = await openMaster(browser, moss.page("master.html"));
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
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const [stays, goes] = await Promise.all([0, 1].map(() => openClient(browser, moss.page("client.html"))));
  const [, id] = await everyoneTalks(master, [stays, goes], "before");
  await master.locator(`#clients li[data-id="${id}"]`).getByText("Send away").click();
  await notice(goes, /sent this page away.*the master closed the line/);
  assert.equal(await goes.locator("#status").textContent(), "Not connected");
  await clientsAreOpen(master, 1);
  await everyoneTalks(master, [stays], "after");
});

test("a master that another one replaces says so and stops; the clients go over", async (t) => {
  const moss = await mossFor(t, browser);
  const first = await openMaster(browser, moss.page("master.html"));
  await isMaster(first);
  const client = await openClient(browser, moss.page("client.html"));
  await everyoneTalks(first, [client], "first");
  const second = await openMaster(browser, moss.page("master.html"));
  await notice(first, /Another master took over/);
  await clientsAreOpen(second, 1);
  await everyoneTalks(second, [client], "second");
  await first.reload();
  await until("the first master's page is back", () => first.locator("#button").isVisible());
  assert.equal(await first.locator("#status").textContent(), "Not connected", "a reload must not take the place back");
  await everyoneTalks(second, [client], "still");
});

test("a master that only loses its connection to moss keeps its lines", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const client = await openClient(browser, moss.page("client.html"));
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
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const client = await openClient(browser, moss.page("client.html"));
  await everyoneTalks(master, [client], "first");
  await master.click("#button");
  await until("the client waits", async () => (await client.locator("#status").textContent()) === "Waiting for the master");
  await master.click("#button");
  await everyoneTalks(master, [client], "second");
});

test("the client's page survives its own reload", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const client = await openClient(browser, moss.page("client.html"));
  const [before] = await everyoneTalks(master, [client], "before");
  await client.reload();
  const [after] = await everyoneTalks(master, [client], "after");
  assert.notEqual(before, after, "another connection, another id");
  await clientsAreOpen(master, 1);
});

test("both pages fit a phone and a desktop, light and dark", async (t) => {
  const moss = await mossFor(t, browser);
  const page = (name) => moss.page(name, process.env.BOX); // By an address that a phone can open.
  const phone = { viewport: { width: 390, height: 844 } };
  const desktop = { viewport: { width: 1100, height: 820 } };
  const master = await openMaster(browser, page("master.html"), undefined, desktop);
  const clients = await Promise.all([0, 1, 2].map(() => openClient(browser, page("client.html"), undefined, phone)));
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
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"), undefined, { secret: "not the secret of the tests" });
  await notice(master, /secret is wrong/i);
  assert.equal(await master.locator("#status").textContent(), "Not connected");
});

test("no packet of a client passes for moss's own voice", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  await isMaster(master);
  const stranger = await openTab(browser, moss.page("health"));
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
  const client = await openClient(browser, moss.page("client.html"));
  await everyoneTalks(master, [client], "undisturbed");
  assert.equal(await master.locator("#status").textContent(), "Master");
  assert.equal(await master.locator('#clients li[data-id="1"]').count(), 0);
});
