#!/usr/bin/env python3
"""Starts a restored server, waits until it has recovered, stops it, and prints measurements as JSON:

  replay.py DATA_DIRECTORY LOG -- POSTGRES ARGUMENT...

  wall      seconds from the start to the end of recovery ("archive recovery complete")
  recovery  of these, the seconds in which restore_command takes part; before, the server syncs every file
  open      seconds until the server takes connections, which is a checkpoint later
  segments  segments that restore_command has fetched
  end       the position up to which was replayed
  cpu       CPU seconds of the server and of all processes that it has started, including daemons (see reaper.py)
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time

from reaper import adopt_orphans

DEADLINE = 1200  # seconds
# Seconds for daemons that do not notice at once that the server has ended.
LINGER = 30


def main():
    directory, log = sys.argv[1:3]
    adopt_orphans()
    segments, end, begin, wall, ready = 0, None, None, None, None
    began = time.monotonic()
    # lc_messages is "C", so that the messages are the expected ones.
    server = subprocess.Popen(sys.argv[4:] + ["-D", directory, "-c", "logging_collector=off", "-c", "lc_messages=C"],
                              stderr=subprocess.PIPE, text=True, errors="replace")
    watchdog = threading.Timer(DEADLINE, server.kill)
    watchdog.start()
    with open(log, "w") as copy:
        for line in server.stderr:
            now = time.monotonic() - began
            copy.write(f"{now:8.3f} {line}")
            if re.search(r'restored log file "[0-9A-F]{24}"', line):
                segments += 1
            elif found := re.search(r"redo done at ([0-9A-F/]+)", line):
                end = found[1]
            elif "starting archive recovery" in line:
                begin = now
            elif "archive recovery complete" in line:
                wall = now
            elif "database system is ready to accept connections" in line:
                ready = now
                server.send_signal(signal.SIGINT)
    watchdog.cancel()
    if server.wait() != 0 or None in (end, begin, wall, ready):
        sys.exit(f"replay.py: the server has not recovered: see {log}")
    deadline = time.monotonic() + LINGER
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.1)
        except ChildProcessError:
            break
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"wall": wall, "recovery": wall - begin, "open": ready, "segments": segments, "end": end,
                      "cpu": usage.ru_utime + usage.ru_stime}))


main()
