# Sessions that together make a server write WAL of every kind that PostgreSQL and its contrib modules know.
#
#   my $load = WalLoad->new($node, $seed);
#   $load->set_up;
#   $load->run(30);              # all sessions at the same time, again and again for 30 s, and once at least
#
# The server needs wal_level = logical, max_prepared_transactions, track_commit_timestamp and
# allow_in_place_tablespaces.
package WalLoad;

use strict;
use warnings;
use Carp qw(croak);
use IPC::Run ();
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(time);

# In each of them, :round tells one round from the next.
my %sessions = (
	indexes => <<'SQL',
TRUNCATE indexed;
INSERT INTO indexed SELECT n, md5(n::text), point(random() * 1000, random() * 1000), int4range(n, n + 10),
  array[n, n % 7, n % 31], jsonb_build_object('n', n, 's', md5((n % 50)::text)) FROM generate_series(1, 700) n;
DELETE FROM indexed WHERE id % 3 = 0;
VACUUM (INDEX_CLEANUP on) indexed;
SELECT gin_clean_pending_list('indexed_words'), brin_summarize_new_values('indexed_brin');
SELECT brin_desummarize_range('indexed_brin', 0);
UPDATE indexed SET t = t || 'x', p = point(p[1], p[0]) WHERE id % 5 = 0;
UPDATE indexed SET id = id WHERE id < 300;
INSERT INTO indexed SELECT n, repeat(md5((n % 3)::text), 3), point(n % 10, n % 10), 'empty', '{}', '{}'
  FROM generate_series(1000, 1600) n;
DELETE FROM indexed WHERE id BETWEEN 100 AND 1500;
VACUUM indexed;
INSERT INTO indexed(id, t) SELECT 5000, 'same' FROM generate_series(1, 800);
DELETE FROM indexed;
VACUUM indexed;
SQL
	builds => <<'SQL',
DROP TABLE IF EXISTS built CASCADE;
CREATE TABLE built AS SELECT n AS id, md5(n::text) AS t, point(n % 97, n % 89) AS p, '10.0.0.0'::inet + n AS i,
  array[n, n % 5] AS a FROM generate_series(1, 3000) n;
CREATE UNIQUE INDEX ON built USING btree (id);
CREATE INDEX ON built USING btree (t) WITH (fillfactor = 50);
CREATE INDEX ON built USING hash (t);
CREATE INDEX ON built USING gin (a);
CREATE INDEX built_sorted ON built USING gist (p);
CREATE INDEX ON built USING gist (p) WITH (buffering = on);
CREATE INDEX ON built USING gist (i inet_ops, id);
CREATE INDEX ON built USING spgist (p);
CREATE INDEX ON built USING spgist (p kd_point_ops);
CREATE INDEX ON built USING spgist (t);
CREATE INDEX ON built USING brin (id) WITH (pages_per_range = 4);
CREATE INDEX ON built USING bloom (id);
CREATE INDEX ON built USING gist (t gist_trgm_ops);
CREATE INDEX ON built USING gin (t gin_trgm_ops, id);
CREATE INDEX CONCURRENTLY built_later ON built (id, t);
REINDEX INDEX CONCURRENTLY built_sorted;
CLUSTER built USING built_later;
VACUUM FULL built;
ALTER TABLE built ADD COLUMN more int DEFAULT random();
DROP INDEX CONCURRENTLY built_later;
ALTER TABLE built SET TABLESPACE elsewhere;
ALTER TABLE built SET UNLOGGED;
ALTER TABLE built SET LOGGED;
REINDEX TABLE built;
SQL
	tables => <<'SQL',
DROP TABLE IF EXISTS toasted, quick, emptied, filled CASCADE;
DROP SEQUENCE IF EXISTS counted;
CREATE TABLE toasted(id int PRIMARY KEY, v text);
ALTER TABLE toasted ALTER v SET STORAGE external;
INSERT INTO toasted SELECT n, repeat(md5(n::text), 300) FROM generate_series(1, 20) n;
UPDATE toasted SET v = v || 'more' WHERE id % 2 = 0;
INSERT INTO toasted SELECT n, 'short' FROM generate_series(1, 40) n ON CONFLICT (id) DO UPDATE SET v = 'short';
CREATE MATERIALIZED VIEW seen AS SELECT id FROM toasted;
REFRESH MATERIALIZED VIEW seen;
CREATE UNLOGGED TABLE quick(id serial PRIMARY KEY, t text, p point, a int[]);
CREATE INDEX ON quick USING hash (t);
CREATE INDEX ON quick USING gist (p);
CREATE INDEX ON quick USING gin (a);
CREATE INDEX ON quick USING spgist (p);
CREATE INDEX ON quick USING brin (id);
CREATE INDEX ON quick USING bloom (id);
INSERT INTO quick(t) SELECT md5(n::text) FROM generate_series(1, 100) n;
TRUNCATE quick;
CREATE SEQUENCE counted;
SELECT count(nextval('counted')) FROM generate_series(1, 100);
ALTER SEQUENCE counted RESTART;
CREATE TABLE emptied AS SELECT n FROM generate_series(1, 5000) n;
VACUUM (FREEZE) emptied;
DELETE FROM emptied WHERE n > 100;
VACUUM emptied;
TRUNCATE emptied;
BEGIN; CREATE TABLE never AS SELECT 1 AS n; TRUNCATE emptied; ROLLBACK;
CREATE TABLE filled(n int) WITH (fillfactor = 10, user_catalog_table = true);
BEGIN; TRUNCATE filled; COPY filled FROM PROGRAM 'seq 500' WITH (FREEZE); COMMIT;
SELECT lo_from_bytea(0, decode(repeat('ab', 9000), 'hex')) AS lo \gset
SELECT lo_put(:lo, 100, 'xyz'), lo_get(:lo, 0, 5);
SELECT lo_unlink(:lo);
VACUUM FULL pg_class;
VACUUM FULL pg_ts_dict;
CREATE TEMP TABLE not_logged AS SELECT 1;
ANALYZE toasted;
VACUUM (ANALYZE) pg_attribute;
SQL
	transactions => <<'SQL',
DO $$ BEGIN FOR i IN 1 .. 150 LOOP
  BEGIN
    INSERT INTO items VALUES (i, 'in a subtransaction') ON CONFLICT DO NOTHING;
    IF i % 7 = 0 THEN RAISE 'undone'; END IF;
  EXCEPTION WHEN raise_exception THEN END;
END LOOP; END $$;
BEGIN; SELECT count(*) FROM (SELECT FROM items WHERE id < 20 FOR KEY SHARE) s;
SAVEPOINT a; UPDATE items SET v = 'many' WHERE id < 10; RELEASE a;
SAVEPOINT b; DELETE FROM items WHERE id > 140; ROLLBACK TO b; COMMIT;
BEGIN; SELECT count(*) FROM (SELECT FROM items WHERE id < 30 FOR SHARE) s; PREPARE TRANSACTION 'locks';
BEGIN; SELECT count(*) FROM (SELECT FROM items WHERE id < 30 FOR SHARE) s; COMMIT;
COMMIT PREPARED 'locks';
DROP TABLE IF EXISTS dropped_later, kept;
CREATE TABLE dropped_later AS SELECT 1 AS n;
CREATE TABLE kept(n serial PRIMARY KEY, t text);
BEGIN; DROP TABLE dropped_later; CREATE TABLE new_one(n int PRIMARY KEY); PREPARE TRANSACTION 'drops';
COMMIT PREPARED 'drops';
BEGIN; DROP TABLE new_one; CREATE TABLE another AS SELECT n FROM generate_series(1, 10) n; SAVEPOINT c;
INSERT INTO kept(t) VALUES ('x'); PREPARE TRANSACTION 'is undone';
ROLLBACK PREPARED 'is undone';
DROP TABLE new_one, kept;
BEGIN; INSERT INTO items VALUES (-1, 'undone'); ROLLBACK;
SELECT pg_replication_origin_session_setup('far_away');
BEGIN; SELECT pg_replication_origin_xact_setup('0/ABCD', '2020-02-29 12:34:56.789+00');
UPDATE items SET v = 'from afar' WHERE id = 1; COMMIT;
BEGIN; SELECT pg_replication_origin_xact_setup('1/ABCD', '2020-02-29 12:34:56.789+00');
UPDATE items SET v = 'from afar' WHERE id = 2; PREPARE TRANSACTION 'afar'; COMMIT PREPARED 'afar';
SELECT pg_replication_origin_session_reset();
SELECT pg_replication_origin_advance('far_away', '2/1234');
SELECT pg_replication_origin_create('soon_gone');
SELECT pg_replication_origin_drop('soon_gone');
SELECT pg_logical_emit_message(false, 'small', 'outside of a transaction');
BEGIN; SELECT pg_logical_emit_message(true, 'small', 'in a transaction'); SAVEPOINT s;
SELECT pg_logical_emit_message(true, 'small', 'in a subtransaction'); COMMIT;
BEGIN; SELECT pg_logical_emit_message(true, 'never', 'undone'); ROLLBACK;
SELECT pg_logical_emit_message(false, 'middle', repeat('0123456789', n * 2000)) IS NULL FROM generate_series(1, 6) n;
BEGIN; LOCK TABLE items; COMMIT;
SELECT pg_replication_slot_advance('slot', pg_current_wal_lsn()) IS NOT NULL;
SET wal_consistency_checking = 'all';
UPDATE items SET v = 'checked' WHERE id BETWEEN 30 AND 60;
INSERT INTO indexed(id, t, p, a) SELECT n, 'checked', point(n, n), array[n] FROM generate_series(7001, 7010) n;
SQL
	databases => <<'SQL',
CREATE DATABASE by_log STRATEGY wal_log;
CREATE DATABASE by_copy STRATEGY file_copy TABLESPACE elsewhere;
ALTER DATABASE by_log SET TABLESPACE elsewhere;
ALTER DATABASE by_log SET TABLESPACE pg_default;
DROP DATABASE by_log;
DROP DATABASE by_copy;
CREATE TABLESPACE short_lived LOCATION '';
CREATE TABLE in_it TABLESPACE short_lived AS SELECT 1 AS n;
DROP TABLE in_it;
DROP TABLESPACE short_lived;
SQL
	switches => <<'SQL',
SELECT pg_create_restore_point('round ' || :round || E', not\tlong');
CHECKPOINT;
ALTER SYSTEM SET full_page_writes = off;
SELECT pg_reload_conf(), pg_sleep(0.3);
SELECT pg_switch_wal();
ALTER SYSTEM RESET full_page_writes;
SELECT pg_reload_conf(), pg_sleep(0.3);
CHECKPOINT;
SELECT pg_switch_wal();
SELECT pg_log_standby_snapshot_if_there_is();
SELECT pg_backup_start('load', true);
SELECT lsn FROM pg_backup_stop(false);
CHECKPOINT;
SELECT pg_create_restore_point('short');
SQL
);

