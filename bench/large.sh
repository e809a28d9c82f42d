#!/usr/bin/env bash
# Measures what commands that list a whole repository cost with very many objects: requests, time, memory.
#
#   bench/large.sh [--segments N] [--backups N] [--keep]
#
# Builds, makes a repository of a million WAL segments and a thousand backups in a directory
# (made_up_repository.cpp), and runs info, expire --dry-run, verify and restore --dry-run: first on the directory,
# then on listing_server.py, which serves the same directory as a bucket and counts the requests. Leaves
# nothing running. README.md describes the measurement. `--segments 10000 --backups 100` is a quick test
# that it works.
#
# Environment variables: VEZA_TEST_DIR, the place for the scratch directory (default /tmp; 5 GB and 1.1
# million inodes must be free).
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

segments=1000000
backups=1000
server_pid=

stop() {
  local status=$?
  [[ ! $server_pid ]] || kill "$server_pid" 2>/dev/null || true
  if [[ $status -ne 0 || $keep ]]; then
    echo "large.sh: everything is kept in $work"
  else
    rm -rf "$work"
  fi
}

settings_of() {
  echo "veza_backup.cluster = 'main'"
  echo "veza_backup.cipher = 'none'"
  if [[ $1 == dir ]]; then
    echo "veza_backup.repository = '$work/repository'"
  else
    cat <<CONF
veza_backup.repository = 's3://bucket'
veza_backup.s3_endpoint = 'http://127.0.0.1:$(cat "$work/port")'
veza_backup.s3_access_key = 'AKIA7'
veza_backup.s3_secret_key = 'k7Jd0'
CONF
  fi
}

# measured STORE COMMAND...: its exit code does not matter, because the content of packs and manifests is made up.
measured() {
  local store=$1 requests='{}'
  shift
  [[ $store == dir ]] || curl -sS "http://127.0.0.1:$(cat "$work/port")/requests" >"$work/before"
  /usr/bin/time -f '%e %U %S %M' -o "$work/time" \
    "$top/vezactl" --config "$work/$store.conf" "$@" >"$work/$store-$1.log" 2>&1 || true
  [[ $store == dir ]] || requests=$(curl -sS "http://127.0.0.1:$(cat "$work/port")/requests")
  tail -n 1 "$work/time" | awk -v store="$store" -v what="$1" -v requests="$requests" \
    '{ printf "%-4s %-8s %7.1f s  %6.1f s of CPU  %5d MB  %s\n", store, what, $1, $2 + $3, $4 / 1024, requests }'
}

measure() {
  measured "$1" info
  measured "$1" expire --dry-run --full 4 --diff 7 --incr 14 --archive 4
  measured "$1" verify
  measured "$1" restore --dry-run --user nobody --target-dir "$work/target/data"
}

main() {
  parse_arguments "segments backups" "" "" "$@"
  work=$(mktemp -d "${VEZA_TEST_DIR:-/tmp}/veza-large.XXXXXX")
  trap stop EXIT
  chmod 0755 "$work"
  install -d -m 1777 "$work/target"
  say "build"
  make -C "$top" -j2 vezactl bench-programs >"$work/make.log" 2>&1 || fail "see $work/make.log"
  say "a repository of $segments segments and $backups backups"
  # A segment each minute.
  "$top/bench/made_up_repository" "$work/repository/main" $((segments / 1440 + 1)) "$segments" "$segments" "$backups"
  chmod -R a+rX "$work/repository"
  say "in a directory"
  settings_of dir >"$work/dir.conf"
  measure dir
  say "as a bucket"
  /usr/bin/python3 "$top/bench/listing_server.py" "$work/repository" "$work/port" &
  server_pid=$!
  wait_for_port "$work/port" "$server_pid"
  settings_of s3 >"$work/s3.conf"
  measure s3
}

main "$@"
