// The programs in the docs, as pages that moss can serve, and tabs that run them.

import assert from "node:assert/strict";
import { copyFile, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTab, PAGES, ROOT, SECRET } from "./harness.js";

/** All blocks of the file in that language. */
export async function blocksOf(file, language) {
  const text = await readFile(join(ROOT, file), "utf8");
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map(([, code]) => code);
}

/** The block with these words. It must have at most this number of lines. */
export async function blockOf(file, language, words, lines = Infinity) {
  const code = (await blocksOf(file, language)).find((code) => code.includes(words));
  assert.ok(code, `${file} has a block with "${words}"`);
  assert.ok(code.trimEnd().split("\n").length <= lines, `${words}: at most ${lines} lines`);
  return code;
}

/** A folder of these pages beside the library, for moss to serve; `import … from "moss-signaling"` finds it too. */
export async function pagesOf(pages) {
  const folder = await mkdtemp(join(tmpdir(), "moss-copied-"));
  const map = '<script type="importmap">{"imports":{"moss-signaling":"./moss-signaling.js"}}</script>';
  await copyFile(join(PAGES, "moss-signaling.js"), join(folder, "moss-signaling.js"));
  for (const [name, code] of Object.entries({ "empty.html": "", ...pages }))
    await writeFile(join(folder, name), `<!doctype html>\n${map}\n${code}`);
  return folder;
}

/** A tab that keeps each RTCPeerConnection of its page in `calls`. `hear` gets each packet to and from moss, and each
 *  packet sent in a channel. `answers` has answers to the page's prompts; others get the secret. */
export async function openWatched(browser, url, { hear = () => {}, answers = {}, ...options } = {}) {
  const tab = await openTab(browser, new URL("empty.html", url).href, options);
  tab.on("dialog", (dialog) => dialog.accept(answers[dialog.message()] ?? SECRET));
  tab.on("websocket", (socket) => {
    for (const event of ["framesent", "framereceived"]) socket.on(event, ({ payload }) => hear(JSON.parse(payload)));
  });
  await tab.exposeFunction("tell", (text) => hear(JSON.parse(text)));
  await tab.addInitScript(() => {
    window.calls = [];
    window.channels = []; // Labels of channels that the other side opened.
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...args) {
        super(...args);
        calls.push(this);
        this.addEventListener("datachannel", ({ channel }) => channels.push(channel.label));
      }
    };
    const { send } = RTCDataChannel.prototype;
    RTCDataChannel.prototype.send = function (data) {
      if (this.label === "moss") tell(data);
      send.call(this, data);
    };
  });
  await tab.goto(url);
  return tab;
}
