"""Reads /metrics by a parser of its own, and the tables of docs/operating.md."""

import contextlib
import http.client
import re
import time

import pytest
from conftest import PATIENCE, REPOSITORY, SECRET, receive, run, send

PAGE = (REPOSITORY / "docs/operating.md").read_text()

ON = {"MOSS_METRICS": "on", "MOSS_LOG": "debug", "MOSS_HOSTNAME": "127.0.0.1"}


class Figures(dict):
    """The values of one scrape, by name and labels."""

    def __init__(self, text):
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
                labels = frozenset(re.findall(r'(\w+)="([^"]*)"', labels or ""))
                assert (name, labels) not in self, f"twice: {line}"
                self[name, labels] = float(value)
        self.text = text

    def of(self, name, **labels):
        """The only value with this name and these labels."""
        return self[name, frozenset(labels.items())]

    def by(self, name, label):
        """All values with this name, by the value of the label."""
        return {dict(labels)[label]: value for (known, labels), value in self.items() if known == name}

    def names(self):
        return {name for name, _ in self}

    def agree(self):
        """Checks what must hold in every scrape."""
        closed = self.by("moss_connections_closed_total", "reason")
        open_now = self.by("moss_connections", "role")
        accepted = self.of("moss_connections_accepted_total")
        assert accepted == sum(open_now.values()) + sum(closed.values()), self.text
        for reason, rejected in self.by("moss_connections_rejected_total", "reason").items():
            assert closed[reason] == rejected, reason
        return self


def scrape(port, source="127.0.0.1"):
    return Figures(answered(port, "GET", "/metrics", source)[2].decode()).agree()


def answered(port, method, path, source="127.0.0.1"):
    """Status, headers and body of an answer on a connection of its own, from the address `source`."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=(source, 0))
    with contextlib.closing(asked):
        asked.request(method, path, headers={"Connection": "close"})
        response = asked.getresponse()
        return response.status, response.headers, response.read()


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen")
        time.sleep(0.1)
    return result


def checked_by_promtool(text):
    checked = run("promtool", "check", "metrics", input=text)
    return checked.returncode, checked.stdout + checked.stderr


def table(page, heading):
    """The rows of the first table below a heading, as cells."""
    section = page.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = re.findall(r"^\| (.*) \|$", section, re.M)
    return [row.split(" | ") for row in rows[1:]]


def words_of_the_log():
    """The page's words for why a connection ended."""
    cells = [first for first, *_ in table(PAGE, "## The log")]
    words = {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}
    return words - {"connected", "wrong_secret"}


def claim(connection):
    send(connection, type="set-master", payload={"sdp": {}, "secret": SECRET})
    assert receive(connection)["type"] == "master-confirmation"
