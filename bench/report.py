#!/usr/bin/env python3
"""Medians and ratios of what run.sh measured: a table on standard output, everything as JSON.

  report.py RESULTS JSON [FACT=VALUE...]
"""

import statistics
import sys

from reporting import MIB, Aims, Figures, facts_of, number, print_machine, print_table, ratio, span, write_json

MEMORY_LIMIT = 300 * MIB  # the required limit
FULL = {"dir": 0.45, "s3": 0.7}  # of pgBackRest's time
DIFF = {"dir": 0.1, "s3": 0.5}
ORDER = {"veza": 0, "pgbackrest": 1, "pg_basebackup": 2, "read": 3, "zstd": 4, "zstd-changed": 5}


class Report:
    def __init__(self, figures):
        self.figures, self.median = figures, figures.median
        self.level = max((key[3] for key in figures.all if key[0] == "full"), key=int)

    def ratio(self, key, other, measure="wall"):
        return ratio(self.median(measure, *key), self.median(measure, *other))

    def others(self, key):
        """Returns the measurements with which this one is compared."""
        what, _, store, level = key
        return (what, "pgbackrest", store, level), (what, "pg_basebackup", "-", level)

    def row(self, key):
        what, tool, store, level = key
        walls = self.figures.values("wall", *key)
        cells = [tool, store, level, number(statistics.median(walls)), span(walls)]
        cells += [number(self.median(measure, *key) or None) for measure in ("cpu", "store_cpu")]
        for measure in ("memory", "stored"):
            value = self.median(measure, *key)
            cells.append(f"{value / MIB:.0f}" if value and (what, measure) != ("floor", "memory") else "")
        for measure in ("wall", "stored"):
            cells += [number(self.ratio(key, other, measure) if other != key else None) for other in self.others(key)]
        return cells

    def table(self, what, title):
        # Sorts level 3 before level 1, and keeps the rows of a store together.
        keys = sorted((key for key in self.figures.all if key[0] == what),
                      key=lambda key: (key[3] == "-", -int(key[3]) if key[3] != "-" else 0, key[2] == "-", key[2], ORDER[key[1]]))
        print_table(title, ["", "store", "level", "wall s", "range", "CPU s", "store's", "peak MiB", "stored MiB",
                            "time /pgBackRest", "/pg_basebackup",
                            "bytes /pgBackRest", "/pg_basebackup"], [self.row(key) for key in keys], 3)

    def judge(self):
        level = self.level
        aims = Aims("Aims (issues 2, 3 and 12)")
        for store in ("dir", "s3"):
            full, diff = ("full", "veza", store, level), ("diff", "veza", store, level)
            if store == "dir":
                aims.ask("full on dir, of pg_basebackup's time", self.ratio(full, self.others(full)[1]), 1.0)
            aims.ask(f"full on {store}, of pgBackRest's time", self.ratio(full, self.others(full)[0]), FULL[store])
            aims.ask(f"diff on {store}, of pgBackRest's time", self.ratio(diff, self.others(diff)[0]), DIFF[store])
            aims.ask(f"diff on {store}, of pgBackRest's bytes", self.ratio(diff, self.others(diff)[0], "stored"), 0.32)
            memory = self.figures.values("memory", *full)
            aims.ask(f"memory of the worker, full on {store}, MiB", max(memory) / MIB if memory else None,
                     MEMORY_LIMIT / MIB, "{:.0f}")
            # Memory is bounded by the packs in flight. So it rises while the first packs are
            # stored, and not afterwards.
            first, second = self.median("memory_first_half", *full), self.median("memory_second_half", *full)
            if first:
                print(f"           most in the first half of the time {first / MIB:.0f}, in the second {second / MIB:.0f}")
            cpu, idle = self.median("cpu", *full), self.median("idle", *full)
            if cpu and store == "dir":
                # Relative to the processor time that was available. What other processes used is
                # left out.
                aims.ask("processor time left idle, full on dir", idle / (idle + cpu), 0.2)
        for what in ("diff", "incr"):
            aims.ask(f"{what} of the large cluster on dir, of that of the small one",
                     self.ratio((f"{what}-large", "veza", "dir", level), (what, "veza", "dir", level)), 1.3)
        return aims

    def compare_with_floors(self):
        level, changed = self.level, ("floor", "zstd-changed", "-", self.level)
        for what, floor, title in (("full", ("floor", "read", "-", "-"), "reading the files"),
                                   ("full", ("floor", "zstd", "-", level), "zstd over the files"),
                                   ("diff", changed, "zstd over the changed pages")):
            wall, cpu = (self.ratio((what, "veza", "dir", level), floor, measure) for measure in ("wall", "cpu"))
            if wall and cpu:
                print(f"  {what} on dir takes {wall:.2f} times the floor, and {cpu:.2f} times its CPU time: {title}")
        wall, cpu = (self.ratio(changed, ("diff", "pgbackrest", "dir", level), measure) for measure in ("wall", "cpu"))
        if wall and cpu:
            print(f"  zstd over the changed pages, {self.median('pages', *changed):.0f}, takes {wall:.2f} of the time of pgBackRest's "
                  f"diff on dir, and {cpu:.2f} of its CPU time")

    def tell_of_summaries(self):
        for what in ("diff", "incr"):
            cpu = self.median("summarizer_cpu", what, "pg_basebackup", "-", self.level)
            if cpu is not None:
                print(f"  the server's summaries of WAL for pg_basebackup's {what} took {cpu:.2f} s of CPU time, from the "
                      "backup before it to its end")


def main():
    facts = facts_of(sys.argv[3:])
    figures = Figures(sys.argv[1])
    report = Report(figures)
    print_machine(facts)
    print(f"{int(facts['files'])} files, {int(facts['bytes']) / 1e6:.0f} MB, {facts['rounds']} rounds, {facts['workers']} threads or processes")
    report.table("full", "Full backup")
    report.table("diff", f"Diff backup after {facts['updates']} updates")
    report.table("incr", f"Incr backup after {facts['updates']} more")
    for what in ("full", "diff", "incr"):
        report.table(f"{what}-large", f"The same of a cluster of {facts['large']} MiB: {what}")
    report.table("floor", "The floor")
    aims = report.judge()
    print()
    report.compare_with_floors()
    report.tell_of_summaries()
    measurements = figures.measurements()
    for key, measurement in zip(figures.all, measurements):
        pgbackrest, basebackup = report.others(key)
        measurement["ratio_to_pgbackrest"] = report.ratio(key, pgbackrest)
        measurement["ratio_to_pg_basebackup"] = report.ratio(key, basebackup)
    write_json(sys.argv[2], facts, measurements, aims)


main()
