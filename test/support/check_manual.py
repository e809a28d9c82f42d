#!/usr/bin/env python3
"""Holds the manual pages and the completion of vezactl to what --help says.

    check_manual.py VEZACTL

Each command has a page, and each option of --help is in its page. bash, zsh and fish complete each command
and option, the words of a value, and files and directories where one is wanted: the shells themselves are
asked. A program that is not installed is left out, and named.
"""
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

PATIENCE = 20  # seconds, for a shell to answer

# What the shells make of a line: words that must be among the completions, and words that must not.
# `here` is a directory with a directory and a file.
LINES = {
    "vezactl restore --unknown ": (["refuse", "keep", "remove"], ["a_file"]),
    "vezactl restore --target-action pr": (["promote"], ["pause"]),
    "vezactl --output ": (["text", "json"], ["info"]),
    "vezactl info --output ": (["text", "json"], ["restore"]),
    "vezactl --output json ke": (["keep", "key"], ["info"]),
    "vezactl --config info res": (["restore"], ["--all"]),  # info is the file's name
    "vezactl key ": (["list", "add", "import"], ["restore-command", "info"]),
    "vezactl completion ": (["bash", "zsh", "fish"], []),
    "vezactl manual ti": (["timeline"], ["info"]),
    "vezactl --as-of 2026-12-01T14:05:00Z key ": (["list", "add"], ["info"]),
    "vezactl --as-of 2026-12-01T14:05:00Z ke": (["keep", "key"], ["info"]),
    "vezactl --as-of 2026-12-01T14:": ([], ["info", "--all"]),
    "vezactl expire --full ": ([], ["info", "--diff"]),
}
PATHS = {
    "vezactl --config here/": ("file", "directory"),
    "vezactl key import here/": ("file", "directory"),
    "vezactl import-config here/": ("file", "directory"),
    "vezactl restore --target-dir here/": ("directory",),
    "vezactl drill --readable here/": ("file", "directory"),
    "vezactl verify --backup here/": (),
}


def output_of(*arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, check=True, **options).stdout


# Newer versions of CLI11 write headings in capitals, and set short options apart.
def options_of(text):
    return re.findall(r"^ {2,10}(?:-h, *)?(--[a-z-]+)\b", text, re.MULTILINE)


def commands_of(text):
    parts = re.split(r"^Subcommands:\n", text, flags=re.MULTILINE | re.IGNORECASE)
    return re.findall(r"^  ([a-z-]+) ", parts[1], re.MULTILINE) if len(parts) > 1 else []


def walk(vezactl, command=()):
    """Every command, with its --help."""
    text = output_of(vezactl, *command, "--help")
    yield command, text
    for name in commands_of(text):
        yield from walk(vezactl, (*command, name))


def check_pages(vezactl, helps, folder):
    listed = output_of(vezactl, "manual", "--list").split()
    if listed != [command[0] for command in helps if len(command) == 1]:
        yield f"manual --list: has {listed}"
    pages = {name: output_of(vezactl, "manual", *name) for name in [(), *[(name,) for name in listed]]}
    for command, text in helps.items():
        page = pages[command[:1]].replace("\\-", "-")
        for option in options_of(text):
            if not re.search(rf"^.*\\fB{option}\\fR", page, re.MULTILINE):
                yield f"manual of {' '.join(command)}: lacks {option}"
        if len(command) > 1 and f"\n.SS vezactl {' '.join(command)}\n" not in page:
            yield f"manual of {command[0]}: lacks {command[1]}"
    for name, page in pages.items():
        path = folder / ("-".join(["vezactl", *name]) + ".1")
        path.write_text(page)
        for program, *options in [("man", "--warnings", "-l"), ("mandoc", "-Tlint", "-Wwarning")]:
            if shutil.which(program):
                run = subprocess.run([program, *options, path], capture_output=True, text=True, check=False)
                said = run.stderr if program == "man" else run.stdout
                # It is the same page whenever it is made.
                said = "".join(line for line in said.splitlines(True) if "missing date" not in line)
                if said:
                    yield f"{path.name}: {program}: {said.strip()}"


def ask_bash(script, lines, folder):
    """COMPREPLY for each line. compopt, for names of files, works only below readline."""
    program = f'source {script}; complete -p vezactl >/dev/null || exit\n'
    program += 'compopt() { if [[ $2 == default ]]; then COMPREPLY=(here/file here/directory);'
    program += ' elif [[ $2 == dirnames ]]; then COMPREPLY=(here/directory); fi; }\n'
    for line in lines:
        *before, last = line.split(" ")
        words = [word for word in re.split(r"(=|:+)| ", " ".join(before)) if word is not None]
        words += [word for word in re.split(r"(:+)", last) if word] or [""]
        words = " ".join(f"'{word}'" for word in words)
        program += f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _vezactl\n"
        program += 'echo "${COMPREPLY[*]}"\n'
    answers = output_of("bash", "--norc", "-c", program, cwd=folder).split("\n")
    return dict(zip(lines, (set(answer.split()) for answer in answers)))


