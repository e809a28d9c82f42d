#!/usr/bin/env bash
# Builds the Debian packages in a Debian of their own, and tries them there: lintian, the demo by autopkgtest,
# and what installation, upgrade, removal and purge do to configuration and secrets. Apart from test/run.sh,
# because it makes a whole Debian in a directory, needs root, and takes a quarter of an hour.
#
#   test/deb.sh
#
# Prints a line "ok - NAME" or "not ok - NAME" for each test, and ends with 1 if any failed. The packages are
# in DIRECTORY/build afterwards.
#
# From the environment: VEZA_DEB_DIR, the DIRECTORY (/var/tmp/veza-deb), which is kept for the next time: remove it
# to get newer packages; DEB_CXXFLAGS_APPEND, such as "-O1 -g0" for a machine that is in a hurry.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=test/support/debian_root.sh
source "$top/test/support/debian_root.sh"
root=${VEZA_DEB_DIR:-/var/tmp/veza-deb}
version=$(cat "$top/VERSION")

make_debian "$root" bookworm ca-certificates etc/ssl/certs/ca-certificates.crt
rm -rf "$root/build"
mkdir -p "$root/build/veza-backup"
git -C "$top" ls-files -z | tar -C "$top" --null -T - -cf - | tar -C "$root/build/veza-backup" --no-same-owner -xf -
tar -C "$root/build" --exclude=veza-backup/debian -czf "$root/build/veza-backup_$version.orig.tar.gz" veza-backup
run_in_debian "$root" env -i LC_ALL=C.UTF-8 HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  DEB_CXXFLAGS_APPEND="${DEB_CXXFLAGS_APPEND:-}" VEZA_DEBIAN_TO_THROW_AWAY=yes bash /build/veza-backup/test/support/try_packages.sh
