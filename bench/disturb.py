#!/usr/bin/env python3
"""Changes a restored data directory a little, for every tool in the same way: what a delta has to put right.

  disturb.py DATA_DIRECTORY

A page in a hundred of the relations' files and in the four largest is overwritten; one file is removed, and
one is there that nobody knows.
"""

import os
import re
import sys

FILES = 100
LARGEST = 4
PAGE = 8192


def main():
    base = os.path.join(sys.argv[1], "base")
    sizes = {}
    for directory, _, names in os.walk(base):
        for name in names:
            path = os.path.join(directory, name)
            if re.fullmatch(r"\d+(\.\d+)?", name) and os.path.getsize(path) >= PAGE:
                sizes[path] = os.path.getsize(path)
    paths = sorted(sizes)
    removed = paths.pop()
    chosen = set(paths[::max(1, len(paths) // FILES)][:FILES])
    chosen |= set(sorted(paths, key=sizes.get)[-LARGEST:])
    for path in chosen:
        with open(path, "r+b") as file:
            file.seek(sizes[path] // PAGE // 2 * PAGE)
            file.write(b"\x5a" * PAGE)
    os.remove(removed)
    with open(os.path.join(os.path.dirname(removed), "999999999"), "wb") as file:
        file.write(b"\x5a" * PAGE)


main()
