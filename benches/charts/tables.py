"""The tables and texts that pages show of the figures.

They are written between two comments in the page; the first names which.

    <!-- figures: packets -->
    <!-- end of figures -->
"""

import re
from textwrap import fill

from words import figure, kilobytes, ratio, rough

PLACE = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end of figures -->)", re.S)


def pages(repository):
    """The pages that show figures."""
    found = [repository / "README.md", *sorted((repository / "docs").glob("*.md"))]
    return [page for page in found if page.exists() and PLACE.search(page.read_text())]


def filled(page, figures):
    """The page's text with these figures."""
    # Without the empty lines, GitHub would take the last comment for a row of the table.
    return PLACE.sub(lambda place: f"{place[1]}\n{CONTENTS[place[2]](figures)}\n{place[3]}", page)


def paragraph(words):
    return fill(words, 100) + "\n"


def table(head, rows):
    """A Markdown table, its numbers aligned to the right."""
    rules = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, rules, *rows])


PACKETS = [
    ("client → master, one packet in flight each", "clients-to-master"),
    ("the same, 16 in flight each", "clients-to-master-16-in-flight"),
    ("the same as the first, 4,000 bytes", "clients-to-master-4000-bytes"),
    ("the same as the first, one by one, 2,000 a second", "clients-to-master-one-by-one"),
    ("master → client", "master-to-clients"),
    ("the same, 16 in flight each", "master-to-clients-16-in-flight"),
    ("the same as the first, 4,000 bytes", "master-to-clients-4000-bytes"),
    ("client → master → client", "round-trip"),
    ("the same, 5,000 clients", "round-trip-5000-clients"),
    ("the same, one client", "round-trip-one-client"),
]


def packets(figures):
    bench = figures["loopback"]
    head = ["CPU time for a packet", "moss", "bare", "moss / bare"]
    return table(
        head,
        [
            [label, *pair(bench, scenario, "bare", None, lambda it: f"{figure(it)} µs")]
            for label, scenario in PACKETS
        ],
    )


def latencies(figures):
    bench = figures["loopback"]
    metrics = ["packets per second", "latency: median", "latency: 99 %"]
    return table(
        ["moss", "packets a second", "median", "99 %"],
        [
            [label, rough(first), f"{figure(second)} µs", f"{figure(third)} µs"]
            for label, scenario in PACKETS
            for first, second, third in [[bench.get(scenario, "moss", it).value for it in metrics]]
        ],
    )


def pair(bench, scenario, yardstick, metric, words):
    """moss's figure, the yardstick's and the ratio."""
    programs = ["moss", yardstick]
    values = [words(bench.get(scenario, program, metric).value) for program in programs]
    return [*values, ratio(bench.get(scenario, f"moss / {yardstick}", metric))]


def microseconds(value):
    return f"{figure(value)} µs"


def bytes_(value):
    return f"{value:,.0f} bytes"


def clients(figures):
    bench = figures["footprint"]
    idle = f"memory for each idle client, of {bench.clients('idle-client'):,}"
    rows = [
        ("CPU to connect and log in", "connect-login", None, microseconds),
        (
            "CPU to connect, log in, send a packet and leave",
            "connect-login-packet-leave",
            None,
            microseconds,
        ),
        ("CPU for each client when a new master offers 2 kB", "takeover", None, microseconds),
        (idle, "idle-client", "memory per idle client", bytes_),
        (
            "the same after 4,000 bytes each way",
            "idle-client",
            "memory per client after 4000 bytes each way",
            bytes_,
        ),
        ("the kernel's included, idle", "charge", None, bytes_),
        ("resident memory at start", "start", "resident at start", lambda value: f"{value:,.0f} KiB"),
    ]
    head = ["what clients take", "moss", "bare", "moss / bare"]
    return table(
        head,
        [
            [label, *pair(bench, scenario, "bare", metric, words)]
            for label, scenario, metric, words in rows
        ],
    )


