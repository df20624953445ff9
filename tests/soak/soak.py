"""All kinds of peers at once against one moss, for as long as you like.

    soak.py PORT PID SECONDS

- Honest clients connect, log in, send numbered packets and get each one back from the master. They
  leave by a Close or a reset, or fall silent with an open connection.
- Honest masters replace each other. In between there are slow masters, which read nothing while
  clients flood, and times without a master.
- Others flood; cause much output and read nothing; send invalid bytes, incomplete requests,
  frames and messages, wrong secrets, and packets above the limit; or request /health.

The promises to honest peers are checked all the time, and the first violation ends the soak with
status 1: each packet arrives once, in order, unchanged and under one id, at the present master
or the previous one; silent peers are dropped; nobody waits for long.

moss's resident memory and descriptors are sampled all the time. Their means over the last five
minutes must be within a tenth of those over minutes five to ten (in shorter soaks: the last fifth
and the second fifth). At the end no descriptor of a connection may be left. Prints one line.

One process and one thread, paced so that it takes about a quarter of a core.
"""

import asyncio
import json
import os
import random
import resource
import socket
import struct
import sys
import time
import traceback
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

PORT, PID, SECONDS = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
SECRET = "only-the-soak-knows-it"  # Set in `run`, too, as are the other settings.
KEEPALIVE = 5

# Time limit of each wait: only a hang takes this long, even on a busy machine.
PATIENCE = 60

# How long moss may take for an answer. Clients may have to wait for a slow master (half of the
# keepalive), guests for nobody.
NOTICEABLE = 5

# How many peers are active at a time.
CROWD = 100

# Seconds for which a client's packets are remembered. All of them arrive long before.
MEMORY = 15

# The means over two windows of this many seconds are compared: the second one, and the last one.
WINDOW = min(300, SECONDS / 5)
TOLERANCE = 0.1


class Fault(Exception):
    """A promise of moss is broken."""


def must(holds, *what):
    if not holds:
        raise Fault(*what)


# What the peers know about each other: they share one process.


class World:
    """The present peers, what they may expect, and the counters."""

    def __init__(self):
        self.begin = time.monotonic()
        self.chance = random.Random(1)
        # How many masters there were. Packets from the previous one are refused.
        self.masters = 0
        # Grows at the start and at the end of a time in which packets may be lost, because the
        # master is dropped or there is none: it is odd during that time.
        self.losses = 0
        self.clients = {}
        self.master = None
        self.connections = 0
        self.checked = 0
        self.complete = 0
        self.longest = 0.0

    @property
    def is_over(self):
        return time.monotonic() > self.begin + SECONDS

    def waited(self, since):
        wait = time.monotonic() - since
        self.longest = max(self.longest, wait)
        must(wait < NOTICEABLE, f"waited {wait:.1f} s")


world = World()


def text_of(token, number):
    """A payload that is unique for each packet."""
    return f"{token} {number} " + "ä🙂 \\\"\n"[number % 8 :] * (number * 7 % 60)


# Honest peers.


async def join():
    world.connections += 1
    return await connect(
        f"ws://127.0.0.1:{PORT}/",
        open_timeout=PATIENCE,
        close_timeout=PATIENCE,
        # Only moss pings, and the library answers.
        ping_interval=None,
        compression=None,
        max_queue=None,
    )


