"""Clients behind a trusted proxy: moss limits the connections of the addresses that it names.

The proxies run with the configurations in the docs. Clients and proxies have different addresses
of this machine, and moss must count those of the clients.
"""

import concurrent.futures
import http.client
import time
from contextlib import contextmanager

import pytest
from conftest import PATIENCE, Moss
from test_proxies import caddy, in_front, nginx
from test_several import HAProxy, Halls
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

LIMIT = 3
SETTINGS = {
    "MOSS_HOSTNAME": "127.0.0.1",
    "MOSS_TRUSTED_PROXIES": "127.0.0.1",
    "MOSS_MAX_CONNECTIONS_PER_ADDRESS": str(LIMIT),
    "MOSS_LOG": "debug",
}
ONE, OTHER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@contextmanager
def alone(proxy, binary, certificate, folder):
    pages = folder / "pages"
    pages.mkdir()
    (pages / "index.html").write_text("the page")
    with Moss([binary], folder, MOSS_PAGES_DIRECTORY=str(pages), **SETTINGS) as moss:
        with in_front(proxy, moss, certificate, folder) as front:
            yield moss, Front(front, "/")


@contextmanager
def behind_haproxy(binary, certificate, folder):
    with Halls(binary, folder, 2, **SETTINGS) as halls, HAProxy(folder, halls, certificate) as front:
        yield halls.mosses["hall-1"], Front(front, "/hall-1/")


PROXIES = {
    "caddy": lambda *rest: alone(caddy, *rest),
    "nginx": lambda *rest: alone(nginx, *rest),
    "haproxy": behind_haproxy,
}


class Front:
    """A proxy, with clients at several addresses."""

    def __init__(self, proxy, path):
        self._port = int(proxy.url.rsplit(":", 1)[1])
        self._url = proxy.url + path
        self._path = path
        self._trusting = proxy.trusting

    def open(self, address, *lines):
        """A WebSocket from the address, or the status of its refusal by moss.

        A refused connection counts until moss has noticed its end. Far above the limit there is no
        answer, and the proxy's is 502: then it tries again."""
        headers = [line.split(": ", 1) for line in lines]
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return connect(
                    self._url,
                    ssl=self._trusting,
                    source_address=(address, 0),
                    additional_headers=headers,
                    open_timeout=PATIENCE,
                    close_timeout=PATIENCE,
                )
            except InvalidStatus as refused:
                status = refused.response.status_code
            if status != 502:
                return status
            assert time.monotonic() < deadline, "moss does not answer"
            time.sleep(0.05)

    def fetch(self, address, **headers):
        """The status of a request for the page, on a new connection."""
        connection = http.client.HTTPSConnection(
            "localhost", self._port, timeout=PATIENCE, context=self._trusting, source_address=(address, 0)
        )
        try:
            connection.request("GET", self._path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def try_upgrade(self, address):
        """The status of a WebSocket upgrade. Unlike `open` it may be called by many threads: in the
        library one thread may wait for a socket that another closes, and a third reuses its number."""
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        return self.fetch(address, **upgrade, **{"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})


@pytest.fixture(params=PROXIES)
def behind(request, binary, certificate, tmp_path):
    """A moss that trusts a proxy, and the proxy."""
    with PROXIES[request.param](binary, certificate, tmp_path) as both:
        yield both


def test_each_client_has_its_own_limit_and_no_header_helps_it(behind):
    moss, front = behind
    ones = [front.open(ONE) for _ in range(LIMIT)]
    assert front.open(ONE) == 429
    others = [front.open(OTHER) for _ in range(LIMIT)]
    assert front.open(OTHER) == 429
    for connection in ones + others:
        connection.ping().wait(PATIENCE)
    for lines in (
        ["X-Forwarded-For: 192.0.2.7"],
        ["X-Forwarded-For: 127.0.0.1"],
        ["X-Forwarded-For: 192.0.2.7, 127.0.0.1"],
        ["X-Forwarded-For: unknown"],
        ["X-Forwarded-For: "],
        ["X-Forwarded-For: ,"],
        ["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 192.0.2.8"],
        ["x-forwarded-for: 192.0.2.7", "Forwarded: for=192.0.2.7", "X-Real-IP: 192.0.2.7"],
        ["X_Forwarded_For: 192.0.2.7"],
    ):
        assert front.open(ONE, *lines) == 429, lines
    moss.wait_for(f"visitor at {ONE}: per_address (429)")
    moss.wait_for(f"visitor at {OTHER}: per_address (429)")
    assert not any("192.0.2." in line for line in moss.output)
    # A client that leaves makes room for its own address.
    ones.pop().close()
    assert front.open(OTHER) == 429
    ones.append(open_when_free(front, ONE))
    for connection in ones + others:
        connection.close()


def open_when_free(front, address):
    """Opens a WebSocket. moss may need a moment to notice that another one has closed."""
    deadline = time.monotonic() + PATIENCE
    while (connection := front.open(address)) == 429:
        assert time.monotonic() < deadline, "there is no room"
        time.sleep(0.05)
    return connection


def test_each_request_on_a_connection_that_the_proxy_keeps_is_limited_by_its_own_address(behind):
    moss, front = behind
    # More requests at once, and more in a row, than the limit of connections.
    for _ in range(3 * LIMIT):
        for address in (ONE, OTHER):
            assert front.fetch(address) == 200
    ones = [front.open(ONE) for _ in range(LIMIT)]
    assert [front.fetch(ONE), front.fetch(OTHER), front.fetch(ONE)] == [429, 200, 429]
    for connection in ones:
        connection.close()


def test_crowd_from_one_address_is_refused_and_another_address_is_served(behind):
    moss, front = behind
    ones = [front.open(ONE) for _ in range(LIMIT)]
    with concurrent.futures.ThreadPoolExecutor(20) as crowd:
        refused = [crowd.submit(front.try_upgrade, ONE) for _ in range(60)]
        served = [crowd.submit(front.fetch, OTHER) for _ in range(LIMIT)]
        # When too many come at once, some are dropped without an answer.
        assert {each.result(PATIENCE) for each in refused} <= {429, 502}
        assert [each.result(PATIENCE) for each in served] == [200] * LIMIT
    front.open(THIRD).close()
    for connection in ones:
        connection.close()
