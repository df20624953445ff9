"""The charts: which figures each shows, and how."""

from math import log

from figures import Missing
from svg import MARGIN, WIDTH, Card, scale
from words import figure, kilobytes, rough

WHISKERS = "Medians of all rounds; thin lines: minimum to maximum."
ROW = 32
# Room for the number behind a bar.
VALUES = 116


def cpu(figures):
    """The README's chart: CPU time for each packet."""
    plain, tls = figures["loopback"], figures["tls"]
    groups = [
        ("From a client to the master", "clients-to-master"),
        ("From the master to a client", "master-to-clients"),
        ("There and back, each way", "round-trip"),
    ]
    bars = [
        ("bare relay", "bare", plain, "bare"),
        ("moss", "moss", plain, "moss"),
        ("moss, TLS", "moss", tls, "moss"),
        ("nginx + moss, TLS", "nginx", tls, "nginx + moss"),
    ]
    rows = [
        (
            group,
            [
                (label, style, found[0].spread)
                for label, style, bench, program in bars
                if (found := bench.find(scenario, program))
            ],
        )
        for group, scenario in groups
    ]
    # A group that lacks a bar of another would mislead.
    if len({len(bars) for _, bars in rows}) > 1 or not rows[0][1]:
        raise Missing("not all of its loads were measured")
    card = Card(
        "The server's CPU time for each packet",
        "Microseconds; less is better. 200 bytes, 100 clients, over loopback.\n"
        "The bare relay checks nothing: no relay can take much less.",
    )
    left = MARGIN + 192
    ticks = scale(max(spread.most for _, bars in rows for _, _, spread in bars))
    unit = width(left, ticks, max(spread.most for _, bars in rows for _, _, spread in bars))
    top = card.y + 8
    bottom = top + sum(34 + ROW * len(bars) + 8 for _, bars in rows)
    grid(card, left, top, bottom, unit, ticks, "µs")
    card.y = top
    for group, bars in rows:
        card.y += 26
        card.text(MARGIN, card.y, group, "group")
        card.y += 8
        for label, style, spread in bars:
            bar(card, left, unit, label, [(style, spread.value)], spread, f"{figure(spread.value)} µs")
            card.say(f"{group}, {label}: {figure(spread.value)} µs.")
        card.y += 8
    card.y = bottom + 30
    card.caption([WHISKERS, *figures.origin("loopback", "tls")], figures.caveat("loopback", "tls"))
    return card


def grid(card, left, top, bottom, unit, ticks, name):
    for tick in ticks:
        x = left + tick * unit
        card.line(x, top, x, bottom, "axis" if tick == 0 else "grid")
        label = rough(tick)
        card.text(x, bottom + 22, f"{label} {name}" if tick == ticks[-1] else label, "soft middle")


def width(left, ticks, most):
    """The width of one unit: the axis' last tick fits, and a number behind the longest range."""
    return min((WIDTH - 2 * MARGIN - left) / ticks[-1], (WIDTH - left - VALUES) / most)


def bar(card, left, unit, label, parts, spread, words):
    """One bar of stacked parts, with its number behind the end of the range."""
    card.text(left - 10, card.y + 22, label, "end")
    x = left
    for style, value in parts:
        card.box(x, card.y + 5, max(value * unit, 1.5), ROW - 10, style)
        x += value * unit
    card.across(left + spread.least * unit, left + spread.most * unit, card.y + ROW / 2)
    card.text(max(x, left + spread.most * unit) + 10, card.y + 22, words)
    card.y += ROW


LOADS = [
    ("client → master", "clients-to-master"),
    ("· 16 in flight", "clients-to-master-16-in-flight"),
    ("· 4 kB", "clients-to-master-4000-bytes"),
    ("· 4 kB, 16 in flight", "clients-to-master-4000-bytes-16-in-flight"),
    ("· one by one", "clients-to-master-one-by-one"),
    ("master → client", "master-to-clients"),
    ("· 16 in flight", "master-to-clients-16-in-flight"),
    ("· 4 kB", "master-to-clients-4000-bytes"),
    ("· 4 kB, 16 in flight", "master-to-clients-4000-bytes-16-in-flight"),
    ("there and back", "round-trip"),
    ("· 16 in flight", "round-trip-16-in-flight"),
    ("· 4 kB", "round-trip-4000-bytes"),
    ("· 4 kB, 16 in flight", "round-trip-4000-bytes-16-in-flight"),
    ("· 5,000 clients", "round-trip-5000-clients"),
    ("· one client", "round-trip-one-client"),
]


