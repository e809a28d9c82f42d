#!/usr/bin/env bash
# Runs the tests on a bare Debian 12 machine; installs what is missing first.
#
#   test/run.sh [all]              core, regress, server and ops
#   test/run.sh core               the unit tests of src/core (gtest, by meson)
#   test/run.sh regress            make installcheck against a server of its own
#   test/run.sh server [NAME...]   test/server/NAME*.pl (all without a name), once on a local
#                                  repository and once on S3
#   test/run.sh ops                what is in ops/: alerts, dashboard, units (test/ops.sh)
#   test/run.sh sanitize           the unit tests under the address, undefined and thread sanitizers, and
#                                  half a minute of fuzzing under the first two (test/fuzz)
#   test/run.sh fuzz               an hour of fuzzing, by libFuzzer
#   test/run.sh lint               clang-format, clang-tidy (of src), shellcheck, the documents against the
#                                  sources (test/support/check_docs.py), and names of files and symbols
#                                  in comments and documents (test/support/check_references.py)
#
# Several can be named. The S3 server is a throw-away one, or the one that VEZA_TEST_S3_ENDPOINT,
# _BUCKET, _ACCESS_KEY and _SECRET_KEY name. Also from the environment: PG_CONFIG, the PostgreSQL to
# test; VEZA_TEST_STORE, dir or s3 for one store only; VEZA_TEST_REGRESS, for some tests of pg_regress
# only, by name; VEZA_TEST_DIR, where the scratch directory goes (/tmp); VEZA_TEST_KEEP=1, to keep it
# although nothing failed; VEZA_TEST_SOAK_SECONDS, for how long the archive is put under load on a store that
# fails at random (60); VEZA_TEST_WAL_LOAD_SECONDS, for how long WAL is written that the reader of WAL is held
# against pg_waldump with (0: once each kind); VEZA_FUZZ_SECONDS, for how long `fuzz` goes on (3600).
#
# Ends with the names of what failed and `N passed, N failed`, and with 1 if anything failed.
set -euo pipefail
# shellcheck source=test/support/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/support/common.sh"

passed=0
failed=0
failures=() # what failed, by name
phases=()
work=
making= # these three: what runs in the background
ahead=
tidy=
running=() # server tests
regress_server=
server_prepared=
address_done=
no_aslr=()
threads= # the record of the core tests that threads matter to
memory=  # a directory in memory

headline() { printf '\n=== %s (after %d s)\n' "$*" "$SECONDS"; }

has_phase() { [[ " ${phases[*]} " == *" $1 "* ]]; }

# How many passed, how many failed, and what these are.
count() {
  passed=$((passed + $1))
  failed=$((failed + $2))
  (($2 == 0)) || failures+=("${@:3}")
}

# Runs a command and counts it as one test.
check() {
  if "$@"; then count 1 0; else count 0 1 "$(basename -a "$@" | paste -sd ' ')"; fi
}

