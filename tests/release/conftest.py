"""What the tests of a release share: its folder, and its tarballs, unpacked."""

import os
from pathlib import Path

import pytest
from container import succeed

REPOSITORY = Path(__file__).resolve().parents[2]
RELEASE = Path(os.environ["MOSS_RELEASE"])
IS_DRAFT = (RELEASE / "DRAFT").exists()

# Each architecture's target in Rust, and the command that runs its programs here.
ARCHITECTURES = {
    "x86_64": ("x86_64-unknown-linux-gnu", []),
    "aarch64": ("aarch64-unknown-linux-gnu", ["qemu-aarch64-static"]),
    "armv7": ("armv7-unknown-linux-gnueabihf", ["qemu-arm-static"]),
}


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
    succeed("tar", "-xzf", file, cwd=tmp_path)
    [folder] = tmp_path.iterdir()
    assert folder.name == file.name.removesuffix(".tar.gz")
    return folder
