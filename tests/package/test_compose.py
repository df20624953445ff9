"""template.docker-compose.yaml, renamed and read by docker-compose."""

import re
import shutil

import pytest
from conftest import REPOSITORY, run


@pytest.fixture
def project(tmp_path):
    shutil.copy(REPOSITORY / "template.docker-compose.yaml", tmp_path / "docker-compose.yaml")
    return tmp_path


def parsed(project, environment):
    """The file as docker-compose reads it with this .env."""
    (project / ".env").write_text(environment)
    shown = run("docker-compose", "config", cwd=project)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def ports(shown):
    """The published ports, whatever docker-compose's order and quotes."""
    found = re.findall(r'(published|target): "?(\d+)', shown)
    pairs = [dict(found[at : at + 2]) for at in range(0, len(found), 2)]
    return {pair["published"]: pair["target"] for pair in pairs}


def test_a_filled_in_template_is_valid(project):
    shown = parsed(project, (REPOSITORY / "template.env").read_text())
    for setting in (
        "restart: always",
        "read_only: true",
        "- no-new-privileges:true",
        "cap_drop:\n    - ALL",
        "MOSS_CONNECTION_OFFER_TYPE: ",
    ):
        assert setting in shown, shown
    assert ports(shown) == {"8080": "8080", "8443": "8443"}
    assert "volumes:" not in shown


def test_the_ports_of_the_environment_file_are_published(project):
    shown = parsed(project, "MOSS_PORT=9000\nMOSS_TLS_PORT=9443\n")
    assert ports(shown) == {"9000": "9000", "9443": "9443"}


@pytest.mark.parametrize("folder", ["/etc/moss", "/srv/pages"])
def test_a_folder_is_mounted_by_two_lines(project, folder):
    file = project / "docker-compose.yaml"
    commented = re.compile(rf"^    #(?=volumes:|  - {folder}:)", re.M)
    uncommented, lines = commented.subn("    ", file.read_text())
    assert lines == 2
    file.write_text(uncommented)
    shown = parsed(project, "")
    # docker-compose and Docker's plugin spell it differently.
    short = f"- {folder}:{folder}:ro"
    long = rf"source: {folder}\n\s+target: {folder}\n\s+read_only: true"
    assert re.search(f"{short}|{long}", shown), shown


def test_an_unknown_key_is_refused(project):
    with open(project / "docker-compose.yaml", "a") as file:
        file.write("    restarts: always\n")
    (project / ".env").touch()
    assert run("docker-compose", "config", "--quiet", cwd=project).returncode != 0
