/** What the pages share: asking how moss is, and showing things. */

export const $ = (id) => document.getElementById(id);

/** What people read for the paths that the library tells. */
export const PATHS = { direct: "Direct", relayed: "Relayed", moss: "Through moss", lost: "Lost", "no-master": "No master" };

export const isOpen = (path) => path === "direct" || path === "relayed" || path === "moss";

/** What moss says of itself at /health, with `served: true`. Otherwise only `served`: false if something
 *  else than moss served this page, undefined if nothing that knows answers just now. */
export async function askHealth() {
  let text;
  try {
    const response = await fetch(new URL("health", import.meta.url), { cache: "no-store", signal: AbortSignal.timeout(3000) });
    if (response.status === 429 || response.status >= 500) return {}; // moss is full, or away behind its proxy.
    text = await response.text();
  } catch {
    return {};
  }
  try {
    const health = JSON.parse(text);
    return { ...health, served: typeof health.master === "boolean" };
  } catch {
    return { served: false };
  }
}

/** Screen readers read a live region out whenever its text is set, even to what it was. */
export function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** The pill at the top: `state` chooses its colour. */
export function showStatus(state, text) {
  $("status").dataset.state = state;
  say("status", text);
}

/** One sentence when something needs attention; none hides it. */
export function showNotice(text = "") {
  $("notice").hidden = !text;
  say("notice", text);
}

/** Appends a line to the conversation. Text stays text: it came from a stranger. */
export function showLine(who, data, hue) {
  const line = document.createElement("p");
  const name = document.createElement("b");
  name.textContent = who;
  if (hue !== undefined) name.style.setProperty("--hue", hue);
  line.className = who.startsWith("you") ? "mine" : "";
  line.append(name, typeof data === "string" ? data : JSON.stringify(data));
  $("log").append(line);
  if ($("log").children.length > 200) $("log").firstElementChild.remove();
  $("log").scrollTop = $("log").scrollHeight;
}

/** A track that was switched off, or none yet, leaves no black rectangle behind. */
export function showVideo(video, track) {
  video.srcObject = track && new MediaStream([track]);
  video.hidden = !track;
}

export const inMilliseconds = (time) => (time === undefined ? "" : time < 1 ? "< 1 ms" : `${Math.round(time)} ms`);
