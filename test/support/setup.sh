#!/usr/bin/env bash
# Installs what is missing on a Debian machine, and nothing else; quiet where nothing is missing.
#
#   setup.sh build     what the extension and vezactl are compiled with
#   setup.sh server    and what pg_regress and the server tests need on a local repository
#   setup.sh test      and what the other tests need, an S3 server included
#   setup.sh bench     what the benchmarks need on a directory: as build, and whom we compare with
#   setup.sh bench-s3  and an S3 server
#   setup.sh fuzz      and clang, for libFuzzer and the address sanitizer
#   setup.sh lint      as test, and the linters
#   setup.sh ops       what test/ops.sh needs, nothing of the above
#
# Several can be named: then all is installed in one go.
#
# PG_CONFIG chooses the PostgreSQL installation; without it, the one of pg_config on the PATH, and on
# a machine without any, Debian 12's version 15. An existing database cluster is never touched, and
# none is created.
set -euo pipefail

fail() {
  echo "setup.sh: $*" >&2
  exit 1
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    command -v sudo >/dev/null || fail "run it as root, or install sudo: it needs '$*'"
    sudo "$@"
  fi
}

# A PostgreSQL with its PGXS files and headers in place needs no package. Debian's pg_config, PGXS
# files and headers come in three packages (libpq-dev, postgresql-client, postgresql-server-dev), so
# one may be there without the others.
postgresql_packages() {
  local config=${PG_CONFIG:-pg_config} major=15
  if version=$("$config" --version 2>/dev/null); then
    [[ -f $("$config" --pgxs) && -x $("$config" --bindir)/initdb &&
      -f $("$config" --includedir-server)/postgres.h ]] && return
    [[ $version =~ ([0-9]+) ]] && major=${BASH_REMATCH[1]}
  elif [[ ${PG_CONFIG:-} ]]; then
    fail "PG_CONFIG=$PG_CONFIG does not run"
  fi
  echo "postgresql-$major" "postgresql-server-dev-$major" "postgresql-client-$major"
}

packages_of() {
  if [[ $1 == ops ]]; then
    echo prometheus systemd python3 python3-yaml shellcheck
    return
  fi
  postgresql_packages
  echo g++ make pkg-config python3 libcurl4-openssl-dev libssl-dev libzstd-dev nlohmann-json3-dev \
    libpugixml-dev libcli11-dev libfmt-dev libexpected-dev libhowardhinnant-date-dev libseccomp-dev tzdata
  [[ $1 == build ]] && return
  if [[ $1 == bench* ]]; then
    echo pgbackrest zstd python3 openssl procps
    [[ $1 == bench ]] || echo curl radosgw ceph-mon ceph-osd ceph-common
    return
  fi
  echo perl python3 python3-cryptography python3-zstandard libipc-run-perl procps
  [[ $1 == server ]] && return
  echo meson ninja-build libgtest-dev libgmock-dev \
    jq curl openssl radosgw ceph-mon ceph-osd ceph-common
  [[ $1 == test ]] && return
  if [[ $1 == fuzz ]]; then
    echo clang libclang-rt-14-dev # Debian 12's
    return
  fi
  echo git clang-format clang-tidy python3-yaml shellcheck man-db mandoc zsh fish
}

missing_of() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      echo "$package"
  done
}

# Debian's server package makes and starts a cluster when it is first installed. This tells it not to,
# for as long as the installation takes.
readonly no_cluster=/etc/postgresql-common/createcluster.d/zz-veza-setup.conf

# Debian's way to keep the services of new packages from being started.
readonly no_start=/usr/sbin/policy-rc.d
no_start_is_ours=

clean_up() {
  as_root rm -f "$no_cluster"
  [[ ! $no_start_is_ours ]] || as_root rm -f "$no_start"
}

# Prometheus is installed for promtool: nothing is to scrape this machine, now or after the next boot.
keep_from_starting() {
  [[ " $* " == *" prometheus "* && ! -e $no_start ]] || return 0
  no_start_is_ours=1
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$no_start" >/dev/null
  as_root chmod 755 "$no_start"
}

install_packages() {
  local log
  log=$(mktemp)
  echo "setup.sh: installing $*"
  trap clean_up EXIT
  keep_from_starting "$@"
  as_root mkdir -p "$(dirname "$no_cluster")"
  echo "create_main_cluster = false" | as_root tee "$no_cluster" >/dev/null
  if ! { as_root apt-get update -q &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
      -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@"; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "the packages could not be installed; the whole log is in $log"
  fi
  rm -f "$log"
  [[ " $* " != *" prometheus "* ]] || as_root systemctl --quiet disable prometheus.service
}

[[ $# -gt 0 ]] || fail "usage: setup.sh build|server|test|bench|bench-s3|fuzz|lint|ops..."
command -v dpkg-query >/dev/null || fail "this is not a Debian machine: install what $0 names by hand"
wanted=
for kind in "$@"; do
  [[ $kind =~ ^(build|server|test|bench|bench-s3|fuzz|lint|ops)$ ]] || fail "there is no '$kind'; the head of $0 says how to use it"
  wanted+=" $(packages_of "$kind")"
done
# shellcheck disable=SC2086 # a list of package names
missing=$(missing_of $wanted | sort -u)
# shellcheck disable=SC2086
[[ -z $missing ]] || install_packages $missing
