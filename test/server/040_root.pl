# vezactl run by root: it restores as the account that was named, and an unencrypted repository
# cannot make it write outside of the directory. run.sh starts this test as root, if it runs as root
# itself.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json encode_json);
use Test::More;

my $root; # a process that runs commands as root

BEGIN
{
	plan skip_all => 'it needs root: run test/run.sh as root' if $> != 0;
	use POSIX ();
	use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
	my (undef, undef, $uid, $gid) = getpwnam('postgres') or die "there is no account postgres\n";
	socketpair($root, my $other, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!\n";
	$_->autoflush(1) foreach $root, $other;
	if (fork() == 0)
	{
		close $root;
		while (my $line = <$other>)
		{
			my $command = decode_json($line);
			my $pid = open my $pipe, '-|';
			if ($pid == 0)
			{
				open STDERR, '>&', \*STDOUT;
				exec @$command or POSIX::_exit(127);
			}
			my $said = do { local $/ = undef; <$pipe> // '' };
			close $pipe;
			print {$other} encode_json([ $? >> 8, $said ]), "\n";
		}
		POSIX::_exit(0);
	}
	close $other;
	# Drops root's rights for good, before anything makes a file.
	$) = "$gid $gid";
	POSIX::setgid($gid);
	POSIX::setuid($uid) or die "setuid: $!\n";
}

use File::Find ();
use PostgreSQL::Test::Utils qw(slurp_file);
use VezaTest;

sub as_root
{
	my (@command) = @_;
	print {$root} encode_json(\@command), "\n";
	my ($exit, $said) = @{ decode_json(scalar <$root>) };
	print "# as root: @command\n# exit $exit\n$said";
	return ($exit, $said);
}

my $node = VezaTest->new('primary');
my @vezactl = ($ENV{VEZACTL} // 'vezactl', '--config');

sub root_vezactl
{
	my (@arguments) = @_;
	return as_root(@vezactl, $node->conf, @arguments);
}

sub root_fails
{
	my ($arguments, $pattern, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($exit, $said) = root_vezactl(@$arguments);
	is($exit, 2, "$test: exit code");
	like($said, $pattern, "$test: message");
	return;
}

# Returns the files below a directory that do not belong to this account.
sub of_others
{
	my ($directory) = @_;
	my @found;
	File::Find::find({ no_chdir => 1, wanted => sub { push @found, $_ if (lstat)[4] != $> } }, $directory);
	return \@found;
}

$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
my $tablespace = PostgreSQL::Test::Utils::tempdir('tablespace');
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$tablespace'");
$node->safe_psql('postgres', 'CREATE TABLE t TABLESPACE elsewhere AS SELECT 1 AS a');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $segment = $node->archive_wal;

my $base = PostgreSQL::Test::Utils::tempdir();
my $target = "$base/restored";
my @moved = ('--tablespace-map', "$tablespace=$base/moved");
my @restore = ('restore', '--target-dir', $target, @moved);

# --- an account has to be named -------------------------------------------------------------------

foreach my $dry ([], ['--dry-run'])
{
	root_fails([ @restore, @$dry ], qr/vezactl does not restore as root.*HINT: .*--user/s, "restore @$dry");
}
root_fails([ @restore, '--user', 'root' ], qr/does not run as root/, '--user root');
root_fails([ @restore, '--user', 'no-such-user' ], qr/no operating system user "no-such-user"/,
	'an account that is not there');
$node->vezactl_fails([ @restore, '--user', 'root' ], 2, qr/only root can switch to user "root"/,
	'--user by an account that is not root');
ok(!-e $target, 'nothing was written');

my ($exit, $said) = root_vezactl(@restore, '--user', 'postgres');
is($exit, 0, 'with an account');
is_deeply([ map { @{ of_others($_) } } $target, "$base/moved" ], [], 'everything belongs to that account');

# vezactl drops root's rights before it reads the repository. Afterwards it cannot do what only root
# may.
as_root('mkdir', '-m', '755', "$base/of-root");
as_root('chown', '0:0', $_) foreach "$base/of-root";
root_fails([ 'restore', '--target-dir', "$base/of-root/restored", '--user', 'postgres', @moved ],
	qr/could not create directory "\S+of-root.*let that account write there/s, 'a directory of root\'s');
SKIP:
{
	skip 'a directory has an owner', 2 if store() ne 'dir';
	as_root('chown', '0:0', repository());
	root_fails([ 'restore', '--target-dir', "$base/again", '--user', 'postgres', '--dry-run', @moved ],
		qr/Permission denied/, 'a repository that only root can read');
	as_root('chown', 'postgres:', repository());
}

# Links in a repository of another account cannot make root write where only root may.
SKIP:
{
	skip 'links are in directories', 6 if store() ne 'dir';
	my $key = repository() . '/main/key';
	my ($wrap) = objects('main/key/');
	my ($identity) = objects('main/identity/');
	my $text = read_object($identity);
	as_root('mkdir', '-m', '700', "$base/only-root");
	rename $key, "$key-aside" or die "rename: $!";
	symlink "$base/only-root", $key or die "symlink: $!";
	write_object($identity, '');
	root_fails([qw(key restore)], qr/main\/key" in the repository is a symbolic link/, 'key restore');
	is((as_root('ls', "$base/only-root"))[1], '', 'nothing is written there');
	unlink $key;
	rename "$key-aside", $key or die "rename: $!";
	($exit, $said) = root_vezactl('key', 'restore');
	is($exit, 0, 'without the link it works');
	is((stat repository() . "/$identity")[4], $>, 'the file belongs to the owner of the repository');
	is_deeply([ objects('main/key/') ], [$wrap], 'the key is what it was');
	write_object($identity, $text);
}

# Settings that only root may read are read before the rights are dropped.
as_root('install', '-m', '600', '-o', '0', $node->conf, "$base/secret.conf");
($exit, $said) = as_root(@vezactl, "$base/secret.conf", '--quiet', 'restore', '--target-dir', $target, '--delta',
	'--user', 'postgres', @moved);
is($exit, 0, 'settings that only root can read');
like($said, qr/restore_command will fail when user "postgres" runs it/, 'there is a warning about these settings, also with --quiet');

($exit, $said) = root_vezactl('wal-get', $segment, "$base/$segment");
is($exit, 0, 'wal-get');
is((stat "$base/$segment")[4], $>, 'the new file belongs to the owner of its directory');

# So are files with keys.
SKIP:
{
	skip 'a directory needs no credentials', 4 if store() ne 's3';
	my @lines = grep { !/^veza_backup\.s3_(access|secret)_key/ } split /^/, slurp_file($node->conf);
	PostgreSQL::Test::Utils::append_to_file("$base/profile.conf",
		join('', @lines, "veza_backup.s3_credentials = 'profile'\n", "veza_backup.s3_credentials_file = '$base/keys'\n"));
	PostgreSQL::Test::Utils::append_to_file("$base/keys-of-postgres",
		"[default]\naws_access_key_id = $ENV{VEZA_TEST_S3_ACCESS_KEY}\naws_secret_access_key = $ENV{VEZA_TEST_S3_SECRET_KEY}\n");
	as_root('install', '-m', '600', '-o', '0', "$base/keys-of-postgres", "$base/keys");
	unlink "$base/keys-of-postgres";
	($exit, $said) = as_root(@vezactl, "$base/profile.conf", 'restore', '--target-dir', $target, '--delta', '--user', 'postgres', @moved);
	is($exit, 0, 'keys that only root can read');
	like($said, qr/restore_command will fail when user "postgres" runs it.*could not read file "\Q$base\E\/keys": Permission denied/,
		'there is a warning about them');
	unlink "$base/$segment";
	($exit, $said) = as_root(@vezactl, "$base/profile.conf", 'wal-get', $segment, "$base/$segment");
	is($exit, 0, 'wal-get with such keys');
	is((stat "$base/$segment")[4], $>, 'the file belongs to the owner of its directory');
	as_root('rm', '-f', "$base/keys");
}

# --- places named by an unencrypted repository ----------------------------------------------------

my $shell = $node->data_dir . '/shell';
PostgreSQL::Test::Utils::append_to_file($shell, "#!/bin/sh\n");
chmod 04777, $shell or die "chmod: $!";
chmod 02777, $node->data_dir . '/pg_logical/snapshots' or die "chmod: $!";
$node->apply_conf(cluster => 'plain', cipher => 'none', cipher_passphrase => undef);
$node->sql_fails('SELECT veza_backup_init()', qr/would not be encrypted, but.*HINT:.*delete the file "veza-repository"/s,
	'no server gives up its key by accident');
unlink $node->data_dir . '/veza-repository' or die "unlink: $!";
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $plain = "$base/plain";
@restore = ('restore', '--target-dir', $plain, '--user', 'postgres');
root_fails(\@restore, qr/would be restored to "\Q$tablespace\E", a directory that only an unencrypted repository names.*HINT: .*--tablespace-map \Q$tablespace\E=/s,
	'a tablespace location from the repository is refused');
$node->vezactl_fails([ 'restore', '--target-dir', $plain ], 2, qr/unencrypted repository/,
	'it is refused for the account itself, too');
($exit, $said) = root_vezactl(@restore, '--tablespace-map', "$tablespace=$base/plain-moved");
is($exit, 0, 'a location from the operator');
is_deeply(of_others($plain), [], 'everything belongs to the account');
is(sprintf('%04o', (stat "$plain/shell")[2] & 07777), '0750', 'a file keeps only harmless permissions');
is(sprintf('%04o', (stat "$plain/pg_logical/snapshots")[2] & 07777), '0750', 'a directory keeps only harmless permissions');
# A tablespace location that the target itself uses already is proven.
($exit, $said) = root_vezactl(@restore, '--delta', '--tablespace-map', "$tablespace=$base/plain-moved");
is($exit, 0, 'a delta');

as_root('rm', '-rf', "$base/of-root", "$base/secret.conf");
done_testing();
