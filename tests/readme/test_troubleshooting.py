"""docs/troubleshooting.md quotes the messages of moss, its library and its pages word for word:
people search for them."""

import os
import re
import resource
import socket
import subprocess

import pytest
from pages import REPOSITORY, text

MOSS = os.environ["MOSS_BIN"]
PAGE = text("docs/troubleshooting.md")
WORKING = {"MOSS_CONNECTION_SECRET": "only-for-trying-it-out", "MOSS_CONNECTION_OFFER_TYPE": "offer"}
TLS = {"MOSS_TLS_CERTIFICATE_FILE": "certificate.pem", "MOSS_TLS_KEY_FILE": "key.pem"}
DENIED = ("No such file or directory (os error 2)", "Permission denied (os error 13)")

# A hang fails the test after this time.
PATIENCE = 60


def start(folder, settings, command=(), **options):
    """The exit status of a start that fails, and the last line that it prints."""
    environment = {"PATH": os.environ["PATH"], "MOSS_PORT": "0"} | settings
    done = subprocess.run(
        [MOSS, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, **options
    )
    return done.returncode, (done.stderr or done.stdout).splitlines()[-1]


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture
def certificates(tmp_path):
    """A certificate in two formats, its key, without a password and with one, and another key."""
    curve = ["-pkeyopt", "ec_paramgen_curve:P-256"]
    for name in ("key", "another"):
        openssl(tmp_path, "genpkey", "-algorithm", "EC", *curve, "-out", f"{name}.pem")
    openssl(tmp_path, "req", "-x509", "-key", "key.pem", "-subj", "/CN=moss", "-out", "certificate.pem")
    openssl(tmp_path, "x509", "-in", "certificate.pem", "-outform", "der", "-out", "certificate.der")
    openssl(tmp_path, "pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:x", "-out", "locked.pem")
    openssl(tmp_path, "ec", "-in", "key.pem", "-aes128", "-passout", "pass:x", "-out", "locked-sec1.pem")
    return tmp_path


@pytest.mark.parametrize(
    "status, settings, replaced",
    [
        (2, {"MOSS_CONNECTION_OFFER_TYPE": "offer"}, ()),
        (1, WORKING | {"MOSS_HOSTNAME": "192.0.2.1", "MOSS_PORT": "8080"}, ()),
        # No name, so no name server is waited for.
        (1, WORKING | {"MOSS_HOSTNAME": "nowhere..invalid"}, ("..", ".")),
        (2, WORKING | {"MOSS_PAGES_DIRECTORY": "srv/pages"}, ()),
        (2, WORKING | {"MOSS_PAGES_DIRECTORY": "/home/u/pages"}, DENIED),
        (2, WORKING | {"MOSS_ALLOWED_ORIGINS": "https://example.org/"}, ()),
    ],
)
def test_start_that_fails_says_what_the_page_quotes(tmp_path, status, settings, replaced):
    ended, line = start(tmp_path, settings)
    assert ended == status
    assert f"\n{line.replace(*replaced) if replaced else line}\n" in PAGE


def test_too_large_pages_are_quoted(tmp_path):
    with open(tmp_path / "video.mp4", "wb") as video:
        video.truncate(65 << 20)
    ended, line = start(tmp_path, WORKING | {"MOSS_PAGES_DIRECTORY": "."})
    assert (ended, "holds more than 64 MiB" in line) == (2, True), line
    assert "`holds more than 64 MiB`" in PAGE


@pytest.mark.parametrize("written, quoted", [("MOSS_PORT=80 80", "is not NAME"), ("MOSS_PORT=a$b", "has a $")])
def test_line_that_can_not_be_read_is_quoted(tmp_path, written, quoted):
    (tmp_path / ".env").write_text(written + "\n")
    ended, line = start(tmp_path, {})
    assert (ended, quoted in line) == (2, True)
    assert f"\n{line}\n" in PAGE


LOW_PORT = re.search(r'PermissionDenied => \{?\s*"([^"]+)"', (REPOSITORY / "src/server/start.rs").read_text())[1]


def test_address_in_use_is_quoted(tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        ended, line = start(tmp_path, WORKING | {"MOSS_PORT": str(port)})
    assert ended == 1
    line = line.replace(f":{port} ", ":8080 ")
    assert f"\n{line}\n" in PAGE
    denied = line.replace(":8080 ", ":80 ").replace("Address already in use (os error 98)", DENIED[1])
    # root may use each port, so the advice for others comes from the source; a unit test checks it.
    denied = denied.replace("give an address of this machine and a free port", LOW_PORT)
    assert f"\n{denied}\n" in PAGE


def test_limit_on_open_files_is_quoted(tmp_path):
    lower = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    ended, line = start(tmp_path, WORKING | {"MOSS_MAX_CONNECTIONS": "65000"}, preexec_fn=lower)
    assert ended == 2
    assert f"\n{line}\n" in PAGE


@pytest.mark.parametrize(
    "settings, quote",
    [
        ({"MOSS_TLS_KEY_FILE": "another.pem"}, "is not the key of the first certificate; give the one that is"),
        ({"MOSS_TLS_KEY_FILE": "certificate.pem"}, "holds no private key"),
        ({"MOSS_TLS_KEY_FILE": "locked.pem"}, "holds no private key"),
        (
            {"MOSS_TLS_KEY_FILE": "locked-sec1.pem"},
            "is damaged or has a password; give it in PEM, as PKCS#8, SEC1 or PKCS#1, and without a password",
        ),
        ({"MOSS_TLS_CERTIFICATE_FILE": "certificate.der"}, "holds no certificate; give the chain in PEM, leaf first"),
        ({"MOSS_TLS_KEY_FILE": ""}, "MOSS_TLS_KEY_FILE: is not set, and MOSS_TLS_CERTIFICATE_FILE is"),
    ],
)
def test_wrong_file_is_quoted(certificates, settings, quote):
    ended, line = start(certificates, WORKING | TLS | settings)
    assert (ended, quote in line) == (2, True), line
    assert f"`{quote}`" in PAGE


def test_key_that_can_not_be_read_is_quoted(certificates):
    (certificates / "key.pem").unlink()
    ended, line = start(certificates, WORKING | TLS)
    assert ended == 2
    assert f"\n{line.replace('key.pem', '/etc/moss/key.pem').replace(*DENIED)}\n" in PAGE


def test_no_moss_is_quoted(tmp_path):
    with socket.socket() as taken:
        # It does not listen, and nobody else can.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ended, line = start(tmp_path, {"MOSS_PORT": str(port)}, ["health"])
    assert ended == 1
    assert f"`{line.replace(str(port), '8080')}`" in PAGE


SOURCES = "".join(
    path.read_text()
    for pattern in ("src/**/*.rs", "clients/javascript/src/*.js", "examples/browser/*.js")
    for path in REPOSITORY.glob(pattern)
    if path.name != "moss-signaling.js"
)


@pytest.mark.parametrize(
    "quote",
    [
        # Warnings and other lines of the log.
        "is not a variable of moss: a typing mistake?",
        "MOSS_HOSTNAME opens the plain port to the network beside TLS: unset it to keep that port to this machine",
        "any web page may log in here: name yours in MOSS_ALLOWED_ORIGINS to keep others out",
        "clients and the master connect to",
        "the certificate has EXPIRED: browsers refuse to connect",
        "a peer spoke TLS to the plain port, which is for http:// and ws:// only",
        "This port speaks TLS",
        "no new connections for now: ",
        "the old certificate stays",
        "moss is full",
        "send a packet of type 'login' first",
        "no client with this id is here",
        # The library and the pages.
        "Check that the address is right, that moss is running, and that this device is in the same network.",
        "Something answers at ",
        "but does not open a WebSocket: moss may be full, or not allow this page's origin",
        "A page from https:// may not open ws://, only wss://.",
        "A packet was too large for moss (MOSS_MAX_PACKET_BYTES).",
        "This page can't make TURN credentials",
        "only on pages from https:// or localhost.",
        "No master",
        "The secret is wrong.",
        "moss asks for a code.",
        "The code is wrong.",
        "Another master has taken over.",
        "Another page has taken the place of this one.",
        "Through moss",
        "Phones can't open ",
    ],
)
def test_quote_is_in_the_sources(quote):
    # The page and the sources may break a text into lines.
    one_line = re.sub(r"\s+", " ", PAGE)
    source = re.sub(r"\\\n\s*", "", SOURCES).replace("{PLAIN}", "MOSS_HOSTNAME")
    assert quote in one_line
    assert quote in source
