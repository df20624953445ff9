// Uses each public name of Client, Master, Member and turnServers as its types say. Wrong uses must
// be errors.

import { Client, Master, Member, Signaling, turnServers } from "moss-signaling";
import type { ClientOptions, MasterOptions, Path, Status } from "moss-signaling";

const options: ClientOptions = {
  address: "box",
  loginSecret: "4711",
  hello: { name: "Ann" },
  fallback: "moss",
  receive: { picture: "video", voice: "audio" },
  storage: localStorage,
  types: { offer: "master-offer", masterLeft: "master-left", kick: "kick", error: "moss-error" },
  WebSocket,
  RTCPeerConnection,
};
const game = new Client(options);
new Client();
new Client({ address: new URL("http://box"), storage: { getItem: () => null, setItem() {} } });

const paths: Path[] = [game.path];
const statuses: Status[] = [];
const off: () => void = game.on("path", (path) => {
  paths.push(path);
  // @ts-expect-error There is no such path.
  return path === "turn";
});
game.on("message", ({ score }: { score: number }) => score + 1);
game.on("media", ({ name, kind, track }) => {
  const [called, sort]: string[] = [name, kind];
  return track ? new MediaStream([track]) : [called, sort];
});
// @ts-expect-error A track may be null: it was switched off.
game.on("media", ({ track }) => new MediaStream([track]));
game.on("datagram", (data) => (typeof data === "string" ? data : new Uint8Array(data)));
game.on("channel", (channel) => channel.label);
game.on("connection", (pc) => pc.createDataChannel("mine"));
game.on("master", ({ session }) => session.length);
game.on("status", (status) => statuses.push(status));
game.on("problem", ({ code, message }) => `${code}: ${message}`);
const sent: boolean = game.send({ buzz: 1 });
const gone: boolean = game.sendDatagram("x") && game.sendDatagram(new Uint8Array(1)) && game.sendDatagram(new ArrayBuffer(1));
declare const track: MediaStreamTrack;
await game.share("camera", track);
await game.share("camera", null);
game.hello = { name: "Bo" };
const key: string = game.key;
const pc: RTCPeerConnection | undefined = game.pc;
const time: number | undefined = game.roundTripTime;
const state: Status["state"] = game.state;
const bare: Signaling = game.signaling;
game.stop();
game.start();
off();

const settings: MasterOptions = {
  address: "box",
  secret: "s",
  iceServers: async (member) => [
    { urls: "stun:box" },
    ...(await turnServers({ urls: "turn:box", secret: "t", key: member.key, lifetime: 60 })),
  ],
  most: 30,
  types: { clientLeft: "client-left" },
  WebSocket,
  RTCPeerConnection,
};
const host = new Master(settings);
new Master({ secret: "s", iceServers: [{ urls: "turn:box", username: "u", credential: "c" }] });
new Master({ secret: "s", iceServers: (member) => turnServers({ urls: ["turn:box"], secret: "t", key: member.key }) });

host.on("member", (member) => {
  const same: Member | undefined = host.members.get(member.key);
  member.on("message", (data) => member.send(data));
  member.on("path", (path: Path) => path);
  member.on("media", ({ track: theirs }) => theirs?.kind);
  member.on("datagram", (data) => member.sendDatagram(data));
  member.on("channel", (channel) => channel.close());
  member.on("connection", (connection) => connection.createDataChannel("mine"));
  member.on("hello", (hello: { name?: string }) => hello.name);
  member.on("left", (why) => {
    const known: "goodbye" | "gone" | "replaced" | "kicked" | "stopped" = why;
    return known;
  });
  member.on("problem", ({ code }) => code === "flood" && member.kick("too much"));
  const id: string | undefined = member.id;
  const name: unknown = member.hello.name;
  member.kick();
  // @ts-expect-error A key is a string, not a number.
  const number: number = member.key;
  return [same, id, name, number, member.path, member.pc, member.roundTripTime, member.share("picture", null)];
});
host.on("status", (status) => statuses.push(status));
host.on("problem", ({ code, message }) => `${code}: ${message}`);
host.send({ score: 1 });
await host.share("picture", track);
host.stop();
host.start();
const session: string = host.session;
const [server] = await turnServers({ urls: "turn:box", secret: "t", key: "k" });
const credential: string | undefined = server?.credential;

// @ts-expect-error A master has a secret.
new Master({ address: "box" });
// @ts-expect-error A client has none.
new Client({ secret: "s" });
// @ts-expect-error The fallback is moss or none.
new Client({ fallback: "turn" });
// @ts-expect-error Media are audio or video.
new Client({ receive: { picture: "film" } });
// @ts-expect-error There is no such packet type to set.
new Client({ types: { hello: "hello" } });
// @ts-expect-error There is no such event.
game.on("left", () => {});
// @ts-expect-error There is no such event.
host.on("message", () => {});
// @ts-expect-error Something has to be sent.
game.send();
// @ts-expect-error Text or bytes; objects are for send.
game.sendDatagram({ x: 1 });
// @ts-expect-error A track or null; not a stream.
game.share("camera", new MediaStream());
// @ts-expect-error The path is read only.
game.path = "moss";
// @ts-expect-error The line is protected.
game.line;
// @ts-expect-error ICE servers have urls.
new Master({ secret: "s", iceServers: [{ url: "turn:box" }] });
// @ts-expect-error Credentials are for a member.
turnServers({ urls: "turn:box", secret: "t" });

export { bare, credential, gone, key, paths, pc, sent, session, state, time };
