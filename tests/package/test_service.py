"""moss.service, checked by systemd and then run by it.

systemd boots in a container that shares this machine's /usr and network. The program, the unit
and the settings are where docs/deployment.md puts them; the certificate is as in
docs/https-in-the-lan.md.
"""

import itertools
import json
import re
import resource
import shutil
import socket

import pytest
from conftest import (
    ENVIRONMENT,
    LAN_PAGE,
    PATIENCE,
    REPOSITORY,
    block,
    fetched,
    make_certificate,
    relays,
    run,
    served_certificate,
    tls_settings,
)
from container import Container
from websockets.sync.client import connect

UNIT = REPOSITORY / "moss.service"
PAGE = (REPOSITORY / "docs/deployment.md").read_text()
TROUBLESHOOTING = (REPOSITORY / "docs/troubleshooting.md").read_text()


def write_settings(file, settings):
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))


def need_namespaces():
    """Skips a test if this machine can make no container."""
    probe = run("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "true")
    if probe.returncode:
        pytest.skip(f"not run with systemd, since no container can be made here: {probe.stderr}")


class Machine(Container):
    """A booted container with this machine's /usr and moss."""

    def entries_with(self, words):
        """The unit's journal entries with these words. Waits for one, since the journal may get it
        only after systemctl has returned."""

        def found():
            return [entry for entry in self.journal("--unit=moss") if words in entry["MESSAGE"]]

        return self.wait_for(f"{words!r} in the journal", found)

    def shown(self, *properties):
        """Properties of moss.service, from `systemctl show`."""
        return self.show("moss", *properties)

    def set(self, settings):
        """Writes the settings for the next start of moss."""
        write_settings(self.root / "etc/moss.env", settings)

    def add_to_unit(self, lines):
        """Adds a drop-in with these lines to the section [Service]."""
        folder = self.root / "etc/systemd/system/moss.service.d"
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text(f"[Service]\n{lines}\n")
        assert self.run("systemctl", "daemon-reload").returncode == 0

    def restart(self):
        """Restarts moss; returns the exit status of systemctl."""
        return self.run("systemctl", "restart", "moss").returncode

    def journal(self, *matches):
        """The journal's entries for these matches, as dictionaries."""
        done = self.run("journalctl", "--no-pager", "--quiet", "--output=json", *matches)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def logged(self, pid, pattern):
        """Waits until the moss with this process id has logged a line that matches the pattern."""

        def found():
            journal = self.run("journalctl", "--no-pager", "--output=cat", f"_PID={pid}")
            return re.search(pattern, journal.stdout, re.M)

        return self.wait_for(pattern, found)

    def port(self, pid):
        """The port of the moss with this process id, from its log."""
        return self.logged(pid, r"listening on .*:(\d+)$")[1]

    def tls_port(self, pid):
        return int(self.logged(pid, r"listening for TLS on .*:(\d+)$")[1])

    def serving(self):
        """The process id and the port of the running moss."""
        active = lambda: self.shown("ActiveState")["ActiveState"] == "active"
        self.wait_for("moss.service active", active)
        pid = self.shown("MainPID")["MainPID"]
        return pid, self.port(pid)


@pytest.fixture
def machine(binary, tmp_path):
    root, local = tmp_path / "machine", tmp_path / "local"
    for folder in ("usr", "etc/systemd/system", "var", "run", "root", "proc", "sys", "dev", "tmp"):
        (root / folder).mkdir(parents=True)
    for folder in ("bin", "sbin", "lib", "lib64"):
        (root / folder).symlink_to(f"usr/{folder}")
    shutil.copy("/usr/lib/os-release", root / "etc")

    shutil.copy(UNIT, root / "etc/systemd/system")
    environment = root / "etc/moss.env"
    environment.touch(0o600)
    (local / "bin").mkdir(parents=True)
    shutil.copy(binary, local / "bin/moss")

    write_settings(environment, ENVIRONMENT)
    need_namespaces()
    options = ("--bind-ro=/usr", f"--bind-ro={local}:/usr/local")
    with Machine(root, *options, units="moss.service") as machine:
        yield machine


@pytest.fixture(params=["as it is", "with the group for TLS"])
def unit(request, tmp_path):
    """A copy of the unit file."""
    text = UNIT.read_text()
    if request.param == "with the group for TLS":
        assert text.count("\n#SupplementaryGroups=") == 1
        text = text.replace("\n#SupplementaryGroups=", "\nSupplementaryGroups=")
    file = tmp_path / "moss.service"
    file.write_text(text)
    return file


def test_unit_is_valid(binary, unit):
    unit.write_text(unit.read_text().replace("ExecStart=/usr/local/bin/moss", f"ExecStart={binary}"))
    verified = run("systemd-analyze", "verify", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_unit_is_hardened(unit):
    rated = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit)
    assert rated.returncode == 0, rated.stdout + rated.stderr
    assert re.search(r"Overall exposure level .* OK", rated.stdout)


def test_service_reads_the_key_by_its_group_and_reloads_the_certificate(machine, certificate, tmp_path):
    machine.serving()
    # The page's commands, which run as root here, and its script for certbot.
    (machine.root / "etc/group").write_text("root:x:0:\n")
    sudo = "sudo() { \"$@\"; }\n"
    done = machine.run("sh", "-euc", sudo + block(LAN_PAGE, "sh", "groupadd"))
    assert done.returncode == 0, done
    deploy = machine.root / "etc/moss/deploy"
    deploy.write_text(block(LAN_PAGE, "sh", "RENEWED_LINEAGE"))
    deploy.chmod(0o755)
    with open(machine.root / "etc/moss.env", "a") as environment:
        settings = tls_settings("/etc/moss")
        environment.writelines(f"{name}={value}\n" for name, value in settings.items())

    lineage = machine.root / "etc/letsencrypt/live/box"
    lineage.mkdir(parents=True, mode=0o700)

    def issue(certificate):
        """Issues a certificate as certbot does: its files are readable only by root."""
        for file, name in ((certificate.file, "fullchain.pem"), (certificate.key, "privkey.pem")):
            shutil.copy(file, lineage / name)
            (lineage / name).chmod(0o600)
        hook = ("env", "RENEWED_LINEAGE=/etc/letsencrypt/live/box", "/etc/moss/deploy")
        done = machine.run(*hook)
        assert done.returncode == 0, done

    issue(certificate)
    assert machine.run("systemctl", "restart", "moss").returncode == 0
    pid, port = machine.serving()
    tls_port = machine.tls_port(pid)
    assert relays(f"wss://localhost:{tls_port}", ssl=certificate.trusting)
    assert relays(f"ws://127.0.0.1:{port}")

    # Only root and moss can read the key.
    key = machine.root / "etc/moss/key.pem"
    group = int(re.search(r"^moss-tls:[^:]*:(\d+):", (machine.root / "etc/group").read_text(), re.M)[1])
    status = key.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o640, 0, group)

    with connect(f"wss://localhost:{tls_port}", ssl=certificate.trusting) as peer:
        (tmp_path / "renewed").mkdir()
        renewed = make_certificate(tmp_path / "renewed")
        issue(renewed)

        def is_served():
            return served_certificate(tls_port).split() == renewed.file.read_text().split()

        machine.wait_for("the renewed certificate being served", is_served)
        peer.send('{"type":"ping"}')
        assert peer.recv(timeout=PATIENCE) == '{"type":"pong","payload":""}'
    assert machine.shown("MainPID", "NRestarts") == {"MainPID": pid, "NRestarts": "0"}


