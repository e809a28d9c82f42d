#!/usr/bin/env bash
# Which S3 servers does veza_backup work with? Runs the conformance suite of stores, and archive, backup, restore and
# expire, against servers that are not tested with every change. Not a part of CI, because some take minutes to compile.
#
#   test/compat.sh [NAME...]     ceph minio seaweedfs rclone moto s3s-fs; without a name, all of them
#
# Each server is installed from the registry of its language (Go, Cargo, pip; Debian for ceph) into VEZA_COMPAT_DIR
# (/var/tmp/veza-compat), which is kept for the next time, and started on loopback. One that cannot be installed is
# skipped with a message. What was found out becomes a row of docs/stores.tsv and of the table in docs/stores.md
# (test/support/stores_table.py). Ends with 1 only if a server could be installed and not be started: what a store
# cannot do is a result.
# shellcheck disable=SC2317 # functions are called by the name of the store
set -euo pipefail
# shellcheck source=test/support/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/support/common.sh"
# shellcheck source=test/support/s3_tools.sh
source "$top/test/support/s3_tools.sh"

readonly START_DEADLINE=60 # seconds
readonly BUCKET=veza-test
home=${VEZA_COMPAT_DIR:-/var/tmp/veza-compat}
work=
servers=() # processes

finish() {
  local status=$?
  trap - EXIT
  stop_servers
  [[ ! $work ]] || rm -rf "$work"
  exit "$status"
}

stop_servers() {
  local pid
  for pid in "${servers[@]}"; do
    kill -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  servers=()
  [[ ! -d $work/ceph ]] || bash "$top/test/support/rgw.sh" stop "$work/ceph"
}

# As a process group of its own.
launch() {
  set -m
  "$@" >>"$work/$name.log" 2>&1 </dev/null &
  set +m
  servers+=($!)
}

# --- installing: prints nothing, and succeeds when the program is there ----------------------------------------------

# go_install PACKAGE NAME
go_install() {
  [[ -x $home/bin/$2 ]] || GOBIN=$home/bin go install "$1@latest"
}

install_minio() { go_install github.com/minio/minio minio; }
install_rclone() { go_install github.com/rclone/rclone rclone; }

# Its go.mod has `replace`, which `go install` refuses. So it is compiled where it was downloaded to.
install_seaweedfs() {
  [[ ! -x $home/bin/weed ]] || return 0
  local source
  source=$(go mod download -json github.com/seaweedfs/seaweedfs@latest |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])') || return
  (cd "$source" && go build -mod=mod -modfile="$(copy_go_mod "$source")" -o "$home/bin/weed" ./weed)
}
copy_go_mod() {
  cp "$1/go.mod" "$home/weed.mod" && cp "$1/go.sum" "$home/weed.sum" && chmod u+w "$home"/weed.{mod,sum}
  echo "$home/weed.mod"
}

install_moto() {
  [[ -x $home/moto/bin/moto_server ]] ||
    { python3 -m venv "$home/moto" && "$home/moto/bin/pip" -q install 'moto[server]'; }
}

# The newest release that this compiler takes. (`cargo install` without a version takes the newest one.)
install_s3s-fs() {
  [[ ! -x $home/bin/s3s-fs ]] || return 0
  cargo install --locked --root "$home" s3s-fs --features binary ||
    cargo install --locked --root "$home" s3s-fs --version 0.14.1 --features binary
}

install_ceph() { bash "$top/test/support/setup.sh" test; }

# --- versions, for the table ------------------------------------------------------------------------------------------

version_of() {
  case $name in
    minio | rclone) go version -m "$home/bin/$name" | awk '$1 == "mod" { print $3 }' ;;
    seaweedfs) "$home/bin/weed" version | cut -d ' ' -f 3 ;;
    moto) "$home/moto/bin/pip" list 2>/dev/null | awk '$1 == "moto" { print $2 }' ;;
    s3s-fs) "$home/bin/s3s-fs" --version | cut -d ' ' -f 2 ;;
    ceph) radosgw --version | cut -d ' ' -f 3 ;;
  esac
}

# --- starting: serve_NAME DIRECTORY PORT [tls] -------------------------------------------------------------------------

