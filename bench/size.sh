#!/usr/bin/env bash
# Measures what backups of very many relations and very many changed blocks cost: memory and time.
#
#   bench/size.sh [--relations N] [--blocks N] [--json FILE] [--keep]
#
# Installs what is missing (Debian packages), builds, and makes a cluster of a million relations
# (files) in four databases. Then measures a full backup to a directory, an incr after every relation
# and ten million blocks have changed, and a diff after the same changes. Prints the figures, holds
# memory to its limit, and writes all of it as JSON. Leaves nothing running. README.md describes the
# measurements. `--relations 30000 --blocks 300000` is a quick test that it works.
#
# Environment variables: PG_CONFIG, the PostgreSQL to use; VEZA_TEST_DIR, the place for the scratch
# directory (default /tmp; 45 GB must be free).
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

relations=1000000
blocks=10000000
json=$top/bench/size-results.json
stores=dir
rounds=1
# Blocks of one hash index. A larger index would need more room on the disk at one time.
index_blocks=1000000

# The tables are made and filled so many at a time.
at_once=500
databases="big_1 big_2 big_3 big_4"

# for_all_tables DATABASE TEXT: runs "DO" blocks. %s in the text is the first, then the last table of one
# block.
for_all_tables() {
  sql -d "$1" >/dev/null <<SQL
SELECT format(\$\$DO '$2'\$\$, n, least(n + $at_once - 1, $tables)) FROM generate_series(1, $tables, $at_once) n \gexec
SQL
}

# Each table has three files: its own, that of its TOAST table, and that of the index of that. One database
# is made, and copied: that takes a fifth of the time.
build_cluster() {
  local database
  tables=$((relations / 12))
  say "a cluster of $relations relations"
  make_cluster <<CONF
fsync = off
synchronous_commit = off
max_locks_per_transaction = 1024
max_wal_size = 64GB
checkpoint_timeout = 1d
CONF
  server -o "$filling" start
  sql -c "CREATE DATABASE big_1"
  sql -d big_1 -c "CREATE TABLE form (body text)" -c "ALTER TABLE form ALTER body SET STORAGE EXTERNAL"
  for_all_tables big_1 "BEGIN FOR n IN %s..%s LOOP
    EXECUTE format(''CREATE TABLE t_%%s (LIKE form INCLUDING STORAGE)'', n);
  END LOOP; END"
  for database in ${databases#* }; do
    sql -c "CREATE DATABASE $database TEMPLATE big_1 STRATEGY file_copy"
  done
  sql -c "CREATE TABLE one (id int)" -c "INSERT INTO one VALUES (1)" -c "CREATE EXTENSION veza_backup" -c CHECKPOINT
  server stop
  server start
  cluster_files=$(unprivileged find "$work/data/base" -type f | wc -l)
  echo "$cluster_files files in base"
}

# A row that does not fit in its table changes all three of its files. The pages of a hash index are
# the cheapest blocks there are: the server writes a record with an image of each, nearly empty, of
# as many as pg_class lets it expect. Only the last index stays, but WAL names the blocks of all.
change_everything() {
  say "changes of $relations relations and $blocks blocks"
  local database made tuples_of_block=40
  for database in $databases; do
    for_all_tables "$database" "BEGIN FOR n IN %s..%s LOOP
      EXECUTE format(''INSERT INTO t_%%s VALUES (repeat(''''veza %%s '''', 300))'', n, n);
    END LOOP; END"
  done
  for ((made = 0; made < blocks; made += index_blocks)); do
    sql -c "UPDATE pg_class SET relpages = 1, reltuples = $((index_blocks * tuples_of_block)) WHERE relname = 'one'" \
      -c "DROP INDEX IF EXISTS one_id" -c "CREATE INDEX one_id ON one USING hash (id) WITH (fillfactor = 10)"
  done
  sql -c CHECKPOINT
}

measured() {
  local what=$1
  sql -c CHECKPOINT
  run_measured "$what" veza dir 3 'veza_backup (full|diff|incr) backup' --server "$work/data" -- \
    "${psql[@]}" -c "CALL veza_backup_take('$what', wait_for_running => true)"
  printf '%-5s %8.2f s\n' "$what" "$(wall_of <"$work/results")"
}

main() {
  parse_arguments "relations blocks" "" "" "$@"
  ((index_blocks <= blocks)) || index_blocks=$blocks
  prepare_server $((6000 + relations / 30 + index_blocks / 120))
  build_cluster
  round=1
  fresh_repositories
  archive_to veza dir 3
  measured full
  change_everything
  measured incr
  measured diff
  report size_report.py "relations=$relations" "blocks=$blocks" "files=$cluster_files"
}

main "$@"
