"""Prometheus, with the configuration of docs/operating.md, unchanged except for addresses and
intervals, and with the alerts of examples/prometheus.
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.parse

from conftest import PATIENCE, REPOSITORY, Moss, block, fetched, receive, run, send, tls_settings
from figures import ON, PAGE, claim, scrape, table, wait_for
from websockets.sync.client import connect

RULES = REPOSITORY / "examples/prometheus/moss.rules.yml"


class Prometheus:
    """A Prometheus with this configuration, in its own folder."""

    def __init__(self, folder, configuration):
        (folder / "prometheus.yml").write_text(configuration)
        shutil.copy(RULES, folder)
        checked = run("promtool", "check", "config", "prometheus.yml", cwd=folder)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        while not self._started(folder):
            pass

    def _started(self, folder):
        """False if another program has taken the port."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % free.getsockname()[1]
        self.url = f"http://{address}"
        self._log = folder / "prometheus.log"
        with open(self._log, "w") as log:
            command = ("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data")
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address={address}"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def ready():
            if self._process.poll() is not None:
                return True
            with contextlib.suppress(OSError):
                return fetched(f"{self.url}/-/ready")

        try:
            wait_for("the start of Prometheus", ready)
        except BaseException:
            self.kill()
            raise
        if self._process.poll() is None:
            return True
        said = self._log.read_text()
        assert "address already in use" in said, said
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self._process.kill()
        self._process.wait(PATIENCE)

    def asked(self, path, **query):
        answer = json.loads(fetched(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"))
        assert answer["status"] == "success"
        return answer["data"]

    def value(self, query):
        """The only value. There is none before the first scrape, nor after one that took over a second."""
        [found] = wait_for(query, lambda: self.asked("query", query=query)["result"])
        return float(found["value"][1])


def configuration(moss, certificate):
    """Both configurations of the page, with short intervals: `moss` and `moss-by-tls`."""
    plain, tls = block(PAGE, "yaml", "rule_files"), block(PAGE, "yaml", "tls_config")
    edits = (
        ("15s", "1s"),
        ("192.168.1.5:8080", f"127.0.0.1:{moss.port}"),
        ("192.168.1.5:8443", f"localhost:{moss.tls_port}"),
        ("certificate.pem", str(certificate.file)),
    )
    text = plain + tls.replace("job_name: moss", "job_name: moss-by-tls").removeprefix("scrape_configs:\n")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def test_prometheus_scrapes_moss_and_raises_alerts(binary, tmp_path, certificate):
    settings = ON | tls_settings(certificate.file.parent) | {"MOSS_MAX_CONNECTIONS": "2"}
    with (
        Moss([binary], tmp_path, **settings) as moss,
        Prometheus(tmp_path, configuration(moss, certificate)) as prometheus,
    ):
        for job in ("moss", "moss-by-tls"):
            wait_for(f"a scrape of {job}", lambda: prometheus.value(f'up{{job="{job}"}}') == 1)
            assert prometheus.value(f'moss_connections_limit{{job="{job}"}}') == 2
            assert prometheus.value(f'moss_connections{{job="{job}", role="client"}}') == 0
            ends = f'moss_tls_certificate_expiry_timestamp_seconds{{job="{job}"}} - time()'
            assert 29 < prometheus.value(ends) / 86_400 < 31
        metadata = prometheus.asked("targets/metadata", metric="moss_turn_seconds")
        assert {one["type"] for one in metadata} == {"histogram"}
        assert scrape(moss.port).of("moss_tls_handshakes_total", result="ok", resumed="no") >= 1

        def alerts():
            for rule in prometheus.asked("rules")["groups"][0]["rules"]:
                assert rule["health"] in ("ok", "unknown"), rule
                yield rule["name"], rule["state"]

        # The alert fires only after two minutes.
        wait_for("a missing master", lambda: dict(alerts())["MossWithoutMaster"] == "pending")
        url = f"ws://127.0.0.1:{moss.port}"
        with connect(url) as master, connect(url) as client:
            claim(master)
            send(client, type="login")
            assert receive(client)["type"] == "offer"
            wait_for("a full server", lambda: dict(alerts())["MossFull"] == "firing")
            wait_for("a master", lambda: dict(alerts())["MossWithoutMaster"] == "inactive")

        # All metrics in alerts and in the page's queries exist.
        rules = re.findall(r"^\s+expr:(.*?)^\s+(?:for|labels):", RULES.read_text(), re.S | re.M)
        queries = [query.strip("`") for _, query in table(PAGE, "## What the figures say")]
        for query in queries:
            prometheus.asked("query", query=query)
        names = re.findall(r"\b((?:moss|process)_\w+)\b", " ".join(rules + queries))
        assert set(names) <= scrape(moss.port).names()


def test_alerts_fire_only_when_they_should():
    checked = run("promtool", "check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run("promtool", "test", "rules", REPOSITORY / "tests/package/alerts.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    listed = {name for first, *_ in table(PAGE, "## Alerts") for name in re.findall(r"`(\w+)`", first)}
    assert alerts == listed
    for alert in alerts:
        assert f"alertname: {alert}\n" in (REPOSITORY / "tests/package/alerts.yml").read_text()