class Master:
    """Checks received packets, and sends them back."""

    @classmethod
    async def claim(cls):
        master = cls()
        master.connection = await join()
        master.is_replaced = False
        master.present = set()
        # The last received number, by id.
        master.last = {}
        claim = {"type": "set-master", "payload": {"secret": SECRET, "sdp": "honest"}}
        world.masters += 1
        before, world.master = world.master, master
        # From now on the previous master may be replaced at any time.
        if before:
            before.is_replaced = True
        await master.connection.send(json.dumps(claim))
        begin = time.monotonic()
        confirmation = json.loads(await master.connection.recv())
        must(confirmation["type"] == "master-confirmation", confirmation)
        world.waited(begin)
        master.reading = later(master.read())
        return master

    async def read(self):
        try:
            while True:
                packet = json.loads(await self.connection.recv())
                if "id" in packet:
                    await self.on_client(packet["type"], packet["payload"], packet["id"])
                else:
                    self.on_moss(packet["type"], packet["payload"])
        except ConnectionClosed:
            pass
        code, reason = self.connection.close_code, self.connection.close_reason
        must(code == 1000, "master", code, reason)

    def on_moss(self, type, payload):
        if type == "client-joined":
            must(payload["id"] not in self.present, "joined twice")
            self.present.add(payload["id"])
        elif type == "client-left":
            must(payload["id"] in self.present, "left without having joined")
            self.present.remove(payload["id"])
        else:
            # It was replaced, or clients left before their packets were sent back.
            replaced = ["replaced", "not-logged-in"] if self.is_replaced else []
            must(type == "moss-error", type)
            must(payload["code"] in ["unknown-client", *replaced], payload)

    async def on_client(self, type, payload, id):
        if type == "numbered":
            token, number = payload["token"], payload["number"]
            must(payload["text"] == text_of(token, number), "another payload")
            must(number > self.last.get(id, -1), "order", token, number)
            self.last[id] = number
            world.clients[token].arrived(number, id)
            await self.send(type, payload, id)
        elif type == "feed":
            # More than the backlog of a client that does not read.
            for _ in range(80):
                await self.send("food", "x" * 16000, id)
        else:
            must(type in ("flood", "late"), type)

    async def send(self, type, payload, id):
        await self.connection.send(json.dumps({"type": type, "payload": payload, "id": id}))

    async def retire(self):
        """Reads what was still queued for it, then leaves."""
        await asyncio.sleep(3)
        await self.connection.close()
        await self.reading


class Client:
    """Sends numbered packets, and knows which must come back."""

    count = 0

    def __init__(self):
        Client.count += 1
        self.token = str(Client.count)
        self.sent = 0
        self.at_master = set()
        self.back = -1
        self.returned = 0
        self.id = None
        world.clients[self.token] = self

    def arrived(self, number, id):
        """A master has received a packet. Ids stay the same from master to master."""
        must(number < self.sent and number not in self.at_master, "twice", self.token, number)
        must(self.id in (None, id), "another id")
        self.at_master.add(number)
        self.id = id
        world.checked += 1

    async def live(self, seconds, rate):
        """A connection. All packets must arrive, unless the master changes."""
        losses, masters = world.losses, world.masters
        self.connection = await join()
        self.reading = later(self.read())
        await self.connection.send('{"type":"login"}')
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.send()
            await asyncio.sleep(1 / rate)
        # Now all packets must arrive: at a master, and back here.
        patience = time.monotonic() + PATIENCE
        while losses == world.losses and losses % 2 == 0:
            same = masters == world.masters
            if len(self.at_master) == self.sent and (self.returned == self.sent or not same):
                world.complete += 1
                break
            late = f"{self.sent} sent, {len(self.at_master)} arrived, {self.returned} back"
            must(time.monotonic() < patience, late)
            must(not self.reading.done(), "closed", self.connection.close_code)
            await asyncio.sleep(0.05)

    async def send(self):
        number, self.sent = self.sent, self.sent + 1
        payload = {"token": self.token, "number": number, "text": text_of(self.token, number)}
        await self.connection.send(json.dumps({"type": "numbered", "payload": payload}))

    async def read(self):
        try:
            while True:
                packet = json.loads(await self.connection.recv())
                must("id" not in packet, packet)
                self.on_packet(packet["type"], packet["payload"])
        except ConnectionClosed:
            pass

    def on_packet(self, type, payload):
        if type == "numbered":
            number = payload["number"]
            must(payload["token"] == self.token, "somebody else's")
            must(payload["text"] == text_of(self.token, number), "another payload")
            must(number > self.back, "order", self.token, number)
            self.back = number
            self.returned += 1
            world.checked += 1
        elif type == "moss-error":
            must(payload["code"] == "no-master", payload)
        else:
            must(type in ("offer", "master-left"), type)

    async def leave(self):
        await self.connection.close()
        await self.reading
        must(self.connection.close_code == 1000, "client", self.connection.close_code)

    async def forget(self):
        """Forgets the client, once none of its packets can still arrive."""
        await asyncio.sleep(MEMORY)
        del world.clients[self.token]