# A test that was interrupted leaves its servers running.
stop_leftover_servers() {
  local file pid
  while read -r file; do
    pid=$(head -n 1 "$file")
    [[ $(readlink "/proc/$pid/cwd" || true) != @("$work"|"${memory:-$work}")/* ]] || kill -QUIT "$pid"
  done < <(find "$work" ${memory:+"$memory"} -name postmaster.pid 2>/dev/null)
}

# What runs beside the tests, with all that it has started.
stop_background() {
  local pid
  for pid in "$@"; do
    [[ ! $pid ]] || { kill -- "-$pid" && wait "$pid"; } 2>/dev/null || true
  done
}

# Where there is a link to it, its files themselves are to stay.
keep_what_is_in_memory() {
  local link
  [[ $memory ]] || return 0
  for link in "$work"/server-*; do
    [[ ! -L $link ]] || { rm "$link" && mv "$memory/${link##*/}" "$work"; } || true
  done
}

finish() {
  local status=$?
  trap - EXIT
  stop_background "$making" "$ahead" "$tidy" "${running[@]}"
  stop_leftover_servers
  [[ ! -d $work/s3 ]] || bash "$top/test/support/rgw.sh" stop "$work/s3"
  if [[ $status -ne 0 || ${VEZA_TEST_KEEP:-} ]]; then
    keep_what_is_in_memory
    echo "run.sh: logs are kept in $work"
  else
    rm -rf "$work"
  fi
  leave_memory
  exit "$status"
}

# A directory in memory, if so many MiB are free for files there, and so many at all. Files on a disk take more of
# the processors' time, most of it where many are made and removed.
use_memory() {
  local for_files=$1 at_all=$2 free
  [[ ! $memory ]] || return 0
  free=$(df --output=avail -BM /dev/shm 2>/dev/null | tail -n 1 | tr -dc 0-9) || true
  if ((${free:-0} > for_files)) && [[ -w /dev/shm && ,$(findmnt -no OPTIONS /dev/shm), != *,noexec,* ]] &&
    (($(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo) > at_all)); then
    memory=$(mktemp -d /dev/shm/veza-test.XXXXXX)
    chmod 755 "$memory"  # root's own: a repository in it would else be used as the owner's account
  fi
}

leave_memory() {
  [[ ! $memory ]] || rm -rf "$memory"
  memory=
}

start_s3() {
  if [[ ${VEZA_TEST_S3_ENDPOINT:-} ]]; then
    [[ ${VEZA_TEST_S3_BUCKET:-} && ${VEZA_TEST_S3_ACCESS_KEY:-} && ${VEZA_TEST_S3_SECRET_KEY:-} ]] ||
      fail "VEZA_TEST_S3_ENDPOINT is set: set VEZA_TEST_S3_BUCKET, _ACCESS_KEY and _SECRET_KEY too"
    return
  fi
  bash "$top/test/support/rgw.sh" start "$work/s3"
  # shellcheck source=/dev/null
  source "$work/s3/env"
}

# A build directory for each flavour, kept between runs. Of the core's tests, clang compiles in little more than half of
# gcc's time; but only where the sanitizers need it is it installed.
configure() {
  local flavour=$1
  shift
  [[ -f $top/$flavour/build.ninja ]] || rm -rf "${top:?}/$flavour"
  if [[ ! -d $top/$flavour ]]; then
    if [[ ${meson_compiler:-} == clang ]]; then local -x CC=clang CXX=clang++; fi
    meson setup "$top/$flavour" "$top" "$@"
  fi
}

# The core tests, and the fuzzers where they are run. (What else meson.build knows, `make` compiles.)
# Sources are compiled in groups: a third to a half of the time that gcc takes is for their headers.
build() {
  local flavour=$1 log=$work/$1.log targets=(test/core/core_tests)
  shift
  case $flavour in
    build-address) targets+=(test/fuzz/veza_fuzz) ;;
    build-fuzz) targets=(test/fuzz/veza_fuzz) ;;
  esac
  if ! configure "$flavour" -Dprecompiled_core=true -Dgroup_size=8 "$@" >"$log" 2>&1 ||
    ! ninja -C "$top/$flavour" -j "$jobs" "${targets[@]}" >>"$log" 2>&1; then
    grep -E -A 12 'error:|ERROR:|FAILED:' "$log" | head -n 80 || tail -n 40 "$log"
    echo "$flavour: the build failed"
    return 1
  fi
}

# Runs meson's tests of a build, and shows the closing lines of gtest in them.
run_core_tests() {
  local flavour=$1 log=$work/$1-tests.log status=0 good bad names
  shift
  rm -f "$top/$flavour"/meson-logs/testlog*
  GTEST_BRIEF=1 meson test -C "$top/$flavour" --no-rebuild --print-errorlogs "$@" || status=$?
  cat "$top/$flavour"/meson-logs/testlog*.txt >"$log"
  grep -E '^\[ +(PASSED|FAILED|SKIPPED) +\]|^\[=+\] .* ran' "$log" || true
  good=$(awk '/^\[ +PASSED +\]/ { n += $4 } END { print n + 0 }' "$log")
  bad=$(awk '/^\[ +FAILED +\] [0-9]+ test/ { n += $4 } END { print n + 0 }' "$log")
  if ((status != 0 && bad == 0)) || ((good + bad == 0)); then
    echo "$flavour: failed outside of a test"
    bad=$((bad + 1))
  fi
  mapfile -t names < <(sed -nE 's/^\[ +FAILED +\] ([A-Za-z_][^ ,]*).*/\1/p' "$log" | sort -u | sed "s/^/$flavour: /")
  count "$good" "$bad" "${names[@]:-$flavour, outside of a test}"
  ((bad == 0))
}

