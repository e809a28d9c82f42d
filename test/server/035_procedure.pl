# CALL veza_backup_take() takes a backup without holding a snapshot, and can wait for a running
# backup. What interrupts a caller of the procedure or of the function, and what happens to the
# backup then.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(proxy => 1, settings => { jobs => 1 });
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n');

my $function = q{SELECT veza_backup_now('full')};
my $procedure = q{CALL veza_backup_take('full')};

sub go_slowly { return $_[0]->apply_conf(max_rate => '500kB') }
sub go_on { return $_[0]->apply_conf(max_rate => undef) }

sub wait_for_end
{
	my ($on) = @_;
	return poll_until(sub { !defined(($on->backup_worker)[0]) }, 'the end of the worker');
}

# Returns a column of pg_stat_activity for the session that waits for a backup.
sub caller_is
{
	my ($on, $column) = @_;
	return $on->safe_psql('postgres',
		"SELECT $column FROM pg_stat_activity WHERE query ~ '^(SELECT|CALL) veza_backup_(now|take)'");
}

sub status_of
{
	my ($on, $label) = @_;
	return $on->safe_psql('postgres', "SELECT status FROM veza_backup_info() WHERE label = '$label'");
}

# --- the simple case ------------------------------------------------------------------------------

my $label = $node->safe_psql('postgres', $procedure);
like($label, qr/^\d{8}-\d{6}F$/, 'it returns the label');
is(status_of($node, $label), 'ok', 'the backup is there');
$label = $node->safe_psql('postgres',
	q{DO $$ DECLARE l text; BEGIN CALL veza_backup_take('diff', label => l); RAISE NOTICE '%', l; END $$; }
	  . q{SELECT label FROM veza_backup_info() WHERE type = 'diff'});
like($label, qr/D$/, 'from a DO block');
$node->sql_fails("BEGIN; $procedure", qr/veza_backup_take\(\) cannot be called inside a transaction block\nHINT:  /,
	'in a transaction block');
$node->sql_fails(q{CALL veza_backup_take(NULL)}, qr/the arguments of veza_backup_take\(\) must not be null/, 'a null argument');
$node->sql_fails(q{CALL veza_backup_take('weekly')}, qr/unknown backup type "weekly"\nHINT:  /, 'an unknown type');

# --- the snapshot, Ctrl-C, termination ------------------------------------------------------------

go_slowly($node);
foreach my $call ($function, $procedure)
{
	my $session = $node->start_sql($call);
	$node->wait_for_phase('copying files');
	my $expected = $call eq $function ? 'held' : 'not held';
	is(caller_is($node, q{CASE WHEN backend_xmin IS NULL THEN 'not held' ELSE 'held' END}),
		$expected, "a snapshot is $expected by $call");

	$session->{harness}->signal('INT');
	my ($exit, $out, $err) = $node->finish_sql($session);
	like($err, qr/ERROR:  canceling statement due to user request/, 'the caller receives the error of Ctrl-C');
	wait_for_end($node);
	is($node->safe_psql('postgres', q{SELECT detail FROM veza_backup_info() WHERE status = 'failed'}),
		'canceling statement due to user request', 'Ctrl-C ends the backup');

	$session = $node->start_sql($call);
	$node->wait_for_phase('copying files');
	is(caller_is($node, 'pg_terminate_backend(pid)'), 't', 'the caller is terminated');
	($exit, $out, $err) = $node->finish_sql($session);
	like($err, qr/terminating connection due to administrator command/, 'the caller receives the error of the termination');
	wait_for_end($node);
	is($node->safe_psql('postgres', q{SELECT detail FROM veza_backup_info() WHERE status = 'failed'}),
		'canceling statement due to user request', 'the termination ends the backup');
}
go_on($node);

# --- waiting for a running backup -----------------------------------------------------------------

kill 'STOP', $node->archiver_pid;
my $first = $node->safe_psql('postgres', q{SELECT veza_backup_now('full', wait => false)});
$node->wait_for_phase('waiting for WAL');
$node->sql_fails($procedure,
	qr/a backup is already running\nDETAIL:  Backup "$first" is being made by process \d+\.\nHINT:  .*wait_for_running/,
	'a second backup');

my $waits = q{CALL veza_backup_take('full', wait_for_running => true)};
my $session = $node->start_sql($waits);
$node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^CALL' AND backend_xmin IS NULL AND wait_event IS NOT NULL});
$session->{harness}->signal('INT');
my (undef, undef, $err) = $node->finish_sql($session);
like($err, qr/ERROR:  canceling statement due to user request/, 'Ctrl-C while waiting for it');
is(status_of($node, $first), 'unfinished', 'Ctrl-C leaves the other backup alone');

$session = $node->start_sql($waits);
$node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^CALL' AND backend_xmin IS NULL AND wait_event IS NOT NULL});
kill 'CONT', $node->archiver_pid;
my ($exit, $second) = $node->finish_sql($session);
is($exit, 0, 'a caller that waits for another backup gets a backup');
isnt($second, $first, 'the waiting caller gets a backup of its own');
is(status_of($node, $_), 'ok', "$_ is there") foreach $first, $second;

