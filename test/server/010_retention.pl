# Retention on a server: what is removed after a backup, what stays and can be restored, and that
# only one node works at a time.

use strict;
use warnings;
use FindBin;
use JSON::PP qw(decode_json);
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(settings => { retention_full => 2, retention_archive => 1 });
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE TABLE marks(name text);
SQL

# Inserts a mark, archives its WAL and takes a full backup. Returns the label.
sub backup_with_mark
{
	my ($mark) = @_;
	$node->safe_psql('postgres', "INSERT INTO marks VALUES ('$mark')");
	$node->archive_wal;
	return $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
}

sub labels
{
	my ($status) = @_;
	return [
		split /\n/,
		$node->safe_psql('postgres',
			"SELECT label FROM veza_backup_info() WHERE status = '$status' ORDER BY label")
	];
}

# Returns the segments of the first timeline in the repository, without other kinds of files.
sub segments
{
	return map { m{/(0000000[0-9A-F]{17})$} ? $1 : () } objects('main/wal/');
}

# Returns the segments that an existing backup needs.
sub wal_of
{
	my ($label) = @_;
	return split /\|/,
	  $node->safe_psql('postgres', <<SQL);
SELECT pg_walfile_name(start_lsn), pg_walfile_name(stop_lsn)
  FROM veza_backup_info() WHERE label = '$label'
SQL
}

sub decisions
{
	my ($dry_run, $columns, $where) = @_;
	return $node->safe_psql('postgres',
		"SELECT $columns FROM veza_backup_expire(dry_run => $dry_run) WHERE $where");
}

# --- vezactl, before there is a backup --------------------------------------------------------------

$node->archive_wal;
$node->vezactl_fails([ 'expire', '--dry-run' ],
	2, qr/sets "veza_backup\.retention_diff", nor is --diff given\nHINT:  .*SHOW veza_backup\.retention_diff/,
	'vezactl expire without all numbers');

# --- after each backup ----------------------------------------------------------------------------

my $pinned = backup_with_mark('pinned');
$node->safe_psql('postgres', "SELECT veza_backup_keep('$pinned')");
my $position = -s $node->logfile;
my $old = backup_with_mark('old');
my ($old_wal) = wal_of($old);
my $middle = backup_with_mark('middle');
is_deeply(labels('ok'), [ $pinned, $old, $middle ], 'the two newest backups and a pinned one stay');
my $new = backup_with_mark('new');
is_deeply(labels('ok'), [ $pinned, $middle, $new ], 'the older one is removed then');
is_deeply([ objects("main/backup/$old/") ], [], 'all its objects are removed');
like(slurp_file($node->logfile, $position), qr/LOG:  removed by retention: .*backup $old/,
	'the log says so');
is( $node->safe_psql('postgres', 'SELECT label FROM veza_backup_info() WHERE pinned'),
	$pinned, 'veza_backup_info() shows the pin');

# Segments before the newest full are removed, except for those that make the two others consistent.
my ($first_kept) = wal_of($new);
my %needed = map { $_ => 1 } map { wal_of($_) } $pinned, $middle;
my @older = grep { $_ lt $first_kept } segments();
is_deeply([ grep { !$needed{$_} } @older ], [], 'WAL that nobody needs is gone');
ok(@older > 0, 'WAL that makes older backups consistent stays');
ok(!grep({ $_ eq $old_wal } @older), 'WAL that only the removed backup needed is gone');

# --- what was kept can be restored ----------------------------------------------------------------

sub restored_marks
{
	my ($name, @arguments) = @_;
	my $copy = $node->restore($name, @arguments);
	$copy->start;
	$copy->wait_for_end_of_recovery;
	my $marks = $copy->safe_psql('postgres', q{SELECT string_agg(name, ' ') FROM marks});
	$copy->discard;
	return $marks;
}

is( restored_marks('oldest', '--backup', $pinned, '--target-immediate', '--target-action', 'promote'),
	'pinned', 'the oldest backup that was kept');