# For each session in turn, as far as the server was built with it.
my @compressions = qw(pglz lz4 zstd off on);

sub new
{
	my ($class, $node, $seed) = @_;
	srand $seed;
	return bless { node => $node, rounds => 0, directory => PostgreSQL::Test::Utils::tempdir('load') }, $class;
}

# Creates what the sessions share. Their tablespace lies in a directory, or in place without one.
sub set_up
{
	my ($self, $directory) = @_;
	$directory //= '';
	$self->{node}->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$directory'");
	$self->{node}->safe_psql('postgres', <<'SQL');
CREATE EXTENSION bloom;
CREATE EXTENSION btree_gist;
CREATE EXTENSION btree_gin;
CREATE EXTENSION pg_trgm;
CREATE FUNCTION pg_log_standby_snapshot_if_there_is() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  IF to_regproc('pg_log_standby_snapshot') IS NOT NULL THEN EXECUTE 'SELECT pg_log_standby_snapshot()'; END IF;
END $$;
CREATE TABLE indexed(id int, t text, p point, r int4range, a int[], j jsonb);
CREATE INDEX ON indexed USING btree (id);
CREATE INDEX ON indexed USING btree (t, id) WITH (deduplicate_items = off);
CREATE INDEX ON indexed USING hash (id);
CREATE INDEX indexed_words ON indexed USING gin (a) WITH (fastupdate = on);
CREATE INDEX ON indexed USING gin (j) WITH (fastupdate = off);
CREATE INDEX ON indexed USING gist (p);
CREATE INDEX ON indexed USING gist (r);
CREATE INDEX ON indexed USING spgist (p);
CREATE INDEX ON indexed USING spgist (t);
CREATE INDEX ON indexed USING spgist (r);
CREATE INDEX indexed_brin ON indexed USING brin (id) WITH (pages_per_range = 1);
CREATE INDEX ON indexed USING bloom (id, t);
CREATE INDEX ON indexed USING gist (t gist_trgm_ops);
CREATE INDEX ON indexed USING gin (t gin_trgm_ops);
SELECT format('CREATE TABLE random_%s(id int, t text, p point)', n) FROM generate_series(0, 7) n \gexec
CREATE TABLE items(id int PRIMARY KEY, v text);
SELECT pg_replication_origin_create('far_away');
SELECT pg_create_logical_replication_slot('slot', 'test_decoding');
SQL
	return;
}

