#!/usr/bin/env python3
"""Watches a server's backlog: the segments of pg_wal that are to be archived.

  backlog.py again DATA_DIRECTORY LIST      offers the segments that LIST names to the archiver again
  backlog.py drain DATA_DIRECTORY LIST      reloads the server, and waits until these segments are archived
  backlog.py during DATA_DIRECTORY -- COMMAND...
                                            runs a command, and then waits until nothing is left. Prints
                                            the largest backlog and the seconds after the command as JSON

A segment counts as archived when PostgreSQL has renamed its .ready file to .done.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

INTERVAL = 0.02
DEADLINE = 600  # seconds
SEGMENT = re.compile(r"[0-9A-F]{24}\.ready")


def waiting(directory):
    return {name[:-6] for name in os.listdir(directory) if SEGMENT.fullmatch(name)}


def wait_until_archived(directory, segments=None):
    """Waits for all segments, or for those in the set. The archiver may sleep for a minute after failures."""
    deadline = time.monotonic() + DEADLINE
    while (left := waiting(directory)) and (segments is None or left & segments):
        if time.monotonic() > deadline:
            sys.exit(f"backlog.py: {len(left)} segments are not archived after {DEADLINE} s")
        time.sleep(INTERVAL)


def named(path):
    with open(path) as file:
        return set(file.read().split())


def again(directory, segments):
    for name in segments - waiting(directory):
        try:
            os.rename(f"{directory}/{name}.done", f"{directory}/{name}.ready")
        except FileNotFoundError:
            # veza_backup offers segments that its repository lacks to the archiver by itself.
            if not os.path.exists(f"{directory}/{name}.ready"):
                raise


def drain(data, directory, segments):
    with open(f"{data}/postmaster.pid") as file:
        os.kill(int(file.readline()), signal.SIGHUP)
    wait_until_archived(directory, segments)


def during(directory, command):
    largest = 0
    process = subprocess.Popen(command, stdout=sys.stderr)
    while process.poll() is None:
        largest = max(largest, len(waiting(directory)))
        time.sleep(INTERVAL)
    if process.returncode != 0:
        sys.exit(process.returncode)
    began = time.monotonic()
    wait_until_archived(directory)
    print(json.dumps({"largest": largest, "drain": time.monotonic() - began}))


def main():
    action, data = sys.argv[1:3]
    directory = f"{data}/pg_wal/archive_status"
    if action == "again":
        again(directory, named(sys.argv[3]))
    elif action == "drain":
        drain(data, directory, named(sys.argv[3]))
    elif action == "during" and sys.argv[3] == "--":
        during(directory, sys.argv[4:])
    else:
        sys.exit("backlog.py: its head says how to use it")


main()
