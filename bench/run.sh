#!/usr/bin/env bash
# veza_backup beside pgBackRest and pg_basebackup: one machine, one data set, one run.
#
#   bench/run.sh [--rounds N] [--size MIB] [--files N] [--levels "3 1"] [--stores "dir s3"]
#                [--json FILE] [--no-restore] [--keep]
#
# Installs what is missing (Debian packages), builds, makes a cluster of about 3.6 GB in 13,000 files,
# and measures in turns, 3 rounds by default: full backup, restore, diff backup after 20,000 updates,
# on a directory and on S3 (a throw-away Ceph gateway, over TLS). Prints medians and ratios, and writes
# them with all single figures as JSON. Leaves nothing running. README.md says what is measured how.
#
# From the environment: PG_CONFIG, the PostgreSQL to use; PGBACKREST, the pgbackrest to compare with
# instead of Debian's newest (or the installed one, if that cannot be had); VEZA_TEST_DIR, where the scratch directory goes (/tmp; 6 times the size must be free).
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

size=3600
files=13000
levels="3 1"
json=$top/bench/results.json
restore=yes
updates=20000
veza_diff=yes

parse_arguments() {
  while (($# > 0)); do
    case $1 in
      --no-restore) restore= ;;
      --keep) keep=yes ;;
      --rounds | --size | --files | --levels | --stores | --json)
        (($# > 1)) || fail "$1 needs a value"
        case $1 in
          --rounds) rounds=$2 ;;
          --size) size=$2 ;;
          --files) files=$2 ;;
          --levels) levels=$2 ;;
          --stores) stores=$2 ;;
          --json) json=$2 ;;
        esac
        shift
        ;;
      *) fail "unknown argument $1; the head of $0 says how to use it" ;;
    esac
    shift
  done
  [[ $rounds =~ ^[1-9][0-9]*$ && $size =~ ^[1-9][0-9]*$ && $files =~ ^[1-9][0-9]*$ ]] ||
    fail "--rounds, --size and --files are numbers"
}

# --- the cluster ---------------------------------------------------------------------------------

