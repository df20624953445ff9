"""A master's connection to moss: logs in, comes back, and passes packets on."""

import asyncio
import json
import random
import time

from websockets import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

LONGEST_PAUSE = 10  # seconds, before moss is tried again
GOOD = 10  # seconds, after which a connection makes earlier failures forgotten
BACKLOG = 1000  # packets that wait for moss; more are dropped
LARGEST = 262_144  # MOSS_MAX_PACKET_BYTES: whoever sends more is closed by moss

# Ends that are no use coming back from.
FINAL = {"replaced": "another master took over", "wrong-secret": "the secret is wrong"}


class Stop(Exception):
    """There is no sense in going on, for this reason."""


async def serve(calls, address, secret):
    """Keeps `calls` in touch with moss. Returns why there is no sense in going on;
    cancelled, it says goodbye to all."""
    ticking = asyncio.ensure_future(tick(calls))
    failures = 0
    try:
        while True:
            began = time.monotonic()
            try:
                async with connect(address, ping_interval=10, ping_timeout=10, close_timeout=1) as websocket:
                    await talk(calls, websocket, secret)
                print("moss is away: connection lost", flush=True)
            except Stop as stop:
                return str(stop)
            except (OSError, WebSocketException) as error:
                print(f"moss is away: {error}", flush=True)
            failures = 0 if time.monotonic() - began > GOOD else failures + 1
            # Half of it by chance: not everybody comes back in the same moment.
            await asyncio.sleep(min(LONGEST_PAUSE, 0.5 * 2**failures) * random.uniform(0.5, 1))
    finally:
        ticking.cancel()
        calls.stop()


async def talk(calls, websocket, secret):
    outgoing = asyncio.Queue(BACKLOG)
    writing = asyncio.ensure_future(write(websocket, outgoing))

    def send(packet):
        if outgoing.full():
            return False
        outgoing.put_nowait(packet)
        return True

    try:
        send({"type": "set-master", "payload": {"secret": secret, "sdp": calls.invitation}})
        async for message in websocket:
            try:
                packet = json.loads(message)
            except (ValueError, RecursionError):
                continue  # a client's payload that Python can't read: nested too deeply, for instance
            if "id" not in packet:  # moss itself speaks
                if packet["type"] == "master-confirmation":
                    print("master", flush=True)
                    calls.connected(send)
                elif packet["type"] == "moss-error" and packet["payload"]["code"] in FINAL:
                    raise Stop(FINAL[packet["payload"]["code"]])
            calls.heard(packet)
    except asyncio.CancelledError:
        calls.stop()
        send(None)
        await asyncio.wait([writing], timeout=1)  # the goodbyes are on their way
        raise
    finally:
        calls.disconnected()
        writing.cancel()


async def write(websocket, outgoing):
    """Until the connection or, by None, the queue ends."""
    try:
        while (packet := await outgoing.get()) is not None:
            text = json.dumps(packet)
            if len(text) <= LARGEST:
                await websocket.send(text)
    except ConnectionClosed:
        pass  # whoever reads hears of it, too


async def tick(calls):
    while True:
        await asyncio.sleep(1)
        calls.tick()
