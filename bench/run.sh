#!/usr/bin/env bash
# Compares backups by veza_backup, pgBackRest and pg_basebackup, on one machine, with one data set,
# in one run.
#
#   bench/run.sh [--rounds N] [--size MIB] [--files N] [--levels "3 1"] [--stores "dir s3"]
#                [--large MIB] [--no-growth] [--json FILE] [--keep]
#
# Installs what is missing (Debian packages), builds, makes a cluster of about 3.6 GB in 13,000
# files, and measures in turns, 3 rounds by default: full backup, diff backup after 20,000 updates,
# incr after 20,000 more, on a directory and on S3 (a throw-away Ceph gateway, over TLS).
# pg_basebackup has a diff and an incr with PostgreSQL 17 and later (test/matrix.sh). Then the cluster
# grows to 16 GB, and veza_backup does the same again on a directory. Prints medians and ratios, and
# writes them with all single figures as JSON. Leaves nothing running. README.md
# describes the measurements.
#
# Environment variables: PG_CONFIG, the PostgreSQL to use; PGBACKREST, the pgbackrest to compare
# with (default: Debian's newest, or the installed one when that is unavailable); VEZA_TEST_DIR, the
# place for the scratch directory (default /tmp; 6 times the size must be free, and twice --large).
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

levels="3 1"
json=$top/bench/results.json
updates=20000
large=15300
growth=yes

# Updates rows of a pseudo-random choice, which the argument fixes. Rows that were updated before lie
# close together afterwards. So no choice is made twice.
update_rows() {
  sql -c "UPDATE pgbench_accounts a SET abalance = abalance + 1
          FROM (SELECT DISTINCT 1 + abs(hashint8($1 * 1000000 + n)::bigint) % ($scale * 100000) AS aid
                FROM generate_series(1, $updates) n) u WHERE a.aid = u.aid"
}

# --- the tools -----------------------------------------------------------------------------------

# Prints the bytes of all objects of backups in a repository, without the archived WAL.
stored() {
  local tool=$1 store=$2 level=$3 path=bench/backup
  if [[ $store == - ]]; then
    if [[ -d $work/basebackup ]]; then du -sb "$work/basebackup" | cut -f 1; else echo 0; fi
    return
  fi
  [[ $tool == veza ]] || path=backup
  if [[ $store == dir ]]; then
    find "$work/repository/$tool-$level/" -path "*/$path/*" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'
    return
  fi
  # pgbackrest can list any place in a bucket, also one that is not its own.
  backrest s3 "$level" --repo1-path="/$tool-$level" --repo1-cipher-type=none --recurse --output=json \
    repo-ls "$path" | /usr/bin/python3 -c 'import json, sys
print(sum(entry.get("size", 0) for entry in json.load(sys.stdin).values()))'
}

is_backup() { [[ $1 != floor ]]; }

# measured WHAT TOOL STORE LEVEL WATCH COMMAND...
measured() {
  local what=$1 tool=$2 store=$3 level=$4 watch=$5 before=0 bytes
  shift 5
  ! is_backup "$what" || before=$(stored "$tool" "$store" "$level")
  sql -c CHECKPOINT
  run_measured "$what" "$tool" "$store" "$level" "$watch" --server "$work/data" -- "$@"
  if is_backup "$what"; then
    bytes=$(stored "$tool" "$store" "$level")
    echo "{\"stored\": $((bytes - before))}" | record "$what" "$tool" "$store" "$level"
  fi
  printf '%-8s %-13s %-4s level %-3s %8.2f s\n' "$what" "$tool" "$store" "$level" \
    "$(tail -n 2 "$work/results" | wall_of)"
}

# backup_veza WHAT STORE LEVEL [NAME]: the name is that of the measurement.
backup_veza() {
  measured "${4:-$1}" veza "$2" "$3" 'veza_backup' \
    "${psql[@]}" -c "CALL veza_backup_take('$1', wait_for_running => true)"
}

backup_pgbackrest() {
  measured "$1" pgbackrest "$2" "$3" pgbackrest \
    "$PGBACKREST" --config="$work/pgbackrest-$2-$3.conf" --stanza=bench --type="$1" backup
}

# The common use: no encryption, no WAL, tar files on the same disk. An incremental builds on the backup
# before it, by its manifest.
backup_pg_basebackup() {
  local what=$1 level=$3 incremental=() cpu
  [[ $what == full ]] || incremental=(--incremental "$work/parent")
  [[ $what != full ]] || ! has_summaries || wait_for_summaries
  measured "$what" pg_basebackup - "$level" 'pg_basebackup|walsender' \
    "$bindir/pg_basebackup" -h "$work" -p "$port" -U postgres -D "$work/basebackup" -Ft -X none -c fast \
    --compress="client-zstd:level=$level,workers=$workers" "${incremental[@]}"
  unprivileged cp "$work/basebackup/backup_manifest" "$work/parent"
  discard "$work/basebackup"
  has_summaries || return 0
  cpu=$(summarizer_cpu)
  [[ $what == full ]] || awk -v cpu="$cpu" -v before="$cpu_before" \
    'BEGIN { printf "{\"summarizer_cpu\": %.2f}\n", cpu - before }' | record "$what" pg_basebackup - "$level"
  cpu_before=$cpu
}

