#!/usr/bin/env python3
"""What test/compat.sh has found out about S3 servers: rows of docs/stores.tsv, and the table in docs/stores.md.

    stores_table.py TOP add STORE VERSION GTEST_JSON NAME=RESULT...
    stores_table.py TOP check       ends with 1 if the table is not the one that the rows make

A result is `yes`, `no`, `part` (some of its tests have passed) or `-` (not tested: the server offers nothing to
test it with).
"""

import datetime
import json
import pathlib
import sys

_SUITE = "S3/StoreConformance/0."
_TLS = "S3/StoreConformance/1."

# Column, heading, and the tests that must pass. Those without tests are given on the command line.
_COLUMNS = [
    ("create", "conditional PUT", [_SUITE + "CreateNeverOverwrites", _SUITE + "OneOfManyCreatorsWins"]),
    ("checksum", "checksum", ["S3Server.TakesEveryChecksum",
                              "S3Server.RefusesContentThatDoesNotMatchItsChecksum"]),
    ("range", "range", [_SUITE + "DeliversRanges"]),
    ("list", "list", [_SUITE + name for name in
                      ("ListsInByteOrder", "ListTellsSizeAndTime", "ListsMoreThanAPage", "ListsDirectories")]),
    ("delete", "delete many", [_SUITE + "DeletesManyAtOnce"]),
    ("keys", "refuses wrong keys", ["S3Server.RefusesAnUnknownAccessKey", "S3Server.RefusesAWrongSecretKey"]),
    ("tags", "tags", ["S3Server.KeepsTags"]),
    ("tls", "TLS", [_TLS + "GivesBackWhatWasPut", "S3Server.IsNotTrustedWithoutItsAuthority"]),
    ("versions", "versions", []),
    ("lock", "lock", []),
    ("as_of", "--as-of", []),
    ("archive", "archive", []),
    ("restore", "backup, restore", []),
    ("expire", "expire", []),
]
_BEGIN = "<!-- made by test/compat.sh: begin -->"
_END = "<!-- made by test/compat.sh: end -->"


def _outcomes(path):
    """Test name to `yes`, `no` or `-`."""
    outcomes = {}
    if not path.exists():
        return outcomes  # the suite did not come to its end
    for suite in json.loads(path.read_text())["testsuites"]:
        for test in suite["testsuite"]:
            skipped = test["result"] == "SKIPPED"
            outcomes[f'{suite["name"]}.{test["name"]}'] = "-" if skipped else "no" if "failures" in test else "yes"
    return outcomes


def _result(tests, outcomes):
    found = {outcomes.get(test, "no") for test in tests}
    return found.pop() if len(found) == 1 else "part"


def _suite(outcomes):
    own = [outcome for test, outcome in outcomes.items() if test.startswith(_SUITE)]
    return f'{own.count("yes")} of {len(own)}'


def _read(path):
    lines = path.read_text().splitlines() if path.exists() else []
    heading = lines[0].split("\t") if lines else []
    return {row["store"]: row for row in (dict(zip(heading, line.split("\t"))) for line in lines[1:])}


def _add(top, store, version, report, given):
    path = top / "docs/stores.tsv"
    rows = _read(path)
    outcomes = _outcomes(pathlib.Path(report))
    given = dict(item.split("=", 1) for item in given)
    rows[store] = {"store": store, "version": version, "date": datetime.date.today().isoformat(),
                   "suite": _suite(outcomes)}
    for column, _, tests in _COLUMNS:
        rows[store][column] = given[column] if not tests else _result(tests, outcomes)
    heading = ["store", "version", "date", "suite"] + [column for column, _, _ in _COLUMNS]
    path.write_text("".join("\t".join(line) + "\n" for line in
                            [heading] + [[rows[name][column] for column in heading] for name in sorted(rows)]))


def _table(top):
    """One column for each store: there are fewer of them."""
    rows = [row for _, row in sorted(_read(top / "docs/stores.tsv").items())]
    lines = [[""] + [row["store"] for row in rows], ["---"] * (len(rows) + 1)]
    for column, title in [("version", "version"), ("date", "tested"), ("suite", "conformance suite")] + \
            [(column, title) for column, title, _ in _COLUMNS]:
        lines.append([title] + [row[column] for row in rows])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main():
    top = pathlib.Path(sys.argv[1])
    if sys.argv[2] == "add":
        _add(top, *sys.argv[3:6], sys.argv[6:])
    page = top / "docs/stores.md"
    text = page.read_text()
    before, rest = text.split(_BEGIN)
    made = f"{before}{_BEGIN}\n{_table(top)}{_END}{rest.split(_END)[1]}"
    if sys.argv[2] == "add":
        page.write_text(made)
        print(_table(top), end="")
    elif made != text:
        sys.exit("docs/stores.md: its table is not the one of docs/stores.tsv: run test/compat.sh")


if __name__ == "__main__":
    main()
