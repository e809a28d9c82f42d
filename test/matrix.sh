#!/usr/bin/env bash
# Builds veza_backup for a newer PostgreSQL and takes one cluster through archive, backup and restore.
# Not part of test/run.sh: it makes a whole Debian in a directory, and needs root.
#
#   test/matrix.sh 17 | 18 [DIRECTORY]
#
# 17 comes from Debian's trixie, 18 from sid, by debootstrap into DIRECTORY (default
# /var/tmp/veza-matrix-VERSION), which is kept for the next time.
set -euo pipefail
version=${1:?usage: test/matrix.sh 17|18 [DIRECTORY]}
root=${2:-/var/tmp/veza-matrix-$version}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
declare -A suites=([17]=trixie [18]=sid)
suite=${suites[$version]:?unknown version}
((EUID == 0)) || {
  echo "matrix.sh: run it as root: debootstrap and chroot need that" >&2
  exit 1
}

packages=postgresql-$version,postgresql-server-dev-$version,make,g++,pkg-config,libcurl4-openssl-dev
packages+=,libssl-dev,libzstd-dev,nlohmann-json3-dev,libpugixml-dev,libcli11-dev,libfmt-dev,libexpected-dev
packages+=,libhowardhinnant-date-dev,tzdata
if [[ ! -x $root/usr/lib/postgresql/$version/bin/initdb ]]; then
  command -v debootstrap >/dev/null ||
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends debootstrap; } >/dev/null
  debootstrap --variant=minbase --include="$packages" "$suite" "$root" http://deb.debian.org/debian \
    >"$root.debootstrap.log"
fi

leave() {
  umount "$root/dev" "$root/proc" 2>/dev/null || true
}
trap leave EXIT
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
rm -rf "${root:?}/src"
mkdir "$root/src"
tar -C "$top" --exclude='./build*' --exclude=./.git --exclude='*.o' --exclude='*.d' --exclude='*.so' \
  --exclude=./vezactl -cf - . | tar -C "$root/src" --no-same-owner -xf -
echo "building for PostgreSQL $version"
chroot "$root" make -C /src -j "$(nproc)" install PG_CONFIG=pg_config >"$root/make.log" 2>&1 ||
  { tail -n 40 "$root/make.log" && exit 1; }
if grep -E 'warning:' "$root/make.log"; then exit 1; fi
chroot "$root" runuser -u postgres -- bash /src/test/support/round_trip.sh
