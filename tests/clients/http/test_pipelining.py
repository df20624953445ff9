"""Pipelined requests."""

from folder import FILES, MIDDLE, target
from wire import Wire, header, request


def test_every_file_in_one_write(origin):
    with Wire(origin) as wire:
        wire.say(b"".join(request(target(path)) for path in FILES))
        for path, content in FILES.items():
            head, body = wire.answer()
            assert (head.status_code, body) == (200, content), path


def test_answers_of_every_kind_come_in_order(origin):
    middle = target(MIDDLE)
    with Wire(origin) as wire:
        wire.say(request(middle, "HEAD"))
        head, _ = wire.answer("HEAD")
        tag = header(head, "etag")
        asked = [
            ("GET", middle, [], 200, FILES[MIDDLE]),
            ("HEAD", middle, [], 200, b""),
            ("GET", middle, [f"If-None-Match: {tag}"], 304, b""),
            ("HEAD", middle, [f"If-None-Match: W/{tag}"], 304, b""),
            ("GET", middle, ["Range: bytes=5-9"], 206, FILES[MIDDLE][5:10]),
            ("HEAD", middle, ["Range: bytes=5-9"], 200, b""),
            ("GET", middle, ["Range: bytes=100000-"], 416, None),
            ("GET", "/dir", [], 308, None),
            ("GET", "/none", [], 404, None),
            ("HEAD", "/none", [], 404, b""),
            ("DELETE", middle, [], 405, None),
            ("GET", f"http://box{middle}?query", [], 200, FILES[MIDDLE]),
            ("OPTIONS", "*", [], 404, None),
            ("CONNECT", "box:80", [], 404, None),
            ("GET", "/health", [], 200, None),
            ("HEAD", "/health", [], 200, b""),
            ("GET", middle, ["Connection: close"], 200, FILES[MIDDLE]),
        ]
        lines = (request(target, method, headers) for method, target, headers, *_ in asked)
        wire.say(b"".join(lines) + request(middle))
        for method, target_, headers, status, content in asked:
            head, body = wire.answer(method)
            assert head.status_code == status, (method, target_, headers)
            assert content is None or body == content, (method, target_, headers)
            assert len(body) == int(header(head, "content-length") or 0) or method == "HEAD"
        # Requests after the last one are not answered.
        assert header(head, "connection") == "close"
        assert wire.rest() == b""


def test_a_connection_ends_after_a_thousand_answers_and_none_is_lost(origin):
    size = target("size/1.bin")
    with Wire(origin) as wire:
        wire.say(1_010 * request(size))
        for number in range(1, 1_001):
            head, body = wire.answer()
            assert (head.status_code, body) == (200, FILES["size/1.bin"])
            assert (header(head, "connection") == "close") == (number == 1_000), number
        assert wire.rest() == b""
