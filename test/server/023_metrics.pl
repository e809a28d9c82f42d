# Metrics: the view, the file that the scheduler writes, and the commands that the scheduler starts.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
my $file = PostgreSQL::Test::Utils::tempdir('metrics') . '/veza_backup.prom';

sub value_of
{
	my ($name, $labels) = @_;
	$labels //= '{"cluster": "main"}';
	return $node->safe_psql('postgres',
		"SELECT value FROM veza_backup_metrics WHERE name = 'veza_backup_$name' AND labels = '$labels'");
}

# --- the view -------------------------------------------------------------------------------------

is(value_of('up'), '0', 'without a repository');
is(value_of('in_recovery'), '0', 'metrics of the server itself are still there');
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
is(value_of('up'), '1', 'with a repository');
is(value_of('backups', '{"cluster": "main", "type": "full"}'), '1', 'there is a backup');
cmp_ok(value_of('last_size_bytes', '{"cluster": "main", "type": "full"}'), '>', 10_000_000,
	'the size of the backup');
cmp_ok(abs(value_of('last_success_timestamp_seconds', '{"cluster": "main", "type": "full"}') - time),
	'<', 300, 'the time of the backup');
cmp_ok(value_of('archive_stored_total'), '>', 0, 'WAL was stored');
cmp_ok(value_of('wal_free_bytes'), '<=', value_of('wal_total_bytes'), 'the disk of pg_wal');
is(value_of('wal_full_in_seconds'), '', 'does not fill');
is(value_of('archiving'), '1', 'archiving is shown as working');
poll_until(sub { value_of('archive_exposure_seconds') ne '' }, 'the exposed time is known');

# The rules in ops/ use exactly the names in ops/metrics.txt.
my %listed = map { /^# HELP (\S+)/ ? ($1 => 1) : () } split /\n/,
  slurp_file("$FindBin::RealBin/../../ops/metrics.txt");
my @unlisted = grep { !$listed{$_} } split /\n/,
  $node->safe_psql('postgres', 'SELECT DISTINCT name FROM veza_backup_metrics ORDER BY 1');
is_deeply(\@unlisted, [], 'every metric is in ops/metrics.txt');

# --- the file -------------------------------------------------------------------------------------

$node->apply_conf(metrics_file => $file);
poll_until(sub { -s $file }, 'the file');
like(slurp_file($file),
	qr/^# HELP veza_backup_up .*\n# TYPE veza_backup_up gauge\nveza_backup_up\{cluster="main"\} 1$/m,
	'in the format of Prometheus');
is((stat $file)[2] & 07777, 0644, 'everybody may read the file');
like(slurp_file($file), qr/^veza_backup_backups\{cluster="main",type="full"\} 1$/m, 'one backup');
my $position = -s $node->logfile;
$node->apply_conf(metrics_file => '/nonexistent/veza.prom');
$node->wait_for_log(qr{WARNING: .*/nonexistent/veza\.prom}, $position);
$node->apply_conf(metrics_file => undef);

# --- a server that does not archive ---------------------------------------------------------------

# A restored server looks like this. Scheduled commands are tested next: they use the same worker
# slot as a backup.
$node->safe_psql('postgres', q{ALTER SYSTEM SET archive_library = ''});
$position = -s $node->logfile;
$node->apply_conf(schedule_full => '* * * * *', schedule_jitter => 0);
is(value_of('archiving'), '0', 'the metrics say that it does not archive');
poll_until(sub { value_of('archive_exposure_seconds') eq '' }, 'the exposed time is not known');
is( $node->safe_psql('postgres', 'SELECT exposure IS NULL FROM veza_backup_archive'),
	't', 'the view does not have it either');
is(value_of('last_failure_timestamp_seconds'), '', 'no backup has failed so far');

# --- scheduled programs ---------------------------------------------------------------------------

my $failing = $position;
my $out = "$file.out";
$position = -s $node->logfile;
$node->apply_conf(schedule_drill => '* * * * *');
$node->wait_for_log(qr/WARNING: .*"veza_backup\.schedule_drill" is set, but "veza_backup\.drill_command" is not/,
	$position);
$position = -s $node->logfile;
$node->apply_conf(
	drill_command => "cat /proc/self/stat > $out; exit 3",
	schedule_verify => '* * * * *',
	verify_command => 'sleep 600');
$node->wait_for_log(qr/LOG: .*starting the scheduled restore drill: cat/, $position);
$node->wait_for_log(qr/WARNING: .*the scheduled restore drill has failed: exit code 3/, $position);
like(slurp_file($out), qr/^(?:\S+ ){18}19 /, 'it runs at the lowest priority');
$node->wait_for_log(qr/LOG: .*starting the scheduled verification/, $position);
$node->wait_for_log(
	qr/WARNING: .*could not start the scheduled full backup: WAL is not archived by veza_backup/,
	$failing);
cmp_ok(value_of('last_failure_timestamp_seconds'), '>', time - 300,
	'a backup that could not begin counts as failed');
is( $node->safe_psql('postgres', q{SELECT type, detail FROM veza_backup_info() WHERE status = 'failed'}),
	'full|WAL is not archived by veza_backup', 'veza_backup_info() says why it failed');
$node->stop('fast');
sleep 0.5;
is(scalar(grep { VezaTest::read_proc("/proc/$_/cmdline") =~ /^sleep\0600\0/ }
		map { m{/proc/(\d+)$} } glob '/proc/[0-9]*'),
	0, 'a scheduled command ends with the server');

done_testing();
