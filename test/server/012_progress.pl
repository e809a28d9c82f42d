# What shows, slows down and stops a backup that runs.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
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
# The average includes what passes at once in the first moment, so it is looked at after a second's worth.
# A machine with other things to do may need a while to come near the limit.
poll_until(
	sub {
		progress('bytes_done > 6000000 AND throttled > interval \'100 ms\' AND bytes_per_second > 1000000') eq 't';
	},
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

# --- what the backup tells of the server ----------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION amcheck');
$node->append_conf('postgresql.conf', "primary_conninfo = 'host=x password=topsecret'\nwork_mem = '7MB'");
$node->reload;
$label = $node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
($exit, $out) = $node->vezactl('--output', 'json', 'info');
is($exit, 0, 'vezactl info');
my ($told) = grep { $_->{label} eq $label } @{ decode_json($out)->{backups} };
my %version = map { ("$_->{database}.$_->{name}" => $_->{version}) } @{ $told->{extensions} };
is_deeply([ sort keys %version ],
	[qw(other.amcheck other.plpgsql postgres.plpgsql postgres.veza_backup template1.plpgsql)],
	'the extensions of every database');
is($version{'other.amcheck'},
	$node->safe_psql('other', q{SELECT extversion FROM pg_extension WHERE extname = 'amcheck'}),
	'with their versions');
my %size = map { ($_->{name} => $_->{size}) } @{ $told->{databases} };
is_deeply([ sort keys %size ], [qw(other postgres template0 template1)], 'the databases');
cmp_ok(abs($size{other} - $node->safe_psql('other', q{SELECT pg_database_size('other')})),
	'<', 1_000_000, 'and their sizes');
is($told->{settings}{work_mem}, '7MB', 'settings that differ from the default');
is($told->{settings}{primary_conninfo}, '(set)', 'but not what may be secret');
ok(!exists $told->{settings}{shared_memory_type}, 'nor what is as it comes');
unlike($out, qr/topsecret|horse battery/, 'no secret at all');

done_testing();
