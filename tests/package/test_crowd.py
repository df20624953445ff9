"""Many mosses behind one HAProxy: one of them is killed during traffic.

Each hall, a master and its clients, is a separate process (hall.py), so that halls affect each
other only through moss and HAProxy. By hand, larger and with figures:

    MOSS_HALLS=8 MOSS_CLIENTS=8000 bash tests/package/run -k crowd -s

MOSS_CLIENTS counts the clients of all halls, MOSS_PERIOD is the time in seconds between two
packets of a client, and MOSS_CROWD_TLS=1 makes the proxy use TLS.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from conftest import PATIENCE, SECRET
from test_several import HAProxy, Halls

HALLS = int(os.environ.get("MOSS_HALLS", 4))
CLIENTS = int(os.environ.get("MOSS_CLIENTS", 400)) // HALLS
PERIOD = float(os.environ.get("MOSS_PERIOD", 1))
TLS = "MOSS_CROWD_TLS" in os.environ
LARGE = "MOSS_CLIENTS" in os.environ
# Seconds that each phase is measured: only needed for the figures.
WATCHED = 20 if LARGE else 0

# Far above the stalls of a busy machine, and below the limits that a fault would wait for: HAProxy's
# 30 s, hall.py's 60 s.
LONGEST_ANSWER = 20

PROGRAM = Path(__file__).with_name("hall.py")


class Crowd:
    """The master and the clients of a hall, in a separate process."""

    def __init__(self, url, certificate, *wrapped_in):
        trust = ["--trust", str(certificate.file)] if TLS else []
        self._process = subprocess.Popen(
            [*wrapped_in, sys.executable, PROGRAM, url, *trust, "--secret", SECRET]
            + ["--clients", str(CLIENTS), "--period", str(PERIOD)]
            + ["--pause", "1" if LARGE else "0.2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # A hall that hangs is killed, which ends its output. The time is for the whole test.
        self._end = threading.Timer(PATIENCE * (10 if LARGE else 3), self._process.kill)
        self._end.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end.cancel()
        self._process.kill()
        self._process.communicate()

    def wait_until_whole(self):
        assert self._line() == "whole\n"

    def tell(self, command):
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def next_report(self):
        return json.loads(self._line())

    def _line(self):
        line = self._process.stdout.readline()
        assert line, "the hall has ended"
        return line


def reports(crowds, command="report"):
    """The reports of all halls since the last call."""
    for crowd in crowds.values():
        crowd.tell(command)
    return {name: crowd.next_report() for name, crowd in crowds.items()}


def together(told, more):
    """Two reports of a hall in a row, as one."""
    sums = ("answered", "disconnects", "unanswered", "amiss", "errors")
    worst = max(told["worst"], more["worst"])
    return more | {name: told[name] + more[name] for name in sums} | {"refused": told["refused"] | more["refused"], "worst": worst}


def cpu(pid):
    """The CPU time of all threads of the process, in seconds."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def anonymous(pid):
    """The process's anonymous memory in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    [kib] = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(kib) * 1024


def test_a_crowd_does_not_notice_that_the_moss_of_another_hall_dies(binary, certificate, tmp_path):
    bind = None if TLS else "127.0.0.1:{port}"
    with Halls(binary, tmp_path, HALLS, MOSS_ALLOWED_ORIGINS="*") as halls:
        with HAProxy(tmp_path, halls, certificate, bind=bind) as front:
            scheme = "wss" if TLS else "ws"
            urls = {name: f"{scheme}://localhost:{front.port}/{name}/" for name in halls.ports}
            [proxy] = front.workers
            pids = [moss.pid for moss in halls.mosses.values()]
            empty = anonymous(proxy), sum(map(anonymous, pids))
            crowds = {}
            try:
                for name, url in urls.items():
                    # When all clients reconnect, they load the proxy. Here they also load this
                    # machine's processors: a lower priority keeps that out of the figures.
                    wrapped_in = ("nice", "-n", "19") if LARGE and name == "hall-2" else ()
                    crowds[name] = Crowd(url, certificate, *wrapped_in)
                for crowd in crowds.values():
                    crowd.wait_until_whole()
                reports(crowds)
                before = cpu(proxy), sum(map(cpu, pids))
                time.sleep(WATCHED)
                calm = reports(crowds)
                after = cpu(proxy), sum(map(cpu, pids))
                full = anonymous(proxy), sum(map(anonymous, pids))

                halls.mosses["hall-2"].kill()
                halls.start("hall-2", MOSS_ALLOWED_ORIGINS="*")
                crowds["hall-2"].wait_until_whole()
                meanwhile = reports(crowds)
                # A busy machine may have left a hall without its turn until now.
                while not all(told["answered"] for told in meanwhile.values()):
                    time.sleep(0.05)
                    meanwhile = {name: together(meanwhile[name], told) for name, told in reports(crowds).items()}
                time.sleep(WATCHED)
                at_last = reports(crowds, "stop")
            finally:
                for crowd in crowds.values():
                    crowd.__exit__()

    if LARGE:
        packets = 2 * sum(figures["answered"] for figures in calm.values())
        for number, who in enumerate(("HAProxy", "the mosses")):
            spent = (after[number] - before[number]) / packets * 1e6
            held = (full[number] - empty[number]) / HALLS / (CLIENTS + 1)
            print(f"\n{who}: {spent:.1f} µs of CPU a packet, {held:.0f} bytes a client", end="")
        for phase, halls_figures in (("calm", calm), ("meanwhile", meanwhile), ("at last", at_last)):
            print(f"\n{phase}:")
            for name, figures in halls_figures.items():
                print(f"  {name}: {figures}")

    victim = meanwhile.pop("hall-2"), at_last.pop("hall-2")
    # Its clients and its master have all reconnected, without further losses.
    assert victim[0]["disconnects"] == CLIENTS + 1
    assert (victim[1]["clients"], victim[1]["unanswered"], victim[1]["amiss"]) == (CLIENTS, 0, 0)
    for figures in (*meanwhile.values(), *at_last.values()):
        assert figures["clients"] == CLIENTS
        troubles = ("disconnects", "unanswered", "amiss", "errors", "refused")
        assert not any(figures[trouble] for trouble in troubles), figures
        assert figures["worst"] < LONGEST_ANSWER, figures
