// A person's first steps: the start page, and pages that find moss by themselves, or ask for what they can't know.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mossFor, openTab, PATIENCE, servePages, startBrowser, until } from "./harness.js";
import { claim, everyoneTalks, isMaster, lineIsNotOpen, lineIsOpen, notice, openClient, openMaster, statusIs } from "./people.js";
import { startProxy } from "./proxy.js";
import { picture } from "./screenshots.js";

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 };

let browser;
let elsewhere; // The same pages, from a server that is not moss.

before(async () => {
  [browser, elsewhere] = await Promise.all([startBrowser(), servePages()]);
});

after(async () => {
  await browser?.close();
  await elsewhere?.stop();
});

const says = (tab, pattern) =>
  until(`the start page says ${pattern}`, async () => pattern.test(await tab.textContent("#now")));

test("the start page shows whether a master is connected, and has a link to every page", async (t) => {
  const moss = await mossFor(t, browser);
  const start = await openTab(browser, moss.page(""), PHONE);
  await says(start, /^No master is connected yet/);
  await picture(start, "start-phone");

  const master = await openTab(browser, moss.page(""));
  await master.click("nav >> text=The master's page");
  await master.waitForURL(moss.page("master.html"));
  const client = await openTab(browser, moss.page(""));
  await client.click("nav >> text=The client's page");
  await client.waitForURL(moss.page("client.html"));
  for (const [link, page] of [["A buzzer's host", "buzzer/host.html"], ["A buzzer for", "buzzer/"], ["A camera's viewer", "camera/"]]) {
    const tab = await openTab(browser, moss.page(""));
    await tab.click(`nav >> text=${link}`);
    await tab.waitForURL(moss.page(page));
    await tab.context().close();
  }
  await says(start, /^No master/);

  await openMaster(browser, moss.page("master.html"));
  await lineIsOpen(client);
  await says(start, /^A master and 1 client are connected\./);
  assert.equal(await start.textContent("#status"), "Master connected");

  await moss.stop();
  await says(start, /^moss does not answer.*keeps trying/);
  await moss.again();
  await says(start, /connected/);
});

test("the start page asks moss again every few seconds, while it is visible", async (t) => {
  const moss = await mossFor(t, browser);
  const start = await openTab(browser, moss.page(""));
  await start.clock.install();
  await start.reload();
  await says(start, /^No master/);
  const isSeen = (state) => start.evaluate((state) => Object.defineProperty(document, "visibilityState", { value: state, configurable: true }), state);
  await isSeen("hidden");
  // From now on the page's time passes only here, however long each step takes.
  await start.clock.pauseAt(await start.evaluate(() => Date.now() + 60_000));
  let asked = 0;
  start.on("request", () => asked++);
  await start.clock.runFor(60_000);
  await isSeen("visible");
  await Promise.all([start.waitForResponse(moss.page("health")), start.clock.runFor(3_000)]);
  assert.equal(asked, 1);
  await Promise.all([start.waitForResponse(moss.page("health")), start.evaluate(() => document.dispatchEvent(new Event("visibilitychange")))]);
});

test("the start page from another server says how to get it from moss", async () => {
  const start = await openTab(browser, `${elsewhere.origin}/index.html`);
  await says(start, /MOSS_PAGES_DIRECTORY=examples\/browser/);
  await start.context().close();
});

test("served by moss, the client's page asks for nothing, and the master's only for the secret", async (t) => {
  const moss = await mossFor(t, browser);
  const client = await openTab(browser, moss.page("client.html"), PHONE);
  const master = await openTab(browser, moss.page("master.html"));
  await master.fill("#secret", "whatever it is");
  assert.equal(await master.locator("#address").isVisible(), false);
  await master.context().close();
  await openMaster(browser, moss.page("master.html"));
  await lineIsOpen(client);
  assert.equal(await client.locator("#connect").isVisible(), false);
  await picture(client, "client-phone-open");
});

test("the pages violate no content security policy, and log no errors", async (t) => {
  const moss = await mossFor(t, browser);
  const messages = [];
  const tabs = [];
  for (const name of ["", "master.html", "client.html", "buzzer/", "camera/", "buzzer/host.html"]) {
    const tab = await (await browser.newContext()).newPage();
    tab.setDefaultTimeout(PATIENCE);
    tab.on("console", (message) => /error|warning/.test(message.type()) && messages.push(`${name}: ${message.text()}`));
    await tab.goto(moss.page(name));
    tabs.push(tab);
  }
  const [start, master, client] = tabs;
  await claim(master);
  await everyoneTalks(master, [client], "under the policy");
  await says(start, /3 clients/);
  // The policy is in force: injected code does not run.
  const blocked = await master.evaluate(
    () =>
      new Promise((resolve) => {
        document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => resolve(effectiveDirective));
        document.body.insertAdjacentHTML("beforeend", `<img src="favicon.svg" onload="document.title = 'broken into'">`);
      }),
  );
  assert.equal(blocked, "script-src-attr");
  assert.equal(await master.title(), "moss master");
  assert.deepEqual(messages.filter((text) => !/inline event handler/.test(text)), []);
});

test("a client that the master disconnected gets a button to connect again, and no fields", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, moss.page("master.html"));
  const client = await openClient(browser, moss.page("client.html"));
  await everyoneTalks(master, [client], "before");
  await master.getByText("Disconnect").click();
  await notice(client, /(master disconnected this page|moss closed this connection)/);
  assert.deepEqual(await client.locator("#connect").locator("button, input").evaluateAll((fields) => fields.filter((field) => field.checkVisibility()).map(({ id }) => id)), ["button"]);
  await client.click("#button");
  await everyoneTalks(master, [client], "after");
});

