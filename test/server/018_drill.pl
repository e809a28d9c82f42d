# Restore drills: what they prove, what they record, and that they leave nothing behind.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Basename qw(basename);
use File::Path qw(remove_tree);
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(extra => ['--data-checksums'], proxy => 1);
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->start;
# Sockets have short paths.
my $base = PostgreSQL::Test::Utils::tempdir_short();
my $tablespace = PostgreSQL::Test::Utils::tempdir('tablespace');
my $metrics_file = PostgreSQL::Test::Utils::tempdir() . '/drill.prom';

$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$tablespace'");
$node->safe_psql('postgres', 'CREATE DATABASE "ap=p"');
$node->safe_psql('ap=p', <<'SQL');
CREATE TABLE users(id integer PRIMARY KEY, name text) TABLESPACE elsewhere;
INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) AS n;
SQL
# A standby would refuse to recover with less; a drill must not.
$node->safe_psql('postgres', 'ALTER SYSTEM SET port = 1');
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('ap=p', q{INSERT INTO users VALUES (1001, 'later')});
my $time = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('ap=p', <<'SQL');
INSERT INTO users VALUES (1002, 'too late');
BEGIN;
INSERT INTO users VALUES (1003, 'prepared');
PREPARE TRANSACTION 'pending';
SQL
$node->archive_wal;

# VezaTest runs as the account that PostgreSQL runs as, so root's part of a drill is not tried here.

# --- helpers --------------------------------------------------------------------------------------

sub command
{
	my (@arguments) = @_;
	return ($ENV{VEZACTL} // 'vezactl', '--config', $node->conf, 'drill', '--directory', $base,
		'--metrics-file', $metrics_file, @arguments);
}

# What runs in or for a directory below $base, as pid => command.
sub running
{
	my %found;
	foreach my $process (glob '/proc/[0-9]*')
	{
		my $pid = basename($process);
		next if $pid == $$;
		my $cwd = readlink("$process/cwd") // '';
		my $line = VezaTest::read_proc("$process/cmdline") =~ tr/\0/ /r;
		$found{$pid} = $line if $cwd =~ m{^\Q$base\E/} || $line =~ m{\Q$base\E/veza-drill};
	}
	return %found;
}

sub leaves_nothing
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %processes;

	foreach (1 .. 100)
	{
		%processes = running();
		last if !%processes && !glob "$base/*";
		Time::HiRes::sleep(0.1);
	}
	is_deeply(\%processes, {}, "$test: nothing runs");
	is_deeply([ glob "$base/*" ], [], "$test: nothing is left");
	return;
}

