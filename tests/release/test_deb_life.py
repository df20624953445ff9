"""The life of the Debian package on a box in a LAN, from `apt install` to `apt purge`."""

import re
import shutil

import pytest
from conftest import RELEASE, REPOSITORY
from container import run, succeed
from debian import Lan, Machine, make_root

README = "/usr/share/doc/moss-signaling/README.Debian"
SETTINGS = "/etc/moss/moss.env"

# What apt and systemd write when any package is installed and removed.
BOOKKEEPING = re.compile(
    r"(var/(lib/(dpkg|apt|systemd/(catalog|linger|random-seed|timers))|cache|log|tmp)|run|tmp|root"
    r"|etc/(machine-id|ld\.so\.cache|\.updated|\.pwd\.lock|resolv\.conf|systemd/system/test\.target)"
    r"|etc/(passwd|group|shadow|gshadow)-)\b"
)


@pytest.fixture
def lan():
    with Lan() as lan:
        yield lan


@pytest.fixture
def machine(lan, tmp_path):
    make_root()
    with Machine(tmp_path, lan.box) as machine:
        yield machine


@pytest.fixture
def package():
    [package] = RELEASE.glob("moss-signaling_*_amd64.deb")
    return package


def next_version(package, folder):
    """The same program in a package of a higher version, whose template.env has one more setting."""
    tree = folder / "next"
    succeed("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+next", control.read_text(), flags=re.M))
    with open(tree / "usr/share/moss/template.env", "a") as template:
        template.write("\n# A setting of the next version.\nMOSS_NEXT=\n")
    # Not compressed: that would take longer than all the rest.
    succeed("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / "next.deb")
    return folder / "next.deb"


def apt(machine, *words):
    """As a script would call it, which can't answer questions."""
    options = ("-o", "Dpkg::Use-Pty=0", "-y")
    return machine.succeed("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *options, *words)


def install(machine, package):
    shutil.copy(package, machine.path("/root/moss.deb"))
    return apt(machine, "install", "/root/moss.deb")


def steps(machine):
    """The command lines of README.Debian, by the heading above them."""
    parts = re.split(r"^(.+)\n-+\n", machine.path(README).read_text(), flags=re.M)
    commands = lambda text: "".join(line[4:] for line in text.splitlines(True) if line.startswith("    "))
    return {heading: commands(text) for heading, text in zip(parts[1::2], parts[2::2])}


def follow(machine, step, lan):
    """Runs the step's commands, as root in root's home folder."""
    script = 'sudo() { "$@"; }\ncd\n' + step.replace("192.168.1.5", lan.box_address)
    return machine.succeed("bash", "-euc", script)


def page_block(page, words):
    """The first code block of the page that has these words."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (REPOSITORY / page).read_text(), re.S | re.M)
    return next(block for block in blocks if words in block)


def setting(machine, name):
    return re.search(rf"^{name}=(.*)$", machine.path(SETTINGS).read_text(), re.M)[1]


def state(machine, unit="moss"):
    return machine.shown(unit, "ActiveState"), machine.shown(unit, "UnitFileState")


def files(machine):
    """All files that the package and its use may have left, and the lines of /etc/group."""
    found = run("find", machine.path("/"), "-xdev", "-printf", "%P\n").stdout.splitlines()
    groups = machine.path("/etc/group").read_text().splitlines()
    return {name for name in found if not BOOKKEEPING.match(name)} | set(groups)


def see_from_the_phone(machine, lan):
    url = f"https://{lan.box_address}:8443"
    secret = setting(machine, "MOSS_CONNECTION_SECRET")
    lan.on_the_phone("node", REPOSITORY / "tests/release/phone.mjs", url, secret)


def test_life_of_the_package(machine, lan, package, tmp_path):
    before = files(machine)

    output = install(machine, package)
    assert "neither started nor enabled" in output and README in output
    assert state(machine) == ("inactive", "disabled")
    settings = machine.path(SETTINGS).stat()
    assert (settings.st_mode & 0o7777, settings.st_uid, settings.st_gid) == (0o600, 0, 0)

    do = steps(machine)
    for step in ("1. A secret", "2. A certificate", "3. Pages", "4. Start"):
        follow(machine, do[step], lan)
    assert state(machine) == ("active", "enabled")
    assert len(setting(machine, "MOSS_CONNECTION_SECRET")) == 64
    see_from_the_phone(machine, lan)
    follow(machine, "sudo systemctl reload moss", lan)
    assert "MOSS_PAGES_DIRECTORY=/usr/share/moss/pages" in follow(machine, do["Settings"], lan)

    # An instance, with settings in a file of the admin's own.
    instance = do["Several mosses on one machine"]
    more = "MOSS_CONNECTION_SECRET=of-the-hall\\nMOSS_PORT=8081\\n"
    follow(machine, f"{instance}\nprintf '{more}' >>/etc/moss/hall-1.env\n", lan)
    follow(machine, "sudo systemctl enable --now moss@hall-1", lan)

    ran = {unit: machine.shown(unit, "MainPID") for unit in ("moss", "moss@hall-1")}
    mine = machine.path(SETTINGS).read_bytes()
    install(machine, next_version(package, tmp_path))
    assert machine.shown("moss", "NRestarts") == "0"
    assert "+next" in machine.succeed("dpkg-query", "--show", "moss-signaling")
    assert machine.path(SETTINGS).read_bytes() == mine
    assert "MOSS_NEXT" in machine.path("/usr/share/moss/template.env").read_text()
    assert list(machine.path("/etc/moss").glob("*.dpkg-*")) == []
    for unit, pid in ran.items():
        assert state(machine, unit) == ("active", "enabled")
        assert machine.shown(unit, "MainPID") != pid
    see_from_the_phone(machine, lan)

    apt(machine, "remove", "moss-signaling")
    for unit in ran:
        assert machine.shown(unit, "ActiveState") == "inactive"
    assert machine.run("pgrep", "moss").returncode == 1
    assert machine.path(SETTINGS).read_bytes() == mine

    # Installed again, it serves at once, as before.
    install(machine, package)
    assert state(machine) == ("active", "enabled")

    apt(machine, "purge", "moss-signaling")
    assert machine.shown("moss", "LoadState") == "not-found"
    assert files(machine) - before == set()
    assert before - files(machine) == set()


def test_moss_that_was_installed_by_hand_moves_into_the_package(machine, lan, package, tmp_path):
    program = tmp_path / "program"
    succeed("dpkg-deb", "--extract", package, program)
    shutil.copy(program / "usr/bin/moss", machine.path("/usr/local/bin"))
    shutil.copy(REPOSITORY / "moss.service", machine.path("/etc/systemd/system"))
    settings = machine.path("/etc/moss.env")
    settings.touch(0o600)
    settings.write_text("MOSS_CONNECTION_SECRET=by-hand\nMOSS_CONNECTION_OFFER_TYPE=offer\n")
    machine.succeed("systemctl", "enable", "--now", "moss")

    output = install(machine, package)
    assert "installed by hand stays" in output and "neither started" not in output
    assert state(machine) == ("active", "enabled")
    follow(machine, steps(machine)["If moss was installed by hand before"], lan)
    assert state(machine) == ("active", "enabled")
    running = machine.succeed("readlink", f"/proc/{machine.shown('moss', 'MainPID')}/exe")
    assert running == "/usr/bin/moss\n"
    install(machine, next_version(package, tmp_path))
    assert setting(machine, "MOSS_CONNECTION_SECRET") == "by-hand"
    apt(machine, "purge", "moss-signaling")
    assert not machine.path("/etc/moss").exists()


def test_deployment_page_tells_how_to_start_from_the_package(machine, lan, package):
    shutil.copy(package, machine.path("/root"))
    lines = page_block("docs/deployment.md", "apt install")
    assert f"./{package.name}" in lines
    follow(machine, lines.replace("apt install", "apt-get install -y -q"), lan)
    assert state(machine) == ("active", "enabled")
    page = lan.on_the_phone("curl", "--silent", "--fail", f"http://{lan.box_address}:8080/")
    assert 'href="client.html"' in page


def test_upgrade_succeeds_where_moss_can_not_start(machine, package, tmp_path):
    install(machine, package)
    upgrade = next_version(package, tmp_path)
    install(machine, upgrade)
    assert state(machine) == ("inactive", "disabled")

    # With a wrong setting, the unit has failed and the log says why.
    machine.succeed("systemctl", "enable", "moss")
    apt(machine, "reinstall", "/root/moss.deb")
    assert state(machine) == ("failed", "enabled")
    journal = lambda: machine.succeed("journalctl", "--unit", "moss")
    machine.wait_for("the reason in the journal", lambda: "MOSS_CONNECTION_SECRET: is not set" in journal())
    apt(machine, "purge", "moss-signaling")
