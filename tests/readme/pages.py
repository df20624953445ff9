"""The pages that people read, and what is in them."""

import os
import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(REPOSITORY))
    for pattern in ("*.md", "docs/*.md", "clients/javascript/README.md")
    for path in REPOSITORY.glob(pattern)
)


# Tests install these folders, which may therefore appear and vanish at any time.
INSTALLED = {"node_modules", "__pycache__"}


def sources(*folders):
    """All files in these folders, without what tests install there."""
    for folder in folders:
        for path, within, files in os.walk(REPOSITORY / folder):
            within[:] = [name for name in within if name not in INSTALLED]
            yield from (Path(path) / file for file in files)


def text(page):
    return (REPOSITORY / page).read_text()


class Block(NamedTuple):
    page: str
    language: str
    code: str
    # The comment right above it, which says what runs it, or why nothing does.
    mark: str


def blocks(page):
    """The code blocks of the page, in order, also those within lists."""
    found = re.finditer(
        r"^ *(?:<!-- ([^\n]*) -->\n *)?```(\w*)\n(.*?)^ *```$", text(page), re.S | re.M
    )
    return [Block(page, match[2], dedent(match[3]), match[1] or "") for match in found]


def block(page, language, words):
    """The code of the page's block in this language with these words. There must be only one, so that
    no other block is run by mistake."""
    [found] = [
        block.code for block in blocks(page) if block.language == language and words in block.code
    ]
    return found


def prose(page):
    """The page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text(page), flags=re.S | re.M)
