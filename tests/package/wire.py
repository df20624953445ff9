"""A peer that can send any bytes, and what it sends."""

import contextlib
import json
import socket
import struct

from conftest import PATIENCE


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
