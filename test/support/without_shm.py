#!/usr/bin/env python3
"""without_shm.py PROGRAM [ARGUMENT...]: runs the program so that it cannot write to /dev/shm. Needs Landlock, version 2."""
import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF, PATH_BENEATH = 444, 445, 446, 1  # not on alpha
WRITE_FILE = 1 << 1
# The rights to make and remove entries of every kind, and to move them between directories.
OF_DIRECTORIES = sum(1 << bit for bit in range(4, 14))

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        sys.exit(f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return result


def allow(ruleset, path):
    if os.path.islink(path):  # its target is allowed separately, or is a pipe
        return
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights = WRITE_FILE | OF_DIRECTORIES if os.path.isdir(path) else WRITE_FILE
    call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, parent), 0)
    os.close(parent)


def main():
    handled = struct.pack("=Q", WRITE_FILE | OF_DIRECTORIES)
    ruleset = call(CREATE_RULESET, handled, len(handled), 0)
    for directory, left_out in (("/", "dev"), ("/dev", "shm")):
        for name in os.listdir(directory):
            if name != left_out:
                allow(ruleset, os.path.join(directory, name))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call(RESTRICT_SELF, ruleset, 0)
    os.execvp(sys.argv[1], sys.argv[1:])


main()
