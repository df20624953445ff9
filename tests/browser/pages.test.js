// The example pages as moss serves them: one machine, many tabs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mossFor, openTab, startBrowser, until } from "./harness.js";
import {
  callsOf, claim, clientsAreOpen, everyoneTalks, heard, isMaster, lineIsOpen, notice, openClient, openIds, openMaster, openNames, openWatched, rowOf, say,
  statusIs,
} from "./people.js";
import { picture } from "./screenshots.js";

let browser;

before(async () => {
  browser = await startBrowser();
});

after(() => browser?.close());

test("each of five clients talks to the master under its own name, through reloads and restarts", async (t) => {
  const moss = await mossFor(t, browser);
  // The clients come first: they wait for a master, and then call it.
  const clients = await Promise.all([0, 1, 2, 3, 4].map(() => openWatched(browser, moss.page("client.html"))));
  const master = await openWatched(browser, moss.page("master.html"));
  await claim(master);
  let names;

  await t.test("every line opens and carries messages in both directions", async () => {
    names = await everyoneTalks(master, clients, "first");
    await until("a round-trip time at both ends", async () => /ms$/.test(await clients[0].locator("#rtt").textContent()) && /ms$/.test(await master.locator("#clients small").first().textContent()));
  });

  await t.test("a broadcast reaches all", async () => {
    await say(master, "to all of you", "");
    for (const client of clients) assert.equal(await heard(client, "to all of you"), "master");
  });

  await t.test("the master page is reloaded: all come back, with the names that they had", async () => {
    await master.reload();
    await isMaster(master);
    await clientsAreOpen(master, clients.length);
    assert.deepEqual(await everyoneTalks(master, clients, "reloaded"), names);
  });

  await t.test("moss is restarted: the same lines live on, under new ids", async () => {
    const [ids, calls] = [await openIds(master), await callsOf(master, ...clients)];
    await moss.stop();
    for (const tab of [master, ...clients]) await notice(tab, /Trying again/);
    assert.deepEqual(await everyoneTalks(master, clients, "moss is away"), names);
    await moss.again();
    // The lines were never closed, so only new ids show that all clients are back.
    await until("five new ids", async () => {
      const now = await openIds(master);
      return now.length === clients.length && now.every((id) => id && !ids.includes(id));
    });
    assert.deepEqual(await everyoneTalks(master, clients, "restarted"), names);
    assert.deepEqual(await callsOf(master, ...clients), calls, "no new call was made");
  });

  await t.test("a client that leaves is gone from the master's page", async () => {
    await clients.pop().close();
    await clientsAreOpen(master, clients.length);
    await until("its row is gone", async () => (await master.locator("#clients li").count()) === clients.length);
  });
});

test("a client that the master disconnects does not come back", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const [stays, goes] = await Promise.all([0, 1].map(() => openClient(browser, moss.page("client.html"))));
  const [, name] = await everyoneTalks(master, [stays, goes], "before");
  await rowOf(master, name).getByText("Disconnect").click();
  await notice(goes, /(master disconnected this page|moss closed this connection): the master closed the connection/);
  assert.equal(await goes.locator("#status").textContent(), "Not connected");
  await clientsAreOpen(master, 1);
  await everyoneTalks(master, [stays], "after");
});

test("a master that another one replaces says so and stops, and the clients change to the other", async (t) => {
  const moss = await mossFor(t, browser);
  const first = await openMaster(browser, moss.page("master.html"));
  await isMaster(first);
  const client = await openClient(browser, moss.page("client.html"));
  await everyoneTalks(first, [client], "first");
  const second = await openMaster(browser, moss.page("master.html"));
  await notice(first, /Another master has taken over/);
  await clientsAreOpen(second, 1);
  await everyoneTalks(second, [client], "second");
  await first.reload();
  await until("the first master's page is back", () => first.locator("#button").isVisible());
  assert.equal(await first.locator("#status").textContent(), "Not connected", "after a reload it must not replace the other master");
  await everyoneTalks(second, [client], "still");
});

