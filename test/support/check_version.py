#!/usr/bin/env python3
"""Holds everything that states a version to the file VERSION.

    check_version.py TOP [LIBRARY VEZACTL]

VERSION is MAJOR.MINOR.PATCH: the version of the library and of vezactl, which Makefile and meson.build
compile in. The SQL definition (default_version in veza_backup.control) is MAJOR.MINOR of it: a change of
the definition needs a new MINOR and an upgrade script, and a PATCH never changes the definition. So a
library serves the definition that has its own MAJOR.MINOR, and every older one.

Prints what does not agree, and exits with 1 if anything does not.
"""
import pathlib
import re
import subprocess
import sys


def first(pattern, path):
    match = re.search(pattern, path.read_text(), re.MULTILINE)
    return match[1] if match else None


def upgrade_end(folder):
    """The version that CREATE EXTENSION and all upgrades lead to, and what breaks the way there."""
    names = [path.name.removeprefix("veza_backup--").removesuffix(".sql") for path in folder.glob("veza_backup--*.sql")]
    steps = dict(name.split("--") for name in names if "--" in name)
    begins = [name for name in names if "--" not in name]
    if len(begins) != 1:
        return None, [f"sql: {len(begins)} scripts to begin with, instead of one"]
    version, unused = begins[0], dict(steps)
    while version in unused:
        version = unused.pop(version)
    return version, [f"sql: no upgrade leads to veza_backup--{a}--{b}.sql" for a, b in unused.items()]


def check_definition(top, version):
    """The SQL definition, as control file and scripts have it."""
    definition = version.rpartition(".")[0]
    control = first(r"^default_version = '([^']*)'$", top / "veza_backup.control")
    if control != definition:
        yield f"veza_backup.control: default_version is {control}, and VERSION {version}"
    end, broken = upgrade_end(top / "sql")
    yield from broken
    if end is not None and end != definition:
        yield f"sql: the scripts lead to {end}, and VERSION is {version}"
    for path in sorted((top / "sql").glob("veza_backup--*--*.sql")):
        to = path.stem.split("--")[2]
        said = first(r"UPDATE TO '([^']*)'", path)
        if said != to:
            yield f"sql/{path.name}: its head says UPDATE TO '{said}'"
    newest = first(r"^## (\d+\.\d+)\b", top / "CHANGELOG.md")
    if newest != definition:
        yield f"CHANGELOG.md: the newest version is {newest}, and VERSION {version}"
    packaged = first(r"\A\S+ \((.*)-[^-]*\)", top / "debian/changelog")
    if packaged != version:
        yield f"debian/changelog: the newest version is {packaged}, and VERSION {version}"


def check_programs(version, library, vezactl):
    """What was compiled says the same."""
    said = {found.decode() for found in re.findall(rb"veza_backup/(\d+[.\d]*)\0", library.read_bytes())}
    if said != {version}:
        yield f"{library.name}: has version {', '.join(sorted(said)) or 'none'}, and VERSION is {version}"
    output = subprocess.run([vezactl, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if output != f"vezactl {version}":
        yield f'{vezactl.name}: --version prints "{output}", and VERSION is {version}'


def main():
    top = pathlib.Path(sys.argv[1])
    version = (top / "VERSION").read_text().strip()
    problems = []
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        problems.append(f'VERSION: "{version}" is not MAJOR.MINOR.PATCH')
    problems += check_definition(top, version)
    if len(sys.argv) > 2:
        problems += check_programs(version, *(pathlib.Path(name).resolve() for name in sys.argv[2:4]))
    for problem in problems:
        print(f"check_version.py: {problem}")
    if not problems:
        print(f"version: {version}, and everything agrees")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
