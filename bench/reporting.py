"""What the reports share: the figures that measure.py and record() in common.sh write, medians, tables and aims."""

import json
import os
import statistics
import time

MIB = 1 << 20


class Figures:
    """{(what, tool, store, level): {measure: [one figure per round]}}"""

    def __init__(self, path):
        self.all = {}
        with open(path) as file:
            for line in file:
                record = json.loads(line)
                key = tuple(record.pop(name) for name in ("what", "tool", "store", "level"))
                record.pop("round")
                for measure, value in record.items():
                    self.all.setdefault(key, {}).setdefault(measure, []).append(value)

    def values(self, measure, *key):
        return self.all.get(key, {}).get(measure)

    def median(self, measure, *key):
        values = self.values(measure, *key)
        return statistics.median(values) if values else None

    def measurements(self):
        """Returns the measurements for the JSON file."""
        return [{"what": what, "tool": tool, "store": store, "level": None if level == "-" else int(level),
                 "median": {measure: statistics.median(value) for measure, value in values.items()}, "rounds": values}
                for (what, tool, store, level), values in self.all.items()]


def ratio(ours, theirs):
    return ours / theirs if ours is not None and theirs else None


def number(value, form="{:.2f}"):
    """Formats a figure. Empty when there is none."""
    return form.format(value) if value is not None else ""


def span(values):
    return f"{min(values):.2f}-{max(values):.2f}" if values else ""


def print_table(title, head, rows, left=2):
    """The first `left` columns are text."""
    if not rows:
        return
    print(f"\n{title}")
    rows = [head] + rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) if i < left else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


class Aims:
    """The aims. Each is judged when it is printed. Aims that were not measured are left out."""

    def __init__(self, title):
        self.asked = []
        print(f"\n{title}")

    def ask(self, text, value, limit, form="{:.2f}", at_least=False):
        if value is None:
            return
        held = value >= limit if at_least else value <= limit
        self.asked.append({"text": text, "value": value, "limit": limit, "at_least": at_least, "held": held})
        print(f"  {'held   ' if held else 'NOT MET'}  {text}: {form.format(value)}, "
              f"at {'least' if at_least else 'most'} {form.format(limit)}")


def cpu_model():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")


def facts_of(arguments):
    """Returns the given FACT=VALUE pairs and facts about the machine."""
    return dict(fact.split("=", 1) for fact in arguments) | {
        "cpu": cpu_model(), "processors": os.cpu_count(), "kernel": os.uname().release,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def print_machine(facts):
    print(f"{facts['processors']} x {facts['cpu']}, PostgreSQL {facts['postgres']}, pgBackRest {facts['pgbackrest']}"
          f" ({'with' if facts['block_increments'] == 'yes' else 'without'} block increments), revision {facts['revision']}")


def write_json(target, facts, measurements, aims, **more):
    with open(target, "w") as file:
        json.dump({"facts": facts, "measurements": measurements, "aims": aims.asked} | more, file, indent=1)
        file.write("\n")
    print(f"\nall figures: {target}")
