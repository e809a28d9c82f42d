#!/usr/bin/env python3
"""Runs one command and says what it cost: wall time, CPU time, peak memory.

  measure.py [--server DATA_DIRECTORY | --server-pid PID] [--store PID_DIRECTORY] [--watch REGEX]
             [--linger REGEX] [--results FILE --tag NAME=VALUE...] -- COMMAND...

CPU time is the exact time of every process that took part, not a sample:
  - the command and what it started: getrusage(RUSAGE_CHILDREN), children's children included;
  - the server: utime + stime + cutime + cstime of the postmaster and of all its descendants,
    after minus before. What ended in between (the backup worker, WAL senders, an archive_command)
    is in its parent's cutime, because the kernel adds it there when the parent waits for it;
  - the store (the S3 server), in the same way, but told apart: it would run on another machine.
The time of a daemon that leaves the server's process tree is lost, unless the server runs under reaper.py,
whose pid is then given. After the command has ended, processes of the server that match --linger are waited
for. They count for the CPU time, but not for the wall time.

Memory is VmHWM, the kernel's own high-water mark, of each process of the command and of the server
whose command line matches --watch; the sum over processes that lived at the same time counts. It is read
ten times a second, so growth in a process's last tenth of a second is missed.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
INTERVAL = 0.1


def processes():
    """Returns {pid: (parent, CPU seconds including those of children it has waited for)}."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    # The name in parentheses may contain any character.
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICK)
    return found


def family(found, roots):
    """Returns the roots and all their descendants."""
    members = {pid for pid in roots if pid in found}
    while True:
        more = {pid for pid, (parent, _) in found.items() if parent in members} - members
        if not more:
            return members
        members |= more


def cpu_of(roots):
    found = processes()
    return sum(found[pid][1] for pid in family(found, roots))


def machine_idle():
    """Returns the idle seconds, summed over the processors."""
    with open("/proc/stat") as file:
        fields = file.readline().split()
    return (int(fields[4]) + int(fields[5])) / TICK


def memory(pid):
    """Returns (VmHWM, VmRSS) in bytes, or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file if line.startswith(("VmHWM", "VmRSS")))
        return tuple(int(lines[key].split()[0]) * 1024 for key in ("VmHWM", "VmRSS"))
    except (OSError, KeyError):
        return None


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


class Watcher(threading.Thread):
    """Watches the memory of matching processes until it is told to stop."""

    def __init__(self, roots, pattern):
        super().__init__(daemon=True)
        self.roots, self.pattern = roots, pattern
        self.done = threading.Event()
        self.peak = 0
        self.series = []  # (seconds, resident bytes)
        self.began = time.monotonic()

    def run(self):
        while not self.done.wait(INTERVAL):
            found = processes()
            seen = [memory(pid) for pid in family(found, self.roots) if self.pattern.search(command_line(pid))]
            seen = [both for both in seen if both]
            if seen:
                self.peak = max(self.peak, sum(high for high, _ in seen))
                self.series.append((time.monotonic() - self.began, sum(now for _, now in seen)))

    def half(self, second):
        """Returns the largest resident memory in the first or second half of the time."""
        if not self.series:
            return 0
        middle = self.series[0][0] + (self.series[-1][0] - self.series[0][0]) / 2
        return max((size for at, size in self.series if (at > middle) == second), default=0)


def wait_for_end(roots, pattern):
    while any(pattern.search(command_line(pid)) for pid in family(processes(), roots)):
        time.sleep(INTERVAL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server")
    parser.add_argument("--server-pid", type=int)
    parser.add_argument("--linger")
    parser.add_argument("--store")
    parser.add_argument("--watch", default=".")
    parser.add_argument("--results")
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    server, store = [], []
    if options.server_pid:
        server = [options.server_pid]
    elif options.server:
        with open(f"{options.server}/postmaster.pid") as file:
            server = [int(file.readline())]
    if options.store:
        for name in os.listdir(options.store):
            with open(f"{options.store}/{name}") as file:
                store.append(int(file.read()))

    server_cpu, store_cpu, idle = cpu_of(server), cpu_of(store), machine_idle()
    began = time.monotonic()
    command = subprocess.Popen(options.command)
    watcher = Watcher(server + [command.pid], re.compile(options.watch))
    watcher.start()
    status = command.wait()
    wall = time.monotonic() - began
    idle = machine_idle() - idle
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    watcher.done.set()
    watcher.join()
    if options.linger:
        wait_for_end(server, re.compile(options.linger))
    # The command ends as soon as it has its result. A worker process may still be ending. Its last
    # ticks are added to its parent's when it has ended.
    time.sleep(0.3)
    result = {name: value for name, _, value in (tag.partition("=") for tag in options.tag)}
    result |= {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime + cpu_of(server) - server_cpu,
        "store_cpu": cpu_of(store) - store_cpu,
        "idle": idle,
        "memory": watcher.peak,
        "memory_first_half": watcher.half(False),
        "memory_second_half": watcher.half(True),
    }
    if status == 0 and options.results:
        with open(options.results, "a") as file:
            file.write(json.dumps(result) + "\n")
    sys.exit(status if status >= 0 else 128 - status)


main()
