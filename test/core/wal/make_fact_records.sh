#!/usr/bin/env bash
# Prints rows of fact_records.inc, for one version of PostgreSQL: a cluster of its own does what the records
# are about, pg_waldump says what they mean, and their bytes are taken out of pg_wal. Run it as an account
# that PostgreSQL accepts, with the directory of its programs, and put the rows in the place of those of the
# same version:
#
#   test/core/wal/make_fact_records.sh /usr/lib/postgresql/15/bin >rows
set -euo pipefail
bin=${1:?usage: make_fact_records.sh DIRECTORY_OF_PROGRAMS}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(mktemp -d)
trap '"$bin/pg_ctl" -D "$top/data" -m immediate stop >&2 || true; rm -rf "$top"' EXIT
export PGHOST=$top PGPORT=54329 PGUSER=veza PGDATABASE=postgres TZ=UTC PGTZ=UTC LC_ALL=C

start() {
  "$bin/pg_ctl" -D "$top/data" -w -l "$top/log" -o "$*" start >&2
}
stop() {
  "$bin/pg_ctl" -D "$top/data" -w -m "${1:-fast}" stop >&2
}
sql() {
  "$bin/psql" -X -q -v ON_ERROR_STOP=1 "$@" >&2
}
ask() {
  "$bin/psql" -X -A -t -v ON_ERROR_STOP=1 -c "$1"
}

"$bin/initdb" -D "$top/data" -U veza -A trust -N --no-locale -E UTF8 >&2
cat >>"$top/data/postgresql.conf" <<CONF
unix_socket_directories = '$top'
listen_addresses = ''
fsync = off
autovacuum = off
wal_level = logical
wal_keep_size = '1GB'
max_prepared_transactions = 5
CONF
mkdir "$top/space"
start -c track_commit_timestamp=on
first=$(ask 'SELECT pg_current_wal_insert_lsn()')

sql <<SQL
SELECT pg_create_logical_replication_slot('slot', 'test_decoding');
CREATE TABLE kept (a int PRIMARY KEY, b text);
INSERT INTO kept SELECT g, repeat('x', 400) FROM generate_series(1, 2000) g;
DELETE FROM kept WHERE a > 100;
VACUUM kept;
CREATE UNLOGGED TABLE unlogged (a int);
CREATE TABLE gone (a int, b text);
DROP TABLE gone;
BEGIN; CREATE TABLE never (a int); ROLLBACK;
BEGIN;
CREATE TABLE one (a int);
SAVEPOINT s1; CREATE TABLE two (a int);
SAVEPOINT s2; CREATE TABLE three (a int); ROLLBACK TO s2;
SAVEPOINT s3; DROP TABLE one; RELEASE s3;
COMMIT;
TRUNCATE kept;
INSERT INTO kept VALUES (1, 'y');
BEGIN; SELECT * FROM kept FOR KEY SHARE; SAVEPOINT s1; UPDATE kept SET b = 'z'; COMMIT;
DO \$\$ BEGIN FOR i IN 10..80 LOOP BEGIN INSERT INTO kept VALUES (i); EXCEPTION WHEN division_by_zero THEN END;
END LOOP; END \$\$;
CREATE TABLE promised (a int);
BEGIN;
CREATE TABLE made (a int);
SAVEPOINT s1; DROP TABLE promised;
PREPARE TRANSACTION 'to be committed';
COMMIT PREPARED 'to be committed';
BEGIN;
CREATE TABLE broken (a int);
SAVEPOINT s1; INSERT INTO kept VALUES (2);
PREPARE TRANSACTION 'to be aborted';
ROLLBACK PREPARED 'to be aborted';
SELECT pg_create_restore_point('before the mistake');
SELECT pg_logical_emit_message(false, 'veza', 'a message');
SELECT pg_replication_origin_create('upstream');
SELECT pg_replication_origin_session_setup('upstream');
BEGIN;
SELECT pg_replication_origin_xact_setup('0/ABCDEF', '2026-11-29 12:00:00+00');
DROP TABLE two;
COMMIT;
SELECT pg_replication_origin_session_reset();
SELECT pg_replication_origin_advance('upstream', '0/ABCDFF');
SELECT pg_replication_origin_drop('upstream');
CREATE TABLESPACE space LOCATION '$top/space';
CREATE DATABASE copied STRATEGY file_copy;
CREATE DATABASE logged STRATEGY wal_log;
ALTER DATABASE copied SET TABLESPACE space;
DROP DATABASE copied;
DROP DATABASE logged;
DROP TABLESPACE space;
VACUUM FULL pg_class;
SELECT pg_drop_replication_slot('slot');
CHECKPOINT;
SELECT pg_switch_wal();
SELECT pg_backup_start('x', true);
SELECT pg_backup_stop(false);
SQL
for value in off on; do
  sql -c "ALTER SYSTEM SET full_page_writes = $value" -c 'SELECT pg_reload_conf()' -c 'SELECT pg_sleep(0.5)' \
    -c CHECKPOINT
done
stop
start -c wal_level=minimal -c max_wal_senders=0
stop
start -c wal_level=replica -c wal_log_hints=on

# A record goes on in the next segment, which a crash takes away.
sql -c "SELECT pg_logical_emit_message(false, 'veza', repeat('x', (16 << 20) - 100000))" -c 'CREATE TABLE flushed (a int)'
lost=$(ask 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())')
stop immediate
rm "$top/data/pg_wal/$lost"
start -c wal_level=replica
last=$(ask 'SELECT pg_current_wal_insert_lsn()')
"$bin/pg_waldump" -p "$top/data/pg_wal" -t 1 -s "$first" -e "$last" >"$top/dump.1"
stop
touch "$top/data/standby.signal"
start
sql -c 'SELECT pg_promote()' -c CHECKPOINT
end=$(ask 'SELECT pg_current_wal_insert_lsn()')
"$bin/pg_waldump" -p "$top/data/pg_wal" -t 2 -s "$last" -e "$end" >"$top/dump.2"
version=$(ask "SELECT current_setting('server_version_num')::int / 10000")
python3 "$here/fact_records.py" "$version" "$top/data/pg_wal" "$top"/dump.[12]
