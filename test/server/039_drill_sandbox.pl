# Code in the restored databases runs during a drill. It can reach neither the network nor another
# server nor the secrets, and the drill still passes.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Socket qw(AF_UNIX SOCK_DGRAM pack_sockaddr_un);
use Test::More;
use VezaTest;

my $landlock = syscall(444, 0, 0, 1);
plan skip_all => 'the kernel has no Landlock' if $landlock <= 0;

my $node = VezaTest->new('primary');
my $base = PostgreSQL::Test::Utils::tempdir_short();
my $secrets = PostgreSQL::Test::Utils::tempdir();
my $passphrase = "$secrets/passphrase";
append_to_file($passphrase, "correct horse battery staple\n");
chmod 0600, $passphrase;
$node->init(settings => { cipher_passphrase => undef, cipher_passphrase_file => $passphrase });
$node->start;

# --- what the code in a database tries ------------------------------------------------------------

my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $!";
my $datagrams;
socket($datagrams, AF_UNIX, SOCK_DGRAM, 0) && bind($datagrams, pack_sockaddr_un("$base/log"))
  or die "datagrams: $!";

append_to_file($node->data_dir . '/probe.pl', <<'PERL');
use strict;
use warnings;
use Fcntl qw(O_RDONLY O_TRUNC);
use Socket qw(:DEFAULT pack_sockaddr_un);
my ($port, $socket, $log, $elsewhere, $postmaster, @files) = @ARGV;
my $prey = "$elsewhere/prey";
my %number = `uname -m` =~ /x86/
  ? (setxattr => 188, prlimit64 => 302, semget => 64, semctl => 66)
  : (setxattr => 5, prlimit64 => 261, semget => 190, semctl => 191);
