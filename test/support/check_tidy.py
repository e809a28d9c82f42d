#!/usr/bin/env python3
"""Runs clang-tidy over src, several sources at a time, so that it reads the headers once for all of them.

    check_tidy.py TOP BUILD JOBS [SOURCE...]

BUILD is a build directory of meson's without a precompiled header; only its compile database is used.
Without SOURCE (relative to TOP), all sources of src are looked at. Prints each finding once, with the
place in the source, and ends with 1 if there is any. Says how many sources there were.

A group (see group_sources.py) is one file here, in which the sources follow each other: some checks
look only at the file that is compiled, and not at what it includes.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import group_sources

_GROUP_SIZE = 24  # two thirds of the time of 8
_PLACE = re.compile(r'^(?P<path>[^\s:]+):(?P<line>\d+):(?P<column>\d+): ')
_COLOUR = re.compile(r'\x1b\[[0-9;]*m')


class Group:
    """Sources in one file, and where the lines of that file come from."""

    def __init__(self, top, path, members):
        self.path = path
        self.starts = []  # (first line, source)
        text = ''
        for member in members:
            self.starts.append((text.count('\n') + 1, member))
            with open(os.path.join(top, member), encoding='utf-8') as file:
                text += file.read()
            if not text.endswith('\n'):
                text += '\n'
        group_sources.write_if_changed(path, text)

    def place(self, line):
        first, source = [start for start in self.starts if start[0] <= line][-1]
        return source, line - first + 1


def commands_of(top, build):
    """Of each source of src: the arguments of its compiler, without those that name files."""
    with open(os.path.join(build, 'compile_commands.json'), encoding='utf-8') as file:
        entries = json.load(file)
    commands = {}
    for entry in entries:
        source = os.path.relpath(os.path.join(entry['directory'], entry['file']), top)
        if not source.startswith('src/'):
            continue
        arguments, given = [], iter(shlex.split(entry['command']))
        for argument in given:
            if argument in ('-MQ', '-MF', '-o', '-c'):
                next(given)
            elif argument != '-MD' and not re.fullmatch(r'-I[^/]*\.p', argument):
                arguments.append(argument)
        commands.setdefault(source, arguments)
    return commands


def make_groups(top, build, wanted):
    """Groups of sources that are compiled in the same way, with their compile database beside them."""
    commands = commands_of(top, build)
    missing = [source for source in wanted if source not in commands]
    if missing:
        sys.exit(f'check_tidy.py: not in the compile database: {" ".join(missing)}')
    out = os.path.join(build, 'groups')
    os.makedirs(out, exist_ok=True)
    by_command = {}
    for source in wanted or sorted(commands):
        by_command.setdefault(tuple(commands[source]), []).append(source)
    groups, database, headers = [], [], {}
    for arguments, sources in sorted(by_command.items()):
        for members in group_sources.group([group_sources.Source(source, top, headers) for source in sources],
                                           _GROUP_SIZE):
            path = os.path.join(out, f'tidy_{len(groups):03}.cpp')
            groups.append(Group(top, path, [member.path for member in members]))
            database.append({'directory': build, 'file': path, 'arguments': [*arguments, '-c', path]})
    with open(os.path.join(out, 'compile_commands.json'), 'w', encoding='utf-8') as file:
        json.dump(database, file, indent=1)
    return groups


def unused_using(top, source):
    """What misc-unused-using-decls cannot see in a group: there the use in another source counts."""
    with open(os.path.join(top, source), encoding='utf-8') as file:
        text = file.read()
    tokens = group_sources.tokens_of(text)
    for match in re.finditer(r'^\s*using (?:\w+::)+(\w+);', text, re.M):
        name = match.group(1)
        # Its own mention is a qualified one.
        if not any(token == name and before != '::' for before, token in zip(tokens, tokens[1:])):
            line = text.count('\n', 0, match.start(1)) + 1
            yield f"{source}:{line}:1: error: using decl '{name}' is unused [misc-unused-using-decls]"


def tidy(top, group):
    """The findings, with their places in the sources."""
    run = subprocess.run(['clang-tidy', '-quiet', '-p', os.path.dirname(group.path), group.path],
                         cwd=top, capture_output=True, text=True, check=False)
    lines = []
    for line in _COLOUR.sub('', run.stdout).splitlines():
        place = _PLACE.match(line)
        if place and os.path.abspath(place['path']) == group.path:
            source, number = group.place(int(place['line']))
            line = f'{source}:{number}:{place["column"]}: {line[place.end():]}'
        elif place:
            line = os.path.relpath(os.path.join(top, place['path']), top) + line[place.end('path'):]
        lines.append(line)
    findings = [line for line in lines if re.match(r'\S+:\d+:\d+: (error|warning): ', line)]
    if run.returncode != 0 and not findings:
        findings = [f'{group.path}: clang-tidy ended with {run.returncode}', *lines[-20:],
                    *run.stderr.splitlines()[-20:]]
    findings += [finding for _, source in group.starts for finding in unused_using(top, source)]
    return findings


def main():
    top, build, jobs = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), int(sys.argv[3])
    groups = make_groups(top, build, sys.argv[4:])
    # The largest first, so that no processor is left alone with one at the end.
    groups.sort(key=lambda group: -os.path.getsize(group.path))
    with ThreadPoolExecutor(jobs) as pool:
        findings = {finding for found in pool.map(lambda group: tidy(top, group), groups) for finding in found}
    for finding in sorted(findings):
        print(finding)
    print(f'{sum(len(group.starts) for group in groups)} sources, in {len(groups)} groups')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
