# Backups taken by a standby, and how a promotion affects them.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

my $primary = VezaTest->new('primary');
$primary->init(extra => ['--data-checksums']);
$primary->append_conf('postgresql.conf', 'autovacuum = off');
$primary->start;
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE TABLE t AS SELECT n AS id, repeat(md5(n::text), 3) AS b FROM generate_series(1, 30000) n;
SQL

$primary->backup('base');
my $standby = VezaTest->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->adopt($primary);
$standby->start;
$primary->wait_for_catchup($standby);
# A standby on a slow machine may be some segments behind, and has nowhere else to get them from.
$primary->append_conf('postgresql.conf', "wal_keep_size = '1GB'");
$primary->reload;

# Takes a backup on the standby while the primary keeps writing. This produces the WAL that the
# backup waits for.
sub backup_of_standby
{
	my ($type) = @_;
	my $session = $standby->start_sql("SELECT veza_backup_now('$type')");
	while ($session->{harness}->pumpable)
	{
		$primary->archive_wal;
		$session->{harness}->pump_nb;
	}
	return $standby->finish_sql($session);
}

# Restores the newest backup and returns a sum over its content.
sub restored_sum
{
	my ($label) = @_;
	my $copy = $standby->restore("copy_$label", '--backup', $label, '--target-immediate',
		'--target-action', 'promote');
	$copy->start;
	$copy->wait_for_end_of_recovery;
	my $sum = $copy->safe_psql('postgres', 'SELECT count(*), sum(hashtext(b)) FROM t');
	$copy->discard;
	return $sum;
}

sub sum_of { return $_[0]->safe_psql('postgres', 'SELECT count(*), sum(hashtext(b)) FROM t') }

sub count_of
{
	my ($where) = @_;
	return $primary->safe_psql('postgres', "SELECT count(*) FROM veza_backup_info() WHERE $where");
}

# --- a full and a diff ----------------------------------------------------------------------------

my ($exit, $full, $err) = backup_of_standby('full');
is($exit, 0, 'a standby takes a full backup');
is(restored_sum($full), sum_of($primary), 'the backup can be restored');

$primary->safe_psql('postgres', 'UPDATE t SET b = b || id WHERE id % 10 = 0');
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->wait_for_catchup($standby, 'replay');
($exit, my $diff, $err) = backup_of_standby('diff');
is($exit, 0, 'a standby takes a diff backup');
like($diff, qr/^${full}_/, 'the diff refers to the full');
is(restored_sum($diff), sum_of($primary), 'the backup can be restored');
is(count_of(q{node LIKE '%:} . $standby->port . q{'}), '2', 'the node that took them is shown');
ok($standby->safe_psql('postgres', 'SELECT bool_and(passed) FROM veza_backup_check()'),
	'the checks work on a standby');

# An idle primary makes no checkpoint, so the standby makes no restartpoint.
foreach my $nth ('first', 'second')
{
	($exit, my $incr, $err) = backup_of_standby('incr');
	is($exit, 0, "a standby of an idle primary takes the $nth incr") or diag($err);
	is(restored_sum($incr), sum_of($primary), 'the backup can be restored');
}

# --- on a full of the primary ---------------------------------------------------------------------

my $of_primary = $primary->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 7 = 0');
($exit, $diff, $err) = backup_of_standby('diff');
like($diff, qr/^${of_primary}_/, 'a diff of the standby refers to a full of the primary');
is(restored_sum($diff), sum_of($primary), 'the backup can be restored');

# A standby that has not yet replayed the end of the full must not take a diff, because its pages
# are older.
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$primary->safe_psql('postgres', 'INSERT INTO t VALUES (0)');
$of_primary = $primary->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$standby->apply_conf(backup_wal_timeout => 3);
$standby->sql_fails(
	q{SELECT veza_backup_now('diff')},
	qr/this standby has not reached the end of backup "\S+" at \S+: its last restartpoint is at .*\nHINT: .*take a full backup/,
	'a standby that lags');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$standby->apply_conf(backup_wal_timeout => 600);

# --- archive_mode = always, set anew --------------------------------------------------------------

# The WAL that the standby has received before counts as archived. Here nobody has stored it.
$standby->append_conf('postgresql.conf', "archive_library = ''");
$standby->restart;
$primary->safe_psql('postgres', 'INSERT INTO t VALUES (0)');
$primary->safe_psql('postgres', 'CHECKPOINT');
my $archiver = $primary->archiver_pid;
kill 'STOP', $archiver;

