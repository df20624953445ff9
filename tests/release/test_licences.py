"""LICENCES-OF-PARTS.txt, compared with the source paths in the programs."""

import re

import pytest


@pytest.fixture
def licences(unpacked):
    return (unpacked / "LICENCES-OF-PARTS.txt").read_text()


def parts(program, pattern):
    """The crates that are linked in: the messages of panics have the paths of their sources."""
    found = re.findall(pattern, program.read_bytes())
    return {(name.decode(), version.decode()) for name, version in found}


def test_lists_each_crate_and_its_licence(unpacked, licences):
    crates = parts(unpacked / "moss", rb"/cargo/registry/src/[^/]+/([\w-]+)-(\d[^/]*)/")
    assert {"mio", "rustls"} <= {name for name, _ in crates}
    for name, version in crates:
        assert re.search(rf"^  {name} {re.escape(version)}: \w", licences, re.M), (name, version)
        assert texts_for(f"{name} {version}", licences), (name, version)


def test_lists_the_parts_of_rusts_library(unpacked, licences):
    crates = parts(unpacked / "moss", rb"/rust/deps/([\w-]+)-(\d[^/]*)/")
    assert "hashbrown" in {name for name, _ in crates}
    for name, _ in crates:
        assert re.search(rf"^  {name} \d\S*: \w", licences, re.M), name
        assert texts_for(f"{name} (standard library)", licences), name


# These parts are written in C, and cargo does not know them.
def test_has_the_licences_of_ring_and_of_the_c_library(licences):
    [ring] = set(re.findall(r"^  (ring \S+): ", licences, re.M))
    text = "\n".join(texts_for(ring, licences))
    assert "Permission to use, copy, modify, and/or distribute this software" in text
    assert "the fiat-crypto authors" in text
    [text] = texts_for("glibc (LGPL-3)", licences)
    assert "4. Combined Works." in text
    [text] = texts_for("glibc (GPL-3)", licences)
    assert "6. Conveying Non-Source Forms." in text
    [text] = texts_for("libgcc", licences)
    assert "GCC RUNTIME LIBRARY EXCEPTION" in text.upper()


# Whoever passes the program on has to say where the sources of these parts are.
def test_names_where_the_sources_of_the_c_library_are(licences):
    package, version = re.search(r"^glibc, from (\S+) (\S+)$", licences, re.M).groups()
    source = re.search(r"`apt-get source glibc=(\S+)`", licences)[1]
    # A package for cross compilers has a suffix of its own.
    assert source == (version.split("cross")[0] if package.endswith("-cross") else version)
    assert re.search(rf"^  https://\S+/glibc/{re.escape(source)}/?$", licences, re.M)


def test_names_the_commit_to_link_again(unpacked, licences):
    commit = re.search(r"commit\s+([0-9a-f]{40})", licences)[1]
    assert f"({commit[:12]})".encode() in (unpacked / "moss").read_bytes()


def texts_for(name, licences):
    """The texts that have this name in their heading."""
    rule = "=" * 78
    _, *rest = licences.split(rule)
    found = []
    for names, text in zip(rest[::2], rest[1::2], strict=True):
        if name in re.split(r",\s+", " ".join(names.split())):
            found.append(text)
    return found
