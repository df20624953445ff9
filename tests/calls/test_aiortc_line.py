"""examples/python/aiortc_line.py alone: behaviour that a client can't see, or only after minutes."""

import asyncio
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from aioice import stun, turn

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/python"))

from aiortc import RTCConfiguration, RTCPeerConnection  # noqa: E402
from aiortc_line import Line  # noqa: E402


class Call:
    def __init__(self):
        self.calls = []

    def closed(self):
        self.calls.append("closed")


@pytest.mark.parametrize("state, calls", [("connecting", []), ("connected", []), ("failed", ["closed"]), ("closed", ["closed"])])
async def test_a_line_that_failed_is_closed(state, calls):
    line = Line(Call(), {})
    await line.pc.close()
    line.call.calls.clear()
    line.pc = SimpleNamespace(connectionState=state)
    line.see_state()
    assert line.call.calls == calls


async def test_an_unknown_channel_is_closed():
    closed = []
    line = Line(Call(), {})
    line.take_channel(SimpleNamespace(label="another", close=lambda: closed.append(True)))
    assert closed
    await line.pc.close()


async def test_an_offer_of_many_media_is_refused():
    line = Line(Call(), {})
    with pytest.raises(ValueError, match="too many"):
        await line.answer({"type": "offer", "sdp": "v=0" + "\nm=video" * 17}, [])
    await line.pc.close()


async def test_media_without_a_reader_are_not_received():
    client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    client.addTransceiver("video", direction="sendrecv")
    client.addTransceiver("audio", direction="sendonly")
    await client.setLocalDescription(await client.createOffer())
    line = Line(Call(), {})
    answer, media = await line.answer({"type": "offer", "sdp": client.localDescription.sdp}, [])
    assert answer["sdp"].count("a=inactive") == 2 and media == []
    await line.pc.close()
    await client.close()


async def test_a_relay_is_requested_with_the_clients_credentials():
    client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    client.createDataChannel("moss")
    await client.setLocalDescription(await client.createOffer())
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        url = "turn:127.0.0.1:%d" % server.getsockname()[1]
        line = Line(Call(), {}, [{"urls": [url], "username": "user", "credential": "password"}])
        answering = asyncio.ensure_future(line.answer({"type": "offer", "sdp": client.localDescription.sdp}, []))
        for _ in range(2):  # the second request has the credentials
            data, address = await asyncio.wait_for(loop.sock_recvfrom(server, 2000), 60)
            asked = stun.parse_message(data)
            refusal = stun.Message(asked.message_method, stun.Class.ERROR, asked.transaction_id)
            refusal.attributes = {"ERROR-CODE": (401, "Unauthorized"), "REALM": "moss", "NONCE": b"once"}
            await loop.sock_sendto(server, bytes(refusal), address)
    assert asked.message_method == stun.Method.ALLOCATE
    assert asked.check_message_integrity(turn.make_integrity_key("user", "moss", "password"))
    await answering  # the answer then has no relay
    await line.pc.close()
    await client.close()