async def client_that_closes():
    client = Client()
    await client.live(world.chance.uniform(0.2, 6), rate=25)
    await client.leave()
    later(client.forget())


async def client_that_resets():
    client = Client()
    await client.live(world.chance.uniform(0.2, 4), rate=25)
    reset(client.connection.transport.get_extra_info("socket"))
    client.connection.transport.abort()
    await client.reading
    later(client.forget())


async def client_that_falls_silent():
    """Its connection stays open, but it neither reads nor answers: moss must drop it."""
    raw = await Raw.join()
    await raw.send(text('{"type":"login"}'))
    await raw.send(text('{"type":"late"}'))
    begin = time.monotonic()
    await asyncio.sleep(2 * KEEPALIVE + 1)
    # What moss has sent in that time. The Close is the last frame.
    said = await raw.read_to_the_end()
    late = time.monotonic() - begin - (2 * KEEPALIVE + 1)
    must(struct.pack(">H", 1011) in said, "not told that it was dropped")
    must(late < NOTICEABLE, f"dropped {late:.1f} s late")
    raw.close()


# The other peers, on plain sockets: these read only when they are told to.


class Raw:
    """A plain socket."""

    @classmethod
    async def connect(cls, receive_buffer=None):
        raw = cls()
        raw.socket = socket.socket()
        raw.socket.setblocking(False)
        if receive_buffer:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        world.connections += 1
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(raw.socket, ("127.0.0.1", PORT))
        return raw

    @classmethod
    async def join(cls, receive_buffer=None):
        raw = await cls.connect(receive_buffer)
        begin = time.monotonic()
        await raw.send(UPGRADE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            # This function must not read frames after the head.
            head += await raw.read(1)
        must(head.startswith(b"HTTP/1.1 101 "), head)
        world.waited(begin)
        return raw

    async def send(self, data):
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self, most):
        try:
            async with asyncio.timeout(PATIENCE):
                data = await asyncio.get_running_loop().sock_recv(self.socket, most)
        except TimeoutError:
            raise Fault(f"moss neither sends nor closes in {PATIENCE} s") from None
        if not data:
            raise ConnectionError
        return data

    async def read_to_the_end(self):
        said = b""
        try:
            while True:
                said += await self.read(65536)
        except ConnectionError:
            return said

    def close(self):
        self.socket.close()

    def reset(self):
        reset(self.socket)
        self.socket.close()


def reset(socket_):
    """Makes the next close a reset (RST)."""
    socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: soak\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(first, payload, length=None):
    """A frame (RFC 6455, section 5.2) with a mask of zeros. `length` may differ from the payload's."""
    length = len(payload) if length is None else length
    if length < 126:
        header = struct.pack(">BB", first, 0x80 | length)
    elif length < 65536:
        header = struct.pack(">BBH", first, 0x80 | 126, length)
    else:
        header = struct.pack(">BBQ", first, 0x80 | 127, length)
    return header + bytes(4) + payload


def text(packet):
    return frame(0x81, packet.encode())


async def end_somehow(raw):
    """Closes, resets, or waits until moss ends the connection."""
    how = world.chance.randrange(3)
    if how == 0:
        raw.reset()
    elif how == 1:
        await raw.read_to_the_end()
        raw.close()
    else:
        raw.close()


async def flood():
    """Floods, at a rate that a slow machine can handle; a slow master blocks it."""
    raw = await Raw.join()
    await raw.send(text('{"type":"login"}'))
    packets = text('{"type":"flood","payload":"%s"}' % ("f" * 2000)) * 10
    for _ in range(20):
        await raw.send(packets)
        await asyncio.sleep(0.05)
    await end_somehow(raw)


async def client_that_does_not_read():
    raw = await Raw.join(receive_buffer=4096)
    await raw.send(text('{"type":"login"}'))
    await raw.send(text('{"type":"feed"}'))
    await asyncio.sleep(2)
    await end_somehow(raw)


async def pings_without_reading_the_pongs():
    raw = await Raw.join(receive_buffer=4096)
    for _ in range(20):
        await raw.send(frame(0x89, b"p" * 100) * 50 + text('{"type":"ping"}') * 50)
        await asyncio.sleep(0.05)
    await end_somehow(raw)


