# Scheduled backups: they are taken when they are due, tried again while the store is away, made up
# after the server was down, and shown on the primary and on a standby.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use POSIX qw(strftime);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $node = VezaTest->new('primary');
# A schedule for diffs is set, but none is due. The first record must say that nothing is to be made
# up.
$node->init(
	proxy => 1,
	settings => { schedule_full => '', schedule_diff => '0 0 29 2 *', schedule_jitter => 0 });
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->safe_psql('postgres', 'SELECT veza_backup_init()');

# Returns the next full minute that begins in at least so many seconds: as a time, as a cron
# expression and as a time stamp.
sub minute_after
{
	my ($seconds) = @_;
	my $at = 60 * (1 + int((time + $seconds) / 60));
	my @parts = gmtime $at;
	return ($at, "$parts[1] $parts[2] * * *", strftime('%Y-%m-%d %H:%M:%S+00', @parts));
}

sub schedule
{
	my ($columns, $kind, $server) = @_;
	return ($server // $node)->safe_psql('postgres',
		"SET timezone = 'UTC'; SELECT $columns FROM veza_backup_schedule WHERE kind = '$kind'");
}

sub wait_for_result
{
	my ($kind, $result) = @_;
	return $node->poll_query_until('postgres',
		"SELECT last_result = '$result' FROM veza_backup_schedule WHERE kind = '$kind'")
	  || die "timed out waiting for a $kind backup that is $result";
}

is(schedule('schedule, description, timezone, last_slot, next_run', 'full'), '|never|UTC||',
	'a schedule that is empty');
is( schedule('description', 'diff'), 'at 00:00 on day 29 of the month in February',
	'a schedule in words');

# No restart is needed. The settings are read, and the baselines recorded, at once.
$node->apply_conf(schedule_diff => '0 0 28 2 *', schedule_timezone => 'Asia/Tokyo');
poll_until(sub { my @locks = objects('main/lock/'); return @locks > 0 },
	'the records of the schedules');
like(schedule('timezone, next_run', 'diff'), qr/^Asia\/Tokyo\|\d{4}-02-27 15:00:00\+00$/,
	'the next run in a zone');

# --- due while the store is away ------------------------------------------------------------------

my ($at, $cron, $slot) = minute_after(10);
$node->apply_conf(schedule_full => $cron, schedule_timezone => 'UTC');
is(schedule('next_run, last_result', 'full'), "$slot|", 'a reload changes the next run');
poll_until(sub { return time > $at - 5 }, 'the minute', 70);
my $position = -s $node->logfile;
break_store();
wait_for_result('full', 'failed');
is(schedule('last_slot, attempts', 'full'), "$slot|1", 'the view shows a failed slot');
isnt(schedule('last_error', 'full'), '', 'the view says why it failed');
cmp_ok(schedule('extract(epoch FROM next_run)', 'full'), '>', time, 'the view says when it is tried again');
mend_store();
wait_for_result('full', 'succeeded');
my ($label, $attempts) = split /\|/, schedule('last_label, attempts', 'full');
is($attempts, 2, 'the second attempt succeeds');
is( $node->safe_psql('postgres', "SELECT type, status FROM veza_backup_info() WHERE label = '$label'"),
	'full|ok', 'the backup of the slot is there');
my $log = slurp_file($node->logfile, $position);
is(scalar(() = $log =~ /backup scheduling is interrupted/g), 1, 'one warning');
is(scalar(() = $log =~ /backup scheduling has resumed/g), 1, 'one message that backup scheduling has resumed');
is(scalar(() = $log =~ /starting the scheduled full backup/g), 1, 'one backup');

# --- due while the server is down -----------------------------------------------------------------

# The minute that has passed is later than the baseline. A server that starts with this schedule has
# missed that slot. A running server that is given the schedule now has not.
$node->apply_conf(schedule_diff => $cron);
sleep 1;
is(schedule('last_result', 'diff'), '', 'a new schedule makes nothing up');
my $begin = time;
$node->stop('fast');
cmp_ok(time - $begin, '<', 5, 'the scheduler does not delay a shutdown');
$node->start;
wait_for_result('diff', 'succeeded');
is(schedule('last_slot, attempts', 'diff'), "$slot|1", 'a missed slot is made up');
like(schedule('last_label', 'diff'), qr/^\Q$label\E_\d{8}-\d{6}D$/, 'by a diff');
like(schedule('node', 'diff'), qr/:@{[ $node->port ]}$/, 'on this node');

# --- a canceled backup --------------------------------------------------------------------------

($at, $cron, $slot) = minute_after(3);
$node->apply_conf(schedule_diff => $cron, max_rate => '1MB');
$node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM veza_backup_progress WHERE type = 'diff' AND phase = 'copying files'})
  or die 'timed out waiting for the scheduled diff';
$node->safe_psql('postgres', 'SELECT veza_backup_cancel()');
wait_for_result('diff', 'skipped');
is(schedule('last_slot, last_error', 'diff'),
	"$slot|canceling statement due to user request", 'a scheduled backup that is canceled');
cmp_ok(schedule('extract(epoch FROM next_run)', 'diff'), '>', time + 3600, 'is not tried again');
$node->apply_conf(max_rate => 0);

# --- a standby ------------------------------------------------------------------------------------

my $standby = $node->restore('standby', '--standby');
$standby->start;
is( schedule('last_slot, last_result', 'diff', $standby),
	"$slot|skipped", 'the standby shows what the primary did');
$standby->discard;

done_testing();
