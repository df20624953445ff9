import { askHealth, say, showStatus } from "./page.js";

async function look() {
  const { served, master, clients } = await askHealth();
  if (served === false) {
    showStatus("off", "Not served by moss");
    say("now", "This page was not served by moss, so it can't show whether a master is connected. "
      + "Start moss with MOSS_PAGES_DIRECTORY=examples/browser and open http://localhost:8080/.");
  } else if (!served) {
    showStatus("off", "No answer");
    say("now", "moss does not answer. Check that it is running, and that this device is in the same network. This page keeps trying.");
  } else if (master) {
    showStatus("open", "Master connected");
    say("now", `A master and ${clients === 1 ? "1 client" : `${clients} clients`} are connected. Open the client's page.`);
  } else {
    showStatus("wait", "No master yet");
    say("now", "No master is connected yet. Open the master's page. A client's page waits until there is one.");
  }
}

const lookIfSeen = () => document.visibilityState === "visible" && look();
setInterval(lookIfSeen, 3000);
document.onvisibilitychange = lookIfSeen;
look();
