# Identity and key vanish while the server runs. No WAL is acknowledged, and no backup committed,
# that nobody could read. What can be restored is restored at once. An emptied repository waits for
# an operator.

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
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my %entrance = map { $_ => read_object($_) } grep { m{^main/(identity|key)/} } objects();
my ($identity) = grep { m{/identity/} } keys %entrance;
my ($wrap) = grep { m{/key/} } keys %entrance;

sub wait_for_key
{
	return $node->poll_query_until('postgres', q{SELECT detail LIKE '%this server holds the same in memory%'
		FROM veza_backup_check() WHERE name = 'key'})
	  || die 'the scheduler does not hold the key';
}
wait_for_key();

sub switch_wal
{
	$node->safe_psql('postgres', 'INSERT INTO t SELECT 1');
	return $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
}

# --- What a running server restores ----------------------------------------------------------------

# Tests that the scheduler restores the objects because the archiver asks for it, and not in its
# regular look.
sub is_mended
{
	my ($damage, $said, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $position = -s $node->logfile;

	# The scheduler may have been asked a moment ago. It is stopped, so that it does not act before the
	# archiver has noticed the loss.
	my $scheduler = $node->scheduler_pid;
	kill 'STOP', $scheduler;
	$damage->();
	my $segment = switch_wal();
	my $refused = qr/WARNING:  could not archive WAL file "\w+": .*$said/;
	happens(sub { $node->wait_for_log($refused, $position) }, "$test: no WAL is acknowledged");
	is($node->archive_status($segment), 'ready', "$test: the WAL stays");
	kill 'CONT', $scheduler;
	my $mended = qr/WARNING:  objects of the repository were missing and have been put back/;
	happens(sub { $node->wait_for_log($mended, $position) }, "$test: the scheduler looks because it was asked");
	$node->wake_archiver;
	happens(sub { $node->wait_for_archived($segment) }, "$test: archiving goes on");
	is(read_object($identity), $entrance{$identity}, "$test: the identity is what it was");
	$node->vezactl_ok([qw(info)]);
	return;
}

is_mended(sub { delete_object($identity) }, qr/has lost its identity/, 'an identity that was deleted');
is_mended(sub { write_object($identity, '') }, qr/is not a JSON object.*\n.*HINT:  .*vezactl key restore/, 'an identity that was truncated');

# The key wrap of another repository with the same passphrase.
$node->apply_conf(cluster => 'other');
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
my ($others) = objects('other/key/');
$node->apply_conf(cluster => 'main');
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
wait_for_key();
is_mended(sub { write_object($wrap, read_object($others)) }, qr/is the wrap of another key/, 'a key wrap that was exchanged');
is(scalar(my @wraps = objects('main/key/')), 2, 'the right wrap is stored beside the wrong one');

# --- vezactl ---------------------------------------------------------------------------------------

$node->stop;
write_object($identity, 'garbage');
delete_object($_) foreach grep { $_ ne $wrap } objects('main/key/');
$node->vezactl_fails([qw(info)], 1, qr/is not a JSON object.*vezactl key restore/s, 'vezactl info');
my $out = $node->vezactl_ok([qw(key restore)]);
like($out, qr{wrote identity/}, 'vezactl key restore replaces a damaged identity');
like($out, qr{wrote key/}, 'it stores the right wrap beside a wrong one');
my ($verified, $found) = $node->vezactl('verify');
is($verified, 1, 'vezactl verify finds the wrong wrap');
like($found, qr/passphrases: object "key\/.*" cannot be used as wrap of the key: it is the wrap of another key/, 'and names it');
delete_object($wrap);
$node->vezactl_ok([qw(verify)]);
$node->start;
$node->archive_wal;

# --- Everything is gone ----------------------------------------------------------------------------

sub empty_place
{
	# Deletes again what was being written meanwhile.
	poll_until(
		sub {
			delete_object($_) foreach objects('main/');
			return !objects('main/');
		},
		'the place to be empty');
	return;
}

wait_for_key();
empty_place();
my $position = -s $node->logfile;
my $segment = switch_wal();
my $said = qr/is empty, but this server has archived to it before\n.*HINT:  .*veza_backup_init\(\)/;
happens(sub { $node->wait_for_log(qr/WARNING:  could not archive WAL file "\w+": .*$said/, $position) },
	'the archiver refuses an emptied place');
$said = qr/WARNING:  could not check identity and key of the repository: .*is empty/;
happens(sub { $node->wait_for_log($said, $position) }, 'the scheduler restores nothing there, and says so');
is($node->archive_status($segment), 'ready', 'WAL is not acknowledged in an emptied place');
is_deeply([ grep { m{^main/(wal|identity|key|backup)/} } objects('main/') ], [], 'nothing stays there');
$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/is empty, but/, 'a backup in the emptied place');
$node->restart;
switch_wal();
is($node->archive_status($segment), 'ready', 'WAL is not acknowledged after a restart either');

# WAL that another node has stored there does not make it the old repository.
write_object("main/wal/1/00000001/00000000/$segment", 'x');
$position = -s $node->logfile;
$node->wake_archiver;
$said = qr/WARNING:  could not archive WAL file "\w+": .*has lost its identity/;
happens(sub { $node->wait_for_log($said, $position) }, 'the archiver still refuses');
is_deeply([ grep { m{^main/(identity|key)/} } objects('main/') ], [], 'nothing is restored');
empty_place();

is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), repository() . '/main', 'an operator decides');
$node->wake_archiver;
happens(sub { $node->wait_for_archived($segment) }, 'archiving resumes then');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->vezactl_ok([qw(verify)]);

# --- The marker ------------------------------------------------------------------------------------

my $marker = $node->data_dir . '/veza-repository';
unlink $marker or die "unlink: $!";
mkdir $marker or die "mkdir: $!";
$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/veza-repository.*HINT: .*remove it/s,
	'a directory in the place of the marker');
rmdir $marker;
is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), repository() . '/main', 'the marker is written again');
ok(-f $marker, 'the marker is a file');

done_testing();
