"""What is in the Debian packages, and what lintian says about them."""

import gzip
import hashlib
import re
import shutil
import tarfile
from io import BytesIO

import pytest
from conftest import RELEASE, REPOSITORY
from container import run, succeed

TEMPLATE = (REPOSITORY / "template.env").read_text()
SETTINGS = REPOSITORY / "release/deb/moss.env"
LICENCES = "/usr/share/doc/moss-signaling/LICENCES-OF-PARTS.txt.gz"
MAN_PAGE = REPOSITORY / "release/deb/moss.1"

# The modes of all that is not 0644, for a file, or 0755, for a folder.
MODES = {"./usr/bin/moss": 0o755, "./etc/moss/moss.env": 0o600}
NAMES = """
    ./usr/bin/moss ./etc/moss/moss.env ./usr/share/moss/template.env ./usr/share/moss/pages/index.html
    ./usr/lib/systemd/system/moss.service ./usr/lib/systemd/system/moss@.service
    ./usr/share/man/man1/moss.1.gz ./usr/lib/sysusers.d/moss-signaling.conf
"""
DOC_NAMES = """
    README.Debian README.md copyright changelog.gz changelog.Debian.gz docs/https-in-the-lan.md
    docs/protocol.md
"""


class Package:
    """A .deb, with its control fields and its files."""

    def __init__(self, file):
        self.file = file
        lines = succeed("dpkg-deb", "--field", file).splitlines()
        self.fields = dict(line.split(": ", 1) for line in lines if not line.startswith(" "))
        archive = run("dpkg-deb", "--fsys-tarfile", file, text=False).stdout
        self._tar = tarfile.open(fileobj=BytesIO(archive))
        self.members = self._tar.getmembers()

    def read(self, name):
        content = self._tar.extractfile(f".{name}").read()
        return (gzip.decompress(content) if name.endswith(".gz") else content).decode()


def package_for(architecture):
    [file] = RELEASE.glob(f"moss-signaling_*_{architecture}.deb")
    return Package(file)


@pytest.fixture(params=["amd64", "arm64", "armhf"])
def package(request):
    return package_for(request.param)


@pytest.fixture
def program(tmp_path):
    """moss from the package for this machine."""
    succeed("dpkg-deb", "--extract", package_for("amd64").file, tmp_path)
    return tmp_path / "usr/bin/moss"


def names_of(settings):
    """The variables that have a line, commented out or not."""
    return re.findall(r"^#?(MOSS_[A-Z_]+)=", settings, re.M)


def test_package_has_these_files_with_these_modes(package):
    doc = [f"./usr/share/doc/moss-signaling/{name}" for name in DOC_NAMES.split()]
    assert {*NAMES.split(), *doc} <= {member.name for member in package.members}
    for member in package.members:
        usual = 0o755 if member.isdir() else 0o644
        assert member.mode == MODES.get(member.name, usual), member.name
        assert (member.uid, member.gid) == (0, 0)


def test_package_has_the_version_and_the_architecture_of_its_file_name(package):
    cargo = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]
    fields = [package.fields[field] for field in ("Package", "Version", "Architecture")]
    assert package.file.stem == "_".join(fields)
    assert fields[1] == cargo.replace("-", "~") + "-1"


def test_program_of_the_package_is_static(package):
    kinds = {"amd64": "x86-64", "arm64": "ARM aarch64", "armhf": "ARM, EABI5"}
    kind = run("file", "-", input=package._tar.extractfile("./usr/bin/moss").read(), text=False)
    kind = kind.stdout.decode()
    assert kinds[package.fields["Architecture"]] in kind
    assert re.search(r"statically linked|static-pie linked", kind)


def test_lintian_finds_nothing_that_is_not_explained(package):
    result = run("lintian", "--allow-root", "--fail-on=error,warning,info", *SUPPRESSED, package.file)
    assert (result.returncode, result.stdout) == (0, "")


# These are for Debian's own archive, or do not fit: the pages are for moss to serve and are not
# documentation, their licence belongs beside them, and README.md is for machines without systemd.
SUPPRESSED = (
    "--suppress-tags",
    "binary-has-unneeded-section,extra-license-file,package-contains-documentation-outside-usr-share-doc,"
    "package-supports-alternative-init-but-no-init.d-script",
)


