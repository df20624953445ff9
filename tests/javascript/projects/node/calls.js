// A master and a client in one program in Node, with WebRTC from a package: the client asks, the master answers.

import wrtc from "@roamhq/wrtc";
import { Client, Master } from "moss-signaling";

const { RTCPeerConnection } = wrtc;
const [address, secret] = process.argv.slice(2);
const host = new Master({ address, secret, RTCPeerConnection });
const game = new Client({ address, RTCPeerConnection, hello: { name: "Ann" } });
host.on("member", (member) => member.on("message", (question) => member.send({ ...question, to: member.hello.name })));
game.on("path", (path) => console.error(path));
game.on("message", (answer) => {
  console.log(JSON.stringify({ ...answer, path: game.path }));
  game.stop();
  host.stop();
});
game.send({ from: "a client" });
