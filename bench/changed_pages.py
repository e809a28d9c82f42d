#!/usr/bin/env python3
"""Copies the pages of a data directory that have changed since an LSN into one file.

  changed_pages.py DATA_DIRECTORY LSN TARGET

Goes by the LSN in each page's header. All data must be on disk (CHECKPOINT), checksums must be on: without them hint
bits change pages and leave no trace. Prints the number of pages as JSON.
"""

import json
import os
import re
import sys

PAGE = 8192
RELATION = re.compile(r"(base/\d+|global)/\d+(_[a-z]+)?(\.\d+)?$")  # files of relations, with all their forks


def relations(top):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if RELATION.fullmatch(os.path.relpath(path, top)):
                yield path


def changed_pages(path, since):
    """Yields pages whose LSN is `since` or later."""
    with open(path, "rb") as file:
        data = memoryview(file.read())
    data = data[:len(data) // PAGE * PAGE]
    # An LSN is stored as two words of 32 bits, the high one first.
    for number, stored in enumerate(data.cast("Q")[::PAGE // 8].tolist()):
        if (stored & 0xFFFFFFFF) << 32 | stored >> 32 >= since:
            yield data[number * PAGE:(number + 1) * PAGE]


def main():
    top, lsn, target = sys.argv[1:]
    high, low = (int(part, 16) for part in lsn.split("/"))
    pages = 0
    with open(target, "wb") as out:
        for path in relations(top):
            for page in changed_pages(path, high << 32 | low):
                out.write(page)
                pages += 1
    print(json.dumps({"pages": pages}))


main()
