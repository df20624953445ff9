import { askHealth, say, showStatus } from "./page.js";

async function look() {
  const { served, master, clients } = await askHealth();
  if (served === false) {
    showStatus("off", "Not from moss");
    say("now", "This page came from something else than moss, so it can't tell whether a master is there. "
      + "Start moss with MOSS_PAGES_DIRECTORY=examples/browser and open http://localhost:8080/.");
  } else if (!served) {
    showStatus("off", "No answer");
    say("now", "moss does not answer. Is it still running, and this device in its network? Start it again: this page notices.");
  } else if (master) {
    showStatus("open", "Master is here");
    say("now", `A master is here, and ${clients === 1 ? "1 client" : `${clients} clients`}. Open the client's page.`);
  } else {
    showStatus("wait", "No master yet");
    say("now", "No master is here yet. Open the master's page, or the client's and wait.");
  }
}

const lookIfSeen = () => document.visibilityState === "visible" && look();
setInterval(lookIfSeen, 3000);
document.onvisibilitychange = lookIfSeen;
look();
