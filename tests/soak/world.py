"""What the peers of a soak know about each other: they share one process."""

import random
import sys
import time

PORT, PID, SECONDS = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

# Time limit of each wait: only a hang takes this long, even on a busy machine.
PATIENCE = 60

# How long moss may take for an answer. Clients may have to wait for a slow master (half of the
# keepalive), guests for nobody.
NOTICEABLE = 5


class Fault(Exception):
    """A promise of moss is broken."""


def must(holds, *what):
    if not holds:
        raise Fault(*what)


class World:
    """The present peers, what they may expect, and the counters."""

    def __init__(self):
        self.begin = time.monotonic()
        self.chance = random.Random(1)
        # How many masters there were. Packets from the previous one are refused.
        self.masters = 0
        # Grows at the start and at the end of a time in which packets may be lost, because the
        # master is dropped or there is none: it is odd during that time.
        self.losses = 0
        self.clients = {}
        self.master = None
        self.connections = 0
        self.checked = 0
        self.complete = 0
        self.longest = 0.0

    @property
    def is_over(self):
        return time.monotonic() > self.begin + SECONDS

    def waited(self, since):
        wait = time.monotonic() - since
        self.longest = max(self.longest, wait)
        must(wait < NOTICEABLE, f"waited {wait:.1f} s")


world = World()


def later(coroutine):
    """Runs the coroutine beside the others. If it fails, the soak ends."""
    return world.group.create_task(coroutine)