def test_service_without_a_certificate_survives_a_reload(machine):
    pid, port = machine.serving()
    with connect(f"ws://127.0.0.1:{port}") as peer:
        assert machine.run("systemctl", "reload", "moss").returncode == 0
        peer.send('{"type":"ping"}')
        assert peer.recv(timeout=PATIENCE) == '{"type":"pong","payload":""}'
    assert machine.shown("MainPID", "NRestarts") == {"MainPID": pid, "NRestarts": "0"}


def test_service_serves_pages_that_everybody_can_read_and_reloads_them(machine):
    machine.serving()
    for folder in ("home/pages", "srv/pages"):
        (machine.root / folder).mkdir(parents=True)
        (machine.root / folder / "index.html").write_text("the page")

    def restart(directory):
        settings = ENVIRONMENT | {"MOSS_PAGES_DIRECTORY": directory}
        machine.set(settings)
        return machine.restart()

    assert restart("/home/pages") != 0
    assert machine.shown("ExecMainStatus") == {"ExecMainStatus": "2"}
    [line] = machine.entries_with("/home/pages")
    assert line["MESSAGE"].startswith("moss: MOSS_PAGES_DIRECTORY: ")

    assert restart("/srv/pages") == 0
    pid, port = machine.serving()
    url = f"http://127.0.0.1:{port}/"
    assert fetched(url) == "the page"
    assert relays(url.replace("http", "ws", 1))
    (machine.root / "srv/pages/index.html").write_text("the new page")
    assert machine.run("systemctl", "reload", "moss").returncode == 0
    machine.wait_for("the new page", lambda: fetched(url) == "the new page")
    assert machine.shown("MainPID", "NRestarts") == {"MainPID": pid, "NRestarts": "0"}


