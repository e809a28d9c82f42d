#!/usr/bin/env bash
# A throw-away S3 server: Ceph's RADOS gateway on loopback, with one monitor and one OSD behind it.
#
#   rgw.sh start DIR    starts it with all its state in DIR, and writes DIR/env, to be sourced
#   rgw.sh stop DIR     ends the processes it started, and removes DIR
#
# DIR is created and must not hold anything yet. Works for root and for an ordinary user.
# There is no manager daemon: nothing here needs statistics, and it takes the longest to start.
set -euo pipefail

readonly START_DEADLINE=90 # seconds for the whole start; 10 to 20 are usual
readonly BUCKET=veza-test

# shellcheck source=test/support/s3_tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/s3_tools.sh"

fail() {
  echo "rgw.sh: $*" >&2
  exit 1
}

# Starts a daemon in the background, free of the caller's terminal and job control.
launch() {
  local name=$1
  shift
  setsid "$@" >"$dir/log/$name.out" 2>&1 </dev/null &
  echo $! >"$dir/pid/$name"
}

alive() {
  local pid
  pid=$(cat "$dir/pid/$1")
  kill -0 "$pid" 2>/dev/null && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$dir"
}

# Repeats a command until it succeeds; gives up at the deadline, or once the named daemon has died.
wait_until() {
  local daemon=$1 what=$2
  shift 2
  until "$@" >"$dir/log/wait.out" 2>&1; do
    alive "$daemon" || fail "the $daemon died while waiting for $what"
    ((SECONDS < START_DEADLINE)) || fail "no $what within $START_DEADLINE s"
    sleep 0.2
  done
}

write_conf() {
  cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $fsid
mon host = v1:127.0.0.1:$mon_port
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
auth supported = none
run dir = $dir/run
admin socket = $dir/run/\$name.asok
crash dir = $dir/crash
log file = $dir/log/\$name.log
log to stderr = false
err to stderr = true
mon cluster log file = $dir/log/cluster.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon osd full ratio = 0.99
mon osd backfillfull ratio = 0.98
mon osd nearfull ratio = 0.97

[mon]
mon data = $dir/mon
mon data avail crit = 1
mon data avail warn = 1
mon allow pool delete = true
paxos propose interval = 0.05
paxos min wait = 0.01

[osd]
osd data = $dir/osd
osd objectstore = bluestore
bluestore block create = true
bluestore block size = 21474836480
bluestore fsck on mount = false
osd memory target = 1073741824
osd scrub begin hour = 0
osd scrub end hour = 0
osd scrub load threshold = 0
osd class update on start = false

[client]
rgw frontends = beast endpoint=127.0.0.1:$s3_port ssl_endpoint=127.0.0.1:$tls_port ssl_certificate=$dir/tls/server.pem ssl_private_key=$dir/tls/server.key tcp_nodelay=1
rgw data = $dir/rgw
rgw thread pool size = 64
rgw gc processor max time = 60
rgw enable usage log = false
rgw enable quota threads = false
rgw override bucket index max shards = 1
rgw dynamic resharding = false
rgw lifecycle work time = 00:00-00:01
CONF
}

start_monitor() {
  monmaptool --create --fsid "$fsid" --addv a "[v1:127.0.0.1:$mon_port]" "$dir/monmap" \
    >"$dir/log/monmaptool.out"
  ceph-mon -c "$dir/ceph.conf" -i a --mkfs --monmap "$dir/monmap"
  launch mon ceph-mon -c "$dir/ceph.conf" -i a -f
  wait_until mon "monitor" timeout 10 "${ceph[@]}" mon stat
}

# The monitor and the OSD's own store must be told the same uuid, or the OSD is refused at boot.
start_osd() {
  local uuid
  uuid=$(cat /proc/sys/kernel/random/uuid)
  # A monitor that has just answered may still refuse this once; with the same uuid it may be repeated.
  wait_until mon "place for the OSD" timeout 10 "${ceph[@]}" osd new "$uuid"
  ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$uuid" >"$dir/log/osd-mkfs.out" 2>&1 ||
    fail "the OSD's store could not be made"
  launch osd ceph-osd -c "$dir/ceph.conf" -i 0 -f
  wait_until osd "OSD" osd_is_up
}

