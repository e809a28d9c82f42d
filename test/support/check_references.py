#!/usr/bin/env python3
"""Finds names of files and symbols in comments and documents that do not exist.

    check_references.py TOP

Checked are the names of files and folders (`wal_scan.h`, `core/wal/`), functions (`PlanRestore()`), members
(`ParentChoice::doubt`), constants (`kNotFound`), types (`WalArchive`), and settings, SQL objects and metrics
(`veza_backup_take`). Links are checked by check_docs.py. A file must be in the tree. A
symbol must occur in code, outside of comments. Documents have symbols in backquotes; in comments they
are found without. Names that are not this project's, such as PostgreSQL's, are in foreign_names.txt.

Prints each stale name with its place, and exits with 1 if there is any.
"""
import io
import itertools
import pathlib
import re
import subprocess
import sys
import tokenize

CODE = {".cpp", ".h", ".py", ".sh", ".pl", ".pm", ".sql", ".build", ".map", ".yml", ".yaml", ".json", ".txt", ".control",
        ".conf", ".out", ".service", ".timer"}
HASH_COMMENTS = {".sh", ".pl", ".pm", ".build", ".yml", ".yaml", ".conf", ".clang-tidy", ""}
# The suffixes of this project's files: names with others, such as .c, belong to somebody else.
FILE = re.compile(r"(?<![\w/.<*>{}%$@-])((?:[\w.-]+/)*[\w.-]*\w\.(?:h|cpp|sh|py|pl|pm|md|sql|map))\b(?![\w/(*=])")
PATH = re.compile(r"^(?:src|core|pg|cli|test|ops|bench|docs|sql|expected)/[\w./-]*$")
# check_docs.py holds links.
LINK = re.compile(r"\]\(([^)\s]+)\)")
MEMBER = re.compile(r"\b([A-Z]\w*)::(~?\w+)")
CALL = re.compile(r"(?<![\w.:>-])(\w+)\(\)")
CONSTANT = re.compile(r"\bk[A-Z]\w*")
# Two humps, so no word of English.
TYPE = re.compile(r"(?<![\w$.:/-])[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+(?![\w])")
OURS = re.compile(r"\bveza_backup[._][a-z]\w*")
WORD = re.compile(r"\w+")

COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|R"(\w*)\(.*?\)\1"', re.DOTALL)
HASH = re.compile(r"(?:^|(?<=\s))#[^\n]*", re.MULTILINE)
DASHES = re.compile(r"--[^\n]*")


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def separate(text, spans):
    """The text with all but these spans blanked, and with these blanked: each line keeps its number."""
    comments, code, at = [], [], 0
    for start, end in spans:
        comments += [blank(text[at:start]), text[start:end]]
        code += [text[at:start], blank(text[start:end])]
        at = end
    return "".join([*comments, blank(text[at:])]), "".join([*code, text[at:]])


def python_comments(text):
    """Where comments and docstrings are."""
    starts = list(itertools.accumulate(map(len, text.splitlines(keepends=True)), initial=0))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
            yield starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]


def split(path, text):
    """The comments of a file, and its code."""
    if path.suffix == ".md":
        return text, ""
    if path.suffix in {".cpp", ".h"}:
        return separate(text, [m.span() for m in COMMENT_OR_STRING.finditer(text) if m[0].startswith("/")])
    if path.suffix == ".sql":
        return separate(text, [m.span() for m in DASHES.finditer(text)])
    if path.suffix == ".py":
        return separate(text, python_comments(text))
    if path.suffix in HASH_COMMENTS:
        return separate(text, [m.span() for m in HASH.finditer(text)])
    return "", text


def files_of(top):
    """The paths of the project's files: what git knows or would add, or all there is without git."""
    listing = subprocess.run(["git", "-C", top, "ls-files", "-coz", "--exclude-standard"], capture_output=True, check=False)
    if listing.returncode == 0:
        names = [pathlib.PurePath(name) for name in listing.stdout.decode().split("\0") if name]
        return [name for name in names if (top / name).is_file()]
    return [path.relative_to(top) for path in sorted(top.rglob("*")) if path.is_file()]


class Tree:
    def __init__(self, top):
        self.top = top
        self.comments = {}
        self.words = set()
        self.code_of = {}
        self.paths = set()
        for file in files_of(top):
            name = str(file)
            self.paths.update([name, *(str(parent) for parent in file.parents)])
            if file.suffix not in CODE | {".md", ".clang-tidy", ""} or "corpus" in file.parts:
                continue
            try:
                text = (top / file).read_text()
            except UnicodeDecodeError:
                continue
            self.comments[name], code = split(file, text)
            words = set(WORD.findall(code))
            self.words |= words
            if file.suffix in {".cpp", ".h"}:
                self.code_of[name] = words
        self.foreign = set()
        foreign = pathlib.Path(__file__).with_name("foreign_names.txt")
        for line in foreign.read_text().splitlines():
            self.foreign.update(line.partition("#")[0].split())

    def has_file(self, name):
        name = name.removeprefix("./")
        return name in self.paths or any(path.endswith("/" + name) for path in self.paths)

    def has_member(self, owner, member):
        """Whether one file has both words. (Where a class ends is not looked at.)"""
        return any(owner in words and member.lstrip("~") in words for words in self.code_of.values())

    def names_in(self, line, is_document):
        """What a line names, each with whether it is there."""
        for name in FILE.findall(line):
            yield name, self.has_file(name)
        for owner, member in MEMBER.findall(line):
            yield f"{owner}::{member}", self.has_member(owner, member)
        for name in CALL.findall(line):
            yield name, name in self.words
        for name in CONSTANT.findall(line):
            yield name, name in self.words
        for name in OURS.findall(line):
            yield name, name in self.words or name.partition(".")[2] in self.words
        quoted = re.findall(r"`([^`]+)`", line)
        for name in quoted:
            if PATH.match(name):
                path = name.rstrip("/")
                yield name, path in self.paths or f"src/{path}" in self.paths or self.has_file(path)
        for name in TYPE.findall(" ".join(quoted) if is_document else line):
            yield name, name in self.words

    def problems(self):
        for name, comments in sorted(self.comments.items()):
            is_document = name.endswith(".md")
            for number, line in enumerate(comments.splitlines(), 1):
                if is_document:
                    line = LINK.sub("]", line)
                for found, there in self.names_in(line, is_document):
                    if not there and found not in self.foreign:
                        yield f"{name}:{number}: there is no {found}"


def main():
    problems = list(dict.fromkeys(Tree(pathlib.Path(sys.argv[1]).resolve()).problems()))
    for problem in problems:
        print(problem)
    if not problems:
        print("references: every file and symbol that comments and documents name is there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
