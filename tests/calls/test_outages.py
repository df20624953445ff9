"""What goes on and what ends in outages of moss, of a client's connection and of the master."""

import asyncio
import os
import signal

import pytest

from client import Client, Line, name, on_line, until


async def test_a_line_stays_up_while_moss_is_down(own_box):
    async with on_line(own_box.address) as (client, line):
        session = client.session
        await line.echo(1, "before")
        own_box.moss.kill()
        await client.reading
        await line.echo(2, "while moss is away")
        own_box.moss.start()
        await client.connect()
        assert client.session == session
        welcome = await client.introduce(call=line.call, again=True)
        assert welcome["known"] is True
        await line.echo(3, "after it")
        line.pc.addTransceiver("audio", direction="recvonly")
        await line.negotiate()  # with the new id
        await line.echo(4, "and on")
        assert line.is_open


async def test_a_call_may_be_completed_after_a_restart_of_moss(own_box):
    async with Client(own_box.address) as client:
        await client.introduce()
        line = Line(client)
        await line.negotiate()
        own_box.moss.kill()
        await until("the line opens all the same", lambda: line.is_open)
        await line.echo(1, "hello")
        await line.close()
        await client.reading
        own_box.moss.start()


async def test_a_line_stays_up_without_the_clients_connection(box):
    async with on_line(box.address) as (client, line):
        await line.echo(1, "before")
        await client.disconnect()
        await until("moss knows", lambda: box.moss.health()["clients"] == 0)
        await line.echo(2, "while it is not connected to moss")
        await client.connect()
        assert (await client.introduce(call=line.call, again=True))["known"]
        await line.echo(3, "after it")


async def test_the_new_id_may_come_before_the_old_one_has_left(box):
    async with on_line(box.address) as (client, line):
        async with Client(box.address, client.key, client.life) as again:
            assert (await again.introduce(call=line.call, again=True))["known"]
            assert not client.heard.take("refused")
            await client.disconnect()
            await until("moss knows", lambda: box.moss.health()["clients"] == 1)
            line.client = again
            line.pc.addTransceiver("audio", direction="recvonly")
            await line.negotiate()
            await line.echo(1, "still here")
            await client.connect()


@pytest.mark.skipif(os.environ.get("MOSS_CALLS") != "long", reason="takes 40 s: MOSS_CALLS=long")
async def test_a_member_that_is_out_of_reach_for_long_is_gone(box):
    async with Client(box.address) as client:
        await client.introduce(fallback=True)
        await client.message(1, "before")
        await client.heard.wait("message", data="before")
        await client.disconnect()
        await asyncio.sleep(40)  # it is gone after 30, which a client can't see
        await client.connect()
        await client.say("member", {"session": client.session, "key": client.key, "life": client.life, "fallback": True, "again": True})
        # Either its message numbers go on, or it must begin a new life.
        gone, welcome = await until(
            "an answer", lambda: (found := (client.heard.take("refused", code="gone"), client.heard.take("welcome"))) != (None, None) and found
        )
        n = 2
        if gone:
            client.life = name()
            await client.introduce(fallback=True)
            n = 1
        await client.message(n, "after")
        await client.heard.wait("ack", n=n)
        await client.heard.wait("message", data="after")


async def test_a_master_that_ends_sends_bye_through_moss_and_over_the_line(own_box):
    async with on_line(own_box.address) as (client, line):
        await line.echo(1, "before")
        session = client.session
        own_box.master.stop(signal.SIGTERM)
        await client.heard.wait("bye", session=session)
        await line.heard.wait("bye", session=session)
        await until("the line ends", lambda: not line.is_open)


async def test_a_master_that_ends_while_moss_is_down_sends_bye_over_the_line(own_box):
    async with on_line(own_box.address) as (client, line):
        own_box.moss.kill()
        await client.reading
        await line.echo(1, "before")
        own_box.master.stop(signal.SIGTERM)
        await line.heard.wait("bye", session=client.session)
        own_box.moss.start()
