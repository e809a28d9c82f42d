#!/usr/bin/env python3
"""Medians and ratios of what measure.py wrote: a table on standard output, everything as JSON.

  report.py RESULTS JSON [FACT=VALUE...]
"""

import json
import os
import statistics
import sys
import time

MIB = 1 << 20
MEMORY_LIMIT = 300 * MIB  # issue 2's holding point


def read(path):
    """{(what, tool, store, level): {measure: [a figure a round]}}"""
    figures = {}
    with open(path) as file:
        for line in file:
            record = json.loads(line)
            key = tuple(record.pop(name) for name in ("what", "tool", "store", "level"))
            record.pop("round")
            for measure, value in record.items():
                figures.setdefault(key, {}).setdefault(measure, []).append(value)
    return figures


class Report:
    def __init__(self, figures, facts):
        self.figures, self.facts = figures, facts
        self.workers = int(facts["workers"])

    def median(self, measure, *key):
        values = self.figures.get(key, {}).get(measure)
        return statistics.median(values) if values else None

    def ratio(self, key, other, measure="wall"):
        ours, theirs = self.median(measure, *key), self.median(measure, *other)
        return ours / theirs if ours is not None and theirs else None

    def others(self, key):
        """The measurements that this one is compared with."""
        what, _, store, level = key
        return (what, "pgbackrest", store, level), ("full", "pg_basebackup", "-", level)

    def row(self, key):
        what, tool, store, level = key
        walls = self.figures[key]["wall"]
        cells = [tool, store, level, f"{statistics.median(walls):.2f}", f"{min(walls):.2f}-{max(walls):.2f}"]
        for measure, form in (("cpu", "{:.2f}"), ("store_cpu", "{:.2f}")):
            value = self.median(measure, *key)
            cells.append(form.format(value) if value else "")
        for measure in ("memory", "stored"):
            value = self.median(measure, *key)
            cells.append(f"{value / MIB:.0f}" if value and what != "floor" else "")
        pgbackrest, basebackup = self.others(key)
        for other in (pgbackrest, basebackup if what == "full" else None):
            ratio = self.ratio(key, other) if other and other != key else None
            cells.append(f"{ratio:.2f}" if ratio else "")
        return cells

    def table(self, what, title):
        order = {"veza": 0, "pgbackrest": 1, "pg_basebackup": 2, "read": 3, "zstd": 4}
        keys = [key for key in self.figures if key[0] == what]
        # Level 3 before level 1; a store's rows together.
        keys.sort(key=lambda key: (key[3] == "-", -int(key[3]) if key[3] != "-" else 0, key[2] == "-", key[2], order[key[1]]))
        if not keys:
            return
        head = ["", "store", "level", "wall s", "range", "CPU s", "store's", "peak MiB", "stored MiB",
                "/pgBackRest", "/pg_basebackup"]
        rows = [head] + [self.row(key) for key in keys]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        print(f"\n{title}")
        for row in rows:
            print("  " + "  ".join(cell.ljust(width) if i < 3 else cell.rjust(width)
                                   for i, (cell, width) in enumerate(zip(row, widths))).rstrip())

    def judge(self):
        """Sentences on what issue 2 and 3 ask for, with the figures; None where they are missing."""
        level = max((key[3] for key in self.figures if key[0] == "full"), key=int)
        asked = []

        def ask(text, value, limit, form="{:.2f}"):
            if value is not None:
                asked.append({"text": text, "value": value, "limit": limit, "held": value <= limit})
                print(f"  {'held   ' if value <= limit else 'NOT MET'}  {text}: {form.format(value)}, at most {form.format(limit)}")

        print("\nAims (issues 2 and 3)")
        for store in ("dir", "s3"):
            full, diff = ("full", "veza", store, level), ("diff", "veza", store, level)
            if store == "dir":
                ask("full on dir, of pg_basebackup's time", self.ratio(full, self.others(full)[1]), 1.0)
            else:
                ask("full on s3, of pgBackRest's time", self.ratio(full, self.others(full)[0]), 0.7)
            ask(f"diff on {store}, of pgBackRest's time", self.ratio(diff, self.others(diff)[0]), 0.5)
            ask(f"diff on {store}, of pgBackRest's bytes", self.ratio(diff, self.others(diff)[0], "stored"), 1.0)
            for what, who in (("full", "worker"), ("restore", "vezactl")):
                key = (what, "veza", store, level)
                memory = self.figures.get(key, {}).get("memory")
                ask(f"memory of the {who}, {what} on {store}, MiB", max(memory) / MIB if memory else None,
                    MEMORY_LIMIT / MIB, "{:.0f}")
                # Bounded by the packs in flight, so it rises while the first ones are on their way and not after.
                first, second = self.median("memory_first_half", *key), self.median("memory_second_half", *key)
                if first:
                    print(f"           most in the first half of the time {first / MIB:.0f}, in the second {second / MIB:.0f}")
            cpu, idle = self.median("cpu", *full), self.median("idle", *full)
            if cpu and store == "dir":
                # Of the processors' time that was there for the taking; what else the machine did is left out.
                ask("processor time left idle, full on dir", idle / (idle + cpu), 0.2)
        for name, title in (("read", "reading the files"), ("zstd", "zstd over the files")):
            value = self.ratio(("full", "veza", "dir", level), ("floor", name, "-", level if name == "zstd" else "-"))
            if value:
                print(f"  full on dir takes {value:.2f} times the floor: {title}")
        return asked


def cpu_model():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")


def machine():
    return {"cpu": cpu_model(), "processors": os.cpu_count(), "kernel": os.uname().release,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def main():
    results, target = sys.argv[1:3]
    facts = dict(fact.split("=", 1) for fact in sys.argv[3:]) | machine()
    report = Report(read(results), facts)
    print(f"{facts['processors']} x {facts['cpu']}, PostgreSQL {facts['postgres']}, pgBackRest {facts['pgbackrest']}"
          f" ({'with' if facts['block_increments'] == 'yes' else 'without'} block increments), revision {facts['revision']}")
    print(f"{int(facts['files'])} files, {int(facts['bytes']) / 1e6:.0f} MB, {facts['rounds']} rounds, {facts['workers']} threads or processes")
    report.table("full", "Full backup")
    report.table("diff", f"Diff backup after {facts['updates']} updates")
    report.table("restore", "Restore of the full")
    report.table("floor", "The floor")
    aims = report.judge()
    measurements = []
    for key, values in report.figures.items():
        what, tool, store, level = key
        measurements.append({
            "what": what, "tool": tool, "store": store, "level": None if level == "-" else int(level),
            "median": {measure: statistics.median(value) for measure, value in values.items()},
            "ratio_to_pgbackrest": report.ratio(key, report.others(key)[0]),
            "ratio_to_pg_basebackup": report.ratio(key, report.others(key)[1]) if what == "full" else None,
            "rounds": values,
        })
    with open(target, "w") as file:
        json.dump({"facts": facts, "measurements": measurements, "aims": aims}, file, indent=1)
        file.write("\n")
    print(f"\nall figures: {target}")


if __name__ == "__main__":
    main()
