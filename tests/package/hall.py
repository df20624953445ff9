"""The peers of one hall: a master and its clients, with or without a proxy.

    python hall.py ws://127.0.0.1:8000/hall-1/ --secret SECRET --clients 100 --period 1

Each client sends a packet once in a period and the master sends it back, so that lost, late
and misordered packets are noticed. Peers reconnect. The program prints a line whenever all
peers are connected, and reads commands from standard input: `report` prints what happened
since the last report; `stop` stops sending, waits for packets in flight, reports and ends.

The peers are plain sockets, so that thousands of them fit into one process.
"""

import argparse
import asyncio
import json
import random
import resource
import ssl
import statistics
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

# Seconds after which an answer counts as lost.
PATIENCE = 60


class Peer(asyncio.Protocol):
    """A client's WebSocket. `hall` gets its packets and its end."""

    def __init__(self, hall):
        self.hall = hall
        self.open = False
        self.received = bytearray()

    def connection_made(self, transport):
        self.transport = transport
        self.transport.write(self.hall.request)

    def data_received(self, data):
        self.received += data
        if not self.open:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.hall.refused[head[9:12].decode()] += 1
                return self.transport.abort()
            self.open, self.received = True, rest
            self.opened()
        while (frame := self.next_frame()) is not None:
            self.hear(*frame)

    def next_frame(self):
        """The first byte and the payload of the next frame, if it is complete. Servers don't mask."""
        held = self.received
        if len(held) < 2:
            return None
        length, start = held[1], 2
        if length == 126:
            length, start = int.from_bytes(held[2:4], "big"), 4
        if len(held) < start + length:
            return None
        frame = held[0], bytes(held[start : start + length])
        del held[: start + length]
        return frame

    def hear(self, first, payload):
        if first == 0x81:
            self.packet(json.loads(payload))
        elif first == 0x89:
            self.write(0x8A, payload)
        elif first == 0x88:
            self.transport.abort()
        else:
            raise ValueError(f"a frame that moss never sends: {first:#x}")

    def send(self, **packet):
        self.write(0x81, json.dumps(packet, separators=(",", ":")).encode())

    def write(self, first, payload):
        length = len(payload)
        short = bytes((first, 0x80 | length)) if length < 126 else None
        head = short or bytes((first, 0xFE)) + length.to_bytes(2, "big")
        # A mask of zeros leaves the payload as it is.
        self.transport.write(head + bytes(4) + payload)

    def connection_lost(self, _):
        self.hall.lost(self)


class Master(Peer):
    """Sends packets back."""

    there = False

    def opened(self):
        self.send(type="set-master", payload={"secret": self.hall.secret, "sdp": {}})

    def packet(self, packet):
        if "id" in packet:
            self.send(**packet)
        elif packet["type"] == "master-confirmation":
            self.there = True
            self.hall.count()


class Client(Peer):
    """Sends numbers, and must get them all back, in order."""

    there = False
    sent = answered = 0

    def opened(self):
        self.send(type="login")

    def packet(self, packet):
        if packet["type"] == "number":
            number, at, _ = packet["payload"]
            if number != self.answered + 1:
                self.hall.amiss += 1
            self.answered = number
            self.hall.latencies.append(time.perf_counter() - at)
        elif packet["type"] == "offer":
            self.there = True
            self.hall.count()
        else:
            self.hall.errors += 1

    def say(self):
        if self.there:
            self.sent += 1
            self.send(type="number", payload=[self.sent, time.perf_counter(), self.hall.filler])


class Hall:
    """All peers of a hall."""

    def __init__(self, arguments):
        self.url = urlsplit(arguments.url)
        self.secret = arguments.secret
        self.pause = arguments.pause
        self.period = arguments.period
        self.tls = arguments.trust and ssl.create_default_context(cafile=arguments.trust)
        self.filler = "x" * arguments.bytes
        self.request = (
            f"GET {self.url.path} HTTP/1.1\r\nHost: {self.url.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        self.connecting = asyncio.Semaphore(50)
        self.peers = [None] * (arguments.clients + 1)
        self.stopping = self.whole = False
        self.disconnects = self.amiss = self.errors = self.unanswered = 0
        self.refused, self.latencies = Counter(), []

    async def enter(self, place, pause=0):
        """Starts a peer. The master has place 0."""
        await asyncio.sleep(pause)
        async with self.connecting:
            # Stored before its first packet can arrive.
            peer = self.peers[place] = Client(self) if place else Master(self)
            loop = asyncio.get_running_loop()
            host, port = self.url.hostname, self.url.port
            connecting = loop.create_connection(lambda: peer, host, port, ssl=self.tls or None)
            try:
                await asyncio.wait_for(connecting, PATIENCE)
            except OSError:
                self.refused["connect"] += 1
                self.lost(peer)

    def lost(self, peer):
        if self.stopping or peer not in self.peers:
            return
        self.disconnects += peer.open
        if isinstance(peer, Client):
            self.unanswered += peer.sent - peer.answered
        place = self.peers.index(peer)
        self.peers[place] = None
        self.whole = False
        pause = random.uniform(self.pause, 3 * self.pause)
        self.coming.add(asyncio.create_task(self.enter(place, pause)))

    def count(self):
        """Reports when all peers are connected again."""
        if not self.whole and all(peer and peer.there for peer in self.peers):
            self.whole = True
            print("whole", flush=True)

    async def run(self):
        self.coming = {asyncio.create_task(self.enter(place)) for place in range(len(self.peers))}
        talking = asyncio.create_task(self.talk())
        reader = asyncio.StreamReader()
        protocol = lambda: asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(protocol, sys.stdin)
        while (line := (await reader.readline()).decode().strip()) == "report":
            self.report()
        talking.cancel()
        deadline = time.monotonic() + PATIENCE
        while line == "stop" and self.on_their_way() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self.unanswered += self.on_their_way()
        self.stopping = True
        if line == "stop":
            self.report()

    async def talk(self):
        """Lets the clients send in turn, evenly over the period."""
        clients = len(self.peers) - 1
        begun, said = time.perf_counter(), 0
        while True:
            await asyncio.sleep(0.005)
            due = int((time.perf_counter() - begun) / self.period * clients)
            # If this process was late, the skipped clients don't all send at once.
            for number in range(max(said, due - clients), due):
                client = self.peers[1 + number % clients]
                if client:
                    client.say()
            said = due

    def on_their_way(self):
        return sum(client.sent - client.answered for client in self.peers[1:] if client)

    def report(self):
        latencies = sorted(self.latencies) or [0]
        figures = {
            "clients": sum(bool(client and client.there) for client in self.peers[1:]),
            "answered": len(self.latencies),
            "disconnects": self.disconnects,
            "unanswered": self.unanswered,
            "amiss": self.amiss,
            "errors": self.errors,
            "refused": self.refused,
            "median": statistics.median(latencies),
            "p99": latencies[len(latencies) * 99 // 100],
            "worst": latencies[-1],
        }
        print(json.dumps(figures), flush=True)
        self.disconnects = self.amiss = self.errors = self.unanswered = 0
        self.refused, self.latencies = Counter(), []


def main():
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_it_is)
    parser.add_argument("url")
    parser.add_argument("--secret", required=True)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--period", type=float, default=1, help="seconds between a client's packets")
    parser.add_argument("--bytes", type=int, default=150, help="bytes of filler in each packet")
    parser.add_argument("--pause", type=float, default=1, help="seconds before a peer reconnects, at least")
    parser.add_argument("--trust", help="the certificate of a wss:// address")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(Hall(arguments).run())


if __name__ == "__main__":
    main()
