#!/usr/bin/env python3
"""Holds the documents for users against the sources, and their links against each other.

    check_docs.py TOP

Prints what is wrong, a line each, and exits with 1 if anything is. (The table of settings is compared by
test/core/config/settings_document_test.cpp, because the values are known to the compiler only.)
"""
import functools
import pathlib
import re
import sys

FOLDERS = ["bench", "docs", "ops", "src", "test"]
README_LINES = 150
ROW_WIDTH = 200  # two lines of a terminal

problems = []


def check(condition, problem):
    if not condition:
        problems.append(problem)


def compare(where, written, real):
    check(written == real, f"{where}: only there: {sorted(written - real)}, missing: {sorted(real - written)}")


# Markdown

def without_code(text):
    """With the content of fenced blocks left out, line by line."""
    fenced, lines = False, []
    for line in text.split("\n"):
        if re.match(r"\s*```", line):
            fenced = not fenced
            line = ""
        lines.append("" if fenced else line)
    return "\n".join(lines)


def slug(heading):
    """The anchor that GitHub gives a heading."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


@functools.cache
def anchors_of(text):
    anchors = set()
    for heading in re.findall(r"(?m)^#{1,6} +(.+)$", without_code(text)):
        name, number = slug(heading), 1
        while name in anchors:
            name, number = f"{slug(heading)}-{number}", number + 1
        anchors.add(name)
    return anchors


def section(text, heading):
    """What stands below a heading, up to the next of its own level or above."""
    match = re.search(rf"(?m)^(#+) {re.escape(heading)}$", text)
    if not match:
        problems.append(f"there is no section {heading!r}")
        return ""
    rest = text[match.end():]
    end = re.search(rf"(?m)^#{{1,{len(match[1])}}} ", without_code(rest))
    return rest[:end.start()] if end else rest


def first_cells(text, header):
    """The first column of the table with this header."""
    match = re.search(rf"(?m)^\| {re.escape(header)}.*\n\|[-|]+\n((?:\|.*\n)*)", text)
    if not match:
        problems.append(f"there is no table | {header}")
        return []
    return [row.split(" | ")[0].lstrip("| ") for row in match[1].splitlines()]


def check_links(top, paths):
    texts = {path: path.read_text() for path in paths}
    for path, text in texts.items():
        prose = re.sub(r"(`+)[^`]+?\1(?!\()", "", without_code(text).replace("\\`", ""))
        for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", prose):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            where = f"{path.relative_to(top)}: link {target}"
            check(there.exists(), f"{where}: there is no such file")
            if anchor and there.suffix == ".md" and there.exists():
                check(anchor in anchors_of(texts.get(there) or there.read_text()), f"{where}: no such heading")


def check_widths(top, paths):
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            check(not line.startswith("|") or len(line) <= ROW_WIDTH,
                  f"{path.relative_to(top)}:{number}: the row of a table has {len(line)} characters")


# SQL

def sql_objects(scripts):
    """Of each function, procedure and view: its arguments, columns, and who may use it."""
    objects, views = {}, {}
    for script in scripts:
        text = re.sub(r"--.*", "", script.read_text())
        for kind, name, arguments in re.findall(
                r"CREATE (FUNCTION|PROCEDURE) (\w+)\(((?:[^()]|\([^()]*\))*)\)", text):
            words = [a.split() for a in arguments.split(",") if a.strip()]
            outs = [w[1].strip('"') for w in words if w[0] in ("OUT", "INOUT")]
            ins = [" ".join(w) for w in words if w[0] not in ("OUT", "INOUT")]
            objects[name] = {"in": ins, "columns": outs, "kind": kind, "monitor": False}
        for name, query in re.findall(r"VIEW (\w+) AS\s+SELECT (.*?);", text, re.S):
            views[name] = query
        for name in re.findall(r"GRANT (?:EXECUTE ON FUNCTION|SELECT ON) (\w+).* TO pg_monitor", text):
            if name in objects:
                objects[name]["monitor"] = True
    for name, query in views.items():
        listed, _, source = query.partition("FROM veza_backup_get")
        base = objects["veza_backup_get" + re.match(r"\w+", source)[0]]
        columns = base["columns"]
        if listed.strip() != "*":
            listed = re.sub(r"CASE.*?\bEND\b", "x", listed, flags=re.S)
            while re.search(r"\([^()]*\)", listed):
                listed = re.sub(r"\([^()]*\)", "", listed)
            columns = [part.split()[-1] for part in listed.split(",")]
        objects[name] = {"in": None, "columns": columns, "kind": "VIEW", "monitor": base["monitor"]}
    return {name: o for name, o in objects.items() if not name.startswith("veza_backup_get_")}


def check_sql(top):
    objects = sql_objects(sorted((top / "sql").glob("veza_backup--*.sql"), key=lambda p: (len(p.name), p.name)))
    text = (top / "docs/sql.md").read_text()
    compare("docs/sql.md: headings", set(re.findall(r"(?m)^### (veza_\w+)$", text)), set(objects))
    for name, real in objects.items():
        where, about = f"docs/sql.md: {name}", " ".join(section(text, name).split())
        if real["in"] is None:
            check(about.startswith("A view, "), f"{where} is a view")
        else:
            arguments = re.sub(r" pg_catalog\.", " ", ", ".join(real["in"]))
            signature = f"{name}({arguments})"
            call = ("CALL " if real["kind"] == "PROCEDURE" else "") + signature
            check(about.startswith(f"`{call}"), f"{where}: the signature is {call}")
        role = "pg_monitor" if real["monitor"] else "Superuser"
        check(f"{role}." in about, f"{where} is for: {role}")
        for column in real["columns"]:
            check(f"`{column}`" in about, f"{where} has the column {column}")
        if match := re.search(r"Columns: (.*?)(?:\. |\.$|: how|, which)", about):
            listed = set(re.findall(r"`(\w+)`(?! or)", re.sub(r"\([^()]*\)", "", match[1])))
            check(listed <= set(real["columns"]), f"{where} has no columns {listed - set(real['columns'])}")


# vezactl

OPTION = re.compile(r'Add(?:Flag|Size|Each)?\(\s*"(--[a-z-]+)"')


def options_of(source, sources):
    """Those that it adds itself, and those of the functions for several commands that it calls."""
    options = set(OPTION.findall(source))
    for function in re.findall(r"\b(Add\w+)\(command, ", source):
        for other in sources:
            for body in re.findall(rf"(?ms)^void {function}\(.*?^}}", other):
                options |= set(OPTION.findall(body))
    return options


def codes_in_footer(source):
    footer = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', re.search(r"SetFooter\((.*?)\);", source, re.S)[1]))
    return set(re.findall(r"(?:codes: |; |;\\n|,\\n)(\d+) ", footer))


def check_vezactl(top):
    docs = {path.name: path.read_text() for path in (top / "docs").glob("*.md")}
    sources = [path.read_text() for path in sorted((top / "src/cli").rglob("*.cpp"))]
    commands = {name: source for source in sources
                for name in re.findall(r'parent\.AddCommand\(\s*"([a-z-]+)"', source)}
    hidden = {name for name, source in commands.items() if "command.Hide()" in source}
    documented = {cell.strip("`").split()[1]
                  for cell in first_cells(docs["operations.md"], "command | what it does")}
    compare("docs/operations.md: commands of vezactl", documented, set(commands) - hidden)
    main = next(source for source in sources if "int main(" in source)
    about = section(docs["operations.md"], "vezactl")
    for option in set(OPTION.findall(main)):
        check(f"`{option}" in about, f"docs/operations.md: vezactl has the option {option}")

    places = {"restore": ("restore.md", "Options"), "drill": ("drill.md", "Options"),
              "verify": ("verify.md", "Verify what is stored"), "key": ("backups.md", "How to put them back"),
              "wal-get": ("restore.md", "`wal-get`: the `restore_command`")}
    for command, (file, heading) in places.items():
        about = section(docs[file], heading)
        real = options_of(commands[command], sources)
        where = f"docs/{file}: options of {command}"
        mentioned = set(re.findall(r"`(--[a-z-]+)", about))
        check(real <= mentioned, f"{where}: missing: {sorted(real - mentioned)}")
        # At the beginning of an item, where they are explained.
        explained = {option for item in re.findall(r"(?m)^- ((?:`--[^`]+`(?:, | and |))+):", about)
                     for option in re.findall(r"`(--[a-z-]+)", item)}
        check(explained <= real, f"{where}: there are no {sorted(explained - real)}")

    known = {"--help", "--version"}.union(*(options_of(source, sources) for source in sources))
    for path in [top / "README.md", *top.glob("docs/*.md"), *top.glob("ops/*.md")]:
        for call in re.findall(r"\bvezactl ((?:[^\n`|\\]|\\\n)*)", path.read_text()):
            unknown = set(re.findall(r"(?<!\S)(--[a-z-]+)", call)) - known
            check(not unknown, f"{path.relative_to(top)}: vezactl has no option {sorted(unknown)}")

    constants = set(re.findall(r"inline constexpr int k\w+ = (\d+);", (top / "src/cli/command.h").read_text()))
    compare("vezactl --help: exit codes", codes_in_footer(main), constants)
    for file, codes in {"operations.md": constants | {"128 + N"}, "verify.md": constants,
                        "drill.md": codes_in_footer(commands["drill"]),
                        "restore.md": codes_in_footer(commands["wal-get"])}.items():
        compare(f"docs/{file}: exit codes", set(first_cells(docs[file], "exit code | meaning")), codes)


# Metrics

def check_metrics(top):
    real = set()
    for name, labels in re.findall(r"(?m)^(\w+)\{(.*)\} ", (top / "ops/metrics.txt").read_text()):
        others = [label for label in re.findall(r'(\w+)="', labels) if label != "cluster"]
        real.add(name + (f"{{{','.join(others)}}}" if others else ""))
    written = {cell.strip("`") for file in ("operations.md", "drill.md", "mirror.md")
               for cell in first_cells((top / "docs" / file).read_text(), "metric | meaning")}
    compare("docs/operations.md, drill.md and mirror.md: metrics", written, real)


# Messages

def literals(top):
    """The texts in the sources, with a break where something is put in."""
    texts = []
    for path in sorted([*top.glob("src/**/*.cpp"), *top.glob("src/**/*.h")]):
        source = re.sub(r"(?m)^\s*//.*$", "", path.read_text())
        for run in re.findall(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', source):
            text = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', run))
            texts.append(re.sub(r"\{[^{}]*\}|%[a-z]+", "\0", text).replace('\\"', '"'))
    return "\1".join(texts)


def check_messages(top):
    known = literals(top)
    for message in re.findall(r"(?m)\*\*`([^`]+)`\*\*", (top / "docs/errors.md").read_text()):
        # What is put in stands for any word, and "could not" may be the frame of a sentence.
        for part in re.split('[…"]', message.removeprefix("could not ")):
            part = part.strip(" :,")
            check(len(part) < 4 or part in known, f"docs/errors.md: no message has {part!r}")


def main():
    top = pathlib.Path(sys.argv[1]).resolve()
    paths = sorted([*top.glob("*.md"), *(path for folder in FOLDERS for path in top.glob(f"{folder}/**/*.md"))])
    check_links(top, paths)
    check_widths(top, [p for p in paths if p.parent.name in ("docs", "ops") or p == top / "README.md"])
    lines = len((top / "README.md").read_text().splitlines())
    check(lines <= README_LINES, f"README.md has {lines} lines: what is above {README_LINES} goes to docs/")
    check_sql(top)
    check_vezactl(top)
    check_metrics(top)
    check_messages(top)
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