sub content { open my $file, '<', $_[0] or return ''; local $/ = undef; return <$file> // '' }
sub of_network { return defined $_[0] && sockaddr_family($_[0]) != AF_UNIX }
sub made { my ($family, $type) = @_; my $made; return socket($made, $family, $type, 0) ? $made : undef }
sub called { my ($s, $address) = @_; return $s && connect($s, $address) }
sub told { my ($s, $address) = @_; return $s && send($s, 'x', 0, $address) }
my $address = pack_sockaddr_in($port, inet_aton('127.0.0.1'));
my %tries = (
	'TCP' => sub { called(made(AF_INET, SOCK_STREAM), $address) },
	'UDP' => sub { told(made(AF_INET, SOCK_DGRAM), $address) },
	'netlink' => sub { made(16, SOCK_RAW) },
	'the socket of a server' => sub { called(made(AF_UNIX, SOCK_STREAM), pack_sockaddr_un($socket)) },
	'the socket of a log' => sub { told(made(AF_UNIX, SOCK_DGRAM), pack_sockaddr_un($log)) },
	'the environment' => sub { grep { /^AWS_/ } keys %ENV },
	'the environment of others' => sub { grep { content($_) =~ /AWS_SECRET_ACCESS_KEY=sesame/ } glob '/proc/[0-9]*/environ' },
	'/dev/shm' => sub { my $file; open($file, '>', "/dev/shm/veza-probe.$$") && unlink "/dev/shm/veza-probe.$$" },
	'a file elsewhere' => sub { open my $file, '>', "$elsewhere/left" },
	'a connection that was left open' => sub {
		grep { my $s; open($s, '<&=', $_) && of_network(getsockname($s)) } 3 .. 63;
	},
	# unshare(CLONE_NEWUSER) affects only this process.
	'a namespace' => sub { syscall(`uname -m` =~ /x86/ ? 272 : 97, 0x10000000) == 0 },
	'signals' => sub { kill 0, $postmaster },
	# System calls that Landlock does not restrict, by their numbers.
	'permissions' => sub { chmod 0777, $prey; (stat $prey)[2] & 0077 },
	'permissions by a descriptor' => sub {
		# Access mode 3: opened neither for reading nor for writing.
		my $file;
		sysopen($file, $prey, 3) && chmod(0777, $file) && (stat $prey)[2] & 0077;
	},
	'times' => sub { utime 1, 1, $prey; (stat $prey)[9] == 1 },
	'truncation' => sub { sysopen(my $file, $prey, O_RDONLY | O_TRUNC); -z $prey },
	'attributes' => sub { syscall($number{setxattr}, $prey, my $name = 'user.veza', my $value = 'x', 1, 0) == 0 },
	'limits' => sub { syscall($number{prlimit64}, $postmaster + 0, 4, 0, my $limit = ' ' x 16) == 0 },
	'semaphores' => sub { my $id = syscall($number{semget}, 0, 1, 0600); $id >= 0 && syscall($number{semctl}, $id, 0, 0, 0) == 0 },
	map { my $name = $_; ("file $name" => sub { content($name) ne '' }) } @files);
print join(', ', grep { $tries{$_}->() } sort keys %tries), "\n";
PERL

my $system = $node->data_dir . '/global/pg_control';
my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
my $prey = "$secrets/prey";

sub make_prey
{
	unlink $prey;
	append_to_file($prey, 'prey');
	chmod 0600, $prey;
}

make_prey();
my @files = ($passphrase, $node->conf, $system);
my $arguments = join ' ', $listener->sockport, $node->host . '/.s.PGSQL.' . $node->port, "$base/log", $secrets,
  $postmaster, @files;
$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION veza_backup;
CREATE TABLE said(line text);
CREATE FUNCTION reached() RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
	COPY said FROM PROGRAM 'perl probe.pl $arguments';
	RETURN 'reached: ' || (SELECT string_agg(line, ', ') FROM said);
END\$\$;
SQL

$ENV{AWS_SECRET_ACCESS_KEY} = 'sesame';
my $control = $node->safe_psql('postgres', 'SELECT reached()');
foreach my $what ('TCP', 'UDP', 'netlink', 'the socket of a server', 'the socket of a log', '/dev/shm',
	'a file elsewhere', 'signals', 'permissions', 'permissions by a descriptor', 'times', 'truncation', 'limits',
	'semaphores', map { "file $_" } @files)
{
	like($control, qr/\Q$what\E/, "without a drill it reaches $what");
}
# Not every file system supports attributes.
diag('the file system has no attributes') unless $control =~ /attributes/;
unlink "$secrets/left";
make_prey();
$node->safe_psql('postgres', 'TRUNCATE said');

my $socket = $node->host . '/.s.PGSQL.' . $node->port;
$node->safe_psql('postgres', <<SQL);
CREATE FUNCTION lead_astray() RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
	COPY (SELECT) TO PROGRAM 'ln -sf $socket ../socket/.s.PGSQL.5432; mv ../socket ../moved; mkdir ../socket; ln -s $socket ../socket/.s.PGSQL.5432';
	RETURN 'done';
END\$\$;
SQL

# Commands in the settings of a restored cluster are not run either.
my %commands = (
	map({ $_ => "touch ran-$_" } qw(archive_command restore_command archive_cleanup_command
		  recovery_end_command ssl_passphrase_command)),
	session_preload_libraries => 'no-such-library');
$node->safe_psql('postgres', "ALTER SYSTEM SET $_ = '$commands{$_}'") foreach keys %commands;
# The drill prints this name in a command that a person may paste into a shell.
my $odd_name = qq{host=/nowhere x'; touch pasted #\e[2J};
$node->safe_psql('postgres', sprintf 'CREATE DATABASE "%s"', $odd_name =~ s/"/""/gr);
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->safe_psql('postgres', 'CREATE TABLE later AS SELECT 1 AS a');
$node->archive_wal;

# --- the drill ------------------------------------------------------------------------------------

my @around;

sub drill
{
	my ($test, $code, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @command = (@around, $ENV{VEZACTL} // 'vezactl', '--config', $node->conf, '--output', 'json', 'drill',
		'--directory', $base, '--no-record', @options);
	my ($out, $err) = ('', '');
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err);
	print "# @command\n$out$err";
	is($? >> 8, $code, "$test: exit code") or diag($out . $err);
	return ($out =~ /^\{/ ? decode_json($out) : {}, $err);
}

my @checks = (
	'--check', 'SELECT reached()',
	'--check', 'SELECT count(*) FROM later', '--min', 1,
	'--check', q{SELECT NOT EXISTS (SELECT FROM pg_ls_dir('.') AS f WHERE f ~ '^ran')},
	'--check', q{SELECT setting = 'mmap' FROM pg_settings WHERE name = 'dynamic_shared_memory_type'});
my ($result) = drill('a hostile cluster', 0, '--check-role', 'postgres', '--amcheck', '--dump', '--jobs', 2, @checks);
my ($said) = grep { $_->{name} eq 'SELECT reached()' } @{ $result->{checks} };
my $expected = 'reached: ' . ($landlock >= 6 ? '' : 'signals');
is($said->{detail}, $expected, 'the code reaches nothing');
ok(!-e "$secrets/left", 'the code leaves nothing behind');
is(slurp_file($prey), 'prey', 'the code truncates no file');
is((stat $prey)[2] & 07777, 0600, 'the code changes no permissions');
is_deeply([ glob '/dev/shm/veza-probe*' ], [], 'nothing is left in /dev/shm');

# The code cannot redirect the drill's own statements to another server.
($result) = drill('a link in the place of the socket', 0, '--check-role', 'postgres', '--check', 'SELECT lead_astray()',
	'--check', q{SELECT current_setting('cluster_name') = 'veza_backup drill'});

# A file that a check needs can be named with --readable.
($result) = drill('--readable', 0, '--check-role', 'postgres', '--readable', $passphrase, @checks[ 0, 1 ]);
($said) = grep { $_->{name} eq 'SELECT reached()' } @{ $result->{checks} };
like($said->{detail}, qr/^reached: file \Q$passphrase\E/, 'a file that was named');

# A library that the drill may not read is not a fault of the backup.
my $library = "$secrets/library";
append_to_file($library, 'none');
my ($unreadable) = drill('a library that is preloaded', 2, '--preload', $library);
like($unreadable->{error}{message}, qr/Permission denied/, 'the message names the library that may not be read');
like($unreadable->{error}{hint}, qr/--readable/, 'the hint');

# A server that is kept is confined in the same way.
($result) = drill('--keep', 0, '--keep');
$said = `$result->{connect} -AtXc 'SELECT reached()'`;
chomp $said;
is($said, $expected, 'a server that was kept reaches nothing');
# The code cannot mislead the person who connects either. psql may end before the server has sent
# everything.
system(qq{$result->{connect} -qc 'SELECT lead_astray()' >/dev/null 2>&1});
is(`$result->{connect} -AtXc 'SHOW cluster_name'`, "veza_backup drill\n", 'the code cannot replace the socket of its server');
# The code can write in the server's own directory. It can therefore write the pid of the production
# server there.
my $pid_file = "$result->{directory}/data/postmaster.pid";
my ($kept) = split /\n/, slurp_file($pid_file);
is(system(qq{$result->{connect} -qc "COPY (SELECT '$postmaster') TO '$pid_file'"}), 0, 'it writes a wrong pid');
is(system("$result->{stop} >/dev/null"), 0, 'the server can still be stopped');
ok(!kill(0, $kept), 'it has ended');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the production server still runs');
is(slurp_file($node->data_dir . '/postmaster.pid') =~ /^$postmaster\n/, 1, 'the production server was not restarted');
isnt(system("$result->{stop} >/dev/null 2>&1"), 0, 'stopping a server that has ended does nothing');
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $result->{directory});

# Without seccomp filters no drill takes place.
@around = ('python3', "$FindBin::RealBin/../support/without_seccomp.py");
my ($error) = drill('without seccomp', 2);
like($error->{error}{message}, qr/could not keep the restored server from the network: .*seccomp/, 'says why');
like($error->{error}{hint}, qr/--allow-unconfined/, 'the hint says what to do');
($result, my $err) = drill('--allow-unconfined', 0, '--allow-unconfined', '--check-role', 'postgres', @checks[ 0, 1 ]);
($said) = grep { $_->{name} eq 'SELECT reached()' } @{ $result->{checks} };
like($said->{detail}, qr/UDP.*the socket of a server/, 'with --allow-unconfined the code reaches the network');
unlike($said->{detail}, qr/file|the environment/, 'with --allow-unconfined the code still reaches no files');
like($err, qr/warning: could not keep the restored server from the network/, 'warns');

# A name from the backup appears in a command for a person.
@around = ();
$node->archive_wal;
my $segment = $node->safe_psql('postgres', <<'SQL');
UPDATE pg_database SET datallowconn = false WHERE datname IN ('postgres', 'template1') RETURNING pg_walfile_name(pg_current_wal_lsn());
SELECT pg_switch_wal();
SQL
$node->wait_for_archived((split /\n/, $segment)[0]);
($result) = drill('the name of a database', 0, '--keep');
unlike($result->{connect}, qr/[^ -~]/, 'a command has no control characters');
is(`$result->{connect} -AtXc 'SELECT current_database()'`, "$odd_name\n", 'the command connects to the database');
ok(!-e 'pasted', 'the command does nothing else');
is(system("$result->{stop} >/dev/null"), 0, 'that server can be stopped');
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $result->{directory});

close $listener;
done_testing();
