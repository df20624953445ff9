"""What a client may say, and how much of it: it may be anybody's program."""

import json
import time

HELLO = 4000  # bytes of JSON


class Refused(Exception):
    """What a client asks for is not to be had; it is told `code` and `message`."""

    def __init__(self, code, message, **more):
        super().__init__(message)
        self.payload = {"code": code, "message": message, **more}


def name_in(payload, key):
    """A key, a life or a call: what a client may choose."""
    value = payload.get(key) if isinstance(payload, dict) else None
    if isinstance(value, str) and 1 <= len(value) <= 64:
        return value
    raise Refused("invalid", f"{key} is to be a text of 1 to 64 characters")


def hello_in(payload):
    hello = payload.get("hello")
    if len(json.dumps(hello, ensure_ascii=False).encode(errors="surrogatepass")) > HELLO:
        raise Refused("invalid", f"hello is to have at most {HELLO} bytes as JSON")
    return hello


def number_in(payload):
    if type(payload.get("n")) is int and 0 < payload["n"] < 2**53:
        return payload["n"]
    raise Refused("invalid", "n is to be a number from 1 on")


class Allowance:
    """So many at once, and so many more each second."""

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
    """What one client may do: whoever does more harms only itself."""

    def __init__(self):
        self.packets = Allowance(2000, 500)  # more are dropped
        self.line = Allowance(20_000, 1000)  # what is dropped has cost time: more ends the line
        self.offers = Allowance(10, 1)
        self.refusals = Allowance(10, 1)
