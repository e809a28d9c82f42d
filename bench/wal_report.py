#!/usr/bin/env python3
"""Prints medians and aims of what wal.sh measured. Tables go to standard output, everything goes to JSON.

  wal_report.py RESULTS JSON [FACT=VALUE...]
"""

import statistics
import sys

from reporting import MIB, Aims, Figures, facts_of, print_machine, print_table, ratio, span, write_json

STORES = {"dir": "directory", "s3": "S3", "null": "/dev/null"}
TOOLS = {"off": "archiving off", "veza": "veza_backup, level 3", "veza-adaptive": "veza_backup, adaptive",
         "veza-no-index": "level 3, no index", "veza-version-1": "level 3, format 1", "pgbackrest": "pgBackRest",
         "zstd": "zstd -3 -T2"}


class Report:
    def __init__(self, figures, segments):
        self.figures, self.segments = figures, segments

    def median(self, measure, what, tool, store):
        return self.figures.median(measure, what, tool, store, "3")

    def rate(self, what, tool, store):
        wall = self.median("wall", what, tool, store)
        return self.segments / wall if wall else None

    def keys(self, what):
        return sorted((key for key in self.figures.all if key[0] == what),
                      key=lambda key: (list(STORES).index(key[2]), list(TOOLS).index(key[1])))

    def drained(self):
        rows = []
        for what in ("drain", "floor"):
            for key in self.keys(what):
                _, tool, store, _ = key
                walls = self.figures.values("wall", *key)
                theirs = self.rate("drain", "pgbackrest", "dir" if what == "floor" else store)
                rate = self.rate(what, tool, store)
                rows.append([TOOLS[tool], STORES[store], f"{statistics.median(walls):.2f}",
                             span(walls), f"{rate:.1f}",
                             f"{self.median('cpu', what, tool, store) / self.segments * 1000:.0f}",
                             f"{self.median('store_cpu', what, tool, store) / self.segments * 1000:.0f}" if store == "s3" else "",
                             f"{self.median('memory', what, tool, store) / MIB:.0f}" if what == "drain" else "",
                             f"{rate / theirs:.2f}" if theirs else ""])
        print_table(f"Draining {self.segments} segments",
                    ["", "store", "wall s", "range", "segments/s", "CPU ms each", "store's", "peak MiB", "x pgBackRest"], rows)

    def lost(self):
        off = self.median("tps", "pgbench", "off", "dir")
        rows = []
        for key in self.keys("pgbench"):
            _, tool, store, _ = key
            rate = self.median("tps", *key[:3])
            rows.append([TOOLS[tool], "" if tool == "off" else STORES[store], f"{rate:.0f}",
                         "" if tool == "off" else f"{(1 - rate / off) * 100:.1f} %"])
        print_table("What pgbench loses", ["", "store", "transactions/s", "lost"], rows)
        index = ratio(self.median("tps", "pgbench", "veza", "dir"), self.median("tps", "pgbench", "veza-no-index", "dir"))
        if index:
            print(f"  with the index of WAL pgbench has {index:.3f} of the transactions a second that it has without")

    def generated(self):
        rows = []
        for key in self.keys("generator"):
            _, tool, store, _ = key
            rows.append([TOOLS[tool], STORES[store], f"{self.median('rate', *key[:3]) / 1e6:.0f}",
                         f"{max(self.figures.values('largest', *key)):.0f}", f"{self.median('drain', *key[:3]):.1f}"])
        print_table("A generator at full speed", ["", "store", "WAL MB/s", "largest backlog", "s to drain after"], rows)

    def judge(self):
        aims = Aims("Aims (issues 4 and 12)")
        for store in ("dir", "s3"):
            aims.ask(f"level 3 on {store}, of pgBackRest's segments a second",
                     ratio(self.rate("drain", "veza", store), self.rate("drain", "pgbackrest", store)), 2, at_least=True)
            aims.ask(f"level 3 on {store}, of pgBackRest's CPU time a segment",
                     ratio(self.median("cpu", "drain", "veza", store), self.median("cpu", "drain", "pgbackrest", store)), 1)
            aims.ask(f"level 3 on {store}, of the segments a second of zstd -3 -T2 alone",
                     ratio(self.rate("drain", "veza", store), self.rate("floor", "zstd", "null")), 0.85, at_least=True)
        aims.ask("level 3 on dir, of the CPU time a segment without an index",
                 ratio(self.median("cpu", "drain", "veza", "dir"), self.median("cpu", "drain", "veza-no-index", "dir")), 1.08)
        aims.ask("level 3 on dir, of the CPU time a segment with version 1 of the format (SHA-256)",
                 ratio(self.median("cpu", "drain", "veza", "dir"), self.median("cpu", "drain", "veza-version-1", "dir")), 0.95)
        aims.ask("adaptive on dir, of pgBackRest's segments a second",
                 ratio(self.rate("drain", "veza-adaptive", "dir"), self.rate("drain", "pgbackrest", "dir")), 4, at_least=True)
        return aims


def main():
    facts = facts_of(sys.argv[3:])
    figures = Figures(sys.argv[1])
    report = Report(figures, int(facts["segments"]))
    print_machine(facts)
    print(f"{facts['segments']} segments of 16 MiB, zstd -3 makes them {facts['zstd_ratio']} times smaller; {facts['rounds']} rounds, "
          f"{facts['load_rounds']} of load for {facts['load_seconds']} s each")
    report.drained()
    report.lost()
    report.generated()
    write_json(sys.argv[2], facts, figures.measurements(), report.judge())


main()
