"""A connection on which a test sends any bytes. h11 parses the answers, and accepts only valid
HTTP/1.1."""

import socket

import h11
from server import PATIENCE, trusting


def request(target, method="GET", headers=(), body=b""):
    lines = [f"{method} {target} HTTP/1.1", "Host: box", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Wire:
    def __init__(self, origin):
        self._socket = socket.create_connection(("127.0.0.1", origin.port), PATIENCE)
        if origin.scheme == "https":
            self._socket = trusting().wrap_socket(self._socket, server_hostname="localhost")
        self._came = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def say(self, data):
        self._socket.sendall(data)

    def answer(self, method="GET"):
        """The head and body of the next answer, to a request with this method."""
        reader = self._reader(method, [])
        head, body = None, []
        while not isinstance(event := self._next(reader), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            else:
                body.append(bytes(event.data))
        self._came, _ = reader.trailing_data
        return head, b"".join(body)

    def upgraded(self):
        """The head of the answer to an upgrade."""
        reader = self._reader("GET", [("Connection", "upgrade"), ("Upgrade", "websocket")])
        head = self._next(reader)
        self._came, _ = reader.trailing_data
        return head

    def read(self, length):
        """The next bytes."""
        while len(self._came) < length:
            more = self._socket.recv(1 << 18)
            assert more, self._came
            self._came += more
        data, self._came = self._came[:length], self._came[length:]
        return data

    def wait(self):
        """Reads until bytes or the end arrive."""
        self._came += self._socket.recv(1)

    def rest(self):
        """All bytes up to the end."""
        parts = [self._came]
        while part := self._socket.recv(1 << 18):
            parts.append(part)
        return b"".join(parts)

    def _reader(self, method, headers):
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "box"), *headers]))
        reader.send(h11.EndOfMessage())
        if self._came:
            reader.receive_data(self._came)
        return reader

    def _next(self, reader):
        while (event := reader.next_event()) is h11.NEED_DATA:
            reader.receive_data(self._socket.recv(1 << 18))
        return event


def header(head, name):
    return dict(head.headers).get(name.encode(), b"").decode()
