"""The commands in docs/secrets.md, which put a service's secret into a file, for a group or as a
credential, and change it; and files as Docker mounts them."""

import os
import re
import shutil
import signal

from conftest import PATIENCE, REPOSITORY, Moss, block, confined, receive, run, send
from test_service import machine  # noqa: F401, a fixture
from websockets.sync.client import connect

PAGE = (REPOSITORY / "docs/secrets.md").read_text()
SUDO = 'sudo() { "$@"; }\n'
SECRET_FILE = "etc/moss/connection-secret"
CHANGED = "the connection secret was read again, and has changed"
SAME = "the connection secret was read again, and is the same"


def claims(peer, secret):
    """Whether set-master with this secret succeeds."""
    send(peer, type="set-master", payload={"sdp": 1, "secret": secret.strip()})
    return receive(peer)["type"] == "master-confirmation"


def is_secret(port, secret):
    with connect(f"ws://127.0.0.1:{port}", open_timeout=PATIENCE) as peer:
        return claims(peer, secret)


def fill(machine, **lines):
    """Installs the template with these values, on a free port."""
    text = (REPOSITORY / "template.env").read_text()
    for name, value in {"MOSS_PORT": "0", **lines}.items():
        text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.M)
        assert count == 1, name
    (machine.root / "etc/moss.env").write_text(text)


def do(machine, script):
    done = machine.run("sh", "-euc", SUDO + script)
    assert done.returncode == 0, done
    return done


def restarted(machine, pid):
    """The process id and port of moss, once it has another process id."""
    machine.wait_for("another moss", lambda: machine.shown("MainPID").get("MainPID") not in (None, "0", pid))
    return machine.serving()


def test_secret_is_replaced_by_a_reload_and_nobody_leaves(machine):  # noqa: F811
    pid, _ = machine.serving()
    (machine.root / "etc/group").write_text("root:x:0:\n")
    fill(machine, MOSS_CONNECTION_SECRET="in the settings until now")
    do(machine, block(PAGE, "sh", "groupadd"))
    install = block(PAGE, "sh", "-g moss-tls /dev/stdin")
    do(machine, install)
    pid, port = restarted(machine, pid)
    file = machine.root / SECRET_FILE
    assert file.stat().st_mode & 0o777 == 0o640
    old = file.read_text()
    with connect(f"ws://127.0.0.1:{port}", open_timeout=PATIENCE) as master:
        assert claims(master, old)
        do(machine, install.replace("restart", "reload"))
        machine.logged(pid, CHANGED)
        new = file.read_text()
        assert new != old
        send(master, type="ping")
        assert receive(master)["type"] == "pong"
        assert not is_secret(port, old)
        assert is_secret(port, new)
        assert receive(master)["payload"]["code"] == "replaced"
    assert machine.shown("MainPID", "NRestarts") == {"MainPID": pid, "NRestarts": "0"}


def test_secret_comes_from_a_credential_beside_the_template(machine):  # noqa: F811
    pid, _ = machine.serving()
    fill(machine)
    file = machine.root / SECRET_FILE
    file.parent.mkdir(mode=0o700)
    file.write_text("a secret for root alone\n")
    file.chmod(0o400)
    folder = machine.root / "etc/systemd/system/moss.service.d"
    folder.mkdir()
    (folder / "override.conf").write_text(block(PAGE, "ini", "LoadCredential"))
    do(machine, "systemctl daemon-reload && systemctl restart moss")
    pid, port = restarted(machine, pid)
    assert is_secret(port, "a secret for root alone")

    # The page says that a reload is not enough, and the log shows it.
    file.chmod(0o600)
    file.write_text("another secret for root alone\n")
    version = int(re.search(r"systemd (\d+)", run("systemctl", "--version").stdout)[1])
    do(machine, "systemctl reload moss")
    machine.logged(pid, CHANGED if version >= 260 else SAME)
    do(machine, "systemctl restart moss")
    _, port = restarted(machine, pid)
    assert is_secret(port, "another secret for root alone")


def test_mounted_folder_shows_a_secret_that_replaces_the_old_file(empty_root, tmp_path):
    folder = tmp_path / "moss"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65532, 65532)
    (empty_root / "etc/moss").mkdir(parents=True)
    command = block(PAGE, "sh", "install -d -m 700 -o 65532").splitlines()[1]

    def install():
        done = run("sh", "-euc", SUDO + command.replace("/etc/moss", str(folder)))
        assert done.returncode == 0, done
        return (folder / "connection-secret").read_text()

    old = install()
    box = confined(empty_root, "/moss", user="65532:65532", volume=(folder, "/etc/moss"))
    with Moss(box, empty_root, **settings("/etc/moss/connection-secret")) as moss:
        assert is_secret(moss.port, old)
        new = install()
        moss.notify(signal.SIGHUP)
        moss.wait_for(CHANGED)
        assert is_secret(moss.port, new) and not is_secret(moss.port, old)


def test_mounted_file_shows_only_a_secret_that_is_written_into_it(empty_root, tmp_path):
    """As Compose mounts a secret."""
    file = tmp_path / "connection-secret"
    file.write_text("the first secret")
    os.chown(file, 65532, 65532)
    inside = empty_root / "run/secrets/connection-secret"
    inside.parent.mkdir(parents=True)
    inside.touch()
    script = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    box = ["unshare", "--mount", "--fork", "--kill-child", "sh", "-euc", script, "sh", file, inside]
    box += [shutil.which("chroot"), "--userspec=65532:65532", "--groups=", empty_root, "/moss"]
    with Moss(list(map(str, box)), empty_root, **settings(f"/run/secrets/{file.name}")) as moss:
        file.write_text("written into the file")
        moss.notify(signal.SIGHUP)
        moss.wait_for(CHANGED)
        assert is_secret(moss.port, "written into the file")
        file.rename(tmp_path / "old")
        file.write_text("in a file that replaces it")
        os.chown(file, 65532, 65532)
        moss.notify(signal.SIGHUP)
        moss.wait_for(SAME)
        assert is_secret(moss.port, "written into the file")


def settings(file):
    return {"MOSS_CONNECTION_SECRET": "", "MOSS_CONNECTION_SECRET_FILE": file}
