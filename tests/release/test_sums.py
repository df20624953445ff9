"""SHA256SUMS, by which people check their downloads."""

from conftest import RELEASE
from container import succeed


def test_sums_name_each_file_of_the_release():
    summed = {line.split()[1] for line in (RELEASE / "SHA256SUMS").read_text().splitlines()}
    there = {file.name for file in RELEASE.iterdir() if file.is_file()} - {"SHA256SUMS", "DRAFT"}
    assert there and summed == there


def test_sums_are_right():
    succeed("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=RELEASE)