serve_minio() {
  local certificates=()
  if [[ ${3:-} ]]; then
    mkdir "$1.certificates"
    cp "$work/tls/server.pem" "$1.certificates/public.crt"
    cp "$work/tls/server.key" "$1.certificates/private.key"
    certificates=(--certs-dir "$1.certificates")
  fi
  MINIO_ROOT_USER=$access_key MINIO_ROOT_PASSWORD=$secret_key launch "$home/bin/minio" server --quiet \
    --address "127.0.0.1:$2" --console-address 127.0.0.1:0 "${certificates[@]}" "$1"
}

serve_rclone() {
  local certificates=()
  [[ ! ${3:-} ]] || certificates=(--cert "$work/tls/server.pem" --key "$work/tls/server.key")
  launch "$home/bin/rclone" --config /dev/null serve s3 --addr "127.0.0.1:$2" --auth-key "$access_key,$secret_key" \
    "${certificates[@]}" "$1"
}

serve_seaweedfs() {
  local certificates=() master volume filer master_grpc volume_grpc filer_grpc s3_grpc
  read -r master volume filer master_grpc volume_grpc filer_grpc s3_grpc < <(free_ports 7)
  [[ ! ${3:-} ]] || certificates=(-s3.cert.file="$work/tls/server.pem" -s3.key.file="$work/tls/server.key")
  cat >"$1.json" <<JSON
{"identities": [{"name": "veza", "credentials": [{"accessKey": "$access_key", "secretKey": "$secret_key"}],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
JSON
  launch "$home/bin/weed" server -dir="$1" -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.port="$master" -volume.port="$volume" \
    -filer.port="$filer" -master.port.grpc="$master_grpc" -volume.port.grpc="$volume_grpc" \
    -filer.port.grpc="$filer_grpc" -s3.port.grpc="$s3_grpc" -volume.max=100 -master.volumeSizeLimitMB=256 -s3 -s3.port="$2" -s3.config="$1.json" "${certificates[@]}"
}

serve_moto() {
  local certificates=()
  [[ ! ${3:-} ]] || certificates=(-c "$work/tls/server.pem" -k "$work/tls/server.key")
  launch "$home/moto/bin/moto_server" -H 127.0.0.1 -p "$2" "${certificates[@]}"
}

# It has no TLS.
serve_s3s-fs() {
  [[ ! ${3:-} ]] || return 1
  launch "$home/bin/s3s-fs" --host 127.0.0.1 --port "$2" --access-key "$access_key" --secret-key "$secret_key" "$1"
}

# make_bucket ENDPOINT NAME [HEADER]: waits until the server answers.
make_bucket() {
  local end=$((SECONDS + START_DEADLINE))
  until s3_curl --cacert "$work/tls/ca.pem" ${3:+--header "$3"} -X PUT "$1/$2" >/dev/null 2>>"$work/$name.log"; do
    ((SECONDS < end)) && kill -0 "${servers[-1]}" 2>/dev/null || return 1
    sleep 0.5
  done
}

# Starts it without TLS and, if it can, a second one with. Sets the variables that the tests read.
start_store() {
  unset "${!VEZA_TEST_S3_@}"
  if [[ $name == ceph ]]; then
    bash "$top/test/support/rgw.sh" start "$work/ceph"
    # shellcheck source=/dev/null
    source "$work/ceph/env"
    access_key=$VEZA_TEST_S3_ACCESS_KEY secret_key=$VEZA_TEST_S3_SECRET_KEY
    return
  fi
  local port tls_port
  access_key=$(openssl rand -hex 10) secret_key=$(openssl rand -hex 20)
  read -r port tls_port < <(free_ports 2)
  mkdir -p "$work/$name" "$work/$name-tls"
  "serve_$name" "$work/$name" "$port"
  make_bucket "http://127.0.0.1:$port" "$BUCKET" || return 1
  export VEZA_TEST_S3_ENDPOINT=http://127.0.0.1:$port VEZA_TEST_S3_BUCKET=$BUCKET
  export VEZA_TEST_S3_ACCESS_KEY=$access_key VEZA_TEST_S3_SECRET_KEY=$secret_key
  export VEZA_TEST_S3_CA_FILE=$work/tls/ca.pem
  if "serve_$name" "$work/$name-tls" "$tls_port" tls && make_bucket "https://127.0.0.1:$tls_port" "$BUCKET"; then
    export VEZA_TEST_S3_TLS_ENDPOINT=https://127.0.0.1:$tls_port
  fi
}

# --- the tests --------------------------------------------------------------------------------------------------------

build_conformance() {
  local library=$top/build-core/libveza_core.a
  make -C "$top" -j "$jobs" core >"$work/make.log" 2>&1 || fail "make core failed: see $work/make.log"
  [[ -d $top/build-compat ]] || meson setup "$top/build-compat" "$top" "-Dcore_library=$library" -Dbuildtype=plain \
    "-Dcpp_args=-O0 -g0" -Dcore_test_sources=s3/s3_conformance_test.cpp,s3/loopback_server.cpp >"$work/make.log"
  ninja -C "$top/build-compat" test/core/core_tests >>"$work/make.log" || fail "the tests could not be compiled"
}

# conformance RESULT FILTER
conformance() {
  timeout 600 "$top/build-compat/test/core/core_tests" --gtest_brief=1 --gtest_output="json:$1" --gtest_filter="$2" \
    >>"$work/$name-tests.log" 2>&1
}

# set_up BUCKET SUBRESOURCE ELEMENT CONTENT: succeeds if the bucket then says that it is enabled.
set_up() {
  local document="<$3 xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">$4</$3>"
  s3_curl -X PUT --header "Content-MD5: $(printf %s "$document" | openssl md5 -binary | base64)" \
    --header "Content-Type: application/xml" --data-binary "$document" "$VEZA_TEST_S3_ENDPOINT/$1?$2=" \
    >/dev/null 2>>"$work/$name.log" &&
    s3_curl "$VEZA_TEST_S3_ENDPOINT/$1?$2=" 2>>"$work/$name.log" | grep -q Enabled
}

# A bucket with versions, and one that locks objects by itself. Objects are created in each, and none is overwritten.
try_versions() {
  make_bucket "$VEZA_TEST_S3_ENDPOINT" veza-versions &&
    set_up veza-versions versioning VersioningConfiguration '<Status>Enabled</Status>' &&
    VEZA_TEST_S3_BUCKET=veza-versions conformance "$work/versions.json" 'S3/StoreConformance/0.CreateNeverOverwrites'
}
try_lock() {
  make_bucket "$VEZA_TEST_S3_ENDPOINT" veza-lock "x-amz-bucket-object-lock-enabled: true" &&
    set_up veza-lock object-lock ObjectLockConfiguration "<ObjectLockEnabled>Enabled</ObjectLockEnabled>\
<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>" &&
    VEZA_TEST_S3_BUCKET=veza-lock conformance "$work/lock.json" 'S3/StoreConformance/0.CreateNeverOverwrites'
}

# server_test FILE: with a server and its data in a directory of its own.
server_test() {
  VEZA_TEST_STORE=s3 timeout 300 bash "$top/test/run.sh" server "$1" >>"$work/$name-tests.log" 2>&1
}

said() { if "$@"; then echo yes; else echo no; fi; }

try_store() {
  local results=()
  conformance "$work/$name.json" 'S3/StoreConformance/*:S3Server.*' || true
  results+=("versions=$(said try_versions)" "lock=$(said try_lock)")
  results+=("as_of=$(said server_test 070)")
  results+=("archive=$(said server_test 001)" "restore=$(said server_test 002)" "expire=$(said server_test 010)")
  python3 "$top/test/support/stores_table.py" "$top" add "$name" "$(version_of)" "$work/$name.json" "${results[@]}"
  cp "$work/$name-tests.log" "$home/$name-tests.log"
  echo "compat.sh: what the tests said is in $home/$name-tests.log"
}

names=("$@")
((${#names[@]} > 0)) || names=(ceph minio seaweedfs rclone moto s3s-fs)
for name in "${names[@]}"; do
  declare -F "install_$name" >/dev/null || fail "there is no store \"$name\"; see the head of this script"
done
mkdir -p "$home/bin"
make_work_directory compat
trap finish EXIT
bash "$top/test/support/setup.sh" test
build_conformance
mkdir "$work/tls"
make_certificates "$work/tls" >"$work/openssl.log" 2>&1 || fail "openssl could not make the certificates"
chmod 755 "$work/tls"
status=0
for name in "${names[@]}"; do
  echo "=== $name"
  if ! "install_$name" >"$home/$name-install.log" 2>&1; then
    echo "skipped: $name cannot be installed here: $(tail -n 1 "$home/$name-install.log")"
    continue
  fi
  if start_store; then
    try_store
  else
    echo "$name did not start:"
    tail -n 20 "$work/$name.log"
    status=1
  fi
  stop_servers
done
exit "$status"