$node->safe_psql('postgres', q{INSERT INTO marks VALUES ('last')});
$node->archive_wal;
is(restored_marks('newest'), 'pinned old middle new last', 'the newest one, to the last commit');

# --- a dry run, and what is refused ---------------------------------------------------------------

my @before = objects();
like(decisions('true', 'reason', "name = '$pinned'"), qr/^pinned by veza_backup_keep/, 'reasons');
is(decisions('true', 'count(*)', "kind = 'wal' AND bytes > 0") > 0, 1, 'ranges of WAL');
is_deeply([ objects() ], \@before, 'a dry run changes nothing');
$node->sql_fails(q{SELECT veza_backup_keep('20010101-000000F')},
	qr/there is no backup "20010101-000000F" in repository .*\nHINT:  The repository holds $pinned/,
	'a pin of a backup that does not exist');

# --- the same by vezactl --------------------------------------------------------------------------

# The server may keep more than the configuration file of another host says. The newest backup tells
# what the server had.
{
	my $conf = $node->basedir . '/other.conf';
	my $text = slurp_file($node->conf) =~ s/^(veza_backup\.retention_full = )'2'/$1'1'/mr;
	PostgreSQL::Test::Utils::append_to_file($conf, $text);
	chmod 0600, $conf or die "could not change the mode of $conf: $!";
	local $node->{_veza_conf} = $conf;
	$node->vezactl_fails([ 'expire', '--dry-run' ],
		2, qr/has 1 for "veza_backup\.retention_full", but the server had 2 when it took backup "$new"\nHINT:  .*--full/,
		'a file that keeps less than the server');
	$node->vezactl_ok([ 'expire', '--dry-run', '--full=2' ], 'a number that is given counts');

	# The newest backup of a server that keeps more.
	my $broken = 'main/backup/20990101-000000F/backup.json';
	write_object($broken, 'broken');
	$node->vezactl_fails([ 'expire', '--dry-run' ], 2, qr/has 1 for .* but the server had 2/, 'the readable one counts');
	$node->vezactl_fails([ 'expire', '--dry-run', '--full=2' ],
		2, qr/could not tell "veza_backup\.retention_diff" of every server: backup "20990101-000000F" cannot be read.*\nHINT:  .*--diff .* at least .* 7\./,
		'no number of the file counts while a backup cannot be read');
	my @all = (qw(expire --dry-run --full=2 --diff=7 --incr=14 --archive=1));
	$node->vezactl_fails(\@all, 2, qr/could not tell "veza_backup\.retention_window" of every server/, 'nor a window');
	$node->vezactl_fails([ @all, '--window=0' ],
		2, qr/could not tell "veza_backup\.retention_keep" of every server/, 'nor rules');
	$node->vezactl_ok([ @all, '--window=0', '--keep=none' ], 'unless all are given');
	delete_object($broken);
}
$node->vezactl_fails([ qw(expire --full=2 --diff=-1 --incr=1 --archive=1) ],
	2, qr/--diff/, 'a number below zero');
my @numbers = qw(--diff=7 --incr=14);
my $planned = decode_json($node->vezactl_ok([qw(--output json expire --dry-run)]));
is_deeply(
	$planned->{retention},
	{ full => 2, diff => 7, incr => 14, archive => 1, window_seconds => 0, keep => '' },
	'the numbers of the file, and of the server');
