"""A TCP proxy that counts connections."""

import socket
import threading

from server import Origin


class Door:
    def __init__(self, origin):
        self._to = origin.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = Origin(origin.scheme, self._listener.getsockname()[1])
        self.connections = 0
        # Connections that the server has ended.
        self.ended = 0
        threading.Thread(target=self._let_in, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _let_in(self):
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=carry, args=(visitor, server), daemon=True).start()
            threading.Thread(target=self._carry_back, args=(server, visitor), daemon=True).start()

    def _carry_back(self, server, visitor):
        carry(server, visitor)
        self.ended += 1


def carry(source, sink):
    """Passes on all bytes, and the end."""
    try:
        while data := source.recv(1 << 18):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One side has closed: close the other, too.
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
