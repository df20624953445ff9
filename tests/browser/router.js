// A phone in another network than the box, and a router between them. The tests run in the box's namespace.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";

const run = promisify(execFile);

const BOX = "10.77.1.2";
const ROUTER = "10.77.1.1";
const PHONE = "10.77.2.2";
const ROUTER_AT_THE_PHONE = "10.77.2.1";

/** Makes the router and the phone, which are removed when the test ends. `netns` is the router's namespace and `phone`
 *  the phone's. */
export async function makeRouter(t) {
  const prefix = `${process.env.NETNS_PREFIX ?? "moss"}-${process.pid}`;
  const names = { netns: `${prefix}-router`, phone: `${prefix}-far` };
  const { netns, phone } = names;
  const device = `mr${process.pid}`;
  const ip = (command) => run("ip", command.split(" "));
  t.after(async () => {
    // Not left to the kernel: it empties a namespace some time after its end, and the next router uses this name again.
    await ip(`link delete ${device}`).catch(() => {});
    for (const name of Object.values(names)) await ip(`netns delete ${name}`);
  });

  for (const name of Object.values(names)) {
    await ip(`netns add ${name}`);
    // As in the script `run`.
    await run("ip", ["netns", "exec", name, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad || true"]);
    await ip(`-n ${name} link set lo up`);
  }
  await ip(`link add ${device} type veth peer name box netns ${netns}`);
  await ip(`-n ${phone} link add lan type veth peer name phone netns ${netns}`);
  await ip(`address add ${BOX}/24 dev ${device}`);
  await ip(`-n ${netns} address add ${ROUTER}/24 dev box`);
  await ip(`-n ${netns} address add ${ROUTER_AT_THE_PHONE}/24 dev phone`);
  await ip(`-n ${phone} address add ${PHONE}/24 dev lan`);
  await ip(`link set ${device} up`);
  await ip(`-n ${netns} link set box up`);
  await ip(`-n ${netns} link set phone up`);
  await ip(`-n ${phone} link set lan up`);
  await ip(`route add ${PHONE}/32 via ${ROUTER}`);
  await ip(`-n ${phone} route add default via ${ROUTER_AT_THE_PHONE}`);
  // A route back to all of the box's addresses: Firefox uses only the address of the default route.
  await ip(`-n ${netns} route add default via ${BOX}`);
  await ip(`netns exec ${netns} sysctl -q -w net.ipv4.ip_forward=1`);
  return { netns, phone, address: ROUTER, box: BOX, block: (what) => block(netns, what) };
}

/** The router's firewall allows what docs/webrtc.md says. Signaling goes by TCP through the router, and is never blocked. */
const RULES = {
  firewall: "add rule inet gate input iifname != lo meta l4proto { tcp, udp } th dport != 3478 drop",
  direct: "add rule inet gate forward meta l4proto udp drop",
  turn: "add rule inet gate input meta l4proto { tcp, udp } drop",
  "turn by UDP": "add rule inet gate input iifname != lo meta l4proto udp drop",
};

/** From now on, drops packets between the box and the phone ("direct"), or to the TURN server ("turn", "turn by UDP"):
 *  several of these, or none. */
async function block(netns, what) {
  const rules = [
    "flush ruleset",
    "add table inet gate",
    "add chain inet gate input { type filter hook input priority 0; }",
    "add chain inet gate forward { type filter hook forward priority 0; }",
    ...["firewall", ...what].map((name) => RULES[name]),
  ];
  const nft = spawn("ip", ["netns", "exec", netns, "nft", "-f", "-"], { stdio: ["pipe", "inherit", "inherit"] });
  nft.stdin.end(`${rules.join("\n")}\n`);
  const [code] = await once(nft, "close");
  if (code) throw new Error("nft refuses the router's rules");
}
