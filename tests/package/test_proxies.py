"""The proxies' configurations in the docs, in front of moss, by wss://.

Each file is used unchanged, except for the host name, the ports and the certificate.
"""

import os
import socket
import subprocess
import time
import urllib.request

import pytest
from conftest import PATIENCE, REPOSITORY, Moss, relays
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

EXAMPLES = REPOSITORY / "examples/proxy"


class PortTaken(Exception):
    """Another program has taken the port."""


class Proxy:
    """Caddy or nginx, in front of a moss on `upstream`."""

    def __init__(self, command, folder, port, certificate):
        self._log = open(folder / "proxy.log", "w+")
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.url = f"wss://localhost:{port}"
        self.trusting = certificate.trusting
        try:
            self._wait_for(port)
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()

    def _wait_for(self, port):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._log.seek(0)
                    said = self._log.read()
                    if "ddress already in use" in said:
                        raise PortTaken(port) from None
                    pytest.fail("the proxy does not listen:\n" + said)
                time.sleep(0.05)


def caddy(folder, port, upstream, certificate):
    site = edited(
        "Caddyfile",
        (
            "moss.example.com {",
            f"https://localhost:{port} {{\n\ttls {certificate.file} {certificate.key}",
        ),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
    )
    return run_caddy(folder, port, site, certificate)


def caddy_in_the_lan(folder, port, upstream, certificate):
    (folder / "pages").mkdir(exist_ok=True)
    (folder / "pages/index.html").write_text("the page")
    site = edited(
        "Caddyfile.lan",
        (":443 {", f":{port} {{"),
        ("/etc/moss/certificate.pem", str(certificate.file)),
        ("/etc/moss/key.pem", str(certificate.key)),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
        ("/srv/pages", str(folder / "pages")),
    )
    return run_caddy(folder, port, site, certificate)


def run_caddy(folder, port, site, certificate):
    # Settings for a second Caddy on a machine: no admin port, no port 80.
    alone = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(alone + site)
    command = ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    return Proxy(command, folder, port, certificate)


def nginx(folder, port, upstream, certificate, idle="60s"):
    server = edited(
        "nginx.conf",
        *nginx_edits(port, certificate),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
        ("proxy_read_timeout 60s;", f"proxy_read_timeout {idle};"),
    )
    return run_nginx(folder, port, server, certificate)


def nginx_edits(port, certificate):
    """The changes for all examples of nginx in these tests."""
    live = "/etc/letsencrypt/live/moss.example.com"
    return (
        ("    listen [::]:443 ssl;\n", ""),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("server_name moss.example.com;", "server_name localhost;"),
        (f"{live}/fullchain.pem", str(certificate.file)),
        (f"{live}/privkey.pem", str(certificate.key)),
    )


def run_nginx(folder, port, server, certificate):
    scratch = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "whole.conf").write_text(
        f"daemon off;\nuser root;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{scratch}{server}}}\n"
    )
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "whole.conf")]
    return Proxy(command, folder, port, certificate)


def edited(name, *replacements):
    """The example with these replacements, each of which must match exactly once."""
    text = (EXAMPLES / name).read_text()
    for old, new in replacements:
        assert text.count(old) == 1, f"{name}: {old!r}"
        text = text.replace(old, new)
    return text


def in_front(proxy, moss, certificate, folder, **options):
    """The proxy in front of moss, on a port that was free a moment ago. If another program has
    taken the port since, the next one is tried."""
    for _ in range(20):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        try:
            return proxy(folder, port, moss.port, certificate, **options)
        except PortTaken:
            continue
    pytest.fail("no port stays free")


@pytest.mark.parametrize(
    "name, page",
    [
        ("Caddyfile", "docs/deployment.md"),
        ("nginx.conf", "docs/deployment.md"),
        ("Caddyfile.lan", "docs/https-in-the-lan.md"),
    ],
)
def test_page_quotes_the_file(name, page):
    assert f"\n{(EXAMPLES / name).read_text()}```" in (REPOSITORY / page).read_text()


@pytest.mark.parametrize("proxy", [caddy, caddy_in_the_lan, nginx])
def test_a_conversation_passes_through(proxy, binary, certificate, tmp_path):
    with Moss([binary], tmp_path, MOSS_HOSTNAME="127.0.0.1") as moss:
        with in_front(proxy, moss, certificate, tmp_path) as front:
            assert relays(front.url, ssl=front.trusting)


def test_caddy_in_the_lan_serves_pages_where_moss_is(binary, certificate, tmp_path):
    with Moss([binary], tmp_path, MOSS_ALLOWED_ORIGINS="self") as moss:
        with in_front(caddy_in_the_lan, moss, certificate, tmp_path) as front:
            origin = front.url.replace("wss:", "https:")
            with urllib.request.urlopen(origin, timeout=PATIENCE, context=front.trusting) as page:
                assert page.read() == b"the page"
            assert relays(front.url, ssl=front.trusting, origin=origin)


# moss checks its deadlines once a second, so here a ping comes after three to four seconds. The peer
# has as long to answer it, and nginx waits four seconds more.
def test_keepalive_outlasts_the_idle_time_out_of_nginx(binary, certificate, tmp_path):
    with Moss([binary], tmp_path, MOSS_KEEPALIVE_SECONDS="3") as moss:
        with in_front(nginx, moss, certificate, tmp_path, idle="8s") as front:
            with quiet(front) as client, pytest.raises(TimeoutError):
                client.recv(timeout=12)


def test_nginx_closes_a_peer_whose_keepalive_is_too_long(binary, certificate, tmp_path):
    with Moss([binary], tmp_path, MOSS_KEEPALIVE_SECONDS="30") as moss:
        with in_front(nginx, moss, certificate, tmp_path, idle="2s") as front:
            with quiet(front) as client, pytest.raises(ConnectionClosed):
                client.recv(timeout=PATIENCE)


def quiet(front):
    """A client that only answers pings."""
    return connect(front.url, ssl=front.trusting, ping_interval=None, open_timeout=PATIENCE)