test("a master that only loses its connection to moss keeps its lines", async (t) => {
  const moss = await mossFor(t, browser);
  const [master, client] = [await openWatched(browser, moss.page("master.html")), await openWatched(browser, moss.page("client.html"))];
  await claim(master);
  const names = await everyoneTalks(master, [client], "before");
  await client.evaluate(() => {
    window.invited = 0;
    sockets[0].addEventListener("message", ({ data }) => (invited += JSON.parse(data).type === "master-offer"));
  });
  await master.evaluate("sockets[0].close()");
  await until("the client is invited again", () => client.evaluate("invited"));
  assert.deepEqual(await everyoneTalks(master, [client], "after"), names);
  assert.deepEqual(await callsOf(master, client), [1, 1], "still the same line");
});

test("a client whose master leaves waits for the next one", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const client = await openClient(browser, moss.page("client.html"));
  await everyoneTalks(master, [client], "first");
  await master.click("#button");
  await statusIs(client, "No master");
  await master.click("#button");
  await everyoneTalks(master, [client], "second");
});

test("a client's page keeps its name and its row when it is reloaded", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const client = await openClient(browser, moss.page("client.html"));
  const names = await everyoneTalks(master, [client], "before");
  await client.reload();
  assert.deepEqual(await everyoneTalks(master, [client], "after"), names);
  assert.deepEqual(await openNames(master), names);
});

test("both pages fit a phone and a desktop, light and dark", async (t) => {
  const moss = await mossFor(t, browser);
  const page = (name) => moss.page(name, process.env.BOX); // At an address that a phone can open.
  const phone = { viewport: { width: 390, height: 844 } };
  const desktop = { viewport: { width: 1100, height: 820 } };
  const master = await openMaster(browser, page("master.html"), undefined, desktop);
  const clients = await Promise.all([0, 1, 2].map(() => openClient(browser, page("client.html"), undefined, phone)));
  await Promise.all(clients.map(lineIsOpen));
  await say(clients[0], "Is anybody there?");
  const name = await heard(master, "Is anybody there?");
  await say(master, "Yes, you are on the box.", name);
  await heard(clients[0], "Yes, you are on the box.");
  await say(clients[1], "Player two is ready.");
  await heard(master, "Player two is ready.");
  await say(master, "The game starts in ten seconds.", "");
  await heard(clients[0], "The game starts in ten seconds.");
  await until("every round-trip time", async () => (await master.locator("#clients small", { hasText: "ms" }).count()) === 3);
  await until("the client's round-trip time", async () => /ms/.test(await clients[0].locator("#rtt").textContent()));
  for (const colorScheme of ["light", "dark"])
    for (const [size, { viewport }] of Object.entries({ phone, desktop }))
      for (const [name, tab] of Object.entries({ master, client: clients[0] })) {
        await tab.emulateMedia({ colorScheme });
        await tab.setViewportSize(viewport);
        await picture(tab, `${name}-${size}-${colorScheme}`);
      }
});

test("a wrong secret is reported and not tried again", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"), undefined, { secret: "not the secret of the tests" });
  await notice(master, /secret is wrong/i);
  assert.equal(await master.locator("#status").textContent(), "Not connected");
});

test("no packet of a client is taken for one of moss", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  await isMaster(master);
  const stranger = await openTab(browser, moss.page("health"));
  await stranger.evaluate(
    (address) =>
      new Promise((resolve) => {
        const socket = new WebSocket(address);
        socket.onopen = () => socket.send(JSON.stringify({ type: "login" }));
        socket.onmessage = ({ data }) => {
          const { type } = JSON.parse(data);
          if (type === "pong") return resolve();
          if (type !== "master-offer") return; // The master refuses some of them.
          for (const [type, payload] of [["moss-error", { code: "replaced" }], ["client-joined", { id: "1" }], ["member", null], ["offer", null], ["offer", { call: "1" }]])
            socket.send(JSON.stringify({ type, payload }));
          socket.send(JSON.stringify({ type: "ping" }));
        };
      }),
    moss.address,
  );
  // moss has read those packets, and this client comes after them: when it is answered, all of them were handled.
  const client = await openClient(browser, moss.page("client.html"));
  await everyoneTalks(master, [client], "undisturbed");
  assert.equal(await master.locator("#status").textContent(), "Master");
  assert.equal(await master.locator("#clients li").count(), 1);
});
