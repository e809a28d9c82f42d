#!/usr/bin/env bash
# The tests of test/run.sh with a newer PostgreSQL, in a Debian of its own. Debian 12, where all else is
# tested, has 15. Apart from test/run.sh, because it makes a whole Debian in a directory and needs root.
#
#   test/matrix.sh 17 | 18 [PHASE | NAME...]
#   test/matrix.sh 17 | 18 bench/run.sh [OPTION...]      or another benchmark, see bench/README.md
#
# 17 comes from Debian's trixie, 18 from sid, by debootstrap. The arguments behind the version are those
# of test/run.sh; without any they are `regress server`, which compiles, and runs pg_regress and every
# server test, on a local repository: all but 014 and 017, which need S3. `test/matrix.sh 18 server 009 018`
# runs two of them.
#
# A benchmark has a tree of its own there, which is compiled as users compile it.
#
# From the environment: VEZA_MATRIX_DIR, where the Debian goes (/var/tmp/veza-matrix-VERSION), which is
# kept for the next time, with what was compiled in it: remove it to get newer packages; CXXFLAGS_EXTRA,
# such as "-O0 -g0 -U_FORTIFY_SOURCE" for a machine that is in a hurry; and what else test/run.sh knows.
set -euo pipefail
usage='usage: test/matrix.sh 17|18 [PHASE|NAME...|bench/SCRIPT OPTION...]'
version=${1:?$usage}
shift
(($# > 0)) || set -- regress server
program=test/run.sh
tree=/src
if [[ $1 == bench/*.sh ]]; then
  program=$1
  tree=/bench
  shift
  CXXFLAGS_EXTRA=
fi
root=${VEZA_MATRIX_DIR:-/var/tmp/veza-matrix-$version}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=test/support/debian_root.sh
source "$top/test/support/debian_root.sh"
declare -A suites=([17]=trixie [18]=sid)
suite=${suites[$version]:?$usage}

# All that `setup.sh server` wants is there from the start: apt refuses an unstable whose index is old.
packages=postgresql-$version,postgresql-server-dev-$version,g++,make,pkg-config,libcurl4-openssl-dev
packages+=,libssl-dev,libzstd-dev,nlohmann-json3-dev,libpugixml-dev,libcli11-dev,libfmt-dev,libexpected-dev
packages+=,libhowardhinnant-date-dev,libseccomp-dev,tzdata,perl,python3,python3-cryptography
packages+=,python3-zstandard,libipc-run-perl,procps
# debootstrap knows no virtual packages: python3-cryptography and python3-zstandard need what this one provides.
packages+=,python3-cffi-backend
make_debian "$root" "$suite" "$packages" "usr/lib/postgresql/$version/bin/initdb"

# The sources of now, beside the objects of last time. What the Makefile has made of them stays: anew, it would
# compile all of it again.
mkdir -p "$root$tree"
find "$root$tree" -type f ! -name '*.[od]' ! -name '*.gch' ! -path "$root$tree/build-*" -delete
tar -C "$top" --exclude='./build*' --exclude=./.git --exclude='*.o' --exclude='*.d' --exclude='*.gch' \
  --exclude='*.so' --exclude=./vezactl --exclude=./test/programs/wal_records -cf - . |
  tar -C "$root$tree" --no-same-owner -xf -

# A newer compiler, and newer headers: their warnings would be seen nowhere else.
export CXXFLAGS_EXTRA="-Werror ${CXXFLAGS_EXTRA:-}"
# There is no history there.
VEZA_REVISION=$(git -C "$top" describe --always --dirty 2>/dev/null || echo unknown)
export VEZA_REVISION VEZA_TEST_STORE=dir LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
run_in_debian "$root" bash "$tree/$program" "$@"
