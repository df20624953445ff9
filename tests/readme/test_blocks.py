"""Every block that people may copy says which test runs it, or why none does.

The comment right above a block is one of

    <!-- run by tests/package/test_secrets.py -->
    <!-- not run: needs Docker's engine -->

and is not shown. The named test has to name the page, and to quote words of the block."""

import re

import pytest
from pages import PAGES, REPOSITORY, blocks

# What is printed, drawn or sent. All else is copied, configuration of other programs too.
SHOWN = {"text", "json"}
COPIED = [block for page in PAGES for block in blocks(page) if block.language not in SHOWN]


def sources(runner):
    """The text of the file and of its folder's conftest.py."""
    files = [runner, runner.parent / "conftest.py"]
    return "".join(file.read_text() for file in files if file.exists())


def takes(runner, block):
    """Whether this test looks for this block: it names the page, and quotes words that no other
    block in this language has on that page."""
    source = sources(runner)
    others = [other.code for other in blocks(block.page) if other[:2] == block[:2] and other != block]
    words = [word for pair in re.findall(r'"([^"\n]{5,})"|\'([^\'\n]{5,})\'', source) for word in pair if word]
    return block.page in source and any(
        word in block.code and not any(word in other for other in others) for word in words
    )


@pytest.mark.parametrize("block", COPIED, ids=lambda block: f"{block.page}: {block.code.splitlines()[0][:60]}")
def test_block_is_run_or_says_why_not(block):
    if reason := re.fullmatch(r"not run: (.+)", block.mark):
        assert len(reason[1].split()) > 1, "the reason is missing"
        for path in re.findall(r"\.?\w+/[\w./]*\w", reason[1]):
            assert (REPOSITORY / path).exists(), path
        return
    named = re.fullmatch(r"run by (\S+)", block.mark)
    assert named, "no comment above it says what runs it"
    runner = REPOSITORY / named[1]
    assert runner.is_file(), runner
    assert takes(runner, block), f"{named[1]} does not look for this block"


def test_every_block_names_its_language():
    """Without one, it would be neither shown nor copied."""
    assert [block for page in PAGES for block in blocks(page) if not block.language] == []
