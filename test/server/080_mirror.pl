# vezactl mirror: the repository is copied to a second one, by its own credentials, and killed on the way. Then the
# first repository is gone, and the cluster comes back from the mirror.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Compare qw(compare);
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use POSIX ();
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

my $mirror = store() eq 's3' ? repository() . '-mirror' : PostgreSQL::Test::Utils::tempdir('mirror') . '/place';
my $metrics_file = PostgreSQL::Test::Utils::tempdir('metrics') . '/veza_backup_mirror.prom';
my $mirror_conf = PostgreSQL::Test::Utils::tempdir('mirror_conf') . '/mirror.conf';

sub rows_of { return $_[0]->safe_psql('postgres', 'SELECT count(*), sum(id) FROM t') }

sub write_mirror_conf
{
	my ($more) = @_;
	unlink $mirror_conf;
	open my $file, '>', $mirror_conf or die "could not write $mirror_conf: $!";
	if (store() eq 's3')
	{
		print $file "veza_backup.s3_endpoint = '$ENV{VEZA_TEST_S3_ENDPOINT}'\n"
		  . "veza_backup.s3_region = 'us-east-1'\n"
		  . "veza_backup.s3_access_key = '$ENV{VEZA_TEST_S3_ACCESS_KEY}'\n"
		  . "veza_backup.s3_secret_key = '$ENV{VEZA_TEST_S3_SECRET_KEY}'\n";
		print $file "veza_backup.s3_session_token = '$ENV{VEZA_TEST_S3_SESSION_TOKEN}'\n" if $ENV{VEZA_TEST_S3_SESSION_TOKEN};
	}
	print $file $more // '';
	close $file or die "could not write $mirror_conf: $!";
	chmod 0600, $mirror_conf;
	return;
}

# Runs one pass, and returns what it says.
sub mirror
{
	my ($node, @arguments) = @_;
	return decode_json($node->vezactl_ok([ '--output', 'json', '--quiet', 'mirror', @arguments ]));
}

# The sample of that name in the file of metrics.
sub metric
{
	my ($name) = @_;
	my ($value) = slurp_file($metrics_file) =~ /^veza_backup_mirror_\Q$name\E\{cluster="main"\} (\S+)$/m;
	return $value;
}

# Kills a pass after so many seconds.
sub kill_a_pass
{
	my ($node, $seconds) = @_;
	my $pid = fork() // die "could not fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec $ENV{VEZACTL} // 'vezactl', '--config', $node->conf, 'mirror', '--jobs', '1', '--rate', '1MB';
		POSIX::_exit(1);
	}
	sleep $seconds;
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return $? & 127;
}

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(id int)');
$node->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(1, 1000)');
my $full = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
foreach my $segment (1 .. 6)
{
	$node->safe_psql('postgres', "CREATE TABLE wal_$segment AS SELECT md5(i::text) FROM generate_series(1, 10000) i");
	$node->archive_wal;
}

# --- what is refused ------------------------------------------------------------------------------

$node->vezactl_fails(['mirror'], 2, qr/no mirror is configured.*HINT:  Set veza_backup\.mirror/s, 'no mirror');
$node->vezactl_fails([ '--repository', 'mirror', 'info' ], 2, qr/no mirror is configured/, 'no mirror to read');
$node->change_conf(mirror => repository() . '/inside');
$node->vezactl_fails(['mirror'], 2, qr/are one place, or one of them lies in the other/, 'a mirror inside');
if (store() eq 'dir')
{
	my $links = PostgreSQL::Test::Utils::tempdir('links');
	symlink repository(), "$links/first" or die "could not make a link: $!";
	$node->change_conf(mirror => "$links/$_"), $node->vezactl_fails([ 'mirror', '--dry-run' ],
		2, qr/mirror "[^"]*" and repository "[^"]*" are one place/, "a mirror that is the repository by a link: $_")
	  foreach 'first', 'first/inside';
}
write_mirror_conf("veza_backup.cipher = 'none'\n");
$node->change_conf(mirror => $mirror, mirror_config => $mirror_conf);
$node->vezactl_fails(['mirror'], 2, qr/mirror\.conf" line \d+ sets "veza_backup\.cipher", which is not of the mirror/,
	'another setting in the file of the mirror');
