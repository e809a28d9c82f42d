# The end of recovery: it never silently ends earlier than requested.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(id int)');
my $backup = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# Inserts a row. Returns the segment in which it is.
sub add
{
	my ($server, $id) = @_;
	$server->safe_psql('postgres', "INSERT INTO t VALUES ($id)");
	return $server->archive_wal;
}

sub rows_of { return $_[0]->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t}) }

sub wal_object { return (grep { m{/$_[0]$} } objects('main/wal/'))[0] }

# Puts a script before wal-get. While the file PATH.hold exists, a request for the segment makes the
# script create PATH.asked and wait. Returns PATH.
sub hold_wal_get
{
	my ($server, $segment) = @_;
	my $path = $server->basedir . '/question';
	my $conf = $server->data_dir . '/postgresql.auto.conf';
	my ($command) = slurp_file($conf) =~ /^restore_command = '(.*) %f /m;

	append_to_file("$path.sh", <<"SCRIPT");
if [ "\$1" = $segment ] && [ -e $path.hold ]; then
  : >$path.asked
  while [ -e $path.hold ]; do sleep 0.05; done
fi
exec @{[ $command =~ s/''/'/gr ]} "\$@"
SCRIPT
	$server->append_conf('postgresql.auto.conf', "restore_command = 'sh $path.sh %f %p'");
	return $path;
}

# Starts a server that must not come up. Returns its log.
sub log_of_failed_start
{
	my ($server) = @_;
	ok(!$server->start(fail_ok => 1), $server->name . ' does not open');
	return slurp_file($server->logfile);
}

# Runs a server that ends by itself, and returns its log. The server may become consistent, and accept connections,
# before it ends. $server->start then stops all tests if the server has ended when it looks for postmaster.pid.
sub log_of_whole_run
{
	my ($server) = @_;
	append_to_file($server->logfile, '');    # pg_ctl may return before there is one
	PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '--no-wait', '--pgdata', $server->data_dir, '--log', $server->logfile, 'start');
	$server->wait_for_log(qr/database system is shut down/);
	poll_until(sub { !-e $server->data_dir . '/postmaster.pid' }, 'the end of the server');
	return slurp_file($server->logfile);
}

# --- targets left over in other files -------------------------------------------------------------

my $first = add($node, 1);
add($node, 2);
my $copy = $node->restore('left_overs', '--target-timeline', 'current');
# This stands for a file outside the data directory, which a restore does not change.
$copy->append_conf('postgresql.conf', <<'CONF');
recovery_target = 'immediate'
recovery_target_action = 'shutdown'
recovery_target_inclusive = off
recovery_end_command = 'false'
CONF
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '1,2', 'a target in postgresql.conf does not end a recovery to the end of WAL');
poll_until(sub { !-e $copy->data_dir . '/veza-recovery-settings' }, 'the reset of the settings');
my $auto_conf = slurp_file($copy->data_dir . '/postgresql.auto.conf');
unlike($auto_conf, qr/^recovery_/m, 'after recovery the settings of the restore are removed');
like($auto_conf, qr/^restore_command = .*wal-get/m, 'restore_command stays');
$copy->discard;

# --- the target of a restore does not stay ---------------------------------------------------------

my $time = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
add($node, 3);
$copy = $node->restore('promoted', '--target-time', $time, '--target-action', 'promote');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '1,2', 'recovery to a time');
$copy->wait_for_log(qr/LOG: .*reset the recovery settings of the restore/);
unlike(slurp_file($copy->data_dir . '/postgresql.auto.conf'),
	qr/recovery_target/, 'the target is removed after recovery');
$copy->backup('base', backup_options => ['-R']);
my $standby = VezaTest->new('standby');
$standby->init_from_backup($copy, 'base', has_streaming => 1);
$standby->adopt($copy);
$standby->start;
$copy->safe_psql('postgres', 'INSERT INTO t VALUES (10)');
$standby->poll_query_until('postgres', 'SELECT count(*) = 1 FROM t WHERE id = 10') or die;
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery(), pg_get_wal_replay_pause_state()'),
	't|not paused', 'a standby made from that server keeps following it');
$standby->discard;
$copy->discard;

# --- a gap -----------------------------------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT pg_create_restore_point('before_the_gap')});
$node->archive_wal;
my $gap = add($node, 4);
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('behind_the_gap')});
my $behind = add($node, 5);
my $hidden = read_object(wal_object($gap));
my $hidden_name = wal_object($gap);
delete_object($hidden_name);