# The bulk is pgbench's, in partitions so that no tool suffers from two huge files; then thousands of
# small tables of four files each. Nothing is left for hint bits or vacuum to change.
build_cluster() {
  say "a cluster of about $size MiB in $files files"
  unprivileged "$bindir/initdb" -D "$work/data" -U postgres -A trust -k -N --no-locale -E UTF8 >"$work/initdb.log"
  cat <<CONF | unprivileged tee -a "$work/data/postgresql.conf" >/dev/null
listen_addresses = ''
unix_socket_directories = '$work'
port = $port
shared_buffers = 256MB
maintenance_work_mem = 512MB
max_locks_per_transaction = 1024
max_wal_size = 16GB
checkpoint_timeout = 1h
autovacuum = off
wal_level = replica
max_wal_senders = 4
archive_mode = on
shared_preload_libraries = 'veza_backup'
veza_backup.jobs = $workers
include '$work/active.conf'
CONF
  unprivileged touch "$work/active.conf"
  server -o "-c wal_level=minimal -c max_wal_senders=0 -c archive_mode=off -c fsync=off" start
  scale=$(((size - 100) / 15))
  ((scale > 0)) || scale=1
  unprivileged "$bindir/pgbench" -h "$work" -p "$port" -U postgres -q -i -s "$scale" --partitions=8 \
    postgres >"$work/pgbench.log" 2>&1
  local tables=$(((files - 1100) / 4))
  sql >/dev/null <<SQL
SELECT format(\$\$DO 'BEGIN FOR n IN %s..%s LOOP
  EXECUTE format(''CREATE TABLE small_%%s (id int PRIMARY KEY, body text)'', n);
  EXECUTE format(''INSERT INTO small_%%s SELECT i, md5(i::text) || md5((i * %%s)::text)
                   FROM generate_series(1, %%s) i'', n, n, n %% 20 * 20);
END LOOP; END'\$\$, n, least(n + 99, $tables)) FROM generate_series(1, $tables, 100) n \gexec
VACUUM (FREEZE, ANALYZE);
CREATE EXTENSION veza_backup;
CHECKPOINT;
SQL
  server stop
  server start
  # What is copied: the data directory without WAL.
  unprivileged find "$work/data" -path "$work/data/pg_wal" -prune -o -type f -print0 |
    unprivileged tee "$work/files" >/dev/null
  cluster_files=$(tr -dc '\0' <"$work/files" | wc -c)
  cluster_bytes=$(du --files0-from="$work/files" --apparent-size -b -c | tail -n 1 | cut -f 1)
  echo "$cluster_files files, $((cluster_bytes / 1000000)) MB"
}

# Rows by a fixed pseudo-random choice, other ones in every round.
update_rows() {
  sql -c "UPDATE pgbench_accounts a SET abalance = abalance + 1
          FROM (SELECT DISTINCT 1 + abs(hashint8($1 * 1000000 + n)::bigint) % ($scale * 100000) AS aid
                FROM generate_series(1, $updates) n) u WHERE a.aid = u.aid"
}

# --- the tools -----------------------------------------------------------------------------------

# Makes the cluster archive with this tool to this repository, and waits until a segment got there:
# the archiver ends and comes back when its library changes.
archive_with() {
  local tool=$1 store=${2:-} level=${3:-} wanted deadline
  {
    case $tool in
      veza)
        echo "archive_library = 'veza_backup'"
        echo "archive_command = ''"
        echo "include '$work/veza-$store-$level.conf'"
        ;;
      pgbackrest)
        echo "archive_library = ''"
        echo "archive_command = '$PGBACKREST --config=$work/pgbackrest-$store-$level.conf --stanza=bench archive-push %p'"
        ;;
      *)
        echo "archive_library = ''"
        echo "archive_command = '/bin/true'"
        ;;
    esac
  } | private_file "$work/active.conf"
  sql -c "SELECT pg_reload_conf()" >/dev/null
  # What is there already shows by failing: nothing that a repository was made for before.
  case $tool in
    veza) retry sql -c "SELECT veza_backup_init()" >/dev/null ;;
    pgbackrest) backrest "$store" "$level" --no-online stanza-create ;;
  esac
  wanted=$(sql -c "SELECT pg_logical_emit_message(false, 'bench', '')" \
    -c "SELECT pg_walfile_name(pg_switch_wal())" | tail -n 1)
  deadline=$((SECONDS + 120))
  until [[ $(sql -c "SELECT last_archived_wal >= '$wanted' FROM pg_stat_archiver") == t ]]; do
    ((SECONDS < deadline)) || fail "$tool did not archive within two minutes: see $work/server.log"
    sleep 0.2
  done
}

# Bytes of all objects of backups in a repository; the archived WAL is not among them.
stored() {
  local tool=$1 store=$2 level=$3 path=bench/backup
  [[ $tool == veza ]] || path=backup
  if [[ $store == dir ]]; then
    find "$work/repository/$tool-$level/" -path "*/$path/*" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'
    return
  fi
  # pgbackrest lists any place of a bucket, also what is not its own.
  backrest s3 "$level" --repo1-path="/$tool-$level" --repo1-cipher-type=none --recurse --output=json \
    repo-ls "$path" | /usr/bin/python3 -c 'import json, sys
print(sum(entry.get("size", 0) for entry in json.load(sys.stdin).values()))'
}

