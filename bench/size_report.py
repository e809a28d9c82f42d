#!/usr/bin/env python3
"""Prints what size.sh measured, and whether memory held its limit. Everything goes to JSON.

  size_report.py RESULTS JSON [FACT=VALUE...]
"""

import sys

from reporting import MIB, Aims, Figures, facts_of, print_table, write_json

# The required limit of a backup with the default settings: 300 MB.
MEMORY_LIMIT = 300e6


def main():
    facts = facts_of(sys.argv[3:])
    figures = Figures(sys.argv[1])
    print(f"{facts['processors']} x {facts['cpu']}, PostgreSQL {facts['postgres']}, revision {facts['revision']}")
    print(f"{facts['files']} files, {facts['blocks']} changed blocks")
    rows = [[what, *(f"{figures.median(measure, what, *rest):.1f}" for measure in ("wall", "cpu")),
             f"{figures.median('memory', what, *rest) / MIB:.0f}"]
            for what, *rest in figures.all]
    print_table("Backups to a directory", ["", "wall s", "CPU s", "peak MiB"], rows, 1)
    aims = Aims("Aims (issue 12)")
    for what, *rest in figures.all:
        aims.ask(f"memory of the worker, {what}, MB", figures.median("memory", what, *rest) / 1e6, MEMORY_LIMIT / 1e6, "{:.0f}")
    write_json(sys.argv[2], facts, figures.measurements(), aims)
    sys.exit(0 if all(aim["held"] for aim in aims.asked) else 1)


main()
