"""A client of the protocol "calls 1" that sends only what a test tells it to."""

import asyncio
import json
import secrets
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

PATIENCE = 60  # seconds: the time limit of each wait, for a busy machine


async def until(what, probe, patience=PATIENCE):
    """Waits until `probe` returns something true, and returns that."""
    deadline = asyncio.get_running_loop().time() + patience
    while not (found := probe()):
        assert asyncio.get_running_loop().time() < deadline, f"did not happen: {what}"
        await asyncio.sleep(0.01)
    return found


def name():
    return secrets.token_hex(16)


class Packets:
    """Received packets, in order; each is taken once."""

    def __init__(self):
        self.all = []

    def take(self, type, **wanted):
        for packet in self.all:
            payload = packet.get("payload")
            fits = not wanted or (isinstance(payload, dict) and wanted.items() <= payload.items())
            if packet["type"] == type and fits:
                self.all.remove(packet)
                return packet
        return None

    async def wait(self, type, patience=PATIENCE, **wanted):
        """The payload of the next packet of this type with these values."""
        try:
            return (await until(type, lambda: self.take(type, **wanted), patience)).get("payload")
        except AssertionError:
            raise AssertionError(f"no {type} {wanted} came, but {str(self.all)[:1000]}") from None


class Client:
    """One life of a page: sends packets through moss, and receives them."""

    def __init__(self, address, key=None, life=None):
        self.address = address
        self.key, self.life = key or name(), life or name()
        self.session = None
        self.heard = Packets()
        self.websocket = None
        self.reading = None

    async def __aenter__(self):
        await self.connect()
        return self

    async def __aexit__(self, *_):
        if not self.reading.done():  # the master then has room for others
            await self.say("bye", {"life": self.life})
        await self.disconnect()

    async def connect(self):
        async def there():
            try:
                return await connect(self.address)
            except OSError:
                return None

        deadline = asyncio.get_running_loop().time() + PATIENCE
        while (websocket := await there()) is None:
            assert asyncio.get_running_loop().time() < deadline, "moss does not accept connections"
            await asyncio.sleep(0.05)
        self.websocket = websocket
        self.reading = asyncio.ensure_future(self.read())
        await self.say("login", "")
        invitation = await self.heard.wait("master-offer")
        assert invitation["calls"] == 1
        self.session = invitation["session"]

    async def disconnect(self):
        await self.websocket.close()
        await self.reading

    async def read(self):
        try:
            async for message in self.websocket:
                self.heard.all.append(json.loads(message))
        except ConnectionClosed:
            pass

    async def say(self, type, payload):
        await self.websocket.send(json.dumps({"type": type, "payload": payload}))

    async def introduce(self, **more):
        """Sends `member`, and returns the welcome."""
        await self.say("member", {"session": self.session, "key": self.key, "life": self.life, **more})
        return await self.heard.wait("welcome", session=self.session, life=self.life)

    async def message(self, n, data):
        """Sends a message through moss."""
        await self.say("message", {"session": self.session, "life": self.life, "n": n, "data": data})

    async def ack(self, n):
        await self.say("ack", {"session": self.session, "life": self.life, "n": n})


class Line:
    """A call with aiortc: a peer connection and its two channels."""

    def __init__(self, client, picture=None):
        from aiortc import RTCConfiguration, RTCPeerConnection  # imported only if a line is needed

        self.client = client
        self.call = name()
        self.n = 0
        self.heard = Packets()
        self.datagrams = []
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.pc.createDataChannel("moss")
        self.channel.on("message", lambda text: self.heard.all.append(json.loads(text)))
        self.loose = self.pc.createDataChannel("moss-datagrams", ordered=False, maxRetransmits=0)
        self.loose.on("message", self.datagrams.append)
        self.video = self.pc.addTransceiver("video", direction="recvonly") if picture else None
        self.picture = picture

    async def offer(self):
        """The payload of the next `offer`."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self.n += 1
        media = [{"mid": self.video.mid, "name": self.picture, "on": False}] if self.video else []
        description = {"type": "offer", "sdp": self.pc.localDescription.sdp}
        return {"call": self.call, "n": self.n, "description": description, "media": media}

    async def accept(self, answer):
        from aiortc import RTCSessionDescription

        await self.pc.setRemoteDescription(RTCSessionDescription(**answer["description"]))

    async def negotiate(self):
        await self.client.say("offer", await self.offer())
        answer = await self.client.heard.wait("answer", call=self.call, n=self.n)
        await self.accept(answer)
        return answer

    async def open(self):
        answer = await self.negotiate()
        await until("the line is open", lambda: self.is_open)
        return answer

    @property
    def is_open(self):
        return self.pc.connectionState == "connected" and self.channel.readyState == "open"

    def say(self, type, payload):
        self.channel.send(json.dumps({"type": type, "payload": payload}))

    async def echo(self, n, data):
        """Sends the n-th message, and acknowledges the one that comes back."""
        self.say("message", {"n": n, "data": data})
        back = await self.heard.wait("message", data=data)
        self.say("ack", {"n": back["n"]})
        await until_acknowledged(self.heard, n)
        return back["n"]

    async def close(self):
        await self.pc.close()


async def until_acknowledged(heard, n):
    await until(
        f"{n} is acknowledged",
        lambda: any(packet["type"] == "ack" and packet["payload"]["n"] >= n for packet in heard.all),
    )


@asynccontextmanager
async def on_line(address, key=None, life=None, picture=None):
    """A client whose line is open."""
    async with Client(address, key, life) as client:
        await client.introduce()
        line = Line(client, picture)
        try:
            await line.open()
            yield client, line
        finally:
            await line.close()
