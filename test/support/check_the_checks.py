#!/usr/bin/env python3
"""Shows that the checks of this directory (check_*.py), and group_sources.py, find what they are for.

    check_the_checks.py

Each test plants one fault into a copy of the project, in a directory of its own, and wants it named.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SUPPORT = pathlib.Path(__file__).resolve().parent
TOP = SUPPORT.parent.parent
COPIED = ["src", "sql", "VERSION", "veza_backup.control", "CHANGELOG.md", "debian"]


class Planted(unittest.TestCase):
    """One copy for all tests of a class: each test takes its fault out again."""

    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.top = pathlib.Path(cls.place.name) / "tree"
        cls.top.mkdir()
        cls.fill()

    @classmethod
    def fill(cls):
        for path in (TOP / name for name in COPIED):
            if path.is_dir():
                shutil.copytree(path, cls.top / path.name, ignore=shutil.ignore_patterns("*.o", "*.d"))
            else:
                shutil.copy(path, cls.top)

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def plant(self, name, text, old=None):
        """Puts `text` into a file: at its end, or in the place of `old`. A new file if there is none."""
        path = self.top / name
        before = path.read_text() if path.exists() else None
        if old is not None:
            self.assertIn(old, before, f"{name} is not what this test expects")
        path.write_text(before.replace(old, text, 1) if old is not None else (before or "") + text)
        self.addCleanup(path.unlink if before is None else lambda: path.write_text(before))

    def run_check(self, name, *arguments):
        run = subprocess.run([sys.executable, SUPPORT / name, self.top, *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(run.stderr, "")
        return run.returncode, run.stdout

    def finds(self, check, problem, *arguments):
        status, output = self.run_check(check, *arguments)
        self.assertIn(problem, output)
        self.assertEqual(status, 1)
        self.assertEqual(len(output.splitlines()), 1, output)

    def passes(self, check, *arguments):
        status, output = self.run_check(check, *arguments)
        self.assertEqual(status, 0, output)


class Rooms(Planted):
    CHECK = "check_rooms.py"

    def test_passes_what_is_there(self):
        self.passes(self.CHECK)

    def test_an_arrow_that_does_not_stand_in_the_table(self):
        self.plant("src/core/wal/wal_scan.h", '\n#include "core/repository/names.h"\n')
        self.finds(self.CHECK, "src/core/wal/wal_scan.h: core/wal may not include core/repository/names.h")

    def test_the_core_including_the_server(self):
        self.plant("src/core/bytes.cpp", "#include <pg/postgres.h>\n")
        self.finds(self.CHECK, "src/core/bytes.cpp: core may not include pg/postgres.h")

    def test_an_include_past_the_table(self):
        self.plant("src/core/wal/wal_scan.h", '\n#include "../repository/names.h"\n')
        self.finds(self.CHECK, "src/core/wal/wal_scan.h: ../repository/names.h is not included by its path below src/")

    def test_an_include_of_a_neighbour(self):
        self.plant("src/core/wal/wal_scan.cpp", '\n#include "wal_scan.h"\n')
        self.finds(self.CHECK, "src/core/wal/wal_scan.cpp: wal_scan.h is not included by its path below src/")

    def test_vezactl_including_the_server(self):
        self.plant("src/cli/main.cpp", '#  include "pg/settings.h"\n')
        self.finds(self.CHECK, "src/cli/main.cpp: cli may not include pg/settings.h")

    def test_a_source_without_a_room(self):
        (self.top / "src/core/attic").mkdir()
        self.addCleanup((self.top / "src/core/attic").rmdir)
        self.plant("src/core/attic/old.h", "#pragma once\n")
        self.finds(self.CHECK, "src/core/attic/old.h: belongs to no room")

    def test_an_arrow_up_in_the_table(self):
        self.plant("src/ROOMS", "core/wal:         core core/codec core/postgres core/archive", "core/wal:         core core/codec core/postgres")
        self.finds(self.CHECK, "src/ROOMS: core/wal may include core/archive, which stands in no line above")

    def test_a_room_that_is_none(self):
        self.plant("src/ROOMS", "core/wal:         core core/codec core/postgres core/walls", "core/wal:         core core/codec core/postgres")
        self.finds(self.CHECK, "src/ROOMS: core/wal may include core/walls, which is no room")

    def test_a_room_without_files(self):
        self.plant("src/ROOMS", "core/empty: core\n")
        self.finds(self.CHECK, "src/ROOMS: there is no file in core/empty")

    def test_headers_that_include_each_other(self):
        self.plant("src/core/bytes.h", '#include "core/planted.h"\n')
        self.plant("src/core/planted.h", '#include "core/bytes.h"\n')
        self.finds(self.CHECK, "circle: core/bytes.h -> core/planted.h -> core/bytes.h")


class Version(Planted):
    CHECK = "check_version.py"

    def setUp(self):
        self.version = (self.top / "VERSION").read_text().strip()
        self.definition = self.version.rpartition(".")[0]

    def program(self, name, text):
        self.plant(name, text)
        path = self.top / name
        path.chmod(0o755)
        return path

    def built(self, library=None, vezactl=None):
        return (self.program("library.so", f"x\0veza_backup/{library or self.version}\0"),
                self.program("vezactl", f"#!/bin/sh\necho vezactl {vezactl or self.version}\n"))

    def test_passes_what_is_there(self):
        self.passes(self.CHECK)
        self.passes(self.CHECK, *self.built())

    def test_no_version(self):
        self.plant("VERSION", "-rc1\n", "\n")
        self.assertIn("is not MAJOR.MINOR.PATCH", self.run_check(self.CHECK)[1])

    def test_another_version_of_the_definition(self):
        self.plant("veza_backup.control", "'9.9'", f"'{self.definition}'")
        self.finds(self.CHECK, f"veza_backup.control: default_version is 9.9, and VERSION {self.version}")

    def test_no_script_that_leads_to_it(self):
        self.plant(f"sql/veza_backup--{self.definition}--9.9.sql", "\\echo UPDATE TO '9.9'\n")
        self.finds(self.CHECK, f"sql: the scripts lead to 9.9, and VERSION is {self.version}")

    def test_a_script_that_nothing_leads_to(self):
        self.plant("sql/veza_backup--7.7--8.8.sql", "\\echo UPDATE TO '8.8'\n")
        self.finds(self.CHECK, "sql: no upgrade leads to veza_backup--7.7--8.8.sql")

    def test_a_script_whose_head_names_another(self):
        script = next((self.top / "sql").glob(f"*--*--{self.definition}.sql"))
        self.plant(f"sql/{script.name}", "UPDATE TO '9.9'", f"UPDATE TO '{self.definition}'")
        self.finds(self.CHECK, f"sql/{script.name}: its head says UPDATE TO '9.9'")

    def test_another_version_of_the_changes(self):
        self.plant("CHANGELOG.md", "## 9.9\n\n## ", "## ")
        self.finds(self.CHECK, "CHANGELOG.md: the newest version is 9.9")

    def test_another_version_of_the_packages(self):
        self.plant("debian/changelog", "veza-backup (9.9.9-1) unstable; urgency=medium\n\n", "")
        self.finds(self.CHECK, f"debian/changelog: the newest version is 9.9.9, and VERSION {self.version}")

    def test_another_library(self):
        self.finds(self.CHECK, "library.so: has version 9.9.9", *self.built(library="9.9.9"))

    def test_another_vezactl(self):
        self.finds(self.CHECK, 'vezactl: --version prints "vezactl 9.9.9"', *self.built(vezactl="9.9.9"))


class References(Planted):
    """In a small tree: the whole one is read again for each fault."""

    CHECK = "check_references.py"
    SMALL = {
        "src/core/ship.h": "// See ship.cpp and docs/map.md, Sail() and Ship::anchor, kShips.\n"
                           "struct Ship { int anchor; };\nvoid Sail();\nconstexpr int kShips = 1;\n",
        "src/core/ship.cpp": "/* Of the LightShip. */ struct LightShip {};\n",
        "docs/map.md": "# The map\n\n`LightShip` in `core/ship.h`, [this](boat.md).\n",
        "sql/ship.sql": "-- veza_backup_sail()\nSELECT veza_backup_sail(); -- and veza_backup.anchor\n",
        "test/ship.py": '"""As in ship.sql."""\nSETTING = "anchor"\n# MakeShip() or LightShip\n\ndef MakeShip():\n    pass\n',
        "test/ship.sh": "# As ship.py does: echo ${file##*/}.\n",
    }

    @classmethod
    def fill(cls):
        for name, text in cls.SMALL.items():
            (cls.top / name).parent.mkdir(parents=True, exist_ok=True)
            (cls.top / name).write_text(text)

    def stale(self, name, text, stale):
        with self.subTest(text):
            self.plant(name, text)
            self.finds(self.CHECK, f"there is no {stale}")
            self.doCleanups()

    def test_passes_what_is_there(self):
        self.passes(self.CHECK)

    # The names below are in strings: so the check does not take them for names in comments of this file.
    def test_a_file(self):
        self.stale("src/core/ship.h", "// As in boat.h.\n", "boat.h")
        self.stale("src/core/ship.h", "// As in core/boat/ship.cpp.\n", "core/boat/ship.cpp")
        self.stale("test/ship.sh", "# As in test/boat.sh\n", "test/boat.sh")
        self.stale("sql/ship.sql", "-- As in boat.sql\n", "boat.sql")
        self.stale("docs/map.md", "See boat.md.\n", "boat.md")
        self.stale("docs/map.md", "See `core/boat/`.\n", "core/boat/")

    def test_a_symbol(self):
        self.stale("src/core/ship.cpp", "// As Row() does.\n", "Row")
        self.stale("src/core/ship.cpp", "/* See Ship::oar. */\n", "Ship::oar")
        self.stale("src/core/ship.cpp", "int x;  // at most kBoats\n", "kBoats")
        self.stale("src/core/ship.cpp", "// The RowBoat is this.\n", "RowBoat")
        self.stale("test/ship.py", 'def row():\n    """A RowBoat."""\n', "RowBoat")
        self.stale("docs/map.md", "`RowBoat`\n", "RowBoat")
        self.stale("docs/map.md", "`kBoats`\n", "kBoats")

    def test_what_users_see(self):
        self.stale("docs/map.md", "CALL veza_backup_row();\n", "veza_backup_row")
        self.stale("docs/map.md", "Set `veza_backup.oar`.\n", "veza_backup.oar")

    def test_what_only_comments_name_is_not_there(self):
        self.plant("src/core/ship.h", "// Row()\n")
        self.plant("src/core/ship.cpp", "// Row()\n")
        self.assertEqual(len(self.run_check(self.CHECK)[1].splitlines()), 2)

    def test_what_a_string_holds_is_no_comment(self):
        self.plant("src/core/ship.cpp", 'const char* const kUrl = "http://boat.h";  // LightShip\n')
        self.passes(self.CHECK)


class Documents(Planted):
    CHECK = "check_docs.py"

    @classmethod
    def fill(cls):
        super().fill()
        (cls.top / "test/support").mkdir(parents=True)
        for name in ("docs", "ops", "bench"):
            shutil.copytree(TOP / name, cls.top / name)
        for path in TOP.glob("*"):
            if path.is_file() and path.suffix in (".md", ""):
                shutil.copy(path, cls.top)

    def test_passes_what_is_there(self):
        self.passes(self.CHECK)

    def test_a_link_to_nothing(self):
        self.plant("docs/verify.md", "\nSee [this](there-is-none.md).\n")
        self.finds(self.CHECK, "docs/verify.md: link there-is-none.md: there is no such file")

    def test_a_link_to_no_heading(self):
        self.plant("docs/verify.md", "\nSee [this](restore.md#no-such-chapter).\n")
        self.finds(self.CHECK, "docs/verify.md: link restore.md#no-such-chapter: no such heading")

    def test_a_long_readme(self):
        self.plant("README.md", "\n" * 151)
        self.finds(self.CHECK, "what is above 150 goes to docs/")

    def test_a_wide_table(self):
        self.plant("docs/verify.md", f"\n| {'wide ' * 40} | x |\n")
        self.finds(self.CHECK, "the row of a table has")

    def test_sql_of_which_the_document_knows_nothing(self):
        self.plant("sql/veza_backup--0.1.sql", "\nCREATE FUNCTION veza_backup_new() RETURNS text\nAS 'x';\n")
        status, output = self.run_check(self.CHECK)
        self.assertIn("headings: only there: [], missing: ['veza_backup_new']", output)
        self.assertEqual(status, 1)

    def test_another_argument_column_or_role(self):
        first, update = "sql/veza_backup--0.1.sql", "sql/veza_backup--0.1--0.2.sql"
        for script, text, old, problem in (
                (first, "label text, pin boolean", "label text, keep boolean", "veza_backup_keep: the signature is"),
                (first, "OUT why text,\n    OUT bytes", "OUT reason text,\n    OUT bytes", "has the column why"),
                (update, "SELECT seconds AS x, pid", "SELECT pid", "veza_backup_progress has the column x"),
                (first, "veza_backup_info() TO nobody", "veza_backup_info() TO pg_monitor", "is for: Superuser")):
            with self.subTest(text):
                self.plant(script, text, old)
                status, output = self.run_check(self.CHECK)
                self.assertIn(problem, output)
                self.assertEqual(status, 1)
                self.doCleanups()

    def test_a_new_command_and_option(self):
        self.plant("src/cli/check.cpp", '"inspect", "Test', '"check", "Test')
        status, output = self.run_check(self.CHECK)
        self.assertIn("commands of vezactl: only there: ['check'], missing: ['inspect']", output)
        self.assertEqual(status, 1)
        self.doCleanups()
        self.plant("src/cli/verify.cpp", 'AddFlag("--deep"', 'AddFlag("--full"')
        self.assertIn("options of verify: missing: ['--deep']", self.run_check(self.CHECK)[1])
        self.doCleanups()
        self.plant("src/cli/restore_options.cpp", '"--target-scn"', '"--target-lsn"')
        self.assertIn("options of drill: missing: ['--target-scn']", self.run_check(self.CHECK)[1])
        self.doCleanups()
        self.plant("docs/verify.md", "- `--deep`:", "- `--full`:")
        self.assertIn("options of verify: there are no ['--deep']", self.run_check(self.CHECK)[1])

    def test_an_example_with_an_option_that_does_not_exist(self):
        self.plant("README.md", "vezactl restore --goal-dir", "vezactl restore --target-dir")
        self.finds(self.CHECK, "README.md: vezactl has no option ['--goal-dir']")

    def test_another_exit_code(self):
        self.plant("docs/drill.md", "| 3 | could not take place |", "| 2 | could not take place |")
        self.finds(self.CHECK, "docs/drill.md: exit codes: only there: ['3'], missing: ['2']")

    def test_a_metric(self):
        self.plant("ops/metrics.txt", '\nveza_backup_new_total{cluster="main"} 1\n')
        self.finds(self.CHECK, "metrics: only there: [], missing: ['veza_backup_new_total']")

    def test_a_message_that_nobody_writes(self):
        self.plant("docs/errors.md", "\n**`the moon stands before \"…\"`**\\\nWait.\n")
        self.finds(self.CHECK, "docs/errors.md: no message has 'the moon stands before'")


class Groups(unittest.TestCase):
    """Which sources group_sources.py leaves apart."""

    def groups(self, *texts):
        with tempfile.TemporaryDirectory() as top:
            names = [f"{number}.cpp" for number in range(len(texts))]
            for name, text in zip(names, texts):
                (pathlib.Path(top) / name).write_text(text)
            run = subprocess.run([sys.executable, SUPPORT / "group_sources.py", top, f"{top}/out", "group", "8", *names],
                                 capture_output=True, text=True, check=True)
            return len(run.stdout.splitlines())

    def test_sources_without_a_common_name_go_together(self):
        self.assertEqual(self.groups("namespace veza { namespace { int F() { return 1; } } }\n",
                                     "namespace veza { namespace { int G() { return 1; } } }\n"), 1)

    def test_two_functions_of_one_name(self):
        self.assertEqual(self.groups("namespace veza { namespace { int F(int x) { return x; } } }\n",
                                     "namespace veza { namespace { int F(char x) { return x; } } }\n"), 2)

    def test_a_call_that_could_find_the_other_ones_function(self):
        self.assertEqual(self.groups("namespace veza { namespace { int F(int x) { return x; } } }\n",
                                     "namespace veza { int G() { return F('x'); } }\n"), 2)

    def test_a_static_function_and_a_constant(self):
        self.assertEqual(self.groups("static int F() { return 1; }\n", "int G() { return F(); }\n"), 2)
        self.assertEqual(self.groups("constexpr int kF = 1;\n", "int G() { return kF; }\n"), 2)

    def test_the_same_test_twice(self):
        self.assertEqual(self.groups("TEST(A, B) {}\n", "TEST(A, B) {}\n"), 2)
        self.assertEqual(self.groups("TEST(A, B) {}\n", "TEST(A, C) {}\n"), 1)

    def test_one_alias_for_two_types(self):
        self.assertEqual(self.groups("using A = int;\n", "using A = char;\n"), 2)
        self.assertEqual(self.groups("using std::string;\n", "using std::string;\n"), 1)

    def test_a_name_that_a_header_of_the_other_one_uses(self):
        self.assertEqual(self.groups("namespace { int F() { return 1; } }\n", '#include "2.cpp"\n', "int G(int F);\n"), 2)

    def test_a_member_is_looked_at_before(self):
        own = "namespace veza { namespace { int Read(int x) { return x; } } }\n"
        reader = "namespace veza { class Reader { int Read(char x) { return x; } int Twice() { return Read('x'); } }; }\n"
        self.assertEqual(self.groups(own, reader), 1)
        self.assertEqual(self.groups(own, "namespace veza { class Reader { friend int Read(char x); }; }\n"
                                          "namespace veza { int G() { return Read('x'); } }\n"), 2)
        self.assertEqual(self.groups(own, reader + "namespace veza { int Read(char x); }\n"), 2)

    def test_a_member_that_could_be_a_function_of_c(self):
        self.assertEqual(self.groups("namespace veza { namespace { int time = 1; } }\n",
                                     "namespace veza { struct Clock { int time; }; long G() { return time(nullptr); } }\n"), 2)

    def test_what_is_qualified_or_an_argument_is_not_declared(self):
        self.assertEqual(self.groups("namespace veza { struct Reader::State { int x; }; }\n",
                                     "namespace veza { int G(Reader& reader); }\n"), 1)
        self.assertEqual(self.groups("namespace veza { namespace { std::map<Id, int> Ids() { return {}; } } }\n",
                                     "namespace veza { int G(Id id); }\n"), 1)
        self.assertEqual(self.groups("namespace veza { namespace { [[gnu::target(\"avx2\")]] int F() { return 1; } } }\n",
                                     "namespace veza { int G(int target); }\n"), 1)

    def test_a_macro(self):
        self.assertEqual(self.groups("#define A 1\n", "int G();\n"), 2)


class Tidy(Planted):
    """clang-tidy on a group finds what it finds on each source, with its place."""

    SOURCES = ["src/core/error.cpp", "src/core/rate_limiter.cpp"]

    @classmethod
    def fill(cls):
        super().fill()
        shutil.copy(TOP / ".clang-tidy", cls.top)
        cls.build = cls.top / "build"
        cls.build.mkdir()
        (cls.build / "compile_commands.json").write_text(json.dumps([
            {"directory": str(cls.build), "file": f"../{source}",
             "command": f"c++ -std=c++20 -I../src -MD -MQ x.o -MF x.d -o x.o -c ../{source}"} for source in cls.SOURCES]))

    def findings(self):
        status, output = self.run_check("check_tidy.py", self.build, "1", *self.SOURCES)
        *findings, last = output.splitlines()
        self.assertEqual(last, "2 sources, in 1 groups")
        self.assertEqual(status, 1 if findings else 0)
        return findings

    def line_behind(self, name):
        return len((self.top / name).read_text().splitlines()) + 1

    def test_both_sources_and_a_header(self):
        wanted = []
        for name in [*self.SOURCES, "src/core/error.h"]:
            word = name.replace("/", "_").replace(".", "_")
            wanted.append(f"{name}:{self.line_behind(name)}:15: error: invalid case style for function '{word}'")
            self.plant(name, f"inline double {word}() {{ return 1.5; }}\n")
        found = self.findings()
        self.assertEqual(len(found), 3, found)
        for finding in wanted:
            self.assertTrue(any(line.startswith(finding) for line in found), found)

    def test_a_using_that_only_the_other_source_uses(self):
        line = self.line_behind(self.SOURCES[0])
        self.plant(self.SOURCES[0], "using std::chrono::hours;\n")
        self.plant(self.SOURCES[1], "inline std::chrono::hours Planted() { return std::chrono::hours(1); }\n")
        found = self.findings()
        self.assertEqual([finding.split(":")[:2] for finding in found], [[self.SOURCES[0], str(line)]])

    def test_what_does_not_compile(self):
        self.plant(self.SOURCES[1], "int Planted() { return no_such_name; }\n")
        self.assertEqual(len(self.findings()), 1)


if __name__ == "__main__":
    unittest.main()
