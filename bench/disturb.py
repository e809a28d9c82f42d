#!/usr/bin/env python3
"""Changes a restored data directory a little, in the same way for every tool. A delta restore must repair this.

  disturb.py DATA_DIRECTORY

One page in a hundred is overwritten, in some files of relations and in the four largest. One file is removed, and
an unknown file is added.
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
