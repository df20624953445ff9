"""Messages that arrive once and in order, whichever path they take."""

import asyncio
import json
from collections import deque
from itertools import islice

LARGEST = 60_000  # bytes of JSON
MOST = 1 << 20  # bytes kept for a side that doesn't acknowledge
WINDOW = 64  # messages in flight
PATIENCE, LONGEST = 3, 24  # seconds without a new acknowledgement, until all is sent again


class Messages:
    """Both directions, each numbered from 1. `transmit(type, payload)` returns false if there
    is no path; `deliver(data)` gets what arrives."""

    def __init__(self, transmit, deliver):
        self.transmit, self.deliver = transmit, deliver
        self.received = 0  # the last number that arrived
        self.owed = 0  # messages since the last acknowledgement
        self.timer = None
        self.kept = deque()  # (data, bytes): sent, and not acknowledged
        self.bytes = 0
        self.acknowledged = 0
        self.sent = 0  # the last number that was sent on the present path
        self.waited = 0
        self.patience = PATIENCE

    def send(self, data):
        size = len(json.dumps(data, ensure_ascii=False).encode(errors="surrogatepass"))
        if size > LARGEST:
            raise ValueError(f"a message has at most {LARGEST} bytes")
        if self.bytes + size > MOST:
            return False
        if not self.kept:
            self.waited = 0
        self.kept.append((data, size))
        self.bytes += size
        self.pump()
        return True

    def pump(self):
        under_way = self.sent - self.acknowledged
        for data, _ in list(islice(self.kept, under_way, WINDOW)):
            if not self.transmit("message", {"n": self.sent + 1, "data": data}):
                return
            self.sent += 1

    def again(self):
        """Sends again all that may be lost: there is a path, perhaps a new one."""
        self.waited = 0
        self.sent = self.acknowledged
        self.pump()
        if self.received:
            self.acknowledge()

    def tick(self, seconds):
        self.waited += seconds
        if self.kept and self.waited >= self.patience:
            self.patience = min(2 * self.patience, LONGEST)  # repeating makes a slow path slower
            self.again()

    def hear_ack(self, n):
        new = min(n - self.acknowledged, len(self.kept))
        if new <= 0:
            return
        for _ in range(new):
            self.bytes -= self.kept.popleft()[1]
        self.acknowledged += new
        self.sent = max(self.sent, self.acknowledged)
        self.waited = 0
        self.patience = PATIENCE
        self.pump()

    def hear(self, n, data):
        if n > self.received + 1:
            return  # one is missing: the sender repeats them
        new = n == self.received + 1
        if new:
            self.received = n
            self.deliver(data)
        self.owed += 1
        if not new or self.owed >= 16:
            self.acknowledge()
        elif self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(0.1, self.acknowledge)

    def acknowledge(self):
        self.stop()
        self.owed = 0
        self.transmit("ack", {"n": self.received})

    def stop(self):
        if self.timer:
            self.timer.cancel()
        self.timer = None
