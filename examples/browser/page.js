/** What all pages use: the state of moss, and what they show. */

export const $ = (id) => document.getElementById(id);

/** The library's paths, as people read them. */
export const PATHS = { direct: "Direct", relayed: "Relayed", moss: "Through moss", lost: "Lost", "no-master": "No master" };

export const isOpen = (path) => path === "direct" || path === "relayed" || path === "moss";

/** The answer of moss at /health, with `served: true`. Otherwise only `served`: false if another server served
 *  this page, undefined if nothing answers, or moss is too busy to. */
export async function askHealth() {
  let text;
  try {
    const response = await fetch(new URL("health", import.meta.url), { cache: "no-store", signal: AbortSignal.timeout(3000) });
    if (response.status === 429 || response.status >= 500) return {}; // moss is full, or down behind its proxy.
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

/** Sets a text only if it changes: screen readers read a live region aloud each time its text is set. */
export function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** The pill at the top: `state` chooses its colour. */
export function showStatus(state, text) {
  $("status").dataset.state = state;
  say("status", text);
}

/** Shows one sentence that needs attention. Without one, hides the notice. */
export function showNotice(text = "") {
  $("notice").hidden = !text;
  say("notice", text);
}

/** Appends a line to the conversation, as text and never as HTML: it came from a stranger. */
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

/** Shows the track, or hides the element if there is none: it would be a black rectangle. */
export function showVideo(video, track) {
  video.srcObject = track && new MediaStream([track]);
  video.hidden = !track;
}

export const inMilliseconds = (time) => (time === undefined ? "" : time < 1 ? "< 1 ms" : `${Math.round(time)} ms`);
