#!/usr/bin/env bash
# A formation whose nodes have two versions of veza_backup share one repository: an old primary, and a
# standby with what is checked out here. Not a part of CI, because it compiles both versions.
#
#   test/mixed_versions.sh OLD_REVISION
#
# It shows, one line each, what FORMAT.md says about versions (section 14):
# - Before the upgrade of the format both archive the same WAL, and each restores the other's backup.
# - After it the old one refuses the new one's backups with an error that says why. Its archiver
#   refuses WAL that the new one has stored first, and acknowledges nothing. When the old node is
#   updated, it goes on where it stopped, and everything that was stored can be restored.
#
# OLD_REVISION writes version 1 of the format: 3b1c496, for example. CXXFLAGS_EXTRA is for both.
set -euo pipefail
# shellcheck source=test/support/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/support/common.sh"
revision=${1:?usage: test/mixed_versions.sh OLD_REVISION}

work=
finish() {
  local status=$? data
  trap - EXIT
  for data in "$work"/*.data; do
    [[ ! -f $data/postmaster.pid ]] ||
      unprivileged "$work/new/bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null || true
  done
  if ((status != 0)); then
    tail -n 20 "$work"/*.log >&2 || true
    echo "mixed_versions.sh: failed; everything it made is in $work" >&2
  else
    rm -rf "$work"
  fi
  exit "$status"
}

passed() { echo "ok: $*"; }

# install VERSION TREE: a private server with the veza_backup of the tree. Its programs are then in
# $work/VERSION/bin.
install() {
  local scratch=$work name=$1
  local top=$2 work=$scratch/$1
  mkdir -p "$work"
  install_private_server
  ln -s "$bindir" "$work/bin"
  ln -s "$VEZACTL" "$work/vezactl"
  echo "built $name"
}

# vezactl VERSION ARGUMENTS…
vezactl() {
  local version=$1
  shift
  unprivileged "$work/$version/vezactl" --config "$work/veza_backup.conf" "$@"
}
# start NODE VERSION, stop NODE
start() { unprivileged "$work/$2/bin/pg_ctl" -D "$work/$1.data" -l "$work/$1.log" -w start >/dev/null; }
stop() { unprivileged "$work/new/bin/pg_ctl" -D "$work/$1.data" -m fast -w stop >/dev/null; }
# ask NODE SQL
ask() {
  unprivileged "$work/new/bin/psql" -X -v ON_ERROR_STOP=1 -h "$work" -p "${port[$1]}" -U postgres -Atc "$2" postgres
}
# until_true WHAT COMMAND…: waits two minutes at most.
until_true() {
  local what=$1 i
  shift
  for ((i = 0; i < 480; i++)); do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.25
  done
  fail "waited in vain: $what"
}
answers() { [[ $(ask "$1" "$2") == "$3" ]]; }
# refuses TEXT COMMAND…: the command must fail, and say TEXT.
refuses() {
  local text=$1 said
  shift
  ! said=$("$@" 2>&1) || fail "this did not fail: $*"
  [[ $said == *"$text"* ]] || fail "\"$*\" did not say \"$text\" but: $said"
}

declare -A port=([primary]=54491 [standby]=54492 [copy]=54493)

# configure NODE
configure() {
  cat <<CONF | unprivileged tee -a "$work/$1.data/postgresql.conf" >/dev/null
listen_addresses = ''
unix_socket_directories = '$work'
port = ${port[$1]}
CONF
}

# restores VERSION LABEL: vezactl of that version restores the backup, and a server recovers from it.
restores() {
  local version=$1 label=$2
  vezactl "$version" restore --backup "$label" --target-dir "$work/copy.data" --target-immediate >/dev/null 2>"$work/restore.log" ||
    fail "$version cannot restore $label"
  configure copy
  echo "archive_mode = off" | unprivileged tee -a "$work/copy.data/postgresql.conf" >/dev/null
  start copy "$version"
  until_true "the end of recovery" answers copy "SELECT count(*) > 0 FROM t" t
  stop copy
  rm -rf "$work/copy.data"
}

make_work_directory mixed
trap finish EXIT
git -C "$top" archive --prefix=old-tree/ "$revision" | tar -C "$work" -xf -
install old "$work/old-tree"
install new "$top"

# --- one formation, two versions ------------------------------------------------------------------

(
  umask 077
  cat >"$work/veza_backup.conf" <<CONF
veza_backup.repository = '$work/repository'
veza_backup.cluster = 'mixed'
veza_backup.cipher_passphrase = '$(head -c 24 /dev/urandom | base64)'
CONF
)
((EUID != 0)) || chown postgres: "$work/veza_backup.conf"
repository=$work/repository/mixed
unprivileged "$work/old/bin/initdb" -D "$work/primary.data" -U postgres -A trust -k --no-locale -E UTF8 >"$work/initdb.log"
cat <<CONF | unprivileged tee -a "$work/primary.data/postgresql.conf" >/dev/null
wal_level = replica
archive_mode = always
archive_library = 'veza_backup'
shared_preload_libraries = 'veza_backup'
include '$work/veza_backup.conf'
CONF
configure primary
start primary old
ask primary "SET client_min_messages = warning; CREATE EXTENSION veza_backup" >/dev/null
ask primary "SELECT veza_backup_init()" >/dev/null
[[ ! -e $repository/format ]] || fail "the old version writes version 2: give an older revision"
unprivileged "$work/new/bin/pg_basebackup" -h "$work" -p "${port[primary]}" -U postgres -D "$work/standby.data" -R -c fast
configure standby
start standby new

switch() { ask primary "SELECT pg_walfile_name(pg_switch_wal())"; }
is_stored() { [[ -n $(find "$repository/wal" -name "$1") ]]; }
nothing_waits() { [[ -z $(find "$work/primary.data/pg_wal/archive_status" -name '*.ready') ]]; }
done_on() { [[ -e $work/$1.data/pg_wal/archive_status/$2.done ]]; }

ask primary "CREATE TABLE t AS SELECT n, repeat('x', 200) AS filler FROM generate_series(1, 20000) n" >/dev/null
segment=$(switch)
until_true "$segment on both" done_on primary "$segment"
until_true "$segment on both" done_on standby "$segment"
passed "both archive the same segment"
of_old=$(ask primary "SELECT veza_backup_now('full')")
of_new=$(ask standby "SELECT veza_backup_now('full')")
restores old "$of_new"
passed "the old one restores the new one's backup"
restores new "$of_old"
passed "the new one restores the old one's backup"
ask primary "UPDATE t SET filler = 'y' WHERE n % 5000 = 0" >/dev/null
diff_of_old=$(ask primary "SELECT veza_backup_now('diff')")
restores new "$diff_of_old"
passed "a diff of the old one restores: $diff_of_old"
vezactl old verify --full >/dev/null || fail "the old verify finds a problem"
vezactl new verify --full >/dev/null || fail "the new verify finds a problem"
passed "both find the repository whole"

# --- the upgrade, too early -----------------------------------------------------------------------

vezactl new repository upgrade >/dev/null
stop standby
start standby new
archiver=$(pgrep -f -P "$(head -n 1 "$work/primary.data/postmaster.pid")" 'archiver')
kill -STOP "$archiver"
ask primary "UPDATE t SET filler = 'z' WHERE n % 5000 = 1" >/dev/null
first=$(switch)
until_true "$first from the standby" done_on standby "$first"
kill -CONT "$archiver"
until_true "the conflict" grep -q "\"$first\" is already in repository .* with different content" "$work/primary.log"
! done_on primary "$first" || fail "the old archiver has acknowledged $first"
passed "the old archiver refuses a segment that the new one has stored, and acknowledges nothing"
ask primary "INSERT INTO t SELECT n, 'late' FROM generate_series(20001, 21000) n" >/dev/null
last=$(switch)
of_version_2=$(ask standby "SELECT veza_backup_now('full')")
refuses "manifest version 2" vezactl old restore --backup "$of_version_2" --target-dir "$work/copy.data"
[[ ! -e $work/copy.data ]] || rm -rf "$work/copy.data"
passed "the old one refuses to restore a backup of version 2, and says why"
refuses "manifest version 2" ask primary "SELECT veza_backup_now('diff')"
passed "the old one takes no diff on it, and says why"

# --- the old node is updated ----------------------------------------------------------------------

stop primary
start primary new
until_true "$last from the primary" done_on primary "$last"
until_true "no segment waits" nothing_waits
passed "when it is updated, its archiver goes on where it stopped"
diff=$(ask primary "SELECT veza_backup_now('diff')")
vezactl new verify --full >/dev/null || fail "something is not whole"
for label in "$of_old" "$of_new" "$diff_of_old" "$of_version_2" "$diff"; do
  restores new "$label"
done
passed "every backup of both versions restores"
