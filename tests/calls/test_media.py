"""The master's picture, for clients that offer to receive it by its name."""

import asyncio

from client import Client, Line, on_line


async def frames(line, count):
    return [await asyncio.wait_for(line.video.receiver.track.recv(), 30) for _ in range(count)]


async def test_a_client_that_asks_for_the_picture_gets_it(box):
    async with Client(box.address) as client:
        await client.introduce()
        line = Line(client, picture="picture")
        answer = await line.open()
        assert [(each["mid"], each["name"], each["on"]) for each in answer["media"]] == [(line.video.mid, "picture", True)]
        seen = await frames(line, 20)
        assert seen[-1].width > 0
        await line.echo(1, "beside it")
        await line.close()


async def test_a_medium_of_another_name_gets_no_picture(box):
    async with on_line(box.address, picture="something else") as (client, line):
        await line.echo(1, "only words")
        assert line.video.currentDirection in ("inactive", "recvonly")
        assert not [each for each in (await line.pc.getStats()).values() if each.type == "inbound-rtp" and each.packetsReceived]


async def test_a_client_that_asks_twice_gets_it_once(box):
    async with Client(box.address) as client:
        await client.introduce()
        line = Line(client, picture="picture")
        more = [line.pc.addTransceiver("video", direction="recvonly") for _ in range(5)]
        offer = await line.offer()
        offer["media"] += [{"mid": each.mid, "name": "picture", "on": False} for each in more]
        await client.say("offer", offer)
        answer = await client.heard.wait("answer", call=line.call)
        assert len(answer["media"]) == 1, answer["media"]
        assert answer["description"]["sdp"].count("a=sendonly") == 1
        await line.accept(answer)
        await frames(line, 5)
        await line.close()


async def test_the_picture_goes_on_after_another_offer_and_while_moss_is_down(own_box):
    async with on_line(own_box.address, picture="picture") as (client, line):
        await frames(line, 5)
        line.pc.addTransceiver("audio", direction="recvonly")
        answer = await line.negotiate()
        assert ("picture", True) in [(each["name"], each["on"]) for each in answer["media"]]
        await frames(line, 5)
        own_box.moss.kill()
        await client.reading
        await frames(line, 20)
        own_box.moss.start()


async def test_three_see_it_at_once(box):
    async with (
        on_line(box.address, picture="picture") as (_, one),
        on_line(box.address, picture="picture") as (_, two),
        on_line(box.address, picture="picture") as (_, three),
    ):
        await asyncio.gather(*(frames(line, 20) for line in (one, two, three)))
        await two.close()
        await asyncio.gather(*(frames(line, 20) for line in (one, three)))


async def test_media_from_a_client_do_no_harm(box):
    """The master has no use for the client's camera."""
    from aiortc import VideoStreamTrack

    async with on_line(box.address) as (client, line):
        line.video = line.pc.addTransceiver(VideoStreamTrack(), direction="sendonly")
        line.picture = "camera"
        await line.negotiate()
        await line.echo(1, "heard beside it")
        line.say("media", {"call": line.call, "media": [{"mid": line.video.mid, "name": "camera", "on": True}]})
        line.say("media", {"call": line.call, "media": "rubbish"})
        await line.echo(2, "and on")