async def rubbish_instead_of_a_head():
    raw = await Raw.connect()
    await raw.send(world.chance.randbytes(300))
    await end_somehow(raw)


async def half_a_head():
    raw = await Raw.connect()
    await raw.send(UPGRADE[: world.chance.randrange(len(UPGRADE))])
    await asyncio.sleep(1)
    await end_somehow(raw)


async def rubbish_instead_of_frames():
    raw = await Raw.join()
    await raw.send(world.chance.randbytes(2000))
    await end_somehow(raw)


async def half_a_frame():
    raw = await Raw.join()
    await raw.send(frame(0x81, b"h" * world.chance.randrange(50000), 60000))
    await asyncio.sleep(1)
    await end_somehow(raw)


async def half_a_message():
    raw = await Raw.join()
    await raw.send(frame(0x01, b"{") + frame(0x00, b" " * 100) * 200)
    await asyncio.sleep(1)
    await end_somehow(raw)


async def halves_beyond_the_memory():
    """Incomplete packets, together above the limit. moss drops some of these peers, and no others."""
    raws = [await Raw.join() for _ in range(40)]
    for raw in raws:
        try:
            await raw.send(frame(0x81, b"h" * 60000, 65000))
        except OSError:
            pass
    await asyncio.sleep(1)
    for raw in raws:
        raw.reset() if world.chance.random() < 0.5 else raw.close()


async def packet_above_the_limit():
    raw = await Raw.join()
    await raw.send(frame(0x81, b"t" * 1000, 70000))
    must(struct.pack(">H", 1009) in await raw.read_to_the_end(), "not told that it is too long")
    raw.close()


async def rubbish_instead_of_packets():
    raw = await Raw.join()
    rubbish = ["", "{", "[]", '{"type":1}', '{"type":"x","type":"y"}', '{"type":"set-master"}']
    for _ in range(50):
        await raw.send(text(world.chance.choice(rubbish)))
        await asyncio.sleep(0.01)
    await end_somehow(raw)


async def guesses_at_the_secret():
    raw = await Raw.join()
    for guess in range(5):
        await raw.send(text('{"type":"set-master","payload":{"secret":"%d"}}' % guess))
    must(struct.pack(">H", 1008) in await raw.read_to_the_end(), "may guess on")
    raw.close()


async def visitor():
    """Requests /health, and pages, as a browser does."""
    for path, status in [(b"/health", b"200"), (b"/", b"426"), (b"/other", b"404")]:
        raw = await Raw.connect()
        begin = time.monotonic()
        await raw.send(b"GET %s HTTP/1.1\r\nHost: soak\r\n\r\n" % path)
        answer = await raw.read_to_the_end()
        world.waited(begin)
        must(answer.startswith(b"HTTP/1.1 " + status), path, answer)
        if status == b"200":
            must(json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "ok", answer)
        raw.close()
        await asyncio.sleep(0.3)


async def guest():
    """A guest, which must never have to wait for others."""
    connection = await join()
    for _ in range(20):
        begin = time.monotonic()
        await connection.send('{"type":"ping"}')
        must(json.loads(await connection.recv())["type"] == "pong", "no pong")
        world.waited(begin)
        await asyncio.sleep(0.1)
    await connection.close()


# The kinds of peers, and how many of each in a deck. A deck is used up before it is shuffled
# again: otherwise chance would change the means.
DECK = [
    *[client_that_closes] * 10,
    *[client_that_resets] * 5,
    *[client_that_falls_silent] * 3,
    *[guest] * 4,
    *[visitor] * 3,
    *[flood] * 3,
    client_that_does_not_read,
    pings_without_reading_the_pongs,
    rubbish_instead_of_a_head,
    half_a_head,
    rubbish_instead_of_frames,
    half_a_frame,
    half_a_message,
    halves_beyond_the_memory,
    packet_above_the_limit,
    rubbish_instead_of_packets,
    guesses_at_the_secret,
]


def cards():
    while True:
        deck = DECK.copy()
        world.chance.shuffle(deck)
        yield from deck


async def crowd(deck):
    """Runs peers one after another, until the end."""
    while not world.is_over:
        act = next(deck)
        try:
            await act()
        except ConnectionError:
            # moss may drop these peers at any time. One that still sends gets a reset.
            must(act not in HONEST, act.__name__)
        await asyncio.sleep(world.chance.uniform(0, 0.5))


