"""A master and a client at the ports and prefixes of the pages."""

import json

from curl import curl_one
from folder import FILES, MIDDLE, target
from server import PATIENCE, SECRET, trusting
from websockets.sync.client import connect
from wire import Wire, header, request


def conversation(url, **options):
    """Checks that a master and a client reach each other at this address."""
    options = {"open_timeout": PATIENCE, "close_timeout": PATIENCE} | options
    with connect(url, **options) as master, connect(url, **options) as client:
        say(master, type="set-master", payload={"sdp": {"v": 0}, "secret": SECRET})
        assert hear(master) == {"type": "master-confirmation", "payload": ""}
        say(client, type="login")
        assert hear(client) == {"type": "offer", "payload": {"v": 0}}
        say(client, type="answer", payload=["x" * 100_000])
        answer = hear(master)
        assert (answer["type"], answer["payload"]) == ("answer", ["x" * 100_000])
    return True


def say(connection, **packet):
    connection.send(json.dumps(packet))


def hear(connection):
    return json.loads(connection.recv(timeout=PATIENCE))


def test_at_the_port_of_the_pages(origin):
    url = origin.url.replace("http", "ws", 1)
    options = {"ssl": trusting()} if origin.scheme == "https" else {}
    assert conversation(url + "/", origin=origin.url, **options)


def test_an_upgrade_may_follow_a_page(origin):
    upgrade = [
        *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    with Wire(origin) as wire:
        wire.say(request(target(MIDDLE)) + request("/", headers=upgrade))
        head, body = wire.answer()
        assert (head.status_code, body) == (200, FILES[MIDDLE])
        head = wire.upgraded()
        assert head.status_code == 101
        # RFC 6455, section 1.3.
        assert header(head, "sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        # A ping without a mask would be an error; this one has a mask of zeros.
        wire.say(b"\x89\x84\0\0\0\0ping")
        assert wire.read(6) == b"\x8a\x04ping"


def test_below_a_prefix_on_the_connections_of_pages(proxy, tmp_path):
    for prefix in proxy.sharing:
        page = curl_one(tmp_path, proxy.origin.url + prefix + target(MIDDLE))
        assert page.body == FILES[MIDDLE]
        url = proxy.origin.url.replace("http", "ws", 1)
        assert conversation(f"{url}{prefix}/", origin=proxy.origin.url), prefix