# Runs a drill that ends by itself: its JSON.
sub drill
{
	my ($test, $code, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($exit, $out, $err) = $node->vezactl('--output', 'json', 'drill', '--directory', $base,
		'--metrics-file', $metrics_file, @arguments);

	is($exit, $code, "$test: exit code") or diag($out . $err);
	leaves_nothing($test);
	return $out =~ /^\{/ ? decode_json($out) : {};
}

sub metric
{
	my ($name, $labels) = @_;
	my ($value) = slurp_file($metrics_file) =~ /^veza_backup_drill_\Q$name\E\{cluster="main"\Q$labels\E\} (\S+)$/m;
	return $value;
}

# Starts a drill that hangs in its check, unless it is stopped before.
sub start_drill
{
	my (@arguments) = @_;
	my %drill = (out => '', err => '');
	$drill{harness} = IPC::Run::start([ command(@arguments, '--check', 'SELECT pg_sleep(600)') ],
		'<', \undef, '>', \$drill{out}, '2>', \$drill{err});
	($drill{pid}) = map { $_->{PID} } @{ $drill{harness}{KIDS} };
	return \%drill;
}

sub wait_for_process
{
	my ($pattern) = @_;
	my $pid;
	poll_until(
		sub {
			my %processes = running();
			($pid) = grep { $processes{$_} =~ $pattern } sort { $a <=> $b } keys %processes;
			return defined $pid;
		},
		"a process like $pattern");
	return $pid;
}

sub ends_with
{
	my ($drill, $code, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$drill->{harness}->finish;
	my $status = $drill->{harness}->full_result(0);
	is($status & 127 ? 128 + ($status & 127) : $status >> 8, $code, "$test: exit code")
	  or diag("$drill->{out}$drill->{err}");
	leaves_nothing($test);
	return;
}

# The drill's own process, which vezactl supervises.
sub worker_of
{
	my ($drill) = @_;
	my ($worker) = split ' ',
	  VezaTest::read_proc("/proc/$drill->{pid}/task/$drill->{pid}/children");
	return $worker;
}

# --- a drill that passes --------------------------------------------------------------------------

my @before = objects('');
my $postmaster = slurp_file($node->data_dir . '/postmaster.pid');
my $result = drill(
	'the newest backup', 0,
	'--check', 'SELECT count(*) FROM users', '--database', 'ap=p', '--min', 1002,
	'--check', 'SELECT true',
	'--check', q{SELECT count(*) FROM pg_prepared_xacts}, '--min', 1,
	'--check', q{SELECT setting = 'off' FROM pg_settings WHERE name = 'archive_mode'},
	'--amcheck', '--dump');
ok($result->{passed}, 'it passed');
is($result->{label}, $label, 'the newest backup was restored');
is(join(' ', map { $_->{passed} ? 'ok' : $_->{detail} } @{ $result->{checks} }),
	'ok ok ok ok ok ok ok', 'all checks are good');
is(join(' ', sort keys %{ $result->{phases_ms} }),
	'amcheck checks checksums dump recovery restore', 'each phase was timed');
cmp_ok($result->{rto_ms}, '>=', $result->{phases_ms}{restore} + $result->{phases_ms}{recovery} - 1,
	'RTO is restore and recovery');
cmp_ok($result->{rpo_ms}, '<', 600_000, 'RPO is small');
my $last_commit = $node->safe_psql('postgres', "SELECT '$result->{last_commit}' > '$time'::timestamptz");
is($last_commit, 't', 'the last commit is the one after the backup');
cmp_ok($result->{restored_bytes}, '>', 10_000_000, 'bytes were counted');

my ($record, @others) = grep { my $name = $_; !grep { $_ eq $name } @before } objects('');
like($record, qr{^main/drill/\d{8}-\d{6}-$label$}, 'the repository holds the record');
is_deeply(\@others, [], 'and nothing else that is new');
is("main/$result->{record}", $record, 'whose name is told');
is(slurp_file($node->data_dir . '/postmaster.pid'), $postmaster, 'the server was left alone');

is(metric('success', ''), 1, 'metrics: success');
is(metric('checks', ',result="passed"'), 7, 'metrics: checks');
is(metric('checks', ',result="failed"'), 0, 'metrics: no failed check');
is(metric('info', ",label=\"$label\""), 1, 'metrics: label');
cmp_ok(metric('restored_bytes', ''), '==', $result->{restored_bytes}, 'metrics: bytes');
cmp_ok(metric('duration_seconds', ',phase="restore"'), '==',
	$result->{phases_ms}{restore} / 1000, 'metrics: phases');
my $last_success = metric('last_success_timestamp_seconds', '');
is($last_success, metric('last_run_timestamp_seconds', ''), 'metrics: times');
is(sprintf('%o', (stat $metrics_file)[2] & 07777), '644', 'metrics can be read by all');
my @helps = slurp_file($metrics_file) =~ /^# HELP (\S+)/mg;
my @types = slurp_file($metrics_file) =~ /^# TYPE (\S+) gauge$/mg;
is("@helps", "@types", 'each family has HELP and TYPE');

is( $node->safe_psql('postgres', <<'SQL'),
SELECT label, passed, checks_passed, checks_failed, (phases->>'restore')::float > 0,
       rto_seconds > 0, rpo_seconds > 0, error IS NULL
  FROM veza_backup_drills
SQL
	"$label|t|7|0|t|t|t|t", 'veza_backup_drills shows it');
is( $node->safe_psql('postgres', <<'SQL'),
SELECT i.last_drill = d.time, i.last_drill_passed
  FROM veza_backup_info() AS i JOIN veza_backup_drills AS d USING (label)
SQL
	't|t', 'and so does veza_backup_info()');
like($node->vezactl_ok(['info']), qr/^$label .* passed \d{4}-\S+Z$/m, 'vezactl info');
my $info = decode_json($node->vezactl_ok([ '--output', 'json', 'info' ]));
is($info->{backups}[0]{last_drill}{checks_passed}, 7, 'vezactl info in JSON');

my ($exit, $out, $err) = $node->vezactl('drill', '--directory', $base, '--no-record',
	'--target-time', $time, '--check', 'SELECT count(*) = 1001 FROM users', '--database', 'ap=p');
is($exit, 0, 'to a point in time');
like($out, qr/^drill of backup $label to time .*: passed$/m, 'for people');
like($out, qr/^restore +[\d.]+ m?s\n.*\(RTO\).*\(RPO\)/ms, 'with times');
leaves_nothing('to a point in time');
is(scalar(my @drills = objects('main/drill/')), 1, '--no-record');

# --- drills that fail -----------------------------------------------------------------------------

$result = drill('checks that fail', 1,
	'--check', 'SELECT count(*) FROM users', '--min', 5000, '--database', 'ap=p',
	'--check', 'SELECT false',
	'--check', 'SELECT NULL',
	'--check', q{SELECT 'x'}, '--min', 1,
	'--check', 'SELECT 1 FROM absent',
	'--check', 'SELECT 1', '--database', 'absent',
	'--check', 'SELECT 1');
is_deeply([ map { $_->{passed} ? 1 : 0 } @{ $result->{checks} } ], [ (0) x 6, 1, 1 ],
	'the bad checks are told from the good ones');
is($result->{checks}[0]{detail}, '1002 is less than 5000', 'with what is wrong');
like($result->{error}{message}, qr/check "SELECT count.*" failed: 1002 is less/, 'the first is the error');
is(metric('success', ''), 0, 'metrics: no success');
is(metric('checks', ',result="failed"'), 6, 'metrics: failed checks');
is(metric('last_success_timestamp_seconds', ''), $last_success, 'metrics: the last success stays');
is( $node->safe_psql('postgres', <<'SQL'),
SELECT d.passed, d.checks_failed, d.error ~ 'is less than', i.last_drill_passed
  FROM veza_backup_drills AS d JOIN veza_backup_info() AS i ON i.last_drill = d.time
SQL
	'f|6|t|f', 'the failure is recorded');

my ($pack) = objects("main/backup/$label/pack/");
my $good = read_object($pack);
my $bad = $good;
substr($bad, length($bad) / 2, 1) ^= "\x01";
write_object($pack, $bad);
unlink $metrics_file;
$result = drill('a damaged pack', 1);
like($result->{error}{message}, qr/pack/, 'is named');
is(metric('success', ''), 0, 'metrics: no success');
cmp_ok(metric('last_success_timestamp_seconds', ''), '<=', $last_success,
	'metrics: the last success comes from the repository');
write_object($pack, $good);
is( $node->safe_psql('postgres', 'SELECT count(*) FROM veza_backup_drills WHERE NOT passed'),
	2, 'it is recorded');

# The server would take it for the end of the WAL, and open.
my $lost = $node->archive_wal;
$node->archive_wal;
my ($lost_object) = grep { m{/\Q$lost\E$} } objects('main/wal/');
my $lost_content = read_object($lost_object);
delete_object($lost_object);
$result = drill('a segment that is missing', 1);
like($result->{error}{message}, qr/WAL segment "$lost"/, 'is named');
my ($exit_of_plan, $plan, $warning) = $node->vezactl('--output', 'json', 'restore', '--dry-run',
	'--target-dir', "$base/plan", '--tablespace-map', "$tablespace=$base/plan-tablespace");
is($exit_of_plan, 0, 'a restore is not refused');
is(decode_json($plan)->{missing_segment}, $lost, 'but says where recovery will end');
like($warning, qr/warning: recovery will end before WAL segment "$lost"/, 'with a warning');
write_object($lost_object, $lost_content);

$result = drill('a target that is never reached', 1, '--target-name', 'absent');
like($result->{error}{message},
	qr/recovery ended before configured recovery target was reached/, 'the server says why');
drill('a limit of time', 1, '--timeout', 4, '--check', 'SELECT pg_sleep(600)');

# --- drills that cannot take place ----------------------------------------------------------------

my @records = objects('main/drill/');
$node->vezactl_fails([ 'drill', '--directory', $base, '--pg-bin', $base ], 2,
	qr{there is no program.*HINT: .*--pg-bin}s, 'without programs');
$node->vezactl_fails([ 'drill', '--directory', "$base/absent" ],
	2, qr{absent.*HINT:  Choose one}s, 'without a directory');
$node->vezactl_fails([ 'drill', '--directory', "$base/" . 'x' x 100 ], 2, qr{could not create},
	'in a long path');
$node->vezactl_fails([ 'drill', '--preload', 'veza_backup' ], 2, qr/does not preload/,
	'with the archiver');
$node->vezactl_fails([ 'drill', '--min', 1 ], 2, qr/--check/, '--min without --check');
$node->vezactl_fails([ 'drill', '--directory', $base, '--backup', '20200101-000000F' ],
	2, qr/there is no backup/, 'a backup that is not there');
leaves_nothing('what cannot take place');
break_store('refuse');
if (store() eq 'dir')
{
	drill('without repository', 2);
	is(metric('success', ''), 0, 'metrics: no success');
	cmp_ok(metric('last_success_timestamp_seconds', ''), '<=', $last_success,
		'metrics: the last success stays');
}
mend_store();
is_deeply([ objects('main/drill/') ], \@records, 'none of them is recorded');

# --- interrupted ----------------------------------------------------------------------------------

my $metrics = slurp_file($metrics_file);

my $drill = start_drill();
poll_until(sub { glob "$base/veza-drill-*/data/base" }, 'files');
kill 'TERM', $drill->{pid};
ends_with($drill, 143, 'SIGTERM during the restore');

# A postmaster that has been stopped neither ends by itself nor tells its children to.
$drill = start_drill();
my $server = wait_for_process(qr{postgres -D \S+/conf});
kill 'STOP', $server;
kill 'INT', $drill->{pid};
ends_with($drill, 130, 'SIGINT during recovery');

$drill = start_drill();
wait_for_process(qr{psql .*pg_sleep});
kill 'TERM', $drill->{pid};
ends_with($drill, 143, 'SIGTERM during a check');
is(slurp_file($metrics_file), $metrics, 'an interruption is not told as a failure');

$drill = start_drill();
wait_for_process(qr{psql .*pg_sleep});
kill 'KILL', $drill->{pid};
ends_with($drill, 137, 'SIGKILL of vezactl');

$drill = start_drill();
wait_for_process(qr{psql .*pg_sleep});
kill 'KILL', worker_of($drill);
ends_with($drill, 2, 'SIGKILL of the drill');
like($drill->{err}, qr/ended by signal 9/, 'which is told');

$drill = start_drill('--no-record');
$server = wait_for_process(qr{postgres -D \S+/conf});
wait_for_process(qr{psql .*pg_sleep});
kill 'KILL', $server;
ends_with($drill, 1, 'SIGKILL of the postmaster');

# --- a drill that is kept -------------------------------------------------------------------------

$out = $node->vezactl_ok([ '--output', 'json', 'drill', '--directory', $base, '--keep' ]);
$result = decode_json($out);
like(`$result->{connect} -Atc 'SELECT 6 * 7'`, qr/^42$/, '--keep leaves a server');
is(system("$result->{stop} >/dev/null"), 0, 'which can be stopped as is told');
like($result->{directory}, qr{^\Q$base\E/veza-drill-}, 'the directory is told');
remove_tree($result->{directory});
leaves_nothing('--keep');

done_testing();