write_mirror_conf();
$node->vezactl_fails([ '--repository', 'mirror', 'expire', '--full', '1' ], 2,
	qr/"vezactl expire" cannot be used with --repository mirror/, 'a command that writes');
$node->vezactl_fails([ '--repository', 'mirror', 'info' ], 2, qr/is not initialized/, 'a mirror that is empty yet');

# --- kills, and then all of it --------------------------------------------------------------------

my $behind = mirror($node, '--dry-run');
cmp_ok($behind->{behind}{objects}, '>', 5, "a dry run says that $behind->{behind}{objects} objects are missing");
is(mirror($node, '--dry-run')->{behind}{objects}, $behind->{behind}{objects}, 'and has copied none');
my $killed = 0;
my %seen;
my $deadline = time + 180;
for (my $seconds = 0.1; ($killed < 3 || keys %seen < 3) && time < $deadline; $seconds += 0.2)
{
	$killed += kill_a_pass($node, $seconds) == 9;
	my $report = mirror($node, '--dry-run');
	$seen{ $report->{behind}{objects} }++;
	my ($exit, $out) = $node->vezactl('--repository', 'mirror', '--output', 'json', 'verify');
	# Before the first WAL, verify has nothing to look at; it never finds a backup that lacks something.
	unlike($out, qr/"kind":"backup"[^}]*"problem/, 'no kill leaves a backup that lacks something');
}
cmp_ok($killed, '>', 2, "$killed passes were killed");
cmp_ok(scalar keys %seen, '>', 2, 'at several objects: ' . join(' ', sort keys %seen) . ' were missing afterwards');

my $report = mirror($node);
is_deeply($report->{copied}{backups}, [$full], 'the next pass ends with the backup');
is($report->{conflict_count} + $report->{unreadable_count}, 0, 'and without a conflict');
like($node->vezactl_ok([ '--repository', 'mirror', 'verify', '--full' ]), qr/nothing is wrong/, 'the mirror is whole');
$node->vezactl_fails([ 'mirror', '--dry-run', '--metrics-file', $metrics_file ],
	2, qr/--dry-run and --metrics-file exclude each other/, 'metrics of a dry run');
is(mirror($node, '--metrics-file', $metrics_file)->{behind}{objects}, 0, 'a pass that finds nothing to do');
is(metric('success'), 1, 'metrics: the pass has succeeded');
is(metric("behind_$_"), 0, "metrics: behind by no $_") foreach qw(objects bytes seconds);
is(metric('not_copied'), 0, 'metrics: nothing is left out');
is(metric('only_there'), 0, 'metrics: nothing is on the mirror alone');
cmp_ok(abs(metric('whole_timestamp_seconds') - time), '<', 60, 'metrics: the mirror is whole');

# --- what comes later -----------------------------------------------------------------------------

$node->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(1001, 2000)');
my $diff = $node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
$node->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(2001, 3000)');
my $incr = $node->safe_psql('postgres', q{SELECT veza_backup_now('incr')});
$node->safe_psql('postgres', 'INSERT INTO t VALUES (-1)');
$node->archive_wal;
like($node->vezactl_ok(['mirror']), qr/^was behind: by \d+ objects .*^copied: \d+ objects \(.*\), 2 backups/ms,
	'what came later is copied');
my $rows = rows_of($node);
my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (-2)');
my $rows_later = rows_of($node);
# The server reads ahead of the target.
my @ahead;
foreach my $table (qw(ahead further))
{
	$node->safe_psql('postgres', "CREATE TABLE $table(id int)");
	push @ahead, $node->archive_wal;
}

# --- the first repository has lost something ------------------------------------------------------

my $to = PostgreSQL::Test::Utils::tempdir('wal') . '/segment';

# Lets wal-get fetch a segment that the mirror has. Returns its warning.
sub from_mirror
{
	my ($test, @wal_get) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	unlink $to;
	my ($exit, $out, $err) = $node->vezactl('wal-get', @wal_get, $ahead[1], $to);
	is($exit, 0, "$test: the segment comes from the mirror");
	is(compare($to, "$to.original"), 0, "$test: and is whole");
	return $err;
}

