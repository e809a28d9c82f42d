# What vezactl restore --delta must not touch, and where it puts pg_wal.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'it is about the directory that is restored to: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
$node->init;
$node->start;
$node->safe_psql('postgres', $_)
  foreach ('CREATE EXTENSION veza_backup', 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS i');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->archive_wal;

my $copy = $node->restore('copy');
my $target = $copy->data_dir;
my @delta = ('restore', '--delta', '--target-dir', $target);

# Returns everything below a directory: kind, permissions, size and time of change.
sub tree
{
	my ($root) = @_;
	my $out;
	IPC::Run::run([ 'find', $root, '-printf', '%p %y %m %s %T@ %l\n' ], '>', \$out)
	  or die "find failed";
	return join "\n", sort split /\n/, $out;
}

sub refused
{
	my ($arguments, $pattern, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = tree($target);
	$node->vezactl_fails($arguments, 2, $pattern, $test);
	is(tree($target), $before, "$test: nothing was changed");
	return;
}

sub recovers
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$copy->adopt($node);
	$copy->start;
	$copy->wait_for_end_of_recovery;
	is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), '1000', $test);
	$copy->stop;
	# The process that fetches WAL ahead ends and removes its spool a little later.
	poll_until(sub { !-e "$target/pg_wal/veza_spool" }, 'the end of the prefetcher');
	return;
}

recovers('a copy');

# --- whose directory it is ------------------------------------------------------------------------

my $home = $node->basedir . '/home';
make_path("$home/.ssh");
append_to_file("$home/.ssh/id_ed25519", 'secret');
append_to_file("$home/PG_VERSION", "15\n");
$node->vezactl_fails(
	[ 'restore', '--delta', '--target-dir', $home ],
	2,
	qr/"\Q$home\E" is not empty and not a data directory of this cluster.*no global\/pg_control/s,
	'a home directory with a PG_VERSION');
is(slurp_file("$home/.ssh/id_ed25519"), 'secret', 'the directory is left alone');

my $control = "$target/global/pg_control";
my $whole = $node->basedir . '/pg_control';
copy($control, $whole) or die;
append_to_file($control, '');
open my $file, '+<:raw', $control or die;
seek $file, 100, 0;
print $file "\xff\xfe\xfd";
close $file;
refused([@delta], qr/not a data directory of this cluster.*is damaged.*veza-restoring/s,
	'a damaged pg_control');
append_to_file("$target/veza-restoring", '');
$node->vezactl_ok([@delta], 'with a veza-restoring file a delta proceeds');
recovers('the cluster is complete again');

# --- files that do not belong to PostgreSQL -------------------------------------------------------

