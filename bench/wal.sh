#!/usr/bin/env bash
# Compares the archiver of veza_backup with pgBackRest's asynchronous archiver, on one machine, with
# the same WAL, in one run.
#
#   bench/wal.sh [--rounds N] [--segments N] [--seconds N] [--stores "dir s3"] [--json FILE] [--no-load]
#                [--keep]
#
# Installs what is missing (Debian packages), builds, and makes about 100 segments of WAL that
# nobody archives. Then measures in turns, 3 rounds by default, how long each tool takes to archive
# them, on a directory and on S3 (a throw-away Ceph gateway, over TLS), compared with zstd alone. At
# most two rounds of load follow: how much pgbench slows down while WAL is archived, and how far the
# archivers fall behind a generator at full speed, for N seconds each (15). Prints medians and the
# aims, and writes all single figures as JSON. Leaves nothing running. README.md describes the
# measurements. `--rounds 1 --segments 30 --seconds 5` is a quick test that it works.
#
# The environment variables are those of run.sh. 12 times the segments' size must be free in
# VEZA_TEST_DIR.
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

segments=100
seconds=15
json=$top/bench/wal-results.json
load=yes
scale=30

# --- the cluster ---------------------------------------------------------------------------------

# Takes arguments for postgres. The server runs under reaper.py, because pgBackRest's archiver is a
# daemon.
start_server() {
  local deadline=$((SECONDS + 60))
  unprivileged /usr/bin/python3 "$work/reaper.py" "$work/reaper.pid" "$bindir/pg_ctl" -D "$work/data" \
    -l "$work/server.log" -W -o "$*" start >"$work/pg_ctl.log" 2>&1 &
  until sql -c "SELECT" >"$work/start.log" 2>&1; do
    ((SECONDS < deadline)) || fail "the server did not start: see $work/server.log"
    sleep 0.1
  done
}

build_cluster() {
  say "a cluster"
  make_cluster <<<"max_wal_size = 4GB"
  # Keeps every segment, archived or not.
  archive_with nobody >"$work/active.log"
  start_server -c wal_keep_size=1TB -c synchronous_commit=off
  sql -c "CREATE EXTENSION veza_backup"
  load_corpus
  unprivileged "$bindir/pgbench" -h "$work" -p "$port" -U postgres -q -i -s "$scale" postgres \
    >"$work/pgbench.log" 2>&1
}

build_backlog() {
  local first
  say "about $segments segments of WAL"
  first=$(sql -c "SELECT pg_walfile_name(pg_switch_wal() + 1)")
  write_wal "$segments"
  sql -c "SELECT pg_switch_wal()" -c CHECKPOINT >"$work/switch.log"
  unprivileged find "$work/data/pg_wal/archive_status" -name '*.ready' -printf '%f\n' | sed 's/\.ready$//' | sort |
    awk -v first="$first" '$0 >= first' | unprivileged tee "$work/backlog" >/dev/null
  unprivileged sed "s|^|$work/data/pg_wal/|" "$work/backlog" | unprivileged tee "$work/backlog-paths" >/dev/null
  backlog=$(wc -l <"$work/backlog")
  backlog_bytes=$((backlog * 16777216))
  backlog_ratio=$(unprivileged bash -c "xargs zstd -q -3 -c <'$work/backlog-paths' | wc -c" |
    awk -v plain="$backlog_bytes" '{ printf "%.2f", plain / $1 }')
  echo "$backlog segments, which zstd -3 makes $backlog_ratio times smaller"
  # Marks every segment as .done, so that none is in the way.
  archive_with nothing
  reload
  wait_until_archived
}

# --- the archivers -------------------------------------------------------------------------------

# Prints the settings that make the server archive with a contender to a store. "nobody" archives
# nothing. "nothing" acknowledges everything without storing it. A contender that is "ready" has its
# library but no repository.
settings_of() {
  local contender=$1 store=${2:-} cluster=${3:-bench}
  case $contender in
    veza*)
      echo "archive_library = 'veza_backup'"
      [[ $store == ready ]] || {
        echo "include '$work/veza-$store-3.conf'"
        # Each contender has its own cluster name. With a shared one it would find the other's
        # segments and store nothing.
        echo "veza_backup.cluster = '$cluster-$contender'"
        [[ $contender != veza-no-index ]] || echo "veza_backup.wal_index = off"
        [[ ! $adaptive ]] || echo "veza_backup.adaptive_compression = $([[ $contender == veza-adaptive ]] && echo on || echo off)"
      }
      ;;
    pgbackrest)
      [[ $store == ready ]] ||
        echo "archive_command = '$PGBACKREST --config=$work/pgbackrest-$store-3.conf --stanza=bench archive-push %p'"
      ;;
    nothing) echo "archive_command = '/bin/true'" ;;
    nobody) ;;
  esac
}

archive_with() { settings_of "$@" | private_file "$work/active.conf"; }

wait_until_archived() {
  unprivileged /usr/bin/python3 "$work/backlog.py" during "$work/data" -- true >"$work/idle.log"
}

# Makes the repository. The archiver has nothing to do then.
make_repository() {
  archive_with "$@"
  reload
  case $1 in
    veza*)
      retry sql -c "SELECT veza_backup_init()" >"$work/init.log"
      # Without this object the repository is written in version 1 of the format.
      [[ $1 != veza-version-1 ]] || unprivileged rm "$work/repository/veza-3/bench-$1/format/2"
      ;;
    pgbackrest)
      backrest "$2" 3 --no-online stanza-create
      # pgBackRest remembers segments by their names, and would not store these again.
      unprivileged rm -rf "$work/spool/archive"
      ;;
  esac
}

