# shellcheck shell=bash
# What run.sh and demo.sh share; sourced by both. Needs setup.sh to have run.
#
# Nothing is installed into the system. The server that is tested is a private copy of the PostgreSQL
# installation with the extension in it: PostgreSQL finds its libraries relative to its programs. So
# no root is needed, and two checkouts can be tested at once.

umask 022
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
jobs=$(nproc)

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# Makes $work, a new directory that the account of the tests owns, if the machine has it.
make_work_directory() {
  work=$(mktemp -d "${VEZA_TEST_DIR:-/tmp}/veza-$1.XXXXXX")
  chmod 755 "$work"
  ((EUID != 0)) || ! getent passwd postgres >/dev/null || chown postgres: "$work"
}

# Runs a command in $work as an account that PostgreSQL accepts: it refuses to run as root.
unprivileged() {
  if ((EUID == 0)); then
    (cd "$work" && setpriv --reuid=postgres --regid=postgres --init-groups \
      env HOME="$work" PATH=/usr/bin:/bin:/usr/sbin:/sbin "$@")
  else
    (cd "$work" && "$@")
  fi
}

# Copies the inputs of the tests to $work/tree, because a clone below /root cannot be read by others.
copy_tree() {
  mkdir -p "$work/tree"
  tar -C "$top" --exclude='./build*' --exclude=./.git --exclude='*.o' --exclude='*.gch' --exclude='*.so' -cf - . |
    tar -C "$work/tree" --no-same-owner -xf -
  ((EUID != 0)) || chown -R postgres: "$work/tree"
}

# Builds the extension and vezactl with make, and installs both into a private copy of PostgreSQL.
# Sets bindir and VEZACTL to what is in there, and pgxs to the directory of PGXS.
install_private_server() {
  PG_CONFIG=$(command -v "${PG_CONFIG:-pg_config}") || fail "there is no pg_config"
  local inst=$work/inst log=$work/make.log
  bindir=$("$PG_CONFIG" --bindir)
  pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")
  mkdir -p "$inst"
  tar -C / --exclude=bitcode --exclude=pgxs -cf - \
    "${bindir#/}" "$("$PG_CONFIG" --pkglibdir | cut -c 2-)" "$("$PG_CONFIG" --sharedir | cut -c 2-)" |
    tar -C "$inst" --no-same-owner -xf -
  if ! { make -C "$top" -j "$jobs" PG_CONFIG="$PG_CONFIG" &&
    make -C "$top" install PG_CONFIG="$PG_CONFIG" DESTDIR="$inst"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    return 1
  fi
  bindir=$inst$bindir
  VEZACTL=$(find "$inst" -type f -name vezactl -perm -u+x | head -n 1)
  [[ $VEZACTL ]] || fail "make install installed no vezactl"
  export PG_CONFIG VEZACTL pgxs
}