@pytest.mark.parametrize("name", ["moss.service", "moss@.service"])
def test_unit_of_the_package_is_the_projects_with_other_paths(package, name):
    lines = lambda unit: [line for line in unit.splitlines() if line and not line.startswith("#")]
    own = (REPOSITORY / name).read_text().replace("\n#SupplementaryGroups=", "\nSupplementaryGroups=")
    own = own.replace("/usr/local/bin/moss", "/usr/bin/moss").replace("/etc/moss.env", "/etc/moss/moss.env")
    packed = package.read(f"/usr/lib/systemd/system/{name}")
    assert [line for line in lines(packed) if line != "Documentation=man:moss(1)"] == lines(own)
    # A small Debian has no kill: procps brings it.
    assert "ExecReload=/bin/kill" in packed and "procps" in package.fields["Depends"]
    # And no comment names paths that the package does not have.
    for word in ("/usr/local", "moss.env,", "docs/", "Copy this file"):
        assert word not in packed


def test_changelog_and_licences_are_the_projects(package):
    doc = "/usr/share/doc/moss-signaling"
    assert package.read(f"{doc}/changelog.gz") == (REPOSITORY / "CHANGELOG.md").read_text()
    copyright = package.read(f"{doc}/copyright")
    assert LICENCES.rsplit("/")[-1] in copyright and package.read(LICENCES)
    assert "WITHOUT WARRANTY OF ANY KIND" in copyright and "common-licenses/Apache-2.0" in copyright
    assert "\nThe MIT" not in copyright, "each line of a licence must be indented"


def test_conffile_has_settings_of_the_template(package):
    assert package.read("/etc/moss/moss.env") == SETTINGS.read_text()
    assert package.read("/usr/share/moss/template.env") == TEMPLATE
    assert set(names_of(SETTINGS.read_text())) <= set(names_of(TEMPLATE))
    in_force = re.findall(r"^MOSS_.*$", SETTINGS.read_text(), re.M)
    assert set(in_force) <= set(TEMPLATE.splitlines())


def test_conffile_takes_a_file_for_the_secret_as_its_page_says(tmp_path):
    page = (REPOSITORY / "docs/secrets.md").read_text()
    command = re.search(r"^sudo (sed -i -e 's/\^MOSS_CONNECTION_SECRET=.*?) /etc/moss.env$", page, re.S | re.M)[1]
    settings = tmp_path / "moss.env"
    shutil.copy(SETTINGS, settings)
    succeed("sh", "-ec", f"{command} {settings}")
    in_force = set(settings.read_text().splitlines())
    assert {"MOSS_CONNECTION_SECRET=", "MOSS_CONNECTION_SECRET_FILE=/etc/moss/connection-secret"} <= in_force


def test_conffile_is_what_it_was_in_version_1_0_0():
    """Everybody has changed theirs. If the package's changed too, each upgrade would stop and ask
    which one to keep, and an unattended upgrade would fail. Put a new setting into template.env,
    and give it a good default in moss."""
    assert hashlib.sha256(SETTINGS.read_bytes()).hexdigest() == CONFFILE


CONFFILE = "ba96e5100eb452a11434216257f6799675bd414cc1fe537243036e28d1b763c5"


def test_man_page_is_valid_and_names_each_command_and_variable(program):
    result = run("mandoc", "-T", "lint", "-W", "warning", MAN_PAGE)
    assert (result.returncode, result.stdout) == (0, "")
    page = succeed("mandoc", "-T", "ascii", "-O", "width=200", MAN_PAGE)
    # Bold and underlined letters are overstruck.
    page = re.sub(".\b", "", page)
    synopsis = re.search(r"^SYNOPSIS\n(.*?)^\w", page, re.S | re.M)[1]
    commands = {line.strip().replace("[--master]", "").strip() for line in synopsis.splitlines() if line}
    usage = succeed(program, "--help", env={})
    assert commands == {command.strip() for command in re.findall(r"^(?:usage:|  ) +(moss(?: \S+)?) ", usage, re.M)}
    assert ("--master" in usage, "[--master]" in synopsis) == (True, True)
    assert set(re.findall(r"MOSS_[A-Z_]+", page)) == set(names_of(TEMPLATE))
