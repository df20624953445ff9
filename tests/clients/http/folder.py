"""The served folder: files of many sizes, and names that have to be encoded."""

import os
import random
from urllib.parse import quote

_random = random.Random(14)

# Sizes around that of a TLS record, and one far above a socket's buffers.
SIZES = [0, 1, 16_383, 16_384, 16_385, 100_000, 8_000_000]

NAMES = [
    "style.css",
    "with space.txt",
    "100%.txt",
    "a%20b.txt",
    "what?#.js",
    "a+b&c=d;e,f.json",
    "quotes'\"<>.svg",
    "back\\slash.txt",
    "line\nfeed.txt",
    # A byte that is not UTF-8.
    os.fsdecode(b"byte \xff.txt"),
    "grüße/日本語.html",
    "/".join(["deep"] * 40) + "/down.txt",
    "x" * 251 + ".txt",
    "dir/index.html",
    "dir with space/index.html",
]

# The content of each file, by its path in the folder.
FILES = {"index.html": "<!doctype html><title>moss</title>\nThe page.\n".encode()}
FILES |= {f"size/{size}.bin": _random.randbytes(size) for size in SIZES}
FILES |= {name: b"This is %s.\n" % os.fsencode(name) + _random.randbytes(99) for name in NAMES}

MIDDLE = "size/100000.bin"
LARGE = "size/8000000.bin"


def target(path):
    """The path, encoded for a request."""
    return "/" + quote(os.fsencode(path))


def write(folder):
    for path, content in FILES.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
