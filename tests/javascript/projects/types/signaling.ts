// Uses each public name of Signaling as its types say. Wrong uses must be errors.

import { Signaling } from "moss-signaling";
import type { Packet, Problem, SignalingOptions, Status } from "moss-signaling";

const here: string = Signaling.here;
const client = new Signaling();
const moss = new Signaling({
  address: new URL("http://box"),
  secret: "s",
  loginSecret: "l",
  offer: { any: ["JSON"] },
  errorType: "moss-error",
  WebSocket,
});
const off: () => void = moss.on("status", ({ state, message, code }) => {
  const known: "connecting" | "ready" | "waiting" | "stopped" = state;
  const text: string = message;
  const why: string | undefined = code;
  // @ts-expect-error There is no such state.
  if (state === "open") off();
  return [known, text, why];
});
moss.on("packet", ({ type, payload, id }) => {
  const sent: boolean = moss.send(type, payload, id);
  return sent;
});
moss.on("problem", async ({ code, message, id }) => {
  const texts: (string | undefined)[] = [code, message, id];
  await Promise.resolve(texts);
});
moss.start();
moss.renew({ another: "offer" });
moss.check();
client.send("hello");
client.stop();
client.stop("Enough.", "enough");
const state: "connecting" | "ready" | "waiting" | "stopped" = moss.state;
const address: string = Signaling.address("box") + moss.address + here + state;

// @ts-expect-error There is no such event.
moss.on("open", () => {});
// @ts-expect-error A handler is a function.
moss.on("status", "handler");
// @ts-expect-error A problem has no such part.
moss.on("problem", ({ reason }) => reason);
// @ts-expect-error Only the library emits events.
moss.emit("status", { state: "ready", message: "" });
// @ts-expect-error The state is read only.
moss.state = "ready";
// @ts-expect-error There is no such option.
new Signaling({ adress: "box" });
// @ts-expect-error A secret is a string.
new Signaling({ secret: 4711 });
// @ts-expect-error A packet has a type.
moss.send();
// @ts-expect-error Ids are strings: a number can't hold them.
moss.send("hello", "", 7);
// @ts-expect-error No address.
Signaling.address(8080);
// @ts-expect-error Not a WebSocket.
new Signaling({ WebSocket: Date });

const kept: { options: SignalingOptions; statuses: Status[]; packets: Packet[]; problems: Problem[] } = {
  options: {},
  statuses: [],
  packets: [],
  problems: [],
};
moss.on("status", (status) => kept.statuses.push(status));
moss.on("packet", (packet) => kept.packets.push(packet));
moss.on("problem", (problem) => kept.problems.push(problem));

export { address };
