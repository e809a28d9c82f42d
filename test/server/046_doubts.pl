# Doubt never counts as good news: a damaged timeline history, or a repository that has gone away. A
# request to a store that does not respond can be cancelled at once.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Socket::INET;
use IPC::Run ();
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(id int)');
my $backup = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

sub add
{
	my ($id) = @_;
	$node->safe_psql('postgres', "INSERT INTO t VALUES ($id)");
	return $node->archive_wal;
}

sub rows_of { return $_[0]->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t}) }
sub timeline_of { return $_[0]->safe_psql('postgres', 'SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)') }

# Promotes the server to a new timeline.
sub promote
{
	my ($timeline) = @_;
	$node->stop;
	$node->set_standby_mode;
	$node->start;
	$node->promote;
	$node->wait_for_archived(sprintf '%08X.history', $timeline);
	return;
}

add(1);
promote(2);
add(2);
promote(3);
add(3);

# --- damaged histories ----------------------------------------------------------------------------

sub damage
{
	my ($file) = @_;
	my ($name) = grep { m{/\Q$file\E$} } objects('main/wal/');
	my $content = read_object($name);
	write_object($name, 'damaged');
	return sub { write_object($name, $content) };
}

sub comes_up
{
	my ($name, $timeline, $rows, @options) = @_;
	my $copy = $node->restore($name, @options, '--target-timeline', $timeline);
	$copy->start;
	$copy->wait_for_end_of_recovery;
	is(rows_of($copy), $rows, "--target-timeline $timeline: the restored rows");
	is(timeline_of($copy), '00000004', 'the new timeline has a number that was never used');
	my $log = slurp_file($copy->logfile);
	$copy->discard;
	return $log;
}

my $none = $node->basedir . '/none';
my $mend = damage('00000002.history');
$node->vezactl_fails([ 'restore', '--target-dir', $none ],
	1, qr/"00000002\.history" cannot be read.*\nHINT: .*--target-timeline/s,
	'the latest timeline after a damaged history');
like(comes_up('behind', 3, '1,2,3', '--backup', $backup),
	qr/warning: timeline history file "00000002\.history" cannot be read, so recovery to timeline 3 continues/,
	'the damaged history is not needed for a timeline that is named');
$mend->();

$mend = damage('00000003.history');
$node->vezactl_fails([ 'restore', '--target-dir', $none ],
	1, qr/"00000003\.history" cannot be read.*\nHINT: .*--target-timeline/s,
	'a damaged history of the latest timeline');
comes_up('before', 2, '1,2');
$node->vezactl_fails([ 'restore', '--target-dir', $none, '--target-timeline', 3 ],
	1, qr/"00000003\.history" cannot be read/, 'a damaged history that is needed');
$node->vezactl_fails([ 'wal-get', '00000003.history', "$none.history" ],
	126, qr/00000003\.history/, 'outside a recovery, wal-get does not return a damaged history');
ok(!-e "$none.history", 'wal-get leaves nothing behind');
$mend->();

# --- a repository that goes away ------------------------------------------------------------------

sub leases { return grep { !/\.veza-tmp-/ } objects('main/lease/') }

SKIP:
{
	skip 'a bucket cannot be renamed', 9 if store() ne 'dir';

	my $root = repository() . '/main';
	delete_object($_) foreach leases();
	my $gone = VezaTest->new('gone');
	my ($out, $err) = ('', '');
	my $restore = IPC::Run::start([ $ENV{VEZACTL} // 'vezactl', '--config', $node->conf, 'restore',
			'--jobs', 1, '--target-dir', $gone->data_dir ], '<', \undef, '>', \$out, '2>', \$err);
	# Without a pause: a small restore takes a tenth of a second.
	my $deadline = time + 60;
	1 until leases() || time > $deadline;
	$restore->signal('STOP');
	rename $root, "$root.away" or die "could not rename $root: $!";
	$restore->signal('CONT');
	$restore->finish;
	rename "$root.away", $root or die "could not rename $root: $!";
	is($restore->result(0), 2, 'a restore whose repository goes away');
	like($err, qr/repository "\Q$root\E" can no longer be found.*\nHINT: .*not mounted/s, 'says so');
	unlike($err, qr/was removed/, 'the message does not say that the backup was removed');
	ok(!-e $gone->data_dir . '/global/pg_control', 'no server can be started');
	delete_object($_) foreach leases();

	# The path of a socket must be short.
	my $base = PostgreSQL::Test::Utils::tempdir_short();
	my $has_landlock = syscall(444, 0, 0, 1) > 0;
	($out, $err) = ('', '');
	my $drill = IPC::Run::start([ $ENV{VEZACTL} // 'vezactl', '--config', $node->conf, 'drill',
			$has_landlock ? () : '--allow-unconfined', '--directory', $base ],
		'<', \undef, '>', \$out, '2>', \$err);
	$deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until (glob "$base/veza-drill-*/conf/pg_hba.conf")
	{
		die "the drill does not begin to recover: $err" if time > $deadline;
		sleep 0.001;
	}
	rename $root, "$root.away" or die "could not rename $root: $!";
	poll_until(sub { my ($l) = glob "$base/veza-drill-*/server.log"; defined $l && slurp_file($l) =~ /trying again/ },
		'an attempt to fetch WAL');
	$drill->signal('TERM');
	$drill->finish;
	rename "$root.away", $root or die "could not rename $root: $!";
	cmp_ok($drill->full_result(0) & 127 ? 128 : $drill->result(0), '>=', 128, 'a drill that is stopped');
	like($err, qr/cancelled; recovery waited for WAL: trying again in \d+ s: repository "\Q$root\E" is not initialized/,
		'the message says what it waited for');
	delete_object($_) foreach leases();

	# A server that is kept: no other account can connect to it, and the server cannot replace its
	# socket by another one.
	my $kept = $node->vezactl_ok([ '--output', 'json', 'drill', $has_landlock ? () : '--allow-unconfined',
			'--directory', $base, '--keep' ]);
	my ($directory) = $kept =~ /"directory": "([^"]+)"/;
	is(sprintf('%o %o', map { (stat $_)[2] & 07777 } $directory, "$directory/socket"),
		'500 500', 'directories of a server that is kept');
	my ($stop) = map { s/\\"/"/gr } $kept =~ /"stop": "(.*)"/;
	is(system("$stop >/dev/null && rm -rf $directory"), 0, 'the kept server can be stopped and removed with the commands in the output');
}

