# How a diff detects changes when the LSNs of pages cannot be trusted: hint bits that are not
# logged, artificial LSNs of index builds, settings that were switched, and a data directory that
# was put back.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA qw(sha256_hex);
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

plan skip_all => 'it is about how changed files are found: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
# The cipher is none, so that the test can sign a document.
$node->init(settings => { cipher => 'none', cipher_passphrase => undef });
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
wal_log_hints = off
max_wal_size = 1GB
veza_backup.find_changes = contents
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');

my $copies = 0;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub back_up { return sql("SELECT veza_backup_now('$_[0]')") }

# The same by WAL, which needs no LSN.
sub back_up_by_wal
{
	sql(q{ALTER SYSTEM SET veza_backup.find_changes = 'wal'});
	sql('SELECT pg_reload_conf()');
	my $label = back_up('diff');
	is(summary($label)->{changes_by}, 'wal', 'a diff by WAL');
	sql('ALTER SYSTEM RESET veza_backup.find_changes');
	sql('SELECT pg_reload_conf()');
	return $label;
}

sub summary { return decode_json(read_object("main/backup/$_[0]/backup.json")) }

# Makes a table whose pages are on disk and were not read since.
sub new_table
{
	my ($name) = @_;
	sql("CREATE TABLE $name (id int PRIMARY KEY, v text)");
	sql("INSERT INTO $name SELECT n, 'x' FROM generate_series(1, 100000) n");
	sql('CHECKPOINT');
	return;
}

# Makes VACUUM change pages without changing their LSN, when hint bits are not logged.
sub vacuum
{
	my ($name) = @_;
	sql("VACUUM $name");
	sql('CHECKPOINT');
	return;
}

sub restored
{
	my ($label) = @_;
	my $copy = $node->restore('copy' . ++$copies, '--backup', $label, '--target-immediate',
		'--target-action', 'promote');
	$copy->start;
	$copy->wait_for_end_of_recovery;
	return $copy;
}

