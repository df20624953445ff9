"""Draws charts of the figures that `cargo bench` measured.

usage: python3 benches/charts [FOLDER]     draws them next to the CSV files of FOLDER
       python3 benches/charts --publish    copies the CSV files to docs/charts, draws the
                                           charts there, and updates the pages' tables

FOLDER is target/bench by default, or `bench` in the folder that CARGO_TARGET_DIR names."""

import os
import shutil
import sys
from pathlib import Path

import tables
from charts import CHARTS, draw
from figures import BENCHES, Figures, Missing

REPOSITORY = Path(__file__).resolve().parents[2]
PUBLISHED = REPOSITORY / "docs/charts"


def main(arguments):
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    if arguments == ["--publish"]:
        publish(target / "bench")
    elif len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        sys.exit(__doc__)
    else:
        draw_beside(Path(arguments[0]) if arguments else target / "bench")


def draw_beside(folder):
    """Draws each chart whose figures are all there: some need several benches. Deletes charts
    of earlier figures."""
    drawn, missing = draw(Figures(folder))
    for name in CHARTS:
        chart = folder / f"{name}.svg"
        if name in drawn:
            chart.write_text(drawn[name])
        else:
            chart.unlink(missing_ok=True)
    if drawn:
        print(f"Charts in {folder}: {', '.join(drawn)}.")
    if missing:
        print(f"Not drawn: {'; '.join(missing)}.")


def publish(folder):
    """Publishes all charts and tables, or none: figures of different runs can't be compared."""
    figures = Figures(folder)
    if len(figures.programs()) > 1:
        sys.exit(f"Not published. {' and '.join(figures.programs())} were measured.")
    try:
        caveats = [f"{name}: {figures.caveat(name)}" for name in BENCHES if figures.caveat(name)]
        drawn, missing = draw(figures)
        pages = {page: tables.filled(page.read_text(), figures) for page in tables.pages(REPOSITORY)}
    except Missing as reason:
        sys.exit(f"Not published. {reason}.")
    if missing or caveats:
        sys.exit("\n".join(["Not published.", *missing, *caveats]))
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    for name in BENCHES:
        shutil.copy(folder / f"{name}.csv", PUBLISHED)
    for name, svg in drawn.items():
        (PUBLISHED / f"{name}.svg").write_text(svg)
    for page, text in pages.items():
        page.write_text(text)
        print(f"Written: {page.relative_to(REPOSITORY)}.")


main(sys.argv[1:])
