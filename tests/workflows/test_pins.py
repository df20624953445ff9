"""What the linters do not check: each pin has its version beside it, each script exists."""

import os
import re

import pytest
from conftest import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
TEXTS = {file.name: file.read_text() for file in WORKFLOWS}


def test_each_pinned_commit_has_its_version_beside_it():
    pins = {}
    for text in TEXTS.values():
        for use in re.findall(r"uses: (.*)", text):
            action, commit, version = re.fullmatch(r"(\S+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", use).groups()
            pins.setdefault(action, set()).add((commit, version))
    assert pins
    # Two commits of one action: an update has missed a place.
    assert {action: len(commits) for action, commits in pins.items()} == dict.fromkeys(pins, 1)


def test_all_jobs_run_in_one_container():
    assert len(set(re.findall(r"image: (\S+)", "".join(TEXTS.values())))) == 1


@pytest.mark.parametrize("name", TEXTS)
def test_each_command_is_a_script_of_the_repository(name):
    commands = re.findall(r"run: (.*)", TEXTS[name])
    assert commands
    for command in commands:
        scripts = re.findall(r"(?:^|[ (])((?:\.ci|release|tests)/[\w/.-]+)", command)
        assert scripts and command.startswith(scripts[0]), command
        for script in scripts:
            assert os.access(REPOSITORY / script, os.X_OK), script
