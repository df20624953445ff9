"""A Debian without Rust that systemd boots in a container: the box of a LAN. A phone is at the
other end of its network cable."""

import os
import shutil
from pathlib import Path

from container import Container, run, succeed

REPOSITORY = Path(__file__).resolve().parents[2]

SUITE = os.environ.get("MOSS_DEBIAN", "bookworm")
# What even a small Debian server has.
PACKAGES = "dbus,openssl,passwd,procps,systemd-sysv"
# Kept between runs, since making it takes most of the time; each list of packages has its own.
TARGET_FOLDER = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
ROOT = TARGET_FOLDER / f"debian-{SUITE}-{PACKAGES.replace(',', '-')}"


def make_root():
    """Installs Debian into ROOT, unless it is there. An interrupted installation starts again."""
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
        # Names that only this run uses; an interface's may have up to 15 characters.
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


class Machine(Container):
    """A booted Debian. All changes to it are discarded at the end."""

    def __init__(self, folder, netns):
        mount, self._memory = folder / "machine", folder / "memory"
        mount.mkdir()
        self._memory.mkdir()
        # `folder` may itself be on an overlay, as in a container, and overlays don't stack.
        succeed("mount", "-t", "tmpfs", "tmpfs", self._memory)
        changes, work = self._memory / "changes", self._memory / "work"
        changes.mkdir()
        work.mkdir()
        layers = f"lowerdir={ROOT},upperdir={changes},workdir={work}"
        succeed("mount", "-t", "overlay", "overlay", "-o", layers, mount)
        super().__init__(mount, f"--network-namespace-path=/run/netns/{netns}")

    def __exit__(self, *_):
        try:
            super().__exit__()
        finally:
            succeed("umount", self.root, self._memory)

    def path(self, name):
        """The path of the machine's file from outside."""
        return self.root / name.lstrip("/")

    def shown(self, unit, name):
        """A property of the unit."""
        return self.show(unit, name)[name]


if __name__ == "__main__":
    make_root()
