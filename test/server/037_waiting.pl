# Backups that must wait: for WAL, for an idle primary, or for a store that is away.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $primary = VezaTest->new('primary');
$primary->init(proxy => 1);
$primary->append_conf('postgresql.conf', 'autovacuum = off');
$primary->start;
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE TABLE t AS SELECT n AS id, md5(n::text) AS b FROM generate_series(1, 20000) n;
SQL
my $full = q{SELECT veza_backup_now('full')};

sub status_of
{
	my ($label) = @_;
	return $primary->safe_psql('postgres',
		"SELECT status FROM veza_backup_info() WHERE label = '$label'");
}

# --- the first backup -----------------------------------------------------------------------------

# While it waits, the scheduler looks at the archive.
my $archiver = $primary->archiver_pid;
kill 'STOP', $archiver;
my $first = $primary->start_sql($full);
$primary->wait_for_phase('waiting for WAL');
$primary->apply_conf(schedule_jitter => 1);
poll_until(
	sub {
		return $primary->safe_psql('postgres',
			q{SELECT count(*) FROM veza_backup_metrics WHERE name = 'veza_backup_archive_gaps'}) eq '1';
	},
	'a look at the archive');
unlike(slurp_file($primary->logfile), qr/holds no backup of this cluster yet/, 'nobody is told that there is no backup');
$first->{harness}->signal('INT');
$primary->finish_sql($first);
poll_until(sub { !defined(($primary->backup_worker)[0]) }, 'the end of the worker');

# --- a copy that lacks only its WAL ---------------------------------------------------------------

$primary->apply_conf(backup_wal_timeout => '1s');
$primary->sql_fails($full,
	qr/did not reach the repository within 1 s\nHINT: .*archiver.* The copy is kept for a day\. The next backup completes it, if this server makes it and has not been restarted/,
	'WAL that does not arrive');
my ($finished) = grep { /finished\.json$/ } objects('main/backup/');
like($finished, qr/\d{8}-\d{6}F/, 'the copy is kept');
my ($label) = $finished =~ m{/([^/]+)/finished\.json$};
my @packs = objects("main/backup/$label/pack/");
unlike($primary->vezactl_ok([ 'verify' ]), qr/finished\.json/, 'verify has no objection');
$primary->apply_conf(backup_wal_timeout => undef);
my $session = $primary->start_sql($full);
$primary->wait_for_phase('waiting for WAL');
sleep 1;
kill 'CONT', $archiver;
my ($exit, $out, $err) = $primary->finish_sql($session);
is($out, $label, 'the next backup completes it');
like($err, qr/NOTICE:  completing backup "\Q$label\E", of which only WAL is missing/,
	'a notice says that the backup is completed');
is(status_of($label), 'ok', 'it is a backup');
is_deeply([ objects("main/backup/$label/pack/") ], \@packs, 'nothing was copied again');
ok(!grep({ /finished\.json$/ } objects('main/backup/')), 'the record of the copy is gone');
isnt($primary->safe_psql('postgres', $full), $label, 'the backup after that is a new one');

# Only the server that made a copy completes it, and only until its next restart. After a restart it
# may have been put back to a snapshot, and then its WAL would not match the copy.
kill 'STOP', $archiver;
$session = $primary->start_sql($full);
$primary->wait_for_phase('waiting for WAL');
($finished) = grep { /finished\.json$/ } objects('main/backup/');
($label) = $finished =~ m{/([^/]+)/finished\.json$};
$primary->stop('immediate');
kill 'CONT', $archiver;
$primary->finish_sql($session);
$primary->start;
isnt($primary->safe_psql('postgres', $full), $label, 'after a restart everything is copied again');
is(status_of($label), 'unfinished', 'retention removes the copy later');