# gcc would look for garbage from 128 MiB on: a sixth of the time that a test takes to compile. This
# is in KiB.
gcc_args="--param=ggc-min-heapsize=1000000"

# The build with the flags of the product is the only one that shows what gcc finds while it optimises.
refuse_warnings() {
  ! grep -A 5 'warning:' "$1" || {
    echo "the compiler warned: see above"
    return 1
  }
}

# The core as it is installed.
make_core() {
  await_make || return
  make -C "$top" -j "$jobs" core >"$work/make-core.log" 2>&1 || {
    tail -n 40 "$work/make-core.log"
    return 1
  }
  refuse_warnings "$work/make-core.log"
}

# The tests themselves are not optimised, which would nearly double the time that the compiler takes for them. Lines for
# stack traces would take a twelfth more: gtest names the line of a failure itself.
build_test() {
  local flavour=$1 args=$2
  shift 2
  make_core && build "$flavour" "-Dcore_library=$top/build-core/libveza_core.a" -Dbuildtype=plain "-Dcpp_args=-O0 -g0 $args" "$@"
}

# Where the sanitizers run as well, the tests run once, with the address and undefined sanitizers. They assert the
# same there, and compiling and running all of them a second time would take a fifth of .ci/run.
phase_core() {
  if has_phase sanitize; then
    run_address_tests
    return
  fi
  headline "core tests"
  build_test build-test "$gcc_args" || {
    count 0 1 "build-test, the build"
    return 0
  }
  run_core_tests build-test || true
}

# The core as it is installed is gcc's at -O2, which neither sanitizer sees. What depends most on what a compiler makes of
# it is tested with that core too: bits, instructions of the processor (checksums), formats, and the golden repositories,
# which go through all readers. The rest of it is run by the server tests. So are the tests that measure memory, which they
# can only without a sanitizer. Sources without a test help the others.
optimised_sources() {
  local source
  while read -r source; do
    if [[ $source =~ ^(codec|golden|postgres|wal|wal_index)/ ]] || grep -q MemoryGauge "$top/test/core/$source" ||
      ! grep -qE '^(TYPED_)?TEST' "$top/test/core/$source"; then
      echo "$source"
    fi
  done <"$top/test/core/SOURCES"
}

build_optimised() {
  meson_compiler=clang build_test build-optimised -fpch-instantiate-templates \
    "-Dcore_test_sources=$(optimised_sources | paste -sd ,)"
}

run_optimised_tests() {
  headline "core tests of formats, checksums and memory, with the core that is installed"
  # The second reader of repositories is another program.
  if build_optimised; then
    GTEST_FILTER='-*TheSecondReader*' run_core_tests build-optimised || true
  else
    count 0 1 "build-optimised, the build"
  fi
}

# Those of the record that are run, one a line. What threads do does not depend on the cipher: of the tests that run with
# each, those with the one that new repositories have are enough.
threaded_tests() { sort -u "$threads" | grep -vE '^Ciphers/.*/(none|aes256cbc)$'; }

# Of test/core/SOURCES, those with one of these tests, and those that have none at all but help.
threaded_sources() {
  local source suites
  suites=$(sed 's/\.[^.]*$//' "$threads" | tr / '\n' | sort -u | paste -sd '|')
  while read -r source; do
    if ! grep -qE '^(TYPED_)?TEST' "$top/test/core/$source" ||
      grep -qE "^(TYPED_)?TEST\w*\(($suites)," "$top/test/core/$source" ||
      grep -q '^INSTANTIATE_' "$top/test/core/$source"; then
      echo "$source"
    fi
  done <"$top/test/core/SOURCES"
}

# The thread sanitizer runs the tests that have a thread or two mutexes at once: it can find nothing in
# others. test/core/thread_record.cpp has written down which these are, while all ran with the other sanitizers.
run_threaded_tests() {
  local recorded ran
  if [[ ! $threads ]]; then
    run_core_tests build-thread "$@" || true
    return 0
  fi
  GTEST_FILTER=$(threaded_tests | paste -sd :) run_core_tests build-thread "$@" || true
  recorded=$(threaded_tests | grep -vc '\*$')
  ran=$(awk '/^\[=+\] .* ran\./ { n += $2 } END { print n + 0 }' "$work/build-thread-tests.log")
  # The test of the record has a race, which must have been found.
  if ((ran >= recorded)) && grep -qx ThreadRecordExample.HasARace "$threads"; then
    count 1 0
  else
    echo "of $recorded tests with threads, $ran ran, or ThreadRecordExample.HasARace was not among them"
    count 0 1 "the record of tests with threads"
  fi
}

