"""/metrics, compared with docs/operating.md, with what happened, and with the kernel's figures."""

import contextlib
import json
import os
import re
import time
from pathlib import Path

from conftest import ENVIRONMENT, PATIENCE, REPOSITORY, Moss, receive, relays, run, send, tls_settings
from figures import ON, PAGE, Figures, answered, checked_by_promtool, claim, scrape, table, wait_for, words_of_the_log
from test_service import machine  # noqa: F401, a fixture
from websockets.sync.client import connect
from wire import Wire, request

PROTOCOL = (REPOSITORY / "docs/protocol.md").read_text()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def promised():
    """The metrics in the page's table, each with the names of its labels."""
    names = {}
    for first, *_ in table(PAGE, "## Metrics"):
        for name, labels in re.findall(r"`(\w+)(?:\{([\w,]+)\})?`", first):
            names[name] = set(labels.split(",")) if labels else set()
    return names


def exposed(figures):
    """The metrics of a scrape in the same form; a histogram counts as one."""
    names = {}
    for name, labels in figures:
        name = re.sub(r"^(moss_turn_seconds)_(bucket|sum|count)$", r"\1", name)
        names.setdefault(name, set()).update({label for label, _ in labels} - {"le"})
    return names


def test_page_names_every_metric_and_its_labels(binary, tmp_path, certificate):
    with Moss([binary], tmp_path, **ON, **tls_settings(certificate.file.parent)) as moss:
        assert exposed(scrape(moss.port)) == promised()


def test_every_label_value_is_exposed_from_the_start(binary, tmp_path, certificate):
    with Moss([binary], tmp_path, **ON, **tls_settings(certificate.file.parent)) as moss:
        figures = scrape(moss.port)
    assert set(figures.by("moss_connections_closed_total", "reason")) == words_of_the_log()
    assert set(figures.by("moss_connections", "role")) == {"http", "guest", "client", "master"}
    for name in ("moss_packets_relayed_total", "moss_relayed_bytes_total"):
        assert set(figures.by(name, "direction")) == {"to_master", "to_client"}
    codes = {re.fullmatch("`(.*)`", first)[1] for first, *_ in table(PROTOCOL, "## Errors")}
    assert set(figures.by("moss_errors_sent_total", "code")) == codes
    handshakes = [("ok", "no"), ("ok", "yes"), ("failed", "no")]
    for result, resumed in handshakes:
        figures.of("moss_tls_handshakes_total", result=result, resumed=resumed)
    counted = {key: value for key, value in figures.items() if key[0].startswith("moss_") and value}
    assert {name for name, _ in counted} == {
        "moss_build_info",
        "moss_connections",  # The scraping connection.
        "moss_connections_accepted_total",
        "moss_connections_limit",
        "moss_held_bytes_limit",
        "moss_tls_certificate_expiry_timestamp_seconds",
        "moss_turn_seconds_bucket",
        "moss_turn_seconds_count",
        "moss_turn_seconds_sum",
        "moss_unsent_bytes_limit",
    }


def test_promtool_finds_nothing(binary, binary_without_tls, tmp_path, certificate):
    for program, settings in (
        (binary_without_tls, {}),
        (binary, {}),
        (binary, tls_settings(certificate.file.parent)),
    ):
        with Moss([program], tmp_path, **ON, **settings) as moss:
            assert relays(f"ws://127.0.0.1:{moss.port}")
            assert checked_by_promtool(scrape(moss.port).text) == (0, "")


