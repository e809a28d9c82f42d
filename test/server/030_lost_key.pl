# The identity and the key of the repository are deleted. No new key is made. A running server
# restores them from memory, vezactl restores them from a backup, and every older backup stays
# readable. A server that has archived makes no other repository by itself.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'archive_timeout = 60');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT generate_series(1, 100) AS id');

my $full = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my %entrance = map { $_ => read_object($_) } grep { m{^main/(identity|key)/} } objects();
is(scalar(keys %entrance), 2, 'there are an identity and a key');
like(read_object("main/backup/$full/backup.json"), qr/"key_wraps"/, 'a backup holds a copy of the wrap');

sub lose
{
	my (@prefixes) = @_;
	foreach my $prefix (@prefixes)
	{
		delete_object($_) foreach objects("main/$prefix/");
	}
	return;
}

# Tests that identity and key are unchanged. When vezactl has restored them, the identity object is
# a new one.
sub entrance_is_back
{
	my ($test, %params) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %now = map { $_ => read_object($_) } grep { m{^main/(identity|key)/} } objects();

	is_deeply([ sort keys %now ], [ sort keys %entrance ], "$test: the same objects are there");
	foreach my $name (sort keys %entrance)
	{
		next if $params{identity_is_new} && $name =~ m{/identity/};
		is($now{$name}, $entrance{$name}, "$test: $name is what it was");
	}
	return;
}

sub key_row
{
	my $row = $node->safe_psql('postgres',
		q{SELECT passed, detail, coalesce(hint, '') FROM veza_backup_check() WHERE name = 'key'});
	return split /\|/, $row, 3;
}

# Makes the scheduler look now. Otherwise it looks every five minutes.
my $jobs = 2;
sub look_at_key
{
	$node->apply_conf(jobs => ++$jobs);
	return;
}

# --- A running server -----------------------------------------------------------------------------

poll_until(sub { (key_row())[1] =~ /this server holds the same in memory/ }, 'the scheduler to hold the key');
is((key_row())[0], 't', 'identity and key are as they should be');

foreach my $lost ([qw(identity)], [qw(key)], [qw(identity key)])
{
	my $position = -s $node->logfile;
	lose(@$lost);
	look_at_key();
	$node->wait_for_log(
		qr/WARNING:  objects of the repository were missing and have been put back from memory: .*$lost->[-1]/,
		$position);
	entrance_is_back("lost while the server runs: @$lost");
}
my ($passed, $detail, $hint) = key_row();
is($passed, 'f', 'the check says that they were lost');
like($detail, qr/were deleted, and were put back/, 'it says what happened');
like($hint, qr/lifecycle rule/, 'it says what to look for');
$node->archive_wal;

# --- A server that starts -------------------------------------------------------------------------

foreach my $lost ([qw(identity)], [qw(key)], [qw(identity key)])
{
	my $test = "lost while the server is down: @$lost";
	$node->stop;
	lose(@$lost);
	my @names = objects('main/');
	my $position = -s $node->logfile;
	$node->start;
	$node->safe_psql('postgres', 'INSERT INTO t SELECT 1');
	my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
	my $said = $lost->[0] eq 'key' ? qr/has lost its key/ : qr/has lost its identity/;

	$node->wait_for_log(qr/WARNING:  could not archive WAL file "\w+": .*$said/, $position);
	is($node->archive_status($segment), 'ready', "$test: WAL stays");
	is_deeply([ objects('main/') ], \@names, "$test: no new key is made, nothing is written");
	$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/$said.*vezactl key restore/s, "$test: a backup");
	$node->vezactl_fails([qw(info)], 1, qr/$said.*vezactl key restore/s, "$test: vezactl info");
	$node->vezactl_fails([qw(verify)], 1, qr/$said/, "$test: vezactl verify");
	$node->vezactl_fails([ 'restore', '--target-dir', $node->basedir . '/none' ],
		1, qr/$said/, "$test: vezactl restore");

	like($node->vezactl_ok([qw(key restore --dry-run)]), qr/would write/, "$test: a dry run says what it would do");
	is_deeply([ objects('main/') ], \@names, "$test: and writes nothing");
	my $out = $node->vezactl_ok([qw(key restore)]);
	like($out, qr/wrote \Q$lost->[0]\E\//, "$test: vezactl key restore says what it has written");
	entrance_is_back("$test: after vezactl key restore", identity_is_new => 1);
	%entrance = map { $_ => read_object($_) } keys %entrance;
	$node->wake_archiver;
	$node->wait_for_archived($segment);
	pass("$test: archiving goes on");
}

