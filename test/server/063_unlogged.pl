# Unlogged relations that are being made while a backup is taken: the backup has their main fork, and WAL makes their init
# fork later. A restore leaves the main fork out, or the server would not come to the end of recovery.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->start;
sql($_) foreach (
	'CREATE EXTENSION veza_backup',
	'CREATE UNLOGGED TABLE u AS SELECT generate_series(1, 8) AS a',
	'CREATE TABLE t AS SELECT generate_series(1, 8) AS a',
	# Waits as long as the lock is held.
	q{CREATE FUNCTION held(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE
	AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(63); RETURN i; END'});

sub sql { return $node->safe_psql('postgres', $_[0]) }

# --- a backup while the index is built ------------------------------------------------------------

my $holder = $node->open_session('postgres');
VezaTest::ask_session($holder, 'SELECT pg_advisory_lock(63)');
my $build = $node->start_sql('CREATE INDEX u_held ON u (held(a))');
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND query LIKE 'CREATE INDEX%'}),
	'the index is being built');
my $label = sql(q{SELECT veza_backup_now('full')});
VezaTest::close_session($holder);
is(($node->finish_sql($build))[0], 0, 'it is built when the backup has ended');
sql('INSERT INTO t VALUES (9)');
my $index = sql(q{SELECT pg_relation_filepath('u_held')});
$node->archive_wal;

# --- restores -------------------------------------------------------------------------------------

my $copy = VezaTest->new('copy');
my $target = $copy->data_dir;

sub restore_ok
{
	my ($what, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $told = $node->vezactl_ok([ 'restore', '--target-dir', $target, @arguments ], $what);
	like($told, qr/^left out 1 file of unlogged relations/m, "$what: the file is counted");
	ok(!-e "$target/$index", "$what: the main fork is left out");
	$copy->adopt($node);
	return;
}

sub holds
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$copy->start;
	$copy->wait_for_end_of_recovery;
	is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), '9', "$what: WAL is replayed");
	is($copy->safe_psql('postgres', 'SELECT count(*) FROM u'), '0', "$what: the unlogged table is empty");
	is($copy->safe_psql('postgres',
			'INSERT INTO u SELECT generate_series(1, 1000); SET enable_seqscan = off; SELECT count(*) FROM u WHERE held(a) = 7'),
		'1', "$what: its index can be used");
	$copy->stop;
	return;
}

restore_ok('a restore');
holds('a restore');
ok(-s "$target/$index", 'the server has made the file');
restore_ok('a delta', '--delta');
holds('a delta');

# --- to the end of the backup ---------------------------------------------------------------------

$node->vezactl_ok([ 'restore', '--delta', '--target-dir', $target, '--target-immediate', '--target-action', 'promote' ],
	'a restore to the end of the backup');
ok(-e "$target/$index", 'recovery makes no init fork, so the file is not in the way');
$copy->adopt($node);
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname = 'u_held'}), '0', 'there is no such index yet');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM u'), '0', 'the unlogged table is empty');
$copy->stop;

# --- the file is there all the same ---------------------------------------------------------------

# As in a standby that gets the WAL from its primary only later. To start the server again is the remedy that is documented.
restore_ok('once more', '--delta');
append_to_file("$target/$index", '');
PostgreSQL::Test::Utils::system_log($copy->installed_command('pg_ctl'), '-W', '-D', $target, '-l', $copy->logfile, 'start');
VezaTest::poll_until(sub { slurp_file($copy->logfile) =~ /FATAL: .*could not create file "\Q$index\E": File exists/ }, 'the end of recovery');
VezaTest::poll_until(sub { !-e "$target/postmaster.pid" }, 'the end of the server');
pass('PostgreSQL does not get on with it');
holds('the second start');

$copy->clean_node;
done_testing();
