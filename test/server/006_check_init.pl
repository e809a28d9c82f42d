# veza_backup_init() and veza_backup_check(): what they accept, and what they say when something is
# wrong.

use strict;
use warnings;
use Cwd qw(getcwd);
use File::Compare qw(compare);
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'archive_timeout = 60');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');

# Returns the rows of veza_backup_check() as {name => {passed => , detail => , hint => }}, and the
# order of the names.
sub check
{
	my ($on) = @_;
	my $rows = $on->safe_psql('postgres', <<'SQL');
SELECT name, passed, detail, coalesce(hint, '') FROM veza_backup_check()
SQL
	my (%rows, @order);
	foreach my $row (split /\n/, $rows)
	{
		my ($name, $passed, $detail, $hint) = split /\|/, $row, 4;
		$rows{$name} = { passed => $passed, detail => $detail, hint => $hint };
		push @order, $name;
	}
	return (\%rows, \@order);
}

sub failing
{
	my ($rows) = @_;
	return sort grep { $rows->{$_}{passed} eq 'f' } keys %$rows;
}

# Tests that exactly the named rows fail, with these details and hints. Some rows show what another process saw when
# it looked last. That look may have begun before the last change of a setting.
sub finds_wrong
{
	my ($test, $on, %expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @names = sort keys %expected;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($rows) = check($on);
	until ("@names" eq join(' ', failing($rows)) || time > $deadline)
	{
		sleep 0.1;
		($rows) = check($on);
	}

	is_deeply([ failing($rows) ], \@names, "$test: these checks fail");
	foreach my $name (sort keys %expected)
	{
		my ($detail, $hint) = @{ $expected{$name} };
		like($rows->{$name}{detail}, $detail, "$test: detail of $name");
		like($rows->{$name}{hint}, $hint, "$test: hint of $name");
	}
	return;
}

# The server takes a place for another repository after a change of its endpoint, until an operator confirms it.
sub confirm_repository
{
	my ($on) = @_;
	$on->safe_psql('postgres', 'SELECT veza_backup_init()');
	# The scheduler looks again.
	$on->apply_conf(jobs => 2);
	poll_until(sub { return (check($on))[0]{key}{passed} eq 't' }, 'the scheduler to look at the right repository');
	return;
}

# --- init -----------------------------------------------------------------------------------------

my $location = repository() . '/main';
is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), $location,
	'veza_backup_init() returns the location');
my @objects = grep { m{^main/(identity|key)/} } objects();
is(scalar(@objects), 2, 'there are an identity and a key');
is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), $location, 'it may run again');
is($node->safe_psql('postgres', 'SELECT veza_backup_init(true)'), $location,
	'it may run again with accept_new_system');
is_deeply([ grep { m{^main/(identity|key)/} } objects() ], \@objects, 'running it again changes nothing');

is($node->safe_psql('postgres', 'SELECT status, detail FROM veza_backup_info()'),
	"no backup here yet|$location", 'veza_backup_info() says that there is no backup');
finds_wrong('no backup', $node, backups => [ qr/no backup here yet/, qr/veza_backup_now\('full'\)/ ]);
$node->vezactl_fails(['check'], 1, qr/^$/, 'vezactl check, too');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# --- all is well ----------------------------------------------------------------------------------

my ($rows, $order) = check($node);
is( "@$order",
	'settings data_directory ' . (store() eq 's3' ? 'credentials ' : '') . 'store write read conditional_writes delete clock identity passphrases format backups key security archiving archive_timeout wal_index',
	'the checks');
is_deeply([ grep { $rows->{$_}{passed} ne 't' } @$order ], [], 'all pass');
is_deeply([ grep { $rows->{$_}{hint} ne '' } @$order ], [], 'no row has a hint');
like($rows->{archiving}{detail}, qr/^WAL segment "[0-9A-F]{24}" reached the repository$/,
	'archiving was tried');