def growth(figures):
    found = {program: figures["footprint"].find("scale", program) for program in ("moss", "bare")}
    counts = sorted({row.clients for row in found["moss"]})
    head = ["client → master → client, CPU for a packet", *(f"{count:,}" for count in counts)]
    head[1] += " clients"
    kinds = [
        ("100 of them busy", lambda row: row.busy == 100),
        ("all of them busy", lambda row: row.busy == row.clients),
    ]
    return table(
        head,
        [
            [f"{kind}: {program}", *(microseconds(row.spread.value) for row in rows if fits(row))]
            for kind, fits in kinds
            for program, rows in found.items()
        ],
    )


def no_sockets(figures):
    bench = figures["packet"]
    rows = [
        ("parse", "parse"),
        ("parse, route and write, to the master", "to the master"),
        ("parse, route and write, to a client", "to a client"),
        ("to the master, with each packet parsed into a tree", "to the master by a tree"),
    ]
    sizes = [200, 2000, 20000]

    def time(nanoseconds):
        return f"{figure(nanoseconds)} ns" if nanoseconds < 1000 else microseconds(nanoseconds / 1000)

    head = ["without sockets", *(f"{size:,} bytes" for size in sizes)]
    return table(
        head,
        [
            [label, *(time(bench.get(f"{scenario} {size}", "moss").value) for size in sizes)]
            for label, scenario in rows
        ],
    )


def tls(figures):
    bench = figures["tls"]
    idle = f"memory for each idle client, of {bench.clients('idle-client'):,}"
    rows = [
        ("client → master, one packet in flight each", "clients-to-master", microseconds),
        ("the same, 16 in flight each", "clients-to-master-16-in-flight", microseconds),
        ("the same as the first, 4,000 bytes", "clients-to-master-4000-bytes", microseconds),
        (
            "the same as the first, one by one, 2,000 a second",
            "clients-to-master-one-by-one",
            microseconds,
        ),
        ("master → client", "master-to-clients", microseconds),
        ("client → master → client", "round-trip", microseconds),
        ("the same, 4,000 bytes, 16 in flight each", "round-trip-4000-bytes-16-in-flight", microseconds),
        ("CPU to connect by a full handshake and log in", "connect-full", microseconds),
        ("CPU to connect by a ticket and log in", "connect-resumed", microseconds),
        (idle, "idle-client", bytes_),
        ("the kernel's included", "charge", bytes_),
    ]
    head = ["over TLS, CPU time for a packet", "moss", "nginx + moss", "ratio"]
    return table(
        head,
        [
            [label, *pair(bench, scenario, "nginx + moss", None, words)]
            for label, scenario, words in rows
        ],
    )


def files(figures):
    bench = figures["pages"]
    rows = [
        ("a file of 10 kB", "10-kB"),
        ("the same over TLS", "10-kB-tls"),
        ("a file of 8 MB, nginx with `sendfile off`, for a MB", "8-MB"),
        ("the same, nginx with `sendfile on`", "8-MB-nginx-sendfile"),
        ("the same over TLS", "8-MB-tls"),
    ]
    compared = table(
        ["CPU time", "moss", "nginx", "moss / nginx"],
        [[label, *pair(bench, scenario, "nginx", None, microseconds)] for label, scenario in rows],
    )
    median, worst = "round trip: median", "round trip: worst"
    beside = ["round-trip-beside-downloads", "round-trip-beside-downloads-tls"]
    found = [(bench.get(it, "moss", median).value, bench.get(it, "moss", worst).most) for it in beside]
    times = [f"{figure(middle)} ms (at worst {figure(most)} ms)" for middle, most in found]
    waits = paragraph(
        f"While 200 connections fetch the large file at full speed, a packet takes {times[0]} from "
        f"a client to the master and back; with TLS {times[1]}."
    )
    return f"{compared}\n{waits}"


# A party game: phones that are shaken and tapped, and the packets a second of each.
PHONES, EACH = 100, 20
# Stands for a Raspberry Pi, which was not measured.
SLOWER = 5


