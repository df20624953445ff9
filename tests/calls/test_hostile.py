"""Hostile clients: whatever one client does, others are not affected."""

import json

import pytest

from client import Client, Line, name, on_line, until

DEEP = json.loads("[" * 500 + "]" * 500)
RUBBISH = [None, 7, "text", [], {}, {"n": -1}, {"n": 10**400}, {"n": 1.5}, {"n": True}, {"call": []}, {"n": 1, "call": "c" * 65}, DEEP]
SDPS = [
    "",
    "v=0",
    "\0",
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 3000,
    "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n",
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio x y z\r\n",
]


async def everybody_else_is_fine(box, line, n):
    await line.echo(n, f"fine {n}")
    async with on_line(box.address) as (_, new):
        await new.echo(1, "newcomers are fine, too")


@pytest.mark.parametrize("type", ["member", "offer", "answer", "candidate", "media", "message", "ack", "bye", "welcome", "refused", "kick", "no-such"])
async def test_invalid_packets_through_moss(box, type):
    async with on_line(box.address) as (_, other), Client(box.address) as client:
        await client.introduce()
        for payload in RUBBISH:
            await client.say(type, payload)
            await client.say(type, {"session": client.session, "life": client.life, "call": name(), "n": 1, "description": payload, "media": payload, "candidate": payload, "data": payload})
        await client.introduce()
        await everybody_else_is_fine(box, other, 1)


@pytest.mark.parametrize("text", ["[" * 50_000 + "]" * 50_000, "9" * 50_000, '"\\ud800"', "1e999"], ids=["deep", "long", "half", "endless"])
async def test_payloads_that_some_languages_can_not_parse(box, text):
    async with on_line(box.address) as (_, other), on_line(box.address) as (client, line):
        for type in ("member", "no-such"):
            await client.websocket.send(f'{{"type":"{type}","payload":{text}}}')
        message = f'"session":"{client.session}","life":"{client.life}","n":1,"data":{text}'
        await client.websocket.send(f'{{"type":"message","payload":{{{message}}}}}')
        line.channel.send(f'{{"type":"message","payload":{{"n":1,"data":{text}}}}}')
        await everybody_else_is_fine(box, other, 1)


async def test_nesting_of_any_depth(box):
    async with on_line(box.address) as (_, other), on_line(box.address) as (client, line):
        for depth in range(900, 1001, 5):
            line.channel.send('{"type":"message","payload":{"n":1,"data":' + "[" * depth + "]" * depth + "}}")
        await until("it is read", lambda: line.channel.bufferedAmount == 0)
        await everybody_else_is_fine(box, other, 1)


async def test_a_client_that_repeats_member_delays_nobody(box):
    async with Client(box.address) as client, Client(box.address) as other:
        for _ in range(1000):
            await client.say("member", {"session": client.session, "key": client.key, "life": client.life})
        assert (await other.introduce())["wait"] < 5000


async def test_invalid_packets_in_the_channel(box):
    async with on_line(box.address) as (_, other), on_line(box.address) as (client, line):
        for text in ("", "{", "null", "7", "[]", "{}", '{"type":7}', '{"type":"message","payload":{"n":NaN,"data":1}}', "[" * 20000, b"\xff\0"):
            line.channel.send(text)
        for type in ("member", "offer", "answer", "candidate", "media", "message", "ack", "bye", "welcome", "kick"):
            for payload in RUBBISH:
                line.say(type, payload)
        await until("it is read", lambda: line.channel.bufferedAmount == 0)
        assert (await client.introduce(call=line.call))["known"]
        await everybody_else_is_fine(box, other, 1)


@pytest.mark.parametrize("sdp", SDPS, ids=range(len(SDPS)))
async def test_invalid_offers(box, sdp):
    async with on_line(box.address) as (_, other), Client(box.address) as client:
        await client.introduce()
        await client.say("offer", {"call": name(), "n": 1, "description": {"type": "offer", "sdp": sdp}, "media": []})
        await everybody_else_is_fine(box, other, 1)
        line = Line(client)  # a valid call is still accepted
        await line.open()
        await line.close()