HONEST = [client_that_closes, client_that_resets, client_that_falls_silent, guest, visitor]


async def run_masters():
    """Runs masters one after another. Returns the last one."""
    turn = 0
    while True:
        before = world.master
        master = await Master.claim()
        if before:
            later(before.retire())
        if world.losses % 2:
            world.losses += 1
        if world.is_over:
            return master
        await asyncio.sleep(8)
        turn += 1
        if turn % 3 == 0:
            await without_honest_master(slow=turn % 2 == 0)


async def without_honest_master(slow):
    """A time with a slow master, which reads nothing, or without a master."""
    world.losses += 1
    master, world.master = world.master, None
    master.is_replaced = True
    if slow:
        raw = await Raw.join(receive_buffer=4096)
        claim = {"type": "set-master", "payload": {"secret": SECRET, "sdp": "slow"}}
        world.masters += 1
        await raw.send(text(json.dumps(claim)))
        later(master.retire())
        # Clients flood, and have to wait; then the slow master is dropped or replaced.
        await asyncio.sleep(4)
        later(late_end(raw))
    else:
        await master.retire()
        await asyncio.sleep(2)


async def late_end(raw):
    await asyncio.sleep(4)
    raw.reset()


# moss's use of memory and descriptors.


def sample():
    status = Path(f"/proc/{PID}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0])
    return resident, len(os.listdir(f"/proc/{PID}/fd"))


async def sampling(samples):
    while not world.is_over:
        await asyncio.sleep(2)
        samples.append((time.monotonic() - world.begin, *sample()))


def means(samples, begin):
    chosen = [values for at, *values in samples if begin <= at < begin + WINDOW]
    return [sum(column) / len(column) for column in zip(*chosen)]


async def all_gone(descriptors):
    """Waits until no descriptor of a connection is left."""
    patience = time.monotonic() + PATIENCE
    while sample()[1] > descriptors:
        must(time.monotonic() < patience, f"{sample()[1] - descriptors} descriptors are left")
        await asyncio.sleep(0.5)


def later(coroutine):
    """Runs the coroutine beside the others. If it fails, the soak ends."""
    return world.group.create_task(coroutine)


async def soak():
    descriptors = sample()[1]
    samples = []
    deck = cards()
    async with asyncio.TaskGroup() as world.group:
        last_master = later(run_masters())
        later(sampling(samples))
        coming = []
        for _ in range(CROWD):
            coming.append(later(crowd(deck)))
            await asyncio.sleep(0.1)
        master = await last_master
        await asyncio.wait(coming)
        while world.clients:
            await asyncio.sleep(0.5)
        # moss has reported all clients that left.
        must(not master.present, f"{len(master.present)} are still there")
        await master.connection.close()
    await all_gone(descriptors)
    must(world.complete > SECONDS / 10, "hardly any client lived without a change of masters")
    return samples


def seconds_of_cpu():
    ticks = Path(f"/proc/{PID}/stat").read_text().rpartition(")")[2].split()
    own = resource.getrusage(resource.RUSAGE_SELF)
    moss = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return own.ru_utime + own.ru_stime, moss


def main():
    try:
        samples = asyncio.run(soak())
    except Exception as error:
        traceback.print_exc()
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        print(f"soak: failed after {time.monotonic() - world.begin:.0f} s: {error!r}")
        return 1
    changes = []
    steady = True
    for what, first, last in zip(
        ["kB resident", "descriptors"], means(samples, WINDOW), means(samples, SECONDS - WINDOW)
    ):
        change = last / first - 1
        steady &= abs(change) <= TOLERANCE
        changes.append(f"{first:.1f} to {last:.1f} {what} ({change:+.1%})")
    own, moss = seconds_of_cpu()
    print(
        f"soak: {SECONDS:.0f} s, {world.connections} connections, {world.masters} masters, "
        f"{world.checked} packets checked, {world.complete} clients got all, "
        f"longest wait {world.longest:.2f} s, {', '.join(changes)}, "
        f"CPU {own / SECONDS:.0%} here and {moss / SECONDS:.0%} moss: "
        + ("passed" if steady else "failed, not steady")
    )
    return not steady


sys.exit(main())