like($rows->{archive_timeout}{detail}, qr/^at most about 60 s of work can be lost/,
	'the check says how much WAL a loss would cost');
like($rows->{wal_index}{detail}, qr/^the scheduler has not looked|^\d+ archived WAL segments had no index at 2/,
	'the check tells of the index of WAL');
# The probe for conditional writes (S3 only) stays.
is_deeply([ grep { $_ ne 'main/probe/conditional-writes' } objects('main/probe/') ],
	[], 'no probe is left');
like($node->vezactl_ok(['check']), qr/^identity +ok /m, 'vezactl check agrees');

# --- what can be wrong ----------------------------------------------------------------------------

$node->safe_psql('postgres', 'ALTER SYSTEM SET archive_timeout = 0');
$node->apply_conf();
finds_wrong('no archive_timeout', $node,
	archive_timeout => [ qr/archive_timeout is off/, qr/Set archive_timeout = 60/ ]);
$node->safe_psql('postgres', 'ALTER SYSTEM SET archive_timeout = 300');
$node->apply_conf();
($rows) = check($node);
like($rows->{archive_timeout}{detail}, qr/300 s of work can be lost; archive_timeout = 60 is recommended/,
	'the check reports a long archive_timeout');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET archive_timeout');

$node->apply_conf(cipher_passphrase => undef);
finds_wrong('no passphrase', $node,
	settings => [ qr/no passphrase is configured, but the cipher is "aes-256-gcm"/,
		qr/Set veza_backup\.cipher_passphrase_file/ ]);
$node->vezactl_fails(['check'], 2, qr/no passphrase is configured.*HINT:/s, 'vezactl check');
$node->apply_conf(repository => '');
finds_wrong('no repository', $node,
	settings => [ qr/no repository is configured/, qr/Set veza_backup\.repository/ ]);
$node->apply_conf(
	repository => repository(),
	cipher_passphrase => 'incorrect donkey battery staple');
finds_wrong(
	'a wrong passphrase', $node,
	identity => [ qr/the passphrase does not open/, qr/veza_backup\.cipher_passphrase/ ],
	archiving => [ qr/not tested: the repository cannot be opened/, qr/Fix the failed checks above/ ]);
$node->apply_conf(cipher_passphrase => 'correct horse battery staple');

$node->safe_psql('postgres', q{ALTER SYSTEM SET archive_library = ''});
$node->apply_conf(cluster => 'fresh');
finds_wrong(
	'an empty repository, no archiving', $node,
	identity => [ qr/is not initialized/, qr/SELECT veza_backup_init\(\)/ ],
	archiving => [ qr/WAL is not archived by veza_backup/, qr/archive_library = 'veza_backup'/ ]);
$node->apply_conf(cluster => 'main');