# With a sanitizer gcc takes nearly twice as long as clang. The tests take longest to compile, so they are not
# optimised. They spend their time in the core.
build_sanitized() {
  local sources="" plain=(-Dbuildtype=plain "-Dcpp_args=-O0 -g1 -fpch-instantiate-templates")
  case $1 in
    thread)
      [[ ! $threads ]] || sources=$(threaded_sources | paste -sd ,)
      # Its tests are others than the last time.
      [[ ! -f $top/build-thread/build.ninja ]] ||
        meson configure "$top/build-thread" "-Dcore_test_sources=$sources" || return
      meson_compiler=clang build build-thread -Db_sanitize=thread "${plain[@]}" -Dcore_args=-O1 \
        "-Dcore_test_sources=$sources"
      ;;
    address) meson_compiler=clang build build-address -Db_sanitize=address,undefined "${plain[@]}" ;;
  esac
}

# Runs a command in the background, as a process group of its own. Sets `background` to its process.
begin_background() {
  local out=$1
  shift
  set -m
  "$@" >"$out" 2>&1 &
  background=$!
  set +m
}

# Linux shares the processors among sessions first (sched_autogroup), and a server is a session of its own:
# a niceness counts only within one.
at_lowest_priority() {
  renice -n 19 -p "$BASHPID" >/dev/null
  ! [ -w "/proc/$BASHPID/autogroup" ] || echo 19 >"/proc/$BASHPID/autogroup" || true
  "$@"
}

# The same for a function of this script, behind all that the server tests do: it gets what they leave.
begin_behind() {
  local out=$1
  shift
  (
    # shellcheck disable=SC2046 # names of functions
    export -f $(compgen -A function)
    export top work jobs gcc_args making ahead threads address_done
    exec setsid bash -euo pipefail -c 'at_lowest_priority "$@"' run.sh "$@"
  ) >"$out" 2>&1 &
  background=$!
}

# Without the record of the tests with threads, it is too early for the thread sanitizer.
build_rest() {
  if [[ $address_done ]]; then build_sanitized thread && build_optimised; else build_sanitized address; fi
}

# The server tests mostly wait: meanwhile the processors compile for the sanitizers, and lint.
build_ahead() {
  begin_behind "$work/ahead.out" build_rest
  ahead=$background
}

# The core tests leave less, but they begin and end with one processor.
make_all() { make -C "$top" -j "$jobs" PG_CONFIG="${PG_CONFIG:-pg_config}" all core test-programs; }

make_ahead() {
  begin_behind "$work/make-ahead.log" make_all
  making=$background
}

# If it has failed, the next make says why.
await_make() {
  [[ ! $making ]] || wait "$making" || true
  making=
  [[ ! -f $work/make-ahead.log ]] || refuse_warnings "$work/make-ahead.log"
}

tidy_after_builds() {
  while [[ $ahead ]] && kill -0 "$ahead" 2>/dev/null; do sleep 1; done
  check_tidy
}

tidy_ahead() {
  begin_behind "$work/tidy.out" tidy_after_builds
  tidy=$background
}

# What it could not build is built, and complained of, where it is used.
await_builds() {
  [[ ! $ahead ]] || wait "$ahead" || true
  ahead=
}

# This thread sanitizer (clang 14) cannot place its shadow memory under the randomisation of new kernels.
prepare_sanitizers() {
  no_aslr=()
  ! setarch -R true 2>/dev/null || no_aslr=(--wrapper "setarch -R")
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
}

# Once, by whichever phase comes first.
run_address_tests() {
  [[ ! $address_done ]] || return 0
  address_done=1
  prepare_sanitizers
  # The core tests make many small files, and sync them. The sanitizers do not care where they are. The tests of
  # formats, and all tests without a sanitizer, use the disk.
  use_memory 4096 8192
  await_builds
  headline "core tests, sanitizers: address, undefined"
  if build_sanitized address; then
    # Without a whole record, the thread sanitizer gets every test.
    ! TMPDIR=${memory:-${TMPDIR:-/tmp}} VEZA_TEST_THREAD_RECORD=$work/threads \
      run_core_tests build-address "${no_aslr[@]}" || threads=$work/threads
  else
    count 0 1 "build-address, the build"
  fi
}

