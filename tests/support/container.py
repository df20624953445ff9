"""A container that systemd boots, and commands with a time limit."""

import os
import shutil
import signal
import subprocess
import time
import uuid

import pytest

# Far longer than anything here takes on a busy machine: only a hang reaches it.
PATIENCE = 120

# Starts nothing that needs devices or the internet, whatever is installed in /usr.
TARGET = """\
[Unit]
Requires=basic.target {units}
After=basic.target {units}
AllowIsolate=yes
"""


def run(*command, **options):
    """Runs the command to its end and returns its output and exit status."""
    options = {"capture_output": True, "text": True, "timeout": PATIENCE} | options
    return subprocess.run([str(part) for part in command], **options)


def succeed(*command, **options):
    """The same, for a command that must succeed; returns standard output."""
    done = run(*command, **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def child_pids(pid):
    return [int(line) for line in run("pgrep", "-P", pid).stdout.split()]


class Container:
    """Boots systemd with the root `root`, and starts `units`; `options` are for systemd-nspawn."""

    def __init__(self, root, *options, units=""):
        self.root = root
        (root / "etc/systemd/system/test.target").write_text(TARGET.format(units=units))
        self._name = f"moss-{uuid.uuid4().hex[:8]}"
        self._nspawn = subprocess.Popen(
            [
                *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit"),
                *("--console=pipe", "--boot", f"--machine={self._name}"),
                *(f"--directory={root}", *options, "systemd.unit=test.target"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self):
        booted = ("systemctl", "is-active", "--quiet", "test.target")
        try:
            self.wait_for("the start of systemd", lambda: self.run(*booted).returncode == 0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for pid in child_pids(self._nspawn.pid):
            os.kill(pid, signal.SIGKILL)
        try:
            self._nspawn.communicate(timeout=PATIENCE)
        finally:
            self._nspawn.kill()
            # systemd-nspawn does not delete it if /run is not a tmpfs.
            shutil.rmtree(f"/run/systemd/nspawn/propagate/{self._name}", ignore_errors=True)

    def run(self, *command, **options):
        """Runs the command inside, as root, without this process's environment."""
        if self._nspawn.poll() is not None:
            pytest.fail("the container has ended: " + self._nspawn.stdout.read())
        [init] = child_pids(self._nspawn.pid) or [None]
        if init is None:
            return subprocess.CompletedProcess(command, 1, "", "not booted yet")
        inside = ("nsenter", f"--target={init}", "--all", "env", "--ignore-environment")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return run(*inside, path, "HOME=/root", *command, stdin=subprocess.DEVNULL, **options)

    def succeed(self, *command, **options):
        """The same, for a command that must succeed; returns all that it printed."""
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def show(self, unit, *properties):
        """What `systemctl show` says of the unit."""
        shown = self.run("systemctl", "show", unit, f"--property={','.join(properties)}")
        return dict(line.split("=", 1) for line in shown.stdout.splitlines())

    def wait_for(self, what, condition):
        deadline = time.monotonic() + PATIENCE
        while not (result := condition()):
            if time.monotonic() > deadline:
                journal = self.run("journalctl", "--no-pager", "--lines=50")
                pytest.fail(f"{what} did not happen:\n{journal.stdout + journal.stderr}")
            time.sleep(0.05)
        return result
