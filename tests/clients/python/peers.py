"""A master and five clients against a real moss, with the `websockets` library.

    peers.py ws://127.0.0.1:8080/        # or wss://, from an authority in SSL_CERT_FILE

The secret and the offer's type are taken from moss's variables. Each step prints a line; the
first violation of the protocol ends the script with status 1.
"""

import asyncio
import json
import os
import sys

from websockets.asyncio.client import connect

URL = sys.argv[1]
SECRET = os.environ["MOSS_CONNECTION_SECRET"]
OFFER = os.environ["MOSS_CONNECTION_OFFER_TYPE"]
PATIENCE = 60


class Peer:
    """A connection that sends and receives packets."""

    @classmethod
    async def connect(cls):
        peer = cls()
        peer.socket = await connect(URL, open_timeout=PATIENCE)
        return peer

    async def send(self, type, payload=None, **more):
        packet = {"type": type, **more}
        if payload is not None:
            packet["payload"] = payload
        await self.socket.send(json.dumps(packet))

    async def expect(self, type, payload):
        """The next packet must have this type and payload. Returns the packet."""
        packet = await self.receive()
        assert (packet["type"], packet["payload"]) == (type, payload), packet
        return packet

    async def expect_error(self, code):
        packet = await self.receive()
        assert packet["type"] == "moss-error", packet
        assert packet["payload"]["code"] == code, packet

    async def expect_nothing(self):
        """No packet may be waiting: the answer to a ping must be the next one."""
        await self.send("ping")
        await self.expect("pong", "")

    async def receive(self):
        async with asyncio.timeout(PATIENCE):
            text = await self.socket.recv()
        assert isinstance(text, str), "packets come as text"
        return json.loads(text)

    async def set_master(self, sdp):
        await self.send("set-master", {"secret": SECRET, "sdp": sdp})
        await self.expect("master-confirmation", "")

    async def close(self):
        await self.socket.close()


async def forward_both_ways(master, clients):
    """Each client exchanges a packet with the master. Returns the clients' ids."""
    ids = []
    for number, client in enumerate(clients):
        answer = {"sdp": f"answer {number}", "number": 18446744073709551616}
        await client.send("answer", answer)
        packet = await master.expect("answer", answer)
        ids.append(packet["id"])
    for number, id in enumerate(ids):
        await master.send("candidate", [number, None], id=id)
    for number, client in enumerate(clients):
        packet = await client.expect("candidate", [number, None])
        assert "id" not in packet, packet
    for peer in [master, *clients]:
        await peer.expect_nothing()
    return ids


async def expect_offer(clients, sdp):
    for client in clients:
        await client.expect(OFFER, sdp)


async def main():
    clients = [await Peer.connect() for _ in range(5)]
    for client in clients:
        await client.send("login")
        await client.expect_nothing()
    print("login: five clients, and no offer without a master")

    first = await Peer.connect()
    await first.set_master({"sdp": "first"})
    await expect_offer(clients, {"sdp": "first"})
    print("offer: sent to each client")

    ids = await forward_both_ways(first, clients)
    assert len(set(ids)) == 5, ids
    await first.send("candidate", id="0")
    await first.expect_error("unknown-client")
    print("forward: in both directions, under five ids")

    second = await Peer.connect()
    await second.set_master({"sdp": "second"})
    await first.expect_error("replaced")
    await expect_offer(clients, {"sdp": "second"})
    assert await forward_both_ways(second, clients) == ids
    await first.expect_nothing()
    print("takeover: the old master is told, the ids stay")

    await second.close()
    await clients[0].send("answer")
    await clients[0].expect_error("no-master")
    await clients[0].send("login")
    await clients[0].expect_nothing()
    second = await Peer.connect()
    await second.set_master({"sdp": "restarted"})
    await expect_offer(clients, {"sdp": "restarted"})
    assert await forward_both_ways(second, clients) == ids
    print("restart: no stale offer, a new one to each client, the ids stay")

    for peer in [first, second, *clients]:
        await peer.close()
        assert peer.socket.close_code == 1000, peer.socket.close_code


asyncio.run(main())
