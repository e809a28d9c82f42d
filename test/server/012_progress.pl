# What shows, slows down and stops a backup that runs.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(settings => { max_rate => '4MB' });
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');

sub progress
{
	my ($columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM veza_backup_progress");
}

is(progress('count(*)'), '0', 'nothing to show while nothing runs');
is($node->safe_psql('postgres', 'SELECT veza_backup_cancel()'), 'f', 'and nothing to cancel');

# --- slow enough to look at -----------------------------------------------------------------------

my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full', wait => false)});
poll_until(sub { progress('bytes_done > 1000000 AND throttled > interval \'100 ms\'') eq 't' },
	'a backup that is being throttled');
is( progress(<<'SQL'),
pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = 'veza_backup worker'), type, phase,
       bytes_total > bytes_done, files_total > files_done, files_total > 900,
       bytes_per_second BETWEEN 1000000 AND 6000000, time_left > interval '1 second',
       started_at BETWEEN now() - interval '1 minute' AND now()
SQL
	't|full|copying files|t|t|t|t|t|t',
	'the view says how far it is and how long it will take');
is(progress('label'), $label, 'of the backup that was asked for');

my ($exit, $out, $err) = $node->psql('postgres', q{SELECT veza_backup_now('diff')});
isnt($exit, 0, 'a second one is refused');
like($err, qr/already running.*"$label".*veza_backup_cancel/s, 'by name, with what to do');

# --- another rate for the backup that runs --------------------------------------------------------

$node->apply_conf(max_rate => '0');
poll_until(sub { progress('count(*)') eq '0' }, 'the end of the backup, no longer throttled', 20);
is($node->safe_psql('postgres', "SELECT status FROM veza_backup_info() WHERE label = '$label'"),
	'ok', 'it succeeded');

# --- cancelled ------------------------------------------------------------------------------------

$node->apply_conf(max_rate => '1MB');
my $offset = -s $node->logfile;
my $session = $node->start_sql(q{SELECT veza_backup_now('diff')});
poll_until(sub { progress('bytes_done > 0') eq 't' }, 'a diff that copies');
is(progress('type'), 'diff', 'a diff is shown as such');
is($node->safe_psql('postgres', 'SELECT veza_backup_cancel()'), 't', 'it is told to stop');
($exit, $out, $err) = $node->finish_sql($session);
like($err, qr/canceling statement due to user request/, 'who waits is told');
is(progress('count(*)'), '0', 'it has stopped');
is( $node->safe_psql('postgres',
		q{SELECT type, status, detail FROM veza_backup_info() WHERE status <> 'ok'}),
	'diff|failed|canceling statement due to user request',
	'the failure and its reason stay visible');

$node->apply_conf(max_rate => '0');
$node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM veza_backup_info() WHERE status = 'failed'}),
	'0', 'until a backup succeeds');
$node->log_check('start and end are in the log',
	$offset, log_like => [ qr/diff backup "\S+" started at/, qr/backup "\S+" completed in \S+ s: \d+ files/ ]);

done_testing();
