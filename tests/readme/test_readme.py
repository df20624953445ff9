"""The README and the pages in docs/ are moss's only reference, so what they show is run here."""

import base64
import contextlib
import doctest
import gzip
import hmac
import io
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request

import pytest
from pages import REPOSITORY, block, text
from websockets.sync.client import connect

TEMPLATE = (REPOSITORY / "template.env").read_text()
CONFIG = "".join(path.read_text() for path in REPOSITORY.glob("src/settings/*.rs"))
PACKET = (REPOSITORY / "src/protocol/packet.rs").read_text()
ENDING = (REPOSITORY / "src/connection/ending.rs").read_text()
REFUSAL = (REPOSITORY / "src/http/answer.rs").read_text()
MOSS = os.environ["MOSS_BIN"]

# Far longer than anything here takes on a busy machine: only a hang reaches it.
PATIENCE = 60


def start_settings():
    """The variables that the README's start command sets, with the whole path of the pages."""
    command = block("README.md", "sh", "cargo run --release").replace("\\\n", "")
    words = [word for word in shlex.split(command) if word.startswith("MOSS_")]
    settings = dict(word.split("=", 1) for word in words)
    pages = REPOSITORY / settings["MOSS_PAGES_DIRECTORY"]
    return settings | {"MOSS_PAGES_DIRECTORY": str(pages)}


def without_ids(text):
    """Ids differ from run to run."""
    return re.sub(r"\d{10,20}", "ID", text)


