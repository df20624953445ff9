"""Near and far peers of a moss."""

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

# moss's address, for all links (RFC 5737: addresses for documentation).
MOSS = "203.0.113.1"

# Time limit of each wait: only a hang takes this long, even on a busy machine.
PATIENCE = 240

# A near peer must never wait this long. If peers had to wait for one another, they would wait for
# as long as a cable is pulled, or for twice the keepalive.
NOTICEABLE = 8


class Peer:
    """A connection that sends packets, and keeps received ones by sender: the `id` of a client,
    or None for moss and the master."""

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
        # The library's own pings are off: it would close by itself. It still answers moss's pings.
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
        """The next packet of this sender, verbatim."""
        arriving = asyncio.create_task(self.arrived[sender].get())
        await asyncio.sleep(0)
        if not arriving.done():
            await asyncio.wait(
                {arriving, self.reader}, timeout=within, return_when=asyncio.FIRST_COMPLETED
            )
        if not arriving.done():
            arriving.cancel()
            assert self.reader.done(), f"nothing in {within} s"
            self.reader.result()  # Raises the reader's error.
            raise AssertionError(f"closed: {self.code}")
        return arriving.result()

    async def expect(self, wanted, sender=None, within=PATIENCE):
        came = await self.receive(sender, within)
        assert came == wanted, f"{came}\ncame instead of\n{wanted}"

    async def expect_nothing(self, sender=None):
        """There must be no unread packet: the answer to a ping is the next one."""
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
        """Becomes a client of this master, whose offer is this number. Returns the id."""
        await self.send('{"type":"login"}')
        await self.expect('{"type":"offer","payload":%d}' % number)
        joined = json.loads(await master.receive())
        assert joined["type"] == "client-joined", joined
        return joined["payload"]["id"]

    async def closed(self, within):
        """The close code and reason."""
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
    """JSON that is unique for each packet, in an unusual spelling."""
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
    """Checks that each packet arrives once, in order, byte for byte."""
    for number in range(count):
        wanted = '{"type":"%s","payload":%s,"id":"%s"}' % (name, payload(name, number), id)
        await master.expect(wanted, id)


async def arrive_at_client(client, name, count):
    for number in range(count):
        await client.expect('{"type":"%s","payload":%s}' % (name, payload(name, number)))


async def both_ways(master, client, id, name, count, pause=0.0):
    """Exchanges this number of packets in both directions at once; nothing else may arrive."""
    async with asyncio.TaskGroup() as all:
        all.create_task(send_to_master(client, name, count, pause))
        all.create_task(send_to_client(master, id, name, count, pause))
        all.create_task(arrive_at_master(master, id, name, count))
        all.create_task(arrive_at_client(client, name, count))
    await client.expect_nothing()
    await master.expect_nothing(id)


@asynccontextmanager
async def undisturbed(name, there_and_back):
    """Repeats a function during the context, and checks that it never takes noticeably long."""

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
    assert max(times) < NOTICEABLE, f"{name}: it had to wait for other peers"
