"""Peers of a moss, near and far, and what they do."""

import asyncio
import json
import os
import random
import socket
import time
from collections import defaultdict
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from namespaces import inside

BOX, FAR = os.environ["BOX"], os.environ["FAR"]
SECRET = "only-the-tests-know-it"

# moss's own address, whichever cable leads there (RFC 5737: addresses that are nobody's).
MOSS = "203.0.113.1"

# A limit for a hang: far more than anything takes on a busy machine.
PATIENCE = 240

# What nobody waits for who is near. A fault that lets peers wait for one another makes them
# wait as long as a cable is pulled, or for a keepalive.
NOTICEABLE = 5


class Peer:
    """One connection that speaks packets, and keeps what comes by who sent it: the `id` of
    a client, or None for moss and the master."""

    @classmethod
    async def near(cls, moss):
        return await cls._connect(moss, BOX, "127.0.0.1")

    @classmethod
    async def far(cls, moss):
        return await cls._connect(moss, FAR, MOSS)

    @classmethod
    async def _connect(cls, moss, namespace, host):
        with inside(namespace):
            plug = socket.socket()
        plug.setblocking(False)
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(plug, (host, moss.port))
        peer = cls()
        peer.address = plug.getsockname()[0]
        # The library would ping, and give up by itself; it answers moss's pings all the same.
        peer.connection = await connect(
            f"ws://{host}:{moss.port}/",
            sock=plug,
            open_timeout=PATIENCE,
            close_timeout=1,
            ping_interval=None,
            compression=None,
        )
        peer.arrived = defaultdict(asyncio.Queue)
        peer.reader = asyncio.create_task(peer._read())
        return peer

    async def _read(self):
        try:
            while True:
                text = await self.connection.recv()
                self.arrived[json.loads(text).get("id")].put_nowait(text)
        except ConnectionClosed:
            pass

    async def receive(self, sender=None, within=PATIENCE):
        """The next that this sender sent, as it came."""
        arriving = asyncio.create_task(self.arrived[sender].get())
        await asyncio.sleep(0)
        if not arriving.done():
            await asyncio.wait(
                {arriving, self.reader}, timeout=within, return_when=asyncio.FIRST_COMPLETED
            )
        if not arriving.done():
            arriving.cancel()
            assert self.reader.done(), f"nothing in {within} s"
            self.reader.result()  # Raises what was wrong with what came.
            raise AssertionError(f"closed: {self.code}")
        return arriving.result()

    async def expect(self, wanted, sender=None, within=PATIENCE):
        came = await self.receive(sender, within)
        assert came == wanted, f"{came}\ncame instead of\n{wanted}"

    async def expect_nothing(self, sender=None):
        """Nothing else came: what moss is asked for now is the next thing that it says."""
        await self.send('{"type":"ping"}')
        await self.expect('{"type":"pong","payload":""}')
        assert sender is None or self.arrived[sender].empty()

    async def send(self, text):
        async with asyncio.timeout(PATIENCE):
            await self.connection.send(text)

    async def become_master(self, number):
        payload = {"secret": SECRET, "sdp": number}
        await self.send(json.dumps({"type": "set-master", "payload": payload}))
        await self.expect('{"type":"master-confirmation","payload":""}')

    async def log_in(self, master, number):
        """Becomes a client of this master, who offers this number. Returns the id."""
        await self.send('{"type":"login"}')
        await self.expect('{"type":"offer","payload":%d}' % number)
        joined = json.loads(await master.receive())
        assert joined["type"] == "client-joined", joined
        return joined["payload"]["id"]

    async def closed(self, within):
        """How moss ended the connection."""
        await asyncio.wait({self.reader}, timeout=within)
        assert self.reader.done(), f"still open after {within} s"
        return self.code

    @property
    def code(self):
        return self.connection.close_code


def left(id):
    return '{"type":"client-left","payload":{"id":"%s"}}' % id


MASTER_LEFT = '{"type":"master-left","payload":""}'


def payload(name, number):
    """JSON that no two packets have in common, spelled as no program would write it."""
    noise = random.Random(f"{name} {number}")
    text = "".join(noise.choice('abcdefghij ü€😀{[",') for _ in range(noise.randrange(900)))
    return f'{{"n" :{number}.0e0,  "{name}": {json.dumps(text, ensure_ascii=number % 2 == 0)}}}'


async def send_to_master(client, name, count, pause=0.0):
    for number in range(count):
        await client.send('{"type":"%s","payload":%s}' % (name, payload(name, number)))
        await asyncio.sleep(pause)


async def send_to_client(master, id, name, count, pause=0.0):
    for number in range(count):
        packet = '{"type":"%s","payload":%s,"id":"%s"}' % (name, payload(name, number), id)
        await master.send(packet)
        await asyncio.sleep(pause)


async def arrive_at_master(master, id, name, count):
    """Each of them arrives once, in order, byte for byte."""
    for number in range(count):
        wanted = '{"type":"%s","payload":%s,"id":"%s"}' % (name, payload(name, number), id)
        await master.expect(wanted, id)


async def arrive_at_client(client, name, count):
    for number in range(count):
        await client.expect('{"type":"%s","payload":%s}' % (name, payload(name, number)))


async def both_ways(master, client, id, name, count, pause=0.0):
    """So many packets either way, at the same time; and nothing else arrives."""
    async with asyncio.TaskGroup() as all:
        all.create_task(send_to_master(client, name, count, pause))
        all.create_task(send_to_client(master, id, name, count, pause))
        all.create_task(arrive_at_master(master, id, name, count))
        all.create_task(arrive_at_client(client, name, count))
    await client.expect_nothing()
    await master.expect_nothing(id)


@asynccontextmanager
async def undisturbed(name, there_and_back):
    """Meanwhile this happens over and over, and no time takes so long that it is noticed."""

    async def go_on():
        while not enough.is_set() or not times:
            begin = time.monotonic()
            await there_and_back(len(times))
            times.append(time.monotonic() - begin)
            await asyncio.sleep(0.02)

    times = []
    enough = asyncio.Event()
    going = asyncio.create_task(go_on())
    try:
        yield
        enough.set()
        await going
    finally:
        going.cancel()
    print(f"{name}: {len(times)} times, the longest was {max(times):.3f} s")
    assert max(times) < NOTICEABLE, f"{name}: somebody else was noticed"
