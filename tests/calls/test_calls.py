"""Offers and answers: new calls, later offers of a call, late and repeated packets."""

import asyncio
import os
import re

from client import PATIENCE, Client, Line, name, on_line, until


async def test_a_call_is_answered_and_opens_a_line(box):
    async with on_line(box.address) as (client, line):
        assert await line.echo(1, {"deep": [1, None, "ü"]}) == 1


async def test_the_answer_names_its_offer(box):
    async with Client(box.address) as client:
        await client.introduce()
        line = Line(client)
        answer = await line.negotiate()
        assert answer["description"]["type"] == "answer"
        assert answer["media"] == []
        await line.close()


async def test_a_repeated_offer_gets_the_same_answer(box):
    async with Client(box.address) as client:
        await client.introduce()
        line = Line(client)
        offer = await line.offer()
        await client.say("offer", offer)
        first = await client.heard.wait("answer", call=line.call)
        await client.say("offer", offer)
        assert await client.heard.wait("answer", call=line.call) == first
        await line.close()


async def test_a_second_offer_of_the_same_call_keeps_the_line(box):
    async with on_line(box.address) as (client, line):
        line.pc.addTransceiver("audio", direction="recvonly")
        first = line.pc
        await line.negotiate()
        await client.say("offer", {**(await line.offer()), "n": 1})  # a late one
        assert await line.echo(1, "after it") == 1
        assert line.pc is first and line.is_open
        assert not client.heard.take("answer")


async def test_an_offer_over_the_line_is_answered_there(box):
    async with on_line(box.address) as (client, line):
        line.pc.addTransceiver("audio", direction="recvonly")
        line.say("offer", await line.offer())
        await line.accept(await line.heard.wait("answer", call=line.call, n=2))
        await line.echo(1, "after it")
        line.say("offer", {**(await line.offer()), "call": name()})  # of another call
        await line.echo(2, "it had no effect")
        assert not line.heard.take("answer")


async def test_a_restart_of_ice_is_answered_or_leads_to_a_new_call(box):
    async with on_line(box.address) as (client, line):
        offer = await line.offer()
        sdp = re.sub(r"(?m)^a=ice-ufrag:.*?(\r?)$", r"a=ice-ufrag:anew\1", offer["description"]["sdp"])
        sdp = re.sub(r"(?m)^a=ice-pwd:.*?(\r?)$", r"a=ice-pwd:0123456789012345678901\1", sdp)
        offer["description"]["sdp"] = sdp
        await client.say("offer", offer)
        heard = client.heard
        answered, sent_away = await until(
            "either", lambda: (found := (heard.take("answer", n=2), heard.take("welcome", call=line.call))) != (None, None) and found
        )
        if answered:
            old, new = (set(re.findall(r"a=ice-ufrag:(\S+)", each)) for each in (line.pc.remoteDescription.sdp, answered["payload"]["description"]["sdp"]))
            assert not old & new, "an answer to a restart has other credentials"
        else:
            assert sent_away["payload"]["known"] is False
        fresh = Line(client)
        await fresh.open()
        await fresh.echo(1, "by the new call")
        await fresh.close()


async def test_a_new_call_ends_the_old_one_for_good(box):
    async with on_line(box.address) as (client, old):
        late = await old.offer()
        new = Line(client)
        await new.open()
        await until("the old line ends", lambda: not old.is_open)
        await client.say("offer", late)
        assert (await client.introduce(call=new.call))["known"]
        assert not (await client.introduce(call=old.call))["known"]
        await new.echo(1, "still here")
        assert not client.heard.take("answer")
        await new.close()


async def test_a_line_whose_channel_is_closed_is_closed(box):
    async with on_line(box.address) as (client, line):
        assert (await client.introduce(call=line.call))["known"]
        line.channel.close()
        await until("it is closed", lambda: line.channel.readyState == "closed")
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while (await client.introduce(call=line.call))["known"]:
            assert asyncio.get_running_loop().time() < deadline, "the master keeps it"


async def test_late_candidates_do_no_harm(box):
    async with on_line(box.address) as (client, line):
        for call in (line.call, name()):
            candidate = "candidate:1 1 udp 2130706431 192.168.79.1 9 typ host"
            await client.say("candidate", {"call": call, "candidate": {"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0}})
            await client.say("candidate", {"call": call, "candidate": {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0}})
            await client.say("candidate", {"call": call, "candidate": None})
        await client.introduce()
        await line.echo(1, "still here")


async def test_members_that_left_leave_no_socket(box):
    def open_files():
        return len(os.listdir(f"/proc/{box.master.process.pid}/fd"))

    async with on_line(box.address) as (client, line):
        await line.echo(1, "warm")
    before = open_files()
    for _ in range(3):
        async with on_line(box.address, picture="picture") as (client, line):
            await line.echo(1, "hello")
            again = Line(client)
            await again.open()
            await again.close()
        async with Client(box.address) as client:  # which does not complete its call
            await client.introduce()
            await client.say("offer", await Line(client).offer())
            await client.heard.wait("answer")
    await until("all are closed", lambda: open_files() <= before)