like($node->vezactl_ok([qw(key restore)]), qr/nothing has to be written/, 'a second vezactl key restore writes nothing');
$node->vezactl_ok([qw(verify --full)], 'nothing is wrong in the repository');
my $copy = $node->restore('copy', '--backup', $full);
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), 103, 'the oldest backup can be restored');
ok(-f $node->data_dir . '/veza-repository', 'a server that archives has a marker');
ok(!-f $copy->data_dir . '/veza-repository', 'a restore does not contain the marker');
$copy->stop;

# --- Cases that are harder to repair ---------------------------------------------------------------

my ($wrap) = objects('main/key/');
my $exported = $node->basedir . '/wrap.json';
PostgreSQL::Test::Utils::append_to_file($exported, read_object($wrap));
$node->stop;
delete_object($_) foreach objects('main/backup/');
lose(qw(key));
$node->vezactl_fails([qw(key restore)], 2, qr/no copy of key .*--from/s, 'without a backup there is no copy');
like($node->vezactl_ok([ qw(key restore --from), $exported ]), qr/comes from the file/, 'an exported copy works');
is(join('', map { read_object($_) } objects('main/key/')), slurp_file($exported), 'the key is what it was');

# WAL alone does not say to which system it belongs, but the server knows.
lose(qw(identity));
$node->vezactl_fails([qw(key restore)], 2, qr/veza_backup_init\(\)/, 'WAL alone');
$node->start;
my $location = repository() . '/main';
is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), $location, 'veza_backup_init() puts the identity back');
is(scalar(my @keys = objects('main/key/')), 1, 'the identity names the existing key');
$node->archive_wal;
$node->vezactl_ok([qw(info)]);

# --- A mistyped name -------------------------------------------------------------------------------

my $position = -s $node->logfile;
$node->apply_conf(cluster => 'mian');
$node->safe_psql('postgres', 'INSERT INTO t SELECT 1');
my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
my $said = qr/mian" is not initialized, and this server has archived to "\Q$location\E" before/;
$node->wait_for_log(
	qr/WARNING:  could not archive WAL file "\w+": .*$said\n.*HINT:  .*veza_backup_init\(\)/, $position);
is($node->archive_status($segment), 'ready', 'WAL is not acknowledged in another place');
$node->sql_fails(q{SELECT veza_backup_now('full')}, $said, 'a backup in the other place');
is_deeply([ objects('mian/') ], [], 'nothing is made there');
like($node->safe_psql('postgres', q{SELECT detail FROM veza_backup_check() WHERE name = 'identity'}),
	$said, 'veza_backup_check() says so');
ok(store() ne 'dir' || !-e repository() . '/mian', 'veza_backup_check() writes nothing there');
$node->restart;
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
is($node->archive_status($segment), 'ready', 'WAL is not acknowledged there after a restart');
is_deeply([ objects('mian/') ], [], 'nothing is made there after a restart');
$node->apply_conf(cluster => 'main');
$node->wake_archiver;
$node->wait_for_archived($segment);
pass('with the right name all WAL is stored');