# measured WHAT TOOL STORE WATCH COMMAND...
measured() {
  local what=$1 tool=$2 store=$3 watch=$4
  shift 4
  run_measured "$what" "$tool" "$store" 3 "$watch" --server-pid "$(cat "$work/reaper.pid")" --linger pgbackrest \
    -- "$@"
  tail -n 1 "$work/results" | /usr/bin/python3 -c 'import json, sys
result, segments = json.load(sys.stdin), int(sys.argv[1])
wall, cpu = result["wall"], result["cpu"]
print(f"{wall:8.2f} s {segments / wall:7.1f} segments/s {cpu / segments * 1000:7.1f} ms of CPU each  ", *sys.argv[2:])' \
    "$backlog" "$what" "$tool" "$store"
}

# --- what is measured ----------------------------------------------------------------------------

drain() {
  local tool=$1 store=$2
  make_repository "$tool" "$store"
  archive_with "$tool" ready
  reload
  sql -c CHECKPOINT
  unprivileged /usr/bin/python3 "$work/backlog.py" again "$work/data" "$work/backlog"
  unprivileged bash -c "xargs cat <'$work/backlog-paths' >/dev/null"
  archive_with "$tool" "$store"
  measured drain "$tool" "$store" 'archiver|pgbackrest' \
    /usr/bin/python3 "$work/backlog.py" drain "$work/data" "$work/backlog"
}

floor_of() {
  unprivileged bash -c "xargs cat <'$work/backlog-paths' >/dev/null"
  measured floor zstd null zstd bash -c "xargs zstd -q -3 -T$workers -c <'$work/backlog-paths' >/dev/null"
  measured floor zstd dir zstd bash -c "xargs zstd -q -3 -T$workers -c <'$work/backlog-paths' >'$work/floor' && sync '$work/floor'"
  discard "$work/floor"
}

# Prints lines of "tool store", forwards and backwards in turns.
drains() {
  local store tool
  for store in $stores; do
    for tool in veza veza-no-index ${adaptive:+veza-adaptive} veza-version-1 pgbackrest; do
      [[ $tool/$store == veza-version-1/s3 || $tool/$store == veza-no-index/s3 ]] || echo "$tool $store"
    done
  done | in_turn
}

in_turn() { if ((round % 2)); then cat; else tac; fi; }

drain_round() {
  local tool store
  say "draining, round $round of $rounds"
  fresh_repositories
  floor_of
  while read -r tool store <&3; do
    drain "$tool" "$store"
  done 3< <(drains)
}

# Restores the state in which every run must find the cluster: rows in place, no checkpoint due,
# nothing to archive.
restart_for() {
  local tool=$1
  wait_until_archived
  server stop
  if [[ $tool == off ]]; then
    archive_with nobody
    library=
    start_server -c archive_mode=off
  else
    archive_with "$tool" ready
    library=$(sed -n "s/^archive_library = //p" "$work/active.conf")
    start_server
    make_repository "$tool" dir load
  fi
  sql -c "VACUUM pgbench_accounts, pgbench_branches, pgbench_tellers, events" -c "TRUNCATE pgbench_history" -c CHECKPOINT
  sync
}

transactions() {
  local tool=$1 found
  restart_for "$tool"
  found=$(pgbench -c "$clients" -j 2 -T "$seconds" | sed -nE 's/^tps = ([0-9.]+) .*/\1/p')
  echo "{\"tps\": $found}" | record pgbench "$tool" dir 3
  printf 'pgbench   %-13s %8.0f transactions/s\n' "$tool" "$found"
}

generate() {
  local tool=$1 before after
  restart_for "$tool"
  before=$(wal_position)
  unprivileged /usr/bin/python3 "$work/backlog.py" during "$work/data" -- "$bindir/pgbench" -h "$work" -p "$port" \
    -U postgres -n -c 2 -T "$seconds" -f "$bulk_load" postgres >"$work/generated.json" 2>"$work/pgbench.log" ||
    fail "the generator failed: see $work/pgbench.log"
  after=$(wal_position)
  /usr/bin/python3 -c 'import json, sys
print(json.dumps(json.load(sys.stdin) | {"rate": int(sys.argv[1]) / int(sys.argv[2])}))' \
    $((after - before)) "$seconds" <"$work/generated.json" >"$work/generated"
  record generator "$tool" dir 3 <"$work/generated"
  echo "generator $tool: $(cat "$work/generated")"
}

load_round() {
  local tool
  say "load, round $round of $load_rounds"
  fresh_repositories
  for tool in off veza veza-no-index ${adaptive:+veza-adaptive} pgbackrest; do echo "$tool"; done |
    in_turn >"$work/tools"
  while read -r tool <&3; do
    transactions "$tool"
  done 3<"$work/tools"
  while read -r tool <&3; do
    [[ $tool == off || $tool == veza-no-index ]] || generate "$tool"
  done 3<"$work/tools"
}

main() {
  parse_arguments "rounds segments seconds" "stores" "load" "$@"
  prepare $((segments * 16 * 12))
  # An older build has only one level.
  adaptive=
  ! grep -q adaptive_compression "$top/src/core/config/settings.cpp" || adaptive=yes
  pgbackrest_options="archive-async=y"
  build_cluster
  build_backlog
  for ((round = 1; round <= rounds; round++)); do
    drain_round
  done
  load_rounds=0
  if [[ $load ]]; then
    load_rounds=$((rounds < 2 ? rounds : 2))
    for ((round = 1; round <= load_rounds; round++)); do
      load_round
    done
  fi
  report wal_report.py "segments=$backlog" "zstd_ratio=$backlog_ratio" "load_rounds=$load_rounds" \
    "load_seconds=$seconds"
}

main "$@"
