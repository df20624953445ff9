"""Messages: each once and in order, over the line and through moss."""

from client import Client, Line, name, on_line, until, until_acknowledged


async def test_each_message_is_delivered_once_and_in_order(box):
    async with on_line(box.address) as (client, line):
        for n in (1, 1, 3, 2, 1, 3, 3, 4):  # the first 3 comes too early
            line.say("message", {"n": n, "data": f"the {n}th"})
        await until_acknowledged(line.heard, 4)
        said = [(await line.heard.wait("message", n=n))["data"] for n in (1, 2, 3, 4)]
        assert said == ["the 1th", "the 2th", "the 3th", "the 4th"]


async def test_a_gap_is_not_acknowledged(box):
    async with on_line(box.address) as (client, line):
        line.say("message", {"n": 2, "data": "too early"})
        line.say("message", {"n": 1, "data": "first"})
        assert (await line.heard.wait("ack"))["n"] == 1
        back = await line.heard.wait("message")
        assert (back["n"], back["data"]) == (1, "first")


async def test_a_thousand_messages_arrive_in_order(box):
    async with on_line(box.address) as (client, line):
        sent = heard = 0
        while heard < 1000:
            while sent < 1000 and sent - heard < 50:
                sent += 1
                line.say("message", {"n": sent, "data": sent})
            back = await line.heard.wait("message")
            if back["n"] == heard + 1:  # otherwise it is a repetition
                heard += 1
                assert back["data"] == heard
            if heard % 10 == 0:
                line.say("ack", {"n": heard})
        await until_acknowledged(line.heard, 1000)


async def test_unacknowledged_messages_are_sent_again(box):
    async with on_line(box.address) as (client, line):
        line.say("message", {"n": 1, "data": "hear me"})
        first = await line.heard.wait("message")
        assert await line.heard.wait("message") == first
        line.say("ack", {"n": first["n"]})
        line.say("message", {"n": 2, "data": "and me"})
        await line.heard.wait("message", data="and me")


async def test_messages_go_through_moss_without_a_line(box):
    async with Client(box.address) as client:
        await client.introduce(fallback=True)
        await client.message(1, "by moss")
        await client.heard.wait("ack", session=client.session, life=client.life, n=1)
        back = await client.heard.wait("message", session=client.session, life=client.life)
        assert (back["n"], back["data"]) == (1, "by moss")
        await client.ack(1)


async def test_without_fallback_no_message_goes_through_moss(box):
    async with Client(box.address) as client:
        await client.introduce()
        await client.message(1, "for the line")
        line = Line(client)
        await line.open()
        assert (await line.heard.wait("message"))["data"] == "for the line"
        assert not client.heard.take("message")
        await line.close()


async def test_messages_lost_with_a_line_come_through_moss_and_over_the_next_line(box):
    async with Client(box.address) as client:
        await client.introduce(fallback=True)
        line = Line(client)
        await line.open()
        line.say("message", {"n": 1, "data": "a"})
        await line.heard.wait("message", data="a")  # not acknowledged
        await line.close()
        assert (await client.heard.wait("message", n=1))["data"] == "a"
        next = Line(client)
        await next.open()
        assert (await next.heard.wait("message", n=1))["data"] == "a"
        next.say("ack", {"n": 1})
        assert await next.echo(2, "b") == 2
        await next.close()


async def test_messages_of_another_life_or_session_are_ignored(box):
    async with Client(box.address) as client:
        await client.introduce(fallback=True)
        await client.say("message", {"session": client.session, "life": name(), "n": 1, "data": "another life's"})
        await client.say("message", {"session": name(), "life": client.life, "n": 1, "data": "another session's"})
        await client.say("ack", {"session": client.session, "life": name(), "n": 1})
        await client.message(1, "mine")
        assert (await client.heard.wait("message"))["data"] == "mine"


async def test_a_message_reaches_only_its_member(box):
    async with on_line(box.address) as (ada, hers), on_line(box.address) as (bob, his):
        await hers.echo(1, "ada's")
        await his.echo(1, "bob's")
        for line, other in ((hers, "bob's"), (his, "ada's")):
            assert not line.heard.take("message", data=other)


async def test_datagrams_come_back(box):
    async with on_line(box.address) as (client, line):
        await until("the channel is open", lambda: line.loose.readyState == "open")
        line.loose.send("now or never")
        await until("it comes back", lambda: line.datagrams == ["now or never"])