my $directory = $node->basedir . '/fetched';
mkdir $directory or die;
$node->vezactl_fails([ '--quiet', 'wal-get', $gap, "$directory/x" ],
	126, qr/WAL segment "$gap" is missing in the repository, although "$behind" is there/,
	'wal-get of a missing segment that others follow');
is(($node->vezactl('wal-get', '--end-at-gap', $gap, "$directory/x"))[0], 1, 'with --end-at-gap it exits with 1');

# A lifecycle rule removes what lies behind, too, while wal-get waits for what may be on its way.
my %gone = map { $_ => read_object($_) } grep { m{/([0-9A-F]{24})$} && $1 gt $gap } objects('main/wal/');
my $said = '';
my $waiting = IPC::Run::start([ $ENV{VEZACTL}, '--config', $node->conf, 'wal-get', '--last-segment', $gap, $gap, "$directory/x" ],
	'2>', \$said);
sleep 2;
delete_object($_) foreach keys %gone;
$waiting->finish;
is($waiting->result(0), 126, 'a segment of the plan that is missing, whatever happens to those behind it');
like($said, qr/WAL segment "$gap", which was there when the restore began, is missing/, 'the message says so');
write_object($_, $gone{$_}) foreach keys %gone;

my $target = $node->basedir . '/none';
$node->vezactl_fails([ 'restore', '--target-dir', $target ], 2,
	qr/recovery to the end of WAL would need WAL segment "$gap".*\nHINT: .*--end-at-gap/s,
	'a restore to the end of WAL');
my (undef, undef, $warning) =
  $node->vezactl('--quiet', 'restore', '--target-dir', $target, '--dry-run', '--target-time', $time);
like($warning, qr/warning: WAL segment "$gap" is missing/, '--quiet hides no warning of a gap');

$node->vezactl_fails([ 'restore', '--target-dir', $target, '--target-name', 'behind_the_gap' ], 2,
	qr/restore point "behind_the_gap" is not in the WAL .* WAL segment "$gap" is missing/,
	'a restore to a name behind the gap');
# This restore was planned before the gap appeared.
write_object($hidden_name, $hidden);
$copy = $node->restore('up_to_a_name', '--target-name', 'behind_the_gap', '--target-action', 'promote');
delete_object($hidden_name);
my $log = log_of_whole_run($copy);
like($log, qr/FATAL:  recovery ended before configured recovery target was reached/, 'a gap before the target');
like($log, qr/warning: WAL segment "$gap" is missing/, 'is a warning of vezactl');
$copy->clean_node;
# The server reads ahead, and requests the missing segment before it reaches the target.
$copy = $node->restore('before_a_gap', '--target-name', 'before_the_gap', '--target-action', 'promote');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '1,2,3', 'a target before a gap');
$copy->discard;
# This is like a backup for which retention has kept only its own WAL.
my $first_object_name = wal_object($first);
my $first_object_content = read_object($first_object_name);
delete_object($first_object_name);
$copy = $node->restore('immediate', '--target-immediate', '--target-action', 'promote');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '', 'the end of a backup before a gap');
$copy->discard;
write_object($first_object_name, $first_object_content);
# This restore to the end of WAL was planned before the gap appeared.
write_object($hidden_name, $hidden);
$copy = $node->restore('up_to_the_end');
delete_object($hidden_name);
like(log_of_failed_start($copy), qr/WAL segment "$gap" is missing.*\nHINT: .*--end-at-gap.*\n.*FATAL:  could not restore file/,
	'recovery to the end of WAL that meets a gap stops');
$copy->clean_node;
$copy = $node->restore('end_at_gap', '--end-at-gap');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '1,2,3', 'with --end-at-gap recovery ends there');
poll_until(sub { !-e $copy->data_dir . '/veza-recovery-settings' }, 'the reset of the settings');
my ($command) = slurp_file($copy->data_dir . '/postgresql.auto.conf') =~ /^restore_command = (.*)/m;
like($command, qr/wal-get/, 'restore_command stays');
unlike($command, qr/--end-at-gap/, 'restore_command no longer has the option, which was for this recovery only');
$copy->discard;
write_object($hidden_name, $hidden);

# --- timelines -------------------------------------------------------------------------------------

# The original server continues, while a copy of it is promoted and archives, too.
my $second = $node->restore('second', '--archive-mode', 'preserve', '--target-timeline', 'current');
$second->start;
$second->wait_for_end_of_recovery;
is(rows_of($second), '1,2,3,4,5', 'a second server');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (6)');
my $only_first = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
my $first_of_second = add($second, 20);
like($first_of_second, qr/^00000002/, 'on timeline 2');
my $later_of_second = add($second, 21);
my $both = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
add($node, 7);

