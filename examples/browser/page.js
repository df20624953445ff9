/** What client.html and master.html share: showing things. Nothing here knows moss. */

const $ = (id) => document.getElementById(id);

/** The pill at the top: `state` chooses its colour. */
function showStatus(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
}

/** One sentence under the form when something needs attention; none hides it. */
function showNotice(text = "") {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

/** Appends a line to the conversation. Text stays text: it came from a stranger. */
function showLine(who, text, hue) {
  const line = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = who;
  if (hue !== undefined) name.style.setProperty("--hue", hue);
  line.className = who.startsWith("you") ? "mine" : "";
  line.append(name, text);
  $("log").append(line);
  if ($("log").children.length > 200) $("log").firstElementChild.remove();
  $("log").scrollTop = $("log").scrollHeight;
}

/** Milliseconds to the other side and back, as ICE's own checks measure them all the time. */
async function roundTrip(pc) {
  for (const report of (await pc.getStats()).values())
    if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined)
      return report.currentRoundTripTime * 1000;
}

const inMilliseconds = (time) => (time === undefined ? "" : time < 1 ? "< 1 ms" : `${Math.round(time)} ms`);

/** Where moss probably is: on the machine that served this page. */
const probableAddress = () => location.hostname || "localhost";