# Deletes half of the table. Afterwards an index-only scan and a sequential scan must find the same
# rows.
sub answers_are_right
{
	my ($copy, $table, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$copy->safe_psql('postgres', "DELETE FROM $table WHERE id <= 50000");
	is( $copy->safe_psql('postgres', <<SQL), "50000\n50000", "$test: both scans of $table agree");
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT count(*) FROM $table WHERE id > 0;
RESET enable_seqscan; SET enable_indexscan = off; SET enable_indexonlyscan = off;
SELECT count(*) FROM $table;
SQL
	return;
}

# --- hint bits are not logged ---------------------------------------------------------------------

new_table('t');
my $full = back_up('full');
vacuum('t');
my $diff = back_up('diff');
is(summary($diff)->{changes_by}, 'digest', 'without checksums and wal_log_hints contents are compared');
ok(!exists summary($full)->{changes_by}, 'a full has nothing to compare with');
like(
	PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/Changes are found by comparing with full backup "$full" in the repository: neither data checksums nor wal_log_hints are on/,
	'the log says why');
cmp_ok(summary($diff)->{stored_size}, '<', summary($full)->{stored_size} / 2, 'the backup is still a diff');
my $by_wal = back_up_by_wal();
my $copy = restored($diff);
answers_are_right($copy, 't', 'after VACUUM');
$copy->discard;
$copy = restored($by_wal);
answers_are_right($copy, 't', 'after VACUUM, by WAL');
$copy->discard;

# --- a diff of version 0.1 ------------------------------------------------------------------------

my $document = "main/backup/$diff/backup.json";
my $as_made = read_object($document);
my $old = decode_json($as_made);
delete @$old{qw(changes_by mac)};
$old->{mac} = sha256_hex("backup/$diff/backup.json\0" . JSON::PP->new->utf8->canonical->encode($old));
write_object($document, JSON::PP->new->utf8->canonical->encode($old));

my $suspicion = qr/diff "$diff" was made by version 0\.1 of a cluster without data checksums/;
my ($exit, $out, $err) = $node->vezactl('--output', 'json', 'info');
is($exit, 1, 'info: exit code');
my ($entry) = grep { $_->{label} eq $diff } @{ decode_json($out)->{backups} };
like($entry->{suspect}, $suspicion, 'info: JSON');
($exit, $out) = $node->vezactl('info');
like($out, qr/$suspicion.*vacuumdb --all --disable-page-skipping/s, 'info: text');
($exit, $out) = $node->vezactl('verify');
is($exit, 1, 'verify: exit code');
like($out, qr/^$diff +diff +not to be trusted\n.*$suspicion/sm, 'verify: text');
like(
	sql("SELECT status || ': ' || detail FROM veza_backup_info() WHERE label = '$diff'"),
	qr/^not to be trusted: $suspicion/,
	'veza_backup_info()');
($exit, $out, $err) = $node->vezactl('--quiet', 'restore', '--dry-run', '--target-dir',
	PostgreSQL::Test::Utils::tempdir() . '/data', '--backup', $diff);
like($err, $suspicion, 'restore warns, with --quiet, too');
my $base = PostgreSQL::Test::Utils::tempdir('drill');
($exit, $out, $err) =
  $node->vezactl('drill', '--allow-unconfined', '--no-record', '--directory', $base, '--backup', $diff);
like($err, $suspicion, 'the drill warns');
write_object($document, $as_made);
$node->vezactl_ok(['verify'], 'without the old diff there is no warning');

# --- hint bits are logged, but perhaps not since the full -----------------------------------------

new_table('u');
sql('CREATE TABLE points AS SELECT point(n % 1000, n / 1000) AS p FROM generate_series(0, 299999) n');
$node->append_conf('postgresql.conf', 'wal_log_hints = on');
$node->restart;
is(summary(back_up('diff'))->{changes_by}, 'digest', 'wal_log_hints may have been off since the full');

# An index is being built while the full backup copies it. In PostgreSQL 15 and 16 a sorted GiST
# build leaves zeros in block 0 until it ends, and the LSN 1 in all other blocks.
my $build = $node->start_sql('CREATE INDEX on_points ON points USING gist (p)');
my $directory = $node->data_dir . '/base/' . sql(q{SELECT oid FROM pg_database WHERE datname = 'postgres'});
my $builder = sql(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX on_points%'});
my $next_node = sql(q{SELECT max(relfilenode) FROM pg_class});
poll_until(
	sub {
		foreach my $file (glob "$directory/[0-9]*")
		{
			my ($number) = $file =~ m{/(\d+)$} or next;
			return 1 if $number > $next_node && (-s $file // 0) > 3 << 20;
		}
		return !kill 0, $builder;
	},
	'pages of the index');
# If the stopped session holds something that a checkpoint waits for, the backup would wait for
# ever.
foreach my $try (1 .. 20)
{
	kill 'STOP', $builder;
	my ($failed) = $node->psql('postgres', "SET statement_timeout = '2s'; CHECKPOINT");
	last if !$failed;
	kill 'CONT', $builder;
	sleep 0.005;
}
$full = back_up('full');
kill 'CONT', $builder;
is(($node->finish_sql($build))[0], 0, 'the index is built');
vacuum('u');
$diff = back_up('diff');
is(summary($diff)->{changes_by}, 'lsn', 'LSNs are used when the running server has made the full');
$by_wal = back_up_by_wal();
$copy = restored($diff);
answers_are_right($copy, 'u', 'with wal_log_hints');
(undef, $out, $err) = $copy->psql('postgres', <<'SQL');
SET enable_seqscan = off;
SELECT count(*) FROM points WHERE p <@ box '(0,0),(999,99)';
SQL
is("$out$err", '100000', 'the GiST index is whole');
$copy->discard;
$copy = restored($by_wal);
answers_are_right($copy, 'u', 'with wal_log_hints, by WAL');
$copy->discard;

$node->restart;
is(summary(back_up('diff'))->{changes_by}, 'digest', 'LSNs are not used after a restart');

# --- data checksums were off for a while, and WAL was reset ---------------------------------------

sub offline
{
	my ($between, @commands) = @_;
	foreach my $command (@commands)
	{
		$node->stop;
		$node->command_ok([ @$command, '-D', $node->data_dir ], "@$command");
		$node->start;
		$between->() if $between;
		undef $between;
	}
	return;
}

sql("ALTER SYSTEM SET wal_log_hints = off");
offline(undef, [ 'pg_checksums', '--enable' ]);
new_table('v');
$full = back_up('full');
is(summary(back_up('diff'))->{changes_by}, 'lsn', 'data checksums log hint bits, too');
offline(sub { vacuum('v') }, [ 'pg_checksums', '--disable' ], [ 'pg_checksums', '--enable' ]);
$diff = back_up('diff');
like($diff, qr/^${full}_/, 'a diff, because checksums are as they were');
is(summary($diff)->{changes_by}, 'digest', 'the diff compares contents');
$copy = restored($diff);
answers_are_right($copy, 'v', 'after a time without checksums');
$copy->stop;
$copy->command_ok([ 'pg_checksums', '--check', '-D', $copy->data_dir ], 'every page has its checksum');
$copy->clean_node;

$full = back_up('full');
new_table('w');
offline(undef, ['pg_resetwal']);
vacuum('w');
$diff = back_up('diff');
is(summary($diff)->{changes_by}, 'digest', 'LSNs are not used after pg_resetwal');
$node->append_conf('postgresql.conf', 'veza_backup.find_changes = wal');
$node->reload;
is(summary(back_up('diff'))->{changes_by}, 'digest', 'WAL is not used after pg_resetwal');
$copy = restored($diff);
answers_are_right($copy, 'w', 'after pg_resetwal');
$copy->discard;

# --- the data directory is put back ---------------------------------------------------------------

$node->stop;
my $snapshot = PostgreSQL::Test::Utils::tempdir('snapshot') . '/data';
IPC::Run::run([ 'cp', '-a', $node->data_dir, $snapshot ]) or die 'cp failed';
$node->start;
sql('CREATE TABLE lost AS SELECT n FROM generate_series(1, 100000) n');
my $lost = back_up('full');
$node->archive_wal foreach 1 .. 3;
$node->stop;
IPC::Run::run([ 'rm', '-rf', $node->data_dir ]);
IPC::Run::run([ 'cp', '-a', $snapshot, $node->data_dir ]) or die 'cp failed';
$node->start;
sql('CREATE TABLE instead AS SELECT n FROM generate_series(1, 100000) n');
my @before = grep { m{/backup\.json$} } objects('main/backup/');
foreach my $type (qw(diff full))
{
	$node->sql_fails(
		"SELECT veza_backup_now('$type')",
		qr/WAL file "\w+" is already in repository .* with different content/,
		"a $type backup that would use WAL of an abandoned past");
}
unlike(
	PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/comparing with full backup "$lost"/,
	'no diff refers to a backup of an abandoned past');
is_deeply([ grep { m{/backup\.json$} } objects('main/backup/') ], \@before, 'no backup was made');
$node->stop('immediate');

done_testing();
