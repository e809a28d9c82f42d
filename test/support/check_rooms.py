#!/usr/bin/env python3
"""Holds the includes below src/ to the table of rooms, src/ROOMS.

    check_rooms.py TOP

Prints each include that the table does not allow, each source that belongs to no room, each circle,
and exits with 1 if there is any.
"""
import pathlib
import re
import sys

QUOTED = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]((?:core|pg|cli)/[^">]+)[">]', re.MULTILINE)
SUFFIXES = {".h", ".cpp"}


def read_table(path):
    """The rooms each room may include, by its name, in the order of the file."""
    table = {}
    room = None
    for line in path.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line[0].isspace():
            room, _, line = line.partition(":")
            table[room] = set()
        table[room].update(line.split())
    return table


def room_of(file, table):
    """The room of a source, by its path below src/: itself, or its folder. None without a room."""
    by_itself = str(file.with_suffix(""))
    if by_itself in table:
        return by_itself
    folder = str(file.parent)
    return folder if folder in table else None


def check_table(table):
    """The rooms are in order: so there can be no circle among them."""
    lower = set()
    for room, allowed in table.items():
        for other in sorted(allowed):
            if other not in lower:
                why = "stands in no line above" if other in table else "is no room"
                yield f"src/ROOMS: {room} may include {other}, which {why}"
        lower.add(room)


def check_sources(source, table):
    """Every source has a room, and includes only what its room may."""
    used = set()
    for path in sorted(source.rglob("*")):
        if path.suffix not in SUFFIXES:
            continue
        file = path.relative_to(source)
        room = room_of(file, table)
        if room is None:
            yield f"src/{file}: belongs to no room of src/ROOMS"
            continue
        used.add(room)
        text = path.read_text()
        for name in QUOTED.findall(text):
            # Such a path is looked up from the folder of the source, past the table.
            if (path.parent / name).is_file():
                yield f"src/{file}: {name} is not included by its path below src/"
        for name in INCLUDE.findall(text):
            other = room_of(pathlib.PurePath(name), table)
            if other != room and other not in table[room]:
                yield f"src/{file}: {room} may not include {name} (src/ROOMS)"
    for room in table:
        if room not in used:
            yield f"src/ROOMS: there is no file in {room}"


def check_circles(source):
    """Headers that include each other, also within a room."""
    includes = {
        str(path.relative_to(source)): INCLUDE.findall(path.read_text())
        for path in sorted(source.rglob("*.h"))
    }
    done = set()

    def visit(header, way):
        if header in way:
            yield "circle: " + " -> ".join([*way[way.index(header):], header])
        elif header not in done:
            for other in includes.get(header, []):
                yield from visit(other, [*way, header])
            done.add(header)

    for header in includes:
        yield from visit(header, [])


def main():
    source = pathlib.Path(sys.argv[1]) / "src"
    table = read_table(source / "ROOMS")
    problems = [*check_table(table), *check_sources(source, table), *check_circles(source)]
    for problem in problems:
        print(f"check_rooms.py: {problem}")
    if not problems:
        print(f"rooms: {len(table)}, each includes only what src/ROOMS allows")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
