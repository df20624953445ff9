"""The honest peers of a soak, which check what moss promises them."""

import asyncio
import json
import struct
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from wire import Raw, reset, text
from world import NOTICEABLE, PATIENCE, PORT, later, must, world

SECRET = "only-the-soak-knows-it"  # Set in `run`, too, as is the keepalive.
KEEPALIVE = 5

# Seconds for which a client's packets are remembered. All of them arrive long before.
MEMORY = 15


def text_of(token, number):
    """A payload that is unique for each packet."""
    return f"{token} {number} " + "ä🙂 \\\"\n"[number % 8 :] * (number * 7 % 60)


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
