// A test network: namespaces connected to a switch, which is a namespace with a bridge. A port can be taken off the
// bridge: packets no longer arrive, and neither side is notified.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const ip = (namespace, ...args) => run("ip", ["-n", namespace, ...args.join(" ").split(" ")]);

/** Sends a signal to all processes in a namespace. */
async function signal(netns, name) {
  const { stdout } = await run("ip", ["netns", "pids", netns]);
  for (const pid of stdout.split("\n").filter(Boolean)) process.kill(Number(pid), name);
}

/** The address of moss and the masters. Phones reach it from any address. */
export const BOX = "192.168.77.1";

let made = 0;

/** A switch with a box, removed when the test ends. `phone()` connects another namespace. */
export async function makeNetwork(t) {
  const prefix = `${process.env.NETNS_PREFIX ?? "moss"}-${process.pid}-${++made}`;
  const names = [];
  const namespace = async (name) => {
    const full = `${prefix}-${name}`;
    await run("ip", ["netns", "add", full]);
    names.push(full);
    // Else an IPv6 address changes a second or two after its link is up, and Chromium breaks off what it is loading.
    await run("ip", ["netns", "exec", full, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad || true"]);
    await ip(full, "link set lo up");
    return full;
  };
  t.after(async () => {
    for (const name of names) await run("ip", ["netns", "delete", name]);
  });

  const hub = await namespace("switch");
  await ip(hub, "link add bridge type bridge");
  await ip(hub, "link set bridge up");
  const plugIn = async (there, device, port) => {
    await ip(hub, `link add ${port} type veth peer name ${device} netns ${there}`);
    await ip(hub, `link set ${port} master bridge up`);
  };
  const use = async (there, device, address) => {
    await ip(there, `address add ${address}/24 dev ${device}`);
    await ip(there, `link set ${device} up`);
    // Default routes: for phones with a new address, and for multicast, by which browsers look up mDNS names.
    await ip(there, `route replace default dev ${device}`);
  };

  const box = await namespace("box");
  await plugIn(box, "lan", "box");
  await use(box, "lan", BOX);

  let phones = 0;
  const phone = async () => {
    const number = ++phones;
    const netns = await namespace(`phone${number}`);
    await plugIn(netns, "wifi", `wifi${number}`);
    await plugIn(netns, "mobile", `mobile${number}`);
    await use(netns, "wifi", `192.168.77.${number + 1}`);
    return {
      netns,
      /** From now on nothing gets through. Neither side is notified. */
      lose: () => ip(hub, `link set wifi${number} nomaster`),
      find: () => ip(hub, `link set wifi${number} master bridge`),
      /** As with the screen off: all of the phone's programs are stopped. */
      sleep: () => signal(netns, "SIGSTOP"),
      wake: () => signal(netns, "SIGCONT"),
      /** As when leaving the house: from Wi-Fi to the mobile network. */
      leaveTheWifi: async () => {
        await use(netns, "mobile", `10.77.0.${number + 1}`);
        await ip(netns, `address flush dev wifi`);
        await ip(netns, `link set wifi down`);
      },
    };
  };
  return { box, phone };
}