$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->apply_conf(cluster => 'mian');
like($node->safe_psql('postgres', 'SELECT veza_backup_init()'), qr{/mian$}, 'an operator may confirm the other place');
$node->wake_archiver;
$node->archive_wal;
ok(scalar(grep { m{^mian/wal/} } objects('mian/')), 'WAL is stored there then');
is( $node->safe_psql('postgres', 'SELECT status FROM veza_backup_info()'),
	'no backup here yet', 'veza_backup_info() says that there is no backup');
$node->wait_for_log(qr/LOG:  the repository holds no backup of this cluster yet/, $position);
pass('the log says it, too');


# --- Another repository that exists already --------------------------------------------------------

# This is like a mistyped name that leads to a colleague's repository or to an old copy. It belongs
# to the same system.
$position = -s $node->logfile;
my @there = objects('main/');
$node->apply_conf(cluster => 'main');
$node->safe_psql('postgres', 'INSERT INTO t SELECT 1');
$segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
$said = qr/main" is not the one that this server archives to, which is "[^"]*mian"/;
$node->wait_for_log(
	qr/WARNING:  could not archive WAL file "\w+": .*$said\n.*HINT:  .*veza_backup_init\(\)/, $position);
is($node->archive_status($segment), 'ready', 'an archiver that was reloaded stores nothing there');
like($node->safe_psql('postgres', 'SELECT last_error FROM veza_backup_archive'), $said, 'the view shows the error');
($passed, $detail, $hint) = key_row();
is($passed, 'f', 'the check fails');
like($detail, $said, 'the check says why');
like($hint, qr/veza_backup_init\(\)/, 'the check says what to do');
$node->sql_fails(q{SELECT veza_backup_now('full')}, $said, 'a backup in the other place');
is_deeply([ objects('main/') ], \@there, 'nothing is written there');
like(slurp_file($node->data_dir . '/veza-repository'), qr/mian/, 'the marker is what it was');
is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), $location, 'an operator may confirm that the repository was moved');
$node->wake_archiver;
$node->wait_for_archived($segment);
my @now = objects('main/');
cmp_ok(scalar(@now), '>', scalar(@there), 'the other repository is used then');

# --- A new key while the archiver has the repository open ------------------------------------------

# The repository is emptied, and made again on purpose.
$position = -s $node->logfile;
# Tries again when a segment has arrived in the meantime.
poll_until(
	sub {
		delete_object($_) foreach objects('main/');
		return $node->psql('postgres', 'SELECT veza_backup_init()') == 0;
	},
	'a new repository');
my ($new_key) = objects('main/key/');
isnt($new_key, $wrap, 'there is a new key');
$segment = $node->archive_wal;
$node->vezactl_ok([ 'wal-get', $segment, $node->basedir . '/with_the_new_key' ],
	'the archiver notices this, and uses the new key');
look_at_key();
poll_until(sub { (key_row())[0] eq 't' }, 'the scheduler to hold the new key');
is_deeply([ objects('main/key/') ], [$new_key], 'the old key is not restored');

# --- A repository in the data directory ------------------------------------------------------------

if (store() eq 'dir')
{
	symlink repository(), $node->data_dir . '/backups' or die;
	$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/which belongs to the repository.*HINT:/s,
		'a link to the repository in the data directory');
	is( $node->safe_psql('postgres',
			q{SELECT passed FROM veza_backup_check() WHERE name = 'data_directory'}),
		'f', 'the check reports the link');
	unlink $node->data_dir . '/backups';
	like($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), qr/F$/, 'without the link a backup is made');

	# The first backup makes the repository, and is refused before it begins in the server.
	my $fresh = VezaTest->new('fresh');
	$fresh->init;
	$fresh->append_conf('postgresql.conf', "veza_backup.repository = '" . $fresh->data_dir . "/new'");
	$fresh->start;
	$fresh->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
	$fresh->sql_fails(q{SELECT veza_backup_now('full')}, qr/which belongs to the repository.*HINT:/s,
		'a repository that the first backup makes in the data directory');
	unlike(slurp_file($fresh->logfile), qr/full backup "\S+" started at/, 'the server began no backup');
}

done_testing();