# One of what is given, or a number below the one that is given.
sub any { return $_[ rand @_ ] }
sub below { return int rand $_[0] }

# Statements of random kinds on eight tables. Some fail, because the table is there, or not.
sub random_sql
{
	my ($count) = @_;
	my $sql = "\\set ON_ERROR_STOP 0\n";

	foreach (1 .. $count)
	{
		my $table = 'random_' . below(8);
		my $column = any(qw(id t p));
		my $rows = 'SELECT n AS id, md5(n::text) AS t, point(n, random()) AS p FROM generate_series(1, '
		  . (1 + below(400)) . ') n';
		my $some = 'id % ' . (2 + below(9)) . ' = 0';
		my $method = any($column eq 'p' ? qw(gist spgist) : qw(btree hash brin bloom gin));
		$sql .= any(
			"CREATE @{[ any('', '', 'UNLOGGED') ]} TABLE $table(id int, t text, p point)",
			"CREATE @{[ any('', '', 'UNLOGGED') ]} TABLE $table AS $rows",
			"INSERT INTO $table $rows", "INSERT INTO $table $rows", "INSERT INTO $table $rows",
			"BEGIN; INSERT INTO $table $rows; @{[ any('COMMIT', 'ROLLBACK') ]}",
			"UPDATE $table SET t = t || 'x' WHERE $some", "DELETE FROM $table WHERE $some",
			"BEGIN; SAVEPOINT a; DELETE FROM $table WHERE $some; @{[ any('RELEASE a', 'ROLLBACK TO a') ]}; COMMIT",
			"CREATE INDEX @{[ any('', 'CONCURRENTLY') ]} ON $table USING $method ($column)",
			"CREATE INDEX ON $table USING $method ($column)",
			"BEGIN; TRUNCATE $table; @{[ any('COMMIT', 'ROLLBACK') ]}",
			"BEGIN; DROP TABLE $table; @{[ any('COMMIT', 'ROLLBACK') ]}",
			"ALTER TABLE $table SET TABLESPACE @{[ any(qw(elsewhere pg_default)) ]}",
			"ALTER TABLE $table SET @{[ any(qw(LOGGED UNLOGGED)) ]}",
			"VACUUM @{[ any('', '', '(FULL)', '(FREEZE)') ]} $table",
			"REINDEX TABLE $table",
			'CHECKPOINT', 'SELECT pg_switch_wal()') . ";\n";
	}
	return $sql;
}

