"""What release/publish asks of gh and docker, which are stand-ins here."""

import hashlib
import os

import pytest
from conftest import run

STAND_IN = """#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >>"$CALLS"
case $* in
login*) cat >>"$CALLS" ;;
*--notes-file*) cat >"$CALLS.notes" ;;
*--metadata-file*)
    echo '{"containerimage.digest": "sha256:0123"}' >"$(echo "$*" | sed 's/.*--metadata-file \\([^ ]*\\).*/\\1/')"
    for folder; do :; done
    (cd "$folder" && find . -type f | sort) >"$CALLS.context"
    ;;
esac
"""


@pytest.fixture
def publish(copy):
    """Runs release/publish for a tag, and returns its result and the calls of the stand-ins."""
    (copy / "CHANGELOG.md").write_text("## 1.0.0 - 2026-11-27\n\nText.\n\n## 1.0.0-rc.1 - 2026-11-01\n\nTry it.\n")
    folder, programs = copy / "dist", copy / "bin"
    for name in ("x86_64", "aarch64", "armv7"):
        place = folder / "programs" / name
        place.mkdir(parents=True)
        (place / "moss").write_text(name)
        (place / "LICENCES.txt").write_text("licences")
    (folder / "moss.tar.gz").write_text("moss")
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(b'moss').hexdigest()}  moss.tar.gz\n")
    programs.mkdir()
    for name in ("docker", "gh"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    (programs / "git").write_text("#!/bin/sh\necho 1700000000\n")
    (programs / "git").chmod(0o755)
    calls = copy / "calls"
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "GITHUB_ACTOR": "somebody",
        "GITHUB_OUTPUT": str(copy / "output"),
        "GITHUB_REPOSITORY": "Some-Body/Moss",
        "GITHUB_TOKEN": "the-token",
    }

    def publish(what, tag="v1.0.0"):
        version = tag.removeprefix("v")
        manifest = (copy / "Cargo.toml").read_text()
        (copy / "Cargo.toml").write_text(manifest.replace('\nversion = "1.0.0"\n', f'\nversion = "{version}"\n'))
        done = run("release/publish", what, "dist", cwd=copy, env=environment | {"GITHUB_REF_NAME": tag})
        return done, calls.read_text().splitlines() if calls.exists() else []

    return publish


def test_release_has_all_files_and_the_text_of_its_version(publish, copy):
    done, [call] = publish("files")
    assert done.returncode == 0, done.stderr
    assert call.startswith("gh release create v1.0.0 --repo Some-Body/Moss --verify-tag --title moss 1.0.0 ")
    assert call.endswith(" dist/moss.tar.gz dist/SHA256SUMS")
    assert "--prerelease" not in call and "the-token" not in call
    assert (copy / "calls.notes").read_text() == "Text.\n"


def test_pre_release_is_marked_as_such(publish, copy):
    done, [call] = publish("files", "v1.0.0-rc.1")
    assert done.returncode == 0, done.stderr
    assert "--prerelease" in call
    assert (copy / "calls.notes").read_text() == "Try it.\n"


def test_image_is_pushed_for_each_architecture_and_its_digest_is_an_output(publish, copy):
    done, calls = publish("image")
    assert done.returncode == 0, done.stderr
    assert calls[:2] == ["docker login ghcr.io --username somebody --password-stdin", "the-token"]
    [build] = [call for call in calls if " buildx build " in call]
    assert "--platform linux/amd64,linux/arm64,linux/arm/v7" in build
    assert "--tag ghcr.io/some-body/moss:1.0.0 --tag ghcr.io/some-body/moss:latest" in build
    context = (copy / "calls.context").read_text().split()
    licences = ("LICENCES.txt", "LICENSE-APACHE", "LICENSE-MIT")
    files = ["moss"] + [f"licences/{name}" for name in licences]
    expected = [f"./{name}/{file}" for name in ("amd64", "arm", "arm64") for file in files]
    assert sorted(context) == sorted(["./Dockerfile", *expected])
    assert (copy / "output").read_text() == "name=ghcr.io/some-body/moss\ndigest=sha256:0123\n"
    assert "the-token" not in done.stdout + done.stderr


def test_image_of_a_pre_release_is_not_the_latest(publish):
    _, calls = publish("image", "v1.0.0-rc.1")
    [build] = [call for call in calls if " buildx build " in call]
    assert "moss:1.0.0-rc.1" in build and "latest" not in build


@pytest.mark.parametrize("what", ["image", "files"])
def test_nothing_is_published_if_a_file_has_changed(publish, copy, what):
    (copy / "dist/moss.tar.gz").write_text("another")
    done, calls = publish(what)
    assert done.returncode != 0 and not calls


@pytest.mark.parametrize("what", ["image", "files"])
def test_nothing_is_published_for_another_tag(publish, copy, what):
    (copy / "Cargo.toml").write_text('[package]\nversion = "2.0.0"\n\n')
    done, calls = publish(what)
    assert done.returncode != 0 and not calls
    assert "the tag is v1.0.0" in done.stderr
