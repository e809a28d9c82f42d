#!/usr/bin/env python3
"""Puts sources together that the compiler may read as one, so that it reads the headers once for all.

    group_sources.py TOP OUT PREFIX MAXIMUM SOURCE...

Writes files to OUT whose names begin with PREFIX. Each includes about MAXIMUM sources. Prints their
names, one a line. A source that goes with no other one is printed as it is. SOURCE and what is printed
are relative to TOP.

Sources of a group see each other's names. So that this changes nothing, a name that one of them has
for itself (in an anonymous namespace, static, a test, an alias) is no word of another one: then neither
is defined twice, and no call can find another function than before. Two things are allowed: the same
`using` in both, and a word that is only a member of classes there, which are looked at first. (Not if it is
written as C's names are: then it may also be a function of the system.) A source with a macro of its own
stays alone. If this overlooks a name that is defined twice, the compiler refuses it.

The same sources give the same groups.
"""

import os
import re
import sys

# Comments, literals and preprocessor lines go, and the rest is cut into words and signs.
_PIECES = re.compile(
    r'//[^\n]*|/\*.*?\*/'
    r'|R"(?P<mark>[^()\\\s]*)\(.*?\)(?P=mark)"'
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|(?<![0-9A-Za-z_])'(?:[^'\\\n]|\\.)+'"
    r'|^[ \t]*\#(?:[^\n\\]|\\.|\\\n)*'
    r"|(?P<number>\.?[0-9](?:[0-9A-Za-z_.]|'[0-9A-Za-z])*)"
    r'|(?P<word>[A-Za-z_][A-Za-z0-9_]*)'
    r'|(?P<sign>::|->|[^\s])',
    re.S | re.M)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.M)
_OWN_MACRO = re.compile(r'^[ \t]*#[ \t]*(?:define|undef|pragma)\b', re.M)
_TEST_MACROS = {'TEST', 'TEST_F', 'TEST_P', 'TYPED_TEST', 'TYPED_TEST_SUITE', 'MATCHER', 'MATCHER_P',
                'MATCHER_P2', 'INSTANTIATE_TEST_SUITE_P'}
_NO_NAMES = {'const', 'constexpr', 'static', 'inline', 'operator', 'override', 'noexcept', 'default', 'final'}
_TYPES = {'struct', 'class', 'enum', 'union'}
_FOR_ITSELF = _TYPES | {'static', 'constexpr', 'template'}  # at the beginning of a declaration
_OURS = re.compile(r'k?[A-Z]')  # how functions, types and constants are named here, and nothing of C
_BLOCK, _CLASS, _NAMED, _ANONYMOUS = range(4)


def tokens_of(text):
    return [m.group('word') or m.group('sign') for m in _PIECES.finditer(text)
            if m.group('word') or m.group('sign')]


def words_of(tokens):
    """The words that lookup could take for a name of the surrounding namespace: not members, and of the
    qualified ones only those of our own namespace."""
    words = set()
    for i, token in enumerate(tokens):
        if not (token[0].isalpha() or token[0] == '_'):
            continue
        before = tokens[i - 1] if i > 0 else ''
        if before in ('.', '->'):
            continue
        if before == '::' and i > 1 and re.match(r'\w|>', tokens[i - 2]) and tokens[i - 2] != 'veza':
            continue
        words.add(token)
    return words


def without_attributes(head):
    kept, depth = [], 0
    for i, token in enumerate(head):
        if token == '[' and (depth > 0 or head[i + 1:i + 2] == ['[']):
            depth += 1
        elif token == ']' and depth > 0:
            depth -= 1
        elif depth == 0:
            kept.append(token)
    return kept


def without_arguments_of_types(head):
    """What is between < and >, in front of the name that is declared."""
    kept, depth = [], 0
    for i, token in enumerate(head):
        if token in ('(', '=', 'operator') and depth == 0:
            return kept + head[i:]
        if token == '<':
            depth += 1
        elif token == '>':
            depth -= 1
        elif depth == 0:
            kept.append(token)
    return kept


