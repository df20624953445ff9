// Debian's coturn as docs/webrtc.md sets it up.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, run } from "./harness.js";

/** The recipe's placeholders for the address and the secret. */
const ADDRESS = "192.168.1.5";
const PLACEHOLDER = "PUT-THE-SECRET-HERE";

/** A coturn in this network namespace, stopped when the test ends. `again` restarts it, which removes all relays. */
export async function startCoturn(t, { netns, address, secret }) {
  const folder = await mkdtemp(join(tmpdir(), "moss-coturn-"));
  const file = join(folder, "turnserver.conf");
  const recipe = await readFile(join(ROOT, "docs/webrtc.md"), "utf8");
  const [, settings] = /^```ini\n(.*?)^```$/ms.exec(recipe);
  await writeFile(file, settings.replaceAll(ADDRESS, address).replaceAll(PLACEHOLDER, secret));

  let program;
  const start = async () => {
    const command = ["netns", "exec", netns, "turnserver", "-c", file, "--pidfile=", `--userdb=${join(folder, "turndb")}`];
    program = run("ip", command);
    await program.until(/turn server id=0 created/);
  };
  t.after(async () => {
    await program?.stop();
    await rm(folder, { recursive: true, force: true });
  });
  await start();
  return {
    urls: [`turn:${address}:3478`, `turn:${address}:3478?transport=tcp`],
    log: () => program.printed,
    again: async () => {
      await program.stop();
      await start();
    },
  };
}