def against(figures):
    """The CPU time of all loads, as a multiple of the yardstick's."""
    card = Card(
        "CPU time, compared",
        "moss's for a packet, as a multiple of theirs: below 1, moss takes less.\n"
        "100 clients, 200 bytes, one packet in flight, unless noted.",
    )
    groups = [
        ("moss / bare relay", "bare", figures["loopback"], "moss / bare"),
        ("moss with TLS / nginx with TLS + moss", "nginx", figures["tls"], "moss / nginx + moss"),
    ]
    groups = [
        (
            name,
            style,
            [
                (label, found[0].spread)
                for label, scenario in LOADS
                if (found := bench.find(scenario, program))
            ],
        )
        for name, style, bench, program in groups
    ]
    if not all(rows for _, _, rows in groups):
        raise Missing("a yardstick was not measured")
    left = MARGIN + 204
    ticks = scale(max(spread.most for _, _, rows in groups for _, spread in rows))
    unit = (WIDTH - MARGIN - left - 64) / ticks[-1]
    top = card.y + 8
    bottom = top + sum(34 + 28 * len(rows) + 10 for _, _, rows in groups)
    grid(card, left, top, bottom, unit, ticks, "×")
    card.line(left + unit, top, left + unit, bottom, "axis")
    card.y = top
    for name, style, rows in groups:
        card.y += 26
        card.text(MARGIN, card.y, name, "group")
        card.y += 8
        for label, spread in rows:
            middle = card.y + 14
            card.text(MARGIN, middle + 7, label)
            card.across(left + spread.least * unit, left + spread.most * unit, middle)
            card.circle(left + spread.value * unit, middle, 7, "moss" if style == "bare" else style)
            card.text(WIDTH - MARGIN, middle + 7, f"{spread.value:.2f}", "end")
            card.say(f"{name}, {label.removeprefix('· ')}: {spread.value:.2f}.")
            card.y += 28
        card.y += 10
    card.y = bottom + 30
    lines = [
        "Ratios of medians; thin lines: minimum to maximum of the rounds.",
        *figures.origin("loopback", "tls"),
    ]
    card.caption(lines, figures.caveat("loopback", "tls"))
    return card


def memory(figures):
    """An idle client's memory, the server's and the kernel's."""
    plain, tls = figures["footprint"], figures["tls"]
    own = "memory per idle client"
    rows = [
        ("moss", "moss", plain, "moss"),
        ("bare relay", "bare", plain, "bare"),
        ("moss, TLS", "moss", tls, "moss"),
        ("nginx + moss, TLS", "nginx", tls, "nginx + moss"),
    ]
    rows = [
        # Only root can read the kernel's part, and nginx is not installed everywhere.
        (label, style, found[0].spread, bench.find("charge", program))
        for label, style, bench, program in rows
        if (found := bench.find("idle-client", program, own))
    ]
    rows = [
        (label, style, own, (whole[0].spread if whole else own)) for label, style, own, whole in rows
    ]
    clients = [bench.clients("idle-client") for bench in (plain, tls)]
    card = Card(
        "Memory for each idle client",
        "The server's own, and what the kernel takes for its sockets.\n"
        f"{clients[0]:,} clients that are logged in; with TLS {clients[1]:,}.",
    )
    left = MARGIN + 192
    most = max(whole.most for _, _, _, whole in rows)
    ticks = scale(most / 1000)
    unit = width(left, [1000 * tick for tick in ticks], most)
    top = card.y + 8
    bottom = top + (ROW + 28) * len(rows)
    grid(card, left, top, bottom, unit * 1000, ticks, "kB")
    card.y = top
    for label, style, own, whole in rows:
        kernel = max(whole.value - own.value, 0)
        bar(card, left, unit, label, [(style, own.value), ("kernel", kernel)], whole, "")
        words = kilobytes(own.value) + (f" + {kilobytes(kernel)}" if kernel else "")
        card.y += 17
        card.text(left + 10, card.y, words, "soft")
        card.say(f"{label}: {kilobytes(own.value)}, and in the kernel {kilobytes(kernel)}.")
        card.y += 11
    card.y = bottom + 58
    names = {"moss": "moss", "bare": "bare relay", "nginx": "nginx + moss"}
    shown = {style: names[style] for _, style, _, _ in rows}
    if any(whole != own for _, _, own, whole in rows):
        shown["kernel"] = "the kernel"
    legend(card, shown)
    card.caption([WHISKERS, *figures.origin("footprint", "tls")], figures.caveat("footprint", "tls"))
    return card


