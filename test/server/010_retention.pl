# Retention on a server: what goes after a backup, what stays and can be restored, one node at a time.

use strict;
use warnings;
use FindBin;
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

# A mark, its WAL archived, and a full backup. Returns the label.
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

# The segments in the repository, without those of other timelines and files of other kinds.
sub segments
{
	return map { m{/(0000000[0-9A-F]{17})$} ? $1 : () } objects('main/wal/');
}

# Of a backup that is there.
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

# --- after each backup ----------------------------------------------------------------------------

my $pinned = backup_with_mark('pinned');
$node->safe_psql('postgres', "SELECT veza_backup_keep('$pinned')");
my $position = -s $node->logfile;
my $old = backup_with_mark('old');
my ($old_wal) = wal_of($old);
my $middle = backup_with_mark('middle');
is_deeply(labels('ok'), [ $pinned, $old, $middle ], 'two newest and a pinned one stay');
my $new = backup_with_mark('new');
is_deeply(labels('ok'), [ $pinned, $middle, $new ], 'then the older one goes');
is_deeply([ objects("main/backup/$old/") ], [], 'with all its objects');
like(slurp_file($node->logfile, $position), qr/LOG:  removed by retention: .*backup $old/,
	'the log says so');
is( $node->safe_psql('postgres', 'SELECT label FROM veza_backup_info() WHERE pinned'),
	$pinned, 'veza_backup_info() shows the pin');

# Segments up to the newest full go, but for those that make the two others consistent.
my ($first_kept) = wal_of($new);
my %needed = map { $_ => 1 } map { wal_of($_) } $pinned, $middle;
my @older = grep { $_ lt $first_kept } segments();
is_deeply([ grep { !$needed{$_} } @older ], [], 'WAL that nobody needs is gone');
ok(@older > 0, 'WAL that makes older backups consistent stays');
ok(!grep({ $_ eq $old_wal } @older), 'and not that of the backup that is gone');

# --- and can be restored --------------------------------------------------------------------------

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

# --- a look, and what is refused ------------------------------------------------------------------

my @before = objects();
like(decisions('true', 'reason', "name = '$pinned'"), qr/^pinned by veza_backup_keep/, 'reasons');
is(decisions('true', 'count(*)', "kind = 'wal' AND bytes > 0") > 0, 1, 'ranges of WAL');
is_deeply([ objects() ], \@before, 'a dry run changes nothing');
$node->sql_fails(q{SELECT veza_backup_keep('20010101-000000F')},
	qr/there is no backup "20010101-000000F" in repository .*\nHINT:  There are: $pinned/,
	'a pin of what is not there');

# --- an expiry that was interrupted ---------------------------------------------------------------

# It had come as far as the summary of the older one.
$node->safe_psql('postgres', "SELECT veza_backup_keep('$pinned', keep => false)");
delete_object("main/backup/$middle/backup.json");
is(decisions('false', 'action', "name = '$pinned'"),
	'keep', 'two full backups are left, that is what retention wants');
is_deeply(labels('unfinished'), [$middle], 'the remains are younger than an hour');
like(decisions('true', 'reason', "name = '$middle'"), qr/less than an hour ago/, 'which is why');

SKIP:
{
	skip 'the times of a store cannot be changed', 4 if store() ne 'dir';

	utime time - 7200, time - 7200, repository() . "/$_"
	  or die "could not change the time of $_: $!"
	  foreach objects("main/backup/$middle/");

	# And now it is interrupted for real: it may not delete.
	my $packs = repository() . "/main/backup/$middle/pack";
	chmod 0500, $packs or die "could not change the mode of $packs: $!";
	$node->sql_fails('SELECT veza_backup_expire()', qr/could not remove file .*Permission denied/,
		'an expiry that may not delete');
	chmod 0700, $packs or die "could not change the mode of $packs: $!";
	is(decisions('false', 'action', "name = '$middle' AND kind = 'left-over'"),
		'remove', 'the next one goes on');
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
$backup->{harness}->signal('INT');
$node->finish_sql($backup);
kill 'CONT', $node->archiver_pid;
is($standby->safe_psql('postgres', 'SELECT count(*) > 0 FROM veza_backup_expire()'),
	't', 'who was cancelled has let go of the lock');

# It restores by the primary's settings, which go with the primary.
$standby->discard;

done_testing();