$copy = $node->restore('at_a_time', '--target-time', $only_first, '--target-action', 'promote');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '1,2,3,4,5,6', 'a time that only the old timeline has is looked up there');
$copy->discard;
$node->vezactl_fails([ 'restore', '--target-dir', $target, '--target-time', $both ],
	2, qr/may be on more than one timeline: 1, 2\nHINT: .*--target-timeline/,
	'a time that both timelines have');
$node->vezactl_ok(
	[
		'restore', '--dry-run', '--target-dir', $target, '--target-time', $both,
		'--target-timeline', 'current'
	],
	'the same with a timeline that is named');

$copy = $node->restore('to_the_second');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '1,2,3,4,5,20,21', 'the end of WAL is that of the latest timeline');
$copy->discard;

# The first segment of the new timeline is gone. The segment of the old timeline would lead to
# another history.
my $first_object = wal_object($first_of_second);
my $first_content = read_object($first_object);
delete_object($first_object);
$copy = $node->restore('without_the_first', '--end-at-gap');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '1,2,3,4,5', 'recovery does not go past the fork on the old timeline');
$copy->discard;
write_object($first_object, $first_content);

# Nothing is left behind the hole but the history file of the new timeline.
$copy = $node->restore('hole_before_the_fork');
my %lost = map { $_ => read_object($_) } map { wal_object($_) } $behind, $first_of_second, $later_of_second;
delete_object($_) foreach keys %lost;
like(log_of_failed_start($copy),
	qr/WAL segment "$behind" is missing in the repository, although "00000002\.history" says .*\nHINT: .*--end-at-gap/,
	'recovery does not end at a hole before the fork');
$copy->clean_node;
write_object($_, $lost{$_}) foreach keys %lost;

# A standby may receive from its primary what the archive lacks.
$copy = $node->restore('standby_with_gap', '--standby');
my $of_first = $first_of_second =~ s/^00000002/00000001/r;
my $question = hold_wal_get($copy, $of_first);
delete_object($first_object);
$copy->append_conf('postgresql.conf', "wal_retrieve_retry_interval = '200ms'");
$copy->start;
poll_until(
	sub { $copy->connection_error('postgres') eq '' && rows_of($copy) eq '1,2,3,4,5' },
	'the standby to replay WAL up to the gap');
pass('a standby stays up at a gap');
# The segment arrives after the standby has requested it, and before it requests the segment of the
# old timeline.
append_to_file("$question.hold", '');
poll_until(sub { -e "$question.asked" }, 'the request for the segment of the old timeline');
write_object($first_object, $first_content);
unlink "$question.hold";
poll_until(sub { rows_of($copy) eq '1,2,3,4,5,20,21' }, 'the standby to go on');
pass('the standby continues when the segment is there');
unlike(slurp_file($copy->logfile), qr/incorrect prev-link/, 'the standby did not go past the fork on the old timeline');
$copy->discard;

# --- a missing history file of an earlier timeline -------------------------------------------------

my $third = $node->restore('third', '--archive-mode', 'preserve');
$third->start;
$third->wait_for_end_of_recovery;
add($third, 30);
# The archive survey after the server's start stores what is missing. The next survey comes in an
# hour.
poll_until(sub {
	$third->safe_psql('postgres', 'SELECT gaps_checked_at IS NOT NULL FROM veza_backup_archive') eq 't';
}, 'the first survey of the third server');
my ($history) = grep { m{/00000002\.history$} } objects('main/wal/');
delete_object($history);
$node->vezactl_fails([ 'restore', '--target-dir', $target ], 1,
	qr/timeline history file "00000002\.history" is missing.*the path to timeline 3 is unknown.*\nHINT: .*--target-timeline/s,
	'a restore without the history file of an earlier timeline');
my ($exit, $out) = $node->vezactl('info');
is($exit, 1, 'info exits with an error');
like($out, qr/MISSING history file 00000002\.history/, 'info says what is missing');
$node->vezactl_fails(['verify'], 1, qr/^/, 'verify');
like(($node->vezactl('verify'))[1], qr/history file "00000002\.history" is missing/, 'verify names it, too');
# The third server has the file, but has never archived it.
ok(-e $third->data_dir . '/pg_wal/00000002.history', 'a server still has the file');
$third->restart;
poll_until(sub { grep { m{/00000002\.history$} } objects('main/wal/') }, 'the history file');
pass('the server stores it');
$copy = $node->restore('to_the_third');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), '1,2,3,4,5,20,21,30', 'everything is restored');
$copy->discard;

$_->stop foreach $third, $second, $node;
done_testing();
