"""Load generators, which count failures."""

import re
import subprocess
from pathlib import Path

import pytest
from folder import FILES, LARGE, MIDDLE, target
from server import PATIENCE

SMALL = "size/16385.bin"


def output(*command):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def counts(pattern, text):
    return [int(count) for count in re.search(pattern, text).groups()]


def ab(url, number, *options):
    """The counters of ab. It compares each length with that of the first answer."""
    told = output("ab", "-q", "-c", 8, "-n", number, *options, url)
    figures = dict(re.findall(r"^([A-Z][\w -]+):\s+(\d+)", told, re.M))
    assert figures["Complete requests"] == str(number), told
    assert figures["Failed requests"] == "0", told
    assert "Non-2xx responses" not in figures and "Write errors" not in figures, told
    return {name: int(figure) for name, figure in figures.items()}


@pytest.mark.parametrize("path, number", [(SMALL, 300), (MIDDLE, 100), (LARGE, 10)])
def test_ab(origin, path, number):
    told = ab(origin.url + target(path), number)
    assert told["Document Length"] == len(FILES[path])
    assert told["HTML transferred"] == number * len(FILES[path])


# Each connection gets more requests than its limit of a thousand.
@pytest.mark.parametrize("path, number", [(SMALL, 9_000), (MIDDLE, 500), (LARGE, 20)])
def test_ab_with_keepalive(origin, path, number):
    told = ab(origin.url + target(path), number, "-k")
    assert told["HTML transferred"] == number * len(FILES[path])
    assert number - told["Keep-Alive requests"] <= number // 1_000


@pytest.mark.parametrize("path, connections", [(SMALL, 8), (MIDDLE, 8), (LARGE, 2)])
def test_wrk_compares_the_content(origin, pages, path, connections):
    script = Path(__file__).with_name("whole.lua")
    url = origin.url + target(path)
    # It counts whole answers, of which a busy machine may give none within a second.
    for seconds in (1, 10):
        told = output(
            *("wrk", "-t", 1, "-c", connections, "-d", seconds, "--timeout", PATIENCE),
            *("-s", script, url, "--", pages / path),
        )
        right, wrong, errors = counts(r"right (\d+) wrong (\d+) errors (\d+)", told)
        if right:
            break
    assert right > 0 and (wrong, errors) == (0, 0), told


@pytest.mark.parametrize("at_once", [1, 8])
@pytest.mark.parametrize("path, number", [(SMALL, 3_000), (MIDDLE, 500), (LARGE, 20)])
def test_h2load_by_http_1(origin, path, number, at_once):
    url = origin.url + target(path)
    told = output("h2load", "--h1", "-n", number, "-c", 4, "-m", at_once, url)
    done, failed, errored, late = counts(
        r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", told
    )
    assert (done, failed, errored, late) == (number, 0, 0, 0), told
    [body] = counts(r"\((\d+)\) data\n", told)
    assert body == number * len(FILES[path]), told
