#!/usr/bin/env bash
# Counts the requests that an idle node sends to S3 in an hour, by kind, and says what they cost.
#
#   bench/idle.sh [--minutes N] [--keep]
#
# Installs what is missing (Debian packages), builds, and makes a small cluster with archive_timeout = 60
# and an encrypted repository on a throw-away Ceph gateway, with one full backup. Then it counts for
# N minutes (10) while nothing is written, and for as long while one row is written every ten seconds, so that a
# segment is archived each minute. Prints requests an hour by method and by what they ask for. The
# gateway's log is what is counted. Leaves nothing running. README.md describes the measurement.
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

minutes=10
stores=s3

log_lines() { wc -l <"$work/s3/log/client.rgw.log"; }

# count WHAT COMMAND...: repeats the command every ten seconds for $minutes minutes, and reports.
count() {
  local what=$1 first end
  shift
  say "$what, $minutes min"
  first=$(log_lines)
  end=$((SECONDS + 60 * minutes))
  while ((SECONDS < end)); do
    "$@"
    sleep 10
  done
  tail -n +"$((first + 1))" "$work/s3/log/client.rgw.log" |
    /usr/bin/python3 "$top/bench/requests.py" "$VEZA_TEST_S3_BUCKET/veza-3/bench/" "$minutes"
}

write_row() { sql -c "INSERT INTO rows VALUES (1)"; }

main() {
  parse_arguments "minutes" "" "" "$@"
  prepare_server 4000
  fresh_repositories
  make_cluster <<<"archive_timeout = 60"
  archive_settings veza s3 3 | private_file "$work/active.conf"
  server start
  sql -c "CREATE EXTENSION veza_backup" -c "CREATE TABLE rows (i int)" -c "CALL veza_backup_take('full')"
  sleep 90 # the switch behind the backup, the first observations, the index of WAL
  count "nothing is written" true
  count "a row is written every ten seconds" write_row
}

main "$@"
