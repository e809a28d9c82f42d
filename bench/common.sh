# shellcheck shell=bash
# What the benchmarks share; sourced by run.sh and wal.sh.
#
# The cluster is in $work/data, listens on a socket in $work, and includes $work/active.conf, which says
# who archives; both tools have a file of settings for each store and level.

# shellcheck source=test/support/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../test/support/common.sh"

# These three and keep may be changed by arguments.
rounds=3
stores="dir s3"
levels=3
keep=
# More lines for pgBackRest's settings.
pgbackrest_options=
work=
workers=2
discarded=0

say() { printf '\n=== %s (after %d s)\n' "$*" "$SECONDS"; }

finish() {
  local status=$?
  trap - EXIT
  if [[ -f ${work:-/nowhere}/data/postmaster.pid ]]; then
    unprivileged "$bindir/pg_ctl" -D "$work/data" -m immediate -w stop >/dev/null || true
  fi
  [[ ! -d $work/s3 ]] || bash "$top/test/support/rgw.sh" stop "$work/s3"
  if [[ $status -ne 0 || $keep ]]; then
    echo "$(basename "$0"): everything is kept in $work"
  else
    rm -rf "$work"
  fi
  exit "$status"
}

# --- the cluster ---------------------------------------------------------------------------------

sql() { unprivileged "$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -p "$port" -U postgres "$@"; }

server() { unprivileged "$bindir/pg_ctl" -D "$work/data" -l "$work/server.log" -w -t 300 "$@" >/dev/null; }

# --- the tools and their repositories ------------------------------------------------------------

private_file() { unprivileged bash -c "umask 077; cat >'$1'"; }

# Frees the space of a directory, and keeps its files as empty ones until the end: ext4 does not use the
# inode of a deleted file again for a minute or more, and whoever creates thousands of files after thousands
# were deleted pays for the search (seconds of CPU time).
discard() {
  [[ -e $1 ]] || return 0
  find "$1" -type f -size +0 -exec truncate -s 0 {} +
  mkdir -p "$work/discarded"
  mv "$1" "$work/discarded/$((++discarded))"
}

# One file of settings for each tool, store and level.
write_settings() {
  local store level repository
  for store in $stores; do
    for level in $levels; do
      repository=$work/repository/veza-$level
      [[ $store == dir ]] || repository="s3://${VEZA_TEST_S3_BUCKET:-}/veza-$level"
      {
        echo "veza_backup.repository = '$repository'"
        echo "veza_backup.cluster = 'bench'"
        echo "veza_backup.cipher_passphrase = '$passphrase'"
        echo "veza_backup.compression_level = $level"
        [[ $store == dir ]] || cat <<CONF
veza_backup.s3_endpoint = '$s3_endpoint'
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
repo1-s3-endpoint=${s3_endpoint#https://}
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

# Every repository is new in every round, so that no round finds more there than the one before.
fresh_repositories() {
  discard "$work/repository"
  unprivileged mkdir -p "$work/repository" "$work/log" "$work/lock" "$work/spool"
  if [[ " $stores " == *" s3 "* ]]; then
    [[ ! -d $work/s3 ]] || bash "$top/test/support/rgw.sh" stop "$work/s3"
    bash "$top/test/support/rgw.sh" start "$work/s3"
    # shellcheck source=/dev/null
    source "$work/s3/env"
    # By name: pgBackRest does not know addresses in certificates.
    s3_endpoint=https://localhost:${VEZA_TEST_S3_TLS_ENDPOINT##*:}
  fi
  write_settings
}

backrest() {
  local store=$1 level=$2
  shift 2
  unprivileged "$PGBACKREST" --config="$work/pgbackrest-$store-$level.conf" --stanza=bench "$@"
}

# A reload reaches every process a little later.
retry() {
  local i
  for ((i = 0; i < 20; i++)); do
    ! "$@" 2>"$work/retry.log" || return 0
    sleep 0.2
  done
  cat "$work/retry.log" >&2
  return 1
}

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
  # From 2.46 on.
  ((10#${pgbackrest_version%.*} * 1000 + 10#${pgbackrest_version#*.} < 2046)) || block_increments=yes
  echo "pgBackRest $pgbackrest_version"
}

# Everything that a benchmark needs before its cluster: scratch directory, programs, a server with the
# extension in it. The argument is how many MiB must be free.
prepare() {
  local free
  bash "$top/test/support/setup.sh" bench
  make_work_directory bench
  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  free=$(df --output=avail -m "$work" | tail -n 1)
  ((free > $1)) || fail "$work has $free MiB free; $1 are needed (VEZA_TEST_DIR chooses the place)"
  install -m 0644 "$top"/bench/*.py "$work"
  choose_pgbackrest
  say "make, make install"
  install_private_server
  passphrase=$(openssl rand -hex 24)
  port=$((RANDOM % 10000 + 20000))
}

# For the report, one a line.
facts() {
  echo "postgres=$("$bindir/postgres" --version | grep -oE '[0-9.]+' | head -n 1)"
  echo "pgbackrest=$pgbackrest_version"
  echo "block_increments=${block_increments:-no}"
  echo "revision=$(git -C "$top" describe --always --dirty 2>/dev/null || echo unknown)"
  echo "rounds=$rounds"
  echo "workers=$workers"
}