# --- a store that does not answer -----------------------------------------------------------------

# It accepts connections and never responds.
my $silent = IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1') or die "could not listen: $!";
my $stuck = VezaTest->new('stuck');
$stuck->init(
	settings => {
		repository => 's3://silent/test',
		s3_endpoint => 'http://127.0.0.1:' . $silent->sockport,
		s3_region => 'us-east-1',
		s3_access_key => 'key',
		s3_secret_key => 'wJalrXUtnFEMIK7MDENG' });
$stuck->start;
$stuck->safe_psql('postgres', 'CREATE EXTENSION veza_backup');

my @calls = (
	'SELECT veza_backup_init()',
	q{SELECT veza_backup_now('full')},
	q{SELECT veza_backup_now('diff')},
	q{CALL veza_backup_take('full')},
	'SELECT veza_backup_check()',
	'SELECT veza_backup_info()',
	'SELECT veza_backup_expire()',
	'SELECT veza_backup_expire(true)',
	q{SELECT veza_backup_keep('20261122-020000F')},
	'TABLE veza_backup_recovery_window',
	'TABLE veza_backup_archive_ranges',
	'TABLE veza_backup_drills');

sub leaves_nothing
{
	my ($test) = @_;
	poll_until(sub { !defined(($stuck->backup_worker)[0]) }, 'the end of the worker');
	is($stuck->safe_psql('postgres', 'SELECT count(*) FROM veza_backup_progress'), '0', "$test: no backup is left");
	is($stuck->safe_psql('postgres',
			q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' OR (mode ~ 'Exclusive' AND relation IS NOT NULL)}),
		'0', "$test: no lock is left");
	return;
}

foreach my $call (@calls)
{
	my ($begin, $exit, $err);
	# The worker of the call before may still be about to end.
	poll_until(
		sub {
			$begin = time;
			($exit, undef, $err) = $stuck->psql('postgres', "SET statement_timeout = '400ms'; $call");
			return $err !~ /a backup is already running/;
		},
		'the backup before to be gone');
	my $seconds = time - $begin;
	like($err, qr/canceling statement due to statement timeout/, "$call: it is cancelled in time");
	cmp_ok($seconds, '<', 2.5, sprintf 'at once (%.1f s)', $seconds);
}
leaves_nothing('statement_timeout');

foreach my $call (@calls)
{
	# The worker of the call before may still be about to end.
	poll_until(sub { !defined(($stuck->backup_worker)[0]) }, 'the end of the worker before');
	local $ENV{PGAPPNAME} = 'asks';
	my $session = $stuck->start_sql($call);
	delete $ENV{PGAPPNAME};
	poll_until(sub {
			$stuck->safe_psql('postgres',
				q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'asks' AND wait_event_type = 'Extension'}) eq '1'
	}, 'the call to wait');
	my $begin = time;
	$stuck->safe_psql('postgres',
		q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'asks'});
	my (undef, undef, $err) = $stuck->finish_sql($session);
	my $seconds = time - $begin;
	like($err, qr/canceling statement due to user request/, "$call: pg_cancel_backend");
	cmp_ok($seconds, '<', 2, sprintf 'at once (%.1f s)', $seconds);
}
leaves_nothing('pg_cancel_backend');
# A fast shutdown would wait some time for the archiver (archive_shutdown_timeout).
$stuck->stop('immediate');

done_testing();