$node->vezactl_ok([ 'wal-get', $ahead[1], "$to.original" ]);
my ($missing, $later) = map { my $segment = $_; grep { m{/$segment$} } objects('main/wal/') } @ahead;
my %content = map { $_ => read_object($_) } $missing, $later;
delete_object($missing);
mirror($node);
$node->vezactl_fails([ '--quiet', 'wal-get', $ahead[0], $to ], 126, qr/"$ahead[0]" is missing in the repository, although "$ahead[1]"/,
	'a gap in the first repository');
delete_object($later);
like(from_mirror('a repository that has lost its newest WAL'), qr/because it is missing in the repository/, 'wal-get says so');
$node->vezactl_fails([ '--quiet', 'wal-get', $ahead[0], $to ], 126,
	qr/"$ahead[0]" is missing in the repository, although its mirror has "$ahead[1]"\nHINT: .*--end-at-gap/,
	'the end of the repository is a gap of the mirror');
my ($end_at_gap, undef, $said) = $node->vezactl('wal-get', '--end-at-gap', $ahead[0], $to);
is($end_at_gap, 1, 'with --end-at-gap it is the end of WAL');
like($said, qr/its mirror has "$ahead[1]"; recovery ends before it/, 'after a warning');
($end_at_gap, undef, $said) = $node->vezactl('wal-get', '0000000100000000000000FF', $to);
is("$end_at_gap$said", '1', 'behind the WAL of both, nothing is said');
rename $mirror_conf, "$mirror_conf.aside" or die "rename: $!";
($end_at_gap, undef, $said) = $node->vezactl('wal-get', '0000000100000000000000FF', $to);
is($end_at_gap, 1, 'without a mirror that can be read, the repository decides');
like($said, qr/mirror cannot be used/, 'after a warning');
rename "$mirror_conf.aside", $mirror_conf or die "rename: $!";

write_object($_, $content{$_}) foreach $missing, $later;
write_object($later, 'ransom');
like(from_mirror('a segment that is damaged'), qr/because the repository cannot be read: /, 'wal-get says so');
write_object($later, $content{$later});
foreach my $directory (qw(main/identity main/key))
{
	my %lost = map { $_ => read_object($_) } objects($directory);
	cmp_ok(scalar keys %lost, '>', 0, "there is $directory");
	write_object($_, 'ransom') foreach keys %lost;
	from_mirror("$directory is overwritten");
	delete_object($_) foreach keys %lost;
	from_mirror("$directory is lost");
	write_object($_, $lost{$_}) foreach keys %lost;
}

# The repository is elsewhere from now on.
my %elsewhere = (repository => 's3://elsewhere/pg', s3_endpoint => 'http://127.0.0.1:1', s3_region => 'us-east-1',
	s3_access_key => undef, s3_secret_key => undef, s3_session_token => undef);
my %here = map { $_ => $node->{_veza_settings}{$_} } keys %elsewhere, qw(s3_access_key_file s3_secret_key_file);
$node->change_conf(%elsewhere, map { $_ => $node->basedir . '/none' } qw(s3_access_key_file s3_secret_key_file));
like(from_mirror('keys that are not there'), qr/because the repository cannot be read: .*none/, 'wal-get says so');
$node->vezactl_fails([ 'wal-get', '--retry', '1', '0000000100000000000000FF', $to ], 126, qr/none/,
	'keys that are not there, and a file that the mirror does not have');
# A server that accepts connections and never answers.
my $silent = IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1') or die "could not listen: $!";
$node->change_conf(%elsewhere, s3_endpoint => 'http://127.0.0.1:' . $silent->sockport, s3_access_key => 'key',
	s3_secret_key => 'wJalrXUtnFEMIK7MDENG', s3_access_key_file => undef, s3_secret_key_file => undef);
my $begin = time;
like(from_mirror('a repository that never answers'), qr/no answer within 10 s/, 'wal-get says so');
cmp_ok(time - $begin, '<', 20, 'it has waited for ten seconds');
$node->change_conf(%here);
$node->vezactl_ok(['mirror']);
# Restored while the first repository is there, and started when it is gone.
my $late = $node->restore('late', '--target-timeline', 'current', '--target-lsn', $end, '--target-action', 'pause',
	'--backup', $full);
$node->stop;

# --- the first repository is gone -----------------------------------------------------------------