def test_start_fails_at_a_wrong_setting_and_is_retried_while_the_address_is_missing(machine):
    machine.serving()
    machine.set(ENVIRONMENT | {"MOSS_PORT": "80800"})
    check = "sudo() { \"$@\"; }\n" + block(PAGE, "sh", "systemd-run")
    checked = machine.run("sh", "-euc", check)
    assert (checked.returncode, checked.stderr[:17]) == (2, "moss: MOSS_PORT: "), checked
    assert machine.shown("NRestarts", "SubState") == {"NRestarts": "0", "SubState": "running"}

    assert machine.restart() != 0
    refused = machine.shown("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts")
    assert refused == {
        "ActiveState": "failed",  # "activating" if systemd were to try again.
        "SubState": "failed",
        "Result": "exit-code",
        "ExecMainStatus": "2",
        "NRestarts": "0",
    }
    [line] = machine.entries_with("MOSS_PORT")
    assert (line["PRIORITY"], line["MESSAGE"][:17]) == ("3", "moss: MOSS_PORT: ")

    # An address for documentation (RFC 5737), as if the network were not up yet.
    machine.set(ENVIRONMENT | {"MOSS_HOSTNAME": "192.0.2.1"})
    assert machine.restart() != 0
    machine.wait_for("another try", lambda: machine.shown("NRestarts")["NRestarts"] not in ("", "0"))
    machine.entries_with("status=1/FAILURE")
    machine.set(ENVIRONMENT)
    assert machine.run("sh", "-euc", check).returncode == 0
    _, port = machine.serving()
    assert relays(f"ws://127.0.0.1:{port}")


def is_free(port):
    try:
        socket.create_server(("0.0.0.0", port)).close()
    except OSError:
        return False
    return True


def test_port_below_1024_needs_the_lines_of_the_page(machine):
    machine.serving()
    port = next(port for port in range(1023, 700, -1) if is_free(port))
    machine.set(ENVIRONMENT | {"MOSS_PORT": str(port)})
    assert machine.restart() != 0
    machine.entries_with("Permission denied")
    lines = block(TROUBLESHOOTING, "ini", "CAP_NET_BIND_SERVICE").removeprefix("[Service]\n")
    machine.add_to_unit(lines)
    assert machine.restart() == 0
    assert machine.serving()[1] == str(port)


def test_service_runs_in_its_own_empty_folder_and_reads_no_dot_env_elsewhere(machine):
    machine.serving()
    for folder in ("", "root", "etc"):
        (machine.root / folder / ".env").write_text("no line of settings\n")
    assert machine.restart() == 0
    pid, _ = machine.serving()
    assert machine.run("readlink", f"/proc/{pid}/cwd").stdout == "/run/moss\n"
    assert machine.run("stat", "--format=%a", "/run/moss").stdout == "500\n"
    assert machine.run("ls", "-A", "/run/moss").stdout == ""
    # When moss stops, it is deleted with everything in it.
    assert machine.run("touch", "/run/moss/.env").returncode == 0
    assert machine.run("systemctl", "stop", "moss").returncode == 0
    assert machine.run("test", "-e", "/run/moss").returncode == 1