def behind_template(head):
    """A declaration without the parameters of the template that it is; they are not declared outside."""
    depth = 0
    for i, token in enumerate(head[1:] if head[:1] == ['template'] else [], 1):
        depth += {'<': 1, '>': -1}.get(token, 0)
        if depth == 0:
            return behind_template(head[i + 1:])
    return head


def head_names(head):
    """The names that the beginning of a declaration, up to its { or ;, may declare in the scope that it is in."""
    head = without_arguments_of_types(without_attributes(behind_template(head)))
    if not head or head[0] == 'static_assert':
        return set()
    if head[0] in _TEST_MACROS and head[1:2] == ['(']:
        arguments = [t for t in head[2:] if re.match(r'\w', t)][:2]
        return {'_'.join(arguments) + '_Test'} if head[0].startswith('TEST') else set(arguments)
    if is_type(head):
        names = [t for t in head[1:3] if re.match(r'\w', t) and t not in ('struct', 'class')]
        return set(names[:1]) if head[2:3] != ['::'] else set()
    names = set()
    for before, token, behind in zip(['', *head], head, [*head[1:], ';']):
        # A function, a variable with or without a value, an array. What is qualified was declared before.
        if re.match(r'[A-Za-z_]', token) and behind in ('(', '=', '[', ',', ';') and token not in _NO_NAMES:
            if before not in ('::', '~'):
                names.add(token)
            if behind in ('(', '='):
                break
    return names


def is_type(head):
    return head[:1] != [] and head[0] in _TYPES and not any(t in ('(', '=') for t in head)


def is_constant(head):
    return head[0] == 'const' and '(' not in head[:head.index('=') if '=' in head else len(head)]


def scope_of(head):
    """What the brace opens that follows these tokens."""
    if head[-1:] == ['namespace']:
        return _ANONYMOUS
    if head[:1] == ['namespace'] or head == ['extern']:
        return _NAMED
    head = without_attributes(behind_template(head))
    return _CLASS if is_type(head) and head[0] != 'enum' else _BLOCK


class File:
    def __init__(self, path):
        with open(path, encoding='utf-8') as file:
            text = file.read()
        self.lines = text.count('\n')
        self.includes = _INCLUDE.findall(text)
        self.own_macro = bool(_OWN_MACRO.search(text))
        tokens = tokens_of(text)
        self.words = words_of(tokens)
        self.aliases = {}  # name: the using that makes it
        self.directives = set()
        self.names = set()
        self.types = set()  # of the names, those with a body of its own
        self.declared = set()  # in a namespace, by whatever means
        self.members = set()  # of classes
        self._collect(tokens)

    def _collect(self, tokens):
        scopes = []  # the kinds of the open braces
        head = []
        parentheses = 0
        for token in tokens:
            if _BLOCK in scopes:
                if token == '{':
                    scopes.append(_BLOCK)
                elif token == '}':
                    scopes.pop()
                continue
            parentheses += {'(': 1, '[': 1, ')': -1, ']': -1}.get(token, 0)
            if token == '{':
                scope = _BLOCK if parentheses else scope_of(head)
                if parentheses == 0:
                    self._declare(head, scopes, scope)
                    head = []
                scopes.append(scope)
            elif token == '}':
                if scopes:
                    scopes.pop()
                head = []
            elif token == ';' and parentheses == 0:
                self._declare(head, scopes, None)
                head = []
            elif token == ':' and head in (['public'], ['protected'], ['private']):
                head = []
            else:
                head.append(token)

    def _declare(self, head, scopes, opened):
        """Takes the beginning of a declaration up to its ; or to the brace that opens a scope."""
        if opened in (_NAMED, _ANONYMOUS):
            return
        if _CLASS in scopes:
            self.members |= head_names(head) if head[:1] != ['friend'] else set()
        elif head[:2] == ['using', 'namespace']:
            self.directives.add(' '.join(head))
        elif head[:1] in (['using'], ['namespace']):
            name = head[1] if '=' in head else head[-1]
            self.aliases[name] = ' '.join(head)
            self.declared.add(name)
        else:
            names = head_names(head)
            self.declared |= names
            if opened == _CLASS:
                self.types |= names
            if (_ANONYMOUS in scopes or
                    head and (head[0] in _FOR_ITSELF or head[0] in _TEST_MACROS or is_constant(head))):
                self.names |= names


