"""Several masters behind one address: the proxies' configurations in docs/several-masters.md.

Each file is used unchanged, except for host names, ports, paths and the certificate, and for
times that are too long for a test.
"""

import csv
import json
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request

import pytest
from conftest import (
    PATIENCE,
    REPOSITORY,
    SECRET,
    Moss,
    child_pids,
    fetched,
    free_port,
    receive,
    relays,
    send,
)
from test_proxies import Proxy, edited, nginx_edits, run_caddy, run_nginx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PAGE = (REPOSITORY / "docs/several-masters.md").read_text()


class Halls:
    """Some mosses, each with a fixed port and a page with its name."""

    def __init__(self, binary, folder, number, **settings):
        self._binary, self._folder, self._settings = binary, folder, settings
        self.ports = {f"hall-{n}": free_port() for n in range(1, number + 1)}
        self.mosses = {}

    def __enter__(self):
        try:
            for name in self.ports:
                self.start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for moss in self.mosses.values():
            moss.kill()

    def start(self, name, **settings):
        pages = self._folder / name
        pages.mkdir(exist_ok=True)
        (pages / "index.html").write_text(f"the page of {name}")
        settings = {
            "MOSS_HOSTNAME": "127.0.0.1",
            "MOSS_PORT": str(self.ports[name]),
            "MOSS_PAGES_DIRECTORY": str(pages),
            "MOSS_ALLOWED_ORIGINS": "self",
            **self._settings,
            **settings,
        }
        self.mosses[name] = Moss([self._binary], self._folder, **settings)


class HAProxy(Proxy):
    """HAProxy in front of the halls, as systemd runs it on Debian: a master process starts workers,
    and the newest worker accepts connections."""

    def __init__(self, folder, halls, certificate, *changes, bind=None):
        self._folder, self._changes = folder, changes
        self._place = tempfile.TemporaryDirectory(prefix="moss-")  # Short enough for a socket's path.
        self.port = free_port()
        self._bind = bind or f"127.0.0.1:{self.port} ssl crt {folder}/moss.pem"
        pair = certificate.file.read_text() + certificate.key.read_text()
        (folder / "moss.pem").write_text(pair)
        self.configure(halls.ports)
        command = ["haproxy", "-W", "-db", "-f", str(folder / "haproxy.cfg")]
        super().__init__(command, folder, self.port, certificate)

    def _wait_for(self, port):
        super()._wait_for(port)
        # The master process listens before it starts one.
        wait_for("a worker", lambda: self.workers)

    def configure(self, ports, *changes):
        """Writes the files for these halls, by default the two of the example."""
        text = edited(
            "several/haproxy.cfg",
            ("bind :::443 v4v6 ssl crt /etc/haproxy/moss.pem", f"bind {self._bind.format(port=self.port)}"),
            ("/etc/haproxy/masters.map", f"{self._folder}/masters.map"),
            ("/run/haproxy/admin.sock", self._socket),
            ("127.0.0.1:8081", f"127.0.0.1:{ports['hall-1']}"),
            ("127.0.0.1:8082", f"127.0.0.1:{ports['hall-2']}"),
            *self._changes,
            *changes,
        )
        lines = edited("several/masters.map")
        for name, port in list(ports.items())[2:]:
            text += f"\nbackend {name}\n    server moss 127.0.0.1:{port}\n"
            lines += f"{name} {name}\n"
        (self._folder / "haproxy.cfg").write_text(text)
        (self._folder / "masters.map").write_text(lines)

    def reload(self):
        """Does what `systemctl reload haproxy` does, and waits for the new worker."""
        before = self.workers
        self._process.send_signal(signal.SIGUSR2)
        wait_for("a new process", lambda: set(self.workers) - set(before))

    @property
    def workers(self):
        return child_pids(self._process.pid)

    @property
    def _socket(self):
        return f"{self._place.name}/admin.sock"

    def asked(self, command):
        """The newest worker's answer to a command."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(PATIENCE)
            admin.connect(self._socket)
            admin.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode()

    def server(self, name):
        """HAProxy's data about the moss of this hall."""
        listed = csv.DictReader(self.asked("show stat").removeprefix("# ").splitlines())
        [row] = [row for row in listed if (row["pxname"], row["svname"]) == (name, "moss")]
        return row

    def is_up(self, name):
        return self.server(name)["status"].startswith("UP")  # "UP 1/3": not for long.

    def last_check(self, name):
        """The result of the last check."""
        return self.server(name)["check_status"].removeprefix("* ")


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return result


def caddy(folder, halls, certificate):
    port = free_port()
    site = edited(
        "several/Caddyfile",
        (
            "moss.example.com {",
            f"https://localhost:{port} {{\n\ttls {certificate.file} {certificate.key}",
        ),
        ("127.0.0.1:8081", f"127.0.0.1:{halls.ports['hall-1']}"),
        ("127.0.0.1:8082", f"127.0.0.1:{halls.ports['hall-2']}"),
    )
    return run_caddy(folder, port, site, certificate)