phase_sanitize() {
  run_address_tests
  await_builds
  use_memory 4096 8192
  headline "core tests, sanitizer: thread"
  if build_sanitized thread; then
    TMPDIR=${memory:-${TMPDIR:-/tmp}} run_threaded_tests "${no_aslr[@]}"
  else
    count 0 1 "build-thread, the build"
  fi
  ! has_phase core || run_optimised_tests
  fuzz 30 fuzz_by_itself
}

# The driver of our own, in the build with the address sanitizer. Always the same inputs, as far as the
# time goes: what changes from one run to the next is the code. `fuzz` looks for new ones.
fuzz_by_itself() {
  export UBSAN_OPTIONS=$UBSAN_OPTIONS:abort_on_error=1 # so that the driver can keep the input
  "$top/build-address/test/fuzz/veza_fuzz" "$1" "$2" "$top/test/fuzz/corpus/$1" 1
}

# What it learns is kept in build-fuzz/corpus, from one run to the next.
fuzz_by_libfuzzer() {
  local corpus=$top/build-fuzz/corpus/$1
  mkdir -p "$corpus"
  VEZA_FUZZ_READER=$1 "$top/build-fuzz/test/fuzz/veza_fuzz" -max_total_time="$2" -timeout=20 \
    -rss_limit_mb=2048 -max_len=65536 -verbosity=0 -print_final_stats=1 -artifact_prefix="crash-$1-" \
    "$corpus" "$top/test/fuzz/corpus/$1" && echo "ok $1"
}

