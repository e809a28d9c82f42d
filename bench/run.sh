#!/usr/bin/env bash
# Compares backups by veza_backup, pgBackRest and pg_basebackup, on one machine, with one data set,
# in one run.
#
#   bench/run.sh [--rounds N] [--size MIB] [--files N] [--levels "3 1"] [--stores "dir s3"]
#                [--json FILE] [--keep]
#
# Installs what is missing (Debian packages), builds, makes a cluster of about 3.6 GB in 13,000
# files, and measures in turns, 3 rounds by default: full backup, diff backup after 20,000 updates,
# on a directory and on S3 (a throw-away Ceph gateway, over TLS). Prints medians and ratios, and
# writes them with all single figures as JSON. Leaves nothing running. README.md describes the
# measurements.
#
# Environment variables: PG_CONFIG, the PostgreSQL to use; PGBACKREST, the pgbackrest to compare
# with (default: Debian's newest, or the installed one when that is unavailable); VEZA_TEST_DIR, the
# place for the scratch directory (default /tmp; 6 times the size must be free).
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

levels="3 1"
json=$top/bench/results.json
updates=20000
veza_diff=yes

# Updates rows of a fixed pseudo-random choice, which differs in every round.
update_rows() {
  sql -c "UPDATE pgbench_accounts a SET abalance = abalance + 1
          FROM (SELECT DISTINCT 1 + abs(hashint8($1 * 1000000 + n)::bigint) % ($scale * 100000) AS aid
                FROM generate_series(1, $updates) n) u WHERE a.aid = u.aid"
}

# --- the tools -----------------------------------------------------------------------------------

# Prints the bytes of all objects of backups in a repository, without the archived WAL.
stored() {
  local tool=$1 store=$2 level=$3 path=bench/backup
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

# measure WHAT TOOL STORE LEVEL WATCH COMMAND...
measure() {
  local what=$1 tool=$2 store=$3 level=$4 watch=$5 before=0
  shift 5
  [[ $what != full && $what != diff || $store == - ]] || before=$(stored "$tool" "$store" "$level") || return
  sql -c CHECKPOINT
  run_measured "$what" "$tool" "$store" "$level" "$watch" --server "$work/data" -- "$@" || return
  if [[ $what == full || $what == diff ]]; then
    local bytes
    if [[ $store == - ]]; then
      bytes=$(du -sb "$work/basebackup" | cut -f 1) || return
    else
      bytes=$(stored "$tool" "$store" "$level") || return
      bytes=$((bytes - before))
    fi
    echo "{\"stored\": $bytes}" | record "$what" "$tool" "$store" "$level"
  fi
  printf '%-8s %-13s %-4s level %-3s %8.2f s\n' "$what" "$tool" "$store" "$level" \
    "$(tail -n 2 "$work/results" | wall_of)"
}

measured() {
  measure "$@" || {
    tail -n 20 "$work/command.log" >&2
    fail "$1 by $2 on $3 failed"
  }
}

backup_veza() {
  local what=$1 store=$2 level=$3 command
  [[ $what == full || $veza_diff ]] || return 0
  archive_to veza "$store" "$level"
  mapfile -d '' -t command < <(printf '%s\0' "$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -p "$port" \
    -U postgres -c "CALL veza_backup_take('$what', wait_for_running => true)")
  if ! measure "$what" veza "$store" "$level" 'veza_backup' "${command[@]}"; then
    tail -n 5 "$work/command.log" >&2
    [[ $what == diff ]] || fail "the full backup failed"
    grep -qi 'type' "$work/command.log" || fail "the diff backup failed"
    echo "this build of veza_backup has no diff backups yet: not measured"
    veza_diff=
  fi
}

backup_pgbackrest() {
  archive_to pgbackrest "$2" "$3"
  measured "$1" pgbackrest "$2" "$3" pgbackrest \
    "$PGBACKREST" --config="$work/pgbackrest-$2-$3.conf" --stanza=bench --type="$1" backup
}

# The common use: no encryption, no WAL, tar files on the same disk.
backup_pg_basebackup() {
  local level=$3
  discard "$work/basebackup"
  archive_to nothing
  measured full pg_basebackup - "$level" 'pg_basebackup|walsender' \
    "$bindir/pg_basebackup" -h "$work" -p "$port" -U postgres -D "$work/basebackup" -Ft -X none -c fast \
    --compress="client-zstd:level=$level,workers=$workers"
  discard "$work/basebackup"
}

floor_of() {
  measured floor read - - 'cat' bash -c "xargs -0 cat <'$work/files' >/dev/null"
  local level
  for level in $levels; do
    measured floor zstd - "$level" 'zstd' \
      bash -c "xargs -0 cat <'$work/files' | zstd -q -$level -T$workers >/dev/null"
  done
}

# --- the rounds ----------------------------------------------------------------------------------

# Prints lines of "tool store level", forwards and backwards in turns.
runs() {
  local what=$1 level store
  for level in $levels; do
    for store in $stores; do
      echo veza "$store" "$level"
      echo pgbackrest "$store" "$level"
    done
    [[ $what != full ]] || echo pg_basebackup - "$level"
  done | if ((round % 2)); then cat; else tac; fi
}

run_round() {
  local tool store level
  say "round $round of $rounds"
  fresh_repositories
  floor_of
  while read -r tool store level <&3; do
    "backup_$tool" full "$store" "$level"
  done 3< <(runs full)
  archive_to nothing
  update_rows "$round"
  while read -r tool store level <&3; do
    "backup_$tool" diff "$store" "$level"
  done 3< <(runs diff)
}

main() {
  parse_arguments "rounds size files levels stores json" "" "$@"
  require_numbers rounds size files
  prepare $((size * 6))
  build_large_cluster
  for ((round = 1; round <= rounds; round++)); do
    run_round
  done
  say "medians of $rounds"
  local known
  mapfile -t known < <(facts)
  /usr/bin/python3 -B "$top/bench/report.py" "$work/results" "$json" "${known[@]}" "files=$cluster_files" \
    "bytes=$cluster_bytes" "updates=$updates"
}

main "$@"
