"""Links within the repository lead somewhere, and every page can be found from the README."""

import re
from collections import Counter

import pytest
from pages import PAGES, REPOSITORY, prose, sources, text


def links(page):
    """The page's links and pictures that are within the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)|<(?:img|a|source)\b[^>]*?(?:src|href|srcset)=\"([^\"]+)\"", prose(page))
    return [link for link in map("".join, found) if "://" not in link]


def anchors(page):
    """The anchors that GitHub gives the headings: the second of two equal ones ends in -1."""
    seen = Counter()
    for title in re.findall(r"^#+ (.*)$", prose(page), re.M):
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-")
        yield f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
        seen[anchor] += 1


def target(page, link):
    """The file and the anchor that the link names."""
    file, _, anchor = link.partition("#")
    here = REPOSITORY / page
    return ((here.parent / file).resolve() if file else here), anchor


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_repository_leads_somewhere(page):
    for link in links(page):
        file, anchor = target(page, link)
        assert file.exists(), link
        assert file.is_relative_to(REPOSITORY), link
        assert not anchor or anchor in anchors(file.relative_to(REPOSITORY)), link


def test_every_page_is_linked_from_the_readme():
    linked = {target("README.md", link)[0] for link in links("README.md")}
    assert [page for page in PAGES if REPOSITORY / page not in linked | {REPOSITORY / "README.md"}] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_backticks_exists(page):
    """Such as `tests/stress`. The folders that fuzzing makes need not exist."""
    folders = "benches|clients|docs|examples|fuzz|release|src|tests"
    for path in re.findall(rf"`(?:bash )?((?:{folders})/[\w./@-]+)`", prose(page)):
        assert (REPOSITORY / path).exists() or path.startswith(("fuzz/artifacts", "fuzz/corpus")), path


def test_every_variable_that_a_page_names_is_known():
    name = r"\bMOSS_[A-Z_]*[A-Z]\b"
    files = [REPOSITORY / "build.rs", *sources("src", "tests", "benches", "examples", "release")]
    known = {found for file in files for found in re.findall(name, file.read_text(errors="replace"))}
    for page in PAGES:
        assert set(re.findall(name, text(page))) <= known, page
