"""A Debian without Rust that systemd boots in a container, with a network of its own: the box
of a LAN, with a phone at the other end of the cable."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Far more than anything here takes on a busy machine: a limit for a hang.
PATIENCE = 120

SUITE = os.environ.get("MOSS_DEBIAN", "bookworm")
# What a small Debian server has.
PACKAGES = "dbus,openssl,passwd,procps,systemd-sysv"
# Kept between runs: it takes most of the time. Another list makes another one.
TARGET_FOLDER = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
ROOT = TARGET_FOLDER / f"debian-{SUITE}-{PACKAGES.replace(',', '-')}"

# Boots nothing that needs devices or the internet.
TARGET = """\
[Unit]
Requires=basic.target
After=basic.target
AllowIsolate=yes
"""


def run(*command, **options):
    """Runs the command to its end and returns what it printed."""
    options = {"capture_output": True, "text": True, "timeout": PATIENCE} | options
    return subprocess.run([str(part) for part in command], **options)


def succeed(*command, **options):
    """The same, for what has to end well; returns standard output."""
    done = run(*command, **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def make_root():
    """Fetches Debian, unless it is there. It counts once it is whole."""
    if ROOT.exists():
        return
    part = ROOT.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    ROOT.parent.mkdir(exist_ok=True)
    succeed(
        *("mmdebstrap", "--variant=apt", "--format=directory", f"--include={PACKAGES}"),
        *("--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"', SUITE, part),
        timeout=600,
    )
    part.rename(ROOT)


class Lan:
    """A box and a phone, each in a network namespace, with a cable between them."""

    box_address, phone_address = "192.168.78.1", "192.168.78.2"

    def __enter__(self):
        # Names of this run's own; an interface's has 15 letters at most.
        self.box, self.phone = (f"moss-deb-{side}-{os.getpid()}" for side in ("box", "phone"))
        ends = f"db{os.getpid()}", f"dp{os.getpid()}"
        self._clean_up()
        for name in (self.box, self.phone):
            succeed("ip", "netns", "add", name)
        peer = ("type", "veth", "peer", "name", ends[1], "netns", self.phone)
        succeed("ip", "-n", self.box, "link", "add", ends[0], *peer)
        for name, end, address in (
            (self.box, ends[0], self.box_address),
            (self.phone, ends[1], self.phone_address),
        ):
            ip = ("ip", "-n", name)
            succeed(*ip, "link", "set", "lo", "up")
            succeed(*ip, "address", "add", f"{address}/24", "dev", end)
            succeed(*ip, "link", "set", end, "up")
            # Browsers hide their addresses behind mDNS names, and multicast needs a route.
            succeed(*ip, "route", "add", "default", "dev", end)
        return self

    def __exit__(self, *_):
        self._clean_up()

    def _clean_up(self):
        for name in (self.box, self.phone):
            run("ip", "netns", "delete", name)

    def on_the_phone(self, *command, **options):
        return succeed("ip", "netns", "exec", self.phone, *command, **options)


class Machine:
    """Debian, booted. What happens to it is gone with it."""

    def __init__(self, folder, netns):
        self._mount, self._memory = folder / "machine", folder / "memory"
        self._mount.mkdir()
        self._memory.mkdir()
        # The folder may lie on an overlay itself, as in a container, and those don't stack.
        succeed("mount", "-t", "tmpfs", "tmpfs", self._memory)
        changes, work = self._memory / "changes", self._memory / "work"
        changes.mkdir()
        work.mkdir()
        layers = f"lowerdir={ROOT},upperdir={changes},workdir={work}"
        succeed("mount", "-t", "overlay", "overlay", "-o", layers, self._mount)
        (self._mount / "etc/systemd/system/test.target").write_text(TARGET)
        self._name = f"moss-deb-{os.getpid()}"
        self._nspawn = subprocess.Popen(
            [
                *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit"),
                *("--console=pipe", "--boot", f"--machine={self._name}"),
                *(f"--directory={self._mount}", f"--network-namespace-path=/run/netns/{netns}"),
                "systemd.unit=test.target",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self):
        booted = ("systemctl", "is-active", "--quiet", "test.target")
        try:
            self.wait_for("Debian has booted", lambda: self.run(*booted).returncode == 0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for pid in self._children():
            os.kill(pid, signal.SIGKILL)
        try:
            self._nspawn.communicate(timeout=PATIENCE)
        finally:
            self._nspawn.kill()
            succeed("umount", self._mount, self._memory)
            # systemd-nspawn leaves it behind where /run is not a tmpfs.
            shutil.rmtree(f"/run/systemd/nspawn/propagate/{self._name}", ignore_errors=True)

    def path(self, name):
        """A file of the machine, as it is seen from here."""
        return self._mount / name.lstrip("/")

    def run(self, *command, **options):
        """Runs the command inside, as root."""
        if self._nspawn.poll() is not None:
            pytest.fail("the container has ended: " + self._nspawn.stdout.read())
        [init] = self._children() or [None]
        if init is None:
            return subprocess.CompletedProcess(command, 1, "", "not there yet")
        inside = ("nsenter", f"--target={init}", "--all", "env", "--ignore-environment")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return run(*inside, path, "HOME=/root", *command, stdin=subprocess.DEVNULL, **options)

    def succeed(self, *command, **options):
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def shown(self, unit, name):
        """What `systemctl show` says of the unit."""
        return self.run("systemctl", "show", unit, f"--property={name}", "--value").stdout.strip()

    def wait_for(self, what, condition):
        deadline = time.monotonic() + PATIENCE
        while not (result := condition()):
            if time.monotonic() > deadline:
                journal = self.run("journalctl", "--no-pager", "--lines=50")
                pytest.fail(f"{what} did not happen:\n{journal.stdout + journal.stderr}")
            time.sleep(0.05)
        return result

    def _children(self):
        listed = run("pgrep", "-P", self._nspawn.pid)
        return [int(line) for line in listed.stdout.split()]


if __name__ == "__main__":
    make_root()
