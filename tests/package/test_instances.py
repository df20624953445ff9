"""moss@.service: one moss for each name, each as confined as with moss.service."""

import re
import shutil

from conftest import ENVIRONMENT, PATIENCE, REPOSITORY, free_port, relays, run
from test_service import UNIT, machine  # noqa: F401, a fixture
from websockets.sync.client import connect

TEMPLATE = REPOSITORY / "moss@.service"


def directives(file):
    """The directives of a unit, also those that are commented out, without other comments."""
    lines = file.read_text().splitlines()
    return [line for line in lines if line and not re.match(r"#(?![A-Z]\w+=)", line)]


def test_instances_differ_from_the_single_service_only_in_names_and_user():
    differing = {
        "Description=moss, signaling server for WebRTC": ["Description=moss %i, signaling server for WebRTC"],
        "EnvironmentFile=/etc/moss.env": ["EnvironmentFile=/etc/moss/%i.env"],
        "RuntimeDirectory=moss": ["RuntimeDirectory=moss-%i"],
        "WorkingDirectory=%t/moss": ["WorkingDirectory=%t/moss-%i"],
        "DynamicUser=yes": ["DynamicUser=yes", "User=moss-%i"],
    }
    one = directives(UNIT)
    assert set(differing) <= set(one)
    assert directives(TEMPLATE) == [new for line in one for new in differing.get(line, [line])]


def user(machine, pid):
    """The user of a process."""
    return re.search(r"^Uid:\s+(\d+)", machine.run("cat", f"/proc/{pid}/status").stdout, re.M)[1]


def test_template_is_valid(binary, tmp_path):
    file = tmp_path / "moss@hall-1.service"
    text = TEMPLATE.read_text()
    file.write_text(text.replace("ExecStart=/usr/local/bin/moss", f"ExecStart={binary}"))
    verified = run("systemd-analyze", "verify", file)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_instances_have_settings_and_users_of_their_own_and_one_may_end(machine):  # noqa: F811
    machine.serving()  # systemd has booted.
    shutil.copy(TEMPLATE, machine.root / "etc/systemd/system")
    (machine.root / "etc/moss").mkdir()
    ports = {"hall-1": str(free_port()), "hall-2": str(free_port())}
    for name, port in ports.items():
        settings = ENVIRONMENT | {"MOSS_PORT": port}
        file = machine.root / f"etc/moss/{name}.env"
        file.touch(0o600)
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    assert machine.run("systemctl", "daemon-reload").returncode == 0
    started = machine.run("systemctl", "start", *(f"moss@{name}" for name in ports))
    assert started.returncode == 0, started

    def pid(name):
        shown = machine.run("systemctl", "show", f"moss@{name}", "--property=MainPID", "--value")
        return shown.stdout.strip()

    first, second = pid("hall-1"), pid("hall-2")
    assert [machine.port(first), machine.port(second)] == list(ports.values())
    assert user(machine, first) != user(machine, second)

    with connect(f"ws://127.0.0.1:{ports['hall-1']}/", open_timeout=PATIENCE) as neighbour:
        machine.run("kill", "-KILL", second)
        again = machine.wait_for("a restart", lambda: pid("hall-2") not in ("0", second) and pid("hall-2"))
        assert machine.port(again) == ports["hall-2"]
        assert relays(f"ws://127.0.0.1:{ports['hall-2']}/")
        neighbour.send('{"type":"ping"}')
        assert neighbour.recv(timeout=PATIENCE) == '{"type":"pong","payload":""}'
    assert pid("hall-1") == first
