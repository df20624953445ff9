"""The reasons why connections end: each one is provoked, logged and counted."""

import contextlib
import itertools
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from conftest import SECRET, Moss, receive, send, tls_settings
from figures import ON, checked_by_promtool, claim, scrape, wait_for, words_of_the_log
from websockets.sync.client import connect
from wire import Wire, frame, request, upgrade


def ends_in_the_log(moss):
    """How often the log has each word as the reason for the end of a connection."""
    lines = re.findall(r" at \S+: (\w+)(?: \(.*\)|, .*)?$", "".join(moss.output), re.M)
    return {word: lines.count(word) for word in set(lines) & words_of_the_log()}


class Provoking:
    """A moss, and a way to make it end a connection for each reason."""

    def __init__(self, moss):
        self.port, self.moss = moss.port, moss
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Ends all its connections."""
        self._stack.close()

    def peer(self):
        url = f"ws://127.0.0.1:{self.port}"
        # Otherwise unread packets keep the library from noticing the end.
        return self._stack.enter_context(connect(url, max_queue=None))

    def wire(self, *arguments, **options):
        return self._stack.enter_context(Wire(*arguments, **options))

    def upgraded(self, **options):
        wire = self.wire(self.port, upgrade(), **options)
        assert b" 101 " in wire.head()
        return wire

    def master(self):
        master = self.peer()
        claim(master)
        return master

    def asked(self, *arguments, port=None):
        """A request is answered, and the connection ends."""
        self.wire(port or self.port, request(*arguments)).rest()

    def left(self):
        self.peer().close()

    def answered(self):
        self.asked("GET", "/health", "Connection: close")

    def not_found(self):
        self.asked("GET", "/nothing", "Connection: close")

    def method(self):
        self.asked("POST", "/metrics", "Connection: close")

    def no_upgrade(self):
        self.asked()

    def range(self):
        self.asked("GET", "/small", "Range: bytes=10-", "Connection: close")

    def bad_request(self):
        self.wire(self.port, b"NOTHING OF HTTP\r\n\r\n").rest()

    def head_too_large(self):
        self.asked("GET", "/", "X: " + 9_000 * "x")

    def origin(self):
        self.wire(self.port, upgrade("Origin: http://elsewhere")).rest()

    def busy(self):
        for _ in range(9):
            self.wire(self.port, request("GET", "/large"), narrow=True)

    def protocol_error(self):
        self.upgraded().say(1, b"unmasked", masked=False)

    def not_utf8(self):
        self.upgraded().say(1, b"\xff")

    def too_long(self):
        self.upgraded().say(1, 65_537 * b"x")

    def wrong_secrets(self):
        guest = self.upgraded()
        for _ in range(5):
            guest.packet(type="set-master", payload={"secret": "wrong"})

    def silent(self):
        self.upgraded()

    def memory(self):
        # More than all memory. Guests may have an eighth.
        for _ in range(6):
            self.upgraded().socket.sendall(frame(1, 60_000 * b"x")[:50_000])

    def kicked(self):
        master, client = self.master(), self.peer()
        send(client, type="login")
        send(client, type="hello")
        send(master, type="kick", payload="why", id=receive(master)["id"])

    def slow_reader(self):
        master, client = self.master(), self.upgraded(narrow=True)
        client.packet(type="login")
        client.packet(type="hello")
        id = receive(master)["id"]
        # More than the kernel's and moss's buffers hold.
        for _ in range(120):
            send(master, type="large", payload=60_000 * "x", id=id)

    def slow_master(self):
        master, client = self.upgraded(narrow=True), self.upgraded()
        master.packet(type="set-master", payload={"secret": SECRET})
        client.packet(type="login")
        # It waits once all buffers are full, until its connection ends.
        flooding = threading.Thread(target=client.flood)
        self._stack.callback(flooding.join)
        self._stack.callback(client.end)
        flooding.start()

    def timeout(self):
        """Ten seconds of silence since the start of this test."""

    def tls(self):
        self.wire(self.moss.tls_port, b"\x16\x03\x01\x00\x05hello").rest()

    def plain_http(self):
        self.asked("POST", "/", port=self.moss.tls_port)

    def redirected(self):
        self.asked(port=self.moss.tls_port)

    def tls_on_plain(self):
        self.wire(self.port, b"\x16\x03\x01\x00\x05hello").rest()

    # With a limit of one connection, and of five for each address.

    def per_address(self):
        for _ in range(6):
            self.wire(self.port, source="127.0.0.2")

    def dropped(self):
        # More than get an answer.
        for _ in range(15):
            self.wire(self.port, source="127.0.0.2")

    def not_master(self):
        self.peer()
        send(self.peer(), type="login")

    def full(self):
        self.master()
        self.wire(self.port, upgrade()).rest()

    def displaced(self):
        # More than there are places for request heads: one that was silent for a second is dropped.
        for host in range(20):
            self.wire(self.port, source=f"127.0.1.{host}")


REASONS = (
    *("left", "answered", "not_found", "method", "no_upgrade", "range", "bad_request", "busy"),
    *("head_too_large", "origin", "protocol_error", "not_utf8", "too_long"),
    *("wrong_secrets", "memory", "kicked", "slow_reader"),
    *("timeout", "tls", "plain_http", "redirected", "tls_on_plain"),
)
# By a short keepalive, which would end the other peers, too, on a machine that stalls.
REASONS_OF_SILENCE = ("silent", "slow_master")
REASONS_OF_A_FULL_SERVER = ("per_address", "dropped", "not_master", "full", "displaced")


def ended_by(reasons, binary, folder, settings):
    """Provokes each of the reasons, compares the counters with the log, and returns the reasons in it."""
    # Each scrape is from another address: earlier ones count for the limit of theirs until moss has
    # noticed that they closed.
    addresses = itertools.cycle([f"127.0.2.{host}" for host in range(1, 255)])
    with Moss([binary], folder, **settings) as moss:
        figures = lambda: scrape(moss.port, next(addresses))
        lines = 0
        slow = contextlib.nullcontext() if "timeout" not in reasons else Wire(moss.port)
        with slow:
            for reason in reasons:
                with Provoking(moss) as provoking:
                    getattr(provoking, reason)()
                    counted = lambda: figures().of("moss_connections_closed_total", reason=reason)
                    wait_for(f"{reason}, counted,", counted)
                if len(moss.output) - lines > 40:
                    # The log has at most a hundred lines a second.
                    time.sleep(1)
                    lines = len(moss.output)
        alone = lambda: sum(figures().by("moss_connections", "role").values()) == 1
        wait_for("the end of all", alone)
        last = figures()
        assert checked_by_promtool(last.text) == (0, "")
        assert last.of("moss_log_lines_dropped_total") == 0
        counted = last.by("moss_connections_closed_total", "reason")

        with connect(f"ws://127.0.0.1:{moss.port}"):
            assert moss.stop() == 0
        moss.wait_for_end()
        logged = ends_in_the_log(moss)
        assert logged.pop("stopping") == 1
        # The last scrape has not counted itself.
        logged["answered"] -= 1
        assert logged == {reason: count for reason, count in counted.items() if count}
        return set(logged)


def test_each_reason_is_counted_as_it_is_logged(binary, tmp_path, certificate):
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "small").write_text("a page")
    (folder / "large").write_bytes(bytes(12 << 20))
    everything = ON | tls_settings(certificate.file.parent) | {
        "MOSS_PAGES_DIRECTORY": str(folder),
        "MOSS_ALLOWED_ORIGINS": "self",
        "MOSS_KICK_TYPE": "kick",
        "MOSS_MAX_CONNECTIONS": "32",
        "MOSS_MAX_PACKET_BYTES": "65536",
        "MOSS_MAX_BACKLOG_BYTES": "131072",
        "MOSS_MAX_MEMORY_BYTES": "262144",
    }
    impatient = ON | {"MOSS_KEEPALIVE_SECONDS": "3", "MOSS_MAX_BACKLOG_BYTES": "400000"}
    full = ON | {"MOSS_MAX_CONNECTIONS": "1", "MOSS_MAX_CONNECTIONS_PER_ADDRESS": "5"}
    cases = ((REASONS, everything), (REASONS_OF_SILENCE, impatient), (REASONS_OF_A_FULL_SERVER, full))
    with ThreadPoolExecutor(len(cases)) as all:
        provoked = [all.submit(ended_by, case, binary, tmp_path, more) for case, more in cases]
        seen = set().union(*(ended.result() for ended in provoked))
    assert seen | {"stopping"} == words_of_the_log()
