"""Peers that flood, read nothing, or send what no client should."""

import asyncio
import struct

from wire import UPGRADE, Raw, frame, text
from world import must, world


async def end_somehow(raw):
    """Closes, resets, or waits until moss ends the connection."""
    how = world.chance.randrange(3)
    if how == 0:
        raw.reset()
    elif how == 1:
        await raw.read_to_the_end()
        raw.close()
    else:
        raw.close()


async def flood():
    """Floods, at a rate that a slow machine can handle; a slow master blocks it."""
    raw = await Raw.join()
    await raw.send(text('{"type":"login"}'))
    packets = text('{"type":"flood","payload":"%s"}' % ("f" * 2000)) * 10
    for _ in range(20):
        await raw.send(packets)
        await asyncio.sleep(0.05)
    await end_somehow(raw)


async def client_that_does_not_read():
    raw = await Raw.join(receive_buffer=4096)
    await raw.send(text('{"type":"login"}'))
    await raw.send(text('{"type":"feed"}'))
    await asyncio.sleep(2)
    await end_somehow(raw)


async def pings_without_reading_the_pongs():
    raw = await Raw.join(receive_buffer=4096)
    for _ in range(20):
        await raw.send(frame(0x89, b"p" * 100) * 50 + text('{"type":"ping"}') * 50)
        await asyncio.sleep(0.05)
    await end_somehow(raw)


async def rubbish_instead_of_a_head():
    raw = await Raw.connect()
    await raw.send(world.chance.randbytes(300))
    await end_somehow(raw)


async def half_a_head():
    raw = await Raw.connect()
    await raw.send(UPGRADE[: world.chance.randrange(len(UPGRADE))])
    await asyncio.sleep(1)
    await end_somehow(raw)


async def rubbish_instead_of_frames():
    raw = await Raw.join()
    await raw.send(world.chance.randbytes(2000))
    await end_somehow(raw)


async def half_a_frame():
    raw = await Raw.join()
    await raw.send(frame(0x81, b"h" * world.chance.randrange(50000), 60000))
    await asyncio.sleep(1)
    await end_somehow(raw)


async def half_a_message():
    raw = await Raw.join()
    await raw.send(frame(0x01, b"{") + frame(0x00, b" " * 100) * 200)
    await asyncio.sleep(1)
    await end_somehow(raw)


async def halves_beyond_the_memory():
    """Incomplete packets, together above the limit. moss drops some of these peers, and no others."""
    raws = [await Raw.join() for _ in range(40)]
    for raw in raws:
        try:
            await raw.send(frame(0x81, b"h" * 60000, 65000))
        except OSError:
            pass
    await asyncio.sleep(1)
    for raw in raws:
        raw.reset() if world.chance.random() < 0.5 else raw.close()


async def packet_above_the_limit():
    raw = await Raw.join()
    await raw.send(frame(0x81, b"t" * 1000, 70000))
    must(struct.pack(">H", 1009) in await raw.read_to_the_end(), "not told that it is too long")
    raw.close()


async def rubbish_instead_of_packets():
    raw = await Raw.join()
    rubbish = ["", "{", "[]", '{"type":1}', '{"type":"x","type":"y"}', '{"type":"set-master"}']
    for _ in range(50):
        await raw.send(text(world.chance.choice(rubbish)))
        await asyncio.sleep(0.01)
    await end_somehow(raw)


async def guesses_at_the_secret():
    raw = await Raw.join()
    for guess in range(5):
        await raw.send(text('{"type":"set-master","payload":{"secret":"%d"}}' % guess))
    must(struct.pack(">H", 1008) in await raw.read_to_the_end(), "may guess on")
    raw.close()