make_path("$target/.ssh");
append_to_file("$target/.ssh/id_ed25519", 'secret');
append_to_file("$target/notes.txt", 'dear diary');
append_to_file("$target/logfile", 'of pg_ctl');
refused(
	[@delta],
	qr{contains names that are neither in the backup nor PostgreSQL's: (?=.*/\.ssh")(?=.*/notes\.txt")(?!.*logfile).*--unknown keep}s,
	'unknown names at the top');
refused([ @delta, '--dry-run' ], qr/neither in the backup/, 'a dry run also refuses');
my (undef, undef, $err) = $node->vezactl(@delta, '--unknown', 'keep');
like($err, qr/"\Q$target\E\/notes\.txt", which is not in the backup, is kept/, 'unknown names can be kept');
is(slurp_file("$target/.ssh/id_ed25519"), 'secret', 'unknown names are kept');
ok(!-e "$target/logfile", 'files inside PostgreSQL\'s directories are not kept');
recovers('the server starts with unknown names in its directory');
(undef, undef, $err) = $node->vezactl(@delta, '--unknown', 'remove');
like($err, qr/"\Q$target\E\/notes\.txt", which is not in the backup, is removed/, 'unknown names can be removed');
ok(!-e "$target/.ssh" && !-e "$target/notes.txt", 'unknown names are gone');
$node->vezactl_fails([ 'restore', '--target-dir', "$home/new", '--unknown', 'keep' ],
	2, qr/--unknown needs --delta/, 'without --delta no name is reported as unknown');

# --- lost+found, which only root may enter ---------------------------------------------------------

mkdir "$target/lost+found" or die;
append_to_file("$target/lost+found/inode", 'found');
chmod 0000, "$target/lost+found";
$node->vezactl_ok([@delta], 'lost+found does not stop a delta');
chmod 0700, "$target/lost+found";
is(slurp_file("$target/lost+found/inode"), 'found', 'lost+found is left alone');
remove_tree("$target/lost+found");
recovers('the server starts');

# --- symbolic links where the backup has files and directories -------------------------------------

my $elsewhere = PostgreSQL::Test::Utils::tempdir('elsewhere');
rename "$target/pg_xact", "$elsewhere/pg_xact" or die;
symlink "$elsewhere/pg_xact", "$target/pg_xact" or die;
append_to_file("$elsewhere/pg_xact/letter", 'dear');
my $before = tree($elsewhere);
(undef, my $out, $err) = $node->vezactl(@delta, '--dry-run');
like(
	$err,
	qr{symbolic link "\Q$target\E/pg_xact" is replaced; the link's target "\Q$elsewhere\E/pg_xact" is not changed},
	'a link is named before anything happens');
ok(-l "$target/pg_xact", 'nothing happens');
$node->vezactl_ok([@delta], 'the delta');
ok(-d "$target/pg_xact" && !-l "$target/pg_xact", 'the link has become a directory');
is(tree($elsewhere), $before, 'the target of the link is unchanged');
recovers('the server starts from the new directory');

# --- other file systems ---------------------------------------------------------------------------

# Mounts file systems and runs vezactl, in a mount namespace of its own and not as that namespace's
# root.
my @namespace = qw(unshare --mount --user --map-current-user --keep-caps);

sub vezactl_with_mount
{
	my ($mount, @arguments) = @_;
	my ($out, $err) = ('', '');
	my $command = join ' ', map { "'$_'" } $ENV{VEZACTL}, '--config', $node->conf, @arguments;
	IPC::Run::run([ @namespace, 'sh', '-c', "$mount && touch marker && exec $command" ],
		init => sub { chdir $elsewhere }, '>', \$out, '2>', \$err);
	print "# $mount: $? $out$err\n";
	return ($? >> 8, $err);
}

SKIP:
{
	skip 'no mount namespaces here', 6
	  if system("@namespace mount -t tmpfs none '$elsewhere' 2>/dev/null") != 0;
	make_path("$target/base/data", "$elsewhere/archive");
	append_to_file("$elsewhere/archive/letter", 'dear');
	foreach my $mount (
		"mount -t tmpfs none '$target/base/data'",
		"mount --bind '$elsewhere/archive' '$target/base/data'")
	{
		my ($exit, $message) = vezactl_with_mount($mount, @delta);
		is($exit, 2, 'a file system mounted below is refused');
		like($message, qr{another file system is mounted at "\Q$target\E/base/data"}, 'the file system is named');
		ok(-e $control, 'before anything is removed');
	}
	is(slurp_file("$elsewhere/archive/letter"), 'dear', 'the files on it are still there');
}

# --- pg_wal ---------------------------------------------------------------------------------------

# An existing link is kept, and the directory that it leads to is cleaned.
rename "$target/pg_wal", "$elsewhere/wal" or die;
symlink "$elsewhere/wal", "$target/pg_wal" or die;
$before = () = glob "$elsewhere/wal/0*";
cmp_ok($before, '>', 0, 'there is WAL behind the link');
append_to_file("$elsewhere/wal/letter", 'dear');
refused([@delta], qr{neither in the backup nor PostgreSQL's: "\Q$elsewhere\E/wal/letter"},
	'unknown files are also found behind the link');
unlink "$elsewhere/wal/letter";
$node->vezactl_ok([@delta], 'a delta with pg_wal behind a link');
is(readlink "$target/pg_wal", "$elsewhere/wal", 'the link is kept');
is_deeply([ map { substr($_, length $elsewhere) } glob "$elsewhere/wal/*" ],
	[ '/wal/archive_status', $node->pg_version >= 17 ? '/wal/summaries' : () ],
	'the unknown file behind the link is gone');
recovers('the server uses the directory behind the link');
$node->vezactl_ok([ @delta, '--waldir', "$elsewhere/wal2" ], 'a delta with another place for WAL');
is(readlink "$target/pg_wal", "$elsewhere/wal2", 'the link leads to the new place');
ok(-d "$elsewhere/wal/archive_status", 'the former place is left alone');
recovers('the server uses the new place');
refused([ @delta, '--waldir', "$target/base" ], qr/one contains the other/, 'a place for WAL inside the cluster is refused');
refused([ @delta, '--waldir', "$elsewhere/wal" ], qr/"\Q$elsewhere\E\/wal" is not empty/,
	'a place for WAL that is not empty is refused');

# The target directory was prepared by an operator.
my $prepared = VezaTest->new('prepared');
mkdir $prepared->data_dir or die;
mkdir "$elsewhere/wal3" or die;
symlink "$elsewhere/wal3", $prepared->data_dir . '/pg_wal' or die;
$node->vezactl_ok([ 'restore', '--target-dir', $prepared->data_dir ], 'a prepared target with a link for pg_wal');
is(readlink $prepared->data_dir . '/pg_wal', "$elsewhere/wal3", 'a plain restore keeps it');
$prepared->adopt($node);
$prepared->start;
$prepared->wait_for_end_of_recovery;
cmp_ok(scalar(() = glob "$elsewhere/wal3/0*"), '>', 0, 'the server writes there');
$prepared->discard;
unlink glob "$elsewhere/wal3/*";
remove_tree("$elsewhere/wal3");
my $fresh = VezaTest->new('fresh');
$out = $node->vezactl_ok([ '--output', 'json', 'restore', '--target-dir', $fresh->data_dir, '--waldir', "$elsewhere/wal3" ],
	'a plain restore with --waldir');
is(decode_json($out)->{wal_directory}, "$elsewhere/wal3", 'the output says where pg_wal is');
is(readlink $fresh->data_dir . '/pg_wal', "$elsewhere/wal3", 'the restore makes the link');

# --- places that another server uses now ----------------------------------------------------------

# An interrupted restore leaves a link and a marker. Since then, the place may have been emptied and
# given to another server.
my $given = "$elsewhere/given";
my $first = $node->restore('first', '--waldir', $given);
append_to_file($first->data_dir . '/veza-restoring', 'A restore has begun here.');
remove_tree($given);
my $second = $node->restore('second', '--waldir', $given);
$second->start;
$second->wait_for_end_of_recovery;
$second->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(1, 100)');

# Only the WAL of the other server has these rows.
sub still_has_its_rows
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$second->stop('immediate');
	$second->start;
	is($second->safe_psql('postgres', 'SELECT count(*) FROM t'), '1100', $test);
	return;
}

my @of_first = ('restore', '--delta', '--target-dir', $first->data_dir);
$second->stop('immediate');
$node->vezactl_fails([@of_first], 2,
	qr/"\Q$given\E" is not empty, and was not filled by the interrupted restore into ".*first.*"/,
	'a delta of an interrupted restore');
still_has_its_rows('the other server has its WAL');
unlink $first->data_dir . '/veza-restoring';
$node->vezactl_fails([@of_first], 2,
	qr/"\Q$given\E" is in use by the server with process id \d+ in directory ".*second/,
	'a delta of a complete restore');
still_has_its_rows('the other server has its WAL still');

# A copy of a data directory has the same links as the original.
$second->stop;
my $twin = $node->basedir . '/twin';
system('cp', '-a', $second->data_dir, $twin) == 0 or die;
$second->start;
$node->vezactl_fails([ 'restore', '--delta', '--target-dir', $twin ],
	2, qr/"\Q$given\E" is in use by the server with process id/, 'a delta of a copy');
still_has_its_rows('the original has its WAL');

# A server keeps running without its postmaster.pid.
my $pid_file = $second->data_dir . '/postmaster.pid';
rename $pid_file, "$elsewhere/postmaster.pid" or die;
$node->vezactl_fails([ 'restore', '--delta', '--target-dir', $second->data_dir ],
	2, qr/a server with process id \d+ runs in directory/, 'a delta of a running server without postmaster.pid');
rename "$elsewhere/postmaster.pid", $pid_file or die;

done_testing();