# Starts a program of the server beside this process. Files are its input and its output, so that it goes on by
# itself.
sub _start
{
	my ($self, $name, @command) = @_;
	my $output = "$self->{directory}/$name.out";

	$command[0] = $self->{node}->installed_command($command[0]);
	return {
		name => $name,
		output => $output,
		harness => IPC::Run::start(
			\@command, '<', \undef, '>', $output, '2>&1',
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	};
}

# Dies when the program has failed.
sub finish
{
	my ($running) = @_;

	$running->{harness}->finish
	  or croak "$running->{name} failed: " . PostgreSQL::Test::Utils::slurp_file($running->{output});
	return;
}

sub _start_session
{
	my ($self, $name, $compression) = @_;
	my $file = "$self->{directory}/$name.sql";
	# Not every server has every method.
	my $sql = "SET wal_compression = $compression;\n\\set ON_ERROR_STOP 1\n" . ($sessions{$name} // random_sql(60));

	unlink $file;
	PostgreSQL::Test::Utils::append_to_file($file, $sql);
	return $self->_start($name, 'psql', '-XAtq', '-v', "round=$self->{rounds}",
		'-d', $self->{node}->connstr('postgres'), '-f', $file);
}

# All sessions at the same time, once.
sub _round
{
	my ($self) = @_;
	my @names = ('random', sort keys %sessions);
	my @running =
	  map { $self->_start_session($names[$_], $compressions[ ($self->{rounds} + $_) % @compressions ]) }
	  0 .. $#names;

	finish($_) foreach @running;
	$self->{rounds}++;
	return;
}

# Rounds until so many seconds are over, beside pgbench; without a time one round by itself. Returns how many.
sub run
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	my @pgbench = ('pgbench', '-d', $self->{node}->connstr('postgres'));
	my $pgbench;

	if ($seconds)
	{
		finish($self->_start('tables of pgbench', @pgbench, '-iq', '-s', 2));
		$pgbench = $self->_start('pgbench', @pgbench, '-n', '-c', 3, '-T', $seconds);
	}
	do { $self->_round } while time < $end;
	finish($pgbench) if $pgbench;
	# By itself, so that no snapshot keeps VACUUM from removing rows, and pages of the indexes.
	finish($self->_start_session('indexes', 'off'));
	return $self->{rounds};
}

1;
