"""Members: `member`, `welcome` and `refused`."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from client import Client, Line, name, on_line, until


async def test_a_member_is_welcomed(box):
    async with Client(box.address) as client:
        welcome = await client.introduce(hello={"name": "Ada"})
        assert isinstance(welcome["iceServers"], list)
        assert welcome["wait"] >= 0
        assert not welcome.get("known")


async def test_a_call_that_the_master_does_not_have_is_reported_as_unknown(box):
    async with Client(box.address) as client:
        call = name()
        welcome = await client.introduce(call=call)
        assert (welcome["call"], welcome["known"]) == (call, False)


async def test_clients_that_come_at_once_do_not_all_get_the_same_wait(box):
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(box.address)) for _ in range(10)]
        # At once: the waits are short, and a client that comes after one has passed has none.
        welcomes = await asyncio.gather(*(client.introduce() for client in clients))
        waits = {welcome["wait"] for welcome in welcomes}
        assert len(waits) > 1, waits


@pytest.mark.parametrize("wrong", [{"key": 7}, {"key": ""}, {"key": "k" * 65}, {"life": None}, {"life": "l" * 65}, {"call": {}}])
async def test_invalid_names_are_refused(box, wrong):
    async with Client(box.address) as client:
        await client.say("member", {"session": client.session, "key": client.key, "life": client.life} | wrong)
        assert (await client.heard.wait("refused", code="invalid"))["message"]
        await client.introduce()


async def test_a_member_of_another_session_is_ignored(box):
    async with Client(box.address) as client:
        await client.say("member", {"session": name(), "key": client.key, "life": name()})
        await client.introduce()
        assert not client.heard.take("welcome")


@pytest.mark.parametrize("type", ["offer", "message"])
async def test_packets_without_a_member_are_refused(box, type):
    async with Client(box.address) as client:
        payload = {"call": name(), "n": 1, "description": {"type": "offer", "sdp": ""}, "media": [], "data": 1}
        await client.say(type, payload | {"session": client.session, "life": client.life})
        await client.heard.wait("refused", code="unknown")


async def test_one_connection_has_one_key(box):
    async with Client(box.address) as client, Client(box.address) as other:
        await client.introduce()
        await other.introduce()
        await client.say("member", {"session": client.session, "key": other.key, "life": name()})
        await client.heard.wait("refused", code="invalid")
        assert not other.heard.take("refused")


async def test_another_page_with_the_key_replaces_the_member(box):
    async with on_line(box.address) as (old, line):
        async with Client(box.address, key=old.key) as new:
            welcome = await new.introduce(call=line.call)
            assert not welcome["known"]
            await old.heard.wait("refused", code="moved")
            await until("the old line ends", lambda: not line.is_open)
            fresh = Line(new)
            await fresh.open()
            assert await fresh.echo(1, "from the start") == 1
            await fresh.close()


async def test_a_reloaded_page_begins_a_new_life(box):
    async with on_line(box.address) as (old, line):
        await line.echo(1, "old")
        line.say("bye", {"life": old.life})
        await until("the old line ends", lambda: not line.is_open)
        await old.disconnect()
        async with on_line(box.address, key=old.key) as (new, fresh):
            assert await fresh.echo(1, "new") == 1
            assert not new.heard.take("refused")


async def test_a_bye_ends_the_line_and_the_membership(box):
    async with on_line(box.address) as (client, line):
        await line.echo(1, "old")
        line.say("bye", {"life": client.life})
        await until("its line ends", lambda: not line.is_open)
        async with Client(box.address, key=client.key) as back:
            assert not (await back.introduce(call=line.call))["known"]


async def test_late_packets_of_an_old_connection_are_ignored(box):
    async with Client(box.address) as old:
        await old.introduce(at=1000)
        async with Client(box.address, key=old.key, life=old.life) as new:
            await new.introduce(at=3000)
            await old.say("member", {"session": old.session, "key": old.key, "life": old.life, "at": 2000})
            line = Line(new)
            await line.open()  # the answer goes to the new id
            async with Client(box.address, key=old.key) as before_a_reload:
                await before_a_reload.say("member", {"session": old.session, "key": old.key, "life": name(), "at": 2500})
                await line.echo(1, "still here")
            assert line.is_open and not new.heard.take("refused")
            await line.close()


async def test_a_bye_of_another_life_is_ignored(box):
    async with on_line(box.address) as (client, line):
        await client.say("bye", {"life": name()})
        assert (await client.introduce(call=line.call))["known"]
        await line.echo(1, "still here")


async def test_a_hello_may_be_changed_over_the_line(box):
    async with on_line(box.address) as (client, line):
        line.say("member", {"session": client.session, "key": client.key, "life": client.life, "hello": 2, "call": line.call})
        await line.echo(1, "still here")
