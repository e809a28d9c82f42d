# The life of a backup worker: how it is started, refused, cancelled and killed, and what it leaves
# behind.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(proxy => 1, settings => { jobs => 1 });
$node->append_conf('postgresql.conf', "autovacuum = off\nrestart_after_crash = on");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');

my $full = q{SELECT veza_backup_now('full')};

# A file that takes long to read and needs no disk space, because it is one hole.
my $ballast = $node->data_dir . '/ballast';

sub make_backups_slow
{
	open my $file, '>', $ballast or die "could not create $ballast: $!";
	truncate $file, 1 << 35 or die "could not extend $ballast: $!";
	close $file;
	return;
}

sub seconds_of
{
	my ($code) = @_;
	my $begin = time;
	$code->();
	return time - $begin;
}

# While the archiver is stopped, a backup waits for its WAL.
sub stop_archiver { return kill 'STOP', $node->archiver_pid }
sub continue_archiver { return kill 'CONT', $node->archiver_pid }

sub unfinished
{
	return $node->safe_psql('postgres',
		q{SELECT count(*) FROM veza_backup_info() WHERE status IN ('unfinished', 'failed')});
}

sub next_backup_works
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($exit, $out, $err) = $node->psql('postgres', $full);

	is($exit, 0, "$test: the next backup works") or diag($err);
	like($out, qr/^\d{8}-\d{6}F$/, "$test: and has a label");
	return;
}

# --- requests that are refused --------------------------------------------------------------------

$node->sql_fails(q{SELECT veza_backup_now('weekly')},
	qr/unknown backup type "weekly"\nHINT:  .*"full"/, 'an unknown type');

# --- one at a time, and without waiting -----------------------------------------------------------

stop_archiver();
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full', wait => false)});
like($label, qr/^\d{8}-\d{6}F$/, 'wait => false returns the label');
my $worker = $node->wait_for_phase('waiting for WAL');
$node->sql_fails($full,
	qr/a backup is already running\nDETAIL:  Backup "$label" is being made by process $worker\.\nHINT:  .*veza_backup_cancel\(\)/,
	'a second backup is refused');
is( $node->safe_psql('postgres', "SELECT status FROM veza_backup_info() WHERE label = '$label'"),
	'unfinished', 'a running backup is shown as unfinished');
$node->vezactl_fails([ 'restore', '--target-dir', $node->basedir . '/none', '--backup', $label ],
	2, qr/"$label" is not complete/, 'a running backup cannot be restored');
continue_archiver();
$node->poll_query_until('postgres',
	"SELECT status = 'ok' FROM veza_backup_info() WHERE label = '$label'")
  or die 'the backup did not end';
pass('the backup is there when it has ended');
# Before it ends, the worker applies retention.
poll_until(sub { !defined(($node->backup_worker)[0]) }, 'the end of the worker');

# --- cancelled, terminated ------------------------------------------------------------------------

# Runs a backup, disturbs it in a certain phase, and returns the error that its caller received.
sub disturbed
{
	my ($phase, $disturb) = @_;
	my $backup = $node->start_sql($full);
	my $pid = $node->wait_for_phase($phase);
	my $begin = time;

	$disturb->($pid, $backup);
	my ($exit, $out, $err) = $node->finish_sql($backup);
	my $seconds = time - $begin;
	isnt($exit, 0, 'the caller receives an error');
	poll_until(sub { !defined(($node->backup_worker)[0]) }, 'the end of the worker');
	# A busy machine takes seconds to end it.
	cmp_ok($seconds, '<', 30, sprintf('within %.1f s', $seconds));
	return $err;
}

stop_archiver();
like(
	disturbed('waiting for WAL', sub { $_[1]{harness}->signal('INT') }),
	qr/ERROR:  canceling statement due to user request/,
	'Ctrl-C while the backup waits for WAL');
like(
	disturbed(
		'waiting for WAL',
		sub {
			is($node->safe_psql('postgres', "SELECT pg_cancel_backend($_[0])"),
				't', 'the worker accepts pg_cancel_backend()');
		}),
	qr/ERROR:  canceling statement due to user request/,
	'pg_cancel_backend of the worker');
like(
	disturbed('waiting for WAL', sub { $node->safe_psql('postgres', "SELECT pg_terminate_backend($_[0])") }),
	qr/ERROR:  (the backup worker was terminated|terminating background worker)/,
	'pg_terminate_backend of the worker');
is(unfinished(), 1, 'only the terminated backup has left objects behind');

# The WAL of the backup never arrives.
$node->apply_conf(backup_wal_timeout => '2s');
my $position = -s $node->logfile;
$node->sql_fails($full,
	qr/WAL segment "[0-9A-F]{24}", which backup "\d{8}-\d{6}F" needs, did not reach the repository within 2 s\nHINT:  .*archiver.*veza_backup\.backup_wal_timeout/,
	'WAL that does not arrive');
like(slurp_file($node->logfile, $position), qr/ERROR:  .*did not reach the repository within 2 s/,
	'the log says it, too');
