"""What the package tests share: the static binary, a running moss, and a root folder with
nothing but moss."""

import contextlib
import json
import os
import queue
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest
from container import PATIENCE, child_pids, run
from websockets.sync.client import connect

REPOSITORY = Path(__file__).resolve().parents[2]
LAN_PAGE = (REPOSITORY / "docs/https-in-the-lan.md").read_text()

SECRET = "a secret for the package tests"
ENVIRONMENT = {
    "MOSS_CONNECTION_SECRET": SECRET,
    "MOSS_CONNECTION_OFFER_TYPE": "offer",
    "MOSS_PORT": "0",
}


class Moss:
    """A running moss and its output.

    `command` may start moss through other programs, each of which executes the next one or waits
    for it. With a certificate in the settings moss also listens on `tls_port`.
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
            self.port = self._wait_for_port("listening on")
            if settings.get("MOSS_TLS_CERTIFICATE_FILE"):
                self.tls_port = self._wait_for_port("listening for TLS on")
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
        """moss's own process id, even if another command has started it."""
        pid = self.process.pid
        while children := child_pids(pid):
            [pid] = children
        return pid

    @property
    def status(self):
        """The fields of /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}

    def notify(self, number):
        os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM):
        """Sends moss the signal and returns the exit status."""
        self.notify(number)
        return self.process.wait(PATIENCE)

    def wait_for(self, words):
        """Waits until moss prints a line with these words, and returns it."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            if words in line:
                return line
        pytest.fail(f"moss does not say {words!r}:\n" + "".join(self.output))

    def wait_for_end(self):
        """Waits until `output` has all that moss prints."""
        while self._lines.get(timeout=PATIENCE) is not None:
            pass

    def kill(self):
        # moss is killed, too: it outlives `unshare --kill-child`, because a change of the user
        # clears the signal that this has set (prctl(2), PR_SET_PDEATHSIG).
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(PATIENCE)

    def _drain(self):
        with self.process.stdout:
            for line in self.process.stdout:
                self.output.append(line)
                self._lines.put(line)
        self._lines.put(None)

    def _wait_for_port(self, words):
        return int(re.search(r":(\d+)$", self.wait_for(words).rstrip())[1])


def trusting(authority):
    """The TLS context of a client that trusts only this authority. It is limited to TLS 1.2,
    because the client reads in a separate thread: in Python 3.11 a TLS 1.3 ticket that arrives
    during a write loses one request in three hundred, with any server."""
    context = ssl.create_default_context(cafile=authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class Certificate(NamedTuple):
    """A self-signed certificate for this machine, and its key."""

    file: Path
    key: Path

    @property
    def trusting(self):
        """The TLS context of a client that trusts only this certificate."""
        return trusting(self.file)

    def give(self, folder, user):
        """Writes both into the folder, readable only by `user`."""
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, user, user)
        for file, name in ((self.file, "certificate.pem"), (self.key, "key.pem")):
            (folder / name).unlink(missing_ok=True)
            shutil.copy(file, folder / name)
            (folder / name).chmod(0o400)
            os.chown(folder / name, user, user)


def make_certificate(folder):
    """Makes a new certificate, with its files in `folder`."""
    made = run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "30", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
    )
    assert made.returncode == 0, made.stderr
    return Certificate(folder / "certificate.pem", folder / "key.pem")


def tls_settings(folder):
    """The settings of a moss with the certificate and key in the folder."""
    return {
        "MOSS_TLS_CERTIFICATE_FILE": f"{folder}/certificate.pem",
        "MOSS_TLS_KEY_FILE": f"{folder}/key.pem",
        "MOSS_TLS_PORT": "0",
    }


def served_certificate(port):
    """The certificate that is served at the port, in PEM, unchecked."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE)


def block(page, language, words):
    """The page's code block in this language with these words."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", page, re.S | re.M)
    [found] = [block for block in blocks if words in block]
    return found


def fetched(url):
    """The content at the URL."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as page:
        return page.read().decode()


def free_port():
    """A free port outside the range of outgoing connections, so that it stays free."""
    ends = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, ends)
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return port
        except OSError:
            continue


def confined(root, *command, user="65534:65534", volume=("", "")):
    """The command that runs `command` as PID 1, as `user` and without capabilities, in the
    read-only root folder `root`: like `docker run --read-only --cap-drop ALL --security-opt
    no-new-privileges`, but without Docker. `volume` is a folder of this machine and an existing
    one within the root, like `--volume FOLDER:WITHIN:ro`."""
    script = """
        chroot=$1 root=$2 user=$3 folder=$4 within=$5
        shift 5
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        if [ -n "$folder" ]; then
            mount --bind "$folder" "$root$within"
            mount -o remount,bind,ro "$root$within"
        fi
        exec setpriv --no-new-privs "$chroot" --userspec="$user" --groups= "$root" "$@"
    """
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("sh", "-ec", script, "sh", shutil.which("chroot"), str(root), user),
        *map(str, volume),
        *map(str, command),
    ]


def without_network(*command):
    """The command that runs `command` without a network, not even loopback, so
    that it does not wait for a name server."""
    return ["unshare", "--net", *map(str, command)]


def health(binary, moss, **settings):
    """`moss health` with the environment of `moss`."""
    return run(binary, "health", env=moss.environment | settings, cwd="/")


def relays(url, **options):
    """Whether a master and a client can exchange packets at the URL."""
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
    """The program made by `cargo static`."""
    host = run("rustc", "--print", "host-tuple").stdout.strip()
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / host / "release" / "moss"


@pytest.fixture(scope="session")
def binary_without_tls(binary):
    """The program made by `cargo static --no-default-features`."""
    release, host = binary.parent.name, binary.parent.parent
    return host.parent / "without-tls" / host.name / release / binary.name


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def empty_root(binary, tmp_path):
    """A folder that contains only moss, readable by all users."""
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    shutil.copy(binary, root / "moss")
    (root / "moss").chmod(0o755)
    return root
