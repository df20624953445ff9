import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";

export const SECRET = "only-the-tests-know-it";

/** Time limit of each wait, in milliseconds, for a busy machine. Normally the waits are much shorter. */
const PATIENCE = 120_000;

const SETTINGS = {
  MOSS_CONNECTION_SECRET: SECRET,
  MOSS_CONNECTION_OFFER_TYPE: "master-offer",
  MOSS_CLIENT_JOINED_TYPE: "client-joined",
  MOSS_CLIENT_LEFT_TYPE: "client-left",
  MOSS_MASTER_LEFT_TYPE: "master-left",
  MOSS_KICK_TYPE: "kick",
  MOSS_HOSTNAME: "127.0.0.1",
};

/** Starts the moss that MOSS_BIN names on a free port, and stops it when the test ends. It sees neither
 *  the machine's environment nor a .env. */
export async function startMoss(t, settings = {}) {
  let child;
  let printed = "";
  const start = async (port) => {
    printed = "";
    child = spawn(process.env.MOSS_BIN, [], { cwd: tmpdir(), env: { ...SETTINGS, ...settings, MOSS_PORT: port } });
    child.stdout.on("data", (bytes) => (printed += bytes));
    child.stderr.on("data", (bytes) => (printed += bytes));
    await until("moss listens", () => {
      if (child.exitCode !== null) throw new Error(`moss does not start:\n${printed}`);
      return /listening on/.test(printed);
    });
  };
  const end = async (signal) => {
    if (child.exitCode !== null || child.signalCode) return;
    const gone = once(child, "close");
    child.kill("SIGCONT");
    child.kill(signal);
    await gone;
  };
  t.after(() => end("SIGKILL"));
  await start("0");
  const [, port] = /listening on \S*:(\d+)\b/.exec(printed);
  return {
    port,
    address: `ws://127.0.0.1:${port}/`,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    again: () => start(port),
    freeze: () => child.kill("SIGSTOP"),
    thaw: () => child.kill("SIGCONT"),
  };
}

/** Waits until `probe` returns something true, and returns that. */
export async function until(what, probe) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
