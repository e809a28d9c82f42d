# Something deletes identity and key of the repository: no new key is made, a running server puts them back
# from memory, and vezactl from a backup. Every older backup stays readable. And a server that has archived
# makes no other repository by itself.

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

# Identity and key are what they were; with vezactl, the identity is made anew.
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

# Makes the scheduler look now; otherwise it would every five minutes.
my $jobs = 2;
sub look_at_key
{
	$node->apply_conf(jobs => ++$jobs);
	return;
}

# --- A running server -----------------------------------------------------------------------------

poll_until(sub { (key_row())[1] =~ /as this server holds them/ }, 'the scheduler to hold the key');
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
is($passed, 'f', 'the check says it');
like($detail, qr/had been deleted, and were put back/, 'with what happened');
like($hint, qr/lifecycle rule/, 'and what to look for');
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

like($node->vezactl_ok([qw(key restore)]), qr/nothing has to be written/, 'once is enough');
$node->vezactl_ok([qw(verify --full)], 'nothing is wrong in the repository');
my $copy = $node->restore('copy', '--backup', $full);
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), 103, 'the oldest backup can be restored');
ok(-f $node->data_dir . '/veza-repository', 'a server that archives has a marker');
ok(!-f $copy->data_dir . '/veza-repository', 'no restore brings it back');
$copy->stop;

# --- What cannot be repaired so easily -------------------------------------------------------------

my ($wrap) = objects('main/key/');
my $exported = $node->basedir . '/wrap.json';
PostgreSQL::Test::Utils::append_to_file($exported, read_object($wrap));
$node->stop;
delete_object($_) foreach objects('main/backup/');
lose(qw(key));
$node->vezactl_fails([qw(key restore)], 2, qr/no copy of key .*--from/s, 'without a backup there is no copy');
like($node->vezactl_ok([ qw(key restore --from), $exported ]), qr/comes from the file/, 'but an exported one will do');
is(join('', map { read_object($_) } objects('main/key/')), slurp_file($exported), 'as it was');

# WAL alone does not say to whom it belongs, but the server can.
lose(qw(identity));
$node->vezactl_fails([qw(key restore)], 2, qr/veza_backup_init\(\)/, 'WAL alone');
$node->start;
my $location = repository() . '/main';
is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), $location, 'veza_backup_init() puts the identity back');
is(scalar(my @keys = objects('main/key/')), 1, 'with the key that is there');
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
$node->sql_fails(q{SELECT veza_backup_now('full')}, $said, 'a backup there');
is_deeply([ objects('mian/') ], [], 'nothing is made there');
like($node->safe_psql('postgres', q{SELECT detail FROM veza_backup_check() WHERE name = 'identity'}),
	$said, 'so says veza_backup_check()');
ok(store() ne 'dir' || !-e repository() . '/mian', 'which leaves nothing there, either');
$node->restart;
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
is($node->archive_status($segment), 'ready', 'nor after a restart');
is_deeply([ objects('mian/') ], [], 'nothing is made then, either');
$node->apply_conf(cluster => 'main');
$node->wake_archiver;
$node->wait_for_archived($segment);
pass('set right, all of it is stored');

$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->apply_conf(cluster => 'mian');
like($node->safe_psql('postgres', 'SELECT veza_backup_init()'), qr{/mian$}, 'an operator may say that it is meant');
$node->wake_archiver;
$node->archive_wal;
ok(scalar(grep { m{^mian/wal/} } objects('mian/')), 'then WAL goes there');
is( $node->safe_psql('postgres', 'SELECT status FROM veza_backup_info()'),
	'no backup here yet', 'where veza_backup_info() says that there is no backup');
$node->wait_for_log(qr/LOG:  the repository holds no backup of this cluster yet/, $position);
pass('and the log');


# --- Another repository that is there already ------------------------------------------------------

# As a mistyped name of a colleague's repository, or an old copy: it belongs to the same system.
$position = -s $node->logfile;
my @there = objects('main/');
$node->apply_conf(cluster => 'main');
$node->safe_psql('postgres', 'INSERT INTO t SELECT 1');
$segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
$said = qr/main" is not the one that this server archives to, which is "[^"]*mian"/;
$node->wait_for_log(
	qr/WARNING:  could not archive WAL file "\w+": .*$said\n.*HINT:  .*veza_backup_init\(\)/, $position);
is($node->archive_status($segment), 'ready', 'an archiver that was reloaded stores nothing there');
like($node->safe_psql('postgres', 'SELECT last_error FROM veza_backup_archive'), $said, 'the view says so');
($passed, $detail, $hint) = key_row();
is($passed, 'f', 'the check fails');
like($detail, $said, 'and says so');
like($hint, qr/veza_backup_init\(\)/, 'with the way out');
$node->sql_fails(q{SELECT veza_backup_now('full')}, $said, 'a backup there');
is_deeply([ objects('main/') ], \@there, 'nothing is written there');
like(slurp_file($node->data_dir . '/veza-repository'), qr/mian/, 'the marker is what it was');
is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), $location, 'an operator may say that it was moved');
$node->wake_archiver;
$node->wait_for_archived($segment);
my @now = objects('main/');
cmp_ok(scalar(@now), '>', scalar(@there), 'then it is used');

# --- A new key while the archiver has the repository open ------------------------------------------

# All of it is emptied, and made anew by somebody who means it.
$position = -s $node->logfile;
# Again, when a segment has come meanwhile.
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
	'the archiver notices, and stores with the new key');
look_at_key();
poll_until(sub { (key_row())[0] eq 't' }, 'the scheduler to hold the new key');
is_deeply([ objects('main/key/') ], [$new_key], 'the old one is not put back');

# --- A repository in the data directory ------------------------------------------------------------

if (store() eq 'dir')
{
	symlink repository(), $node->data_dir . '/backups' or die;
	$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/which belongs to the repository.*HINT:/s,
		'a link to the repository in the data directory');
	is( $node->safe_psql('postgres',
			q{SELECT passed FROM veza_backup_check() WHERE name = 'data_directory'}),
		'f', 'the check says so');
	unlink $node->data_dir . '/backups';
	like($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), qr/F$/, 'without it a backup is made');
}

done_testing();
