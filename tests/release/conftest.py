"""What the tests of a release share: its folder, and its tarballs, unpacked."""

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RELEASE = Path(os.environ["MOSS_RELEASE"])
IS_DRAFT = (RELEASE / "DRAFT").exists()

# Far more than anything here takes on a busy machine: a limit for a hang.
PATIENCE = 120

# Each architecture's target in Rust, and the command that runs its programs here.
ARCHITECTURES = {
    "x86_64": ("x86_64-unknown-linux-gnu", []),
    "aarch64": ("aarch64-unknown-linux-gnu", ["qemu-aarch64-static"]),
    "armv7": ("armv7-unknown-linux-gnueabihf", ["qemu-arm-static"]),
}


def run(*command, **options):
    """Runs the command, which must succeed, and returns what it printed."""
    options = {"capture_output": True, "text": True, "timeout": PATIENCE} | options
    done = subprocess.run([str(part) for part in command], **options)
    assert done.returncode == 0, done
    return done.stdout


def tarball(architecture):
    [file] = RELEASE.glob(f"moss-*-{architecture}-linux.tar.gz")
    return file


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture
def unpacked(architecture, tmp_path):
    """The unpacked tarball of this architecture, outside the checkout."""
    file = tarball(architecture)
    run("tar", "-xzf", file, cwd=tmp_path)
    [folder] = tmp_path.iterdir()
    assert folder.name == file.name.removesuffix(".tar.gz")
    return folder
