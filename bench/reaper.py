#!/usr/bin/env python3
"""Runs a command, and adopts and reaps whatever it leaves behind: the CPU time of daemons, such as
pgBackRest's asynchronous archiver, then stays with this process instead of going to init.

  reaper.py PID_FILE COMMAND...

Writes its own pid into PID_FILE, and ends when the last of the family has ended.
"""

import ctypes
import os
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """From now on, of this process's descendants."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit(f"reaper.py: {os.strerror(ctypes.get_errno())}")


def main():
    adopt_orphans()
    with open(sys.argv[1], "w") as file:
        file.write(f"{os.getpid()}\n")
    subprocess.Popen(sys.argv[2:])
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break


if __name__ == "__main__":
    main()
