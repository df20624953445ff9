"""What the tests share: the repository, and a copy of its scripts for a release."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60


def run(*command, **options):
    """Runs the command, which may fail."""
    options = {"capture_output": True, "text": True, "timeout": PATIENCE} | options
    return subprocess.run([str(part) for part in command], **options)


@pytest.fixture
def copy(tmp_path):
    """A folder with the scripts of a release and the files that they read."""
    shutil.copytree(REPOSITORY / "release", tmp_path / "release")
    for name in ("CHANGELOG.md", "Cargo.toml", "Dockerfile", "LICENSE-APACHE", "LICENSE-MIT"):
        shutil.copy2(REPOSITORY / name, tmp_path)
    return tmp_path
