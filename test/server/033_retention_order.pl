# Which backups are the newest, whatever clocks say and however many branches there are; and what
# writes that were cut off have left.

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
$node->archive_wal;    # the first makes the repository

# On a node: a mark, its WAL archived, and a backup. Returns the label.
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

# --- labels never fall back -----------------------------------------------------------------------

# What a node of version 0.1 leaves that is an hour ahead.
my $ahead = strftime('%Y%m%d-%H%M%SF', gmtime(time + 3600));
write_object("main/backup/$ahead/pack/00000001", 'pack');

my $position = -s $node->logfile;
my $first = backup($node, 'full');
cmp_ok($first, 'gt', $ahead, 'a label is later than every other');
like(
	slurp_file($node->logfile, $position),
	qr/WARNING:  the newest backup label in the repository is 3\d\d\d s ahead of its clock/,
	'the log tells why it is not the time');
delete_object("main/backup/$ahead/pack/00000001");
my $second = backup($node, 'full');
cmp_ok($second, 'gt', $first, 'and so is the next one');
my $third = backup($node, 'full');
is(labels(), "$second $third", 'the oldest goes, and not the one that was just made');
like(backup($node, 'diff'), qr/^\Q$third\E_/, 'a diff refers to the newest full backup');
my ($exit, $out) = $node->vezactl('info', '--output', 'json');
is($exit, 0, 'vezactl info');
is_deeply([ $out =~ /"label": "([0-9F-]+)"/g ], [ $second, $third ], 'oldest first');

# --- a branch that nobody follows -----------------------------------------------------------------

# The cluster goes on from the second backup; what came after it is on a branch of its own.
my $copy = $node->restore('copy', '--backup', $second, '--target-immediate', '--target-action',
	'promote', '--archive-mode', 'preserve');
$node->stop;
$copy->start;
$copy->wait_for_end_of_recovery;
my $fourth = backup($copy, 'full');
$node = $copy;
like(labels(), qr/^\Q$second $third\E .* \Q$fourth\E$/,
	'the backup that leads to the present stays, and does not count those of the other branch');
my $fifth = backup($node, 'full');
like(labels(), qr/^\Q$second $third\E .* \Q$fourth $fifth\E$/,
	'both branches have grown a moment ago, so each has its own count');
is($node->restore('check')->data_dir ne '', 1, 'the newest can be restored');

SKIP:
{
	skip 'the times of a store cannot be changed', 1 if store() ne 'dir';

	# What was restored a moment ago is kept for its recovery.
	delete_object($_) foreach objects('main/lease/');
	my $past = time - 8 * 86400;
	utime $past, $past, repository() . "/$_"
	  or die "could not change the time of $_: $!"
	  foreach grep { m{/00000001/} } objects('main/wal/');
	$node->safe_psql('postgres', 'SELECT veza_backup_expire()');
	is(labels(), "$fourth $fifth", 'a branch that nothing was added to for a week goes');
}

# --- temporary files of writes that were cut off --------------------------------------------------

SKIP:
{
	skip 'an S3 server keeps nothing of a request that was cut off', 5 if store() ne 'dir';

	# As a worker leaves them that was killed before its first pack.
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
	like($out, qr/temporary files of writes\n  1 cut off, .*\n  1 cut off less than an hour ago/,
		'vezactl info mentions them');
	(undef, $out) = $node->vezactl('verify');
	like($out, qr/20200101-000000F\/pack\/\.veza-tmp-7200/, 'vezactl verify, too');
	is( $node->safe_psql('postgres', <<'SQL'), "keep|1000\nremove|1000", 'and so does an expiry');
SELECT action, bytes FROM veza_backup_expire() WHERE kind = 'fragment' ORDER BY action
SQL
	is_deeply([ glob "$directory/.veza-tmp-*" ], ["$directory/.veza-tmp-600"], 'the old one goes');
	utime time - 7200, time - 7200, "$directory/.veza-tmp-600";
	$node->safe_psql('postgres', 'SELECT veza_backup_expire()');
	ok(!-e repository() . '/main/backup/20200101-000000F', 'at last the directories');
}

$node->stop;
done_testing();
