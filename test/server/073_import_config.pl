# A cluster that pgBackRest backs up moves to veza_backup, in the order of docs/coming-from-pgbackrest.md:
# its configuration is imported, veza_backup takes over with what was printed, and what was written
# under either tool comes back. pgBackRest's repository stays as it was.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'pgbackrest is not installed' if system('pgbackrest version >/dev/null 2>&1') != 0;

my $directory = PostgreSQL::Test::Utils::tempdir('pgbackrest');
my ($passphrase, $secrets, $old) =
  ('correct horse battery staple', "$directory/secrets", "$directory/pgbackrest.conf");
mkdir $secrets, 0700 or die "could not make $secrets: $!";

my $node = VezaTest->new('primary');
$node->init(settings => { repository => '', cipher => undef, cipher_passphrase => undef });

append_to_file($old, <<CONF);
[global]
repo1-path=$directory/pgbackrest
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=$passphrase
repo1-retention-full=2
lock-path=$directory/lock
spool-path=$directory/spool
log-level-file=off
start-fast=y

[global:archive-push]
compress-level=3
CONF
mkdir "$directory/conf.d" or die "could not make conf.d: $!";
append_to_file("$directory/conf.d/veza.conf", <<CONF);
[veza]
pg1-path=@{[ $node->data_dir ]}
pg1-port=@{[ $node->port ]}
pg1-socket-path=@{[ $node->host ]}
CONF

my @pgbackrest = ('pgbackrest', "--config=$old", "--config-include-path=$directory/conf.d", '--stanza=veza');

sub pgbackrest_ok
{
	my ($what, @options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ @pgbackrest, @options, $what ], '>', \$out, '2>', \$err);
	is($?, 0, "pgbackrest $what") or diag("$out$err");
	return $out;
}

# --- the cluster as it was --------------------------------------------------------------------------

$node->append_conf('postgresql.conf', "archive_timeout = 60\narchive_library = ''\narchive_command = '@pgbackrest archive-push %p'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t AS SELECT 1 AS id');
pgbackrest_ok('stanza-create');
pgbackrest_ok('backup', '--type=full');

# --- its configuration ------------------------------------------------------------------------------

my ($exit, $out, $err) = $node->vezactl('import-config', $old);
is($exit, 1, 'something is left to decide');
like($err, qr/^vezactl: warning: \d of the old lines need a decision$/m, 'and said');
unlike($out, qr/\Q$passphrase\E/, 'no secret is printed');
is_deeply([ glob "$secrets/*" ], [], 'or copied');

my @import = ('import-config', '--secrets-dir', $secrets, $old);
($exit, $out, $err) = $node->vezactl(@import);
is($exit, 1, 'with secrets');
is(slurp_file("$secrets/cipher_passphrase"), "$passphrase\n", 'the passphrase is in a file');
is((stat "$secrets/cipher_passphrase")[2] & 07777, 0600, 'which nobody else can read');
like($out, qr/^# \Q$old\E line 2: \[global\] repo1-path=.*\n(?:#   .*\n)+veza_backup\.repository = '\Q$directory\E\/veza_backup'$/m,
	'a repository beside the old one');
my @to_do = $out =~ /^#   TO DO: (\S+ \S+)/mg;
is_deeply(\@to_do, [ 'A directory', 'As long' ], 'the place and the schedules are left to decide');
is(($node->vezactl(@import))[1], $out, 'a second time it prints the same');
unlike(($node->vezactl('--output', 'json', @import))[1], qr/\Q$passphrase\E/, 'nor in JSON');

append_to_file("$secrets/other", "something else\n");
rename "$secrets/other", "$secrets/cipher_passphrase" or die "could not rename: $!";
chmod 0600, "$secrets/cipher_passphrase";
$node->vezactl_fails([@import], 2, qr/cipher_passphrase" holds another secret/, 'a file with another secret');
is(slurp_file("$secrets/cipher_passphrase"), "something else\n", 'is left alone');
unlink "$secrets/cipher_passphrase";

# As the documents say it: into a new file, which nobody else can read.
my $page = slurp_file("$FindBin::RealBin/../../docs/coming-from-pgbackrest.md");
my ($commands) = $page =~ /^```\n(umask .*?)^```/ms or die 'no commands in the documents';
$commands =~ s{/etc/veza_backup/secrets}{$secrets}g;
$commands =~ s{/etc/pgbackrest/pgbackrest.conf}{$old};
$commands =~ s{^vezactl}{$ENV{VEZACTL} // "vezactl"}me;
$commands =~ s{/etc/veza_backup$}{$directory}m;
rmdir $secrets or die "could not remove $secrets: $!";
append_to_file("$directory/documented.sh", $commands);
$node->command_ok([ 'bash', "$directory/documented.sh" ], 'the commands of the documents');
is(slurp_file("$directory/veza_backup.conf"), $out, 'print the same into a file');
is((stat "$directory/veza_backup.conf")[2] & 07777, 0600, 'which nobody else can read');
is((stat $secrets)[2] & 07777, 0700, 'beside a directory for the secrets');
chmod 0770, $secrets;
$node->vezactl_fails([@import], 2, qr/others may write in directory/, 'a directory of others');
chmod 0700, $secrets;

# --- WAL-G's settings -------------------------------------------------------------------------------

append_to_file("$directory/wal-g.env", "export WALG_FILE_PREFIX=$directory/wal-g/prod\nWALG_LIBSODIUM_KEY='$passphrase'\n");
($exit, $out, $err) = $node->vezactl('import-config', '--wal-g', "$directory/wal-g.env");
is($exit, 1, 'from a file');
like($out, qr/^veza_backup\.repository = '\Q$directory\E\/wal-g\/veza_backup'$/m, 'WAL-G: the repository');
unlike($out, qr/\Q$passphrase\E/, 'WAL-G: no secret is printed');
$node->vezactl_fails([ 'import-config', '--wal-g', '--repo', '1' ], 2, qr/excludes/, "an option of pgBackRest's");
{
	local $ENV{WALG_S3_PREFIX} = 's3://bucket/wal-g/prod';
	like(($node->vezactl('import-config', '--wal-g'))[1], qr/^veza_backup\.cluster = 'prod'$/m, 'from the environment');
}

# --- veza_backup takes over -------------------------------------------------------------------------

rename "$directory/veza_backup.conf", $node->conf or die "could not rename: $!";
$node->append_conf('postgresql.conf', "archive_command = ''\narchive_library = 'veza_backup'");
$node->reload;
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
$node->archive_wal;
my %settings = map { $_ => $node->safe_psql('postgres', "SHOW veza_backup.$_") }
  qw(cluster cipher retention_full retention_archive jobs schedule_full);
is_deeply(
	\%settings,
	{
		cluster => 'veza', cipher => 'aes-256-cbc', retention_full => '2', retention_archive => '2', jobs => '1',
		schedule_full => ''
	},
	'the server took what was printed');
is($node->safe_psql('postgres', q{SELECT string_agg(name, ' ') FROM veza_backup_check() WHERE passed = false AND name <> 'backups'}),
	'', 'veza_backup_check() is content');
like($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), qr/^\d{8}-\d{6}F$/, 'a full');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
$node->archive_wal;

my $copy = $node->restore('copy');
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), '3', 'what was written under both is there');
$copy->stop;

like(pgbackrest_ok('info'), qr/stanza: veza\s+status: ok/, "pgBackRest's repository is as it was");

done_testing();
