// A client in Node: prints its status, asks the master, prints the answer.

import { Signaling } from "moss-signaling";

const [address] = process.argv.slice(2);
const moss = new Signaling({ address });
moss.on("packet", ({ type, payload }) => {
  if (type === "master-offer") moss.send("question", payload);
  if (type !== "answer") return;
  console.log(JSON.stringify(payload));
  moss.stop();
});
moss.start();