test("below the path of a proxy the pages find moss there", async (t) => {
  const moss = await mossFor(t, browser);
  const proxy = await startProxy(moss, "/games/1/", "/games/2/");
  t.after(() => proxy.stop());
  const start = await openTab(browser, proxy.page(""));
  await says(start, /^No master/);
  const links = await start.$$eval("nav a", (links) => links.map(({ href }) => href));
  assert.deepEqual(links, ["master.html", "client.html", "buzzer/host.html", "buzzer/", "camera/"].map((name) => proxy.page(name)));
  const master = await openMaster(browser, proxy.page("master.html"));
  const client = await openClient(browser, proxy.page("client.html?a=query#and-more"));
  await everyoneTalks(master, [client], "through the proxy");
  await lineIsOpen(await openTab(browser, proxy.page("camera/")));

  const host = await openMaster(browser, proxy.page("buzzer/host.html"));
  const player = await openTab(browser, proxy.page("buzzer/"));
  await player.fill("#name", "Ada");
  await player.click("#naming button");
  const players = (tab) => tab.textContent("#players");
  await until("Ada plays", async () => /Ada/.test(await players(host)));
  // To the browser, the pages of another master at this address have the same origin.
  await host.goto(proxy.page("buzzer/host.html", "/games/2/"));
  assert.doesNotMatch(await players(host), /Ada/);
  await host.goto(proxy.page("buzzer/host.html"));
  // Ada has no points, so she is removed if another client joins before she is back.
  await until("Ada plays again", async () => /Ada/.test(await players(host)));
});

test("pages from another server ask for the address, remember it in their tab, and disconnect", async (t) => {
  const moss = await mossFor(t, browser);
  const master = await openMaster(browser, `${elsewhere.origin}/master.html`, moss.address);
  const client = await openClient(browser, `${elsewhere.origin}/client.html`, `127.0.0.1:${moss.port}`);
  await everyoneTalks(master, [client], "from elsewhere");
  await Promise.all([client.reload(), master.reload()]);
  await everyoneTalks(master, [client], "after a reload");
  await client.click("#button");
  await statusIs(client, "Not connected");
  await client.reload();
  await client.locator("#address").waitFor();
  assert.equal(await client.inputValue("#address"), "127.0.0.1", "where moss probably is");
  assert.equal(await client.textContent("#status"), "Not connected");
});

test("if nothing answers, the notice names the address", async (t) => {
  const moss = await mossFor(t, browser);
  const fromMoss = await openClient(browser, moss.page("client.html"));
  await statusIs(fromMoss, "No master");
  await moss.stop();
  await notice(fromMoss, new RegExp(`No connection to ${moss.address}\\. .*the same network\\. Trying again`));
  for (const [open, name] of [[openClient, "client.html"], [openMaster, "master.html"]]) {
    const tab = await open(browser, `${elsewhere.origin}/${name}`, moss.address);
    await notice(tab, new RegExp(`No connection to ${moss.address}\\. .* Check that moss allows this page's origin, "${elsewhere.origin}"\\.`));
    await tab.context().close();
  }
  const tab = await openClient(browser, `${elsewhere.origin}/client.html`, "192.168.1.5:808080");
  await notice(tab, /is not an address/);
});

test("if wss:// fails, the notice names the certificate as a reason", async (t) => {
  const moss = await mossFor(t, browser);
  await moss.stop();
  const tab = await openClient(browser, `${elsewhere.origin}/client.html`, `wss://127.0.0.1:${moss.port}`);
  await notice(tab, new RegExp(`certificate is trusted: open https://127.0.0.1:${moss.port}/health in this browser`));
});

test("a page from an origin that is not allowed is refused and says so", async (t) => {
  const moss = await mossFor(t, browser, { MOSS_ALLOWED_ORIGINS: "https://elsewhere.example" });
  const client = await openClient(browser, moss.page("client.html"));
  await notice(client, new RegExp(`Something answers at ${moss.address}, .*not allow this page's origin, "http://127.0.0.1:${moss.port}"`));
  await lineIsNotOpen(client);
});

test("if moss asks for a code, the page shows a field for it, and connects with the right code", async (t) => {
  const moss = await mossFor(t, browser, { MOSS_LOGIN_SECRET: "4 7 1 1" });
  const master = await openMaster(browser, moss.page("master.html"));
  await isMaster(master);
  const client = await openClient(browser, moss.page("client.html"), undefined, PHONE);
  await notice(client, /asks for a code/);
  await until("the field", () => client.locator("#code").isVisible());
  assert.equal(await client.locator("#address").isVisible(), false);
  await picture(client, "client-phone-code");
  for (const wrong of ["4711", "4 7 1 2"]) {
    await client.fill("#code", wrong);
    await client.click("#button");
    await notice(client, /code is wrong/);
  }
  await client.fill("#code", "4 7 1 1");
  await client.click("#button");
  await lineIsOpen(client);
  assert.equal(await client.locator("#connect").isVisible(), false, "the form is not needed any more");
  await client.reload();
  await lineIsOpen(client);
  // No refused code was tried again.
  assert.equal(moss.log().match(/: wrong-secret$/gm).length, 3, moss.log());
});

test("a master at localhost says which address phones can open", async (t) => {
  const moss = await mossFor(t, browser);
  for (const host of ["localhost", "127.0.0.1"]) {
    const master = await openMaster(browser, moss.page("master.html", host));
    await isMaster(master);
    const said = await master.textContent("#phones");
    assert.match(said, new RegExp(`Phones can't open ${host}\\..*http://<address>:${moss.port}/master.html`));
    assert.equal(await master.locator("#qr").count(), 0, "a phone that scanned it would connect to itself");
    await picture(master, `master-${host}`);
    await master.context().close();
  }
});
