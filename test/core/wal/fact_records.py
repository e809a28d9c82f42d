"""Rows of fact_records.inc: one record of each kind, out of what pg_waldump printed.

fact_records.py VERSION PG_WAL DUMP...    make_fact_records.sh calls it
"""
import re
import struct
import sys

SEGMENT = 16 << 20
PAGE = 8192
LINE = re.compile(
    r"rmgr: (\S+)\s+len \(rec/tot\):\s*\d+/\s*(\d+), tx:\s*\d+, lsn: (\w+)/(\w+), prev \S+ desc: (.*)")
# Those of which one is not enough, or that are told apart by more than their first word.
KINDS = [
    r"Storage CREATE \S+/\d+$", r"Storage CREATE \S+_fsm", r"Storage CREATE \S+_vm", r"Storage CREATE \S+_init",
    r"Transaction COMMIT [^;]*$", r"Transaction COMMIT .*rels.*subxacts", r"Transaction COMMIT .*subxacts.*72",
    r"Transaction COMMIT .*origin", r"Transaction COMMIT ", r"Transaction ABORT .*rels",
    r"Transaction PREPARE .*rels\(commit\)", r"XLOG PARAMETER_CHANGE .*wal_level=minimal",
    r"XLOG PARAMETER_CHANGE .*wal_level=replica", r"XLOG FPW_CHANGE false", r"XLOG FPW_CHANGE true",
]


def record_bytes(directory, timeline, lsn, length):
    """The bytes of a record, without the headers of pages within it."""
    found = b""
    while len(found) < length:
        name = "%08X%08X%08X" % (timeline, lsn >> 32, (lsn & 0xFFFFFFFF) // SEGMENT)
        with open(f"{directory}/{name}", "rb") as segment:
            content = segment.read()
        at = lsn % SEGMENT
        if at % PAGE == 0:
            at += 40 if struct.unpack_from("<H", content, at + 2)[0] & 2 else 24
        taken = min(length - len(found), PAGE - at % PAGE)
        found += content[at:at + taken]
        lsn = lsn // SEGMENT * SEGMENT + at + taken
    return found


def kind_of(text):
    for kind in KINDS:
        if re.match(kind, text):
            return kind
    return " ".join(text.split()[:2])


def main():
    version, directory, *dumps = sys.argv[1:]
    seen = set()
    for timeline, dump in enumerate(dumps, 1):
        for line in open(dump, encoding="utf-8"):
            match = LINE.match(line.rstrip("\n"))
            manager, length, high, low, text = match.groups()
            kind = kind_of(f"{manager} {text}")
            if "blkref" in text:
                kind = manager  # they say nothing more, so one of each is enough
            if kind in seen or int(length) > 1500:
                continue
            seen.add(kind)
            content = record_bytes(directory, timeline, int(high, 16) << 32 | int(low, 16), int(length))
            assert struct.unpack_from("<I", content)[0] == int(length), line
            text = text.replace("\\", "\\\\").replace('"', '\\"')
            print(f'{{{version}, "{manager} {text.rstrip()}",\n "{content.hex()}"}},')


main()
