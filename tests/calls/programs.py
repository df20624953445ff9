"""The programs under test: a moss, and the master whose command is in MASTER."""

import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
import urllib.request

PATIENCE = 120
SECRET = "a secret for the tests only"
SETTINGS = {
    "MOSS_CONNECTION_SECRET": SECRET,
    "MOSS_CONNECTION_OFFER_TYPE": "master-offer",
    "MOSS_CLIENT_JOINED_TYPE": "client-joined",
    "MOSS_CLIENT_LEFT_TYPE": "client-left",
    "MOSS_MASTER_LEFT_TYPE": "master-left",
    "MOSS_KICK_TYPE": "kick",
    "MOSS_HOSTNAME": "127.0.0.1",
}


class Program:
    """A process and its output."""

    def __init__(self, command, environment):
        self.output = tempfile.NamedTemporaryFile(prefix="calls-", suffix=".log")
        self.process = subprocess.Popen(
            command, env=environment, stdout=self.output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )

    @property
    def printed(self):
        with open(self.output.name, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_for(self, what, probe):
        deadline = time.monotonic() + PATIENCE
        while not (found := probe()):
            assert self.process.poll() is None, f"it ended before {what}:\n{self.printed}"
            assert time.monotonic() < deadline, f"timed out before {what}:\n{self.printed}"
            time.sleep(0.02)
        return found

    def stop(self, number=signal.SIGTERM):
        """Ends it, and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Moss:
    """A moss on a free port, which it keeps when it is restarted."""

    def __init__(self, **settings):
        self.settings = SETTINGS | settings
        self.port = 0
        self.start()

    def start(self):
        environment = self.settings | {"MOSS_PORT": str(self.port)}
        self.program = Program([os.environ["MOSS_BIN"]], environment)
        line = self.program.wait_for(
            "it listens", lambda: next((l for l in self.program.printed.splitlines() if " listening on " in l), None)
        )
        self.port = int(line.rpartition(":")[2])
        self.address = f"ws://127.0.0.1:{self.port}/"

    def health(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=PATIENCE) as answer:
            return json.load(answer)

    def kill(self):
        self.program.stop(signal.SIGKILL)


class Box:
    """A moss with the master under test."""

    def __init__(self, **settings):
        self.moss = Moss(**settings)
        self.address = self.moss.address
        command = [*shlex.split(os.environ["MASTER"]), self.address]
        self.master = Program(command, os.environ | {"MOSS_CONNECTION_SECRET": SECRET})
        try:
            self.master.wait_for("master of moss", lambda: self.moss.health()["master"])
        except BaseException:
            self.stop()
            raise

    def stop(self):
        try:
            return self.master.stop()
        finally:
            self.moss.program.stop()