def ask_fish(script, lines, folder):
    program = f"source {script}\n" + "".join(f"echo ==; complete -C '{line}'\n" for line in lines)
    answers = output_of("fish", "--no-config", "-c", program, cwd=folder, env={**os.environ, "HOME": str(folder)})
    found = {}
    for line, answer in zip(lines, answers.split("==\n")[1:]):
        found[line] = {re.split(r"[\t]", word)[0].rstrip("/") for word in answer.splitlines()}
    return found


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, arguments, folder):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
            os.execvpe(arguments[0], arguments, environment)
        self.said = ""

    def ask(self, text, end):
        os.write(self.terminal, text.encode())
        deadline = time.monotonic() + PATIENCE
        while end not in self.said:
            if not select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no {end!r} in {self.said!r}")
            self.said += os.read(self.terminal, 65536).decode(errors="replace")
        said, _, self.said = self.said.partition(end)
        return said

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.process, 0)


# The line editor lists completions, and compadd writes down what they are. Those calls are left out that only compare.
ZSH_LIST = r"""
autoload -Uz compinit; compinit -D -u; source "$1"
compadd() {
  local -a found
  if [[ ${@[1,(i)(-|--)]} != *-[OAD]\ * ]]; then
    builtin compadd -O found "$@"
    print -l -- $found >>matches
  fi
  builtin compadd "$@"
}
list() { : >matches; zle list-choices; mv matches answer; zle kill-whole-line; print LIST''ED; }
zle -N list
bindkey -e
bindkey '^T' list
print READ''Y
"""


def ask_zsh(script, lines, folder):
    (folder / "list.zsh").write_text(ZSH_LIST)
    shell = Terminal(["zsh", "-f", "-i"], folder)
    shell.ask(f"stty rows 1000 columns 400; LISTMAX=0; source ./list.zsh {script}\r", "READY")
    found = {}
    for line in lines:
        shell.ask(f"{line}\x14", "LISTED")
        words = (folder / "answer").read_text().split()
        found[line] = {f"here/{word}" if word in ("file", "directory") else word for word in words}
    shell.close()
    return found


def check_shell(name, ask, vezactl, helps, folder):
    script = folder / f"vezactl.{name}"
    script.write_text(output_of(vezactl, "completion", name))
    wanted = {line: [list(words), list(not_these)] for line, (words, not_these) in LINES.items()}
    both = {"file", "directory"}
    for line, kinds in PATHS.items():
        wanted[line] = [[f"here/{kind}" for kind in kinds], [f"here/{kind}" for kind in both.difference(kinds)]]
    for command, text in helps.items():
        options = options_of(text) + ["--config", "--output", "--quiet"]
        wanted[" ".join(["vezactl", *command, "--"])] = [options, []]
        if commands_of(text):
            wanted[" ".join(["vezactl", *command, ""])] = [commands_of(text), ["wal-prefetch"]]
    found = ask(script, list(wanted), folder)
    for line, (words, not_these) in wanted.items():
        lacks = [word for word in words if word not in found[line] and word + "=" not in found[line]]
        if lacks:
            yield f"{name}: '{line}' is not completed to {', '.join(lacks)}, but to {' '.join(sorted(found[line]))}"
        if found[line].intersection(not_these):
            yield f"{name}: '{line}' is completed to {', '.join(found[line].intersection(not_these))}"


def main():
    vezactl = str(pathlib.Path(sys.argv[1]).resolve())
    helps = dict(walk(vezactl))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "here/directory").mkdir(parents=True)
        (folder / "here/file").touch()
        problems = list(check_pages(vezactl, helps, folder))
        for shell, ask in [("bash", ask_bash), ("zsh", ask_zsh), ("fish", ask_fish)]:
            if shutil.which(shell):
                problems += check_shell(shell, ask, vezactl, helps, folder)
    for problem in problems:
        print(f"check_manual.py: {problem}")
    absent = [program for program in ("man", "mandoc", "bash", "zsh", "fish") if not shutil.which(program)]
    print(f"manual: {len(helps)} commands" + (f"; not installed: {', '.join(absent)}" if absent else ""))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
