#!/usr/bin/env python3
"""Runs a command, and adopts and reaps the daemons that it leaves behind. Their CPU time (for example of pgBackRest's
asynchronous archiver) is then added to this process and not to init.

  reaper.py PID_FILE COMMAND...

Writes its own pid into PID_FILE, and ends when its last descendant has ended.
"""

import ctypes
import os
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Makes this process adopt its orphaned descendants from now on."""
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