# A copy is not completed either when a part of it is gone.
$archiver = $primary->archiver_pid;
kill 'STOP', $archiver;
$primary->apply_conf(backup_wal_timeout => '1s');
$primary->sql_fails($full, qr/did not reach the repository within 1 s/, 'WAL that does not arrive');
$primary->apply_conf(backup_wal_timeout => undef);
kill 'CONT', $archiver;
my ($gutted) = grep { !/\Q$label\E/ } map { m{/([^/]+)/finished\.json$} } objects('main/backup/');
delete_object("main/backup/$gutted/manifest");
isnt($primary->safe_psql('postgres', $full), $gutted, 'an incomplete copy is not completed');

my $unfinished = q{SELECT count(*) FROM veza_backup_info() WHERE status = 'unfinished'};
my $left = $primary->safe_psql('postgres', $unfinished);

# A backup that was cancelled is not completed.
$archiver = $primary->archiver_pid;
kill 'STOP', $archiver;
$session = $primary->start_sql($full);
$primary->wait_for_phase('waiting for WAL');
$session->{harness}->signal('INT');
$primary->finish_sql($session);
kill 'CONT', $archiver;
poll_until(sub { !defined(($primary->backup_worker)[0]) }, 'the end of the worker');
is($primary->safe_psql('postgres', $unfinished), $left,
	'a backup that was cancelled leaves nothing');

# The next backup does not complete it either, even when it could not be removed.
foreach my $how ('INT', 'TERM')
{
	$archiver = $primary->archiver_pid;
	kill 'STOP', $archiver;
	my %older = map { $_ => 1 } objects('main/backup/');
	$session = $primary->start_sql($full);
	$primary->wait_for_phase('waiting for WAL');
	my ($cancelled) = map { m{/([^/]+)/finished\.json$} } grep { !$older{$_} } objects('main/backup/');
	# The worker looks for its WAL all the time. It must not notice that the store is away before it
	# gets the signal.
	my ($worker) = $primary->backup_worker;
	kill 'STOP', $worker;
	break_store('refuse');
	kill $how, $worker;
	kill 'CONT', $worker;
	$primary->finish_sql($session);
	poll_until(sub { !defined(($primary->backup_worker)[0]) }, 'the end of the worker');
	mend_store();
	kill 'CONT', $archiver;
	isnt($primary->safe_psql('postgres', $full), $cancelled, "a backup that was ended by SIG$how while the store was away");
}

$left = $primary->safe_psql('postgres', $unfinished);

# --- a backup that fails while it copies ----------------------------------------------------------

$primary->apply_conf(max_rate => '8MB');
# An S3 server may carry out a request after its client has gone, and after the removal. Then
# retention removes what it has stored. So more than one attempt is allowed.
foreach my $attempt (1 .. 3)
{
	$left = $primary->safe_psql('postgres', $unfinished);
	my %known = map { $_ => 1 } objects('main/backup/');
	$session = $primary->start_sql($full);
	poll_until(sub { scalar grep { m{/pack/} && !$known{$_} } objects('main/backup/') }, 'a pack');
	$session->{harness}->signal('INT');
	$primary->finish_sql($session);
	poll_until(sub { !defined(($primary->backup_worker)[0]) }, 'the end of the worker');
	last if $primary->safe_psql('postgres', $unfinished) eq $left || store() eq 'dir';
}
is($primary->safe_psql('postgres', $unfinished), $left,
	'a backup that failed while it copied leaves nothing');
$primary->apply_conf(max_rate => 0);

# --- a store that is away -------------------------------------------------------------------------

