# vezactl restore --delta never touches the tablespaces and the pg_wal of another cluster.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path remove_tree);
use IPC::Run ();
use JSON::PP qw(decode_json);
use POSIX ();
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

my $base = PostgreSQL::Test::Utils::tempdir('places');
my ($space, $wal) = ("$base/space", "$base/wal");
mkdir $space or die;

my $node = VezaTest->new('primary');
$node->init(extra => [ '--waldir', $wal ]);
$node->start;
$node->safe_psql('postgres', $_)
  foreach ('CREATE EXTENSION veza_backup', "CREATE TABLESPACE space LOCATION '$space'",
	'CREATE TABLE t TABLESPACE space AS SELECT generate_series(1, 1000) AS i');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->archive_wal;
my $oid = $node->safe_psql('postgres', q{SELECT oid FROM pg_tablespace WHERE spcname = 'space'});
my $original = $node->data_dir;
my $other; # a running server
my @other_places = ('--tablespace-map', "$space=$base/other-space", '--waldir', "$base/other-wal");

# Returns everything below some directories: kind, permissions, size and time of change.
sub tree
{
	my $out;
	IPC::Run::run([ 'find', @_, '-printf', '%p %y %m %s %T@ %l\n' ], '>', \$out)
	  or die 'find failed';
	return join "\n", sort split /\n/, $out;
}

# Tests that vezactl refuses, also with --dry-run, and leaves everything unchanged.
sub refused
{
	my ($arguments, $pattern, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	# A running server changes its files itself.
	my @trees = grep { -e } "$original/global/pg_control", "$original/veza-restoring",
	  $other && -e $other->data_dir . '/postmaster.pid' ? () : ($base, $original);
	my $before = tree(@trees);
	foreach my $dry ([], ['--dry-run'])
	{
		$node->vezactl_fails([ 'restore', '--delta', @$arguments, @$dry ], 2, $pattern, "$test @$dry");
	}
	is(tree(@trees), $before, "$test: nothing was changed");
	return;
}

sub original_is_whole
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->start;
	is($node->safe_psql('postgres', 'SELECT count(*), sum(i) FROM t'), '1000|500500', $test);
	$node->stop;
	return;
}

# --- a copy of a stopped cluster ------------------------------------------------------------------

$node->stop;
my $twin = "$base/twin";
system('cp', '-a', $original, $twin) == 0 or die;
my @of_twin = ('--target-dir', $twin);
refused(
	\@of_twin,
	qr{"\Q$twin\E" may be a copy.*"\Q$space\E", "\Q$wal\E".*HINT:.*started last in "\Q$original\E".*--tablespace-map '\Q$space=$space\E' --waldir \Q$wal\E\.}s,
	'a copy whose links lead to places of the original');
refused([ @of_twin, '--waldir', "$base/other-wal" ], qr{may be a copy.*: "\Q$space\E"\n}s,
	'a copy with another place for WAL');
original_is_whole('the original has its tablespace and its WAL');

my $before = tree($space, $wal);
unlike(
	$node->vezactl_ok([ 'restore', '--delta', @of_twin, @other_places ], 'a copy with other places'),
	qr/become plain/, 'does not say that pg_wal is no longer a link');
is(tree($space, $wal), $before, 'leaves the places of the original alone');
original_is_whole('the original starts');

# A directory that a restore has filled is not a copy, even before its server was started for the
# first time.
my $out = $node->vezactl_ok(
	[ '--output', 'json', 'restore', '--delta', @of_twin, @other_places[ 0, 1 ], '--dry-run' ],
	'a directory that a restore has filled');
is_deeply(decode_json($out)->{replaced_places}, [ "$base/other-space", "$base/other-wal" ],
	'a dry run says what will be replaced');
like($node->vezactl_ok([ 'restore', '--delta', @of_twin, @other_places[ 0, 1 ], '--dry-run' ]),
	qr{^replaced +what is in "\Q$base\E/other-wal"$}m, 'a dry run with text output says it, too');
# Without --tablespace-map the restore would use the place of the original.
refused(\@of_twin,
	qr{"\Q$space\E" is not empty, and ".*/pg_tblspc/$oid" does not lead to it.*HINT:.*leads to "\Q$base\E/other-space": to leave it there, add --tablespace-map '\Q$space=$base\E/other-space'\.}s,
	'the hint says where the link leads');
