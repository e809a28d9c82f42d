# shellcheck shell=bash
# What the benchmarks share. run.sh, wal.sh, restore.sh and size.sh source it.
#
# The cluster is in $work/data and listens on a socket in $work. It includes $work/active.conf,
# which selects the tool that archives. Both tools have a settings file for each store and level.

# shellcheck source=test/support/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../test/support/common.sh"

# Arguments may change these.
rounds=3
stores="dir s3"
levels=3
json=
size=3600
files=13000
keep=
# More lines for pgBackRest's settings, and options of postgres.
pgbackrest_options=
server_options=
# "far" when the S3 server is also reached with added latency, through $far_endpoint.
far=
far_endpoint=
proxy_pid=
work=
workers=2
clients=4
# The archive_library line that the running archiver knows.
library=
discarded=0

say() { printf '\n=== %s (after %d s)\n' "$*" "$SECONDS"; }

# parse_arguments "NUMBERS" "OPTIONS" "SWITCHES" ARGUMENT...: sets the variable of that name for each --NUMBER VALUE
# and --OPTION VALUE, empties it for each --no-SWITCH. --json and --keep go with every benchmark.
parse_arguments() {
  local numbers=" $1 " options=" $1 $2 json " switches=" $3 " name
  shift 3
  while (($# > 0)); do
    name=${1#--}
    if [[ $1 == --keep ]]; then
      keep=yes
    elif [[ $1 == --no-?* && $switches == *" ${name#no-} "* ]]; then
      printf -v "${name#no-}" ''
    elif [[ $1 == --?* && $options == *" $name "* ]]; then
      (($# > 1)) || fail "$1 needs a value"
      [[ $numbers != *" $name "* || $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 is a number"
      printf -v "$name" '%s' "$2"
      shift
    else
      fail "unknown argument $1; the head of $0 says how to use it"
    fi
    shift
  done
}

finish() {
  local status=$?
  trap - EXIT
  if [[ -f ${work:-/nowhere}/data/postmaster.pid ]]; then
    unprivileged "$bindir/pg_ctl" -D "$work/data" -m immediate -w stop >/dev/null || true
  fi
  [[ ! $proxy_pid ]] || kill "$proxy_pid" 2>/dev/null || true
  [[ ! -d $work/s3 ]] || bash "$top/test/support/rgw.sh" stop "$work/s3"
  if [[ $status -ne 0 || $keep ]]; then
    echo "$(basename "$0"): everything is kept in $work"
  else
    rm -rf "$work"
  fi
  exit "$status"
}

# --- the cluster ---------------------------------------------------------------------------------

sql() { unprivileged "${psql[@]}" "$@"; }

server() { unprivileged "$bindir/pg_ctl" -D "$work/data" -l "$work/server.log" -w -t 300 "$@" >/dev/null; }

# Options for the time in which a cluster is filled.
readonly filling="-c wal_level=minimal -c max_wal_senders=0 -c archive_mode=off -c fsync=off"

# Makes an empty cluster with the settings of all benchmarks and those on standard input.
make_cluster() {
  unprivileged "$bindir/initdb" -D "$work/data" -U postgres -A trust -k -N --no-locale -E UTF8 >"$work/initdb.log"
  unprivileged touch "$work/active.conf"
  {
    cat <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
port = $port
shared_buffers = 256MB
checkpoint_timeout = 1h
autovacuum = off
archive_mode = on
shared_preload_libraries = 'veza_backup'
CONF
    cat
    echo "include '$work/active.conf'"
  } | unprivileged tee -a "$work/data/postgresql.conf" >/dev/null
}

# Makes a cluster of $size MiB and $files files in total. Most data is pgbench's, in partitions, so
# that no tool suffers from two huge files. The rest is thousands of small tables with four files
# each. Afterwards neither hint bits nor vacuum have anything to change.
build_large_cluster() {
  say "a cluster of about $size MiB in $files files"
  make_cluster <<CONF
maintenance_work_mem = 512MB
max_locks_per_transaction = 1024
max_wal_size = 16GB
max_wal_senders = 4
veza_backup.jobs = $workers
CONF
  server -o "$filling" start
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
  server -o "$server_options" start
  # Counts what is copied: the data directory without WAL.
  unprivileged find "$work/data" -path "$work/data/pg_wal" -prune -o -type f -print0 |
    unprivileged tee "$work/files" >/dev/null
  cluster_files=$(tr -dc '\0' <"$work/files" | wc -c)
  cluster_bytes=$(du --files0-from="$work/files" --apparent-size -b -c | tail -n 1 | cut -f 1)
  echo "$cluster_files files, $((cluster_bytes / 1000000)) MB"
}

# --- WAL ----------------------------------------------------------------------------------------

# Loads text for write_wal into the running cluster.
load_corpus() {
  bulk_load=$work/wal_bulk_load.sql
  install -m 0644 "$top/bench/wal_bulk_load.sql" "$bulk_load"
  sql -f - <"$top/bench/wal_corpus.sql"
}

pgbench() {
  unprivileged "$bindir/pgbench" -h "$work" -p "$port" -U postgres -n "$@" postgres 2>&1
}

wal_position() { sql -c "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"; }

# until_written MIB COMMAND...: repeats the command until so much WAL was written.
until_written() {
  local end
  end=$(($(wal_position) + ($1 << 20)))
  shift
  while (($(wal_position) < end)); do
    "$@" >"$work/pgbench.log"
  done
}

# write_wal SEGMENTS: writes small transactions with full-page images, bulk loads of text with
# indexes, and an update of many rows, in turns. Every part of the WAL therefore has some of each.
write_wal() {
  local end
  end=$(($(wal_position) + $1 * 16777216))
  while (($(wal_position) < end)); do
    sql -c CHECKPOINT
    until_written 48 pgbench -c "$clients" -t 500
    until_written 64 pgbench -c 2 -t 2 -f "$bulk_load"
    sql -c "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 500 = 1 AND aid <= 3000000"
  done
}

# --- the tools and their repositories ------------------------------------------------------------

private_file() { unprivileged bash -c "umask 077; cat >'$1'"; }

# Frees the space of a directory, but keeps its files as empty files until the end. ext4 does not
# reuse the inode of a deleted file for a minute or more. A process that creates thousands of files
# after thousands were deleted would pay for the search (seconds of CPU time).
discard() {
  [[ -e $1 ]] || return 0
  find "$1" -type f -size +0 -exec truncate -s 0 {} +
  mkdir -p "$work/discarded"
  mv "$1" "$work/discarded/$((++discarded))"
}

# Writes a settings file for each tool, store and level. "near" and "far" are the same repository.
write_settings() {
  local store level repository endpoint
  for store in $stores $far; do
    endpoint=${s3_endpoint:-}
    [[ $store != far ]] || endpoint=$far_endpoint
    for level in $levels; do
      repository=$work/repository/veza-$level
      [[ $store == dir ]] || repository="s3://${VEZA_TEST_S3_BUCKET:-}/veza-$level"
      {
        echo "veza_backup.repository = '$repository'"
        echo "veza_backup.cluster = 'bench'"
        echo "veza_backup.cipher_passphrase = '$passphrase'"
        echo "veza_backup.compression_level = $level"
        # The tools take turns, so each has gaps in its WAL. A backup after each gap would disturb
        # the measurement.
        echo "veza_backup.backup_after_gap = off"
        echo "veza_backup.schedule_full = ''"
        echo "veza_backup.schedule_diff = ''"
        [[ $store == dir ]] || cat <<CONF
veza_backup.s3_endpoint = '$endpoint'
veza_backup.s3_ca_file = '$VEZA_TEST_S3_CA_FILE'
veza_backup.s3_access_key = '$VEZA_TEST_S3_ACCESS_KEY'
veza_backup.s3_secret_key = '$VEZA_TEST_S3_SECRET_KEY'
CONF
      } | private_file "$work/veza-$store-$level.conf"
      {
        echo "[global]"
        if [[ $store == dir ]]; then
          echo "repo1-path=$work/repository/pgbackrest-$level"
        else
          cat <<CONF
repo1-type=s3
repo1-path=/pgbackrest-$level
repo1-s3-endpoint=${endpoint#https://}
repo1-s3-uri-style=path
repo1-s3-region=us-east-1
repo1-s3-bucket=$VEZA_TEST_S3_BUCKET
repo1-s3-key=$VEZA_TEST_S3_ACCESS_KEY
repo1-s3-key-secret=$VEZA_TEST_S3_SECRET_KEY
repo1-storage-ca-file=$VEZA_TEST_S3_CA_FILE
CONF
        fi
        cat <<CONF
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=$passphrase
repo1-bundle=y
${block_increments:+repo1-block=y}
repo1-retention-full=100
compress-type=zst
compress-level=$level
process-max=$workers
start-fast=y
expire-auto=n
log-level-console=warn
$pgbackrest_options
log-path=$work/log
lock-path=$work/lock
spool-path=$work/spool
[bench]
pg1-path=$work/data
pg1-socket-path=$work
pg1-port=$port
pg1-user=postgres
CONF
      } | private_file "$work/pgbackrest-$store-$level.conf"
    done
  done
}

# Makes every repository anew in every round, so that no round finds more there than the one before.
fresh_repositories() {
  discard "$work/repository"
  unprivileged mkdir -p "$work/repository" "$work/log" "$work/lock" "$work/spool"
  if [[ " $stores " == *" s3 "* ]]; then
    [[ ! -d $work/s3 ]] || bash "$top/test/support/rgw.sh" stop "$work/s3"
    bash "$top/test/support/rgw.sh" start "$work/s3"
    # shellcheck source=/dev/null
    source "$work/s3/env"
    # Uses a host name, because pgBackRest does not support addresses in certificates.
    s3_endpoint=https://localhost:${VEZA_TEST_S3_TLS_ENDPOINT##*:}
  fi
  write_settings
}

backrest() {
  local store=$1 level=$2
  shift 2
  unprivileged "$PGBACKREST" --config="$work/pgbackrest-$store-$level.conf" --stanza=bench "$@"
}

# Prints the settings that make the cluster archive with a tool to a repository. "nothing"
# acknowledges every segment without storing it. Only pg_basebackup has use for summaries of WAL, so
# nobody else shares the processors with what makes them.
archive_settings() {
  local tool=$1 store=${2:-} level=${3:-}
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
    nothing | pg_basebackup)
      echo "archive_library = ''"
      echo "archive_command = '/bin/true'"
      [[ $tool == nothing ]] || ! has_summaries || echo "summarize_wal = on"
      ;;
  esac
}

# PostgreSQL has summaries of WAL from 17 on, and with them pg_basebackup --incremental.
has_summaries() { ((postgres_version >= 17)); }

# wait_for SECONDS CONDITION MESSAGE: the condition is SQL.
wait_for() {
  local deadline=$((SECONDS + $1))
  until [[ $(sql -c "SELECT $2") == t ]]; do
    ((SECONDS < deadline)) || fail "$3: see $work/server.log"
    sleep 0.2
  done
}

# wait_for_port FILE PID: until the server of this process has written its port. One with a million names takes a while.
wait_for_port() {
  local deadline=$((SECONDS + 300))
  until [[ -s $1 ]]; do
    kill -0 "$2" 2>/dev/null || fail "the server that writes $1 has ended"
    ((SECONDS < deadline)) || fail "no port in $1 within five minutes"
    sleep 0.1
  done
}

# wait_for_segment SEGMENT TOOL
wait_for_segment() {
  wait_for 300 "(SELECT last_archived_wal >= '$1' FROM pg_stat_archiver)" "$2 did not archive within five minutes"
}

# Makes the cluster archive with this tool to this repository, and waits until a segment has
# arrived. (The archiver ends and starts again when its library changes.)
archive_to() {
  local tool=$1 store=${2:-} level=${3:-} wanted
  archive_settings "$@" | private_file "$work/active.conf"
  sql -c "SELECT pg_reload_conf()" >/dev/null
  # Fails when a repository already exists there.
  case $tool in
    veza) retry sql -c "SELECT veza_backup_init()" >/dev/null ;;
    pgbackrest) backrest "$store" "$level" --no-online stanza-create ;;
  esac
  wanted=$(sql -c "SELECT pg_logical_emit_message(false, 'bench', '')" \
    -c "SELECT pg_walfile_name(pg_switch_wal())" | tail -n 1)
  wait_for_segment "$wanted" "$tool"
}

archiver() { sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'"; }

# The archiver ends when its library changes, and starts again up to ten seconds later.
reload() {
  local before now deadline=$((SECONDS + 30)) wanted
  wanted=$(sed -n "s/^archive_library = //p" "$work/active.conf")
  before=$(archiver)
  sql -c "SELECT pg_reload_conf()" >"$work/reload.log"
  if [[ $wanted != "$library" ]]; then
    until now=$(archiver) && [[ $now && $now != "$before" ]]; do
      ((SECONDS < deadline)) || fail "the archiver did not come back: see $work/server.log"
      sleep 0.1
    done
    library=$wanted
  fi
  # The archiver reads the new settings a little later.
  sleep 0.5
}

# A reload reaches the processes a little later.
retry() {
  local i
  for ((i = 0; i < 20; i++)); do
    ! "$@" 2>"$work/retry.log" || return 0
    sleep 0.2
  done
  cat "$work/retry.log" >&2
  return 1
}

# --- measuring -----------------------------------------------------------------------------------

# run_measured WHAT TOOL STORE LEVEL WATCH [OPTION OF measure.py...] -- COMMAND... The results are
# in $work/results, and the output of the command in $work/command.log. Ends the benchmark when the
# command fails.
run_measured() {
  local what=$1 tool=$2 store=$3 level=$4 watch=$5 options=()
  shift 5
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  [[ $store != s3 && $store != far ]] || options+=(--store "$work/s3/pid")
  local tags=("what=$what" "tool=$tool" "store=$store" "level=$level" "round=$round")
  sync
  unprivileged /usr/bin/python3 "$work/measure.py" "${options[@]}" --watch "$watch" --results "$work/results" \
    "${tags[@]/#/--tag=}" "$@" >"$work/command.log" 2>&1 || {
    tail -n 20 "$work/command.log" "$work/server.log" >&2
    fail "$what by $tool on $store failed"
  }
}

# record WHAT TOOL STORE LEVEL: adds the figures on standard input (a JSON object) to the results.
record() {
  /usr/bin/python3 -c 'import json, sys
names = ("what", "tool", "store", "level", "round")
print(json.dumps(dict(zip(names, sys.argv[1:])) | json.load(sys.stdin)))' "$@" "$round" |
    unprivileged tee -a "$work/results" >/dev/null
}

# Prints the last wall time of the results on standard input.
wall_of() { /usr/bin/python3 -c 'import json, sys
print([r["wall"] for r in map(json.loads, sys.stdin) if "wall" in r][-1])'; }

# --- preparation ---------------------------------------------------------------------------------

choose_pgbackrest() {
  if [[ ! ${PGBACKREST:-} ]]; then
    say "Debian's newest pgBackRest"
    if bash "$top/bench/newest_pgbackrest.sh" "$work/pgbackrest" >"$work/pgbackrest.log" 2>&1; then
      PGBACKREST=$work/pgbackrest/pgbackrest
    else
      tail -n 3 "$work/pgbackrest.log"
      echo "it cannot be had; the installed one takes its place"
    fi
  fi
  PGBACKREST=$(type -P "${PGBACKREST:-pgbackrest}") || fail "there is no ${PGBACKREST:-pgbackrest}"
  pgbackrest_version=$("$PGBACKREST" version | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
  block_increments=
  # pgBackRest has block increments from 2.46 on.
  ((10#${pgbackrest_version%.*} * 1000 + 10#${pgbackrest_version#*.} < 2046)) || block_increments=yes
  echo "pgBackRest $pgbackrest_version"
}

# Prepares what a benchmark of veza_backup alone needs before its cluster: a scratch directory, the
# programs, and a server with the extension. The argument is the number of MiB that must be free.
prepare_server() {
  make_room "$1"
  build_server
}

# The same for a comparison with pgBackRest.
prepare() {
  make_room "$1"
  choose_pgbackrest
  build_server
}

make_room() {
  local free
  bash "$top/test/support/setup.sh" "$([[ " $stores " == *" s3 "* ]] && echo bench-s3 || echo bench)"
  make_work_directory bench
  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  free=$(df --output=avail -m "$work" | tail -n 1)
  ((free > $1)) || fail "$work has $free MiB free; $1 are needed (VEZA_TEST_DIR chooses the place)"
  install -m 0644 "$top"/bench/*.py "$work"
}

build_server() {
  say "make, make install"
  install_private_server
  passphrase=$(openssl rand -hex 24)
  port=$((RANDOM % 10000 + 20000))
  psql=("$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -p "$port" -U postgres)
  postgres_version=$("$bindir/postgres" --version | grep -oE '[0-9.]+' | head -n 1)
  postgres_version=${postgres_version%%.*}
}

# --- the report ----------------------------------------------------------------------------------

# Prints facts for the report, one per line.
facts() {
  echo "postgres=$("$bindir/postgres" --version | grep -oE '[0-9.]+' | head -n 1)"
  echo "revision=${VEZA_REVISION:-$(git -C "$top" describe --always --dirty 2>/dev/null || echo unknown)}"
  echo "rounds=$rounds"
  [[ ! ${pgbackrest_version:-} ]] || {
    echo "workers=$workers"
    echo "pgbackrest=$pgbackrest_version"
    echo "block_increments=${block_increments:-no}"
  }
}

# report SCRIPT FACT=VALUE...: prints what was measured, and writes it to $json.
report() {
  local script=$1 known
  shift
  say "medians of $rounds"
  mapfile -t known < <(facts)
  /usr/bin/python3 -B "$top/bench/$script" "$work/results" "$json" "${known[@]}" "$@"
}
