import { Client, Master } from "moss-signaling";

const query = new URLSearchParams(location.search);
const address = query.get("moss");
const host = new Master({ address, secret: query.get("secret") });
host.on("member", (member) => member.on("message", (text) => member.send(`${text}, ${member.hello}!`)));
const game = new Client({ address, hello: "Ann" });
game.on("message", (text) => (document.querySelector("output").textContent = `${game.path}: ${text}`));
game.send("Hello");