SKIP:
{
	skip 'a directory that cannot be entered is no outage', 7 if store() ne 's3';

	# Starts a backup, and breaks the store before the backup has stored anything.
	my $start_and_break = sub {
		$primary->apply_conf(max_rate => '2MB');
		$session = $primary->start_sql($full);
		$primary->wait_for_phase('copying files');
		break_store('refuse');
		$primary->apply_conf(max_rate => 0);
	};
	my $worker_has_ended = sub { !defined(($primary->backup_worker)[0]) };

	$primary->apply_conf(backup_retry_timeout => '3s');
	$start_and_break->();
	($exit, $out, $err) = $primary->finish_sql($session);
	isnt($exit, 0, 'an outage that is longer than backup_retry_timeout ends a backup');
	mend_store();
	poll_until($worker_has_ended, 'the end of the worker');

	$primary->apply_conf(backup_retry_timeout => undef);
	my $position = -s $primary->logfile;
	$start_and_break->();
	$primary->wait_for_log(qr/failed; the backup keeps trying for 21600 s/, $position);
	mend_store();
	($exit, $out, $err) = $primary->finish_sql($session);
	is($exit, 0, 'a shorter outage does not end a backup');
	is(status_of($out), 'ok', 'the log has reported the outage');

	foreach my $how ('INT', 'TERM')
	{
		$start_and_break->();
		sleep 1;
		my $begin = time;
		my ($worker) = $primary->backup_worker;
		kill $how, $worker;
		$primary->finish_sql($session);
		cmp_ok(time - $begin, '<', 15, "SIG$how does not wait for the store");
		mend_store();
		poll_until($worker_has_ended, 'the end of the worker');
	}

	# The copy fails for another reason, while a thread keeps trying to store a pack. (A pack has about
	# 17 MB.)
	my $data = $primary->data_dir;
	my $version = "$data/base/"
	  . $primary->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'template1'})
	  . '/PG_VERSION';
	system('dd', 'if=/dev/urandom', "of=$data/ballast", 'bs=1M', 'count=24', 'status=none') == 0 or die;
	rename $version, "$version.hidden" or die;
	$start_and_break->();
	my $begin = time;
	($exit, $out, $err) = $primary->finish_sql($session);
	like($err, qr/would be incomplete in the backup/, 'a failure with another cause meanwhile');
	cmp_ok(time - $begin, '<', 60, 'the failed backup does not wait for the store');
	mend_store();
	poll_until($worker_has_ended, 'the end of the worker');
	rename "$version.hidden", $version or die;
	unlink "$data/ballast";
}

# --- a standby, whose primary is idle -------------------------------------------------------------

$primary->backup('base');
my $standby = VezaTest->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->adopt($primary);
$standby->start;
my $other = VezaTest->new('other');
$other->init_from_backup($primary, 'base', has_streaming => 1);
$other->adopt($primary);
$other->start;
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->wait_for_catchup($_) foreach $standby, $other;

my $position = -s $standby->logfile;
$session = $standby->start_sql($full);
$standby->wait_for_log(
	qr/LOG:  the backup waits for the primary, which writes little, to finish a WAL segment\n.*HINT:  The primary has been asked to.*pg_switch_wal\(\)/,
	$position);
$primary->archive_wal;
$primary->archive_wal;
($exit, $out, $err) = $standby->finish_sql($session);
is($exit, 0, 'a backup on a standby of an idle primary');
like($err, qr/NOTICE:  the backup waits for the primary, which writes little.*pg_switch_wal/,
	'the log says at once what the backup waits for');

# --- a standby, whose primary is replaced ---------------------------------------------------------

# With this record, the backup ends in a segment that is not full.
$primary->safe_psql('postgres', q{INSERT INTO t VALUES (0, 'x'); CHECKPOINT});
$primary->wait_for_catchup($_) foreach $standby, $other;
$session = $standby->start_sql($full);
$standby->wait_for_phase('waiting for WAL');
my $begin = time;
# The primary is lost before it could finish the segment.
kill 'STOP', $primary->archiver_pid;
$primary->stop('immediate');
$other->promote;
$standby->append_conf('postgresql.conf',
	"primary_conninfo = '" . $other->connstr . " application_name=standby'");
$standby->reload;
($exit, $out, $err) = $standby->finish_sql($session);
isnt($exit, 0, 'a backup fails when nobody will finish its last segment');
like($err, qr/needs WAL segment "[0-9A-F]{24}", which nobody will finish: the server has gone on to timeline 2\nHINT:  Take the backup again/,
	'says so');
cmp_ok(time - $begin, '<', 120, 'it fails long before its deadline');

done_testing();
