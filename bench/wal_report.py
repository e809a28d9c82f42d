#!/usr/bin/env python3
"""Medians and aims of what wal.sh measured: tables on standard output, everything as JSON.

  wal_report.py RESULTS JSON [FACT=VALUE...]
"""

import json
import statistics
import sys

from report import machine, read

STORES = {"dir": "directory", "s3": "S3", "null": "/dev/null"}
TOOLS = {"off": "archiving off", "veza": "veza_backup, level 3", "veza-adaptive": "veza_backup, adaptive", "pgbackrest": "pgBackRest",
         "zstd": "zstd -3 -T2"}


class Report:
    def __init__(self, figures, facts):
        self.figures, self.segments = figures, int(facts["segments"])

    def median(self, measure, what, tool, store):
        values = self.figures.get((what, tool, store, "3"), {}).get(measure)
        return statistics.median(values) if values else None

    def rate(self, what, tool, store):
        wall = self.median("wall", what, tool, store)
        return self.segments / wall if wall else None

    def keys(self, what):
        return sorted((key for key in self.figures if key[0] == what),
                      key=lambda key: (list(STORES).index(key[2]), list(TOOLS).index(key[1])))

    def table(self, title, head, rows):
        if not rows:
            return
        print(f"\n{title}")
        rows = [head] + rows
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        for row in rows:
            print("  " + "  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                                   for i, (cell, width) in enumerate(zip(row, widths))).rstrip())

    def drained(self):
        rows = []
        for what in ("drain", "floor"):
            for key in self.keys(what):
                _, tool, store, _ = key
                walls = self.figures[key]["wall"]
                theirs = self.rate("drain", "pgbackrest", "dir" if what == "floor" else store)
                rate = self.rate(what, tool, store)
                rows.append([TOOLS[tool], STORES[store], f"{statistics.median(walls):.2f}",
                             f"{min(walls):.2f}-{max(walls):.2f}", f"{rate:.1f}",
                             f"{self.median('cpu', what, tool, store) / self.segments * 1000:.0f}",
                             f"{self.median('store_cpu', what, tool, store) / self.segments * 1000:.0f}" if store == "s3" else "",
                             f"{self.median('memory', what, tool, store) / (1 << 20):.0f}" if what == "drain" else "",
                             f"{rate / theirs:.2f}" if theirs else ""])
        self.table(f"Draining {self.segments} segments",
                   ["", "store", "wall s", "range", "segments/s", "CPU ms each", "store's", "peak MiB", "x pgBackRest"], rows)

    def lost(self):
        off = self.median("tps", "pgbench", "off", "dir")
        rows = []
        for key in self.keys("pgbench"):
            _, tool, store, _ = key
            rate = self.median("tps", *key[:3])
            rows.append([TOOLS[tool], "" if tool == "off" else STORES[store], f"{rate:.0f}",
                         "" if tool == "off" else f"{(1 - rate / off) * 100:.1f} %"])
        self.table("What pgbench loses", ["", "store", "transactions/s", "lost"], rows)

    def generated(self):
        rows = []
        for key in self.keys("generator"):
            _, tool, store, _ = key
            rows.append([TOOLS[tool], STORES[store], f"{self.median('rate', *key[:3]) / 1e6:.0f}",
                         f"{max(self.figures[key]['largest']):.0f}", f"{self.median('drain', *key[:3]):.1f}"])
        self.table("A generator at full speed", ["", "store", "WAL MB/s", "largest backlog", "s to drain after"], rows)

    def judge(self):
        """What issue 4 asks for, with the figures; what was not measured is left out."""
        asked = []

        def ask(text, value, limit, at_least=True):
            if value is None:
                return
            held = value >= limit if at_least else value <= limit
            asked.append({"text": text, "value": value, "limit": limit, "at_least": at_least, "held": held})
            print(f"  {'held   ' if held else 'NOT MET'}  {text}: {value:.2f}, at {'least' if at_least else 'most'} {limit:.2f}")

        def ratio(ours, theirs):
            return ours / theirs if ours and theirs else None

        print("\nAims (issue 4)")
        for store in ("dir", "s3"):
            ask(f"level 3 on {store}, of pgBackRest's segments a second",
                ratio(self.rate("drain", "veza", store), self.rate("drain", "pgbackrest", store)), 2)
            ask(f"level 3 on {store}, of pgBackRest's CPU time a segment",
                ratio(self.median("cpu", "drain", "veza", store), self.median("cpu", "drain", "pgbackrest", store)), 1, False)
            ask(f"level 3 on {store}, of the segments a second of zstd -3 -T2 alone",
                ratio(self.rate("drain", "veza", store), self.rate("floor", "zstd", "null")), 0.85)
        ask("adaptive on dir, of pgBackRest's segments a second",
            ratio(self.rate("drain", "veza-adaptive", "dir"), self.rate("drain", "pgbackrest", "dir")), 4)
        return asked


def main():
    results, target = sys.argv[1:3]
    facts = dict(fact.split("=", 1) for fact in sys.argv[3:]) | machine()
    report = Report(read(results), facts)
    print(f"{facts['processors']} x {facts['cpu']}, PostgreSQL {facts['postgres']}, pgBackRest {facts['pgbackrest']}, "
          f"revision {facts['revision']}")
    print(f"{facts['segments']} segments of 16 MiB, zstd -3 makes them {facts['zstd_ratio']} times smaller; {facts['rounds']} rounds, "
          f"{facts['load_rounds']} of load for {facts['load_seconds']} s each")
    report.drained()
    report.lost()
    report.generated()
    aims = report.judge()
    measurements = [{"what": what, "tool": tool, "store": store,
                     "median": {measure: statistics.median(value) for measure, value in values.items()}, "rounds": values}
                    for (what, tool, store, _), values in report.figures.items()]
    with open(target, "w") as file:
        json.dump({"facts": facts, "measurements": measurements, "aims": aims}, file, indent=1)
        file.write("\n")
    print(f"\nall figures: {target}")


main()
