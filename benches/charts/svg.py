"""A small SVG writer: a card with a title, a chart and a caption.

Made to be readable on a phone: at a width of 360 pixels, the smallest text is 9 pixels high. The
card has its own background, light or dark, since a page may be dark where the system is light.
All colours have a contrast of at least 3 : 1 with it, and differ for people who can't tell red
from green; and everything is labelled."""

from html import escape
from textwrap import wrap

WIDTH = 640
MARGIN = 24
# How many fit on a line of small text in a wide font.
LETTERS = 66

STYLE = """
    svg { --card: #ffffff; --edge: #d1d9e0; --ink: #1f2328; --soft: #59636e; --line: #e4e8ec;
      --moss: #0969da; --bare: #6e7781; --nginx: #bc4c00; --kernel: #9a6dd7; --alarm: #d1242f }
    @media (prefers-color-scheme: dark) {
      svg { --card: #0d1117; --edge: #3d444d; --ink: #f0f6fc; --soft: #9198a1; --line: #262c36;
        --moss: #4493f8; --bare: #9198a1; --nginx: #f0883e; --kernel: #a371f7; --alarm: #f85149 }
    }
    text { font: 20px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: var(--ink) }
    .title { font-size: 24px; font-weight: 600 }
    .group { font-weight: 600; stroke: var(--card); stroke-width: 6; paint-order: stroke }
    .soft { fill: var(--soft); font-size: 17px }
    .alarm { fill: var(--alarm); font-weight: 600; font-size: 17px }
    .card { fill: var(--card); stroke: var(--edge); stroke-width: 1.5 }
    .grid { stroke: var(--line); stroke-width: 1.5 }
    .axis { stroke: var(--soft); stroke-width: 1.5 }
    .range { stroke: var(--ink); stroke-width: 2; fill: none }
    .end { text-anchor: end }
    .middle { text-anchor: middle }
    .whisker { stroke-width: 2 }
"""
COLOURS = ["moss", "bare", "nginx", "kernel"]
STYLE += "".join(
    f"    .{name} {{ fill: var(--{name}) }}\n    .curve.{name}, .whisker.{name} {{ stroke: var(--{name}) }}\n"
    for name in COLOURS
)
STYLE += "    .curve { fill: none; stroke-width: 3.5; stroke-linejoin: round }\n"


def number(value):
    """A coordinate: a tenth of a pixel is fine enough."""
    return f"{value:.1f}".removesuffix(".0")


class Card:
    """Grows downwards as things are added at `y`."""

    def __init__(self, title, subtitle):
        self.title = title
        self.description = [subtitle]
        self.parts = []
        self.y = 46
        self.text(MARGIN, self.y, title, "title")
        for line in subtitle.split("\n"):
            self.y += 27
            self.text(MARGIN, self.y, line, "soft")
        self.y += 16

    def text(self, x, y, words, style=""):
        style = f' class="{style}"' if style else ""
        self.parts.append(f'<text x="{number(x)}" y="{number(y)}"{style}>{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, style):
        ends = f'x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"'
        self.parts.append(f'<line class="{style}" {ends}/>')

    def box(self, x, y, width, height, style):
        size = f'width="{number(width)}" height="{number(height)}"'
        self.parts.append(f'<rect class="{style}" x="{number(x)}" y="{number(y)}" {size} rx="2"/>')

    def circle(self, x, y, radius, style):
        self.parts.append(
            f'<circle class="{style}" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"/>'
        )

    def curve(self, points, style):
        points = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.parts.append(f'<polyline class="curve {style}" points="{points}"/>')

    def across(self, x1, x2, y, style="range"):
        """A horizontal range."""
        self.line(x1, y, x2, y, style)
        for x in (x1, x2):
            self.line(x, y - 5, x, y + 5, style)

    def upright(self, x, y1, y2, style="range"):
        """A vertical range."""
        self.line(x, y1, x, y2, style)
        for y in (y1, y2):
            self.line(x - 5, y, x + 5, y, style)

    def say(self, words):
        """Adds to the description, for screen readers."""
        self.description.append(words)

    def caption(self, lines, alarm=None):
        self.y += 12
        # Bold text takes more room.
        lines = [(line, "soft") for text in lines for line in wrap(text, LETTERS)]
        alarms = [(line, "alarm") for line in wrap(alarm or "", LETTERS - 6)]
        for line, style in lines + alarms:
            self.y += 24
            self.text(MARGIN, self.y, line, style)

    def svg(self):
        height = number(self.y + 22)
        inner = "\n  ".join(self.parts)
        description = escape(" ".join(self.description).replace("\n", " "))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-labelledby="title description">\n'
            f'  <title id="title">{escape(self.title)}</title>\n'
            f'  <desc id="description">{description}</desc>\n'
            f"  <style>{STYLE}  </style>\n"
            f'  <rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{number(self.y + 20)}" rx="12"/>\n'
            f"  {inner}\n</svg>\n"
        )


def scale(most, ticks=5):
    """The ticks of an axis: round steps from zero until `most`."""
    step = 10.0**-3
    for factor in [2, 2.5, 2] * 9:
        if step * ticks >= most:
            break
        step *= factor
    count = next(count for count in range(1, ticks + 2) if count * step >= most - 1e-9)
    return [step * place for place in range(count + 1)]