def nginx(folder, halls, certificate):
    port = free_port()
    server = edited(
        "several/nginx.conf",
        *nginx_edits(port, certificate),
        ("127.0.0.1:8081", f"127.0.0.1:{halls.ports['hall-1']}"),
        ("127.0.0.1:8082", f"127.0.0.1:{halls.ports['hall-2']}"),
    )
    return run_nginx(folder, port, server, certificate)


def answer(front, path):
    """Status, headers and body of an answer; redirects are not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=front.trusting), Stay)
    try:
        got = opener.open(front.url.replace("wss:", "https:") + path, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        got = error
    with got:
        return got.status, got.headers, got.read().decode()


def joined(front, path="/hall-1/", **options):
    """A peer that only answers pings."""
    options = {"ssl": front.trusting, "ping_interval": None, "open_timeout": PATIENCE} | options
    return connect(front.url + path, **options)


def hears(peer):
    """Whether moss answers the peer."""
    send(peer, type="ping")
    return receive(peer) == {"type": "pong", "payload": ""}


def claim(master, sdp=""):
    """Makes the peer the master."""
    send(master, type="set-master", payload={"sdp": sdp, "secret": SECRET})
    assert receive(master)["type"] == "master-confirmation"


def drained(peer):
    """The packets that have arrived so far."""
    heard = []
    while True:
        try:
            heard.append(peer.recv(timeout=0))
        except TimeoutError:
            return "".join(heard)


def by_hand(front):
    """A peer without a WebSocket library: nothing is read before the test reads it."""
    peer = socket.socket()
    peer.settimeout(PATIENCE)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", front.port))
    peer.sendall(
        b"GET /hall-1/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return peer


def text_frame(packet):
    """A short text frame with a mask of zeros."""
    payload = json.dumps(packet).encode()
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload


def sessions(front, name):
    """How many sessions HAProxy has with the moss of this hall."""
    return int(front.server(name)["scur"])


@pytest.mark.parametrize("name", ["haproxy.cfg", "masters.map", "Caddyfile", "nginx.conf"])
def test_page_quotes_the_file(name):
    assert f"\n{(REPOSITORY / 'examples/proxy/several' / name).read_text()}```" in PAGE


@pytest.mark.parametrize("proxy", [HAProxy, caddy, nginx])
def test_each_master_has_a_path(proxy, binary, certificate, tmp_path):
    settings = {"MOSS_METRICS": "on", "MOSS_TRUSTED_PROXIES": "127.0.0.1", "MOSS_LOG": "debug"}
    halls = Halls(binary, tmp_path, 2, **settings)
    with halls, proxy(tmp_path, halls, certificate) as front:
        origin = front.url.replace("wss:", "https:")
        # A master for each at the same time: a client reaches the master of its path.
        with joined(front, "/hall-1/") as one, joined(front, "/hall-2/", origin=origin) as two:
            for master, name in ((one, "one"), (two, "two")):
                claim(master, name)
            for path, name in (("/hall-1/", "one"), ("/hall-2/?a=query", "two")):
                with joined(front, path, origin=origin) as client:
                    send(client, type="login")
                    assert receive(client) == {"type": "offer", "payload": name}
            status, _, body = answer(front, "/hall-2/health")
            assert (status, json.loads(body)["master"]) == (200, True)

        # moss gets the client's address from the proxy.
        to = ("127.0.0.1", int(front.url.rpartition(":")[2]))
        far = socket.create_connection(to, source_address=("127.0.0.2", 0), timeout=PATIENCE)
        with joined(front, "/hall-1/", sock=far):
            logged = halls.mosses["hall-1"].output
            wait_for("its address in the log", lambda: "at 127.0.0.2" in "".join(logged))

        for name in halls.ports:
            status, _, body = answer(front, f"/{name}/")
            assert (status, body) == (200, f"the page of {name}")
            # Relative links work only with the slash.
            status, headers, _ = answer(front, f"/{name}")
            assert (status in (301, 308), headers["Location"]) == (True, f"/{name}/")
        for path in ("/", "/hall-3/", "/hall-11/", "/index.html"):
            assert answer(front, path)[0] == 404
        # Metrics are not public, in any spelling of the path.
        figures = f"http://127.0.0.1:{halls.ports['hall-1']}/metrics"
        assert "moss_connections" in fetched(figures)
        for path in ("metrics", "/metrics", "./metrics", "%6detrics", "metrics?a=query"):
            assert "moss_connections" not in answer(front, f"/hall-1/{path}")[2]
        with pytest.raises(InvalidStatus, match="403"), joined(front, origin="https://example.org"):
            pass


def test_a_websocket_may_leave_out_the_slash(binary, certificate, tmp_path):
    with Halls(binary, tmp_path, 2) as halls:
        for proxy in (HAProxy, caddy):
            with proxy(tmp_path, halls, certificate) as front, joined(front, "/hall-2") as peer:
                assert hears(peer)


def test_haproxy_closes_only_peers_whose_keepalive_is_too_long(binary, certificate, tmp_path):
    with Halls(binary, tmp_path, 1, MOSS_KEEPALIVE_SECONDS="3") as halls:
        halls.ports["hall-2"] = free_port()
        halls.start("hall-2", MOSS_KEEPALIVE_SECONDS="30")
        change = ("timeout tunnel 2m", "timeout tunnel 8s")
        with HAProxy(tmp_path, halls, certificate, change) as front, joined(front) as pinged:
            with joined(front, "/hall-2/") as quiet, pytest.raises(ConnectionClosed):
                quiet.recv(timeout=PATIENCE)
            assert hears(pinged)


def test_haproxy_closes_a_peer_that_moss_has_dropped(binary, certificate, tmp_path):
    with Halls(binary, tmp_path, 2, MOSS_KEEPALIVE_SECONDS="3") as halls:
        with HAProxy(tmp_path, halls, certificate, bind="127.0.0.1:{port}") as front:
            with by_hand(front) as gone:
                assert gone.recv(12) == b"HTTP/1.1 101"
                assert sessions(front, "hall-1") == 1
                # It stays connected, but does not even answer moss's ping and Close.
                wait_for("the end of its session", lambda: sessions(front, "hall-1") == 0)
                wait_for("the end of its connection", lambda: "fe=https" not in front.asked("show sess"))


def test_haproxy_closes_a_peer_that_does_not_read(binary, certificate, tmp_path):
    types = {"MOSS_CLIENT_JOINED_TYPE": "client-joined", "MOSS_CLIENT_LEFT_TYPE": "client-left"}
    with Halls(binary, tmp_path, 2, MOSS_MAX_BACKLOG_BYTES="400000", **types) as halls:
        change = ("timeout tunnel 2m", "timeout tunnel 5s")
        with HAProxy(tmp_path, halls, certificate, change, bind="127.0.0.1:{port}") as front:
            url = f"ws://127.0.0.1:{halls.ports['hall-1']}/"
            with connect(url, ping_interval=None) as master, by_hand(front) as gone:
                claim(master)
                gone.sendall(text_frame({"type": "login"}))
                id = receive(master)["payload"]["id"]
                assert sessions(front, "hall-1") == 1
                # Until all buffers between them are full, and moss drops the client.
                def is_given_up():
                    send(master, type="much", payload="x" * 200_000, id=id)
                    return "client-left" in drained(master)

                wait_for("the loss of the client", is_given_up)
                wait_for("the end of its session", lambda: sessions(front, "hall-1") == 0)


def test_haproxy_answers_503_for_a_moss_that_is_down_and_finds_it_again(binary, certificate, tmp_path):
    with Halls(binary, tmp_path, 2) as halls, HAProxy(tmp_path, halls, certificate) as front:
        with joined(front) as neighbour:
            halls.mosses["hall-2"].kill()
            wait_for("the loss of hall-2", lambda: not front.is_up("hall-2"))
            with pytest.raises(InvalidStatus, match="503"), joined(front, "/hall-2/"):
                pass
            assert answer(front, "/hall-2/health")[0] == 503
            assert hears(neighbour)
            halls.start("hall-2")
            wait_for("the return of hall-2", lambda: front.is_up("hall-2"))
            assert relays(f"{front.url}/hall-2/", ssl=front.trusting)
            assert hears(neighbour)


def test_haproxy_counts_a_full_server_as_up_and_a_master_can_connect(binary, certificate, tmp_path):
    with Halls(binary, tmp_path, 2, MOSS_MAX_CONNECTIONS="1") as halls:
        # Full before HAProxy's first check.
        with connect(f"ws://127.0.0.1:{halls.ports['hall-1']}/") as client:
            send(client, type="login")
            with HAProxy(tmp_path, halls, certificate) as front:
                wait_for("a good check", lambda: front.last_check("hall-1") == "L7OK")
                assert front.is_up("hall-1")
                with joined(front) as master:
                    claim(master, "come in")
                    assert receive(client) == {"type": "offer", "payload": "come in"}
                    with pytest.raises(InvalidStatus) as refused, joined(front):
                        pass
                    # moss's own answer, not HAProxy's.
                    response = refused.value.response
                    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_a_reload_of_haproxy_adds_a_master_and_disconnects_nobody_before_hard_stop(binary, certificate, tmp_path):
    with Halls(binary, tmp_path, 3) as halls:
        third = halls.ports.pop("hall-3")
        with HAProxy(tmp_path, halls, certificate) as front, joined(front) as first:
            assert answer(front, "/hall-3/")[0] == 404
            halls.ports["hall-3"] = third
            front.configure(halls.ports, ("hard-stop-after 12h", "hard-stop-after 1s"))
            front.reload()
            wait_for("the new configuration", lambda: answer(front, "/hall-3/")[0] == 200)
            assert relays(f"{front.url}/hall-3/", ssl=front.trusting)
            with joined(front) as second:
                assert hears(first) and hears(second)
                front.reload()
                with pytest.raises(ConnectionClosed):
                    second.recv(timeout=PATIENCE)
            # The first worker may run for 12 hours.
            assert hears(first)
            wait_for("the end of the second one's", lambda: len(front.workers) == 2)
