#!/usr/bin/env python3
"""Prints medians and aims of what restore.sh measured, and an estimate for a larger cluster at the same rates. Tables go to
standard output, everything goes to JSON.

  restore_report.py RESULTS JSON [FACT=VALUE...]
"""

import sys

from reporting import MIB, Aims, Figures, facts_of, number, print_machine, print_table, ratio, span, write_json

STORES = {"dir": "directory", "s3": "S3", "far": "S3, far"}
TOOLS = {"veza": "veza_backup", "pgbackrest": "pgBackRest", "pgbackrest-8": "pgBackRest, 8 processes", "cp": "cp"}
MEMORY_LIMIT = 300 * MIB

# The estimate: a cluster of 1 TB, with the measured compression, the processors of this machine,
# several network links, and two disks: the measured one and a faster one.
CLUSTER = 1e12
STORED_SMALLER = 3
PROCESSORS = (2, 16)
LINKS = (1, 10, 25)  # Gb/s
FAST_DISK = 2e9  # bytes per second
OF_A_LINK = 0.94  # payload after the overhead of Ethernet, IP, TCP and TLS


class Report:
    def __init__(self, figures, facts):
        self.figures, self.facts = figures, facts

    def median(self, measure, what, tool, store):
        return self.figures.median(measure, what, tool, store, "3")

    def floor(self, what):
        return ("replay" if what == "replay" else "floor"), "cp", "dir"

    def table(self, what, title, more, compare="wall"):
        """`more`: headings and measures of further columns."""
        keys = [key for key in self.figures.all if key[0] == what or (key[0] == "floor" and what == "restore")]
        keys.sort(key=lambda key: (list(STORES).index(key[2]), list(TOOLS).index(key[1])))
        rows = []
        for key in keys:
            ours = self.median(compare, *key[:3])
            floor = self.median(compare, *self.floor(what))
            rows.append([TOOLS[key[1]], STORES[key[2]], number(self.median("wall", *key[:3])), span(self.figures.values("wall", *key))]
                        + [form.format(self.median(measure, *key[:3]) / unit) if self.median(measure, *key[:3]) else ""
                           for _, measure, form, unit in more]
                        + [number(ratio(ours, self.median(compare, what, "pgbackrest", key[2])) if key[1] == "veza" else None),
                           number(ratio(ours, floor))])
        print_table(title, ["", "store", "wall s", "range", *(head for head, *_ in more), "/pgBackRest", "/cp"], rows)

    def drills(self):
        rows = []
        for key in self.figures.all:
            if key[0].startswith("drill"):
                rows.append([f"with {self.facts['segments']} segments of WAL" if key[0] == "drill-with-wal" else "to consistency",
                             STORES[key[2]]] + [number(self.median(measure, *key[:3])) for measure in ("rto", "restore", "recovery")])
        print_table("The drill", ["", "store", "RTO s", "restore", "recovery"], rows)

    def judge(self):
        aims = Aims("Aims of restores")

        def compared(what, store, other="pgbackrest", other_store=None, measure="wall"):
            return ratio(self.median(measure, what, "veza", store), self.median(measure, what, other, other_store or store))

        aims.ask("restore from dir, of pgBackRest's time", compared("restore", "dir"), 0.6)
        aims.ask("restore from s3, of pgBackRest's time", compared("restore", "s3"), 0.5)
        aims.ask(f"restore from s3 with {self.facts['latency']} ms, of its time without", compared("restore", "far", "veza", "s3"), 1.2)
        for store in ("dir", "s3"):
            aims.ask(f"delta from {store}, of a restore's time", ratio(self.median("wall", "delta", "veza", store),
                                                                     self.median("wall", "restore", "veza", store)), 1 / 3)
            aims.ask(f"delta from {store}, of pgBackRest's time", compared("delta", store), 1 / 3)
        for store in STORES:
            aims.ask(f"replay from {store}, of the time with cp", compared("replay", store, "cp", "dir", "recovery"), 1.1)
        for store in STORES:
            memory = self.figures.values("memory", "restore", "veza", store, "3")
            aims.ask(f"memory of vezactl, restore from {store}, MiB", max(memory) / MIB if memory else None,
                     MEMORY_LIMIT / MIB, "{:.0f}")
        return aims

    def on_paper(self):
        """Estimates the restore time of CLUSTER from S3: the longest of network, processors and disk, which work at the same time."""
        size = int(self.facts["bytes"])
        cpu = self.median("cpu", "restore", "veza", "s3")
        disk = self.median("wall", "floor", "cp", "dir")
        if not cpu or not disk:
            return []
        computed, rows = [], []
        for processors in PROCESSORS:
            for rate in (size / disk, FAST_DISK):
                for link in LINKS:
                    seconds = {"network": CLUSTER / STORED_SMALLER / (link * 1e9 / 8 * OF_A_LINK),
                               "processors": CLUSTER / size * cpu / processors,
                               "disk": CLUSTER / rate}
                    bound = max(seconds, key=seconds.get)
                    computed.append({"processors": processors, "gigabits": link, "disk_rate": rate, "bound": bound} | seconds)
                    rows.append([f"{processors} processors, {rate / 1e6:.0f} MB/s", f"{link} Gb/s"]
                                + [f"{seconds[name] / 60:.0f}" for name in seconds] + [f"{seconds[bound] / 60:.0f}", bound])
        print_table(f"A restore of {CLUSTER / 1e12:.0f} TB on paper, stored {STORED_SMALLER} times smaller; minutes",
                    ["", "link", "network", "processors", "disk", "the longest", "which is"], rows)
        print(f"  by {size / cpu / 1e6:.0f} MB a second and processor; {size / disk / 1e6:.0f} MB/s is this disk (cp -a, sync)")
        return computed


def main():
    facts = facts_of(sys.argv[3:])
    figures = Figures(sys.argv[1])
    report = Report(figures, facts)
    print_machine(facts)
    print(f"{int(facts['files'])} files, {int(facts['bytes']) / 1e6:.0f} MB, {facts['segments']} segments, {facts['rounds']} rounds, "
          f"one with {facts['latency']} ms more a round trip")
    usage = [("CPU s", "cpu", "{:.2f}", 1), ("store's", "store_cpu", "{:.2f}", 1), ("peak MiB", "memory", "{:.0f}", MIB),
             ("GETs", "requests", "{:.0f}", 1)]
    report.table("restore", "Restore", usage)
    report.table("delta", "Restore with delta", usage)
    report.table("replay", "Recovery", [("recovery s", "recovery", "{:.2f}", 1), ("open s", "open", "{:.2f}", 1), ("segments", "segments", "{:.0f}", 1),
                                        ("CPU s", "cpu", "{:.2f}", 1), ("GETs", "requests", "{:.0f}", 1)], "recovery")
    report.drills()
    on_paper = report.on_paper()
    write_json(sys.argv[2], facts, figures.measurements(), report.judge(), on_paper=on_paper)


main()