async def test_offers_whose_answer_would_be_huge(box):
    """moss closes a master that sends more than MOSS_MAX_PACKET_BYTES."""
    async with on_line(box.address) as (_, other), Client(box.address) as client:
        await client.introduce()
        line = Line(client, picture="picture")
        offer = await line.offer()
        long = "x" * 90_000
        sdp = offer["description"]["sdp"].replace("a=mid:0", f"a=mid:{long}").replace("BUNDLE 0", f"BUNDLE {long}")
        media = [{"mid": long, "name": "picture", "on": False}]
        await client.say("offer", {**offer, "description": {"type": "offer", "sdp": sdp}, "media": media})
        many = sdp + "".join(f"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:m{n}\r\n" for n in range(3000))
        await client.say("offer", {**offer, "call": name(), "description": {"type": "offer", "sdp": many}})
        await client.say("offer", {**offer, "call": name(), "n": 10**4000})
        await client.say("member", {"session": client.session, "key": client.key, "life": client.life, "call": [1e20] * 30_000})
        await client.say("member", {"session": client.session, "key": client.key, "life": client.life, "hello": [1e20] * 30_000})
        await everybody_else_is_fine(box, other, 1)
        await line.close()


async def test_offers_of_thousands_of_candidates(box):
    async with on_line(box.address) as (_, other), Client(box.address) as client:
        await client.introduce()
        line = Line(client)
        offer = await line.offer()
        candidates = "".join(f"a=candidate:{n} 1 udp {n} 192.168.79.{n % 250 + 2} {2000 + n} typ host\r\n" for n in range(3000))
        offer["description"]["sdp"] += candidates
        for _ in range(5):
            await client.say("offer", {**offer, "call": name()})
        await everybody_else_is_fine(box, other, 1)
        await line.close()


async def test_a_message_in_any_script_comes_back(box):
    async with on_line(box.address) as (client, line):
        await line.echo(1, "\u4e16" * 19_000)


async def test_invalid_packets_for_an_open_line(box):
    async with on_line(box.address) as (_, other), on_line(box.address) as (client, line):
        for n, sdp in enumerate(SDPS, 2):
            await client.say("offer", {"call": line.call, "n": n, "description": {"type": "offer", "sdp": sdp}, "media": [{}]})
        await everybody_else_is_fine(box, other, 1)


async def test_a_thousand_calls(box):
    async with on_line(box.address) as (_, other), Client(box.address) as client:
        await client.introduce()
        lines = Line(client)
        offer = await lines.offer()
        for _ in range(1000):
            await client.say("offer", {**offer, "call": name()})
        await everybody_else_is_fine(box, other, 1)
        answers = sum(packet["type"] == "answer" for packet in client.heard.all)
        assert answers < 50, answers
        await lines.close()


async def test_a_flood_of_candidates(box):
    async with on_line(box.address) as (_, other), on_line(box.address) as (client, line):
        for port in range(2000):
            host = f"{port}.local" if port % 2 else "192.168.79.9"
            text = f"candidate:1 1 udp 2130706431 {host} {1024 + port} typ host"
            await client.say("candidate", {"call": line.call, "candidate": {"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}})
        await everybody_else_is_fine(box, other, 1)
        await line.echo(1, "even to the flooder")


async def test_a_flood_of_lives(box):
    async with on_line(box.address) as (_, other), Client(box.address) as client:
        line = Line(client)
        offer = await line.offer()
        for _ in range(300):
            life = name()
            await client.say("member", {"session": client.session, "key": client.key, "life": life})
            await client.say("offer", {**offer, "call": name()})
            await client.say("bye", {"life": life})
        await everybody_else_is_fine(box, other, 1)
        answers = sum(packet["type"] == "answer" for packet in client.heard.all)
        assert answers < 50, answers
        await line.close()


async def test_a_flood_without_acknowledgements(box):
    async with on_line(box.address) as (_, other), Client(box.address) as client:
        await client.introduce(fallback=True)
        for n in range(1, 5000):
            await client.message(n, "x" * 1000)
        await everybody_else_is_fine(box, other, 1)


@pytest.mark.parametrize("type, payload", [("moss-error", {"code": "replaced"}), ("moss-error", {"code": "wrong-secret"}), ("master-left", "")])
async def test_a_clients_packet_is_not_taken_for_one_of_moss(box, type, payload):
    async with on_line(box.address) as (_, other), Client(box.address) as client:
        await client.introduce()
        await client.say(type, payload)
        await everybody_else_is_fine(box, other, 1)
        assert box.moss.health()["master"]
