"""Peers on plain sockets, which can send any bytes, and read only when they are told to."""

import asyncio
import socket
import struct
import time

from world import PATIENCE, PORT, Fault, must, world


class Raw:
    """A plain socket."""

    @classmethod
    async def connect(cls, receive_buffer=None):
        raw = cls()
        raw.socket = socket.socket()
        raw.socket.setblocking(False)
        if receive_buffer:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        world.connections += 1
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(raw.socket, ("127.0.0.1", PORT))
        return raw

    @classmethod
    async def join(cls, receive_buffer=None):
        raw = await cls.connect(receive_buffer)
        begin = time.monotonic()
        await raw.send(UPGRADE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            # This function must not read frames after the head.
            head += await raw.read(1)
        must(head.startswith(b"HTTP/1.1 101 "), head)
        world.waited(begin)
        return raw

    async def send(self, data):
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self, most):
        try:
            async with asyncio.timeout(PATIENCE):
                data = await asyncio.get_running_loop().sock_recv(self.socket, most)
        except TimeoutError:
            raise Fault(f"moss neither sends nor closes in {PATIENCE} s") from None
        if not data:
            raise ConnectionError
        return data

    async def read_to_the_end(self):
        said = b""
        try:
            while True:
                said += await self.read(65536)
        except ConnectionError:
            return said

    def close(self):
        self.socket.close()

    def reset(self):
        reset(self.socket)
        self.socket.close()


def reset(socket_):
    """Makes the next close a reset (RST)."""
    socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: soak\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(first, payload, length=None):
    """A frame (RFC 6455, section 5.2) with a mask of zeros. `length` may differ from the payload's."""
    length = len(payload) if length is None else length
    if length < 126:
        header = struct.pack(">BB", first, 0x80 | length)
    elif length < 65536:
        header = struct.pack(">BBH", first, 0x80 | 126, length)
    else:
        header = struct.pack(">BBQ", first, 0x80 | 127, length)
    return header + bytes(4) + payload


def text(packet):
    return frame(0x81, packet.encode())