def test_watchdog_restarts_a_moss_that_hangs(machine):
    machine.serving()
    # moss sends a message after half of this time, and so may stall for the other half.
    machine.add_to_unit("WatchdogSec=6")
    assert machine.restart() == 0
    pid, _ = machine.serving()
    # Without connections, only the watchdog's timer wakes moss.
    heard = lambda: machine.shown("WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"]
    for _ in range(2):
        before = heard()
        machine.wait_for("a message to the watchdog", lambda: heard() != before)
    assert machine.shown("MainPID", "NRestarts") == {"MainPID": pid, "NRestarts": "0"}

    machine.run("kill", "-STOP", pid)
    machine.wait_for("a restart", lambda: machine.shown("NRestarts")["NRestarts"] != "0")
    again, port = machine.serving()
    assert again != pid
    assert relays(f"ws://127.0.0.1:{port}")
    machine.entries_with("Watchdog timeout")


def test_moss_without_connections_makes_no_system_call(machine, certificate):
    """With all features except the watchdog, which needs a timer."""
    machine.serving()
    folder = machine.root / "srv/pages"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("the page")
    for file, name in ((certificate.file, "certificate.pem"), (certificate.key, "key.pem")):
        shutil.copy(file, machine.root / "srv" / name)
        (machine.root / "srv" / name).chmod(0o444)
    more = {"MOSS_PAGES_DIRECTORY": "/srv/pages", "MOSS_METRICS": "on", "MOSS_TRUSTED_PROXIES": "127.0.0.1"}
    machine.set(ENVIRONMENT | tls_settings("/srv") | more)
    machine.add_to_unit("WatchdogSec=0")
    assert machine.restart() == 0
    pid, _ = machine.serving()
    machine.run("timeout", "--signal=INT", "10", "strace", "-o", "/srv/trace", "-p", pid)
    trace = (machine.root / "srv/trace").read_text().splitlines()
    is_wait = lambda line: re.match(r"epoll_p?wait\d?\(", line)
    # moss may still be starting when strace attaches.
    waits = list(itertools.dropwhile(lambda line: not is_wait(line), trace))
    # Attaching interrupts the wait that is under way, as a signal does.
    assert waits and len(waits) <= 2, trace
    assert all(map(is_wait, waits)), trace


def test_lines_in_the_journal_have_priorities(machine):
    machine.serving()
    machine.set(ENVIRONMENT | {"MOSS_PROT": "80", "MOSS_LOG": "debug"})
    assert machine.restart() == 0
    pid, port = machine.serving()
    assert relays(f"ws://127.0.0.1:{port}")
    machine.logged(pid, r": left$")
    entries = machine.journal(f"_PID={pid}")
    priority = lambda part: {e["PRIORITY"] for e in entries if re.search(part, e["MESSAGE"])}
    assert priority("^MOSS_PROT is not a variable") == {"4"}
    assert priority("^listening on ") == {"6"}
    assert priority(": connected$") == {"7"}
    assert {entry["SYSLOG_IDENTIFIER"] for entry in entries} == {"moss"}


def test_service_serves_restarts_and_stops(machine):
    pid, port = machine.serving()
    assert relays(f"ws://127.0.0.1:{port}")
    settings = [f"{name}={value}" for name, value in (ENVIRONMENT | {"MOSS_PORT": port}).items()]
    healthy = machine.run("env", *settings, "/usr/local/bin/moss", "health")
    assert healthy.returncode == 0, healthy

    status = machine.run("cat", f"/proc/{pid}/status").stdout
    uid = int(re.search(r"^Uid:\s+(\d+)", status, re.M)[1])
    assert 61184 <= uid <= 65519, "the range that systemd keeps for DynamicUser"
    assert re.search(r"^CapBnd:\s+0+$", status, re.M)
    limits = machine.run("cat", f"/proc/{pid}/limits").stdout
    # In some containers, not even root may raise a hard limit.
    descriptors = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    assert re.search(rf"^Max open files\s+{descriptors}\s+{descriptors}", limits, re.M), limits

    machine.run("kill", "-KILL", pid)
    machine.wait_for("a restart", lambda: machine.shown("NRestarts")["NRestarts"] == "1")
    _, port = machine.serving()
    assert relays(f"ws://127.0.0.1:{port}")

    assert machine.run("systemctl", "stop", "moss").returncode == 0
    stopped = machine.shown("ActiveState", "Result", "ExecMainCode", "ExecMainStatus")
    assert stopped == {
        "ActiveState": "inactive",
        "Result": "success",
        "ExecMainCode": "1",
        "ExecMainStatus": "0",
    }
