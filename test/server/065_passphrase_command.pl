# A command tells the passphrase: archiving, a backup, vezactl, a restore and its recovery work with it.
# It runs once for a process. It is no way to a shell for lesser roles, and no way to keep a server
# from shutting down.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use Time::HiRes qw(time);
use VezaTest;

my $directory = PostgreSQL::Test::Utils::tempdir('vault');
my ($vault, $runs) = ("$directory/passphrase", "$directory/runs");
my $passphrase = 'correct horse battery staple';
append_to_file($vault, "$passphrase\n");
append_to_file($runs, '');
my $command = "echo \$PPID >>'$runs'; cat '$vault'";

sub runs_of
{
	my ($pid) = @_;
	return scalar grep { $_ eq $pid } split /\n/, slurp_file($runs);
}

my $node = VezaTest->new('primary');
$node->init(settings => { cipher_passphrase => undef, cipher_passphrase_command => $command });
$node->append_conf('postgresql.conf', 'archive_timeout = 60');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t AS SELECT 1 AS id');

# --- everything works -------------------------------------------------------------------------------

$node->archive_wal for 1 .. 3;
is(runs_of($node->archiver_pid), 1, 'the archiver has run the command once, for three segments');
like($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), qr/^\d{8}-\d{6}F$/, 'a backup');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
$node->archive_wal;
like($node->vezactl_ok(['info']), qr/aes-256-gcm/, 'vezactl info');
my $copy = $node->restore('copy');
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), '2', 'restore and recovery');
$copy->stop;
my $calls = $node->safe_psql('postgres', <<'SQL');
SELECT pg_backend_pid();
SELECT count(*) > 0 FROM veza_backup_info();
SELECT count(*) > 0 FROM veza_backup_info();
SELECT bool_and(passed) FROM veza_backup_check();
SQL
like($calls, qr/^\d+\nt\nt\nt$/, 'SQL functions');
my ($backend) = $calls =~ /^(\d+)/;
is(runs_of($backend), 1, 'a session has run the command once');
foreach my $name (grep { !m{/pack/|/wal/} } objects('main/'))
{
	unlike(read_object($name), qr/\Q$passphrase\E/, "no passphrase in $name");
}

# --- who sees it, and who sets it -------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE outsider LOGIN');
is($node->safe_psql('postgres', 'SHOW veza_backup.cipher_passphrase_command'), $command, 'a superuser sees it');
my %refused = (
	'SHOW veza_backup.cipher_passphrase_command' => qr/must be superuser|permission denied to examine/,
	q{SET veza_backup.cipher_passphrase_command = 'id'} => qr/cannot be changed now/,
	q{ALTER SYSTEM SET veza_backup.cipher_passphrase_command = 'id'} => qr/permission denied/,
	q{ALTER ROLE outsider SET veza_backup.cipher_passphrase_command = 'id'} => qr/cannot be changed now|permission denied/);
foreach my $sql (sort keys %refused)
{
	my ($exit, undef, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', 'outsider' ]);
	isnt($exit, 0, "refused: $sql");
	like($err, $refused{$sql}, 'and says why');
}

# --- it fails ---------------------------------------------------------------------------------------

rename $vault, "$vault.away" or die "could not rename $vault: $!";
$node->vezactl_fails(['info'], 2,
	qr/the command of "veza_backup\.cipher_passphrase_command" failed with exit code 1: cat: .*No such file/,
	'a command that fails');
$node->archive_wal;
pass('the archiver needs it no more');
append_to_file($vault, "hunter2\n");
my (undef, undef, $short) = $node->vezactl('info');
like($short, qr/the passphrase has fewer than 16 characters/, 'what it prints is no passphrase');
unlike($short, qr/hunter2/, 'and is not shown');
unlink $vault;
append_to_file($vault, "incorrect donkey battery staple\n");
$node->vezactl_fails(['info'], 2, qr/the passphrase does not open repository/, 'another passphrase');
rename "$vault.away", $vault or die "could not rename $vault.away: $!";

# --- two sources, and a file that others can write --------------------------------------------------

my $position = -s $node->logfile;
$node->apply_conf(cipher_passphrase => $passphrase);
$node->vezactl_fails(['info'], 2, qr/"veza_backup\.cipher_passphrase_command" is set beside another passphrase/,
	'two sources');
$node->sql_fails('SELECT * FROM veza_backup_info()', qr/is set beside another passphrase/, 'two sources in the server');
$node->apply_conf(cipher_passphrase => undef);
chmod 0666, $node->conf;
$node->vezactl_fails(['info'], 2, qr/sets "veza_backup\.cipher_passphrase_command", but its group or others can write it/,
	'a file that others can write');
chmod 0600, $node->conf;
$node->vezactl_ok(['info']);

# --- a command that hangs ---------------------------------------------------------------------------

$node->stop;
$node->change_conf(cipher_passphrase_command => "echo \$\$ >'$directory/sleeper'; exec sleep 25");
$node->start;
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3); SELECT pg_switch_wal()');
VezaTest::poll_until(sub { -s "$directory/sleeper" }, 'the command');
my $begin = time;
$node->stop('fast');
cmp_ok(time - $begin, '<', 10, 'a fast shutdown does not wait for it');
my $sleeper = slurp_file("$directory/sleeper");
chomp $sleeper;
VezaTest::poll_until(sub { !kill 0, $sleeper }, 'the end of the command');
pass('the command ends with the server');

done_testing();
