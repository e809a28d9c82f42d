# A backup of a busy server, and restores from it to every kind of target.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use PostgreSQL::Test::Utils qw(slurp_file slurp_dir);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(extra => ['--data-checksums']);
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE EXTENSION pg_walinspect;
CREATE TABLE marks(name text);
CREATE DATABASE bench;
SQL
my $system_id =
  $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');

# Inserts a mark in its own transaction. Returns the transaction's xid.
sub mark
{
	my ($on, $name) = @_;
	return $on->safe_psql('postgres',
		"INSERT INTO marks VALUES ('$name') RETURNING pg_current_xact_id()");
}

sub marks
{
	my ($on) = @_;
	return $on->safe_psql('postgres', q{SELECT string_agg(name, ' ') FROM marks});
}

# --- a backup under load --------------------------------------------------------------------------

$node->command_ok([ 'pgbench', '--quiet', '-i', '-s', '2', 'bench' ], 'pgbench -i');
my $pgbench_out = '';
my $pgbench = IPC::Run::start(
	[
		$node->installed_command('pgbench'), '-h', $node->host, '-p', $node->port,
		'-n', '-c', '2', '-T', '300', '-R', '150', 'bench'
	],
	'>', \$pgbench_out, '2>&1');
$node->poll_query_until('bench', 'SELECT count(*) > 100 FROM pgbench_history');

my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
like($label, qr/^\d{8}-\d{6}F$/, 'the label is the time of the start');
ok($pgbench->pumpable, 'the server was busy all the time');
$pgbench->signal('TERM');
$pgbench->finish;

is( $node->safe_psql('postgres', <<'SQL'),
SELECT type, status, timeline, start_lsn < stop_lsn, start_time < stop_time, size > 30000000,
       stored_size BETWEEN 1000000 AND size, files > 900, checksum_failures, node ~ ':\d+$', detail
  FROM veza_backup_info()
SQL
	'full|ok|1|t|t|t|t|t|0|t|', 'veza_backup_info() describes it');
is(scalar(my @commits = objects("main/backup/$label/backup.json")), 1, 'the backup is committed');
ok(!-e $node->data_dir . '/backup_label', 'the server is not left in backup mode');

# --- a dry run of a restore -----------------------------------------------------------------------

my $plan = $node->vezactl_ok(
	[ 'restore', '--dry-run', '--target-dir', $node->basedir . '/planned', '--target-immediate' ]);
like($plan, qr/^backup +$label, of 20/m, 'a dry run names the backup');
like($plan, qr{^into +"[^"]*/planned": \d+ files in all}m, 'the place and the size');
like($plan, qr/^WAL +from [0-9A-F]{24} on; up to [0-9A-F]{24} to become consistent$/m, 'the WAL');
like($plan, qr/^recovery_target = 'immediate'$/m, 'the settings that would be written');
like($plan, qr/^archive_mode = 'off'$/m, 'archiving is off in a copy');
ok(!-e $node->basedir . '/planned', 'a dry run writes nothing');

# --- marks as recovery targets --------------------------------------------------------------------

mark($node, 'one');
my $time = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
my $xid = mark($node, 'two');
my $lsn = $node->safe_psql('postgres', <<SQL);
SELECT r.start_lsn
  FROM veza_backup_info() AS b, pg_get_wal_records_info(b.stop_lsn, pg_current_wal_flush_lsn()) AS r
 WHERE resource_manager = 'Transaction' AND record_type = 'COMMIT' AND xid = '$xid'
SQL
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('here')});
mark($node, 'three');
$node->archive_wal;

# Restores, starts the server, waits for `state` and checks the content. Returns the running node.
my $copies = 0;

sub restored
{
	my ($test, $state, $expected, @arguments) = @_;
	my $copy = $node->restore('copy' . ++$copies, @arguments);

	$copy->start;
	$copy->poll_query_until('postgres',
		$state eq 'paused'
		? q{SELECT pg_get_wal_replay_pause_state() = 'paused'}
		: 'SELECT NOT pg_is_in_recovery()')
	  or die "$test: not $state";
	is(marks($copy), $expected, $test);
	return $copy;
}

# --- the end of WAL -------------------------------------------------------------------------------

my $copy = restored('without a target everything is there', 'open', 'one two three');
is($copy->safe_psql('postgres', 'SHOW archive_mode'), 'off', 'a copy does not archive');
is( $copy->safe_psql('bench', <<'SQL'),
SELECT count(DISTINCT s), min(s) = (SELECT sum(delta) FROM pgbench_history)
  FROM (SELECT sum(abalance) AS s FROM pgbench_accounts UNION ALL
        SELECT sum(bbalance) FROM pgbench_branches UNION ALL
        SELECT sum(tbalance) FROM pgbench_tellers) AS sums
SQL
	'1|t', 'the sums of the pgbench tables agree');
is( $copy->safe_psql('bench', 'SELECT count(*) FROM pgbench_history'),
	$node->safe_psql('bench', 'SELECT count(*) FROM pgbench_history'),
	'every transaction is there');
$copy->command_ok([ 'pg_amcheck', '--all', '--install-missing', '--heapallindexed' ],
	'pg_amcheck finds nothing');