rename $space, "$base/away" or die;
my (undef, undef, $err) = $node->vezactl('restore', '--delta', @of_twin, '--dry-run');
like($err, qr{symbolic link "\Q$twin\E/pg_tblspc/$oid" is replaced.*"\Q$base\E/other-space" is not changed},
	'when the old place is free, there is only a warning');
rename "$base/away", $space or die;
$node->vezactl_ok([ 'restore', '--delta', @of_twin, @other_places[ 0, 1 ] ], 'with --tablespace-map the restore succeeds');

# A copy of the restored directory is a copy.
my $triplet = "$base/triplet";
system('cp', '-a', $twin, $triplet) == 0 or die;
refused(
	[ '--target-dir', $triplet ],
	qr{"\Q$space\E" is not empty},
	'a copy of it, with the tablespace where the backup has it');
rename $space, "$base/away" or die;
refused([ '--target-dir', $triplet ], qr{may be a copy.*"\Q$base\E/other-wal".*no postmaster.opts}s,
	'a copy of it');
rename "$base/away", $space or die;

# --- the original ---------------------------------------------------------------------------------

# Its postmaster.opts proves that it is the original.
$node->vezactl_ok([ 'restore', '--delta', '--target-dir', $original ], 'the original itself');
ok(-f "$original/veza-directory", 'the restored directory has a note with its path');
$node->start;
$node->wait_for_end_of_recovery;
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '1000', 'the original recovers');
is($node->safe_psql('postgres', 'SHOW archive_mode'), 'off', 'the note is that of a restored directory');
$node->stop;
# The background process of wal-get removes its spool.
poll_until(sub { !-e "$wal/veza_spool" }, 'the end of the background process of wal-get');

# This server was started with PGDATA only and has no note. An operator must confirm that the places
# are its own.
unlink "$original/veza-directory" or die;
my $options = slurp_file("$original/postmaster.opts");
unlink "$original/postmaster.opts" or die;
append_to_file("$original/postmaster.opts", ($options =~ s/ "-D" "[^"]*"//r));
refused([ '--target-dir', $original ], qr/may be a copy.*without -D/s, 'a server without -D');
my @said = ('--tablespace-map', "$space=$space", '--waldir', $wal);
$node->vezactl_ok([ 'restore', '--delta', '--target-dir', $original, @said ],
	'an operator may say that the places are its own');
$node->vezactl_ok([ 'restore', '--delta', '--target-dir', $original ], 'saying it once is enough');

# A place that another restore has begun to fill is refused, even when an operator claims it.
append_to_file("$space/veza_restoring", "/srv/another\n");
refused([ '--target-dir', $original, @said ],
	qr{restore into "/srv/another" has begun to fill directory "\Q$space\E".*HINT:.*remove the file "\Q$space\E/veza_restoring"}s,
	'a place with the claim of another');
unlink "$space/veza_restoring";
original_is_whole('the original is intact');

# --- another cluster below --------------------------------------------------------------------------

# All of these have names that look like PostgreSQL's, or are in one of its directories.
my ($version) = map { s{.*/}{}r } glob "$space/PG_*";
my @below = ("$original/pg_other", "$original/base/5/other", "$space/$version/other");
$other = VezaTest->new('other');
$other->init;
$other->start;
foreach my $i (0 .. $#below)
{
	make_path($below[$i]);
	$other->safe_psql('postgres', $_)
	  foreach ("CREATE TABLESPACE other$i LOCATION '$below[$i]'",
		"CREATE TABLE t$i TABLESPACE other$i AS SELECT generate_series(1, 100) AS i");
}

sub other_is_whole
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $other->safe_psql('postgres', "SELECT count(*) FROM t0, t1, t2"), '1000000', $test);
	return;
}

my @here = ('--target-dir', $original);
my $all_below = join '', map { qr{(?=.*"\Q$_\E")} } @below;
refused([ @here, '--unknown', 'remove' ], qr/a running server, or the repository, uses $all_below/,
	'tablespaces of a running server below the target');
