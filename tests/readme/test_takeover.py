"""The functions, types, files and tests that the pages for maintainers name exist, and their rules
about modules hold."""

import re

import pytest
from pages import REPOSITORY, sources, text

MAINTAINERS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")
RUST = {
    path.relative_to(REPOSITORY): path.read_text()
    for path in sources("src", "tests")
    if path.suffix == ".rs"
}
PYTHON = "".join(path.read_text() for path in (REPOSITORY / "tests").glob("*/test_*.py"))
ALL_RUST = "".join(RUST.values())
SRC = {path: source for path, source in RUST.items() if path.parts[0] == "src"}

FUNCTIONS = set(re.findall(r"\bfn (\w+)", ALL_RUST)) | set(re.findall(r"^def (\w+)", PYTHON, re.M))
CONSTANTS = set(re.findall(r"\bconst (\w+):", ALL_RUST))
TYPES = set(re.findall(r"\b(?:struct|enum|trait|type) (\w+)", ALL_RUST))
VARIANTS = set(re.findall(r"^    ([A-Z]\w+)(?:,|\(| \{)", ALL_RUST, re.M))
MODULES = {path.stem for path in RUST} | {part for path in RUST for part in path.parts}
# Names of Rust and of other projects.
FOREIGN = {"Debug", "Read", "Write", "RefCell", "Origin", "SKIPPED"}


def code(page):
    """What is in backticks, outside of blocks."""
    prose = re.sub(r"^```.*?^```$", "", text(page), flags=re.S | re.M)
    return re.findall(r"`([^`\n]+)`", prose)


def is_known(word):
    """Whether the sources have this name, if it is one: other text counts as known."""
    if match := re.fullmatch(r"(\w+)::(\w+)", word):
        owner, name = match.groups()
        owners = TYPES | MODULES
        return owner in owners and name in FUNCTIONS | CONSTANTS | VARIANTS | TYPES
    if re.fullmatch(r"[A-Z][a-z]\w*", word):
        return word in TYPES | VARIANTS | FOREIGN
    if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", word):
        # It may also be a field, a setting of Cargo or a word of the log.
        return word in FUNCTIONS or re.search(rf"\b{word}\b", ALL_RUST + text("Cargo.toml") + text("docs/operating.md"))
    # fuzz/artifacts is made by cargo-fuzz, and not kept.
    if word != "fuzz/artifacts" and re.fullmatch(r"(src|tests|docs|fuzz|benches|clients|examples)(/[\w.-]+)+/?", word):
        return (REPOSITORY / word).exists()
    return True


@pytest.mark.parametrize("page", MAINTAINERS)
def test_every_name_on_the_page_exists(page):
    words = code(page)
    assert len(words) > 30
    assert [word for word in words if not is_known(word)] == []


@pytest.mark.parametrize("page", MAINTAINERS)
def test_every_test_on_the_page_exists(page):
    """A name of four or more words is that of a test or a function."""
    named = {word for word in code(page) if re.fullmatch(r"[a-z]+(_[a-z0-9]+){3,}", word)}
    # Names of metrics are not functions.
    assert {word for word in named - FUNCTIONS if not word.startswith("moss_")} == set()


def allowed():
    """The folders that each folder of src may use, by the table in ARCHITECTURE.md."""
    section = text("ARCHITECTURE.md").split("## What each folder must not know", 1)[1].split("\n## ", 1)[0]
    rows = [line.split(" | ") for line in re.findall(r"^\| (`.*)", section, re.M)]
    folders = [row[0].strip("`") for row in rows]
    everything = set(folders) - {"commands"}
    return {
        folder: everything if row[1].startswith("all") else set(re.findall(r"`(\w+)`", row[1]))
        for folder, row in zip(folders, rows)
    }


def test_imports_follow_the_table():
    table = allowed()
    assert set(table) == {path.name for path in (REPOSITORY / "src").iterdir() if path.is_dir()}
    for path, source in SRC.items():
        if len(path.parts) < 3:
            continue
        code = re.sub(r"//.*", "", source)
        used = set(re.findall(r"\b(?:crate|moss)::(\w+)", code)) & set(table)
        assert used - table[path.parts[1]] - {path.parts[1]} == set(), path


@pytest.mark.parametrize(("library", "home"), [("mio", "src/server/system.rs"), ("rustls", "src/tls")])
def test_library_is_named_in_one_place(library, home):
    using = [path for path, source in SRC.items() if re.search(rf"^\s*use {library}\b|\b{library}::", source, re.M)]
    assert using
    assert [path for path in using if not path.is_relative_to(home)] == []


def test_world_is_the_only_trait():
    assert re.findall(r"^\s*(?:pub(?:\(\w+\))? )?trait (\w+)", "".join(SRC.values()), re.M) == ["World"]


def test_library_names_every_module():
    """The table on its first page has a row for each."""
    rows = re.findall(r"^//! \| (?:\[`(\w+)`\])? ?\| \[?`(\w+)`", text("src/lib.rs"), re.M)
    named, folder = set(), ""
    for first, module in rows:
        folder = first or folder
        named.add(f"{folder}/{module}")
    modules = set()
    for path in (REPOSITORY / "src").glob("*/*"):
        if path.name != "mod.rs" and path.parent.name != "commands":
            modules.add(f"{path.parent.name}/{path.stem}")
    assert named == modules | {"server/server"}


def test_page_has_every_folder_of_tests_with_a_script():
    scripts = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "tests").glob("*/run")}
    named = set(re.findall(r"`bash (tests/\w+/run)`", text("CONTRIBUTING.md")))
    assert named == scripts
    run_by_ci = set(re.findall(r"bash (tests/\w+/run)", (REPOSITORY / ".ci/run").read_text()))
    assert scripts - run_by_ci <= {"tests/crate/run", "tests/release/run", "tests/soak/run"}
