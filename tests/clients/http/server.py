"""A moss that serves a folder, by http:// and by https://."""

import os
import re
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

# Time limit of each wait: only a hang takes this long, even on a busy machine.
PATIENCE = 60

SECRET = "only-the-tests-know-it"
CERTIFICATES = Path(__file__).resolve().parents[2] / "tls"
AUTHORITY = CERTIFICATES / "ca.pem"


class Origin(NamedTuple):
    """One of the two ports."""

    scheme: str
    port: int

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"


def wait_until(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} does not happen"
        time.sleep(0.02)
    return result


def trusting():
    """The TLS context of a client that trusts only the tests' own authority."""
    return ssl.create_default_context(cafile=AUTHORITY)


class Moss:
    def __init__(self, directory, pages):
        directory.mkdir(exist_ok=True)
        environment = {
            "MOSS_CONNECTION_SECRET": SECRET,
            "MOSS_CONNECTION_OFFER_TYPE": "offer",
            "MOSS_ALLOWED_ORIGINS": "self",
            "MOSS_HOSTNAME": "127.0.0.1",
            "MOSS_PORT": "0",
            "MOSS_TLS_HOSTNAME": "127.0.0.1",
            "MOSS_TLS_PORT": "0",
            "MOSS_TLS_CERTIFICATE_FILE": str(CERTIFICATES / "chain.pem"),
            "MOSS_TLS_KEY_FILE": str(CERTIFICATES / "key.pem"),
            "MOSS_PAGES_DIRECTORY": str(pages),
        }
        self._log = directory / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [os.environ["MOSS_BIN"]], cwd=directory, env=environment, stdout=log, stderr=log
            )
        try:
            self.plain = Origin("http", self._port("listening on"))
            self.tls = Origin("https", self._port("listening for TLS on"))
        except BaseException:
            self.end()
            raise

    def reload(self):
        self._process.send_signal(signal.SIGHUP)

    def end(self):
        self._process.kill()
        self._process.wait(PATIENCE)

    def _port(self, words):
        def found():
            assert self._process.poll() is None, self._log.read_text()
            return re.search(rf"{words} .*:(\d+)$", self._log.read_text(), re.M)

        return int(wait_until(words, found)[1])
