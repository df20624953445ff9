"""The figures that the benches measured: the CSV files of a folder."""

import csv
import re
from datetime import date
from pathlib import Path
from typing import NamedTuple

BENCHES = ["loopback", "footprint", "tls", "packet", "pages"]


class Spread(NamedTuple):
    """The median of the rounds, their minimum and their maximum."""

    value: float
    least: float
    most: float


class Row(NamedTuple):
    """A figure, with how many clients were logged in and how many of them were busy."""

    clients: int
    busy: int
    spread: Spread


class Missing(Exception):
    """A figure was not measured: the run had only some of the scenarios."""


class Bench:
    """One bench's file."""

    def __init__(self, path):
        lines = path.read_text().splitlines()
        notes = [line[2:].split(": ", 1) for line in lines if line.startswith("# ")]
        self.name = path.stem
        self.notes = dict(notes)
        self.rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))

    def find(self, scenario, program, metric=None):
        """All matching rows. `program` is one program, or a ratio such as "moss / bare"."""
        return [
            Row(
                int(row["clients"] or 0),
                int(row["busy"] or 0),
                Spread(*(float(row[name]) for name in Spread._fields)),
            )
            for row in self.rows
            if (row["scenario"], row["program"]) == (scenario, program)
            and metric in (None, row["metric"])
        ]

    def get(self, scenario, program, metric=None):
        """The matching figure; without a metric, the scenario's first."""
        found = self.find(scenario, program, metric)
        if not found:
            raise Missing(f"{self.name}.csv has no {metric or 'figure'} of {program} in {scenario}")
        return found[0].spread

    def clients(self, scenario):
        """How many clients are logged in."""
        found = self.find(scenario, "moss")
        if not found:
            raise Missing(f"{self.name}.csv has no {scenario} of moss")
        return found[0].clients


class Figures:
    """All of a folder's benches, by name."""

    def __init__(self, folder):
        paths = [Path(folder) / f"{name}.csv" for name in BENCHES]
        self.benches = {path.stem: Bench(path) for path in paths if path.exists()}

    def __getitem__(self, name):
        if name not in self.benches:
            raise Missing(f"there is no {name}.csv")
        return self.benches[name]

    def programs(self):
        """Which versions of moss were measured: one, if the benches belong together."""
        return sorted({bench.notes["moss"] for bench in self.benches.values() if "moss" in bench.notes})

    def caveat(self, *names):
        """Why these benches' figures are not to be trusted, if so."""
        return next((self[name].notes["caveat"] for name in names if "caveat" in self[name].notes), None)

    def origin(self, *names):
        """Day, machine and moss of these benches: short sentences."""
        notes = [self[name].notes for name in names]
        days = sorted({note["day"] for note in notes})
        day = " and ".join(f"{date.fromisoformat(day):%-d %B %Y}" for day in days)
        # Names each machine, so that a chart of figures from several shows it.
        machines = " and ".join(
            dict.fromkeys(
                f"{short(note['cpu'])}, {note['cores']} cores, {note['kernel'].split('-')[0]}"
                for note in notes
            )
        )
        versions = " and ".join(dict.fromkeys(note["moss"] for note in notes if "moss" in note))
        return [f"{day}. {machines}.", f"{versions}." if versions else ""]


def short(cpu):
    """A CPU's name without trade marks and clock rate, such as "Intel Xeon Platinum 8375C"."""
    return " ".join(re.sub(r"\((R|TM)\)|\bCPU\b|@ [\d.]+GHz", "", cpu).split())
