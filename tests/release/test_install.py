"""INSTALL.txt, followed with nothing but the unpacked folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest
from conftest import ARCHITECTURES, REPOSITORY
from container import PATIENCE, succeed
from debian import Lan, Machine, make_root

TALK = REPOSITORY / "tests/release/talk.py"


def sections(text):
    """The blocks of commands of each section, by its title."""
    found = {"": []}
    title = ""
    for paragraph in re.split(r"\n\n+", text.strip()):
        lines = paragraph.splitlines()
        if len(lines) > 1 and set(lines[1]) in ({"-"}, {"="}):
            title = lines[0]
            found[title] = []
            lines = lines[2:]
        if lines and all(line.startswith("    ") for line in lines):
            found[title].append("".join(f"{line[4:]}\n" for line in lines))
    return found


@pytest.fixture
def commands(unpacked):
    return sections((unpacked / "INSTALL.txt").read_text())


@pytest.fixture
def runnable(unpacked, architecture):
    """The folder, where a program for another architecture is replaced by a script that runs it
    under QEMU."""
    _, emulator = ARCHITECTURES[architecture]
    if emulator:
        program = unpacked / "moss"
        foreign = unpacked.parent / "moss-of-another-machine"
        program.rename(foreign)
        program.write_text(f'#!/bin/sh\nexec {shutil.which(emulator[0])} {foreign} "$@"\n')
        program.chmod(0o755)
    return unpacked


def test_program_prints_its_version(runnable, commands):
    [[version]] = [blocks for title, blocks in commands.items() if title.startswith("moss, ")]
    folder_version = runnable.name.split("-")[1]
    assert re.fullmatch(rf"moss {re.escape(folder_version)} \([0-9a-f]{{12}}\)\n", shell(version, runnable))


def test_program_can_be_tried_in_the_folder(runnable, commands):
    [command] = commands["Try it"]
    # README.md, which the reader goes on with, has the same command for people with Rust.
    readme = (runnable / "README.md").read_text()
    assert command.replace("./moss", "cargo run --release --locked") in readme
    # Port 8080 may be taken here.
    command = command.replace("./moss", "MOSS_PORT=0 ./moss")
    with subprocess.Popen(
        ["sh", "-c", command],
        cwd=runnable,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as moss:
        end = lambda: os.killpg(moss.pid, signal.SIGKILL)
        timer = threading.Timer(PATIENCE, end)
        timer.start()
        try:
            port = next(filter(None, map(listening_port, moss.stdout)))
            with urllib.request.urlopen(f"http://localhost:{port}/", timeout=PATIENCE) as page:
                index = (runnable / "examples/browser/index.html").read_bytes()
                assert page.read() == index
            # The example pages do the same.
            succeed(sys.executable, TALK, f"ws://localhost:{port}/", "only-for-trying-it-out")
        finally:
            timer.cancel()
            end()


@pytest.mark.parametrize("architecture", ["x86_64"])
def test_service_is_installed_upgraded_and_removed(unpacked, commands, tmp_path_factory):
    make_root()
    with Lan() as lan, Machine(tmp_path_factory.mktemp("debian"), lan.box) as machine:
        shutil.copytree(unpacked, machine.path("/root/moss"))
        before = installed(machine)

        def follow(block):
            script = f'sudo() {{ "$@"; }}\ncd /root/moss\n{block}'
            return machine.succeed("sh", "-euc", script)

        settings, check, install, well, restart = commands["Install it"]
        follow(settings)
        assert "only-for-trying" not in follow(check)
        follow(install)
        assert "active (running)" in follow(well)
        mode = machine.succeed("stat", "--format=%a %U", "/etc/moss.env")
        assert mode == "600 root\n"
        secret = machine.succeed("sed", "-n", "s/^MOSS_CONNECTION_SECRET=//p", "/etc/moss.env").strip()
        assert re.fullmatch(r"[0-9a-f]{64}", secret)

        talk = (sys.executable, TALK, f"ws://{lan.box_address}:8080/", secret)
        lan.on_the_phone(*talk)
        for block in (restart, *commands["Upgrade it"]):
            pid = machine.shown("moss", "MainPID")
            follow(block)
            assert machine.shown("moss", "MainPID") not in ("0", pid)
            lan.on_the_phone(*talk)
        [remove] = commands["Remove it"]
        follow(remove)
        assert installed(machine) == before


def test_page_names_what_is_in_the_folder(unpacked, commands):
    [listed] = commands["What is in here"]
    names = [line.split()[0] for line in listed.splitlines()]
    for name in names:
        assert (unpacked / name).exists(), name
    there = {file.name for file in unpacked.iterdir()}
    assert there - {"INSTALL.txt"} == {name.split("/")[0] for name in names}


def shell(command, folder):
    return succeed("sh", "-euc", command, cwd=folder, env={"PATH": os.environ["PATH"]})


def listening_port(line):
    found = re.search(r"listening on \S+:(\d+)$", line.strip())
    return found and found[1]


def installed(machine):
    """The files in the administrator's folders of the machine."""
    return set(machine.succeed("find", "/etc", "/usr/local").split())
