# wal-get fetches WAL ahead: what a recovery gets from the spool, what becomes of the spool and of
# the process that fills it, and that fetching ahead never changes a result.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Basename qw(basename);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

# Small segments, so that there are many of them.
my $node = VezaTest->new('primary');
$node->init(proxy => 1, extra => ['--wal-segsize=1']);
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(i int)');
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

my @segments;
foreach my $i (1 .. 30)
{
	$node->safe_psql('postgres', "INSERT INTO t VALUES ($i)");
	push @segments, $node->archive_wal;
}

sub processes
{
	my ($pattern) = @_;
	my @pids;
	foreach my $directory (glob '/proc/[0-9]*')
	{
		my $title = VezaTest::read_proc("$directory/cmdline");
		push @pids, basename($directory) if $title =~ /\0wal-prefetch\0.*\Q$pattern\E/s;
	}
	return @pids;
}

sub spool_of { return $_[0]->data_dir . '/pg_wal/veza_spool' }

# "At once" means before the process could end because it is idle.
sub is_clean
{
	my ($copy, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $gone = eval {
		poll_until(sub { !processes($copy->data_dir) && !-e spool_of($copy) }, 'the end', 20);
	};
	ok($gone, "$test: neither process nor spool is left")
	  or diag(join "\n", processes($copy->data_dir), glob(spool_of($copy) . '/*/*'));
	return;
}

# Puts a script around restore_command. %s in it stands for the original command.
sub wrap_restore_command
{
	my ($copy, $script) = @_;
	my $path = $copy->basedir . '/restore_command';
	my ($command) = slurp_file($copy->data_dir . '/postgresql.auto.conf') =~
	  /^restore_command = '(.*)'$/m;

	$command =~ s/''/'/g;
	$command =~ s/%f/\$1/;
	$command =~ s/"%p"/"\$2"/;
	append_to_file($path, "#!/bin/bash\n" . sprintf($script, $command));
	chmod 0755, $path;
	$copy->append_conf('postgresql.auto.conf', "restore_command = '$path %f \"%p\"'");
	return;
}

sub start_and_finish
{
	my ($copy, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$copy->start;
	$copy->wait_for_end_of_recovery;
	is($copy->safe_psql('postgres', 'SELECT count(*), sum(i) FROM t'), '30|465',
		"$test: everything is there");
	is_clean($copy, $test);
	return;
}

# --- a recovery -----------------------------------------------------------------------------------

my $plain = $node->restore('plain', '--backup', $label);
start_and_finish($plain, 'a recovery');
$plain->discard;

my $copy = $node->restore('copy', '--backup', $label);
wrap_restore_command($copy, <<'SH');
%s
exit=$?
sleep 0.3
echo $1 $exit $(cd pg_wal/veza_spool/*/ && ls) >>restored
exit $exit
SH
start_and_finish($copy, 'with a slow replay');
my $most = 0;
foreach my $line (split /\n/, slurp_file($copy->data_dir . '/restored'))
{
	my (undef, undef, @files) = split / /, $line;
	my $ahead = grep { /^[0-9A-F]{24}/ && !/veza-tmp/ } @files;
	$most = $ahead if $ahead > $most;
}
is($most, 8, 'as many segments as the spool may hold were fetched ahead');
$copy->discard;

# --- kills ----------------------------------------------------------------------------------------

$copy = $node->restore('killed', '--backup', $label);
wrap_restore_command($copy, <<'SH');
%s
exit=$?
sleep 0.2
if [[ $1 == *[5A] ]]; then
  kill -9 $(pgrep -f "wal-prefetch .*$PWD") && echo $1 >>killed
fi
exit $exit
SH
start_and_finish($copy, 'kill -9 of the process that fetches ahead');
cmp_ok(scalar(split /\n/, slurp_file($copy->data_dir . '/killed')), '>=', 2, 'more than once');
$copy->discard;

$copy = $node->restore('paused', '--backup', $label, '--target-xid',
	$node->safe_psql('postgres', 'SELECT xmin FROM t WHERE i = 10'));
# The background process must not hold open anything that the server waits for. The server would
# wait for the process, and recovery would not pause.
wrap_restore_command($copy, <<'SH');
%s 2>&1 | cat
exit ${PIPESTATUS[0]}
SH
$copy->start;
$copy->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'})
  or die 'recovery did not pause';
my ($pid) = processes($copy->data_dir);
ok($pid, 'a recovery that pauses keeps the process');
$copy->stop('immediate');
is_clean($copy, 'the death of the server');

# The server and the process die at the same time, as in a container that is killed.
$copy->start;
$copy->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'})
  or die 'recovery did not pause';
kill 'KILL', processes($copy->data_dir);
$copy->stop('immediate');
ok(-e spool_of($copy), 'a kill leaves the spool behind');
my ($left) = glob spool_of($copy) . '/*';
$copy->start;
$copy->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'})
  or die 'recovery did not pause';
ok(!-e $left, 'the next recovery removes it');
$copy->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$copy->wait_for_end_of_recovery;
is_clean($copy, 'a recovery that goes on after a pause');
$copy->discard;

# --- damage ---------------------------------------------------------------------------------------

my ($damaged) = grep { /$segments[14]/ } objects('main/wal/');
my $object = read_object($damaged);
my $broken = $object;
substr($broken, length($broken) / 2, 1) ^= "\x40";
write_object($damaged, $broken);
$copy = $node->restore('damaged', '--backup', $label);
PostgreSQL::Test::Utils::system_log('pg_ctl', '-w', '-D', $copy->data_dir, '-l', $copy->logfile,
	'start');
poll_until(sub { !-e $copy->data_dir . '/postmaster.pid' }, 'the end of the server');
my $log = slurp_file($copy->logfile);
like($log, qr/restored log file "$segments[13]"/, 'WAL before the damage is replayed');
like($log, qr/vezactl: error: .*damaged/, 'the log reports the damage');
# The server writes this for exit code 126.
like($log, qr/could not restore file "$segments[14]" from archive: command not executable/,
	'the damage ends the server');
is_clean($copy, 'damage');
write_object($damaged, $object);
start_and_finish($copy, 'the same directory after the repair');
$copy->discard;

# --- two servers on one spool ---------------------------------------------------------------------

my $spool = $node->basedir . '/spool';
my @two = map { $node->restore($_, '--backup', $label) } qw(one other);
foreach my $server (@two)
{
	my $conf = slurp_file($server->data_dir . '/postgresql.auto.conf');
	my ($command) = $conf =~ /^restore_command = '(.*)'$/m;
	$command =~ s/ wal-get / wal-get --prefetch 4 --spool $spool /;
	$server->append_conf('postgresql.auto.conf', "restore_command = '$command'");
	PostgreSQL::Test::Utils::system_log('pg_ctl', '-W', '-D', $server->data_dir, '-l',
		$server->logfile, 'start');
}
foreach my $server (@two)
{
	poll_until(
		sub { -s $server->logfile && slurp_file($server->logfile) =~ /ready to accept connections/ },
		'its end');
	$server->restart;
	$server->wait_for_end_of_recovery;
	is($server->safe_psql('postgres', 'SELECT count(*), sum(i) FROM t'),
		'30|465', 'two servers on one spool: ' . $server->name);
}
poll_until(sub { !processes($spool) }, 'the end of both processes', 20);
is_deeply([ glob "$spool/*" ], [], 'nothing is left in it');
ok(-d $spool, 'a directory that was named by an option stays');
$two[1]->discard;

# --- another timeline -----------------------------------------------------------------------------

my $promoted = $node->restore('promoted', '--backup', $label, '--archive-mode', 'preserve',
	'--target-action', 'promote', '--target-xid',
	$node->safe_psql('postgres', 'SELECT xmin FROM t WHERE i = 20'));
$promoted->start;
$promoted->wait_for_end_of_recovery;
foreach my $i (101 .. 112)
{
	$promoted->safe_psql('postgres', "INSERT INTO t VALUES ($i)");
	$promoted->archive_wal;
}
$promoted->discard;
$copy = $node->restore('second_timeline', '--backup', $label);
$copy->start;
$copy->wait_for_end_of_recovery;
is( $copy->safe_psql('postgres', 'SELECT count(*) FILTER (WHERE i < 100), max(i) FROM t'),
	'20|112', 'a recovery follows the newest timeline, although WAL of the old one was fetched ahead');
is_clean($copy, 'a switch of timelines');
$copy->discard;

# --- wal-get by hand ------------------------------------------------------------------------------

my $directory = $node->basedir . '/fetched';
mkdir $directory or die;
my $destination = "$directory/RECOVERYXLOG";
my @spool = ('--spool', $spool, '--prefetch', 3);

sub held
{
	return [ sort grep { /^[0-9A-F]{24}$/ } map { basename($_) } glob "$spool/*/*" ];
}

$node->vezactl_ok([ 'wal-get', $segments[0], $destination ], 'somebody who fetches by hand');
is_deeply([ glob "$directory/*" ], [$destination], 'there is no spool');

$node->vezactl_ok([ 'wal-get', @spool, $segments[0], $destination ], 'there is a spool when it is requested');
poll_until(sub { @{ held() } == 3 }, 'three segments');
is_deeply(held(), [ @segments[ 1 .. 3 ] ], 'the next ones are fetched');

break_store();
$node->vezactl_ok([ 'wal-get', '--retry', 0, @spool, $segments[1], $destination ],
	'a segment in the spool does not need the store');
is( slurp_file($destination),
	slurp_file($node->data_dir . "/pg_wal/$segments[1]"),
	'the segment from the spool is right') if -e $node->data_dir . "/pg_wal/$segments[1]";
$node->vezactl_fails([ 'wal-get', '--retry', 0, @spool, $segments[9], $destination ],
	126, qr/HINT:  /, 'a segment that is not in the spool needs the store');
$node->vezactl_fails([ 'wal-get', '--retry', 0, @spool, '000000090000000000000001', $destination ],
	126, qr/HINT:  /, 'without the store wal-get does not claim that a file does not exist');
mend_store();

$node->vezactl_ok([ 'wal-get', @spool, $segments[29], $destination ], 'the last segment');
my $next = $node->safe_psql('postgres',
	'SELECT pg_walfile_name(pg_current_wal_lsn() + 1)');
foreach (1 .. 2)
{
	my ($exit) = $node->vezactl('wal-get', @spool, $next, $destination);
	is($exit, 1, 'the next segment does not exist');
}
is($node->archive_wal, $next, 'then it is archived');
$node->vezactl_ok([ 'wal-get', @spool, $next, $destination ], 'the next segment is fetched');

my ($prefetcher) = processes($spool);
kill 'TERM', $prefetcher;
poll_until(sub { !-e "/proc/$prefetcher" }, 'the end of the process', 20);
is_deeply([ glob "$spool/*" ], [], 'SIGTERM ends the process and removes the spool');

$node->vezactl_ok([ 'wal-get', @spool, $segments[0], $destination ], 'once more');
poll_until(sub { @{ held() } == 3 }, 'three segments');
PostgreSQL::Test::Utils::system_log('rm', '-r', $directory);
poll_until(sub { !processes($spool) }, 'the end of the process', 20);
is_deeply([ glob "$spool/*" ], [], 'the process ends when the destination directory is gone');

done_testing();
