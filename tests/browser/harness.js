// What the tests share: starting a moss, a static server and browsers, and waiting.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const PAGES = join(ROOT, "examples/browser");
export const SECRET = "a secret for the tests only";

/** Time limit of each wait, in milliseconds, for a busy machine. Normally the waits are much shorter. */
export const PATIENCE = 120_000;

/** The settings that the pages are written for, as in the README's first command. */
const SETTINGS = {
  MOSS_CONNECTION_SECRET: SECRET,
  MOSS_CONNECTION_OFFER_TYPE: "master-offer",
  MOSS_CLIENT_JOINED_TYPE: "client-joined",
  MOSS_CLIENT_LEFT_TYPE: "client-left",
  MOSS_MASTER_LEFT_TYPE: "master-left",
  MOSS_KICK_TYPE: "kick",
  MOSS_PAGES_DIRECTORY: PAGES,
};

/** Starts a program and collects its output. `until` waits until the output matches a pattern. */
export function run(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const program = { printed: "" };
  let wake = () => {};
  const ended = once(child, "close").then(() => wake());
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (bytes) => {
      program.printed += bytes;
      wake();
    });
  program.until = async (pattern) => {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const found = pattern.exec(program.printed);
      if (found) return found;
      const left = deadline - Date.now();
      if (left <= 0 || child.exitCode !== null || child.signalCode)
        throw new Error(`${command} never printed ${pattern}, but:\n${program.printed}`);
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, left).unref();
      });
    }
  };
  program.kill = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  program.signal = (name) => child.kill(name);
  program.stop = async () => {
    if (child.exitCode === null && !child.signalCode) child.kill("SIGTERM") && child.kill("SIGCONT"); // It may be frozen.
    await ended;
  };
  return program;
}

/** The command that runs another one in the network namespace `netns`, or here if there is none. */
const placed = (netns, ...command) => (netns ? ["ip", "netns", "exec", netns, ...command] : command);

/** Starts moss on a free port of every address, in the network namespace `netns` if one is given. `again` restarts it on
 *  the same port. If the settings name a certificate, `tlsPort` is its port for TLS. */
export async function startMoss(settings = {}, { netns } = {}) {
  const moss = {};
  const start = async (port) => {
    const environment = { ...SETTINGS, MOSS_PORT: port, ...settings };
    const [command, ...args] = placed(netns, process.env.MOSS_BIN);
    const program = run(command, args, environment);
    const [, taken] = await program.until(/listening on \S*:(\d+)\b/i);
    const tls = settings.MOSS_TLS_CERTIFICATE_FILE && (await program.until(/listening for TLS on \S*:(\d+)\b/i));
    Object.assign(moss, { port: taken, tlsPort: tls?.[1], stop: program.stop, kill: program.kill, signal: program.signal, log: () => program.printed });
  };
  await start("0");
  moss.address = `ws://127.0.0.1:${moss.port}/`;
  moss.page = (name, host = "127.0.0.1") => `http://${host}:${moss.port}/${name}`;
  moss.again = () => start(moss.port);
  return moss;
}

/** The same for one test: it is stopped and all tabs are closed when the test ends. */
export async function mossFor(t, browser, settings) {
  const moss = await startMoss(settings);
  t.after(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
    await moss.stop();
  });
  return moss;
}

/** A server that is not moss: the example pages on a free port of every address, and an empty page at `/`, because
 *  Chromium keeps `about:blank` out of the local network. */
export async function servePages() {
  const kinds = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
  const server = createServer(async (request, response) => {
    const name = new URL(request.url, "http://pages").pathname.slice(1);
    if (!name) return response.writeHead(200, { "content-type": kinds.html }).end("<!doctype html>");
    const kind = kinds[name.split(".").pop()];
    if (!kind || name.includes("..")) return response.writeHead(404).end();
    const body = await readFile(join(PAGES, name)).catch(() => undefined);
    response.writeHead(body ? 200 : 404, { "content-type": `${kind}; charset=utf-8` }).end(body);
  });
  server.listen(0);
  await once(server, "listening");
  const { port } = server.address();
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    stop: () => new Promise((resolve) => (server.close(resolve), server.closeAllConnections())),
  };
}

/** A browser, in the network namespace `netns` if one is given, with the profile in `home` if one is given. */
export function startBrowser({ netns, home = process.env.HOME, args = [] } = {}) {
  return chromium.launch({
    executablePath: netns ? join(ROOT, "tests/browser/chromium-in-netns") : "/usr/bin/chromium",
    env: { ...process.env, NETNS: netns, HOME: home },
    timeout: PATIENCE,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--allow-loopback-in-peer-connection",
      ...args,
    ],
  });
}

/** A tab with a storage of its own. An error in its scripts fails the test. */
export async function openTab(browser, url, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(PATIENCE);
  const tab = await context.newPage();
  tab.on("pageerror", (error) => {
    throw error;
  });
  await tab.goto(url);
  return tab;
}

/** Waits until `probe` returns something true, and returns that. */
export async function until(what, probe, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