if (store() eq 'dir')
{
	my @archiving = (archiving => [ qr/not archived/, qr/archive_library/ ]);
	my @denied = (qr/Permission denied/, qr/owner of the directory named in veza_backup\.repository/);

	break_store();
	finds_wrong('a directory that cannot be entered', $node, store => \@denied, @archiving);
	mend_store();
	chmod 0500, "$location";
	finds_wrong('a directory that cannot be written', $node, write => \@denied, @archiving);
	chmod 0700, "$location";
}
else
{
	$node->apply_conf(s3_endpoint => 'http://127.0.0.1:1');
	my $begin = time;
	finds_wrong(
		'nobody answers', $node,
		store => [ qr/127\.0\.0\.1.*/, qr/veza_backup\.s3_endpoint/ ],
		archiving => [ qr/not archived/, qr/archive_library/ ]);
	cmp_ok(time - $begin, '<', 30, 'the check responds in reasonable time');
	$node->apply_conf(s3_endpoint => $ENV{VEZA_TEST_S3_ENDPOINT});
	confirm_repository($node);
}
$node->safe_psql('postgres', 'ALTER SYSTEM RESET archive_library');
$node->apply_conf();
# The postmaster starts another archiver at the earliest ten seconds after the last one, and only
# when something wakes it. The connections of this call do that.
$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'veza', 'fill')});
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->poll_query_until('postgres',
	q{SELECT count(*) = 0 FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'})
  or die 'the archiver did not come back';
finds_wrong('set right again', $node);

SKIP:
{
	skip 'there is no S3', 2 if store() ne 's3';

	$node->apply_conf(
		s3_endpoint => $ENV{VEZA_TEST_S3_TLS_ENDPOINT},
		s3_ca_file => $ENV{VEZA_TEST_S3_CA_FILE});
	confirm_repository($node);
	finds_wrong('over TLS', $node);
	$node->apply_conf(s3_ca_file => undef);
	my ($untrusted) = check($node);
	like($untrusted->{store}{detail} . $untrusted->{store}{hint},
		qr/certificate.*veza_backup\.s3_ca_file/is, 'a certificate nobody trusts');
	$node->apply_conf(s3_endpoint => $ENV{VEZA_TEST_S3_ENDPOINT});
	confirm_repository($node);
}

# The archiver hangs. The check has a deadline, and can be cancelled.
kill 'STOP', $node->archiver_pid;
$node->sql_fails(q{SET statement_timeout = '2s'; SELECT veza_backup_check()},
	qr/canceling statement due to statement timeout/, 'a check that is cancelled');
my $hanging = $node->start_sql(
	q{SELECT name, detail, hint FROM veza_backup_check() WHERE NOT passed});

# --- another cluster with the same name (while the check waits) -----------------------------------

my $other = VezaTest->new('other');
$other->init;
$other->append_conf('postgresql.conf', 'archive_timeout = 60');
$other->start;
$other->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
my ($system_id, $other_id) = map {
	$_->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()')
} $node, $other;

my $position = -s $other->logfile;
my $refused =
  qr/belongs to the cluster with system identifier $system_id \(initialized by \S+:\d+ at 20[^)]*\), not to $other_id/;
$other->sql_fails('SELECT veza_backup_init()', qr/$refused\nHINT:  .*accept_new_system => true/,
	'veza_backup_init() of another cluster under the same name');
$other->sql_fails(q{SELECT veza_backup_now('full')}, $refused, 'a backup of the other cluster');
finds_wrong(
	'its checks', $other,
	backups => [ qr/no backup here yet/, qr/veza_backup_now/ ],
	archiving => [ $refused, qr/accept_new_system => true/ ]);
$other->wait_for_log(qr/WARNING:  could not archive WAL file "\w+": .*$refused/, $position);
pass('the archiver of the other cluster warns');
is_deeply([ grep { m{^main/(identity|key)/} } objects() ], \@objects, 'the other cluster has stored nothing');

# The restore_command of docs/archiving.md for a primary and its standbys. It has no --system-id.
my $fetched = $other->basedir . '/fetched';

sub wal_get_in
{
	my ($directory, @arguments) = @_;
	my $before = getcwd();
	chdir $directory or die "could not enter $directory: $!";
	unlink $fetched;
	my @result = $node->vezactl('wal-get', '--retry', 0, @arguments);
	chdir $before or die "could not enter $before: $!";
	return @result;
}

my $first = $node->safe_psql('postgres', 'SELECT min(name) FROM pg_ls_waldir() WHERE length(name) = 24');
my ($get_exit, undef, $get_err) = wal_get_in($other->data_dir, $first, $fetched);
is($get_exit, 126, 'a recovery of another cluster gets no WAL of this one');
like($get_err, qr/$refused\nHINT:  wal-get does not return the WAL of another cluster/, 'the message says why the recovery gets no WAL');
ok(!-e $fetched, 'there is none');
append_to_file($other->data_dir . '/standby.signal', '');
($get_exit, undef, $get_err) = wal_get_in($other->data_dir, $first, $fetched);
unlink $other->data_dir . '/standby.signal';
is($get_exit, 1, 'a standby of another cluster gets no WAL either, but may continue with streaming');
like($get_err, qr/warning: .*$refused/, 'the standby gets the same message');

is($other->safe_psql('postgres', 'SELECT veza_backup_init(accept_new_system => true)'),
	$location, 'an operator may accept the new system');
is(scalar(my @identities = objects('main/identity/')), 2, 'there are two identities now');
is(scalar(my @keys = objects('main/key/')), 1, 'there is still one key');
$other->wake_archiver;
finds_wrong('its checks, then', $other, backups => [ qr/no backup here yet/, qr/veza_backup_now/ ]);
my $label = $other->safe_psql('postgres', q{SELECT veza_backup_now('full')});
finds_wrong('its checks in the end', $other);
like($other->vezactl_ok(['info']),
	qr/^system $system_id:.*^system $other_id:.*^$label /ms,
	'vezactl info shows both');

my $target = $other->basedir . '/target';
$other->vezactl_fails([ 'restore', '--target-dir', $target ],
	2, qr/holds 2 systems\nHINT:  .*--system-id.*$other_id/, 'a restore needs to be told which system');
$other->vezactl_ok([ 'restore', '--target-dir', $target, '--system-id', $other_id ],
	'a restore of the named system succeeds');
like(slurp_file("$target/postgresql.auto.conf"), qr/wal-get --system-id $other_id /,
	'the recovery of the named system succeeds');

my ($exit, $out) = $node->finish_sql($hanging);
like($out,
	qr/^archiving\|WAL segment "\w{24}" did not reach the repository within 30 s\|.*server log/,
	'the check did not wait for ever');
kill 'CONT', $node->archiver_pid;

# --- the WAL of one of two systems ----------------------------------------------------------------

# Segments of the same name, but of two clusters.
my $segment = $other->archive_wal;
foreach my $whose ($node, $other)
{
	my ($name) = grep { -e $whose->data_dir . "/pg_wal/archive_status/$_.done" } $segment, $first;
	next unless $name;
	($get_exit, undef, $get_err) = wal_get_in($whose->data_dir, $name, $fetched);
	is($get_exit, 0, 'a server gets WAL') or diag($get_err);
	is(compare($fetched, $whose->data_dir . "/pg_wal/$name"), 0, 'the fetched segment belongs to the cluster itself');
	# pg_rewind runs restore_command in another directory than the data directory.
	my $absolute = $whose->data_dir . '/pg_wal/fetched';
	($get_exit, undef, $get_err) = wal_get_in('/', $name, $absolute);
	is($get_exit, 0, 'pg_rewind, too') or diag($get_err);
	is(compare($absolute, $whose->data_dir . "/pg_wal/$name"), 0, 'the fetched segment belongs to the cluster itself');
	unlink $absolute;
}
($get_exit, undef, $get_err) = wal_get_in('/', $segment, $fetched);
is($get_exit, 126, 'outside a data directory the system must be named');
like($get_err, qr/holds 2 systems\nHINT:  .*--system-id/, 'the message says so');
my $damaged = $other->basedir . '/damaged';
mkdir $damaged and mkdir "$damaged/global" or die "could not make $damaged: $!";
append_to_file("$damaged/global/pg_control", "\0" x 8192);
($get_exit, undef, $get_err) = wal_get_in($damaged, $segment, $fetched);
is($get_exit, 126, 'a damaged pg_control does not identify the system');
like($get_err, qr/pg_control.*is damaged\nHINT:  .*--system-id/, 'the message says that it is damaged');

$other->backup('base');
$segment = $other->archive_wal;
my $standby = VezaTest->new('standby');
$standby->init_from_backup($other, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf',
	"restore_command = '$ENV{VEZACTL} --config " . $other->conf . " wal-get %f %p'");
$standby->start;
$standby->wait_for_log(qr/restored log file/);
$other->wait_for_catchup($standby);
pass('a standby starts with the restore_command of docs/archiving.md');
$standby->stop;

done_testing();
