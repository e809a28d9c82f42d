# Wrong settings at server start. The server starts nevertheless, with the defaults. A default may
# mean the opposite of what was intended, so nothing is done until the settings are right.

use strict;
use warnings;
use Fcntl qw(O_NONBLOCK O_WRONLY);
use FindBin;
use POSIX qw(mkfifo);
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'it is about settings: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
my $passphrase = $node->basedir . '/passphrase';
my $as_started = qr/a setting was invalid when the server was started/;

# A template of a configuration management tool leaves such a value. With a repository in a
# directory, no passphrase means no encryption.
write_passphrase('CHANGEME-CHANGEME-CHANGEME');

sub write_passphrase
{
	my ($text) = @_;
	open my $out, '>', $passphrase or die "could not write $passphrase: $!";
	print $out "$text\n";
	close $out;
	chmod 0600, $passphrase;
	return;
}

# Tests that nothing is stored, and that every call says why.
sub is_refused
{
	my ($why, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/(?:$as_started: )?$why\n.*reload/, $test);
	like($node->safe_psql('postgres',
			q{SELECT passed, detail FROM veza_backup_check() WHERE name = 'settings'}),
		qr/^f\|.*$why/, "$test: check");
	return;
}

# --- no passphrase --------------------------------------------------------------------------------

$node->init(
	settings => {
		cipher => undef,
		cipher_passphrase => undef,
		cipher_passphrase_file => $passphrase
	});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->sql_fails('SELECT veza_backup_init()', qr/cipher_passphrase_file": it is a placeholder/,
	'no repository without encryption');
is_refused(qr/"veza_backup\.cipher_passphrase_file": it is a placeholder/, 'a wrong passphrase');
my $segment = $node->safe_psql('postgres',
	q{SELECT pg_walfile_name(pg_logical_emit_message(false, 'veza', 'fill'))});
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
poll_until(
	sub { slurp_file($node->logfile) =~ /could not archive .*\n?.*it is a placeholder/ ? 1 : 0 },
	'the archiver to say so');
is($node->archive_status($segment), 'ready', 'WAL waits');
is(join(' ', objects('')), '', 'nothing is stored');

# A reload with the same file changes nothing. A reload with a right one does.
$node->apply_conf;
is_refused(qr/"veza_backup\.cipher_passphrase_file": it is a placeholder/, 'still wrong');
write_passphrase('correct horse battery staple');
$node->apply_conf;
ok($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), 'repaired by a reload');
like(join(' ', objects('main/')), qr{main/key/}, 'the repository is encrypted');

# --- wrong numbers and unknown names ----------------------------------------------------------------

# The default would remove backups that were meant to stay.
$node->change_conf(retention_full => 'many');
$node->restart;
$node->sql_fails('SELECT * FROM veza_backup_expire()', qr/$as_started: .*"veza_backup\.retention_full"/,
	'a wrong number');
$node->apply_conf(retention_full => undef, retention_diff => '3');
$node->sql_fails('SELECT * FROM veza_backup_expire()', qr/$as_started: .*"veza_backup\.retention_full"/,
	'a wrong number that was removed: the server does not report that');
$node->apply_conf(retention_full => '9');
ok($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM veza_backup_expire()'), 'a right number');

$node->change_conf(cipher_pasphrase_file => $passphrase);
$node->restart;
is_refused(qr/unknown setting "veza_backup\.cipher_pasphrase_file" in the configuration/, 'a mistyped name');
# A reload because of another setting does not repair it.
$node->apply_conf(retention_diff => '4');
is_refused(qr/unknown setting "veza_backup\.cipher_pasphrase_file" in the configuration/, 'a name that is still mistyped');
$node->apply_conf(cipher_pasphrase_file => undef);
ok($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), 'without the mistyped name');

# --- mistyped in a reload ---------------------------------------------------------------------------

# The default is in force then, and an expiry would use it.
$node->apply_conf(retention_full => undef, retention_ful => '9');
is($node->safe_psql('postgres', 'SHOW veza_backup.retention_full'), '4', 'the default is in force');
$node->sql_fails('SELECT * FROM veza_backup_expire()',
	qr/unknown setting "veza_backup\.retention_ful" in the configuration/, 'nothing is removed');
is_refused(qr/unknown setting "veza_backup\.retention_ful" in the configuration/, 'mistyped in a reload');
$node->apply_conf(retention_full => '9', retention_ful => undef);
ok($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM veza_backup_expire()'), 'a right name');

# --- no reload ------------------------------------------------------------------------------------

# A parallel worker receives all settings from its leader. It must not read a file, because every
# parallel query would pay for that.
my $conf = $node->data_dir . '/postgresql.conf';
$node->safe_psql('postgres', 'CREATE TABLE p WITH (parallel_workers = 1) AS SELECT generate_series(1, 1000)');
rename $conf, "$conf.away" or die "rename: $!";
mkfifo($conf, 0600) or die "mkfifo: $!";
my ($failed, $out) = $node->psql('postgres', <<'SQL', timeout => 20, timed_out => \my $hung);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM p;
SQL
sysopen my $release, $conf, O_WRONLY | O_NONBLOCK;    # a process that reads it continues
unlink $conf;
rename "$conf.away", $conf or die "rename: $!";
ok(!$hung && !$failed, 'a parallel worker reads no configuration file');
like($out, qr/Workers Launched: 1/, 'there was one');

# --- the place of the repository --------------------------------------------------------------------

$node->change_conf(repository => 'backups');
$node->restart;
is_refused(qr/invalid value for "veza_backup\.repository": .*/, 'an invalid path does not count as "not set"');
$node->apply_conf(repository => repository());
ok($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), 'a right path');

done_testing;
