"""A link between two network namespaces, with delay, loss and reordering.

    link.py DEVICE NAMESPACE NAMESPACE DELAY LOSS OVERTAKING SEED

makes a TUN device of that name in both namespaces and carries IPv4 packets between them. Each
packet takes DELAY seconds. The share LOSS of packets never arrives; the share OVERTAKING takes
half the time, and so overtakes earlier ones. SEED determines which packets these are.

It reads commands, one a line, and answers each by a line of JSON when it is done:

    pull    nothing gets through any more, not even packets in flight; neither side is notified
    plug    packets get through again
    count   answers how many packets were carried, were lost, and overtook others

It prints `{}` once when the devices exist, and ends with its standard input.

Kernels have this built in (netem), but many are built without it. A device without offloads
(IFF_VNET_HDR) gets packets of 1,500 bytes with complete checksums, as on a wire.
"""

import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import sys
import time

from namespaces import inside

# linux/if_tun.h: the request to make a device, for IP packets, without a header of its own.
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000


class Link:
    """Packets in flight between two devices."""

    def __init__(self, ends, delay, loss, overtaking, seed):
        self.ends = ends
        self.delay, self.loss, self.overtaking = delay, loss, overtaking
        self.chance = random.Random(seed)
        self.pulled = False
        # Delivery time; a number, for equal times; the packet and its destination.
        self.under_way = []
        self.counts = {"carried": 0, "lost": 0, "overtook": 0}
        self.taken = 0

    def take(self, end):
        """Takes all packets that one side has sent."""
        other = self.ends[end == self.ends[0]]
        while packet := receive(end):
            # A packet's fate depends only on its number, not on the fate of others.
            is_lost = self.chance.random() < self.loss
            overtakes = self.chance.random() < self.overtaking
            if packet[0] >> 4 != 4 or self.pulled:
                continue
            if is_lost:
                self.counts["lost"] += 1
                continue
            due = time.monotonic() + (self.delay / 2 if overtakes else self.delay)
            self.counts["overtook"] += overtakes
            self.taken += 1
            heapq.heappush(self.under_way, (due, self.taken, packet, other))

    def deliver(self):
        """Delivers packets whose time has come, and returns the seconds until the next one."""
        while self.under_way:
            wait = self.under_way[0][0] - time.monotonic()
            if wait > 0:
                return wait
            _, _, packet, end = heapq.heappop(self.under_way)
            self.counts["carried"] += 1
            try:
                os.write(end, packet)
            except OSError:
                pass  # The device is down.
        return None

    def obey(self, word):
        if word == "pull":
            self.pulled = True
            self.under_way.clear()
        elif word == "plug":
            self.pulled = False
        print(json.dumps(self.counts if word == "count" else {}), flush=True)


def receive(end):
    try:
        return os.read(end, 65536)
    except OSError:
        return None  # No packet, or the device is down.


def device(name, namespace):
    with inside(namespace):
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return end


def main():
    name, here, there, delay, loss, overtaking, seed = sys.argv[1:]
    ends = [device(name, here), device(name, there)]
    link = Link(ends, float(delay), float(loss), float(overtaking), int(seed))
    waiting = selectors.DefaultSelector()
    for end in ends:
        waiting.register(end, selectors.EVENT_READ)
    waiting.register(sys.stdin, selectors.EVENT_READ)
    print("{}", flush=True)
    while True:
        for key, _ in waiting.select(link.deliver()):
            if key.fileobj is not sys.stdin:
                link.take(key.fd)
            elif word := sys.stdin.readline().strip():
                link.obey(word)
            else:
                return


main()
