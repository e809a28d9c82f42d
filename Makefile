# veza_backup: PGXS build of the extension, and of vezactl beside it.
#
#   make, make install, make uninstall, make installcheck   as for any extension
#   make demo, make test, make bench                        test/demo.sh, test/run.sh, bench/*.sh
#   make test-programs                                      what the server tests run beside the server
#   make bench-programs                                     what makes repositories to measure
#   make man                                                manual pages and completion, which vezactl itself prints
#   make deb                                                Debian packages
#   make core                                               a library of the core's objects, for the core tests
#
# The sources are listed once, in src/SOURCES, for this file and meson.build.

MODULE_big = veza_backup
EXTENSION = veza_backup
DATA = $(sort $(wildcard sql/veza_backup--*.sql))
PGFILEDESC = "veza_backup - backup of the whole cluster to S3, from inside the server"

REGRESS = $(patsubst sql/%.sql,%,$(filter-out sql/veza_backup--%,$(wildcard sql/*.sql)))
EXTRA_CLEAN = vezactl $(VEZACTL_OBJS) $(TEST_PROGRAMS) $(BENCH_PROGRAMS) $(TEST_OBJS) $(TEST_LIBRARIES) $(DEPFILES) src/precompiled.h.gch src/precompiled.new.gch src/precompiled.d $(wildcard build-core/* build-man/*)

VEZA_TOP := $(dir $(lastword $(MAKEFILE_LIST)))
SOURCES := $(shell cat $(VEZA_TOP)src/SOURCES)
CORE_SOURCES := $(filter src/core/%,$(SOURCES))
PG_SOURCES := $(filter src/pg/%,$(SOURCES))
VEZACTL_SOURCES := $(filter src/cli/%,$(SOURCES))

# A precompiled header (see below) is GCC's. ccache needs VEZA_PCH=no.
VEZA_PCH ?= $(if $(findstring clang,$(CXX)),no,yes)

# About so many sources are compiled as one, in a third of the time: each would read the same headers and instantiate
# the same templates. 1 compiles each by itself. That is what ccache wants, and what is done without python3.
VEZA_GROUP_SIZE ?= $(if $(and $(filter yes,$(VEZA_PCH)),$(filter ./,$(VEZA_TOP)),$(shell command -v python3)),8,1)
ifneq ($(VEZA_GROUP_SIZE),1)
grouped = $(or $(shell python3 test/support/group_sources.py . build-core $(1) $(VEZA_GROUP_SIZE) $(2)),\
	$(error test/support/group_sources.py failed; VEZA_GROUP_SIZE=1 does without it))
CORE_SOURCES := $(call grouped,core,$(CORE_SOURCES))
PG_SOURCES := $(call grouped,pg,$(PG_SOURCES))
VEZACTL_SOURCES := $(call grouped,cli,$(VEZACTL_SOURCES))
# A header must not have a type of an anonymous namespace in it. GCC takes included sources for headers.
VEZA_GROUP_FLAGS := -Wno-subobject-linkage
endif
CORE_OBJS := $(patsubst %.cpp,%.o,$(CORE_SOURCES))
PG_OBJS := $(patsubst %.cpp,%.o,$(PG_SOURCES))
VEZACTL_OBJS := $(patsubst %.cpp,%.o,$(VEZACTL_SOURCES))
TEST_PROGRAMS := test/programs/wal_records
BENCH_PROGRAMS := bench/made_up_repository
TEST_LIBRARIES := test/programs/scrypt_memo.so test/programs/moved_clock.so
TEST_OBJS := $(TEST_PROGRAMS:=.o) $(BENCH_PROGRAMS:=.o)
OBJS = $(CORE_OBJS) $(PG_OBJS)

# Of library and program; test/support/check_version.py has the rule.
VEZA_VERSION := $(shell cat $(dir $(lastword $(MAKEFILE_LIST)))VERSION)
# One vezactl serves every major version of PostgreSQL, so it does not go into a server's bindir.
VEZACTL_BINDIR ?= /usr/local/bin
# Its manual pages, and the completion of shells.
VEZACTL_SHAREDIR ?= /usr/local/share
VEZA_PACKAGES := libcurl libcrypto libzstd fmt pugixml
# Of vezactl alone.
VEZACTL_PACKAGES := libseccomp
VEZA_LIBS := $(shell pkg-config --libs $(VEZA_PACKAGES)) -ldate-tz -lstdc++ -lm -lpthread

SHLIB_LINK = $(VEZA_LIBS) -Wl,--version-script=$(srcdir)/src/pg/exports.map -Wl,--as-needed $(LDFLAGS_EXTRA)

# PGXS would make LLVM bitcode with a clang and flags that do not know C++20.
override with_llvm := no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# What the server was compiled with is for C; of it, only the flags that change the meaning of its
# headers matter, and those are none.
#
# -g1 has what a stack trace needs: functions and lines. For a debugger that shows variables, use
# CXXFLAGS_EXTRA=-g: the compiler takes half as long again, and objects are five times as large.
#
# GCC would look for garbage in its memory from 128 MiB on, which is a fourteenth of its time. This is in KiB.
VEZA_GCC_MEMORY := $(if $(findstring clang,$(CXX)),,--param=ggc-min-heapsize=1000000)
VEZA_CXXFLAGS = $(VEZA_GCC_MEMORY) -std=c++20 -O2 -g1 -Wall -Wextra -Werror=unused-result -fPIC \
	-fstack-protector-strong -fno-omit-frame-pointer -D_FORTIFY_SOURCE=2 \
	-DVEZA_VERSION='"$(VEZA_VERSION)"' -I$(srcdir)/src -MMD -MP $(CXXFLAGS_EXTRA)

# What the library exports is said by src/pg/exports.map alone: with -fvisibility=hidden even the magic
# block would vanish on 15, whose PGDLLEXPORT is empty.

# The core does not get the server's include path, and a server header in it is an error.
$(CORE_OBJS) $(VEZACTL_OBJS) $(TEST_OBJS): override CXXFLAGS = $(VEZA_CXXFLAGS) -DVEZA_CORE \
	$(shell pkg-config --cflags $(VEZA_PACKAGES))
$(CORE_OBJS) $(VEZACTL_OBJS) $(TEST_OBJS): override CPPFLAGS =
$(CORE_OBJS) $(VEZACTL_OBJS): override CXXFLAGS += $(VEZA_GROUP_FLAGS)
$(VEZACTL_OBJS): override CXXFLAGS += $(shell pkg-config --cflags $(VEZACTL_PACKAGES))
$(PG_OBJS): override CXXFLAGS = $(VEZA_CXXFLAGS) $(VEZA_GROUP_FLAGS)
$(PG_OBJS): override CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -D_GNU_SOURCE

# The libraries' headers are compiled once instead of once for each source. src/precompiled.h has nothing of
# ours and nothing of the server, so one serves all sources, and no change of ours compiles it again. Each
# source still includes what it uses: the developer's build does without. GCC ignores a
# precompiled header that does not fit the flags; clang would refuse it.
ifeq ($(VEZA_PCH),yes)
PRECOMPILED := src/precompiled.h.gch
WITH_PRECOMPILED := -include $(PRECOMPILED:.gch=)
# -MD, not -MMD: a new version of a library compiles it again, and with it all sources. It gets its name
# when it is whole: make would take the half that a killed compiler has left for up to date, and GCC would
# ignore it in every later build.
$(PRECOMPILED): %.gch: % $(srcdir)/VERSION
	$(CXX) $(subst -MMD,-MD,$(VEZA_CXXFLAGS)) -MF $(<:.h=.d) -MT $@ -x c++-header -o $(<:.h=.new.gch) $<
	mv -f $(<:.h=.new.gch) $@
endif

$(OBJS) $(VEZACTL_OBJS) $(TEST_OBJS): $(srcdir)/VERSION $(PRECOMPILED)
$(OBJS) $(VEZACTL_OBJS) $(TEST_OBJS): %.o: %.cpp
	$(CXX) $(CXXFLAGS) $(CPPFLAGS) $(WITH_PRECOMPILED) -c -o $@ $<

DEPFILES := $(patsubst %.o,%.d,$(OBJS) $(VEZACTL_OBJS) $(TEST_OBJS))
-include $(DEPFILES) $(PRECOMPILED:.h.gch=.d)

ifneq ($(VEZACTL_OBJS),)
all: vezactl man
install: install-vezactl
uninstall: uninstall-vezactl
endif

vezactl: $(CORE_OBJS) $(VEZACTL_OBJS)
	$(CXX) -o $@ $^ $(VEZA_LIBS) $(shell pkg-config --libs $(VEZACTL_PACKAGES)) -Wl,--as-needed $(LDFLAGS_EXTRA)

core: build-core/libveza_core.a
build-core/libveza_core.a: $(CORE_OBJS)
	$(MKDIR_P) $(@D)
	rm -f $@
	$(AR) rcs $@ $^

test-programs: $(TEST_PROGRAMS) $(TEST_LIBRARIES)
bench-programs: $(BENCH_PROGRAMS)
$(TEST_PROGRAMS) $(BENCH_PROGRAMS): %: %.o $(CORE_OBJS)
	$(CXX) -o $@ $^ $(VEZA_LIBS) -Wl,--as-needed $(LDFLAGS_EXTRA)
$(TEST_LIBRARIES): %.so: %.c
	$(CC) -std=c11 -O2 -Wall -Wextra -fPIC -shared -o $@ $<

# The last page is made last, so all are there when it is.
man: build-man/vezactl.1
build-man/vezactl.1: vezactl
	$(MKDIR_P) $(@D)
	rm -f $(@D)/*
	for shell in bash zsh fish; do ./vezactl completion $$shell >$(@D)/vezactl.$$shell || exit; done
	for command in $$(./vezactl manual --list); do ./vezactl manual $$command >$(@D)/vezactl-$$command.1 || exit; done
	./vezactl manual >$@.new && mv $@.new $@

# What is installed below VEZACTL_SHAREDIR beside the pages, by the names that the shells look for.
VEZACTL_COMPLETIONS := bash-completion/completions/vezactl zsh/site-functions/_vezactl fish/vendor_completions.d/vezactl.fish
completion_shell = $(patsubst %-completion,%,$(firstword $(subst /, ,$(1))))

install-vezactl: vezactl man
	$(MKDIR_P) '$(DESTDIR)$(VEZACTL_BINDIR)' '$(DESTDIR)$(VEZACTL_SHAREDIR)/man/man1'
	$(INSTALL_PROGRAM) vezactl '$(DESTDIR)$(VEZACTL_BINDIR)/vezactl'
	$(INSTALL_DATA) build-man/*.1 '$(DESTDIR)$(VEZACTL_SHAREDIR)/man/man1'
	$(foreach file,$(VEZACTL_COMPLETIONS),$(MKDIR_P) '$(DESTDIR)$(VEZACTL_SHAREDIR)/$(dir $(file))' && \
	  $(INSTALL_DATA) build-man/vezactl.$(call completion_shell,$(file)) '$(DESTDIR)$(VEZACTL_SHAREDIR)/$(file)' &&) true

uninstall-vezactl:
	rm -f '$(DESTDIR)$(VEZACTL_BINDIR)/vezactl' '$(DESTDIR)$(VEZACTL_SHAREDIR)/man/man1/vezactl.1' \
	  '$(DESTDIR)$(VEZACTL_SHAREDIR)/man/man1'/vezactl-*.1 \
	  $(foreach file,$(VEZACTL_COMPLETIONS),'$(DESTDIR)$(VEZACTL_SHAREDIR)/$(file)')

# The packages go beside the source tree, as dpkg-buildpackage makes them.
deb:
	dpkg-buildpackage -us -uc -b

demo:
	test/demo.sh
test:
	test/run.sh
bench:
	bench/run.sh
	bench/wal.sh
	bench/restore.sh

.PHONY: core man deb demo test bench test-programs bench-programs install-vezactl uninstall-vezactl