# The running backup has no label yet. That phase may be over before anybody looks: then another
# backup has it, too.
my $worker;
foreach (1 .. 50)
{
	$session = $node->start_sql($function);
	while (!defined $worker && $session->{harness}->pumpable)
	{
		$worker = eval { $node->stop_worker_while('connecting', 0) };
		$session->{harness}->pump_nb;
	}
	last if defined $worker;
	$node->finish_sql($session);
}
$node->sql_fails($function,
	qr/a backup is already running\nDETAIL:  The full backup that is being started has no label yet\.\nHINT:  /,
	'a backup is refused while another is starting');
kill 'CONT', $worker;
($exit) = $node->finish_sql($session);
is($exit, 0, 'the starting backup continues');

# --- a gap without an automatic backup ------------------------------------------------------------

$node->apply_conf(backup_after_gap => 'off', archive_drop_below => '2000GB');
my $position = -s $node->logfile;
break_store();
my $lost = $node->safe_psql('postgres',
	q{SELECT pg_walfile_name(l) FROM pg_logical_emit_message(false, 'veza', 'fill') AS l});
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->wait_for_log(qr/WARNING: .*WAL file "$lost" is dropped/, $position);
unlink $node->data_dir . "/pg_wal/$lost" or die "could not remove $lost: $!";
mend_store();
$node->apply_conf(archive_drop_below => '0');
$node->wake_archiver;
$node->archive_wal;
$node->wait_for_log(qr/HINT:  Take a backup\. None starts by itself, because veza_backup\.backup_after_gap is off/, $position);
ok(!defined(($node->backup_worker)[0]), 'with backup_after_gap = off the server starts no backup');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile, $position), qr/because of a gap/, 'no backup was started');
$node->apply_conf(backup_after_gap => undef);

# --- a standby ------------------------------------------------------------------------------------

$node->backup('base');
my $standby = VezaTest->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->adopt($node);
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 0');
$standby->start;
$node->wait_for_catchup($standby);

# Makes a recovery conflict: recovery removes rows that a snapshot on the standby still sees.
sub conflict
{
	$node->safe_psql('postgres', $_)
	  foreach 'DELETE FROM t WHERE n % 10 = 0', 'VACUUM t', 'INSERT INTO t SELECT 10 * n FROM generate_series(1, 100) n';
	$node->wait_for_catchup($standby);
	return;
}

sub wait_with_wal
{
	my ($done) = @_;
	return poll_until(sub { $node->archive_wal; return $done->() }, 'the end of the backup');
}

# The worker of the last backup may not have ended yet.
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM veza_backup_progress') or die 'the snapshot of the function stays';
go_slowly($standby);
$session = $standby->start_sql($function);
$standby->wait_for_phase('copying files');
$label = $standby->safe_psql('postgres', 'SELECT label FROM veza_backup_progress');
conflict();
(undef, undef, $err) = $standby->finish_sql($session);
like($err, qr/ERROR:  canceling statement due to conflict with recovery/, 'a conflict ends the call that holds a snapshot');
is($standby->safe_psql('postgres', 'SELECT label FROM veza_backup_progress'), $label, 'the conflict does not end the backup');
go_on($standby);
wait_with_wal(sub { !defined(($standby->backup_worker)[0]) });
is(status_of($standby, $label), 'ok', 'the backup is completed');

go_slowly($standby);
$session = $standby->start_sql($procedure);
$standby->wait_for_phase('copying files');
is(caller_is($standby, 'backend_xmin'), '', 'the procedure holds no snapshot on a standby either');
conflict();
is(caller_is($standby, 'count(*)'), 1, 'nothing conflicts with it');
go_on($standby);
wait_with_wal(sub { $session->{harness}->pump_nb if $session->{harness}->pumpable; !$session->{harness}->pumpable });
($exit, $label) = $standby->finish_sql($session);
is($exit, 0, 'the procedure succeeds');
is(status_of($standby, $label), 'ok', 'there is a backup');

# This conflict ends the connection: the caller's database is dropped.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION veza_backup');
$node->wait_for_catchup($standby);
go_slowly($standby);
$session = $standby->start_sql($procedure, dbname => 'other');
$standby->wait_for_phase('copying files');
$label = $standby->safe_psql('postgres', 'SELECT label FROM veza_backup_progress');
$node->safe_psql('postgres', 'DROP DATABASE other');
(undef, undef, $err) = $standby->finish_sql($session);
like($err, qr/terminating connection due to conflict with recovery/, 'a conflict ends the connection');
is($standby->safe_psql('postgres', 'SELECT label FROM veza_backup_progress'), $label, 'the conflict does not end the backup');
go_on($standby);
wait_with_wal(sub { !defined(($standby->backup_worker)[0]) });
is(status_of($standby, $label), 'ok', 'the backup is completed');

done_testing();
