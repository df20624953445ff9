"""/metrics, read by promtool, by Prometheus, and by this file's own parser, which compares it
with the log and with what happened.

docs/operating.md lists the metrics, and its configuration is used unchanged, except for
addresses; examples/prometheus has the alerts.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import (
    ENVIRONMENT,
    PATIENCE,
    REPOSITORY,
    SECRET,
    Moss,
    block,
    fetched,
    receive,
    relays,
    run,
    send,
    tls_settings,
)
from test_service import machine  # noqa: F401, a fixture
from websockets.sync.client import connect

PAGE = (REPOSITORY / "docs/operating.md").read_text()
PROTOCOL = (REPOSITORY / "docs/protocol.md").read_text()
RULES = REPOSITORY / "examples/prometheus/moss.rules.yml"

ON = {"MOSS_METRICS": "on", "MOSS_LOG": "debug", "MOSS_HOSTNAME": "127.0.0.1"}
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Figures(dict):
    """The values of one scrape, by name and labels."""

    def __init__(self, text):
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
                labels = frozenset(re.findall(r'(\w+)="([^"]*)"', labels or ""))
                assert (name, labels) not in self, f"twice: {line}"
                self[name, labels] = float(value)
        self.text = text

    def of(self, name, **labels):
        """The only value with this name and these labels."""
        return self[name, frozenset(labels.items())]

    def by(self, name, label):
        """All values with this name, by the value of the label."""
        return {dict(labels)[label]: value for (known, labels), value in self.items() if known == name}

    def names(self):
        return {name for name, _ in self}

    def agree(self):
        """Checks what must hold in every scrape."""
        closed = self.by("moss_connections_closed_total", "reason")
        open_now = self.by("moss_connections", "role")
        accepted = self.of("moss_connections_accepted_total")
        assert accepted == sum(open_now.values()) + sum(closed.values()), self.text
        for reason, rejected in self.by("moss_connections_rejected_total", "reason").items():
            assert closed[reason] == rejected, reason
        return self


def scrape(port, context=None):
    return Figures(answered(port, "GET", "/metrics", context)[2].decode()).agree()


def answered(port, method, path, context=None):
    """Status, headers and body of an answer on a connection of its own."""
    if context:
        asked = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=context)
    else:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(asked):
        asked.request(method, path, headers={"Connection": "close"})
        response = asked.getresponse()
        return response.status, response.headers, response.read()


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen")
        time.sleep(0.1)
    return result


def checked_by_promtool(text):
    checked = run("promtool", "check", "metrics", input=text)
    return checked.returncode, checked.stdout + checked.stderr


# Names and labels.


def table(page, heading):
    """The rows of the first table below a heading, as cells."""
    section = page.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = re.findall(r"^\| (.*) \|$", section, re.M)
    return [row.split(" | ") for row in rows[1:]]


def promised():
    """The metrics in the page's table, each with the names of its labels."""
    names = {}
    for first, *_ in table(PAGE, "## Metrics"):
        for name, labels in re.findall(r"`(\w+)(?:\{([\w,]+)\})?`", first):
            names[name] = set(labels.split(",")) if labels else set()
    return names


def exposed(figures):
    """The metrics of a scrape in the same form; a histogram counts as one."""
    names = {}
    for name, labels in figures:
        name = re.sub(r"^(moss_turn_seconds)_(bucket|sum|count)$", r"\1", name)
        names.setdefault(name, set()).update({label for label, _ in labels} - {"le"})
    return names


def test_page_names_every_metric_and_its_labels(binary, tmp_path, certificate):
    with Moss([binary], tmp_path, **ON, **tls_settings(certificate.file.parent)) as moss:
        assert exposed(scrape(moss.port)) == promised()


def words_of_the_log():
    """The page's words for why a connection ended."""
    cells = [first for first, *_ in table(PAGE, "## The log")]
    words = {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}
    return words - {"connected", "wrong_secret"}