# measure WHAT TOOL STORE LEVEL WATCH COMMAND...
measure() {
  local what=$1 tool=$2 store=$3 level=$4 watch=$5 before=0 store_pids=()
  shift 5
  [[ $store != s3 ]] || store_pids=(--store "$work/s3/pid")
  [[ $what != full && $what != diff || $store == - ]] || before=$(stored "$tool" "$store" "$level") || return
  sql -c CHECKPOINT
  sync
  local tags=("what=$what" "tool=$tool" "store=$store" "level=$level" "round=$round")
  unprivileged /usr/bin/python3 "$work/measure.py" --server "$work/data" "${store_pids[@]}" --watch "$watch" \
    --results "$work/results" "${tags[@]/#/--tag=}" -- "$@" >"$work/command.log" 2>&1 || return
  if [[ $what == full || $what == diff ]]; then
    local bytes
    if [[ $store == - ]]; then
      bytes=$(du -sb "$work/basebackup" | cut -f 1) || return
    else
      bytes=$(stored "$tool" "$store" "$level") || return
      bytes=$((bytes - before))
    fi
    unprivileged /usr/bin/python3 -c 'import json, sys
print(json.dumps(dict(tag.split("=") for tag in sys.argv[2:]) | {"stored": int(sys.argv[1])}))' \
      "$bytes" "${tags[@]}" | unprivileged tee -a "$work/results" >/dev/null
  fi
  printf '%-8s %-13s %-4s level %-3s %8.2f s\n' "$what" "$tool" "$store" "$level" \
    "$(tail -n 2 "$work/results" | wall_of)"
}

wall_of() { /usr/bin/python3 -c 'import json, sys
print([r["wall"] for r in map(json.loads, sys.stdin) if "wall" in r][-1])'; }

measured() {
  measure "$@" || {
    tail -n 20 "$work/command.log" >&2
    fail "$1 by $2 on $3 failed"
  }
}

backup_veza() {
  local what=$1 store=$2 level=$3 command
  [[ $what == full || $veza_diff ]] || return 0
  archive_with veza "$store" "$level"
  mapfile -d '' -t command < <(printf '%s\0' "$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -p "$port" \
    -U postgres -c "SELECT veza_backup_now('$what')")
  if ! measure "$what" veza "$store" "$level" 'veza_backup' "${command[@]}"; then
    tail -n 5 "$work/command.log" >&2
    [[ $what == diff ]] || fail "the full backup failed"
    grep -qi 'type' "$work/command.log" || fail "the diff backup failed"
    echo "this build of veza_backup has no diff backups yet: not measured"
    veza_diff=
  fi
}

backup_pgbackrest() {
  archive_with pgbackrest "$2" "$3"
  measured "$1" pgbackrest "$2" "$3" pgbackrest \
    "$PGBACKREST" --config="$work/pgbackrest-$2-$3.conf" --stanza=bench --type="$1" backup
}

# Plain, as everybody has it: no encryption, no WAL, tar files on the same disk.
backup_pg_basebackup() {
  local level=$3
  discard "$work/basebackup"
  archive_with nothing
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

restore_veza() {
  discard "$work/restored"
  measured restore veza "$1" "$2" vezactl "$VEZACTL" --config "$work/veza-$1-$2.conf" restore --quiet \
    --jobs "$workers" --target-dir "$work/restored" --target-immediate
  discard "$work/restored"
}

restore_pgbackrest() {
  discard "$work/restored"
  unprivileged install -d -m 0700 "$work/restored"
  measured restore pgbackrest "$1" "$2" pgbackrest \
    "$PGBACKREST" --config="$work/pgbackrest-$1-$2.conf" --stanza=bench --pg1-path="$work/restored" \
    --type=immediate restore
  discard "$work/restored"
}

# --- the rounds ----------------------------------------------------------------------------------

# Lines of "tool store level", in turn from the front and from the back.
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
  if [[ $restore ]]; then
    while read -r tool store level <&3; do
      [[ $level == "${levels%% *}" ]] || continue
      "restore_$tool" "$store" "$level"
    done 3< <(runs restore)
  fi
  archive_with nothing
  update_rows "$round"
  while read -r tool store level <&3; do
    "backup_$tool" diff "$store" "$level"
  done 3< <(runs diff)
}

main() {
  parse_arguments "$@"
  prepare $((size * 6))
  build_cluster
  for ((round = 1; round <= rounds; round++)); do
    run_round
  done
  say "medians of $rounds"
  local known
  mapfile -t known < <(facts)
  /usr/bin/python3 "$top/bench/report.py" "$work/results" "$json" "${known[@]}" "files=$cluster_files" \
    "bytes=$cluster_bytes" "updates=$updates"
}

main "$@"
