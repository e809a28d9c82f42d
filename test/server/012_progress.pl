# The progress view, the rate limit and the cancellation of a running backup.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(settings => { max_rate => '4MB' });
# A wall clock that can be set while the server runs.
my $clock = $node->data_dir . '/../clock';
{
	local $ENV{VEZA_TEST_CLOCK} = $clock;
	local $ENV{LD_PRELOAD} = "$ENV{VEZA_TEST_MOVED_CLOCK}:$ENV{LD_PRELOAD}";
	$node->start;
}
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');

sub progress
{
	my ($columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM veza_backup_progress");
}

sub set_clock
{
	my ($seconds) = @_;
	open my $file, '>', "$clock.new" or die "$clock.new: $!";
	print $file $seconds;
	close $file;
	rename "$clock.new", $clock or die "$clock: $!";
	return;
}

is(progress('count(*)'), '0', 'the view is empty while no backup runs');
is($node->safe_psql('postgres', 'SELECT veza_backup_cancel()'), 'f', 'there is nothing to cancel');

# --- a backup that is slow enough to observe ------------------------------------------------------

my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full', wait => false)});
# The limiter lets some data pass at once, and the average includes it. So the average is checked
# after data for one second. A busy machine may need a while to come near the limit.
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
	'the view shows the progress and the remaining time');
# Slow enough for a slow machine.
$node->apply_conf(max_rate => '100kB');
is(progress('label'), $label, 'the view shows the backup that was requested');

my ($exit, $out, $err) = $node->psql('postgres', q{SELECT veza_backup_now('diff')});
isnt($exit, 0, 'a second one is refused');
like($err, qr/already running.*"$label".*veza_backup_cancel/s, 'the message names the running backup and what to do');

# --- a clock that is set while a backup runs ------------------------------------------------------

# An hour back, and from then on an hour ahead of the right time.
my $before = -s $node->logfile;
SKIP:
{
	skip 'S3 refuses requests of another hour', 2 if store() ne 'dir';
	set_clock(-3600);
	is( progress("started_at > clock_timestamp() + interval '30 minutes', bytes_per_second > 50000, time_left > interval '0'"),
		't|t|t', 'a clock that was set back is without influence on rate and time left');
	set_clock(3600);
	is( progress("started_at < clock_timestamp() - interval '30 minutes', bytes_per_second > 50000, time_left < interval '30 minutes'"),
		't|t|t', 'and so is one that was set ahead');
}

# --- another rate for the backup that runs --------------------------------------------------------

$node->apply_conf(max_rate => '0');
poll_until(sub { progress('count(*)') eq '0' }, 'the end of the backup, no longer throttled', 20);
is($node->safe_psql('postgres', "SELECT status FROM veza_backup_info() WHERE label = '$label'"),
	'ok', 'the backup succeeded');
my ($seconds) = PostgreSQL::Test::Utils::slurp_file($node->logfile, $before) =~ /backup "$label" completed in (\S+) s/;
cmp_ok($seconds, '<', 1800, 'the log says how long it has taken, whatever the clock says');

# --- cancelled ------------------------------------------------------------------------------------

$node->apply_conf(max_rate => '1MB');
my $offset = -s $node->logfile;
my $session = $node->start_sql(q{SELECT veza_backup_now('diff')});
poll_until(sub { progress('bytes_done > 0') eq 't' }, 'a diff that copies');
is(progress('type'), 'diff', 'a diff is shown as such');
is($node->safe_psql('postgres', 'SELECT veza_backup_cancel()'), 't', 'the backup is told to stop');
($exit, $out, $err) = $node->finish_sql($session);
like($err, qr/canceling statement due to user request/, 'the waiting caller is told');
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

# --- what the backup records about the server -----------------------------------------------------

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
	'the versions of the extensions');
my %size = map { ($_->{name} => $_->{size}) } @{ $told->{databases} };
is_deeply([ sort keys %size ], [qw(other postgres template0 template1)], 'the databases');
cmp_ok(abs($size{other} - $node->safe_psql('other', q{SELECT pg_database_size('other')})),
	'<', 1_000_000, 'the sizes of the databases');
is($told->{settings}{work_mem}, '7MB', 'settings that differ from the default');
is($told->{settings}{primary_conninfo}, '(set)', 'settings that may be secret are not recorded');
ok(!exists $told->{settings}{shared_memory_type}, 'settings with their default are not recorded');
unlike($out, qr/topsecret|horse battery/, 'there is no secret in the output');

done_testing();
