#!/usr/bin/env python3
"""without_landlock.py PROGRAM [ARGUMENT...]: runs the program as if the kernel had no Landlock."""
import errno

from syscall_filter import (
    ALLOW, FAIL, JUMP_IF_GREATER, JUMP_IF_GREATER_OR_EQUAL, LOAD_WORD, NUMBER, RETURN, run)

LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446  # not on alpha

run([
    (LOAD_WORD, 0, 0, NUMBER),
    (JUMP_IF_GREATER_OR_EQUAL, 0, 1, LANDLOCK_CREATE_RULESET),
    (JUMP_IF_GREATER, 0, 1, LANDLOCK_RESTRICT_SELF),
    (RETURN, 0, 0, ALLOW),
    (RETURN, 0, 0, FAIL | errno.ENOSYS),
])
