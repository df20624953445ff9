"""A moss, and links to it."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from peers import BOX, FAR, MOSS, PATIENCE, SECRET

SEED = int(os.environ.get("MOSS_NETWORK_SEED", "1"))


class Moss:
    """A moss that listens in this namespace."""

    def __init__(self, directory, **settings):
        directory.mkdir()
        environment = {
            "MOSS_CONNECTION_SECRET": SECRET,
            "MOSS_CONNECTION_OFFER_TYPE": "offer",
            "MOSS_CLIENT_JOINED_TYPE": "client-joined",
            "MOSS_CLIENT_LEFT_TYPE": "client-left",
            "MOSS_MASTER_LEFT_TYPE": "master-left",
            "MOSS_PORT": "0",
        }
        self.log = directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [os.environ["MOSS_BIN"]], cwd=directory, env=environment | settings, stdout=log
            )
        end = time.monotonic() + PATIENCE
        while not (found := re.search(r"listening on .*:(\d+)", self.log.read_text())):
            assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        self.port = int(found[1])

    def end(self):
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()


class Cable:
    """A process of link.py, and the addresses of both sides. The far side is a phone, or a master."""

    def __init__(self, name, network, delay=0.1, loss=0.0, overtaking=0.0):
        self.name, self.address = name, f"{network}.2"
        link = Path(__file__).with_name("link.py")
        arguments = [name, BOX, FAR, delay, loss, overtaking, SEED]
        self.process = subprocess.Popen(
            [sys.executable, "-B", link, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "{}\n"
        for namespace, here, there in [(BOX, 1, 2), (FAR, 2, 1)]:
            ip(namespace, f"address add {network}.{here} peer {network}.{there} dev {name}")
            ip(namespace, f"link set {name} up")

    def lead_to_moss(self):
        """From now on, what the far side sends takes this link."""
        ip(FAR, f"route replace {MOSS} dev {self.name} src {self.address}")

    def pull(self):
        self._tell("pull")

    def plug(self):
        self._tell("plug")

    def counts(self):
        return self._tell("count")

    def remove(self):
        self.process.kill()
        self.process.communicate()

    def _tell(self, word):
        print(word, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def ip(namespace, command):
    subprocess.run(["ip", "-n", namespace, *command.split()], check=True, timeout=PATIENCE)


@pytest.fixture(scope="session", autouse=True)
def address():
    ip(BOX, f"address add {MOSS}/32 dev lo")


@pytest.fixture
def start(tmp_path):
    """A function that starts a moss with this name."""
    started = []

    def start(name, **settings):
        started.append(Moss(tmp_path / name, **settings))
        return started[-1]

    yield start
    for moss in started:
        moss.process.terminate()
    for moss in started:
        moss.end()


@pytest.fixture
def cable():
    """A function that makes a link."""
    laid = []

    def lay(*arguments, **options):
        laid.append(Cable(*arguments, **options))
        return laid[-1]

    yield lay
    for cable in laid:
        cable.remove()


def pytest_report_header():
    return f"MOSS_NETWORK_SEED={SEED} decides which packets are lost"


def pytest_terminal_summary(terminalreporter):
    passed, failed, errors = (
        len(terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed", "error")
    )
    terminalreporter.write_line(f"network: {passed} passed, {failed + errors} failed")
