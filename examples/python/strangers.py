"""Checks of what a client sends, and rate limits: a client may be anybody's program."""

import json
import time

HELLO = 4000  # bytes of JSON


class Refused(Exception):
    """A client's request is refused; the client gets `code` and `message`."""

    def __init__(self, code, message, **more):
        super().__init__(message)
        self.payload = {"code": code, "message": message, **more}


def name_in(payload, key):
    """A key, a life or a call from a payload; raises Refused if it is invalid."""
    value = payload.get(key) if isinstance(payload, dict) else None
    if isinstance(value, str) and 1 <= len(value) <= 64:
        return value
    raise Refused("invalid", f"{key} must be a text of 1 to 64 characters")


def hello_in(payload):
    hello = payload.get("hello")
    if len(json.dumps(hello, ensure_ascii=False).encode(errors="surrogatepass")) > HELLO:
        raise Refused("invalid", f"hello must have at most {HELLO} bytes as JSON")
    return hello


def number_in(payload):
    if type(payload.get("n")) is int and 0 < payload["n"] < 2**53:
        return payload["n"]
    raise Refused("invalid", "n must be a whole number of at least 1")


class Allowance:
    """A rate limit: `most` at once, and `each_second` more each second."""

    def __init__(self, most, each_second):
        self.most = self.left = most
        self.each_second = each_second
        self.at = time.monotonic()

    def take(self):
        now = time.monotonic()
        self.left = min(self.most, self.left + (now - self.at) * self.each_second)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Limits:
    """The limits of one client. What is above them is dropped, or ends this client's line."""

    def __init__(self):
        self.packets = Allowance(2000, 500)  # more are dropped
        self.line = Allowance(20_000, 1000)  # dropped packets cost time, too: above this the line is closed
        self.offers = Allowance(20, 1)
        self.refusals = Allowance(10, 1)