# The server's own summaries of WAL, which only pg_basebackup uses. The clock of its full starts when
# those of what others have written are there.
wait_for_summaries() {
  local redo
  redo=$(sql -c CHECKPOINT -c "SELECT redo_lsn FROM pg_control_checkpoint()")
  wait_for 300 "(SELECT summarized_lsn >= '$redo' FROM pg_get_wal_summarizer_state())" "WAL was not summarized"
}

# Prints the CPU seconds that the process with the summaries has taken.
summarizer_cpu() {
  local pid
  pid=$(sql -c "SELECT summarizer_pid FROM pg_get_wal_summarizer_state()")
  sed 's/.*) //' "/proc/$pid/stat" | awk -v tick="$(getconf CLK_TCK)" '{ print ($12 + $13) / tick }'
}

floor_of() {
  measured floor read - - 'cat' bash -c "xargs -0 cat <'$work/files' >/dev/null"
  local level
  for level in $levels; do
    measured floor zstd - "$level" 'zstd' \
      bash -c "xargs -0 cat <'$work/files' | zstd -q -$level -T$workers >/dev/null"
  done
}

# What no diff can do without: compressing the pages that have changed since the full.
floor_of_changes() {
  local level=$1 start
  start=$(sql -c "SELECT start_lsn FROM veza_backup_info() WHERE type = 'full' ORDER BY label DESC LIMIT 1")
  unprivileged /usr/bin/python3 "$work/changed_pages.py" "$work/data" "$start" "$work/changed" |
    record floor zstd-changed - "$level"
  measured floor zstd-changed - "$level" zstd bash -c "zstd -q -$level -T$workers -c '$work/changed' >/dev/null"
  echo "{\"stored\": $(unprivileged zstd -q "-$level" -c "$work/changed" | wc -c)}" | record floor zstd-changed - "$level"
  discard "$work/changed"
}

# --- the rounds ----------------------------------------------------------------------------------

# Prints lines of "tool store level", forwards and backwards in turns.
runs() {
  local level store
  for level in $levels; do
    for store in $stores; do
      echo veza "$store" "$level"
      echo pgbackrest "$store" "$level"
    done
    echo pg_basebackup - "$level"
  done | if ((round % 2)); then cat; else tac; fi
}

# A diff and an incr build on WAL that was archived. So each tool archives the updates before them,
# and each has its own: other rows, and as many.
change_and_archive() {
  update_rows $((++changes))
  wait_for_segment "$(sql -c "SELECT pg_walfile_name(pg_switch_wal())")" "$1"
}

# The full, and what builds on it.
run_tool() {
  local tool=$1 store=$2 level=$3 what
  archive_to "$tool" "$store" "$level"
  "backup_$tool" full "$store" "$level"
  [[ $tool != pg_basebackup ]] || has_summaries || return 0
  for what in diff incr; do
    change_and_archive "$tool"
    "backup_$tool" "$what" "$store" "$level"
    # Not before our diff: others have no such pause after the updates.
    [[ $tool/$store/$what != "veza/${stores%% *}/diff" ]] || floor_of_changes "$level"
  done
}

run_round() {
  local tool store level
  say "round $round of $rounds"
  fresh_repositories
  floor_of
  while read -r tool store level <&3; do
    run_tool "$tool" "$store" "$level"
  done 3< <(runs)
}

# More of the same rows, which nobody updates.
grow() {
  local have want
  have=$(sql -c "SELECT sum(pg_database_size(oid))::bigint >> 20 FROM pg_database")
  say "the cluster grows from $have to $large MiB"
  archive_to nothing
  sql -c "CREATE TABLE more AS SELECT * FROM pgbench_accounts LIMIT 0"
  for ((want = large - have; want > 0; want -= 512)); do
    sql -c "INSERT INTO more SELECT * FROM pgbench_accounts LIMIT $((512 * 7800))"
  done
  sql -c "VACUUM (FREEZE) more" -c CHECKPOINT
}

# What the size of a cluster makes of a diff.
run_large() {
  local level=${levels%% *} what
  grow
  for ((round = 1; round <= rounds; round++)); do
    fresh_repositories
    archive_to veza dir "$level"
    backup_veza full dir "$level" full-large
    for what in diff incr; do
      change_and_archive veza
      backup_veza "$what" dir "$level" "$what-large"
    done
  done
}

main() {
  parse_arguments "rounds size files large" "levels stores" "growth" "$@"
  prepare $((size * 6 > large * 2 ? size * 6 : large * 2))
  build_large_cluster
  changes=0
  for ((round = 1; round <= rounds; round++)); do
    run_round
  done
  [[ ! $growth ]] || run_large
  report report.py "files=$cluster_files" "bytes=$cluster_bytes" "updates=$updates" "large=$large"
}

main "$@"