def legend(card, entries):
    x = MARGIN
    for style, name in entries.items():
        card.box(x, card.y - 14, 16, 16, style)
        card.text(x + 23, card.y, name, "soft")
        x += 56 + 9 * len(name)


def growth(figures):
    """The CPU time of a packet, by the number of clients."""
    bench = figures["footprint"]
    rows = {program: bench.find("scale", program) for program in ("moss", "bare")}
    if not all(rows.values()):
        raise Missing("footprint.csv has no scale of both")
    few = {name: [row for row in rows if row.busy == 100] for name, rows in rows.items()}
    all_busy = {name: [row for row in rows if row.busy == row.clients] for name, rows in rows.items()}
    card = Card(
        "CPU time for each packet, by clients",
        "The server's, for 200 bytes from a client to the master and back.\n"
        "Does it grow with the number of clients that are logged in?",
    )
    ticks = scale(max(row.spread.most for found in rows.values() for row in found), 4)
    for name, panel in [("100 of them busy, the others idle", few), ("All of them busy", all_busy)]:
        card.y += 36
        card.text(MARGIN, card.y, name, "group")
        card.y += 14
        lines(card, panel, ticks)
        for program, points in panel.items():
            words = ", ".join(f"{at:,} clients {figure(it.value)} µs" for at, _, it in points)
            card.say(f"{name}, {program}: {words}.")
    card.caption([WHISKERS, *figures.origin("footprint")], figures.caveat("footprint"))
    return card


def lines(card, panel, ticks, height=190):
    """A line for each program, over a logarithmic axis of clients."""
    left, right = MARGIN + 50, WIDTH - MARGIN - 64
    bottom = card.y + height
    counts = sorted({at for points in panel.values() for at, _, _ in points})
    span = log(counts[-1] / counts[0]) or 1

    def x(clients):
        return left + 14 + log(clients / counts[0]) / span * (right - left - 28)

    def y(value):
        return bottom - value / ticks[-1] * (height - 10)

    for tick in ticks:
        card.line(left, y(tick), right, y(tick), "axis" if tick == 0 else "grid")
        label = rough(tick)
        card.text(left - 8, y(tick) + 6, f"{label} µs" if tick == ticks[-1] else label, "soft end")
    for count in counts:
        name = f"{count:,} clients" if count == counts[-1] else f"{count:,}"
        card.text(x(count), bottom + 24, name, "soft middle")
    last = {program: y(points[-1].spread.value) for program, points in panel.items()}
    for place, (program, points) in enumerate(panel.items()):
        aside = 4 * (2 * place - 1)
        card.curve([(x(at) + aside, y(it.value)) for at, _, it in points], program)
        for at, _, it in points:
            card.upright(x(at) + aside, y(it.least), y(it.most), f"whisker {program}")
            if program == "moss":
                card.circle(x(at) + aside, y(it.value), 6, program)
            else:
                card.box(x(at) + aside - 5, y(it.value) - 5, 10, 10, program)
        other = next(at for name, at in last.items() if name != program)
        apart = max(0, 11 - abs(last[program] - other) / 2)
        upper = last[program] < other or (last[program] == other and place == 0)
        card.text(
            right + 2, last[program] + (7 - apart if upper else 7 + apart), program, f"group {program}"
        )
    card.y = bottom + 28


CHARTS = {"cpu-per-packet": cpu, "cpu-against": against, "memory-per-client": memory, "growth": growth}


def draw(figures):
    """Each chart whose figures are all there, by name; and why the others are missing."""
    drawn, missing = {}, []
    for name, chart in CHARTS.items():
        try:
            drawn[name] = chart(figures).svg()
        except Missing as reason:
            missing.append(f"{name}: {reason}")
    return drawn, missing