def test_metrics_are_read_by_get_and_head_if_they_are_on(binary, tmp_path):
    with Moss([binary], tmp_path, **ON) as moss:
        status, headers, body = answered(moss.port, "GET", "/metrics?from=here")
        assert (status, headers["Content-Type"]) == (200, CONTENT_TYPE)
        assert int(headers["Content-Length"]) == len(body)
        status, headers, body = answered(moss.port, "HEAD", "/metrics")
        assert (status, headers["Content-Type"], body) == (200, CONTENT_TYPE, b"")
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = answered(moss.port, method, "/metrics")
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert answered(moss.port, "GET", "/metrics/")[0] == 404
    for off in ({}, {"MOSS_METRICS": "off"}, {"MOSS_METRICS": ""}):
        with Moss([binary], tmp_path, **off) as moss:
            for method in ("GET", "HEAD", "POST"):
                assert answered(moss.port, method, "/metrics")[0] == 404
    refused = run(binary, env=ENVIRONMENT | {"MOSS_METRICS": "yes"}, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(r"moss: MOSS_METRICS: .*\n", refused.stderr)


def test_only_packets_between_peers_count_as_relayed(binary, tmp_path):
    settings = {"MOSS_CLIENT_JOINED_TYPE": "joined", "MOSS_CLIENT_LEFT_TYPE": "left"}
    with Moss([binary], tmp_path, **ON, **settings) as moss:
        url = f"ws://127.0.0.1:{moss.port}"
        with connect(url) as master, connect(url) as client:
            claim(master)
            send(client, type="login")
            assert receive(client)["type"] == "offer"
            assert receive(master)["type"] == "joined"
            for _ in range(3):
                send(client, type="ping")
                assert receive(client)["type"] == "pong"
            send(client, type="login", payload="again")
            assert receive(client)["type"] == "offer"
            send(client, no="type")
            assert receive(client)["payload"]["code"] == "invalid-packet"
            send(master, type="to nobody", id="7")
            assert receive(master)["payload"]["code"] == "unknown-client"
            figures = scrape(moss.port)
            for name in ("moss_packets_relayed_total", "moss_relayed_bytes_total"):
                assert figures.by(name, "direction") == {"to_master": 0, "to_client": 0}

            to_master, to_client = 0, 0
            for length in (0, 10, 5_000):
                send(client, type="up", payload="x" * length)
                heard = master.recv(timeout=PATIENCE)
                to_master += len(heard)
            for length in (1, 70_000):
                send(master, type="down", payload="x" * length, id=json.loads(heard)["id"])
                to_client += len(client.recv(timeout=PATIENCE))
            figures = scrape(moss.port)
            assert figures.by("moss_packets_relayed_total", "direction") == {"to_master": 3, "to_client": 2}
            assert figures.by("moss_relayed_bytes_total", "direction") == {
                "to_master": to_master,
                "to_client": to_client,
            }
            assert figures.by("moss_connections", "role") == {"http": 1, "guest": 0, "client": 1, "master": 1}
            assert figures.of("moss_logins_total") == 1
            assert figures.of("moss_master_changes_total") == 1


def test_errors_are_counted_by_their_code(binary, tmp_path):
    with Moss([binary], tmp_path, **ON) as moss:
        url = f"ws://127.0.0.1:{moss.port}"
        with connect(url) as guest, connect(url) as first, connect(url) as second:
            heard = []

            def provoke(connection, **packet):
                send(connection, **packet)
                heard.append(receive(connection)["payload"]["code"])

            provoke(guest, no="type")
            provoke(guest, type="set-master", payload="no object")
            provoke(guest, type="set-master", payload={"secret": "wrong"})
            provoke(guest, type="set-master", payload={"secret": "wrong again"})
            provoke(guest, type="hello")
            send(guest, type="login")
            provoke(guest, type="hello")
            claim(first)
            assert receive(guest)["type"] == "offer"
            provoke(first, type="hello")
            provoke(first, type="hello", id="7")
            provoke(first, type="login")
            claim(second)
            heard.append(receive(first)["payload"]["code"])
            figures = scrape(moss.port)
        errors = figures.by("moss_errors_sent_total", "code")
        assert set(errors) == set(heard), "not all codes were tested"
        assert errors == {code: heard.count(code) for code in errors}
        assert figures.of("moss_wrong_secrets_total") == 2
        assert figures.of("moss_master_changes_total") == 2


def test_no_packet_waits_for_scrapers_and_each_is_answered(binary, tmp_path):
    with Moss([binary], tmp_path, **ON) as moss:
        url = f"ws://127.0.0.1:{moss.port}"
        with contextlib.ExitStack() as stack:
            master, client = (stack.enter_context(connect(url)) for _ in range(2))
            claim(master)
            send(client, type="login")
            assert receive(client)["type"] == "offer"
            # Two hundred that request and don't read, and two hundred that send half a request.
            slow = [
                stack.enter_context(Wire(moss.port, text, narrow=True))
                for text in (request("GET", "/metrics"), request("GET", "/metrics")[:-2])
                for _ in range(200)
            ]
            for number in range(100):
                send(client, type="up", payload=number)
                assert receive(master)["payload"] == number
            for wire in slow[:200]:
                answer = wire.rest()
                head, body = answer.split(b"\r\n\r\n", 1)
                assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(body)
                Figures(body.decode()).agree()
        everybody = lambda: sum(scrape(moss.port).by("moss_connections", "role").values()) == 1
        wait_for("the end of all", everybody)


def is_what_the_kernel_says(figures, status, descriptors, limits):
    """Whether the metrics of the process are those of /proc/PID; `descriptors` lists its files."""
    resident = int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) * 1024
    assert 0.5 < figures.of("process_resident_memory_bytes") / resident < 2
    # The scraping connection was open during the answer, and may be for a moment after it.
    wait_for("as many files", lambda: figures.of("process_open_fds") == len(descriptors()) + 1)
    most = re.search(r"^Max open files\s+(\d+)", limits, re.M)[1]
    assert figures.of("process_max_fds") == int(most)
    assert abs(figures.of("process_start_time_seconds") - time.time()) < PATIENCE
    return True


def test_metrics_of_the_process_are_the_kernels(binary, tmp_path):
    with Moss([binary], tmp_path, **ON) as moss:
        figures = scrape(moss.port)
        status, limits = (Path(f"/proc/{moss.pid}/{name}").read_text() for name in ("status", "limits"))
        descriptors = lambda: os.listdir(f"/proc/{moss.pid}/fd")
        assert is_what_the_kernel_says(figures, status, descriptors, limits)
        # Also after many scrapes.
        cpu = lambda: scrape(moss.port).of("process_cpu_seconds_total")
        before = cpu()
        wait_for("CPU time", lambda: cpu() > before)


def test_metrics_of_the_process_are_the_kernels_in_the_units_sandbox_too(machine):  # noqa: F811
    machine.serving()
    machine.set(ENVIRONMENT | ON)
    assert machine.restart() == 0
    pid, port = machine.serving()
    figures = scrape(port)
    proc = lambda *command: machine.run(*command).stdout
    status, limits = (proc("cat", f"/proc/{pid}/{name}") for name in ("status", "limits"))
    assert is_what_the_kernel_says(figures, status, lambda: proc("ls", f"/proc/{pid}/fd").split(), limits)
    assert checked_by_promtool(figures.text) == (0, "")
