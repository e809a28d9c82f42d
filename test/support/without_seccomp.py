#!/usr/bin/env python3
"""without_seccomp.py PROGRAM [ARGUMENT...]: runs the program so that it cannot install a seccomp filter."""
import errno
import platform

from syscall_filter import (
    ALLOW, FAIL, FIRST_ARGUMENT, JUMP_IF_EQUAL, LOAD_WORD, NUMBER, PR_SET_SECCOMP, RETURN, run)

PRCTL = {"x86_64": 157, "aarch64": 167}[platform.machine()]

run([
    (LOAD_WORD, 0, 0, NUMBER),
    (JUMP_IF_EQUAL, 0, 2, PRCTL),
    (LOAD_WORD, 0, 0, FIRST_ARGUMENT),
    (JUMP_IF_EQUAL, 1, 0, PR_SET_SECCOMP),
    (RETURN, 0, 0, ALLOW),
    (RETURN, 0, 0, FAIL | errno.EINVAL),
])
