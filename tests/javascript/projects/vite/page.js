import { Signaling } from "moss-signaling";

const moss = new Signaling({ address: new URLSearchParams(location.search).get("moss") });
moss.on("status", ({ message }) => (document.querySelector("output").textContent = message));
moss.start();
