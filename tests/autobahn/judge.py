"""Judges a report of the Autobahn test suite.

    judge.py RESULTS.md index.json [again.json]... [--write]
    judge.py --again index.json

The later reports have cases that were run again: they must pass in most of these, and the first
result does not count. --again prints the cases that do not pass, and those with different results
by wss:// and by ws://, as JSON.

A case passes if it is OK, or if its result is the one explained below. The judge fails on any
other result, on a case that did not run, on one with different results by wss:// and by ws://,
and if RESULTS.md has other results.
"""

import json
import sys
from pathlib import Path

# The number of cases in each group.
GROUPS = {
    "1": ("framing", 16),
    "2": ("ping and pong", 11),
    "3": ("reserved bits", 7),
    "4": ("opcodes", 10),
    "5": ("fragmentation", 20),
    "6": ("UTF-8", 145),
    "7": ("closing", 37),
    "9": ("sizes up to 16 MiB", 54),
    "10": ("automatic fragmentation", 1),
}

# The names in tests/autobahn/run: without TLS, and with it.
AGENTS = "ws", "wss"

FREE = "INFORMATIONAL"
LATE = "NON-STRICT"
EXPLAINED = {
    "6.4.3": (LATE, "OK", "text that is not UTF-8 is refused (1007) when its frame is whole, "
              "not at the first wrong byte: RFC 6455, section 8.1, asks for no more"),
    "6.4.4": (LATE, "OK", "as 6.4.3"),
    "7.1.6": (FREE, FREE, "a Close right behind 256 KiB of text: RFC 6455 leaves open whether "
              "the text comes back first; moss sends it, and then the Close"),
    "7.13.1": (FREE, FREE, "close code 5000: RFC 6455 gives it no meaning; moss answers 1002"),
    "7.13.2": (FREE, FREE, "close code 65535: as 7.13.1"),
}


def outcome(case):
    return case["behavior"], case["behaviorClose"]


def result(case):
    """What must be the same by wss:// and by ws://."""
    return *outcome(case), case["remoteCloseCode"]


def passes(number, case):
    explained = EXPLAINED.get(number)
    return outcome(case) == ("OK", "OK") or explained and outcome(case) == explained[:2]


def order(number):
    return [int(part) for part in number.split(".")]


def table(cases):
    lines = [
        "# Autobahn test suite",
        "",
        "The results of the public WebSocket conformance suite for moss's session layer, by `ws://`",
        "and, case for case the same, by `wss://`. `bash tests/autobahn/run --write` writes this",
        "page, and each run of `tests/autobahn/run` checks it. Groups 12 and 13 are compression,",
        "which moss does not offer.",
        "",
        "| group | what | cases | OK | explained | failed |",
        "|---|---|---|---|---|---|",
    ]
    total = [0, 0, 0, 0]
    for group, (what, _) in GROUPS.items():
        mine = {number: case for number, case in cases.items() if number.split(".")[0] == group}
        ok = sum(outcome(case) == ("OK", "OK") for case in mine.values())
        passed = sum(bool(passes(number, case)) for number, case in mine.items())
        row = [len(mine), ok, passed - ok, len(mine) - passed]
        total = [a + b for a, b in zip(total, row)]
        lines.append(f"| {group} | {what} | " + " | ".join(map(str, row)) + " |")
    lines.append("| | all | " + " | ".join(map(str, total)) + " |")
    lines += ["", "| case | outcome | its closing | close code | why |", "|---|---|---|---|---|"]
    for number in sorted(cases, key=order):
        case = cases[number]
        if outcome(case) != ("OK", "OK"):
            why = EXPLAINED[number][2] if passes(number, case) else "**not explained**"
            lines.append(f"| {number} | {case['behavior']} | {case['behaviorClose']} | "
                         f"{case['remoteCloseCode'] or 'none'} | {why} |")
    return "\n".join(lines) + "\n"


def read(paths):
    """The result of each case, by agent: of a case that was run again, one that most runs had."""
    report, *repeats = [json.loads(Path(path).read_text("utf-8")) for path in paths]
    for agent in AGENTS:
        for number in repeats[0][agent] if repeats else ():
            cases = [repeat[agent][number] for repeat in repeats]
            passed = [case for case in cases if passes(number, case)]
            failed = [case for case in cases if not passes(number, case)]
            most = passed if len(passed) > len(failed) else failed
            results = [result(case) for case in most]
            report[agent][number] = max(most, key=lambda case: results.count(result(case)))
    return report


def again(path):
    report = read([path])
    failed = {n for agent in AGENTS for n, case in report[agent].items() if not passes(n, case)}
    print(json.dumps(sorted(failed | set(differing(report)), key=order)))


def differing(report):
    """The cases with different results by wss:// and by ws://."""
    plain, tls = (report[agent] for agent in AGENTS)
    return [number for number in plain.keys() & tls.keys() if result(plain[number]) != result(tls[number])]


def main(results, *arguments):
    report = read(path for path in arguments if path != "--write")
    problems = []
    for agent in AGENTS:
        cases = report[agent]
        for group, (_, expected) in GROUPS.items():
            ran = sum(number.split(".")[0] == group for number in cases)
            if ran != expected:
                problems.append(f"{agent}, group {group}: {ran} of {expected} cases ran")
        for number in sorted(cases, key=order):
            if not passes(number, cases[number]):
                behavior, closing = outcome(cases[number])
                problems.append(f"{agent}, case {number}: {behavior}, closing {closing}")
    plain, tls = (report[agent] for agent in AGENTS)
    for number in sorted(differing(report), key=order):
        found = result(plain[number]), result(tls[number])
        problems.append(f"case {number}: {found[0]} by ws://, {found[1]} by wss://")
    text = table(plain)
    if "--write" in arguments:
        with open(results, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        with open(results, encoding="utf-8") as file:
            if file.read() != text:
                problems.append(f"{results} has other results; look at them, then run with --write")
    for problem in problems:
        print(problem)
    cases = [case for agent in AGENTS for case in report[agent].items()]
    failed = sum(not passes(number, case) for number, case in cases)
    print(f"autobahn: {len(cases) - failed} passed, {max(failed, len(problems))} failed")
    return bool(problems)


if __name__ == "__main__":
    if sys.argv[1] == "--again":
        again(sys.argv[2])
    else:
        sys.exit(main(*sys.argv[1:]))
