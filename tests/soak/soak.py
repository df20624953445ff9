"""All kinds of peers at once against one moss, for as long as you like.

    soak.py PORT PID SECONDS

- Honest clients connect, log in, send numbered packets and get each one back from the master. They
  leave by a Close or a reset, or fall silent with an open connection.
- Honest masters replace each other. In between there are slow masters, which read nothing while
  clients flood, and times without a master.
- Others flood; cause much output and read nothing; send invalid bytes, incomplete requests,
  frames and messages, wrong secrets, and packets above the limit; or request /health.

The promises to honest peers are checked all the time, and the first violation ends the soak with
status 1: each packet arrives once, in order, unchanged and under one id, at the present master
or the previous one; silent peers are dropped; nobody waits for long.

moss's resident memory and descriptors are sampled all the time. Their means over the last five
minutes must be within a tenth of those over minutes five to ten (in shorter soaks: the last fifth
and the second fifth). At the end no descriptor of a connection may be left. Prints one line.

One process and one thread, paced so that it takes about a quarter of a core.
"""

import asyncio
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

from honest import (
    SECRET,
    Master,
    client_that_closes,
    client_that_falls_silent,
    client_that_resets,
    guest,
    visitor,
)
from hostile import (
    client_that_does_not_read,
    flood,
    guesses_at_the_secret,
    half_a_frame,
    half_a_head,
    half_a_message,
    halves_beyond_the_memory,
    packet_above_the_limit,
    pings_without_reading_the_pongs,
    rubbish_instead_of_a_head,
    rubbish_instead_of_frames,
    rubbish_instead_of_packets,
)
from wire import Raw, text
from world import PATIENCE, PID, SECONDS, later, must, world

# How many peers are active at a time.
CROWD = 100

# The means over two windows of this many seconds are compared: the second one, and the last one.
WINDOW = min(300, SECONDS / 5)
TOLERANCE = 0.1

# The kinds of peers, and how many of each in a deck. A deck is used up before it is shuffled
# again: otherwise chance would change the means.
DECK = [
    *[client_that_closes] * 10,
    *[client_that_resets] * 5,
    *[client_that_falls_silent] * 3,
    *[guest] * 4,
    *[visitor] * 3,
    *[flood] * 3,
    client_that_does_not_read,
    pings_without_reading_the_pongs,
    rubbish_instead_of_a_head,
    half_a_head,
    rubbish_instead_of_frames,
    half_a_frame,
    half_a_message,
    halves_beyond_the_memory,
    packet_above_the_limit,
    rubbish_instead_of_packets,
    guesses_at_the_secret,
]


def cards():
    while True:
        deck = DECK.copy()
        world.chance.shuffle(deck)
        yield from deck


async def crowd(deck):
    """Runs peers one after another, until the end."""
    while not world.is_over:
        act = next(deck)
        try:
            await act()
        except ConnectionError:
            # moss may drop these peers at any time. One that still sends gets a reset.
            must(act not in HONEST, act.__name__)
        await asyncio.sleep(world.chance.uniform(0, 0.5))


HONEST = [client_that_closes, client_that_resets, client_that_falls_silent, guest, visitor]


async def run_masters():
    """Runs masters one after another. Returns the last one."""
    turn = 0
    while True:
        before = world.master
        master = await Master.claim()
        if before:
            later(before.retire())
        if world.losses % 2:
            world.losses += 1
        if world.is_over:
            return master
        await asyncio.sleep(8)
        turn += 1
        if turn % 3 == 0:
            await without_honest_master(slow=turn % 2 == 0)


async def without_honest_master(slow):
    """A time with a slow master, which reads nothing, or without a master."""
    world.losses += 1
    master, world.master = world.master, None
    master.is_replaced = True
    if slow:
        raw = await Raw.join(receive_buffer=4096)
        claim = {"type": "set-master", "payload": {"secret": SECRET, "sdp": "slow"}}
        world.masters += 1
        await raw.send(text(json.dumps(claim)))
        later(master.retire())
        # Clients flood, and have to wait; then the slow master is dropped or replaced.
        await asyncio.sleep(4)
        later(late_end(raw))
    else:
        await master.retire()
        await asyncio.sleep(2)


async def late_end(raw):
    await asyncio.sleep(4)
    raw.reset()


def sample():
    status = Path(f"/proc/{PID}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0])
    return resident, len(os.listdir(f"/proc/{PID}/fd"))


async def sampling(samples):
    while not world.is_over:
        await asyncio.sleep(2)
        samples.append((time.monotonic() - world.begin, *sample()))


def means(samples, begin):
    chosen = [values for at, *values in samples if begin <= at < begin + WINDOW]
    return [sum(column) / len(column) for column in zip(*chosen)]


async def none_left(what, count):
    """Waits until `count` returns 0. moss notices the ends of connections in its own time."""
    patience = time.monotonic() + PATIENCE
    while left := count():
        must(time.monotonic() < patience, f"{left} {what} are left")
        await asyncio.sleep(0.5)


async def soak():
    descriptors = sample()[1]
    samples = []
    deck = cards()
    async with asyncio.TaskGroup() as world.group:
        last_master = later(run_masters())
        later(sampling(samples))
        coming = []
        for _ in range(CROWD):
            coming.append(later(crowd(deck)))
            await asyncio.sleep(0.1)
        master = await last_master
        await asyncio.wait(coming)
        while world.clients:
            await asyncio.sleep(0.5)
        # moss reports all clients that left.
        await none_left("clients", lambda: len(master.present))
        await master.connection.close()
    await none_left("descriptors", lambda: max(0, sample()[1] - descriptors))
    must(world.complete > SECONDS / 10, "hardly any client lived without a change of masters")
    return samples


def seconds_of_cpu():
    ticks = Path(f"/proc/{PID}/stat").read_text().rpartition(")")[2].split()
    own = resource.getrusage(resource.RUSAGE_SELF)
    moss = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return own.ru_utime + own.ru_stime, moss


def main():
    try:
        samples = asyncio.run(soak())
    except Exception as error:
        traceback.print_exc()
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        print(f"soak: failed after {time.monotonic() - world.begin:.0f} s: {error!r}")
        return 1
    changes = []
    steady = True
    for what, first, last in zip(
        ["kB resident", "descriptors"], means(samples, WINDOW), means(samples, SECONDS - WINDOW)
    ):
        change = last / first - 1
        steady &= abs(change) <= TOLERANCE
        changes.append(f"{first:.1f} to {last:.1f} {what} ({change:+.1%})")
    own, moss = seconds_of_cpu()
    print(
        f"soak: {SECONDS:.0f} s, {world.connections} connections, {world.masters} masters, "
        f"{world.checked} packets checked, {world.complete} clients got all, "
        f"longest wait {world.longest:.2f} s, {', '.join(changes)}, "
        f"CPU {own / SECONDS:.0%} here and {moss / SECONDS:.0%} moss: "
        + ("passed" if steady else "failed, not steady")
    )
    return not steady


sys.exit(main())