def short(figures):
    """What one core does: packets that come many at once, by the slowest of three loads, and a
    party's, which come one by one."""
    loads = ["clients-to-master", "master-to-clients", "round-trip"]
    kinds = [
        (figures["loopback"], figures["footprint"], "connect-login"),
        (figures["tls"], figures["tls"], "connect-full"),
    ]
    packet = [max(bench.get(load, "moss").value for load in loads) for bench, _, _ in kinds]
    logins = [bench.get(scenario, "moss").value for _, bench, scenario in kinds]
    whole = [bench.get("charge", "moss").value for _, bench, _ in kinds]
    alone = [bench.get("clients-to-master-one-by-one", "moss").value for bench, _, _ in kinds]
    party = [PHONES * EACH * value / 1e4 for value in alone]
    rows = [
        ["packets a second, if many come at once", *(rough(1e6 / value) for value in packet)],
        ["clients that connect and log in, a second", *(rough(1e6 / value) for value in logins)],
        ["memory for each idle client, the kernel's included", *map(kilobytes, whole)],
        [
            f"{PHONES} phones that send {EACH} packets a second each",
            *(f"{rough(value)} % of the core" for value in party),
        ],
        [
            f"the same, on a core {SLOWER} times slower",
            *(f"{rough(SLOWER * value)} %" for value in party),
        ],
    ]
    return table(["one core of the machine below", "without TLS", "with TLS"], rows)


def machine(figures):
    """The day, the machine and the programs, and how they were measured."""
    benches = list(figures.benches.values())
    stolen = [float(bench.notes["stolen"].split()[0]) for bench in benches]
    rounds = "; ".join(
        f"`{bench.name}` {number} rounds of {seconds} s"
        for bench in benches
        if "rounds" in bench.notes
        for number, seconds in [re.findall(r"[\d.]+", bench.notes["rounds"])]
    )
    nginx = next(
        (it.notes["nginx"] for it in benches if it.notes.get("nginx", "none") != "none"), "none"
    )
    size = next(bench.notes["size"] for bench in benches if "size" in bench.notes)
    sentences = [
        *figures.origin(*figures.benches),
        f"The program has {size}, with TLS, linked to glibc. nginx is version {nginx.split('/')[-1]}.",
        f"Measured: {rounds}.",
        f"The hypervisor gave up to {max(stolen):.1f} % of the CPU time to others meanwhile.",
    ]
    return paragraph(" ".join(filter(None, sentences)))


def picture(name, width, says):
    return paragraph(f'<p align="center"><img src="{name}" width="{width}" alt="{says}"></p>')


def readme(figures):
    """The chart, described for screen readers; and a text with what it does not show."""
    plain, tls = figures["loopback"], figures["tls"]
    bars = [
        ("moss", plain, "moss"),
        ("a bare relay", plain, "bare"),
        ("moss with TLS", tls, "moss"),
        ("nginx with TLS and moss together", tls, "nginx + moss"),
    ]
    values = ", ".join(
        f"{name} {figure(bench.get('clients-to-master', program).value)} µs"
        for name, bench, program in bars
    )
    says = f"The server's CPU time for a packet from a client to the master: {values}."
    alone = plain.get("clients-to-master-one-by-one", "moss").value
    many = [plain.get(scenario, "moss").value for _, scenario in PACKETS if "-one-" not in scenario]
    own = figures["footprint"].get("idle-client", "moss").value
    with_tls = tls.get("idle-client", "moss").value
    cpu, memory = (
        tls.get(scenario, "moss / nginx + moss").value
        for scenario in ["clients-to-master", "idle-client"]
    )
    words = paragraph(
        f"A packet takes moss {rough(min(many))} to {rough(max(many))} µs of CPU time if many come at "
        f"once, and {rough(alone)} µs if each comes alone. Most of that is the kernel's. An idle client "
        f"takes {kilobytes(own)} of moss's memory, with TLS {kilobytes(with_tls)}. With TLS, moss takes "
        f"{100 * cpu:.0f} % of the CPU time for a packet, and {100 * memory:.0f} % of the memory, that "
        "nginx and moss take together."
    )
    return f"{picture('docs/charts/cpu-per-packet.svg', 560, says)}\n{words}"


CONTENTS = {
    "packets": packets,
    "latencies": latencies,
    "clients": clients,
    "growth": growth,
    "without-sockets": no_sockets,
    "tls": tls,
    "files": files,
    "short": short,
    "machine": machine,
    "readme": readme,
}