@contextlib.contextmanager
def moss(directory, settings, words="listening on"):
    """A moss on free ports. Yields the port that its log names after these words."""
    free = {"MOSS_PORT": "0"} | ({"MOSS_TLS_PORT": "0"} if "TLS" in words else {})
    environment = {"PATH": os.environ["PATH"]} | free | settings
    process = subprocess.Popen(
        [MOSS], cwd=directory, env=environment, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            listening = next(line for line in process.stdout if words in line)
            yield int(listening.rsplit(":", 1)[1])
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@pytest.fixture
def started(tmp_path):
    with moss(tmp_path, start_settings()) as port:
        yield port


def read(url, **options):
    with urllib.request.urlopen(url, timeout=PATIENCE, **options) as answer:
        return answer.read()


def test_readme_is_read_in_ten_minutes():
    assert len(text("README.md").splitlines()) <= 250


def test_first_command_serves_a_page(started):
    page = (REPOSITORY / "examples/browser/index.html").read_bytes()
    assert read(f"http://localhost:{started}/") == page


def test_certificate_for_a_camera_is_made_and_served(tmp_path):
    lines = block("README.md", "sh", "openssl req")
    subprocess.run(["sh", "-euc", lines], cwd=tmp_path, check=True, timeout=PATIENCE)
    exported = dict(re.findall(r"(MOSS_TLS_\w+)=(\S+)", lines))
    trusting = ssl.create_default_context(cafile=tmp_path / "certificate.pem")
    trusting.check_hostname = False  # A phone would use another address.
    with moss(tmp_path, start_settings() | exported, "listening for TLS on") as port:
        page = read(f"https://127.0.0.1:{port}/client.html", context=trusting)
    assert page == (REPOSITORY / "examples/browser/client.html").read_bytes()


def test_conversation_by_hand_prints_what_the_page_shows(started):
    conversation = block("docs/protocol.md", "pycon", "ExitStack")
    names = {}
    for example in doctest.DocTestParser().get_examples(conversation):
        statement = compile(example.source.replace("8080", str(started)), "protocol.md", "single")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(statement, names)
        assert without_ids(printed.getvalue()) == without_ids(example.want), example.source
    names["stack"].close()


def test_first_program_ends_as_shown(started, tmp_path):
    program = tmp_path / "master.py"
    program.write_text(block("docs/protocol.md", "python", "asyncio.run").replace("8080", str(started)))
    with subprocess.Popen(
        [sys.executable, "-u", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as master:
        printed = [master.stdout.readline()]
        with connect(f"ws://localhost:{started}/") as client:
            # The packets of these lines of JavaScript, sent without a browser.
            assert 'send("login"); send("greeting", { from: "me" });' in block("docs/protocol.md", "js", "moss.onopen")
            client.send('{"type":"login"}')
            client.send('{"type":"greeting","payload":{"from":"me"}}')
            received = [client.recv(PATIENCE), client.recv(PATIENCE)]
        wanted = block("docs/protocol.md", "text", "master-confirmation").splitlines()
        printed += [master.stdout.readline() for _ in wanted[1:]]
        master.kill()
    assert received == block("docs/protocol.md", "text", "from the master").splitlines()
    assert without_ids("".join(printed)).splitlines() == [without_ids(line) for line in wanted]


def test_wrong_value_is_refused_in_the_words_shown(tmp_path):
    command, wanted = block("docs/configuration.md", "console", "OFFER_TYPE=login").removeprefix("$ ").splitlines()
    *settings, program = shlex.split(command)
    assert program == "target/release/moss"
    environment = dict(setting.split("=", 1) for setting in settings)
    run = subprocess.run(
        [MOSS], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (run.returncode, run.stdout, run.stderr) == (2, "", wanted + "\n")


def fill_template(folder):
    """Makes a .env in the folder by the page's command."""
    shutil.copy(REPOSITORY / "template.env", folder)
    command = block("docs/deployment.md", "sh", "template.env > .env")
    subprocess.run(["sh", "-euc", command], cwd=folder, check=True, timeout=PATIENCE)


def test_template_with_a_secret_starts_moss(tmp_path):
    fill_template(tmp_path)
    serve, health = block("docs/deployment.md", "sh", "-- health").splitlines()
    assert serve == "cargo run --release --locked"
    assert health == f"{serve} -- health"
    with moss(tmp_path, {}) as port:
        environment = {"MOSS_PORT": str(port)}
        asked = subprocess.run([MOSS, "health"], cwd=tmp_path, env=environment, timeout=PATIENCE)
    assert asked.returncode == 0


def test_check_of_the_template_prints_what_the_page_shows(tmp_path):
    fill_template(tmp_path)
    command, *wanted, rest = block("docs/configuration.md", "console", "moss check").splitlines()
    assert (command, rest) == ("$ target/release/moss check", "…")
    run = subprocess.run(
        [MOSS, "check"], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=PATIENCE
    )
    assert run.returncode == 0
    assert (run.stderr + run.stdout).splitlines()[: len(wanted)] == wanted


def test_template_is_readable_by_docker_too():
    for line in TEMPLATE.splitlines():
        assert re.fullmatch(r"(#.*|MOSS_[A-Z_]+=[^'\"$#\s]*|)", line), line


def test_every_variable_is_explained_everywhere():
    known = set(re.findall(r'"(MOSS_[A-Z_]*[A-Z])"', CONFIG))
    listed = re.findall(r"^#?(MOSS_[A-Z_]+)=", TEMPLATE, re.M)
    assert set(listed) == known and len(listed) == len(known)
    assert listed[:4] == [
        "MOSS_CONNECTION_SECRET",
        "MOSS_CONNECTION_OFFER_TYPE",
        "MOSS_HOSTNAME",
        "MOSS_PORT",
    ]
    rows = [line for line in text("docs/configuration.md").splitlines() if line.startswith("| `MOSS_")]
    assert known <= set(re.findall(r"`(MOSS_[A-Z_]+)`", "\n".join(rows)))


def test_every_error_code_is_explained():
    codes = re.findall(r'Self::\w+ => "([a-z-]+)",', PACKET)
    assert "invalid-packet" in codes
    explained = text("docs/protocol.md")
    assert [code for code in codes if f"`{code}`" not in explained] == []


def test_every_promise_is_shown_by_a_test():
    named = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`", text("docs/promises.md")))
    folders = ("stress", "tls", "pages")
    files = [path for folder in folders for path in REPOSITORY.glob(f"tests/{folder}/*.rs")]
    sources = "".join(path.read_text() for path in files)
    tests = set(re.findall(r"#\[test\]\s*(?:#\[[^\n]*\]\s*)*fn (\w+)", sources))
    assert len(named) > 20
    assert named - tests == set()


def test_every_word_of_the_log_is_explained():
    section = text("docs/operating.md").split("## The log", 1)[1].split("\n#", 1)[0]
    explained = {
        word
        for row in re.findall(r"^\| (`[^|]*) \|", section, re.M)
        for word in re.findall(r"`([a-z0-9-]+)`", row)
    }
    words = set()
    for source in (ENDING, REFUSAL):
        body = source.split("fn word(self)", 1)[1].split("\n    }\n", 1)[0]
        words |= set(re.findall(r'=> "([a-z0-9-]+)"', body))
    assert {"silent", "origin"} <= words
    assert words - explained == set()


def test_template_leaves_the_plain_port_to_moss():
    """With a value filled in, the port would stay open to the network beside TLS."""
    assert "MOSS_HOSTNAME=\n" in TEMPLATE
    assert re.findall(r"^(MOSS_TLS_\w+)=.+$", TEMPLATE, re.M) == []


def test_timings_of_calls_are_those_of_the_library():
    rows = re.findall(r"\| ([\d,]+) \| `(\w+\.js)` `(\w+)` \|", text("docs/calls.md"))
    assert len(rows) > 10
    for value, file, name in rows:
        source = (REPOSITORY / "clients/javascript/src" / file).read_text()
        constant = re.search(rf"^const {name} = ([\d_]+);", source, re.M)
        assert constant, name
        assert value.replace(",", "") == constant[1].replace("_", ""), name


def test_password_for_turn_is_made_as_coturn_checks_it():
    command = block("docs/webrtc.md", "sh", "-hmac PUT-THE-SECRET-HERE")
    told = ["sh", "-euc", f'{command}\necho "$username"']
    run = subprocess.run(told, capture_output=True, text=True, check=True, timeout=PATIENCE)
    password, name = run.stdout.split()
    ends, key = name.split(":")
    assert 3000 < int(ends) - time.time() <= 3600 and key == "anna"
    made = hmac.digest(b"PUT-THE-SECRET-HERE", name.encode(), "sha1")
    assert base64.b64decode(password, validate=True) == made


LIBRARY = (REPOSITORY / "clients/javascript/README.md").read_text()
LIBRARY_PROSE = re.sub(r"^```.*?^```$", "", LIBRARY, flags=re.S | re.M)
LIBRARY_SOURCES = {
    path.name: path.read_text() for path in (REPOSITORY / "clients/javascript/src").glob("*.js")
}


def public_names(source):
    """Methods and properties of the classes in a file, without those that are marked as internal."""
    found = re.finditer(
        r"^(?P<comment>(?:  (?:/\*\*|\*| \*).*\n)*)"
        r"  (?:static |async |get |set )*(?P<name>[a-z]\w*)(?:\([^;]*\) \{| = .*;|;)$",
        source,
        re.M,
    )
    hidden = ("@protected", "@internal")
    names = {match["name"] for match in found if not any(word in match["comment"] for word in hidden)}
    return names - {"constructor"}


def test_every_public_name_of_the_library_is_explained():
    files = ("client.js", "master.js", "member.js", "peer.js", "signaling.js", "emitter.js")
    names = set().union(*(public_names(LIBRARY_SOURCES[file]) for file in files))
    assert {"send", "share", "kick", "members", "roundTripTime", "hello"} <= names
    explained = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", LIBRARY_PROSE))))
    assert names - explained == set()


def test_every_option_event_and_problem_of_the_library_is_explained():
    sources = "".join(LIBRARY_SOURCES.values())
    options = re.findall(r"@property \{.+\} \[?(\w+)\]? ", "".join(
        re.search(r"@typedef \{object\} \w+Options\n(.*?)\*/", LIBRARY_SOURCES[file], re.S)[1]
        for file in ("client.js", "master.js", "signaling.js")
    ))
    events = re.findall(r'emit\("([\w-]+)"', sources)
    codes = re.findall(r'emit\("problem", \{ code: "([\w-]+)"|problem\("([\w-]+)",', sources)
    assert {"fallback", "most"} <= set(options)
    assert {"message", "left"} <= set(events)
    assert ("unsent", "") in codes and ("", "statistics") in codes
    wanted = {*options, *events, *(one or other for one, other in codes)}
    explained = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", LIBRARY_PROSE))))
    assert wanted - explained == set()


def test_library_is_as_small_as_promised():
    built = (REPOSITORY / "examples/browser/moss-signaling.js").read_bytes()
    promised = re.search(r"(\d+) kB minified, (\d+) kB with gzip", LIBRARY)
    for size, most in zip((len(built), len(gzip.compress(built, 9))), promised.groups()):
        assert 0.9 < size / (int(most) * 1000) <= 1
    assert f"({promised[2]} kB compressed" in text("README.md")
