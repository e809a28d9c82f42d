# Restore drills: what they check, what they record, and that they leave nothing behind.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Basename qw(basename);
use File::Find ();
use File::Path qw(remove_tree);
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(extra => ['--data-checksums'], proxy => 1);
# The drill must set limits of its own in place of these.
$node->append_conf('postgresql.conf', <<'CONF');
max_prepared_transactions = 5
max_connections = 5
max_replication_slots = 20
CONF
# Before PostgreSQL 18, max_replication_slots limited these.
$node->append_conf('postgresql.conf', 'max_active_replication_origins = 20') if $node->pg_version >= 18;
$node->start;
# The path of a socket must be short.
my $base = PostgreSQL::Test::Utils::tempdir_short();
my $tablespace = PostgreSQL::Test::Utils::tempdir('tablespace');
my @without_landlock;
# A kernel or a container may not support Landlock. landlock_create_ruleset(NULL, 0, VERSION) tells.
my $has_landlock = syscall(444, 0, 0, 1) > 0;
my @drill = ('drill', $has_landlock ? () : '--allow-unconfined');
my $metrics_file = PostgreSQL::Test::Utils::tempdir() . '/drill.prom';

$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
# A program that checks every file must ignore files that do not belong to PostgreSQL.
PostgreSQL::Test::Utils::append_to_file($node->data_dir . '/base/1/1259.bak', 'mine');
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$tablespace'");
$node->safe_psql('postgres', 'CREATE DATABASE "ap=p"');
$node->safe_psql('ap=p', <<'SQL');
CREATE TABLE users(id integer PRIMARY KEY, name text) TABLESPACE elsewhere;
INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) AS n;
SQL
$node->safe_psql('postgres', <<'SQL');
SELECT pg_replication_origin_create('origin ' || n) FROM generate_series(1, 15) AS n;
SELECT pg_replication_origin_advance('origin ' || n, '0/1') FROM generate_series(1, 15) AS n;
SQL
# A standby would refuse to recover with lower limits than the primary's. A drill must not.
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

# VezaTest runs as the account of PostgreSQL, so the part of a drill that needs root is not tested
# here.

# --- helpers --------------------------------------------------------------------------------------

sub command
{
	my (@arguments) = @_;
	return (@without_landlock, $ENV{VEZACTL} // 'vezactl', '--config', $node->conf, @drill,
		'--directory', $base, '--metrics-file', $metrics_file, @arguments);
}

# Returns the processes in or for a directory below $base, as pid => command.
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

