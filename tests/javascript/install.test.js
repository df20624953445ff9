// The packed library, installed into projects of the usual kinds.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { copyFile, cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { Signaling } from "../../clients/javascript/src/signaling.js";
import { SECRET, startMoss, until } from "../../clients/javascript/test/moss.js";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const LIBRARY = join(HERE, "../../clients/javascript");
const VITE = join(HERE, "node_modules/vite/bin/vite.js");
const TSC = join(LIBRARY, "node_modules/typescript/bin/tsc");
const { NODE_22, TARBALL } = process.env;
/** Time limit in milliseconds, for a busy machine. */
const PATIENCE = 180_000;

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--allow-loopback-in-peer-connection"],
    timeout: PATIENCE,
  });
});
after(() => browser?.close());

/** A copy of one of the projects with the library installed, until the test ends. */
async function project(t, name) {
  const folder = await mkdtemp(join(tmpdir(), `moss-${name}-`));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(join(HERE, "projects", name), folder, { recursive: true });
  const quiet = ["--no-audit", "--no-fund", "--offline", "--no-save"];
  await execute("npm", ["install", ...quiet, TARBALL], { cwd: folder });
  return folder;
}

/** The output of a program, which must succeed within the time limit. */
async function execute(program, args, options = {}) {
  try {
    return (await promisify(execFile)(program, args, { timeout: PATIENCE, killSignal: "SIGKILL", ...options })).stdout;
  } catch (error) {
    throw new Error(`${program} ${args.join(" ")}: ${error.message}\n${error.stdout}${error.stderr}`);
  }
}

/** Waits for a text on a page. An error in its scripts fails the test. */
async function shows(t, url, selector, words) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  t.after(() => page.close());
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(error));
  await page.goto(url, { timeout: PATIENCE });
  await until(`${url} shows ${words}`, async () => {
    if (wrong.length) throw new Error(`${url}: ${wrong.join("\n")}`);
    return words.test(await page.textContent(selector));
  });
  return page;
}

/** Runs Vite with these arguments until the test ends; returns its address. */
async function vite(t, cwd, ...args) {
  const server = spawn(process.execPath, [VITE, ...args, "--host", "127.0.0.1", "--port", "0"], {
    cwd,
    env: { ...process.env, NO_COLOR: "1" },
  });
  t.after(() => server.kill("SIGKILL"));
  let printed = "";
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (bytes) => (printed += bytes));
  const [address] = await until("Vite serves", () => {
    if (server.exitCode !== null) throw new Error(printed);
    return /http:\/\/127\.0\.0\.1:\d+\//.exec(printed);
  });
  return address;
}

describe("the package installs into", { concurrency: true }, () => {
  test("a program in Node 22 that uses only Signaling", async (t) => {
    const folder = await project(t, "node");
    const { address } = await startMoss(t);
    const master = new Signaling({ address, secret: SECRET, offer: { from: "the master" } });
    master.on("packet", ({ type, payload, id }) => type === "question" && master.send("answer", payload, id));
    t.after(() => master.stop());
    master.start();
    await until("the master is there", () => master.state === "ready");
    const printed = await execute(NODE_22, ["signaling.js", address], { cwd: folder });
    assert.deepEqual(JSON.parse(printed), { from: "the master" });
  });

  test("a program in Node 22 with WebRTC from a package: a master and a client", async (t) => {
    const folder = await project(t, "node");
    await symlink(join(HERE, "node_modules/@roamhq"), join(folder, "node_modules/@roamhq"));
    const { address } = await startMoss(t);
    const printed = await execute(NODE_22, ["calls.js", address, SECRET], { cwd: folder });
    assert.deepEqual(JSON.parse(printed), { from: "a client", to: "Ann", path: "direct" });
  });

  test("a page from Vite's dev server, and from vite build", async (t) => {
    const folder = await project(t, "vite");
    const moss = await startMoss(t);
    const query = `?moss=${moss.address}&secret=${SECRET}`;
    await shows(t, (await vite(t, folder, "dev")) + query, "output", /^direct: Hello, Ann!$/);
    await execute(process.execPath, [VITE, "build"], { cwd: folder });
    await shows(t, (await vite(t, folder, "preview")) + query, "output", /^direct: Hello, Ann!$/);
  });

  test("a page without a build, served by moss; its message about a frozen moss is right", async (t) => {
    const folder = await project(t, "plain");
    await copyFile(join(folder, "node_modules/moss-signaling/dist/moss-signaling.js"), join(folder, "moss-signaling.js"));
    const moss = await startMoss(t, { MOSS_PAGES_DIRECTORY: folder });
    const page = await shows(t, `http://127.0.0.1:${moss.port}/?secret=${SECRET}`, "#answer", /^direct: Hello, Ann!\n$/);
    const status = () => page.textContent("#status");
    moss.freeze();
    // As if the network were back.
    await page.evaluate(() => dispatchEvent(new Event("online")));
    await until("an attempt has failed", async () => /No connection/.test(await status()));
    moss.thaw();
    await until("it is back", async () => /Logged in\.\n[^]*Logged in\.\n$/.test(await status()));
    const said = (await status()).trim().split("\n");
    assert.match(said[2], /^moss no longer answers\. Trying again\.$/);
    for (const line of said.slice(3, -1))
      assert.match(line, /^(Connecting to|No connection to|Something answers at \S+ but no WebSocket opened within)/);
  });

  test("a strict TypeScript project, for bundlers and for Node", async (t) => {
    const folder = await project(t, "types");
    for (const [module, resolution] of [
      ["esnext", "bundler"],
      ["nodenext", "nodenext"],
    ])
      await execute(process.execPath, [TSC, "--module", module, "--moduleResolution", resolution], { cwd: folder });
  });
});
