"""A TCP proxy that counts connections."""

import socket
import threading

from server import Origin


class CountingProxy:
    def __init__(self, origin):
        self._to = origin.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = Origin(origin.scheme, self._listener.getsockname()[1])
        self.connections = 0
        # Connections that the server has ended.
        self.ended = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=carry, args=(client, server), daemon=True).start()
            threading.Thread(target=self._carry_back, args=(server, client), daemon=True).start()

    def _carry_back(self, server, client):
        carry(server, client)
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
