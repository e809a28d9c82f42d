#!/usr/bin/env bash
# Runs ops/incus/pg-restore-drill and the drill's systemd unit with the real things: Incus 6 from Debian's
# backports, a container made of a Debian with PostgreSQL, a cluster with a backup on an S3 server.
# Not part of test/run.sh: it makes a whole Debian, and needs root on a machine that can run containers.
#
#   test/incus.sh [DIRECTORY]
#
# The image is kept in DIRECTORY (/var/tmp/veza-incus) for the next time. The Incus server is one of the
# test's own: its state is in the scratch directory, and any other on the machine is left alone.
set -euo pipefail
# shellcheck source=test/support/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/support/common.sh"

readonly cache=${1:-/var/tmp/veza-incus}
readonly wrapper=$top/ops/incus/pg-restore-drill
readonly container=pg-restore-drill
# PostgreSQL, an init, and what vezactl needs.
readonly packages=postgresql-15,systemd-sysv,libcurl4,libssl3,libzstd1,libpugixml1v5,libfmt9,libdate-tz3,libseccomp2,tzdata,ca-certificates

passed=0
failed=0
incusd=

((EUID == 0)) || fail "run it as root: debootstrap and Incus need that"

# Incus from backports, with lists and sources of this test's own: those of the machine stay as they are.
install_incus() {
  local apt mirror=http://deb.debian.org/debian key=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -x /usr/libexec/incus/incusd ]] && command -v incus debootstrap >/dev/null && return
  echo "installing Incus"
  mkdir -p "$work/apt/partial"
  printf "deb [signed-by=$key] $mirror %s main\n" bookworm bookworm-updates bookworm-backports >"$work/apt.list"
  apt=(apt-get -q -y -o "Dir::Etc::SourceList=$work/apt.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/apt" -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update >"$work/apt.log"
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends -t bookworm-backports \
    incus-base incus-client debootstrap >>"$work/apt.log"
}

make_image() {
  [[ ! -f $cache/image.tar ]] || return 0
  echo "making the image"
  mkdir -p "$cache"
  rm -rf "${cache:?}/rootfs"
  debootstrap --variant=minbase --include="$packages" bookworm "$cache/rootfs" \
    http://deb.debian.org/debian >"$cache/debootstrap.log"
  rm -rf "$cache"/rootfs/{etc,var/lib}/postgresql/15/main "$cache"/rootfs/var/cache/apt/archives/*.deb
  printf 'architecture: x86_64\ncreation_date: %s\n' "$(date +%s)" >"$cache/metadata.yaml"
  tar -C "$cache" --numeric-owner -cf "$cache/image.new" metadata.yaml rootfs
  mv "$cache/image.new" "$cache/image.tar"
  rm -rf "${cache:?}/rootfs"
}

start_incus() {
  export INCUS_DIR=$work/incus
  mkdir "$INCUS_DIR"
  setsid /usr/libexec/incus/incusd --group root >"$work/incusd.log" 2>&1 </dev/null &
  incusd=$!
  incus admin waitready --timeout 60
  incus admin init --preseed <<'PRESEED'
storage_pools:
- name: default
  driver: dir
profiles:
- name: default
  devices:
    root:
      type: disk
      path: /
      pool: default
PRESEED
  incus image import --quiet "$cache/image.tar" --alias veza-drill
}

stop_incus() {
  local mount
  timeout 120 incus admin shutdown || kill "$incusd"
  wait "$incusd" || true
  while read -r mount; do
    umount -l "$mount"
  done < <(awk -v below="$INCUS_DIR/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r)
}

finish() {
  local status=$?
  trap - EXIT
  [[ ! $incusd ]] || stop_incus
  [[ ! -f $work/data/postmaster.pid ]] || unprivileged "$bindir/pg_ctl" -D "$work/data" -m immediate stop >/dev/null
  [[ ! -d $work/s3 ]] || bash "$top/test/support/rgw.sh" stop "$work/s3"
  if ((status == 0)); then
    rm -rf --one-file-system "$work"
  else
    echo "incus.sh: logs are kept in $work"
  fi
  exit "$status"
}

query() { unprivileged "$bindir/psql" -X -h "$work" -U postgres -v ON_ERROR_STOP=1 -Atc "$1" postgres; }

# A cluster on S3 with a backup, a few rows in it and more behind it. Shutting it down archives those.
start_cluster() {
  bash "$top/test/support/rgw.sh" start "$work/s3"
  # shellcheck source=/dev/null
  source "$work/s3/env"
  echo "$VEZA_TEST_S3_SECRET_KEY" >"$work/s3.key"
  echo "correct horse battery staple" >"$work/passphrase"
  cat >"$work/veza_backup.conf" <<CONF
veza_backup.repository = 's3://$VEZA_TEST_S3_BUCKET/incus'
veza_backup.s3_endpoint = '$VEZA_TEST_S3_ENDPOINT'
veza_backup.s3_access_key = '$VEZA_TEST_S3_ACCESS_KEY'
veza_backup.s3_secret_key_file = '$work/s3.key'
veza_backup.cipher_passphrase_file = '$work/passphrase'
veza_backup.schedule_full = ''
veza_backup.schedule_diff = ''
CONF
  chmod 600 "$work"/{s3.key,passphrase}
  chown postgres: "$work"/{s3.key,passphrase,veza_backup.conf}
  unprivileged "$bindir/initdb" -D "$work/data" -U postgres -A trust -k --no-locale >"$work/initdb.log"
  unprivileged tee -a "$work/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
shared_preload_libraries = 'veza_backup'
archive_mode = on
archive_library = 'veza_backup'
include '$work/veza_backup.conf'
CONF
  unprivileged "$bindir/pg_ctl" -D "$work/data" -l "$work/server.log" -w start >/dev/null
  {
    query "CREATE EXTENSION veza_backup"
    query "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n"
    query "SELECT veza_backup_now('full')"
    query "INSERT INTO t SELECT generate_series(1001, 1500)"
  } >"$work/query.log"
  unprivileged "$bindir/pg_ctl" -D "$work/data" -m fast -w stop >/dev/null
}

# Runs a command, and counts whether it ends with the exit code wanted.
expect() {
  local name=$1 wanted=$2 status=0
  shift 2
  "$@" >"$work/out" 2>"$work/err" || status=$?
  if ((status == wanted)); then
    passed=$((passed + 1))
    echo "ok - $name"
  else
    failed=$((failed + 1))
    echo "not ok - $name: exit code $status"
    sed 's/^/# /' "$work/out" "$work/err"
  fi
}

drill() {
  "$wrapper" --config "$work/veza_backup.conf" --vezactl "$VEZACTL" --metrics-file "$metrics" "$@"
}

# In the background. Sets background.
start_drill() {
  "$wrapper" --config "$work/veza_backup.conf" --vezactl "$VEZACTL" --metrics-file "$metrics" "$@" \
    >"$work/background.log" 2>&1 &
  background=$!
}

# Until the check of a drill that sleeps in it has begun.
wait_for_check() {
  local i
  for ((i = 0; i < 120; i++)); do
    ! incus exec "$container" -- sh -c 'grep -qs "\[local\] [S]ELECT" /proc/[0-9]*/cmdline' 2>/dev/null || return 0
    sleep 0.5
  done
  cat "$work/background.log"
  return 1
}

no_container() { [[ -z $(incus list --format csv --columns n "^$container\$") ]]; }
metric_is() { grep -qE "^veza_backup_drill_$1(\{[^}]*\})? $2\$" "$metrics"; }
only_metrics_file() { [[ $(ls -A "$(dirname "$metrics")") == "$(basename "$metrics")" ]]; }
value_of() { sed -nE "s/^veza_backup_drill_$1(\{[^}]*\})? //p" "$metrics"; }

test_outcomes() {
  expect "a drill that passes" 0 drill -- --check "SELECT count(*) FROM t" --min 1500 --amcheck --dump --output json
  expect "its answer is alone on standard output" 0 jq -e .passed "$work/out"
  expect "its metrics are here" 0 metric_is success 1
  expect "readable by node_exporter" 0 test "$(stat -c %a "$metrics")" = 644
  expect "Prometheus reads them" 0 promtool check metrics <"$metrics"
  expect "the container is gone" 0 no_container

  local before
  before=$(value_of last_success_timestamp_seconds)
  expect "a check that fails" 1 drill -- --check "SELECT count(*) FROM t" --min 1501
  expect "its metrics are here" 0 metric_is success 0
  expect "with the last success of the former one" 0 metric_is last_success_timestamp_seconds "$before"
  expect "the container is gone after a failure" 0 no_container
  expect "a drill that cannot take place" 2 drill -- --backup 20010101-000000F
  expect "an image that is not there" 2 drill --image no-such-image
  expect "a pool that is not there" 2 drill --pool no-such-pool
  expect "the container is gone after errors" 0 no_container
  expect "nothing is left beside the metrics" 0 only_metrics_file
}

test_interruptions() {
  local background sum
  sum=$(sha256sum "$metrics")
  start_drill -- --check "SELECT pg_sleep(600)"
  expect "a drill is at its checks" 0 wait_for_check
  expect "no second one beside it" 2 drill
  kill -TERM "$background"
  expect "SIGTERM ends it" 143 wait "$background"
  expect "the container is gone after SIGTERM" 0 no_container
  expect "an interrupted drill changes no metrics" 0 test "$(sha256sum "$metrics")" = "$sum"

  start_drill -- --check "SELECT pg_sleep(600)"
  expect "another drill is at its checks" 0 wait_for_check
  kill -KILL "$background"
  expect "SIGKILL ends it" 137 wait "$background"
  expect "what it left does not hinder the next one" 0 drill --keep
  expect "--keep keeps container and server" 0 incus exec "$container" -- \
    sh -c 'grep -qs "bin/[p]ostgres" /proc/[0-9]*/cmdline'
  expect "secrets are for the account of PostgreSQL alone" 0 incus exec "$container" -- \
    sh -c "test \"\$(stat -c %U:%a $work/s3.key $work/passphrase | uniq)\" = postgres:600"
  expect "no secret is in the container's configuration" 1 \
    grep -qF "$VEZA_TEST_S3_SECRET_KEY" <(incus config show "$container" --expanded)
  expect "a kept container makes way for the next drill" 0 drill
  expect "the container is gone after that" 0 no_container

  incus launch veza-drill "$container" --ephemeral --quiet </dev/null >/dev/null 2>&1
  expect "a container of somebody else is not touched" 2 drill
  expect "it is still there" 1 no_container
  incus delete --force "$container"
}

# The unit as it is, in a container that stands for a machine.
test_unit() {
  incus launch veza-drill machine --ephemeral --quiet --config security.nesting=true </dev/null >/dev/null 2>&1
  incus config device add machine s3 proxy "listen=tcp:${VEZA_TEST_S3_ENDPOINT#http://}" \
    "connect=tcp:${VEZA_TEST_S3_ENDPOINT#http://}" bind=instance >/dev/null
  sed "s|$work/|/etc/veza_backup/|" "$work/veza_backup.conf" >"$work/machine.conf"
  incus file push --quiet --mode 0755 "$VEZACTL" machine/usr/local/bin/vezactl
  incus file push --quiet --create-dirs --mode 0644 "$work/machine.conf" machine/etc/veza_backup/veza_backup.conf
  incus file push --quiet --mode 0600 "$work"/{s3.key,passphrase} machine/etc/veza_backup/
  incus exec machine -- chown postgres: /etc/veza_backup/{s3.key,passphrase}
  incus file push --quiet --mode 0644 "$top"/ops/systemd/veza-backup-drill.{service,timer} machine/etc/systemd/system/
  incus exec machine -- mkdir -p /var/lib/prometheus/node-exporter
  expect "the machine is up" 0 timeout 60 incus exec machine -- \
    sh -c 'until systemctl is-active --quiet multi-user.target 2>/dev/null; do sleep 0.2; done'
  incus exec machine -- sh -c 'mkdir /etc/systemd/system/veza-backup-drill.service.d
    cat >/etc/systemd/system/veza-backup-drill.service.d/checks.conf' <<'UNIT'
[Service]
Environment="DRILL_OPTIONS=--check 'SELECT count(*) FROM t' --min 1500"
UNIT
  incus exec machine -- systemctl daemon-reload
  expect "the unit's drill passes" 0 incus exec machine -- systemctl start veza-backup-drill.service
  incus exec machine -- journalctl --no-pager --output cat --unit veza-backup-drill >"$work/unit.log"
  ((failed == 0)) || sed 's/^/# /' "$work/unit.log"
  expect "its metrics are where node_exporter looks" 0 incus exec machine -- \
    grep -q '^veza_backup_drill_success{.*} 1$' /var/lib/prometheus/node-exporter/veza_backup_drill.prom
  incus exec machine -- ls /var/lib/veza_backup_drill >"$work/left"
  expect "nothing of the cluster is left" 0 test "$(cat "$work/left")" = drill.prom
  expect "the timer can be enabled" 0 incus exec machine -- systemctl enable --now veza-backup-drill.timer
  incus delete --force machine
}

for mode in test ops; do bash "$top/test/support/setup.sh" "$mode"; done
make_work_directory incus
trap finish EXIT
trap 'exit 130' INT TERM HUP
install_incus
make_image
install_private_server
start_cluster
start_incus
mkdir "$work/metrics"
metrics=$work/metrics/veza_backup_drill.prom
test_outcomes
test_interruptions
test_unit
echo "$passed passed, $failed failed"
((failed == 0))
