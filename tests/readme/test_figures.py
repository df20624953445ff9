"""Pages and charts show the figures that docs/charts has, and nothing else."""

import os
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from pages import PAGES, REPOSITORY, text

PROGRAM = REPOSITORY / "benches/charts"
PUBLISHED = REPOSITORY / "docs/charts"
sys.path.insert(0, str(PROGRAM))

import charts
import tables
from figures import BENCHES, Figures

FIGURES = Figures(PUBLISHED)


def test_every_bench_has_a_file_and_every_place_on_a_page_is_known():
    assert sorted(path.stem for path in PUBLISHED.glob("*.csv")) == sorted(BENCHES)
    places = [place[2] for page in PAGES for place in tables.PLACE.finditer(text(page))]
    assert sorted(places) == sorted(tables.CONTENTS)
    assert sum(text(page).count("<!-- figures: ") for page in PAGES) == len(places)


@pytest.mark.parametrize("page", [page for page in PAGES if tables.PLACE.search(text(page))])
def test_page_shows_the_figures(page):
    assert tables.filled(text(page), FIGURES) == text(page), (
        "python3 benches/charts --publish updates it"
    )


def test_charts_are_drawn_from_the_figures():
    drawn, missing = charts.draw(FIGURES)
    assert missing == []
    assert {path.stem: path.read_text() for path in PUBLISHED.glob("*.svg")} == drawn


@pytest.mark.parametrize("name", charts.CHARTS)
def test_chart_stays_inside_its_card_and_is_described(name):
    svg = ElementTree.parse(PUBLISHED / f"{name}.svg").getroot()
    _, _, width, height = map(float, svg.get("viewBox").split())
    tags = {element.tag.rpartition("}")[2]: element for element in svg.iter()}
    assert tags["title"].text and len(tags["desc"].text) > 100
    for element in svg.iter():
        for place, most in [("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height)]:
            assert 0 <= float(element.get(place, 0)) <= most, ElementTree.tostring(element)


@pytest.fixture
def checkout(tmp_path):
    """The parts of the repository that the charts' program needs, and a run's figures."""
    for page in ["README.md", "docs", "benches/charts"]:
        source, target = REPOSITORY / page, tmp_path / page
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    shutil.copytree(PUBLISHED, tmp_path / "target/bench")
    return tmp_path


def run(checkout, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    command = [sys.executable, "-B", str(checkout / "benches/charts"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_another_run_is_published_as_a_whole(checkout):
    for bench in (checkout / "target/bench").glob("*.csv"):
        bench.write_text(bench.read_text().replace("# moss: ", "# moss: another "))
    done = run(checkout, "--publish")
    assert done.returncode == 0, done.stderr
    published = Figures(checkout / "docs/charts")
    assert published["loopback"].notes["moss"].startswith("another ")
    assert "another moss" in (checkout / "docs/charts/cpu-per-packet.svg").read_text()
    assert "another moss" in (checkout / "docs/performance.md").read_text()


FLAWS = {
    "quick": (r"\A", "# caveat: quick\n"),
    "incomplete": (r"^.*,idle-client,.*\n", ""),
    "of another moss": ("^# moss: ", "# moss: another "),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flawed_run_is_not_published(checkout, flaw):
    bench = checkout / "target/bench/tls.csv"
    pattern, replacement = FLAWS[flaw]
    bench.write_text(re.sub(pattern, replacement, bench.read_text(), flags=re.M))
    page = (checkout / "docs/performance.md").read_text()
    done = run(checkout, "--publish")
    assert done.returncode != 0 and "Not published" in done.stderr
    assert (checkout / "docs/performance.md").read_text() == page