refused(
	[ '--target-dir', $other->data_dir . '/base/below', '--tablespace-map', "$space=$base/space2", '--waldir', "$base/wal2" ],
	qr/below" is inside one that is used by the server with process id/,
	'a target in the directory of a running server');
refused(
	[ @here, '--waldir', "$below[0]/$version/wal" ],
	qr{"\Q$below[0]\E/$version/wal".* one contains the other|is inside one that is used},
	'WAL in the tablespace of a running server');
other_is_whole('the other server has its tables');

$other->stop;
my $someones = join '', map { qr{(?=.*"\Q$_\E/$version")} } @below;
foreach my $unknown ('refuse', 'remove')
{
	refused([ @here, '--unknown', $unknown ], qr/look like the data of a cluster: $someones/,
		"tablespaces of a stopped server below the target, --unknown $unknown");
}
rename $below[1], "$base/other1" or die;
rename $below[2], "$base/other2" or die;
$node->vezactl_ok([ 'restore', '--delta', @here, '--unknown', 'keep' ], 'unknown names at the top can be kept');
rename "$base/other1", $below[1] or die;
rename "$base/other2", $below[2] or die;
$other->start;
other_is_whole('the other server still has its tables');
$other->safe_psql('postgres', "DROP TABLE t$_") foreach 0 .. $#below;
$other->safe_psql('postgres', "DROP TABLESPACE other$_") foreach 0 .. $#below;
rmdir $_ or die foreach @below;
$other->stop;
system('cp', '-a', $other->data_dir, "$original/log") == 0 or die;
refused([ @here, '--unknown', 'remove' ], qr{look like the data of a cluster: "\Q$original\E/log"},
	'the data directory of a stopped server');
rename "$original/log", "$base/log" or die;

# --- places inside each other -----------------------------------------------------------------------

my $new = "$base/new";
foreach my $case (
	[ "$new/pg_tblspc/x", "$base/new-wal" ],
	[ $base, "$base/../new-wal" ],
	[ "$base/new-wal", "$base/new-wal" ],
	[ "$base/new-wal/x", "$base/new-wal" ])
{
	my ($to, $new_wal) = @$case;
	$node->vezactl_fails(
		[ 'restore', '--target-dir', $new, '--tablespace-map', "$space=$to", '--waldir', $new_wal ],
		2, qr/one contains the other|is not empty/, "a tablespace in $to, WAL in $new_wal");
	ok(!-e $new && !-e "$base/new-wal", 'nothing was written');
}
SKIP:
{
	skip 'a repository in a directory', 7 if store() ne 'dir';
	my $in = repository() . '/main/restored';
	foreach my $places ([ $in, '--tablespace-map', "$space=$new", '--waldir', "$base/new-wal" ],
		[ $new, '--tablespace-map', "$space=$in", '--waldir', "$base/new-wal" ],
		[ $new, '--tablespace-map', "$space=$base/new-space", '--waldir', $in ])
	{
		$node->vezactl_fails([ 'restore', '--target-dir', @$places ],
			2, qr/and the repository ".*" are the same directory, or one contains the other/, 'in the repository');
	}
	$node->vezactl_ok(
		[
			'restore', '--dry-run', '--target-dir', repository() . '/restored', '--tablespace-map',
			"$space=$base/new-space"
		],
		'beside its clusters');
}

# --- files that are not regular files ---------------------------------------------------------------

foreach my $name ('postmaster.pid', 'postmaster.opts', 'veza-directory')
{
	unlink "$original/$name";
	POSIX::mkfifo("$original/$name", 0600) or die;
}
refused([@here], qr/postmaster.pid" is not a regular file/, 'a FIFO as postmaster.pid');
unlink "$original/postmaster.pid";
refused([@here], qr/may be a copy.*postmaster.opts" is not a regular file/s, 'FIFOs as proofs');
POSIX::mkfifo("$space/veza_restoring", 0600) or die;
refused([ @here, @said ], qr/has begun to fill directory "\Q$space\E"/, 'a FIFO as a claim');
unlink "$space/veza_restoring";
$node->vezactl_ok([ 'restore', '--delta', @here, @said ], 'FIFOs are removed');
original_is_whole('the original is still intact');

done_testing();