# Runs a drill that ends by itself. Returns its JSON output.
sub drill
{
	my ($test, $code, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($exit, $out, $err) = $node->vezactl('--output', 'json', @drill, '--directory', $base,
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

# Starts a drill that hangs in its check, unless it is stopped earlier.
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

# Runs a drill that fails, and tests its message.
sub fails_with
{
	my ($code, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $said = '';
	IPC::Run::run([ command(@arguments) ], '<', \undef, '>&', \$said);
	is($? >> 8, $code, "drill @arguments: exit code") or diag($said);
	return $said;
}

# Runs a drill that gets no further than cleaning up after others. Returns its output.
sub tidy_up
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return fails_with(2, '--pg-bin', $base);
}

# Returns all files below a directory, as path => content.
sub files_below
{
	my ($directory) = @_;
	my %found;
	File::Find::find({ no_chdir => 1, wanted => sub { $found{$_} = VezaTest::slurp_raw($_) if -f } },
		$directory);
	return %found;
}

# Returns the process of the drill, which vezactl supervises.
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
	'--amcheck', '--jobs', 12, '--dump');
ok($result->{passed}, 'it passed');
is($result->{label}, $label, 'the newest backup was restored');
is(join(' ', map { $_->{passed} ? 'ok' : $_->{detail} } @{ $result->{checks} }),
	'ok ok ok ok ok ok ok ok ok ok', 'all checks are good');
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
is_deeply(\@others, [], 'the repository holds no other new object');
is("main/$result->{record}", $record, 'the output has the name of the record');
is(slurp_file($node->data_dir . '/postmaster.pid'), $postmaster, 'the server was not touched');

is(metric('success', ''), 1, 'metrics: success');
is(metric('checks', ',result="passed"'), 10, 'metrics: checks');
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
	"$label|t|10|0|t|t|t|t", 'veza_backup_drills shows the drill');
is( $node->safe_psql('postgres', <<'SQL'),
SELECT i.last_drill = d.time, i.last_drill_passed
  FROM veza_backup_info() AS i JOIN veza_backup_drills AS d USING (label)
SQL
	't|t', 'veza_backup_info() shows the drill');
like($node->vezactl_ok(['info']), qr/^$label .* passed \d{4}-\S+Z$/m, 'vezactl info');
my $info = decode_json($node->vezactl_ok([ '--output', 'json', 'info' ]));
is($info->{backups}[0]{last_drill}{checks_passed}, 10, 'vezactl info in JSON');

my ($exit, $out, $err) = $node->vezactl(@drill, '--directory', $base, '--no-record',
	'--target-time', $time, '--check', 'SELECT count(*) = 1001 FROM users', '--database', 'ap=p');
is($exit, 0, 'to a point in time');
like($out, qr/^drill of backup $label to time .*: passed$/m, 'a drill with text output');
like($out, qr/^restore +[\d.]+ m?s\n.*\(RTO\).*\(RPO\)/ms, 'the text has times');
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
is_deeply([ map { $_->{passed} ? 1 : 0 } @{ $result->{checks} } ], [ 1, 1, (0) x 6, 1, 1, 1 ],
	'failed checks are told apart from passed ones');
is($result->{checks}[2]{detail}, '1002 is less than 5000', 'failed checks say what is wrong');
like($result->{error}{message}, qr/check "SELECT count.*" failed: 1002 is less/, 'the first failed check is the error');
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

# The server would take the missing segment for the end of WAL, and would open.
my $lost = $node->archive_wal;
$node->archive_wal;
my ($lost_object) = grep { m{/\Q$lost\E$} } objects('main/wal/');
my $lost_content = read_object($lost_object);
delete_object($lost_object);
$result = drill('a segment that is missing', 1);
like($result->{error}{message}, qr/WAL segment "$lost"/, 'is named');
my ($exit_of_plan, $plan, $warning) = $node->vezactl('--output', 'json', 'restore', '--dry-run',
	'--target-dir', "$base/plan", '--tablespace-map', "$tablespace=$base/plan-tablespace",
	'--end-at-gap');
is($exit_of_plan, 0, 'a restore that is meant to end there is not refused');
$plan = decode_json($plan);
is($plan->{missing_segment}, $lost, 'the restore says where recovery will end');
is($plan->{required_settings}{max_connections}, 5, 'the restore says what recovery demands of the configuration');
like($warning, qr/warning: recovery will end before WAL segment "$lost"/, 'there is a warning');
write_object($lost_object, $lost_content);

$result = drill('a target that is never reached', 2, '--target-name', 'absent');
like($result->{error}{message}, qr/restore point "absent" is not in the WAL/, 'the plan says why');
drill('a limit of time', 1, '--timeout', 4, '--check', 'SELECT pg_sleep(600)');

# --- drills that cannot take place ----------------------------------------------------------------

my @records = objects('main/drill/');
$node->vezactl_fails([ @drill, '--directory', $base, '--pg-bin', $base ], 2,
	qr{there is no program.*HINT: .*--pg-bin}s, 'without programs');
$node->vezactl_fails([ @drill, '--directory', "$base/absent" ],
	2, qr{absent.*HINT:  Use --directory}s, 'without a directory');
$node->vezactl_fails([ @drill, '--directory', "$base/" . 'x' x 100 ], 2, qr{could not create},
	'in a long path');
$node->vezactl_fails([ 'drill', '--preload', 'veza_backup' ], 2, qr/must not name veza_backup/,
	'with the archiver');
$node->vezactl_fails([ 'drill', '--min', 1 ], 2, qr/--check/, '--min without --check');
$node->vezactl_fails([ @drill, '--directory', $base, '--backup', '20200101-000000F' ],
	2, qr/there is no backup/, 'a backup that is not there');
$node->vezactl_fails([ @drill, '--directory', $base, '--pg-bin', $base, '--metrics-file', $base ],
	2, qr{there is no program.*could not read file "\Q$base\E"}s, 'with metrics in a directory');
leaves_nothing('a drill that cannot take place');
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

# --- failures that are not the fault of the backup -------------------------------------------------

my $settings = slurp_file($node->conf);
my $drill = start_drill();
poll_until(sub { glob "$base/veza-drill-*/server.log" }, 'recovery');
PostgreSQL::Test::Utils::append_to_file($node->conf, "this is no setting\n");
ends_with($drill, 2, 'settings that cannot be read during recovery');
like($drill->{err}, qr/ended during recovery.*HINT:  This says nothing about the backup/s, 'the message says so');
open my $handle, '>', $node->conf or die 'could not write ' . $node->conf . ": $!";
print $handle $settings;
close $handle;

# --- interrupted ----------------------------------------------------------------------------------

my $metrics = slurp_file($metrics_file);

$drill = start_drill();
poll_until(sub { glob "$base/veza-drill-*/data/base" }, 'files');
kill 'TERM', $drill->{pid};
ends_with($drill, 143, 'SIGTERM during the restore');

# A postmaster that is stopped (SIGSTOP) neither ends by itself nor tells its children to end.
$drill = start_drill();
my $server = wait_for_process(qr{postgres -D \S+/conf});
kill 'STOP', $server;
kill 'INT', $drill->{pid};
ends_with($drill, 130, 'SIGINT during recovery');

$drill = start_drill();
wait_for_process(qr{psql .*pg_sleep});
kill 'TERM', $drill->{pid};
ends_with($drill, 143, 'SIGTERM during a check');
is(slurp_file($metrics_file), $metrics, 'an interruption is not reported as a failure');

$drill = start_drill();
wait_for_process(qr{psql .*pg_sleep});
kill 'KILL', $drill->{pid};
ends_with($drill, 137, 'SIGKILL of vezactl');

$drill = start_drill();
wait_for_process(qr{psql .*pg_sleep});
kill 'KILL', worker_of($drill);
ends_with($drill, 2, 'SIGKILL of the drill');
like($drill->{err}, qr/terminated by signal 9/, 'the message says so');

$drill = start_drill('--no-record');
$server = wait_for_process(qr{postgres -D \S+/conf});
wait_for_process(qr{psql .*pg_sleep});
kill 'KILL', $server;
ends_with($drill, 1, 'SIGKILL of the postmaster');

# --- killed drills, and cleaning up after them ----------------------------------------------------

my $not_a_drill = "$base/veza-drill-nolock";
my $elsewhere = PostgreSQL::Test::Utils::tempdir('elsewhere');
my $link = "$base/veza-drill-abcdef";
mkdir $not_a_drill;
PostgreSQL::Test::Utils::append_to_file($_, 'mine')
  foreach "$not_a_drill/file", "$elsewhere/file", "$elsewhere/drill.lock";
symlink $elsewhere, $link;

$drill = start_drill();
$server = wait_for_process(qr{postgres -D \S+/conf});
wait_for_process(qr{psql .*pg_sleep});
my ($left) = grep { -e "$_/conf" } glob "$base/veza-drill-*";
unlike(tidy_up(), qr/removed/, 'a drill while another one runs');
ok(-e "$left/data/PG_VERSION", 'leaves the other drill alone');
my @processes = ($drill->{pid}, worker_of($drill));
kill 'STOP', $server, @processes;
kill 'KILL', @processes;
$drill->{harness}->finish;
unlike(tidy_up(), qr/removed/, 'a server whose drill was killed');
ok(-e "$left/data/PG_VERSION", 'keeps its directory');
kill 'KILL', $server;
poll_until(sub { my %left_over = running(); return !%left_over }, 'the end of the server');
like(tidy_up(), qr{removed "\Q$left\E", left by a drill that was killed}, 'a leftover directory');
is_deeply([ sort glob "$base/*" ], [ $link, $not_a_drill ], 'the leftover directory is removed, and nothing else');
is_deeply([ sort map { basename($_) } glob "$elsewhere/* $not_a_drill/*" ],
	[ 'drill.lock', 'file', 'file' ], 'directories that other processes hold stay');
unlink $link;
remove_tree($not_a_drill);
leaves_nothing('drills that were killed');

# --- a drill that is kept -------------------------------------------------------------------------

$out = $node->vezactl_ok([ '--output', 'json', @drill, '--directory', $base, '--keep' ]);
$result = decode_json($out);
like(`$result->{connect} -Atc 'SELECT 6 * 7'`, qr/^42$/, '--keep leaves a server');
is(system("$result->{stop} >/dev/null"), 0, 'the server that was kept can be stopped with the command in the output');
tidy_up();
ok(-e "$result->{directory}/data/PG_VERSION", 'another drill does not remove it');
like($result->{directory}, qr{^\Q$base\E/veza-drill-}, 'the output has the directory');
remove_tree($result->{directory});
leaves_nothing('--keep');

# --- a tablespace that is not in the backup -------------------------------------------------------

done_testing(), exit if !$has_landlock;

# The WAL names the directory in which the production server has its files.
my $late = PostgreSQL::Test::Utils::tempdir('late');
$node->safe_psql('postgres', "CREATE TABLESPACE late LOCATION '$late'");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE kept TABLESPACE late AS SELECT n, 'first' AS text FROM generate_series(1, 1000) AS n;
CREATE TABLE emptied TABLESPACE late AS SELECT * FROM kept;
CHECKPOINT;
UPDATE kept SET text = 'second';
SELECT pg_create_restore_point('before');
UPDATE kept SET text = 'third';
TRUNCATE emptied;
VACUUM kept;
CHECKPOINT;
SQL
$node->archive_wal;
my %files = files_below($late);
cmp_ok(scalar(keys %files), '>', 3, 'there are files in the tablespace');
$result = drill('a tablespace that was created after the backup', 2, '--target-name', 'before');
like($result->{error}{message}, qr{creates tablespace \d+ "\Q$late\E", outside the drill's directory},
	'is named');
is_deeply({ files_below($late) }, \%files, 'no file of the server was touched');
$node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
drill('a diff that knows the tablespace', 0, '--check', 'SELECT count(*) = 1000 FROM kept');
is_deeply({ files_below($late) }, \%files, 'the second drill touched no file either');

# When the kernel cannot protect these files, no drill takes place.
@without_landlock = ("python3", "$FindBin::RealBin/../support/without_landlock.py");
my @nothing_to_run = ('--pg-bin', $base);
like(fails_with(2, @nothing_to_run), qr/could not confine .*Landlock.*HINT: .*--allow-unconfined/s,
	'without Landlock');
like(fails_with(2, '--allow-unconfined', @nothing_to_run), qr/could not confine .*there is no program/s,
	'--allow-unconfined');
leaves_nothing('without Landlock');

done_testing();