$copy->stop;
$copy->command_ok([ 'pg_checksums', '--check', '-D', $copy->data_dir ],
	'pg_checksums finds nothing');
$copy->discard;

# --- targets --------------------------------------------------------------------------------------

restored('a time', 'paused', 'one', '--target-time', $time)->discard;
restored('an LSN, inclusive', 'open', 'one two',
	'--target-lsn', $lsn, '--target-action', 'promote')->discard;
restored('an LSN, exclusive', 'paused', 'one',
	'--target-lsn', $lsn, '--target-exclusive', '--target-action', 'pause')->discard;
restored('a transaction, inclusive', 'paused', 'one two', '--target-xid', $xid,
	'--target-inclusive')->discard;
restored('a transaction, exclusive', 'open', 'one',
	'--target-xid', $xid, '--target-exclusive', '--target-action', 'promote')->discard;

# The server shuts down by itself, either before or after pg_ctl has seen it accept connections.
$copy = $node->restore('shutdown', '--target-name', 'here', '--target-action', 'shutdown',
	'--backup', $label);
PostgreSQL::Test::Utils::system_log('pg_ctl', '-w', '-D', $copy->data_dir, '-l', $copy->logfile,
	'start');
poll_until(sub { !-e $copy->data_dir . '/postmaster.pid' }, 'the shutdown at the target');
like(slurp_file($copy->logfile), qr/recovery stopping at restore point "here"/,
	'a restore point');
like(slurp_file($copy->logfile), qr/shutdown at recovery target/, 'the server shuts down there');
$copy->discard;

# --- another timeline -----------------------------------------------------------------------------

my $branch = $node->restore('branch', '--target-immediate', '--target-action', 'promote',
	'--archive-mode', 'preserve');
$branch->start;
$branch->wait_for_end_of_recovery;
is(marks($branch), '', 'the end of the backup');
is($branch->safe_psql('postgres', 'SHOW archive_mode'), 'on', '--archive-mode preserve');
mark($branch, 'branch');
$branch->archive_wal;
is(scalar(my @history = objects("main/wal/$system_id/00000002/00000002.history")),
	1, 'the history of the new timeline is in the repository');
$branch->stop;

restored('the latest timeline is the default', 'open', 'branch')->discard;
restored('the timeline of the backup', 'open', 'one two three', '--target-timeline', 'current')
  ->discard;
restored('a timeline by number', 'open', 'one two three', '--target-timeline', '1')->discard;

# --- a standby ------------------------------------------------------------------------------------

my $standby = $node->restore('standby', '--standby', '--target-timeline', 'current',
	'--archive-mode', 'preserve');
$standby->start;
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', '--standby is a standby');
mark($node, 'by_archive');
$node->archive_wal;
$standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM marks WHERE name = 'by_archive'});
pass('it follows the archive');
$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $node->connstr . "'");
$standby->reload;
mark($node, 'by_stream');
$standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM marks WHERE name = 'by_stream'});
pass('it follows the primary');
$standby->promote;
$standby->archive_wal;
is(scalar(@history = objects("main/wal/$system_id/00000003/00000003.history")),
	1, 'promoted, it takes the next timeline of the archive');
is(scalar(my @partial = grep { /\.partial$/ } objects("main/wal/$system_id/00000001/")),
	1, 'the partial segment of the old timeline is archived');
$standby->discard;

# --- refusals, before anything is written ---------------------------------------------------------

my $target = $node->basedir . '/refused';

sub is_refused
{
	my ($test, $message, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->vezactl_fails([ 'restore', '--target-dir', $target, @arguments ], 2, $message, $test);
	ok(!-e $target, "$test: nothing was written");
	return;
}

is_refused('a time before the end of the backup',
	qr/no backup ended at or before time "2026-01-01 .*HINT:  The earliest possible target is "20.*end of backup "$label"/s,
	'--target-time', '2026-01-01 00:00:00+00', '--target-timeline', 'current');
is_refused('an LSN before the end of that backup',
	qr/backup "$label" ended after LSN 0\/1000028.*HINT:  The earliest possible target is LSN/s,
	'--target-lsn', '0/1000028', '--backup', $label);
is_refused('a backup that does not exist', qr/20200101-000000F".*HINT:  .*$label/s,
	'--backup', '20200101-000000F');
is_refused('what is no label', qr/"newest" is not a backup label/, '--backup', 'newest');
is_refused('a timeline that does not exist', qr/no timeline 99 .*HINT:/s,
	'--target-timeline', '99');
is_refused('two targets', qr/target/, '--target-immediate', '--target-name', 'here');
is_refused('a time that is none', qr/"yesterday"/, '--target-time', 'yesterday');
is_refused('a tablespace that the backup has not', qr/no tablespace at "\/old"/,
	'--tablespace-map', '/old=/new');

mkdir $target or die;
PostgreSQL::Test::Utils::append_to_file("$target/mine", 'mine');
$node->vezactl_fails([ 'restore', '--target-dir', $target ], 2,
	qr/directory "\Q$target\E" is not empty.*HINT:/s, 'a directory that is not empty');
is_deeply([ grep { !/^\.\.?$/ } slurp_dir($target) ], ['mine'], 'nothing was written there');

done_testing();
