"""All parts have one version, and CHANGELOG.md has a text for it."""

import json
import tomllib

from conftest import REPOSITORY, run

VERSION = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["package"]["version"]


def notes(folder, version):
    return run(folder / "release/notes", version)


def test_crate_and_client_library_have_one_version():
    library = REPOSITORY / "clients/javascript"
    lock = json.loads((library / "package-lock.json").read_text())
    assert json.loads((library / "package.json").read_text())["version"] == VERSION
    assert lock["version"] == lock["packages"][""]["version"] == VERSION


def test_version_is_printed_and_compared_with_the_tag():
    script = REPOSITORY / "release/version"
    assert run(script).stdout == f"{VERSION}\n"
    assert run(script, f"v{VERSION}").stdout == f"{VERSION}\n"
    for tag in (VERSION, f"v{VERSION}1", "v", ""):
        refused = run(script, tag)
        assert refused.returncode == 1 and not refused.stdout, tag


def test_this_version_has_notes():
    done = notes(REPOSITORY, VERSION)
    assert done.returncode == 0, done.stderr
    # The repository's relative links lead nowhere from a release's page.
    assert "](" not in done.stdout.replace("](https://", "")


def test_notes_are_those_of_one_version_in_whole_paragraphs(copy):
    (copy / "CHANGELOG.md").write_text(
        "# Changelog\n\nAbout.\n\n## Unreleased\n\nNot yet.\n\n"
        "## 1.1.0 - 2027-01-31\n\nFirst line,\nsecond line.\n\n### Added\n\n- one\n  thing\n- another\n\n"
        "## 1.0.0 - 2026-11-27\n\nThe first.\n"
    )
    expected = "First line, second line.\n\n### Added\n\n- one thing\n- another\n"
    assert notes(copy, "1.1.0").stdout == expected
    assert notes(copy, "1.0.0").stdout == "The first.\n"


def test_version_without_notes_is_refused(copy):
    (copy / "CHANGELOG.md").write_text(
        "## 1.3.0\n\nNo date.\n\n## 1.2.0 - soon\n\nNo date.\n\n## 1.1.0 - 2027-01-31\n\n## 1.0.0 - 2026-11-27\n\nText.\n"
    )
    for version in ("1.4.0", "1.3.0", "1.2.0", "1.1.0", "1.0", "1x0.0", "1.0.0 - 2026-11-27"):
        refused = notes(copy, version)
        assert refused.returncode == 1 and not refused.stdout, version
        assert "CHANGELOG.md has no section" in refused.stderr
