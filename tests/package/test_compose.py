"""template.docker-compose.yaml, renamed and read by docker-compose itself."""

import re
import shutil

import pytest
from conftest import REPOSITORY, run


@pytest.fixture
def project(tmp_path):
    shutil.copy(REPOSITORY / "template.docker-compose.yaml", tmp_path / "docker-compose.yaml")
    return tmp_path


def parsed(project, environment):
    """What docker-compose makes of the file with this .env beside it."""
    (project / ".env").write_text(environment)
    shown = run("docker-compose", "config", cwd=project)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def ports(shown):
    """What is published, however this docker-compose quotes it."""
    return dict(re.findall(r'(published|target): "?(\d+)', shown))


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
    assert ports(shown) == {"published": "8080", "target": "8080"}


def test_the_port_of_the_environment_file_is_published(project):
    shown = parsed(project, "MOSS_PORT=9000\n")
    assert ports(shown) == {"published": "9000", "target": "9000"}


def test_an_unknown_key_is_refused(project):
    with open(project / "docker-compose.yaml", "a") as file:
        file.write("    restarts: always\n")
    (project / ".env").touch()
    assert run("docker-compose", "config", "--quiet", cwd=project).returncode != 0
