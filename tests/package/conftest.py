"""What the package tests share: the static binary, a moss that runs, and a
place that holds nothing else."""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from websockets.sync.client import connect

REPOSITORY = Path(__file__).resolve().parents[2]

# Far more than anything here takes on a busy machine: a limit for a hang.
PATIENCE = 60

SECRET = "a secret for the package tests"
ENVIRONMENT = {
    "MOSS_CONNECTION_SECRET": SECRET,
    "MOSS_CONNECTION_OFFER_TYPE": "offer",
    "MOSS_PORT": "0",
}


class Moss:
    """A moss that is listening, with all that it printed.

    `command` may wrap it in other programs, as long as each of them either
    becomes the next or waits for it.
    """

    def __init__(self, command, cwd, **settings):
        self.environment = ENVIRONMENT | settings
        self.output = []
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines = queue.Queue()
        threading.Thread(target=self._drain, daemon=True).start()
        try:
            self.port = self._wait_for_port()
        except BaseException:
            self.kill()
            raise
        self.environment = self.environment | {"MOSS_PORT": str(self.port)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def pid(self):
        """moss's own process id, below whatever it is wrapped in."""
        pid = self.process.pid
        while children := child_pids(pid):
            [pid] = children
        return pid

    @property
    def status(self):
        """The fields of /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}

    def stop(self, number=signal.SIGTERM):
        """Sends moss the signal and returns the exit status."""
        os.kill(self.pid, number)
        return self.process.wait(PATIENCE)

    def kill(self):
        # Takes moss along: `unshare --kill-child`.
        self.process.kill()
        self.process.wait(PATIENCE)

    def _drain(self):
        with self.process.stdout:
            for line in self.process.stdout:
                self.output.append(line)
                self._lines.put(line)
        self._lines.put(None)

    def _wait_for_port(self):
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            if found := re.search(r"listening .*:(\d+)\b", line):
                return int(found[1])
        pytest.fail("moss does not listen:\n" + "".join(self.output))


def child_pids(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(line) for line in listed.stdout.split()]


def confined(root, *command, user="65534:65534"):
    """The command that runs `command` as PID 1 with `root` as its root, which
    it can only read, as `user`, with no capability and none to be had: what
    `docker run --read-only --cap-drop ALL --security-opt no-new-privileges`
    does, without Docker."""
    script = """
        chroot=$1 root=$2 user=$3
        shift 3
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        exec setpriv --no-new-privs "$chroot" --userspec="$user" --groups= "$root" "$@"
    """
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("sh", "-ec", script, "sh", shutil.which("chroot"), str(root), user),
        *map(str, command),
    ]


def without_network(*command):
    """The command that runs `command` where not even loopback is up, so that
    no name server is asked or waited for."""
    return ["unshare", "--net", *map(str, command)]


def run(*command, **options):
    """Runs the command to its end and returns what it printed."""
    options = {"capture_output": True, "text": True, "timeout": PATIENCE} | options
    return subprocess.run([str(part) for part in command], **options)


def health(binary, moss, **settings):
    """`moss health` with the environment of `moss`."""
    return run(binary, "health", env=moss.environment | settings, cwd="/")


def relays(url, **options):
    """Whether a master and a client find each other there, both ways."""
    options = {"open_timeout": PATIENCE, "close_timeout": PATIENCE} | options
    with connect(url, **options) as master, connect(url, **options) as client:
        send(master, type="set-master", payload={"sdp": {"v": 0}, "secret": SECRET})
        assert receive(master) == {"type": "master-confirmation", "payload": ""}
        send(client, type="login")
        assert receive(client) == {"type": "offer", "payload": {"v": 0}}
        send(client, type="answer", payload=[1, 2])
        answer = receive(master)
        assert (answer["type"], answer["payload"]) == ("answer", [1, 2])
        send(master, type="candidate", payload="x", id=answer["id"])
        assert receive(client) == {"type": "candidate", "payload": "x"}
    return True


def send(connection, **packet):
    connection.send(json.dumps(packet))


def receive(connection):
    return json.loads(connection.recv(timeout=PATIENCE))


@pytest.fixture(scope="session")
def binary():
    """The file that `cargo static` made."""
    host = run("rustc", "--print", "host-tuple").stdout.strip()
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / host / "release" / "moss"


@pytest.fixture
def empty_root(binary, tmp_path):
    """A folder that holds moss and nothing else, open to any user."""
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    shutil.copy(binary, root / "moss")
    (root / "moss").chmod(0o755)
    return root
