# vezactl restore --databases: the named databases are restored. The others become files of zeros,
# over which WAL is replayed, and the server drops them when recovery has ended.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Encode qw(decode_utf8);
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'it is about what a restore does with files: one store is enough' if store() ne 'dir';

my $odd = 'Odd "name", Ünï';
my $odd_in_json = decode_utf8($odd);
my $list = 'veza-empty-databases';
my $place = PostgreSQL::Test::Utils::tempdir('tablespace');
my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nwal_log_hints = off");
$node->start;

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

sub identifier { return '"' . $_[0] =~ s/"/""/gr . '"' }

sub fill
{
	my ($database, $rows) = @_;
	sql(<<SQL, $database);
CREATE TABLE t AS SELECT i, md5(i::text) AS h FROM generate_series(1, $rows) i;
CREATE INDEX ON t (i);
CREATE INDEX ON t USING hash (h);
CREATE UNLOGGED TABLE u AS SELECT 1;
SQL
	return;
}

sql('CREATE EXTENSION veza_backup');
sql("CREATE TABLESPACE place LOCATION '$place'");
my @all = ('app', 'log', 'mould', 'again', 'moved', 'spaced', $odd);
foreach my $database (@all)
{
	sql('CREATE DATABASE ' . identifier($database)
		  . ($database eq 'spaced' ? ' TABLESPACE place' : $database eq 'mould' ? ' IS_TEMPLATE true' : ''));
	fill($database, $database eq 'log' ? 150_000 : 3000);
}
my %oid = map { $_ => sql('SELECT oid FROM pg_database WHERE datname = $$' . $_ . '$$') } @all;
sql('CHECKPOINT');
my $full = sql(q{SELECT veza_backup_now('full')});

# Writes WAL in every database: page changes with full-page images and, without checksums and
# wal_log_hints, also references to pages without an image, which VACUUM writes.
sub write_everywhere
{
	foreach my $database (@_)
	{
		sql($_, $database) foreach (
			q{UPDATE t SET h = 'changed' WHERE i <= 3000 AND i % 100 = 0},
			'INSERT INTO t SELECT i, md5(i::text) FROM generate_series(200001, 201000) i',
			'DELETE FROM t WHERE i BETWEEN 500 AND 900', 'VACUUM t', 'CREATE TABLE more AS SELECT * FROM t');
	}
	return;
}

sub content_of
{
	my ($on, $database) = @_;
	return $on->safe_psql($database, 'SELECT count(*), sum(i), md5(string_agg(h, NULL ORDER BY i)) FROM t');
}

write_everywhere(grep { $_ ne 'mould' } @all);
sql('ALTER DATABASE log RENAME TO log_new');
my %early = map { $_ => content_of($node, $_) } 'app', 'spaced', $odd;
sql(q{SELECT pg_create_restore_point('early')});
$node->archive_wal;

sql('CREATE DATABASE subscribed');
sql(<<'SQL', 'subscribed');
CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
SQL
my $diff = sql(q{SELECT veza_backup_now('diff')});
like($diff, qr/D$/, 'there is a diff');

sql('DROP TABLE more', $_) foreach 'app', 'log_new', 'spaced', 'moved', $odd;
write_everywhere('app', 'log_new', 'spaced', 'moved', $odd);
sql('ALTER DATABASE moved SET TABLESPACE place');
sql('DROP DATABASE again');
sql("CREATE DATABASE again OID $oid{again}");
fill('again', 100);
sql('CREATE DATABASE late');
fill('late', 100);
sql('CREATE DATABASE copied TEMPLATE mould STRATEGY file_copy');
my %late = map { $_ => content_of($node, $_) } 'app', 'again', 'late', $odd;
sql(q{SELECT pg_create_restore_point('late')});
$node->archive_wal;

# --- refusals -------------------------------------------------------------------------------------

my $nowhere = $node->basedir . '/nowhere';
my @into_nowhere = ('restore', '--target-dir', $nowhere, '--tablespace-map', "$place=$nowhere-space");
$node->vezactl_fails([ @into_nowhere, '--databases', 'app,App' ],
	2, qr/has no database "App".*HINT:  Its databases are .*"app"/s, 'a name that does not exist');
$node->vezactl_fails([ @into_nowhere, '--databases', 'app', '--standby' ],
	2, qr/a standby needs all databases.*HINT: /s, 'a standby');
$node->vezactl_fails([ @into_nowhere, '--databases', 'app', '--delta' ],
	2, qr/would empty the others.*HINT: /s, 'a delta');
$node->vezactl_fails([ 'drill', '--databases', 'app' ], 2, qr/--databases/, 'a drill');

my $dry = $node->vezactl_ok(
	[ @into_nowhere, '--databases', "app,$oid{spaced}", '--databases', $odd, '--dry-run' ], 'a dry run');
like($dry, qr/^databases .*"app" \(.*"spaced" \(.*^left empty +"again" \(.*"log_new" \(/ms, 'says what is empty');
like($dry, qr/ignore_invalid_pages = 'on'/, 'the dry run shows the settings');
my $dry_json = decode_json($node->vezactl_ok(
	[ '--output', 'json', @into_nowhere, '--databases', 'postgres', '--dry-run' ], 'a dry run with JSON output'));
cmp_ok($dry_json->{bytes}, '<', 30_000_000, 'it has the number of bytes to restore');
is(scalar @{ $dry_json->{databases}{empty} }, 8, 'it has the empty databases');
ok(!-e $nowhere, 'nothing was written');

# --- a diff, to a point in time -------------------------------------------------------------------

sub restore_json
{
	my ($name, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $copy = VezaTest->new($name);
	my $space = PostgreSQL::Test::Utils::tempdir('tablespace');
	my ($exit, $out, $err) = $node->vezactl('--output', 'json', 'restore', '--target-dir', $copy->data_dir,
		'--tablespace-map', "$place=$space", @arguments);

	is($exit, 0, "restore @arguments") or diag($err);
	$copy->adopt($node);
	return ($copy, decode_json($out));
}

sub databases
{
	my ($on) = @_;
	return $on->safe_psql('postgres', q{SELECT string_agg(datname, '|' ORDER BY datname COLLATE "C")
		FROM pg_database WHERE datname !~ '^template'});
}

# Waits for the message that the worker writes after it has tried to drop every database.
sub wait_until_dropped
{
	my ($on, $what) = @_;
	return poll_until(sub { slurp_file($on->logfile) =~ $what }, "the log to match $what");
}

my @late = ('--backup', $diff, '--target-name', 'late', '--target-action', 'promote');
my ($whole, $whole_report) = restore_json('whole', @late);
my ($copy, $report) = restore_json('copy', @late, '--databases', 'app', '--databases', $odd);
cmp_ok($report->{bytes_fetched}, '<', $whole_report->{bytes_fetched} * 0.75, 'less was fetched');
cmp_ok($report->{bytes}, '<', $whole_report->{bytes} * 0.75, 'less was written');
is_deeply(
	[ sort map { $_->{name} } @{ $report->{databases}{empty} } ],
	[qw(again log_new mould moved spaced subscribed)],
	'what is empty');
is_deeply(
	[ sort map { $_->{name} } @{ $report->{databases}{restored} } ],
	[ sort $odd_in_json, qw(app postgres template0 template1) ],
	'what is restored');
ok(!exists $whole_report->{databases}, 'a full restore does not say what is restored');
my ($log) = grep { $_->{name} eq 'log_new' } @{ $report->{databases}{empty} };
cmp_ok($log->{bytes}, '>', 10_000_000, 'the size of what is restored');
$whole->clean_node;

ok(-e $copy->data_dir . "/$list", 'the server finds the list');
$copy->start;
$copy->wait_for_end_of_recovery;
wait_until_dropped($copy, qr/could not drop database "subscribed"/);
is(databases($copy), join('|', sort $odd, qw(again app copied late postgres subscribed)),
	'the empty databases are dropped, except for one with a subscription');
is(content_of($copy, $_), $late{$_}, "$_ is whole") foreach sort keys %late;
my $said = slurp_file($copy->logfile);
like($said, qr/LOG:  dropped database "$_", which the restore has left empty/, "$_: said so")
  foreach qw(log_new moved mould spaced);
like($said, qr/LOG:  database "again" is not dropped: it is not the one that was left empty/,
	'a database that was created again with the same oid and name stays');
like($said, qr/WARNING:  could not drop database "subscribed".*HINT:  .*subdbid = \d+/s, 'the log says why one database is left');
ok(-e $copy->data_dir . "/$list", 'the list stays while a database is left');

# This database was copied from an empty template. It consists of zeros, and nobody can connect to
# it.
like($copy->connection_error('copied'), qr/FATAL:  "base\/\d+" is not a valid data directory/, 'an empty copy cannot be connected to');

$copy->safe_psql('postgres', 'DELETE FROM pg_subscription');
$copy->restart;
wait_until_dropped($copy, qr/LOG:  dropped database "subscribed"/);
poll_until(sub { !-e $copy->data_dir . "/$list" }, 'the removal of the list');
unlike(slurp_file($copy->data_dir . '/postgresql.auto.conf'), qr/ignore_invalid_pages/, 'ignore_invalid_pages is off again');
is(content_of($copy, 'again'), $late{again}, 'the database that was created again is still there');
$copy->restart;
is($copy->safe_psql('postgres', 'SHOW ignore_invalid_pages'), 'off', 'ignore_invalid_pages stays off after a restart');
is(content_of($copy, $odd), $late{$odd}, 'the restored database is still there');
$copy->stop;
$copy->clean_node;

# --- a full backup, checked while recovery is paused ----------------------------------------------

($copy) = restore_json('paused', '--backup', $full, '--target-name', 'early', '--databases', 'spaced,app');
$copy->append_conf('postgresql.conf', "max_connections = 100\nhot_standby = on");
$copy->start;
$copy->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'});
like($copy->connection_error($odd), qr/FATAL:  .* is not a valid data directory/, 'no connection to an empty database');
is(content_of($copy, 'app'), $early{app}, 'connections to the other databases succeed');
if ($node->safe_psql('postgres', 'SHOW data_checksums') eq 'off')
{
	like(slurp_file($copy->logfile), qr{WARNING:  page \d+ of relation base/$oid{log}/\d+ is uninitialized},
		'invalid pages of an empty database do not end recovery');
}
unlike(slurp_file($copy->logfile), qr{relation base/(?!$oid{log}/)\d+/\d+ is uninitialized}, 'other databases have no invalid pages');
like(databases($copy), qr/log_new\|mould\|moved/, 'nothing is dropped yet');
$copy->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$copy->wait_for_end_of_recovery;
wait_until_dropped($copy, qr/database "log_new", which the restore has left empty, is not dropped: its name in the backup is "log"/);
poll_until(sub { databases($copy) eq 'app|log_new|postgres|spaced' }, 'the others to be dropped');
is(content_of($copy, $_), $early{$_}, "$_ is whole") foreach qw(app spaced);
$copy->safe_psql('postgres', 'DROP DATABASE log_new WITH (FORCE)');
$copy->restart;
poll_until(sub { !-e $copy->data_dir . "/$list" }, 'the removal of the list');
$copy->stop;
$copy->clean_node;

# --- without the extension ------------------------------------------------------------------------

my $bare = VezaTest->new('bare');
my $text = $node->vezactl_ok([ 'restore', '--target-dir', $bare->data_dir, '--tablespace-map',
		"$place=" . PostgreSQL::Test::Utils::tempdir('tablespace'), '--backup', $full,
		'--target-immediate', '--target-action', 'promote', '--databases', 'app,mould' ]);
my @commands = $text =~ /^    (DROP DATABASE .*;)$/mg;
is(scalar @commands, 5, 'the commands for the others are printed');
$bare->adopt($node);
$bare->append_conf('postgresql.conf', "shared_preload_libraries = ''\narchive_library = ''");
$bare->start;
$bare->wait_for_end_of_recovery;
$bare->safe_psql('postgres', $_) foreach @commands;
is(databases($bare), 'app|mould|postgres', 'the printed commands work');
$bare->stop;
$bare->clean_node;

# The list was put there by somebody else, or came with another cluster.
my $foreign = slurp_file($node->data_dir . '/PG_VERSION');
my $path = $node->data_dir . "/$list";
foreach my $content ($foreign, qq({"written_by": "vezactl restore --databases", "system_identifier": "1",
	"backup": "x", "databases": [{"oid": $oid{app}, "name": "app"}]}))
{
	my $seen = -s $node->logfile;
	PostgreSQL::Test::Utils::append_to_file($path, $content);
	$node->restart;
	poll_until(sub { slurp_file($node->logfile, $seen) =~ /WARNING:  no databases are dropped: .*HINT:  Remove/s },
		'the warning');
	unlink $path;
}
# The list is right, except that one of its databases is intact. The worker must connect to
# template1 here.
my $id = sql('SELECT system_identifier FROM pg_control_system()');
my $seen = -s $node->logfile;
sql('ALTER DATABASE postgres RENAME TO other', 'app');
PostgreSQL::Test::Utils::append_to_file($path, <<JSON);
{"written_by": "vezactl restore --databases", "system_identifier": "$id", "backup": "x",
 "databases": [{"oid": $oid{app}, "name": "app"}]}
JSON
$node->restart;
poll_until(sub { !-e $path }, 'the removal of the list');
sql('ALTER DATABASE other RENAME TO postgres', 'app');
like(slurp_file($node->logfile, $seen), qr/database "app" is not dropped/, 'an intact database is not dropped');
is(content_of($node, 'app'), $late{app}, 'the intact database is unchanged');

# --- a server whose WAL lacks full-page images ----------------------------------------------------

sql('ALTER SYSTEM SET full_page_writes = off');
$node->reload;
$node->poll_query_until('postgres', q{SELECT setting = 'off' FROM pg_settings WHERE name = 'full_page_writes'});
sql(q{SELECT veza_backup_now('full')});
$node->vezactl_fails([ @into_nowhere, '--databases', 'app' ],
	2, qr/full_page_writes = off.*HINT: /s, 'without full_page_writes');

done_testing();
