"""curl, and all that it reports about its transfers."""

import json
import os
import subprocess

from server import AUTHORITY, PATIENCE

FORM = '{"told":%{json},"headers":%{header_json}}\\n'


class Fetched:
    """The last answer of a transfer."""

    def __init__(self, told, body):
        self.status = told["told"]["http_code"]
        self.version = told["told"]["http_version"]
        self.connects = told["told"]["num_connects"]
        self.url = told["told"]["url_effective"]
        self._headers = told["headers"]
        self.body = body

    def header(self, name):
        """The only value of this header, or None."""
        values = self._headers.get(name, [None])
        assert len(values) == 1, self._headers
        return values[0]


def curl(folder, *requests, options=()):
    """Makes requests with one curl: each is a list of arguments, including the URL."""
    arguments = []
    files = [folder / f"body-{number}" for number in range(len(requests))]
    for request, file in zip(requests, files):
        file.unlink(missing_ok=True)
        common = ["--silent", "--show-error", "--globoff", "--path-as-is", "--write-out", FORM]
        common += ["--output", file, "--max-time", PATIENCE, "--cacert", AUTHORITY]
        arguments += ["--next", *common, *options, *request]
    done = subprocess.run(
        ["curl", "--disable", *map(str, arguments[1:])],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    # Sorted by the order in which they ended.
    told = {value["told"]["filename_effective"]: value for value in values_in(done.stdout)}
    # curl makes no file for an empty body.
    bodies = [file.read_bytes() if file.exists() else b"" for file in files]
    return [Fetched(told[str(file)], body) for file, body in zip(files, bodies)]


def values_in(text):
    """The concatenated JSON values in a text."""
    values, at = [], 0
    while text[at:].strip():
        value, end = json.JSONDecoder().raw_decode(text[at:].lstrip())
        at = len(text) - len(text[at:].lstrip()) + end
        values.append(value)
    return values


def curl_one(folder, *request):
    [fetched] = curl(folder, request)
    return fetched