# Ends a WAL segment, and waits until the standby has replayed it. Returns its name.
sub end_segment
{
	my $segment = $primary->safe_psql('postgres',
		q{SELECT pg_walfile_name(pg_logical_emit_message(false, 'veza', 'fill'))});
	$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
	$primary->wait_for_catchup($standby, 'replay');
	return $segment;
}

my $unstored = end_segment();
poll_until(sub { $standby->archive_status($unstored) eq 'done' }, 'a segment that counts as archived');
$standby->append_conf('postgresql.conf', "archive_library = 'veza_backup'\narchive_mode = always");
$standby->restart;
end_segment();
$standby->apply_conf(backup_wal_timeout => 5);
my $position = -s $standby->logfile;
$standby->sql_fails(
	q{SELECT veza_backup_now('full')},
	qr/WAL segment "$unstored", which backup .* did not reach .*\nHINT:  This standby received it before it archived .*Run CHECKPOINT on the primary/,
	'a backup that begins with WAL that the standby does not archive');
$standby->wait_for_log(
	qr/LOG:  the backup waits for WAL that this standby does not archive\n.*HINT:  .*run CHECKPOINT on the primary/,
	$position);

# As the hint says. The primary's archiver still stands.
$primary->safe_psql('postgres', 'CHECKPOINT');
end_segment();
$standby->apply_conf(backup_wal_timeout => 600);
my $session = $standby->start_sql(q{SELECT veza_backup_now('full')});
while ($session->{harness}->pumpable)
{
	end_segment();
	sleep 0.2;
	$session->{harness}->pump_nb;
}
($exit, my $newest, $err) = $standby->finish_sql($session);
is($exit, 0, 'after a checkpoint the standby takes a backup with the WAL that it archives itself');
unlike($err, qr/completing backup|does not archive/, 'it is another backup');

kill 'CONT', $archiver;
$primary->wait_for_archived($unstored);
$standby->append_conf('postgresql.conf', 'archive_mode = on');
$standby->restart;

# --- streamed WAL is kept for a promotion ---------------------------------------------------------

# Otherwise a restartpoint would recycle the segments.
$standby->adjust_conf('postgresql.conf', 'max_wal_size', '2GB');
$standby->reload;
# The WAL receiver reports a segment a moment before it creates the segment's archive status file.
# This test makes that moment long.
my ($postmaster) = PostgreSQL::Test::Utils::slurp_file($standby->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my ($scheduler) = grep {
	VezaTest::read_proc("/proc/$_/cmdline") =~ /veza_backup scheduler/
	  && VezaTest::read_proc("/proc/$_/status") =~ /^PPid:\s+$postmaster$/m
} map { m{(\d+)$} } glob '/proc/[0-9]*';
kill 'STOP', $scheduler;
my @streamed = map { $primary->archive_wal } 1 .. 3;
$primary->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'veza', 'next')});
$primary->wait_for_catchup($standby, 'replay');
poll_until(sub { $standby->archive_status($streamed[2]) eq 'done' }, 'the end of the last segment');
my $status = $standby->data_dir . "/pg_wal/archive_status/$streamed[2]";
rename "$status.done", "$status.later" or die "could not rename $status.done: $!";
kill 'CONT', $scheduler;
poll_until(sub { $standby->archive_status($streamed[1]) eq 'ready' }, 'the segments to be marked');
sleep 2;
rename "$status.later", "$status.done" or die "could not rename $status.later: $!";
poll_until(sub { $standby->archive_status($streamed[2]) eq 'ready' }, 'the last segment to be marked', 10);
pass('a segment without an archive status is not skipped');

# --- promoted -------------------------------------------------------------------------------------

$primary->wait_for_catchup($standby, 'replay');
$standby->apply_conf(max_rate => '2MB');
$session = $standby->start_sql(q{SELECT veza_backup_now('full')});
$standby->wait_for_phase('copying');
$primary->stop;
$standby->promote;
$standby->apply_conf(max_rate => 0);
($exit, my $out, $err) = $standby->finish_sql($session);
isnt($exit, 0, 'a promotion in the middle fails the backup');
like($err, qr/the standby was promoted during online backup/, 'the reason is logged');

$standby->safe_psql('postgres', 'UPDATE t SET b = b || 1 WHERE id % 11 = 0');
my $after = $standby->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
like($after, qr/^${newest}_/,
	'the new primary goes on with diffs to a full from before the promotion');
is(restored_sum($after), sum_of($standby), 'the diffs can be restored');
is( $standby->safe_psql('postgres',
		"SELECT timeline FROM veza_backup_info() WHERE label = '$after'"),
	'2',
	'on the new timeline');

done_testing();
