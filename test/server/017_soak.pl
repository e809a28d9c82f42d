# A store that fails at random, under load. At the end the archive holds every segment, byte for
# byte, and the archiver is still the same process.
#
# VEZA_TEST_SOAK_SECONDS sets how long the load lasts (default 60), VEZA_TEST_SOAK_SEED which faults
# occur.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Compare qw(compare);
use IPC::Run ();
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

plan skip_all => 'a directory does not fail at random' if store() ne 's3';

my $seconds = $ENV{VEZA_TEST_SOAK_SECONDS} // 60;
my $seed = $ENV{VEZA_TEST_SOAK_SEED} // time;
my $rate = 0.25;

my $node = VezaTest->new('primary');
# Small segments cause more requests, and so more faults, in a minute.
$node->init(proxy => 'faults', extra => ['--wal-segsize=4']);
$node->append_conf('postgresql.conf', <<'CONF');
# All segments stay in pg_wal, to be compared at the end.
wal_keep_size = '1TB'
checkpoint_timeout = 30s
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->command_ok([ 'pgbench', '-q', '-i', '-s', '5', 'postgres' ], 'the tables of the load');
# Retention may remove WAL older than the first backup, but nothing later.
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $first = $node->archive_wal;

my $wal = $node->data_dir . '/pg_wal';
my $archiver = $node->archiver_pid;

# Returns the segments after the first one: those that this test is about.
sub segments
{
	my ($suffix) = @_;
	my @names = map { m{/([0-9A-F]{24})\Q$suffix\E$} } glob "$wal/archive_status/*$suffix";
	return sort grep { $_ gt $first } @names;
}

# --- the load, and what the archiver needs --------------------------------------------------------

sub look_at_archiver
{
	my ($kilobytes) =
	  PostgreSQL::Test::Utils::slurp_file("/proc/$archiver/status") =~ /^VmRSS:\s+(\d+) kB/m;
	my @descriptors = glob "/proc/$archiver/fd/*";
	return { megabytes => $kilobytes / 1024, descriptors => scalar @descriptors };
}

sub most
{
	my ($what, @looks) = @_;
	return max map { $_->{$what} } @looks;
}

note "seed $seed";
store_faults($rate, $seed);
my ($out, $err) = ('', '');
my $load = IPC::Run::start(
	[
		$node->installed_command('pgbench'), '-n', '-c', '2', '-T', $seconds,
		$node->connstr('postgres')
	],
	'<', \undef, '>', \$out, '2>', \$err,
	IPC::Run::timeout($seconds + $PostgreSQL::Test::Utils::timeout_default));
my $backup = $node->start_sql(q{SELECT veza_backup_now('full')});

my @looks;
my $begin = time;
while ((my $elapsed = time - $begin) < $seconds)
{
	push @{ $looks[ int(3 * $elapsed / $seconds) ] }, look_at_archiver();
	sleep 0.5;
}
$load->finish;
is($load->result(0), 0, 'the load came to its end') or diag($err);

my @behind = segments('.ready');
mend_store();
poll_until(
	sub {
		# After three failures in a row it sleeps.
		$node->wake_archiver;
		return !(my @left = segments('.ready'));
	},
	'the backlog to be archived');
is($node->archiver_pid, $archiver, 'the archiver process is still the same');

my $end = look_at_archiver();
my ($second, $third) = map { $looks[$_] } 1, 2;
note scalar(@behind) . ' segments waited when the load ended';
note sprintf '%s: %s', $_, join ', ', map { "$_->[0] $_->[1]" } (
	[ 'second third', most($_, @$second) ], [ 'last third', most($_, @$third) ], [ 'end', $end->{$_} ])
  foreach qw(megabytes descriptors);
cmp_ok(most('megabytes', @$third, $end), '<', most('megabytes', @$second) + 16, 'memory is flat');
# Requests in flight open and close descriptors. Idle connections are kept: up to s3_connections, with two or
# three descriptors each.
cmp_ok(most('descriptors', @$third), '<', most('descriptors', @$second) + 16, 'descriptors are flat');
cmp_ok($end->{descriptors}, '<', most('descriptors', @$second) + 16, 'no descriptor is left over');

# --- what happened during the load ----------------------------------------------------------------

my $counts = fault_counts();
note join ' ', map { "$_=$counts->{$_}" } sort keys %$counts;
foreach my $kind (grep { $_ ne 'requests' } sort keys %$counts)
{
	cmp_ok($counts->{$kind}, '>', 0, "there was a fault of the kind $kind");
}

# The backup may fail because the store is away, but not because of a segment that another server
# wrote.
my (undef, undef, $said) = $node->finish_sql($backup);
unlike($said, qr/different content/, 'the backup found no conflict');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/different content/, 'the archiver found no conflict');

# --- the archive is complete ----------------------------------------------------------------------

my $last = $node->archive_wal;
# A later segment may be archived as well, because the server also switches segments by itself.
my @done = grep { $_ le $last } segments('.done');
my ($system_id) = $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
my %stored = map { m{/([0-9A-F]{24})$} ? ($1 => 1) : () } objects("main/wal/$system_id/");
# Segments after the last one are those that PostgreSQL has prepared for later use.
my @finished = sort grep { /^[0-9A-F]{24}$/ && $_ gt $first && $_ le $last } map { m{([^/]+)$} } glob "$wal/*";

cmp_ok(scalar @finished, '>', 10, 'the load has filled segments');
note scalar(@finished) . ' segments';
is_deeply(\@done, \@finished, 'every segment on disk counts as archived');
is_deeply([ grep { !$stored{$_} } @finished ], [], 'every segment is in the repository');

my $fetched = $node->basedir . '/fetched';
my @different = grep {
	!IPC::Run::run([ $ENV{VEZACTL}, '--config', $node->conf, 'wal-get', $_, $fetched ])
	  || compare($fetched, "$wal/$_") != 0
} @finished;
is_deeply(\@different, [], 'byte for byte');

like($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), qr/F$/,
	'a backup succeeds when the store works again');
$node->stop('fast');

done_testing();