class Source(File):
    """A source with the headers of ours that it includes, however deep."""

    def __init__(self, path, top, headers):
        super().__init__(os.path.join(top, path))
        self.path = path
        self.types_of_headers = {}
        files = [self]
        for header in self._headers(path, top, headers):
            files.append(headers[header])
            self.types_of_headers.update((name, header) for name in headers[header].types)
        declared, members, words = (set().union(*(getattr(file, of) for file in files))
                                    for of in ('declared', 'members', 'words'))
        # What a name of another source could be found for.
        self.open_words = {word for word in words
                           if word in declared or word not in members or not _OURS.match(word)}

    def _headers(self, path, top, headers):
        found, open_files = set(), [(path, self)]
        while open_files:
            path, file = open_files.pop()
            for name in file.includes:
                for folder in (os.path.dirname(path), 'src', 'test', 'test/core'):
                    header = os.path.normpath(os.path.join(folder, name))
                    if header in headers or os.path.exists(os.path.join(top, header)):
                        break
                else:
                    continue  # a library's, or a generated one
                if header not in found:
                    found.add(header)
                    if header not in headers:
                        headers[header] = File(os.path.join(top, header))
                    open_files.append((header, headers[header]))
        return sorted(found)

    def goes_with(self, other):
        if self.own_macro or other.own_macro or self.directives != other.directives:
            return False
        if self.names & (other.open_words | other.names) or other.names & self.open_words:
            return False
        for mine, theirs in ((self, other), (other, self)):
            if any(mine.aliases[name] != theirs.aliases.get(name)
                   for name in mine.aliases.keys() & theirs.open_words):
                return False
        return all(header == other.types_of_headers.get(name, header)
                   for name, header in self.types_of_headers.items())


def group(sources, maximum):
    """Each source goes into the first group that it fits, those that go with the fewest first: they make the
    groups, and the others fill them. No group has many more lines than others."""
    most_lines = maximum * sum(source.lines for source in sources) / max(1, len(sources))
    # Another line in one source is seldom to change the groups of the others.
    most_lines = max(500, round(most_lines / 500) * 500)
    foes = {id(source): {id(other) for other in sources if not source.goes_with(other)} for source in sources}
    groups = []
    for source in sorted(sources, key=lambda source: -len(foes[id(source)])):
        for members in groups:
            if (len(members) < maximum * 2 and
                    sum(member.lines for member in members) + source.lines <= most_lines and
                    not any(id(member) in foes[id(source)] for member in members)):
                members.append(source)
                break
        else:
            groups.append([source])
    return groups


def write_if_changed(path, text):
    try:
        with open(path, encoding='utf-8') as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)


def main():
    top, out, prefix, maximum = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    os.makedirs(out, exist_ok=True)
    headers = {}
    groups = group([Source(path, top, headers) for path in sys.argv[5:]], maximum)
    for number, members in enumerate(groups):
        if len(members) == 1:
            print(members[0].path)
            continue
        path = os.path.join(out, f'{prefix}_{number:02}.cpp')
        # Relative: no path of this machine is to be in what is compiled from it.
        here = os.path.relpath(os.path.realpath(top), os.path.realpath(out))
        write_if_changed(path, ''.join(f'#include "{os.path.join(here, member.path)}"\n' for member in members))
        print(os.path.relpath(path, top))


if __name__ == '__main__':
    main()
