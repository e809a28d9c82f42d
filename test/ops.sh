#!/usr/bin/env bash
# Tests of ops/: alerts, dashboard, runbook, systemd units, the script for Incus (which test/incus.sh runs).
#
#   test/ops.sh        also as test/run.sh ops
#
# Prints a line "ok - NAME" or "not ok - NAME" for each test, and ends with 1 if any failed.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ops=$top/ops

bash "$top/test/support/setup.sh" ops
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# Runs a command, whose output is only of interest when it fails.
check() {
  local name=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    echo "ok - $name"
  else
    status=1
    echo "not ok - $name"
    sed 's/^/# /' "$work/output"
  fi
}

list_of_metrics() { promtool check metrics <"$ops/metrics.txt"; }

each_fits_the_other() {
  /usr/bin/python3 "$top/test/support/check_ops.py" "$ops" "$work/queries.yml"
}

queries_of_dashboard() { promtool check rules "$work/queries.yml"; }

# systemd wants to see the programs, so copies of the units get one that is there.
units() {
  local unit
  for unit in service timer; do
    sed "s|/usr/local/bin/vezactl|/bin/true|" "$ops/systemd/veza-backup-drill.$unit" \
      >"$work/veza-backup-drill.$unit"
  done
  (cd "$work" && systemd-analyze verify --man=no ./veza-backup-drill.service ./veza-backup-drill.timer) \
    >"$work/verify" 2>&1 || { cat "$work/verify" && return 1; }
  # Not all that is wrong makes it fail, as an unknown setting does not.
  ! grep -F veza-backup-drill "$work/verify"
}

# Which day and hour, in words that systemd wrote.
time_of_drill() {
  systemd-analyze calendar "$(sed -n 's/^OnCalendar=//p' "$ops/systemd/veza-backup-drill.timer")" |
    grep 'Normalized form: Sun \*-\*-\* 04:00:00 UTC'
}

# In tenths; 9.6 is a unit without any restriction.
exposure() {
  systemd-analyze security --offline=true --threshold=20 --no-pager "$work/veza-backup-drill.service"
}

check "metrics.txt is what Prometheus reads, and named as it likes" list_of_metrics
check "metrics, alerts, their tests, runbook and dashboard fit each other" each_fits_the_other
check "Prometheus understands the queries of the dashboard" queries_of_dashboard
check "Prometheus understands the alerts" promtool check rules "$ops/prometheus/veza_backup.rules.yml"
for file in "$ops"/prometheus/*.test.yml; do
  check "alerts: $(basename "$file")" promtool test rules "$file"
done
check "systemd understands the units" units
check "the drill is on Sunday at 04:00 UTC" time_of_drill
check "the drill's unit is restricted" exposure
check "shellcheck of pg-restore-drill" shellcheck -x "$ops/incus/pg-restore-drill"
((status == 0))