# Somebody deletes the backups and the WAL first, and leaves the identity and the key.
delete_object($_) foreach grep { m{(^|/)(backup|wal)/} } objects();
my ($lost, $lost_says) = $node->vezactl('mirror', '--metrics-file', $metrics_file);
is($lost, 1, 'a repository that has lost its backups is no repository that the mirror has the whole of');
like($lost_says, qr/^WARNING:  the repository has no backup any more\./m, 'and the pass says so');
cmp_ok(metric('only_there'), '>', 5, 'metrics: what is on the mirror alone');
is(metric('not_copied'), 1, 'metrics: and that something is wrong');
delete_object($_) foreach objects();
$node->change_conf(s3_secret_key => 'revoked-0000000000000000000000000000') if store() eq 's3';
my ($exit) = $node->vezactl('info');
isnt($exit, 0, 'the first repository is gone');
my $whole = metric('whole_timestamp_seconds');
($exit) = $node->vezactl('mirror', '--metrics-file', $metrics_file);
is($exit, 2, 'a pass without a first repository fails');
is(metric('success'), 0, 'metrics: so they say');
is(metric('whole_timestamp_seconds'), $whole, 'metrics: and when the mirror was whole');
my $info = decode_json($node->vezactl_ok([ '--repository', 'mirror', '--output', 'json', 'info' ]));
is_deeply([ map { $_->{label} } @{ $info->{backups} } ], [ $full, $diff, $incr ], 'the mirror has the backups');
like($node->vezactl_ok([ 'verify', '--mirror', '--full' ]), qr/nothing is wrong/, 'and is whole');

# wal-get turns to the mirror by itself, and takes no file of the mirror's for the end of WAL.
$late->start;
$late->poll_query_until('postgres', 'SELECT pg_is_wal_replay_paused()') or die 'the target was not reached';
is(rows_of($late), $rows, 'a recovery from the first repository goes on with the WAL of the mirror');
like(slurp_file($late->logfile), qr/WAL file "\w+" comes from the mirror, because the repository cannot be read/,
	'the server log says so');
$late->discard;
my @wal_get = ('wal-get', '--system-id', $info->{systems}[0]{system_identifier}, '--retry', '1');
$node->vezactl_fails([ @wal_get, '0000000100000000000000FF', $to ], 126, qr/is not initialized|server answered 403/,
	'a file that the mirror does not have');

my $early = $node->restore('early', '--repository', 'mirror', '--backup', $full, '--target-immediate',
	'--target-action', 'promote');
$early->start;
$early->wait_for_end_of_recovery;
is(rows_of($early), '1000|500500', 'the oldest backup comes back, too');
$early->discard;

my $copy = $node->restore('copy', '--repository', 'mirror');
like(slurp_file($copy->data_dir . '/postgresql.auto.conf'), qr/wal-get.* --repository mirror/,
	'restore_command reads the mirror');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), $rows_later, 'the cluster is back from the mirror');
poll_until(sub { slurp_file($copy->data_dir . '/postgresql.auto.conf') !~ / --repository/ },
	'the end of --repository in restore_command');
pass('after the recovery, restore_command does not name the mirror');

# --- the mirror becomes the repository ------------------------------------------------------------

$node->change_conf(repository => $mirror, mirror => undef, mirror_config => undef,
	store() eq 's3' ? (s3_secret_key => $ENV{VEZA_TEST_S3_SECRET_KEY}) : ());
$copy->safe_psql('postgres', 'ALTER SYSTEM RESET archive_mode');
$copy->restart;
$copy->safe_psql('postgres', 'SELECT veza_backup_init()');
my $new = $copy->safe_psql('postgres', q{SELECT veza_backup_now('full')});
like($copy->vezactl_ok([ 'expire', '--full', '1', '--diff', '1', '--incr', '1', '--archive', '1' ]), qr/lease/,
	'an expiry heeds the leases of the restores from the mirror');
# The history of the new timeline is stored when the server has noticed that it is missing.
poll_until(sub { ($copy->vezactl('info'))[0] == 0 }, 'the history of the new timeline');
$info = decode_json($copy->vezactl_ok([ '--output', 'json', 'info' ]));
is_deeply([ map { $_->{label} } @{ $info->{backups} } ], [ $full, $diff, $incr, $new ], 'backups go on where the mirror was');
like($copy->vezactl_ok([ 'verify', '--full' ]), qr/nothing is wrong/, 'and what is there is whole');
$copy->discard;

done_testing();