# Every reader, for so many seconds in all, as many at a time as there are processors. What one of them
# ends on is left in $work/fuzz.
fuzz() {
  local seconds=$1 with=$2 out=$work/fuzz.out readers each good reader names
  mapfile -t readers < <(ls "$top/test/fuzz/corpus")
  each=$((seconds * jobs / ${#readers[@]}))
  headline "fuzzing ${#readers[@]} readers, each for $each s"
  mkdir -p "$work/fuzz"
  export -f fuzz_by_itself fuzz_by_libfuzzer
  export top
  (cd "$work/fuzz" && printf '%s\n' "${readers[@]}" |
    xargs -P "$jobs" -I '{}' bash -c "$with {} $each >{}.log 2>&1 || true; tail -n 25 {}.log") |
    tee "$out" || true
  good=$(grep -c '^ok ' "$out" || true)
  mapfile -t names < <(printf '%s\n' "${readers[@]}" | while read -r reader; do
    grep -q "^ok $reader:\?\( \|$\)" "$out" || echo "fuzzing: $reader"
  done)
  count "$good" "$((${#readers[@]} - good))" "${names[@]}"
}

phase_fuzz() {
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  headline "fuzzers"
  if meson_compiler=clang build build-fuzz -Db_sanitize=address,undefined -Dlibfuzzer=true \
    -Dbuildtype=plain "-Dcpp_args=-O1 -g1 -fsanitize=fuzzer-no-link"; then
    fuzz "${VEZA_FUZZ_SECONDS:-3600}" fuzz_by_libfuzzer
  else
    count 0 1 "build-fuzz, the build"
  fi
}

make_test_programs() {
  make -C "$top" -j "$jobs" PG_CONFIG="$PG_CONFIG" test-programs >>"$work/make.log" 2>&1 || {
    tail -n 40 "$work/make.log"
    return 1
  }
}

# The server with the extension in it, and the tests' inputs where the server's account can read them.
prepare_server() {
  [[ -z $server_prepared ]] || return 0
  headline "make, make install, make test-programs"
  { await_make && install_private_server && make_test_programs && refuse_warnings "$work/make.log"; } || {
    echo "the build failed"
    return 1
  }
  copy_tree
  install -m 755 "$top/test/programs/scrypt_memo.so" "$top/test/programs/moved_clock.so" "$work"
  server_prepared=1
}

stop_regress_server() {
  unprivileged "$bindir/pg_ctl" -D "$regress_server" -m immediate -w stop >/dev/null || true
  regress_server=
}

start_regress_server() {
  local dir=$work/regress
  unprivileged mkdir -p "$dir/repository"
  unprivileged "$bindir/initdb" -D "$dir/data" -U postgres -A trust -N --no-locale -E UTF8 \
    >"$work/initdb.log" || return
  sed "s|@DIR@|$dir|g" "$top/test/support/regress.conf" |
    unprivileged tee -a "$dir/data/postgresql.conf" >/dev/null
  regress_server=$dir/data
  unprivileged "$bindir/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w start >"$work/pg_ctl.log"
}

# What make install puts into an empty directory, make uninstall takes out again.
uninstall_leaves_nothing() {
  local target left
  for target in install uninstall; do
    make -s -C "$top" "$target" PG_CONFIG="$PG_CONFIG" DESTDIR="$work/uninstall" >>"$work/make.log" 2>&1 || return
    [[ $target == uninstall || -x $(find "$work/uninstall" -name vezactl -perm -u+x) ]] || return
  done
  left=$(find "$work/uninstall" -type f)
  [[ -z $left ]] || {
    printf 'make uninstall left:\n%s\n' "$left"
    return 1
  }
}

# What a make that was killed with its compiler leaves of the precompiled header is not up to date.
half_a_header_is_not_used() {
  local dir=$work/half-a-header
  mkdir -p "$dir"
  (cd "$top" && cp --parents Makefile VERSION src/SOURCES src/precompiled.h "$dir")
  cat >"$dir/compiler" <<'END'
#!/bin/sh
while [ "$1" != -o ]; do shift; done
echo half >"$2"
touch has-run
kill -KILL 0
END
  chmod +x "$dir/compiler"
  (setsid make -s -C "$dir" PG_CONFIG="$PG_CONFIG" CXX=./compiler VEZA_PCH=yes VEZA_GROUP_SIZE=1 src/precompiled.h.gch || true) \
    >"$dir/make.log" 2>&1
  [[ -e $dir/has-run && ! -e $dir/src/precompiled.h.gch ]] || {
    echo "make was killed, and left half of a precompiled header:"
    cat "$dir/make.log"
    return 1
  }
}

phase_regress() {
  local out=$work/regress.out status=0 names
  prepare_server || {
    count 0 1 "pg_regress, the build"
    return 0
  }
  headline "borders of the layers, one version, make"
  check bash "$top/test/support/check_layering.sh" "$top/veza_backup.so"
  check python3 "$top/test/support/check_version.py" "$top" "$top/veza_backup.so" "$top/vezactl"
  check python3 "$top/test/support/check_manual.py" "$top/vezactl"
  check uninstall_leaves_nothing
  check half_a_header_is_not_used
  headline "pg_regress"
  if start_regress_server; then
    unprivileged make -s -C "$work/tree" installcheck PG_CONFIG="$PG_CONFIG" PGUSER=postgres \
      PGHOST="$work/regress" EXTRA_REGRESS_OPTS="--bindir=$bindir" \
      ${VEZA_TEST_REGRESS:+"REGRESS=$VEZA_TEST_REGRESS"} 2>&1 | tee "$out" || status=$?
    mapfile -t names < <(sed -nE 's/^not ok +[0-9]+ +[-+] +([^ ]+).*/pg_regress: \1/p; s/^(test)? +([^ ]+) +\.\.\. FAILED .*/pg_regress: \2/p' "$out")
    count "$(grep -cE '^ok |\.\.\. ok ' "$out" || true)" \
      "$(grep -cE '^not ok|\.\.\. FAILED ' "$out" || true)" "${names[@]}"
    ((status == 0)) || grep -qE '^not ok|\.\.\. FAILED ' "$out" || count 0 1 "pg_regress, outside of a test"
  else
    status=1
    count 0 1 "pg_regress, the start of the server"
  fi
  if ((status != 0)); then
    [[ ! -f $work/tree/regression.diffs ]] || tail -n 100 "$work/tree/regression.diffs"
    echo "--- the end of the server's log"
    tail -n 60 "$work/regress/server.log" || true
  fi
  [[ -z $regress_server ]] || stop_regress_server
}

failed_server_tests() { sed -nE 's/^(.*\.pl) +\(Wstat: .*/\1/p' "$work/server-$1.out"; }

# What a failed test file printed beside its results, such as the message it died with.
show_failed_logs() {
  local file
  while read -r file; do
    echo "--- the end of what $file printed"
    grep -vE '^# [0-9]{4}-' "$work/server-$1/tmp_check/log/regress_log_$(basename "$file" .pl)" |
      tail -n 30 || true
  done < <(failed_server_tests "$1")
}

# Where the servers of the tests have their data: in memory, if there is room. Repositories are on the disk, and the
# core tests restore to it.
make_test_directory() {
  if [[ $memory ]]; then
    mkdir -p "$memory/server-$1"
    ((EUID != 0)) || chown postgres: "$memory/server-$1"
    ln -sfn "$memory/server-$1" "$work/server-$1"
  else
    unprivileged mkdir -p "$work/server-$1"
  fi
}

# TESTDIR is what 15 knows, TESTDATADIR and TESTLOGDIR are its names since 16. A test *_root.pl begins
# as root, if we are, and becomes the account of the tests itself.
start_server_tests() {
  local store=$1 dir at_once=$((jobs + (jobs + 1) / 2)) status=0 test tests=() root_tests=() command
  shift
  for test in "$@"; do
    if ((EUID == 0)) && [[ $test == *_root.pl ]]; then root_tests+=("$test"); else tests+=("$test"); fi
  done
  dir=$(realpath "$work/server-$store")
  unprivileged mkdir -p "$work/tmp"
  unprivileged mkdir -p -m 700 "$work/scrypt" "$work/initdb" "$work/repositories"
  command=(env TESTDIR="$dir" TESTDATADIR="$dir/tmp_check" TESTLOGDIR="$dir/tmp_check/log"
    TMPDIR="$work/tmp" PG_REGRESS="$pgxs/../test/regress/pg_regress"
    PG_TEST_PORT_DIR="$work/portlock" VEZA_TEST_STORE="$store" HOME="$work"
    LD_PRELOAD="$work/scrypt_memo.so" VEZA_TEST_SCRYPT_MEMO="$work/scrypt"
    VEZA_TEST_MOVED_CLOCK="$work/moved_clock.so"
    VEZA_TEST_TEMPLATES="$work/initdb" VEZA_TEST_REPOSITORIES="$work/repositories"
    PATH="$bindir:/usr/bin:/bin:/usr/sbin:/sbin"
    prove --timer --jobs "$at_once" -I "$pgxs/../test/perl" -I "$work/tree/test/server/lib")
  ((${#tests[@]} == 0)) || unprivileged "${command[@]}" "${tests[@]}" 2>&1 || status=$?
  ((${#root_tests[@]} == 0)) || (cd "$work" && "${command[@]}" "${root_tests[@]}" 2>&1) || status=$?
  return "$status"
}

# A file that died without a failed test counts as one failure.
count_server_tests() {
  local store=$1 status=$2 bad names
  bad=$(awk '/\(Wstat: .* Failed: [0-9]+\)$/ { n += $NF > 0 ? $NF + 0 : 1 } END { print n + 0 }' \
    "$work/server-$store.out")
  ((status == 0 || bad > 0)) || bad=1
  mapfile -t names < <(failed_server_tests "$store" | sed "s|.*/|server tests, $store: |")
  show_failed_logs "$store"
  # The logs hold the tests' own lines, each behind the time.
  count "$(cat "$work/server-$store"/tmp_check/log/regress_log_* | grep -cE '^(\[.*\) )?ok ' || true)" "$bad" \
    "${names[@]:-server tests, $store: outside of a test}"
}

# The tests of both stores at the same time: most of theirs is waiting.
phase_server() {
  local name store status tests=() stores=()
  prepare_server || {
    count 0 1 "server tests, the build"
    return 0
  }
  ! has_phase sanitize || build_ahead
  ! has_phase lint || tidy_ahead
  cd "$work/tree/test/server"
  for name in "${@:-}"; do
    compgen -G "$name*.pl" >"$work/names" || fail "there is no test/server/$name*.pl"
    # In their order: two of the longest are not to be the last ones.
    mapfile -t -O "${#tests[@]}" tests < <(sort "$work/names" | sed "s|^|$PWD/|")
  done
  cd "$top"
  read -ra stores <<<"${VEZA_TEST_STORE:-dir s3}"
  headline "server tests, stores: ${stores[*]}"
  leave_memory # the servers need more of it than the core tests
  use_memory 10240 16384
  for store in "${stores[@]}"; do
    make_test_directory "$store"
    begin_background "$work/server-$store.out" start_server_tests "$store" "${tests[@]}"
    running+=("$background")
  done
  for store in "${stores[@]}"; do
    status=0
    wait "${running[0]}" || status=$?
    running=("${running[@]:1}")
    headline "server tests, store: $store"
    cat "$work/server-$store.out"
    count_server_tests "$store" "$status"
  done
}

phase_ops() {
  local out=$work/ops.out status=0 names
  headline "ops"
  bash "$top/test/ops.sh" | tee "$out" || status=$?
  mapfile -t names < <(sed -n 's/^not ok - /ops: /p' "$out")
  count "$(grep -c '^ok ' "$out" || true)" "$(grep -c '^not ok ' "$out" || true)" "${names[@]}"
  ((status == 0)) || grep -q '^not ok ' "$out" || count 0 1 "ops, outside of a test"
}

check_format() {
  git -C "$top" ls-files -z 'src/*.cpp' 'src/*.h' 'test/*.cpp' 'test/*.h' |
    (cd "$top" && xargs -0 clang-format --dry-run -Werror)
}

# The compile database is of a build that is only configured, without a precompiled header, which
# clang-tidy could not read.
check_tidy() {
  local log=$work/tidy.log
  configure build-tidy -Dbuildtype=plain >"$log" 2>&1 || {
    tail -n 40 "$log"
    return 1
  }
  /usr/bin/python3 "$top/test/support/check_tidy.py" "$top" "$top/build-tidy" "$jobs"
}

check_shell() {
  git -C "$top" grep -lzE '^#!.*bash|^# shellcheck shell=' -- ':!*.md' ':!*.cpp' |
    (cd "$top" && xargs -0 shellcheck -x)
}

# What was begun in the background is waited for.
tidy_is_clean() {
  local status=0
  if [[ ! $tidy ]]; then
    check_tidy
    return
  fi
  wait "$tidy" || status=$?
  tidy=
  cat "$work/tidy.out"
  return "$status"
}

phase_lint() {
  headline "clang-format"
  check check_format
  headline "shellcheck"
  check check_shell
  headline "documents"
  check /usr/bin/python3 "$top/test/support/check_docs.py" "$top"
  check python3 "$top/test/support/check_references.py" "$top"
  check python3 "$top/test/support/stores_table.py" "$top" check
  check python3 "$top/test/support/check_the_checks.py"
  headline "clang-tidy"
  check tidy_is_clean
}

main() {
  local phase names=() kinds=() s3=
  for phase in "$@"; do
    case $phase in
      all) phases+=(core regress server ops) ;;
      core | regress | server | ops | sanitize | lint | fuzz) phases+=("$phase") ;;
      -*) fail "unknown option $phase; the head of $0 says how to use it" ;;
      *) names+=("$phase") ;;
    esac
  done
  ((${#phases[@]} > 0)) || phases=(core regress server ops)
  [[ ${#names[@]} -eq 0 || " ${phases[*]} " == *" server "* ]] || fail "unknown: ${names[*]}"

  case " ${phases[*]} " in
    *" core "* | *" sanitize "*) s3=1 ;;
    *" server "*) [[ ${VEZA_TEST_STORE:-} == dir ]] || s3=1 ;;
  esac
  case " ${phases[*]} " in
    *" lint "*) kinds+=(lint) ;;
    *" fuzz "*) ;; # below
    " ops ") ;; # it needs nothing else
    *) if [[ $s3 ]]; then kinds+=(test); else kinds+=(server); fi ;;
  esac
  if has_phase fuzz || has_phase sanitize; then kinds+=(fuzz); fi
  ! has_phase ops || kinds+=(ops)
  bash "$top/test/support/setup.sh" "${kinds[@]}"
  make_work_directory test
  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  [[ ! $s3 ]] || start_s3

  for phase in "${phases[@]}"; do
    case $phase in
      core)
        ! has_phase sanitize || make_ahead
        phase_core
        ;;
      server) phase_server "${names[@]}" ;;
      *) "phase_$phase" ;;
    esac
  done
  headline "done"
  # Of a long output, often only the end is kept.
  ((${#failures[@]} == 0)) || printf 'failed: %s\n' "${failures[@]}"
  echo "$passed passed, $failed failed"
  ((failed == 0))
}

main "$@"
