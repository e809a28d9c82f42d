#!/usr/bin/env bash
# One cluster from initdb through archive, backup and restore, with the PostgreSQL of pg_config and the
# vezactl on the PATH; run by test/matrix.sh inside a chroot, as an unprivileged user.
set -euo pipefail
PATH=$(pg_config --bindir):$PATH
export PATH LC_ALL=C
D=$(mktemp -d)
cd "$D"
trap 'pg_ctl -D "$D/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$D"' EXIT
initdb -k -A trust -D "$D/data" -U postgres >/dev/null
cat >"$D/veza.conf" <<C
veza_backup.repository='$D/repo'
veza_backup.cipher_passphrase='correct horse battery staple'
C
chmod 600 "$D/veza.conf"
cat >>"$D"/data/postgresql.conf <<C
shared_preload_libraries='veza_backup'
archive_mode=on
archive_library='veza_backup'
listen_addresses=''
unix_socket_directories='$D'
port=5999
include '$D/veza.conf'
C
pg_ctl -D "$D/data" -l "$D/log" -w start >/dev/null
q() { psql -X -h "$D" -p 5999 -U postgres "$@"; }
q -Atc "select version()"
q -qc "create extension veza_backup" -c "select veza_backup_init()"
q -c "select name, passed, detail from veza_backup_check()"
q -qc "create table t as select generate_series(1,100000) a"
q -Atc "select veza_backup_now('full')"
q -qc "insert into t select generate_series(1,1234)" -c "select pg_switch_wal()" >/dev/null
want=$(q -Atc "select count(*), sum(a) from t")
q -Atc "select label, status, size, checksum_failures from veza_backup_info()"
pg_ctl -D "$D/data" -m fast -w stop >/dev/null
vezactl --config "$D/veza.conf" restore --target-dir "$D/r" --quiet
pg_ctl -D "$D/r" -l "$D/rlog" -w start >/dev/null
for ((i = 0; i < 100; i++)); do
  [[ $(q -Atc "select pg_is_in_recovery()") != f ]] || break
  sleep 0.2
done
got=$(q -Atc "select count(*), sum(a) from t")
pg_ctl -D "$D/r" -m fast -w stop >/dev/null
if [[ $want != "$got" ]]; then
  echo "restored $got instead of $want" >&2
  exit 1
fi
if grep -E 'WARNING|PANIC' "$D/log" "$D/rlog"; then exit 1; fi
echo "round trip passed: $got"