continue_archiver();
$node->apply_conf(backup_wal_timeout => undef);
next_backup_works('after cancellations');

make_backups_slow();
like(
	disturbed('copying files', sub { $_[1]{harness}->signal('INT') }),
	qr/ERROR:  canceling statement due to user request/,
	'Ctrl-C while files are copied');
like(
	disturbed('copying files', sub { kill 'TERM', $_[0] }),
	qr/ERROR:  (the backup worker was terminated|terminating background worker)/,
	'SIGTERM while files are copied');

SKIP:
{
	skip 'a directory cannot stall', 9 if store() ne 's3';

	break_store('stall');
	like(
		disturbed('connecting', sub { sleep 0.5; $_[1]{harness}->signal('INT') }),
		qr/ERROR:  canceling statement due to user request/,
		'Ctrl-C while the store hangs');
	my $backup = $node->start_sql('SELECT veza_backup_info()');
	sleep 0.5;
	my $seconds = seconds_of(sub { $backup->{harness}->signal('INT'); $node->finish_sql($backup) });
	cmp_ok($seconds, '<', 3, 'Ctrl-C of veza_backup_info() while the store hangs');
	break_store('refuse');
	like(
		disturbed('connecting', sub { sleep 2; $_[1]{harness}->signal('INT') }),
		qr/ERROR:  canceling statement due to user request/,
		'Ctrl-C while the store does not respond');
	mend_store();
}

# --- a store that goes away during a backup -------------------------------------------------------

if (store() eq 'dir')
{
	like(
		disturbed('copying files', sub { break_store(); truncate $ballast, 0 }),
		qr/ERROR:  could not .*Permission denied\nHINT:  .*owner of the directory/,
		'a store that goes away fails the backup');
	mend_store();
}
else
{
	my $backup = $node->start_sql($full);
	$node->wait_for_phase('copying files');
	break_store('refuse');
	truncate $ballast, 0;
	sleep 2;
	mend_store();
	my ($exit) = $node->finish_sql($backup);
	is($exit, 0, 'a backup survives a store that is away for a moment');
}

# --- a crash --------------------------------------------------------------------------------------

make_backups_slow();
my $backup = $node->start_sql($full);
$worker = $node->wait_for_phase('copying files');
$position = -s $node->logfile;
kill 'KILL', $worker;
$node->finish_sql($backup);
unlink $ballast;
$node->wait_for_log(qr/database system is ready to accept connections/, $position);
# PostgreSQL starts an archiver at most once in ten seconds.
poll_until(sub { $node->archiver_pid ne '' }, 'the archiver');
next_backup_works('after a crash');

# --- shutdown -------------------------------------------------------------------------------------

make_backups_slow();
$backup = $node->start_sql($full);
$node->wait_for_phase('copying files');
my $seconds = seconds_of(sub { $node->stop('fast') });
cmp_ok($seconds, '<', 5, 'a fast shutdown does not wait for a backup');
my ($exit, undef, $err) = $node->finish_sql($backup);
isnt($exit, 0, 'the caller is told');
unlink $ballast;
$node->start;
next_backup_works('after a shutdown');

# --- a standby ------------------------------------------------------------------------------------

my $standby = $node->restore('standby', '--standby');
$standby->start;
$standby->sql_fails($full, qr/WAL is not archived by veza_backup\n/,
	'a backup of a copy that does not archive');
$standby->sql_fails('SELECT veza_backup_init()',
	qr/veza_backup_init\(\) cannot be called on a standby\nHINT:  /,
	'veza_backup_init() on a standby');
is( $standby->safe_psql('postgres', 'SELECT count(*) > 0 FROM veza_backup_info()'),
	't', 'veza_backup_info() works on a standby');
$standby->discard;

# --- servers that are not configured for backups --------------------------------------------------

sub with_configuration
{
	my ($line, $code) = @_;
	$node->append_conf('postgresql.conf', $line);
	$node->restart;
	$code->();
	return;
}

# The only worker slot is taken by the logical replication launcher.
with_configuration(
	'max_worker_processes = 1',
	sub {
		foreach my $time (qw(first second))
		{
			$node->sql_fails($full,
				qr/no background worker slot is free\nHINT:  Raise max_worker_processes/,
				"no worker slot, $time time");
		}
	});
with_configuration(
	"max_worker_processes = 8\nshared_preload_libraries = ''",
	sub {
		$node->sql_fails($full,
			qr/veza_backup is not loaded\nHINT:  Add veza_backup to shared_preload_libraries/,
			'a library that is not preloaded');
		ok($node->archive_wal, 'WAL is archived without it');
		is( $node->safe_psql('postgres', 'SELECT count(*) > 0 FROM veza_backup_info()'),
			't', 'veza_backup_info() works without the preloaded library');
	});
with_configuration(
	"shared_preload_libraries = 'veza_backup'\narchive_mode = off",
	sub {
		$node->sql_fails($full,
			qr/WAL is not archived by veza_backup\nDETAIL:  .*\nHINT:  Set archive_mode = on/,
			'a server that does not archive');
	});

done_testing();