osd_is_up() { timeout 10 "${ceph[@]}" osd stat | grep -q '1 up'; }

start_gateway() {
  timeout 60 radosgw-admin -c "$dir/ceph.conf" user create --uid veza --display-name veza \
    --access-key "$access_key" --secret-key "$secret_key" >"$dir/log/user.out" 2>&1 ||
    fail "the S3 user could not be created"
  launch rgw radosgw -c "$dir/ceph.conf" -n client.rgw -f
  wait_until rgw "answer of the gateway" s3_curl -X PUT "http://127.0.0.1:$s3_port/$BUCKET"
  # The first object makes the gateway create its data pool; let no test wait for that.
  s3_curl -X PUT --data-binary ready "http://127.0.0.1:$s3_port/$BUCKET/ready" >/dev/null
  s3_curl --cacert "$dir/tls/ca.pem" "https://127.0.0.1:$tls_port/$BUCKET/ready" >/dev/null
  s3_curl -X DELETE "http://127.0.0.1:$s3_port/$BUCKET/ready" >/dev/null
}

write_env() {
  cat >"$dir/env" <<ENV
export VEZA_TEST_S3_ENDPOINT='http://127.0.0.1:$s3_port'
export VEZA_TEST_S3_TLS_ENDPOINT='https://127.0.0.1:$tls_port'
export VEZA_TEST_S3_CA_FILE='$dir/tls/ca.pem'
export VEZA_TEST_S3_BUCKET='$BUCKET'
export VEZA_TEST_S3_ACCESS_KEY='$access_key'
export VEZA_TEST_S3_SECRET_KEY='$secret_key'
ENV
}

show_logs() {
  local file
  for file in "$dir"/log/*; do
    [[ -s $file ]] || continue
    echo "--- the end of $file" >&2
    tail -n 15 "$file" >&2
  done
}

abandon_start() {
  show_logs
  stop
}

start() {
  [[ ! -e $dir || -z $(ls -A "$dir") ]] || fail "$dir is not empty"
  mkdir -p "$dir"/{log,pid,run,crash,tls,mon,osd,rgw}
  chmod 755 "$dir" "$dir/tls"
  trap abandon_start EXIT

  fsid=$(cat /proc/sys/kernel/random/uuid)
  access_key=$(openssl rand -hex 10)
  secret_key=$(openssl rand -hex 20)
  read -r mon_port s3_port tls_port < <(free_ports 3)
  ceph=(ceph -c "$dir/ceph.conf" --connect-timeout 8)

  write_conf
  make_certificates "$dir/tls" >"$dir/log/openssl.out" 2>&1 || fail "openssl could not make the certificates"
  start_monitor
  start_osd
  start_gateway
  write_env
  trap - EXIT
  echo "rgw.sh: http://127.0.0.1:$s3_port is up after $SECONDS s; source $dir/env"
}

stop() {
  [[ -d $dir ]] || return 0
  [[ -d $dir/pid && -d $dir/osd ]] || fail "$dir was not made by rgw.sh"
  local name left=50
  for name in rgw osd mon; do
    if [[ -f $dir/pid/$name ]] && alive "$name"; then
      # Nothing of theirs is kept, so there is nothing to shut down in order.
      kill -KILL "$(cat "$dir/pid/$name")"
      while alive "$name" && ((left-- > 0)); do sleep 0.1; done
    fi
  done
  rm -rf "$dir"
}

[[ $# -eq 2 && $1 =~ ^(start|stop)$ ]] || fail "usage: rgw.sh start DIR | stop DIR"
# Ceph's programs live in sbin directories too, which an ordinary user's PATH may lack.
PATH=$PATH:/usr/sbin:/sbin
# Clients that ask the monitor for their configuration first forget the fsid of ceph.conf, and when the
# machine is busy they speak before the monitor has told them: "wrong fsid".
export CEPH_ARGS=--no-mon-config
dir=$(realpath -m "$2")
"$1"
