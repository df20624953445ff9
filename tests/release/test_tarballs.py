"""What is in the tarballs."""

import pytest
from conftest import IS_DRAFT
from container import succeed


def test_tarball_has_the_program_and_its_documents(unpacked):
    files = {str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()}
    assert files >= {
        *("moss", "INSTALL.txt", "README.md", "template.env", "moss.service", "moss@.service"),
        *("LICENSE-MIT", "LICENSE-APACHE", "LICENCES-OF-PARTS.txt"),
        *("docs/deployment.md", "docs/https-in-the-lan.md", "examples/browser/index.html"),
    }
    hidden = [file for file in files if "/." in f"/{file}"]
    assert not hidden


def test_program_is_static(unpacked):
    described = succeed("file", "--brief", unpacked / "moss")
    assert "statically linked" in described or "static-pie linked" in described
    assert "interpreter" not in described


@pytest.mark.skipif(IS_DRAFT, reason="drafts are not made small")
def test_program_has_at_most_two_point_seven_mebibytes(unpacked):
    assert (unpacked / "moss").stat().st_size <= 2.7 * (1 << 20)
