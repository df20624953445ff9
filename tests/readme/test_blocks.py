"""Every block that somebody could copy says who runs it, or why nobody does.

The comment right above a block is one of

    <!-- run by tests/package/test_secrets.py -->
    <!-- not run: needs Docker's engine -->

and is not shown. Who is said to run it has to name its page, and words of the block."""

import re

import pytest
from pages import PAGES, REPOSITORY, blocks

# What is printed, drawn or sent. Configuration of other programs is copied too.
SHOWN = {"text", "json"}
COPIED = [block for page in PAGES for block in blocks(page) if block.language not in SHOWN]


def sources(runner):
    """The file and what its folder has for all tests in it."""
    files = [runner, runner.parent / "conftest.py"]
    return "".join(file.read_text() for file in files if file.exists())


def takes(runner, block):
    """Whether this test looks for this block: it names the page, and words that no other block of
    this language has there."""
    source = sources(runner)
    others = [other.code for other in blocks(block.page) if other[:2] == block[:2] and other != block]
    words = [word for pair in re.findall(r'"([^"\n]{5,})"|\'([^\'\n]{5,})\'', source) for word in pair if word]
    return block.page in source and any(
        word in block.code and not any(word in other for other in others) for word in words
    )


@pytest.mark.parametrize("block", COPIED, ids=lambda block: f"{block.page}: {block.code.splitlines()[0][:60]}")
def test_block_is_run_or_says_why_not(block):
    if reason := re.fullmatch(r"not run: (.+)", block.mark):
        assert len(reason[1].split()) > 1, "a reason"
        for path in re.findall(r"\.?\w+/[\w./]*\w", reason[1]):
            assert (REPOSITORY / path).exists(), path
        return
    named = re.fullmatch(r"run by (\S+)", block.mark)
    assert named, "no comment above it says who runs it"
    runner = REPOSITORY / named[1]
    assert runner.is_file(), runner
    assert takes(runner, block), f"{named[1]} does not look for this block"


def test_blocks_without_a_language_are_none():
    """Such a block would be neither shown nor copied."""
    assert [block for page in PAGES for block in blocks(page) if not block.language] == []
