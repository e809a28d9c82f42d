# Which backups count as the newest, even with wrong clocks and several branches of history; and the
# remains of interrupted writes.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path);
use POSIX qw(strftime);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(settings => { retention_full => 2, retention_archive => 2 });
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE marks(name text)');
$node->archive_wal;    # the first archived file creates the repository

# Inserts a mark on a node, archives its WAL and takes a backup. Returns the label.
sub backup
{
	my ($server, $type) = @_;
	$server->safe_psql('postgres', q{INSERT INTO marks VALUES ('mark')});
	$server->archive_wal;
	return $server->safe_psql('postgres', "SELECT veza_backup_now('$type')");
}

sub labels
{
	return $node->safe_psql('postgres',
		q{SELECT string_agg(label, ' ' ORDER BY label) FROM veza_backup_info() WHERE status = 'ok'});
}

# --- labels never go back in time -----------------------------------------------------------------

# The backup of a node of version 0.1 whose clock is an hour ahead.
my $ahead = strftime('%Y%m%d-%H%M%SF', gmtime(time + 3600));
write_object("main/backup/$ahead/pack/00000001", 'pack');

my $position = -s $node->logfile;
my $first = backup($node, 'full');
cmp_ok($first, 'gt', $ahead, 'a label is later than every other');
like(
	slurp_file($node->logfile, $position),
	qr/WARNING:  the newest backup label in the repository is 3\d\d\d s ahead of its clock/,
	'the log says why the label is not the present time');
delete_object("main/backup/$ahead/pack/00000001");
my $second = backup($node, 'full');
cmp_ok($second, 'gt', $first, 'the next label is later, too');
my $third = backup($node, 'full');
is(labels(), "$second $third", 'the oldest backup is removed, and not the one just made');
like(backup($node, 'diff'), qr/^\Q$third\E_/, 'a diff refers to the newest full backup');
my ($exit, $out) = $node->vezactl('info', '--output', 'json');
is($exit, 0, 'vezactl info');
is_deeply([ $out =~ /"label": "([0-9F-]+)"/g ], [ $second, $third ], 'vezactl info lists the oldest first');

# --- a branch that nobody follows -----------------------------------------------------------------

# The cluster continues from the second backup. What came after that backup is on a branch of its
# own.
my $copy = $node->restore('copy', '--backup', $second, '--target-immediate', '--target-action',
	'promote', '--archive-mode', 'preserve');
$node->stop;
$copy->start;
$copy->wait_for_end_of_recovery;
my $fourth = backup($copy, 'full');
$node = $copy;
like(labels(), qr/^\Q$second $third\E .* \Q$fourth\E$/,
	'the backup that leads to the present stays, and backups of the other branch do not count');
my $fifth = backup($node, 'full');
like(labels(), qr/^\Q$second $third\E .* \Q$fourth $fifth\E$/,
	'both branches have grown recently, so backups are counted on each');
is($node->restore('check')->data_dir ne '', 1, 'the newest can be restored');

SKIP:
{
	skip 'the times of a store cannot be changed', 1 if store() ne 'dir';

	# A lease keeps the backup that was restored a moment ago.
	delete_object($_) foreach objects('main/lease/');
	my $past = time - 8 * 86400;
	utime $past, $past, repository() . "/$_"
	  or die "could not change the time of $_: $!"
	  foreach grep { m{/00000001/} } objects('main/wal/');
	$node->safe_psql('postgres', 'SELECT veza_backup_expire()');
	is(labels(), "$fourth $fifth", 'a branch without new WAL for a week is removed');
}

# --- temporary files of interrupted writes --------------------------------------------------------

SKIP:
{
	skip 'an S3 server keeps nothing of a request that was cut off', 5 if store() ne 'dir';

	# A worker that is killed before its first pack leaves such files.
	my $directory = repository() . '/main/backup/20200101-000000F/pack';
	make_path($directory, { mode => 0700 });
	foreach my $age (600, 7200)
	{
		my $file = "$directory/.veza-tmp-$age";
		open my $handle, '>', $file or die "could not write $file: $!";
		print $handle 'x' x 1000;
		close $handle or die "could not write $file: $!";
		utime time - $age, time - $age, $file or die "could not change the time of $file: $!";
	}
	(undef, $out) = $node->vezactl('info');
	like($out, qr/temporary files of unfinished writes\n  1 left over, .*\n  1 less than an hour old/,
		'vezactl info mentions them');
	(undef, $out) = $node->vezactl('verify');
	like($out, qr/20200101-000000F\/pack\/\.veza-tmp-7200/, 'vezactl verify mentions them');
	is( $node->safe_psql('postgres', <<'SQL'), "keep|1000\nremove|1000", 'an expiry mentions them');
SELECT action, bytes FROM veza_backup_expire() WHERE kind = 'fragment' ORDER BY action
SQL
	is_deeply([ glob "$directory/.veza-tmp-*" ], ["$directory/.veza-tmp-600"], 'the old one is removed');
	utime time - 7200, time - 7200, "$directory/.veza-tmp-600";
	$node->safe_psql('postgres', 'SELECT veza_backup_expire()');
	ok(!-e repository() . '/main/backup/20200101-000000F', 'finally the directories are removed');
}

$node->stop;
done_testing();