is_deeply(
	[
		sort map {
			join ' ', $_->{kind},
			  ($_->{last} // $_->{name}) eq $_->{name} ? $_->{name} : "$_->{name}-$_->{last}",
			  $_->{action}
		} @{ $planned->{decisions} }
	],
	[ sort split /\n/, decisions('true', "concat_ws(' ', kind, name, action)", 'true') ],
	'vezactl expire decides as the server does');
is_deeply([ objects() ], \@before, 'its dry run changes nothing either');
like(
	$node->vezactl_ok([ qw(expire --dry-run --full=1 --window), '36h', '--keep', '2 daily' ]),
	qr/^keep .*ended in the last 36 h, give or take an hour .*1 full, .*; every moment of 36 h; 2 daily$/ms,
	'vezactl expire: what is kept by time');
$node->vezactl_fails([ qw(expire --dry-run --keep), '2 hourly' ], 2, qr/"2 hourly" does not name a period/, 'a wrong rule');

$node->vezactl_ok([ 'keep', $middle ]);
like(decisions('true', 'reason', "name = '$middle'"), qr/^pinned/, 'vezactl keep: a pin');
$node->vezactl_ok([ 'keep', '--remove', $middle ]);
unlike(decisions('true', 'reason', "name = '$middle'"), qr/^pinned/, '--remove takes it away');
$node->vezactl_fails([ 'keep', '20010101-000000F' ],
	2, qr/there is no backup "20010101-000000F" in repository/, 'a pin of a backup that does not exist');

# --- an expiry that was interrupted ---------------------------------------------------------------

# The expiry was interrupted after it had removed the summary of the older backup.
$node->safe_psql('postgres', "SELECT veza_backup_keep('$pinned', keep => false)");
delete_object("main/backup/$middle/backup.json");
is(decisions('false', 'action', "name = '$pinned'"),
	'keep', 'two full backups are left, as retention demands');
is_deeply(labels('unfinished'), [$middle], 'the remains are younger than an hour');
like(decisions('true', 'reason', "name = '$middle'"), qr/less than an hour ago/, 'the log says why they stay');

SKIP:
{
	skip 'the times of a store cannot be changed', 4 if store() ne 'dir';

	utime time - 7200, time - 7200, repository() . "/$_"
	  or die "could not change the time of $_: $!"
	  foreach objects("main/backup/$middle/");

	# Now an expiry is really interrupted: it is not allowed to delete.
	my $packs = repository() . "/main/backup/$middle/pack";
	chmod 0500, $packs or die "could not change the mode of $packs: $!";
	$node->sql_fails('SELECT veza_backup_expire()', qr/could not remove file .*Permission denied/,
		'an expiry that may not delete');
	chmod 0700, $packs or die "could not change the mode of $packs: $!";
	is(decisions('false', 'action', "name = '$middle' AND kind = 'left-over'"),
		'remove', 'the next expiry completes it');
	is_deeply([ objects("main/backup/$middle/") ],
		["main/backup/$middle/backup.json"], 'a tombstone is left');
}

# --- one node at a time ---------------------------------------------------------------------------

my $standby = $node->restore('standby', '--standby');
$standby->start;
kill 'STOP', $node->archiver_pid;
my $backup = $node->start_sql(q{SELECT veza_backup_now('full')});
$node->wait_for_phase('waiting for WAL');
$standby->sql_fails('SELECT veza_backup_expire()',
	qr/node "[^"]+:@{[ $node->port ]}" is at work in repository .*: full backup, since .*\nHINT:  Wait/,
	'while another node is at work');
$node->vezactl_fails([ 'expire', @numbers ],
	2, qr/is at work in repository .*: full backup, since/, 'vezactl expire meanwhile');
$backup->{harness}->signal('INT');
$node->finish_sql($backup);
kill 'CONT', $node->archiver_pid;
# The worker ends after the statement that was waiting for it.
poll_until(sub { !defined(($node->backup_worker)[0]) }, 'the end of the worker');
is($standby->safe_psql('postgres', 'SELECT count(*) > 0 FROM veza_backup_expire()'),
	't', 'a cancelled backup has released the lock');

# A backup that is removed while no server runs. Nobody restores it any more.
$standby->stop;
$node->stop;
delete_object($_) foreach objects('main/lease/');
like($node->vezactl_ok([ 'expire', '--full=1', @numbers ]),
	qr/^remove +backup +\Q$pinned\E .*^removed: \d+ of \d+/ms, 'vezactl expire while no server runs');
is_deeply([ objects("main/backup/$pinned/") ], [], 'the backup is gone');
isnt((objects("main/backup/$new/"))[0], undef, 'the newest one stays');

# Its restore_command uses the settings file of the primary, which is removed with the primary. So
# it is stopped first.
$standby->discard;

done_testing();
