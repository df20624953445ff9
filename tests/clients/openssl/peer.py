"""TLS features that OpenSSL's s_client has and libraries lack, against a real moss.

    peer.py wss://127.0.0.1:8443/         # from an authority in SSL_CERT_FILE

Each step prints a line; the first failure ends the script with status 1.
"""

import os
import subprocess
import sys
import tempfile
import threading
from urllib.parse import urlsplit

ADDRESS = urlsplit(sys.argv[1]).netloc
PATIENCE = 60
# Otherwise moss keeps the connection open for some seconds, and s_client with it.
REQUEST = "GET /health HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n"


class Client:
    """A connection of s_client to moss."""

    def __init__(self, *options):
        command = ["openssl", "s_client", "-connect", ADDRESS, "-verify_return_error",
                   "-CAfile", os.environ["SSL_CERT_FILE"], *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, bufsize=0)
        self.output = ""
        self.timer = threading.Timer(PATIENCE, self.process.kill)
        self.timer.start()

    def say(self, text):
        self.process.stdin.write(text.encode())

    def read_to(self, *parts):
        """Reads until one of these texts, or the end, and returns all so far."""
        while not any(part in self.output for part in parts):
            data = self.process.stdout.read(4096)
            if not data:
                break
            self.output += data.decode(errors="replace")
        return self.output

    def finish(self):
        """Reads to the end."""
        self.read_to("\0 never said")
        self.process.wait()
        self.timer.cancel()
        return self.output


def get(*options):
    """Requests /health on a new connection, and returns all output of s_client."""
    client = Client(*options)
    client.read_to("Verify return code: 0 (ok)")
    client.say(REQUEST)
    output = client.finish()
    assert "HTTP/1.1 200 OK" in output, output
    return output


def resume(version, folder):
    session = os.path.join(folder, version)
    output = get(version, "-sess_out", session)
    assert "\nNew, " in output, output
    output = get(version, "-sess_in", session)
    assert "\nReused, " in output, output


def renew_keys():
    client = Client("-tls1_3")
    client.read_to("Verify return code: 0 (ok)")
    client.say("K\n")
    client.read_to("KEYUPDATE")
    client.say(REQUEST)
    output = client.finish()
    assert "KEYUPDATE" in output and "HTTP/1.1 200 OK" in output, output


def renegotiate():
    """moss refuses with a warning alert, and s_client then closes."""
    client = Client("-tls1_2")
    client.read_to("Verify return code: 0 (ok)")
    client.say("R\n")
    output = client.finish()
    assert "RENEGOTIATING" in output and "no renegotiation" in output, output


with tempfile.TemporaryDirectory() as folder:
    for version in ["-tls1_2", "-tls1_3"]:
        resume(version, folder)
print("resume: a ticket, in TLS 1.2 and 1.3")
renew_keys()
print("key update: within a connection")
renegotiate()
get()
print("renegotiation: refused, without an effect on others")