def test_every_label_value_is_exposed_from_the_start(binary, tmp_path, certificate):
    with Moss([binary], tmp_path, **ON, **tls_settings(certificate.file.parent)) as moss:
        figures = scrape(moss.port)
    assert set(figures.by("moss_connections_closed_total", "reason")) == words_of_the_log()
    assert set(figures.by("moss_connections", "role")) == {"http", "guest", "client", "master"}
    for name in ("moss_packets_relayed_total", "moss_relayed_bytes_total"):
        assert set(figures.by(name, "direction")) == {"to_master", "to_client"}
    codes = {re.fullmatch("`(.*)`", first)[1] for first, *_ in table(PROTOCOL, "## Errors")}
    assert set(figures.by("moss_errors_sent_total", "code")) == codes
    handshakes = [("ok", "no"), ("ok", "yes"), ("failed", "no")]
    for result, resumed in handshakes:
        figures.of("moss_tls_handshakes_total", result=result, resumed=resumed)
    counted = {key: value for key, value in figures.items() if key[0].startswith("moss_") and value}
    assert {name for name, _ in counted} == {
        "moss_build_info",
        "moss_connections",  # The scraping connection.
        "moss_connections_accepted_total",
        "moss_connections_limit",
        "moss_held_bytes_limit",
        "moss_tls_certificate_expiry_timestamp_seconds",
        "moss_turn_seconds_bucket",
        "moss_turn_seconds_count",
        "moss_turn_seconds_sum",
        "moss_unsent_bytes_limit",
    }


def test_promtool_finds_nothing(binary, binary_without_tls, tmp_path, certificate):
    for program, settings in (
        (binary_without_tls, {}),
        (binary, {}),
        (binary, tls_settings(certificate.file.parent)),
    ):
        with Moss([program], tmp_path, **ON, **settings) as moss:
            assert relays(f"ws://127.0.0.1:{moss.port}")
            assert checked_by_promtool(scrape(moss.port).text) == (0, "")


