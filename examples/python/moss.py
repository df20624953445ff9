"""A master's connection to moss: logs in, reconnects, and passes packets on."""

import asyncio
import json
import random
import time

from websockets import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

LONGEST_PAUSE = 10  # seconds, before the next try
GOOD = 10  # seconds, after which a connection resets the pause
BACKLOG = 1000  # packets that wait for moss; more are dropped
LARGEST = 262_144  # MOSS_MAX_PACKET_BYTES: moss closes a connection that sends a longer packet

# Errors after which a reconnect would not help.
FINAL = {"replaced": "another master took over", "wrong-secret": "the secret is wrong"}


class Stop(Exception):
    """Trying again would not help, for this reason."""


async def serve(calls, address, secret):
    """Keeps `calls` connected to moss. Returns why trying again would not help. When
    cancelled, it tells all members that the master leaves."""
    ticking = asyncio.ensure_future(tick(calls))
    failures = 0
    try:
        while True:
            began = time.monotonic()
            try:
                async with connect(address, ping_interval=10, ping_timeout=10, close_timeout=1) as websocket:
                    await talk(calls, websocket, secret)
                print("moss is unreachable: connection lost", flush=True)
            except Stop as stop:
                return str(stop)
            except (OSError, WebSocketException) as error:
                print(f"moss is unreachable: {error}", flush=True)
            failures = 0 if time.monotonic() - began > GOOD else failures + 1
            # Random, so that not all come back at the same moment.
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
                continue  # a client's payload that Python can't read, for instance one nested too deeply
            if "id" not in packet:  # from moss itself
                if packet["type"] == "master-confirmation":
                    print("master", flush=True)
                    calls.connected(send)
                elif packet["type"] == "moss-error" and packet["payload"]["code"] in FINAL:
                    raise Stop(FINAL[packet["payload"]["code"]])
            calls.heard(packet)
    except asyncio.CancelledError:
        calls.stop()
        send(None)
        await asyncio.wait([writing], timeout=1)  # to send the last packets
        raise
    finally:
        calls.disconnected()
        writing.cancel()


async def write(websocket, outgoing):
    """Writes until the connection ends, or until None comes from the queue."""
    try:
        while (packet := await outgoing.get()) is not None:
            text = json.dumps(packet)
            if len(text) <= LARGEST:
                await websocket.send(text)
    except ConnectionClosed:
        pass  # the reading side notices it, too


async def tick(calls):
    while True:
        await asyncio.sleep(1)
        calls.tick()
