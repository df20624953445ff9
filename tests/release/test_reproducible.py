"""A second build has the same bytes: in another folder, with another time zone and umask."""

import os
import shutil
from pathlib import Path

from conftest import IS_DRAFT, RELEASE, REPOSITORY
from container import succeed

# One of three: the others are built by the same script, with another compiler.
ARCHITECTURE = "x86_64"


def test_has_the_same_bytes_in_another_folder(tmp_path):
    clone = tmp_path / "it's another földer"
    # git's upload-pack does not get the setting of tests/release/run.
    allowed = ("--upload-pack", "git -c safe.directory='*' upload-pack")
    succeed("git", "clone", "--quiet", *allowed, REPOSITORY, clone)
    # A draft may have changes that are not committed.
    listed = succeed("git", "ls-files", "-z", cwd=REPOSITORY)
    for name in filter(None, listed.split("\0")):
        shutil.copy(REPOSITORY / name, clone / name)
    # cargo finds the crates by another path, and does not fetch them again.
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    other_home = tmp_path / "cargo"
    other_home.mkdir()
    (other_home / "registry").symlink_to(home / "registry")

    folder = tmp_path / "release"
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    environment |= {"CARGO_HOME": str(other_home), "TZ": "Asia/Tokyo", "LANG": "C.UTF-8"}
    # Settings of somebody's other builds.
    environment |= {"CARGO_INCREMENTAL": "1", "CARGO_PROFILE_RELEASE_DEBUG": "2", "RUSTFLAGS": "-g", "CFLAGS": "-g"}
    succeed(
        *("release/build", *(["--draft"] if IS_DRAFT else []), "--only", ARCHITECTURE, folder),
        cwd=clone,
        env=environment,
        umask=0o077,
        timeout=900,
    )
    files = [file.name for file in folder.iterdir() if file.name.endswith((".gz", ".deb", ".tgz"))]
    assert any(ARCHITECTURE in name for name in files)
    different = [name for name in files if (folder / name).read_bytes() != (RELEASE / name).read_bytes()]
    assert not different