def test_metrics_are_read_by_get_and_head_if_they_are_on(binary, tmp_path):
    with Moss([binary], tmp_path, **ON) as moss:
        status, headers, body = answered(moss.port, "GET", "/metrics?from=here")
        assert (status, headers["Content-Type"]) == (200, CONTENT_TYPE)
        assert int(headers["Content-Length"]) == len(body)
        status, headers, body = answered(moss.port, "HEAD", "/metrics")
        assert (status, headers["Content-Type"], body) == (200, CONTENT_TYPE, b"")
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = answered(moss.port, method, "/metrics")
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert answered(moss.port, "GET", "/metrics/")[0] == 404
    for off in ({}, {"MOSS_METRICS": "off"}, {"MOSS_METRICS": ""}):
        with Moss([binary], tmp_path, **off) as moss:
            for method in ("GET", "HEAD", "POST"):
                assert answered(moss.port, method, "/metrics")[0] == 404
    refused = run(binary, env=ENVIRONMENT | {"MOSS_METRICS": "yes"}, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(r"moss: MOSS_METRICS: .*\n", refused.stderr)


# Counters.


def claim(connection):
    send(connection, type="set-master", payload={"sdp": {}, "secret": SECRET})
    assert receive(connection)["type"] == "master-confirmation"


def test_only_packets_between_peers_count_as_relayed(binary, tmp_path):
    settings = {"MOSS_CLIENT_JOINED_TYPE": "joined", "MOSS_CLIENT_LEFT_TYPE": "left"}
    with Moss([binary], tmp_path, **ON, **settings) as moss:
        url = f"ws://127.0.0.1:{moss.port}"
        with connect(url) as master, connect(url) as client:
            claim(master)
            send(client, type="login")
            assert receive(client)["type"] == "offer"
            assert receive(master)["type"] == "joined"
            for _ in range(3):
                send(client, type="ping")
                assert receive(client)["type"] == "pong"
            send(client, type="login", payload="again")
            assert receive(client)["type"] == "offer"
            send(client, no="type")
            assert receive(client)["payload"]["code"] == "invalid-packet"
            send(master, type="to nobody", id="7")
            assert receive(master)["payload"]["code"] == "unknown-client"
            figures = scrape(moss.port)
            for name in ("moss_packets_relayed_total", "moss_relayed_bytes_total"):
                assert figures.by(name, "direction") == {"to_master": 0, "to_client": 0}

            to_master, to_client = 0, 0
            for length in (0, 10, 5_000):
                send(client, type="up", payload="x" * length)
                heard = master.recv(timeout=PATIENCE)
                to_master += len(heard)
            for length in (1, 70_000):
                send(master, type="down", payload="x" * length, id=json.loads(heard)["id"])
                to_client += len(client.recv(timeout=PATIENCE))
            figures = scrape(moss.port)
            assert figures.by("moss_packets_relayed_total", "direction") == {"to_master": 3, "to_client": 2}
            assert figures.by("moss_relayed_bytes_total", "direction") == {
                "to_master": to_master,
                "to_client": to_client,
            }
            assert figures.by("moss_connections", "role") == {"http": 1, "guest": 0, "client": 1, "master": 1}
            assert figures.of("moss_logins_total") == 1
            assert figures.of("moss_master_changes_total") == 1


def test_errors_are_counted_by_their_code(binary, tmp_path):
    with Moss([binary], tmp_path, **ON) as moss:
        url = f"ws://127.0.0.1:{moss.port}"
        with connect(url) as guest, connect(url) as first, connect(url) as second:
            heard = []

            def provoke(connection, **packet):
                send(connection, **packet)
                heard.append(receive(connection)["payload"]["code"])

            provoke(guest, no="type")
            provoke(guest, type="set-master", payload="no object")
            provoke(guest, type="set-master", payload={"secret": "wrong"})
            provoke(guest, type="set-master", payload={"secret": "wrong again"})
            provoke(guest, type="hello")
            send(guest, type="login")
            provoke(guest, type="hello")
            claim(first)
            assert receive(guest)["type"] == "offer"
            provoke(first, type="hello")
            provoke(first, type="hello", id="7")
            provoke(first, type="login")
            claim(second)
            heard.append(receive(first)["payload"]["code"])
            figures = scrape(moss.port)
        errors = figures.by("moss_errors_sent_total", "code")
        assert set(errors) == set(heard), "not all codes were tested"
        assert errors == {code: heard.count(code) for code in errors}
        assert figures.of("moss_wrong_secrets_total") == 2
        assert figures.of("moss_master_changes_total") == 2


class Wire:
    """A peer that can send any bytes."""

    def __init__(self, port, first=b"", narrow=False, source=None):
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if narrow:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(first)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def head(self):
        """The head up to the empty line, and no byte more."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.socket.recv(1)
            assert byte, head
            head += byte
        return head

    def say(self, opcode, payload, masked=True):
        self.socket.sendall(frame(opcode, payload, masked))

    def packet(self, **packet):
        self.say(1, json.dumps(packet).encode())

    def flood(self):
        """Sends packets until the connection ends."""
        with contextlib.suppress(OSError):
            while True:
                self.packet(type="large", payload=60_000 * "x")

    def end(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def rest(self):
        """All bytes until moss ends the connection."""
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                heard += data
        return heard


def upgrade(*lines):
    return "\r\n".join(
        [
            "GET / HTTP/1.1",
            "Host: box",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *lines,
            "\r\n",
        ]
    ).encode()


def frame(opcode, payload, masked=True):
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        length = struct.pack("!B", mask | len(payload))
    else:
        length = struct.pack("!BQ", mask | 127, len(payload))
    return bytes([0x80 | opcode]) + length + (bytes(4) if masked else b"") + payload


def request(method="GET", path="/", *lines):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: box", *lines, "\r\n"]).encode()


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
    with Moss([binary], folder, **settings) as moss:
        lines = 0
        slow = contextlib.nullcontext() if "timeout" not in reasons else Wire(moss.port)
        with slow:
            for reason in reasons:
                with Provoking(moss) as provoking:
                    getattr(provoking, reason)()
                    counted = lambda: scrape(moss.port).of("moss_connections_closed_total", reason=reason)
                    wait_for(f"{reason}, counted,", counted)
                if len(moss.output) - lines > 40:
                    # The log has at most a hundred lines a second.
                    time.sleep(1)
                    lines = len(moss.output)
        alone = lambda: sum(scrape(moss.port).by("moss_connections", "role").values()) == 1
        wait_for("the end of all", alone)
        figures = scrape(moss.port)
        assert checked_by_promtool(figures.text) == (0, "")
        assert figures.of("moss_log_lines_dropped_total") == 0
        counted = figures.by("moss_connections_closed_total", "reason")

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


# Prometheus.


class Prometheus:
    """A Prometheus with this configuration, in its own folder."""

    def __init__(self, folder, configuration):
        (folder / "prometheus.yml").write_text(configuration)
        shutil.copy(RULES, folder)
        checked = run("promtool", "check", "config", "prometheus.yml", cwd=folder)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        while not self._started(folder):
            pass

    def _started(self, folder):
        """False if another program has taken the port."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % free.getsockname()[1]
        self.url = f"http://{address}"
        self._log = folder / "prometheus.log"
        with open(self._log, "w") as log:
            command = ("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data")
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address={address}"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def ready():
            if self._process.poll() is not None:
                return True
            with contextlib.suppress(OSError):
                return fetched(f"{self.url}/-/ready")

        try:
            wait_for("the start of Prometheus", ready)
        except BaseException:
            self.kill()
            raise
        if self._process.poll() is None:
            return True
        said = self._log.read_text()
        assert "address already in use" in said, said
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self._process.kill()
        self._process.wait(PATIENCE)

    def asked(self, path, **query):
        answer = json.loads(fetched(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"))
        assert answer["status"] == "success"
        return answer["data"]

    def value(self, query):
        """The only value. There is none before the first scrape, nor after one that took over a second."""
        [found] = wait_for(query, lambda: self.asked("query", query=query)["result"])
        return float(found["value"][1])


def configuration(moss, certificate):
    """Both configurations of the page, with short intervals: `moss` and `moss-by-tls`."""
    plain, tls = block(PAGE, "yaml", "rule_files"), block(PAGE, "yaml", "tls_config")
    edits = (
        ("15s", "1s"),
        ("192.168.1.5:8080", f"127.0.0.1:{moss.port}"),
        ("192.168.1.5:8443", f"localhost:{moss.tls_port}"),
        ("certificate.pem", str(certificate.file)),
    )
    text = plain + tls.replace("job_name: moss", "job_name: moss-by-tls").removeprefix("scrape_configs:\n")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def test_prometheus_scrapes_moss_and_raises_alerts(binary, tmp_path, certificate):
    settings = ON | tls_settings(certificate.file.parent) | {"MOSS_MAX_CONNECTIONS": "2"}
    with (
        Moss([binary], tmp_path, **settings) as moss,
        Prometheus(tmp_path, configuration(moss, certificate)) as prometheus,
    ):
        for job in ("moss", "moss-by-tls"):
            wait_for(f"a scrape of {job}", lambda: prometheus.value(f'up{{job="{job}"}}') == 1)
            assert prometheus.value(f'moss_connections_limit{{job="{job}"}}') == 2
            assert prometheus.value(f'moss_connections{{job="{job}", role="client"}}') == 0
            ends = f'moss_tls_certificate_expiry_timestamp_seconds{{job="{job}"}} - time()'
            assert 29 < prometheus.value(ends) / 86_400 < 31
        metadata = prometheus.asked("targets/metadata", metric="moss_turn_seconds")
        assert {one["type"] for one in metadata} == {"histogram"}
        assert scrape(moss.port).of("moss_tls_handshakes_total", result="ok", resumed="no") >= 1

        def alerts():
            for rule in prometheus.asked("rules")["groups"][0]["rules"]:
                assert rule["health"] in ("ok", "unknown"), rule
                yield rule["name"], rule["state"]

        # The alert fires only after two minutes.
        wait_for("a missing master", lambda: dict(alerts())["MossWithoutMaster"] == "pending")
        url = f"ws://127.0.0.1:{moss.port}"
        with connect(url) as master, connect(url) as client:
            claim(master)
            send(client, type="login")
            assert receive(client)["type"] == "offer"
            wait_for("a full server", lambda: dict(alerts())["MossFull"] == "firing")
            wait_for("a master", lambda: dict(alerts())["MossWithoutMaster"] == "inactive")

        # All metrics in alerts and in the page's queries exist.
        rules = re.findall(r"^\s+expr:(.*?)^\s+(?:for|labels):", RULES.read_text(), re.S | re.M)
        queries = [query.strip("`") for _, query in table(PAGE, "## What the figures say")]
        for query in queries:
            prometheus.asked("query", query=query)
        names = re.findall(r"\b((?:moss|process)_\w+)\b", " ".join(rules + queries))
        assert set(names) <= scrape(moss.port).names()


def test_alerts_fire_only_when_they_should():
    checked = run("promtool", "check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run("promtool", "test", "rules", REPOSITORY / "tests/package/alerts.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    listed = {name for first, *_ in table(PAGE, "## Alerts") for name in re.findall(r"`(\w+)`", first)}
    assert alerts == listed
    for alert in alerts:
        assert f"alertname: {alert}\n" in (REPOSITORY / "tests/package/alerts.yml").read_text()


def test_no_packet_waits_for_scrapers_and_each_is_answered(binary, tmp_path):
    with Moss([binary], tmp_path, **ON) as moss:
        url = f"ws://127.0.0.1:{moss.port}"
        with contextlib.ExitStack() as stack:
            master, client = (stack.enter_context(connect(url)) for _ in range(2))
            claim(master)
            send(client, type="login")
            assert receive(client)["type"] == "offer"
            # Two hundred that request and don't read, and two hundred that send half a request.
            slow = [
                stack.enter_context(Wire(moss.port, text, narrow=True))
                for text in (request("GET", "/metrics"), request("GET", "/metrics")[:-2])
                for _ in range(200)
            ]
            for number in range(100):
                send(client, type="up", payload=number)
                assert receive(master)["payload"] == number
            for wire in slow[:200]:
                answer = wire.rest()
                head, body = answer.split(b"\r\n\r\n", 1)
                assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(body)
                Figures(body.decode()).agree()
        everybody = lambda: sum(scrape(moss.port).by("moss_connections", "role").values()) == 1
        wait_for("the end of all", everybody)


def is_what_the_kernel_says(figures, status, descriptors, limits):
    """Whether the metrics of the process are those of /proc/PID; `descriptors` lists its files."""
    resident = int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) * 1024
    assert 0.5 < figures.of("process_resident_memory_bytes") / resident < 2
    # The scraping connection was open during the answer, and may be for a moment after it.
    wait_for("as many files", lambda: figures.of("process_open_fds") == len(descriptors()) + 1)
    most = re.search(r"^Max open files\s+(\d+)", limits, re.M)[1]
    assert figures.of("process_max_fds") == int(most)
    assert abs(figures.of("process_start_time_seconds") - time.time()) < PATIENCE
    return True


def test_metrics_of_the_process_are_the_kernels(binary, tmp_path):
    with Moss([binary], tmp_path, **ON) as moss:
        figures = scrape(moss.port)
        status, limits = (Path(f"/proc/{moss.pid}/{name}").read_text() for name in ("status", "limits"))
        descriptors = lambda: os.listdir(f"/proc/{moss.pid}/fd")
        assert is_what_the_kernel_says(figures, status, descriptors, limits)
        # Also after many scrapes.
        cpu = lambda: scrape(moss.port).of("process_cpu_seconds_total")
        before = cpu()
        wait_for("CPU time", lambda: cpu() > before)


def test_metrics_of_the_process_are_the_kernels_in_the_units_sandbox_too(machine):  # noqa: F811
    machine.serving()
    machine.set(ENVIRONMENT | ON)
    assert machine.restart() == 0
    pid, port = machine.serving()
    figures = scrape(port)
    proc = lambda *command: machine.run(*command).stdout
    status, limits = (proc("cat", f"/proc/{pid}/{name}") for name in ("status", "limits"))
    assert is_what_the_kernel_says(figures, status, lambda: proc("ls", f"/proc/{pid}/fd").split(), limits)
    assert checked_by_promtool(figures.text) == (0, "")
