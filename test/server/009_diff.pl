# Diff backups of a cluster that is changed at random in every way that treats files differently.
# Each backup is restored, with its WAL, to the moment after it, and must equal the source at that
# moment. Half of the backups are made with data checksums and half without; wal_log_hints,
# autovacuum, and restarts in between are chosen at random.
#
# VEZA_TEST_SEED repeats a run.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils ();
use Test::More;
use VezaTest;

my $seed = $ENV{VEZA_TEST_SEED} || int(rand(1 << 30));
srand $seed;
note "VEZA_TEST_SEED=$seed";

my $place = PostgreSQL::Test::Utils::tempdir('tablespace');
my $node = VezaTest->new('primary');
my @halves = map { +{ checksums => $_, hints => pick('on', 'off'), autovacuum => pick('on', 'off') } }
  rand() < 0.5 ? (1, 0) : (0, 1);
$node->init(extra => $halves[0]{checksums} ? ['--data-checksums'] : [], settings => { jobs => 3 });
$node->append_conf('postgresql.conf', <<'CONF');
allow_in_place_tablespaces = on
autovacuum_naptime = 1
full_page_writes = on
CONF
set_up($halves[0]);
$node->start;
$node->safe_psql('postgres', $_) foreach (
	'CREATE EXTENSION veza_backup', 'CREATE EXTENSION amcheck', 'CREATE EXTENSION pg_visibility',
	"CREATE TABLESPACE outside LOCATION '$place'", q{CREATE TABLESPACE inside LOCATION ''},
	'CREATE DATABASE load');
$node->command_ok([ 'pgbench', '--quiet', '-i', '-s', '1', 'load' ], 'pgbench -i');

# --- changes to the cluster -----------------------------------------------------------------------

my $tables = 0;
my $own_full = 0;    # whether the server has made the full since it was started
my @tables = map { new_table() } 1 .. 4;

sub set_up
{
	my ($half) = @_;
	note join ' ', map { "$_=$half->{$_}" } sort keys %$half;
	$node->append_conf('postgresql.conf',
		"wal_log_hints = $half->{hints}\nautovacuum = $half->{autovacuum}\n");
	return;
}

sub restart
{
	$node->restart;
	$own_full = 0;
	return;
}

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub pick { return $_[ rand @_ ] }

sub new_table
{
	my $name = 't' . ++$tables;
	my $unlogged = rand() < 0.2 ? 'UNLOGGED' : '';
	my $rows = int(rand(20_000));
	$node->safe_psql('postgres', <<SQL);
CREATE $unlogged TABLE $name (id int PRIMARY KEY, a int, b text);
INSERT INTO $name SELECT n, n % 97, repeat(md5(n::text), 1 + n % 5) FROM generate_series(1, $rows) n;
CREATE INDEX ON $name (a);
CREATE INDEX ON $name USING @{[ pick('hash', 'brin', 'btree') ]} (b);
SQL
	return $name;
}

my %changes = (
	insert => sub {
		my $t = pick(@tables);
		sql("INSERT INTO $t SELECT n, n, 'late' FROM generate_series((SELECT coalesce(max(id), 0) + 1 "
			  . "FROM $t), (SELECT coalesce(max(id), 0) + 3000 FROM $t)) n");
	},
	update => sub { my $t = pick(@tables); sql("UPDATE $t SET a = a + 1 WHERE random() < 0.02") },
	remove => sub { my $t = pick(@tables); sql("DELETE FROM $t WHERE id % 3 = 0") },
	vacuumed_away => sub {
		my $t = pick(@tables);
		sql("DELETE FROM $t WHERE id > (SELECT max(id) / 2 FROM $t)");
		sql("VACUUM $t");
	},
	vacuum_full => sub { my $t = pick(@tables); sql("VACUUM FULL $t") },
	freeze => sub { my $t = pick(@tables); sql("VACUUM (FREEZE) $t") },
	cluster => sub { my $t = pick(@tables); sql("CLUSTER $t USING ${t}_pkey") },
	truncate => sub { my $t = pick(@tables); sql("TRUNCATE $t") },
	drop => sub {
		my ($t) = splice @tables, rand @tables, 1;
		sql("DROP TABLE $t");
		push @tables, new_table();
	},
	create => sub { push @tables, new_table() },
	move => sub {
		my $t = pick(@tables);
		sql("ALTER TABLE $t SET TABLESPACE " . pick('outside', 'inside', 'pg_default'));
	},
	rewrite => sub { my $t = pick(@tables); sql("ALTER TABLE $t ALTER a TYPE bigint") },
	logged => sub { my $t = pick(@tables); sql("ALTER TABLE $t SET LOGGED") },
	unlogged => sub { my $t = pick(@tables); sql("ALTER TABLE $t SET UNLOGGED") },
	reindex => sub { my $t = pick(@tables); sql("REINDEX TABLE $t") },
	hints => sub { my $t = pick(@tables); sql("SELECT count(*) FROM $t") },
	large_object => sub { sql(q{SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex'))}) },
	sequence => sub { sql('CREATE SEQUENCE IF NOT EXISTS s; SELECT nextval(\'s\') FROM generate_series(1, 50)') },
	# A new database under an oid that was used before. With file_copy its pages keep the LSNs of the
	# template.
	database => sub {
		my $n = int(rand(2));
		sql("DROP DATABASE IF EXISTS d$n");
		sql("CREATE DATABASE d$n OID @{[ 60000 + $n ]} TEMPLATE @{[ pick('template0', 'load') ]} "
			  . "STRATEGY @{[ pick('file_copy', 'wal_log') ]} TABLESPACE @{[ pick('pg_default', 'outside') ]}");
	});

sub change_at_random
{
	my @done;
	foreach (1 .. 12)
	{
		my $what = pick(sort keys %changes);
		push @done, $what;
		$changes{$what}->();
	}
	note "changes: @done";
	return;
}

# --- backups of the cluster -----------------------------------------------------------------------

# Dumps the cluster, without the locations of tablespaces and without unlogged tables, which
# recovery empties.
sub dump_of
{
	my ($on) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(
		[
			$on->installed_command('pg_dumpall'), '-h', $on->host, '-p', $on->port,
			'--no-password', '--no-unlogged-table-data'
		],
		'>', \$out, '2>', \$err)
	  or die "pg_dumpall: $err";
	$out =~ s/ LOCATION '.*'//g;
	$out =~ s/^\\(un)?restrict .*\n//mg;    # a random key against injection
	return $out;
}

# Returns the tables that recovery does not empty.
sub tables_of
{
	my ($on) = @_;
	return split /\n/, $on->safe_psql('postgres', <<'SQL');
SELECT relname FROM pg_class
 WHERE relkind = 'r' AND relpersistence = 'p' AND relname ~ '^t\d+$' ORDER BY relname
SQL
}

# Returns the number of rows and the sum of the keys, by each kind of scan.
sub scans_of
{
	my ($on) = @_;
	my %scan = (
		sequential => 'enable_indexscan enable_indexonlyscan enable_bitmapscan',
		index => 'enable_seqscan enable_indexonlyscan enable_bitmapscan',
		'index-only' => 'enable_seqscan enable_indexscan enable_bitmapscan');
	my @tables = tables_of($on);
	my %found;
	foreach my $how (keys %scan)
	{
		$found{$how} = $on->safe_psql('postgres',
			join ' ',
			(map { "SET $_ = off;" } split / /, $scan{$how}),
			map { "SELECT '$_', count(*), sum(id) FROM $_ WHERE id > 0;" } @tables);
	}
	return \%found;
}

# Returns the number of pages that the visibility map marks as all-visible although the page is not
# so marked.
sub wrong_bits
{
	my ($on) = @_;
	return $on->safe_psql('postgres', <<'SQL');
SELECT coalesce(string_agg(c.oid::regclass || ' block ' || v.blkno, ', '), 'none')
  FROM pg_class AS c, pg_visibility(c.oid) AS v
 WHERE c.relkind IN ('r', 'm', 't') AND v.all_visible AND NOT v.pd_all_visible
SQL
}

# Returns the first lines in which two dumps differ.
sub difference
{
	my ($expected, $found) = map { [ split /\n/ ] } @_;
	my $line = 0;
	$line++ while $line < @$expected && $line < @$found && $expected->[$line] eq $found->[$line];
	return "line $line: expected: " . ($expected->[$line] // '(end)') . "\nfound: " . ($found->[$line] // '(end)');
}

# Takes a backup while pgbench runs, and records the content when pgbench has ended.
my @backups;
my $checksums = $halves[0]{checksums};

sub back_up
{
	my ($type) = @_;
	my $out = '';
	my $by = pick('wal', 'wal', 'contents');
	sql("ALTER SYSTEM SET veza_backup.find_changes = '$by'");
	sql('SELECT pg_reload_conf()');
	my $load = IPC::Run::start(
		[
			$node->installed_command('pgbench'), '-h', $node->host, '-p', $node->port,
			'-n', '-c', '2', '-T', '300', '-R', '200', 'load'
		],
		'>', \$out, '2>&1');
	my $label = sql("SELECT veza_backup_now('$type')");
	$load->signal('TERM');
	$load->finish;
	my $moment = 'after_' . @backups;
	sql('CHECKPOINT') if rand() < 0.5;
	my $changes = decode_json(read_object("main/backup/$label/backup.json"))->{changes_by} // 'none';
	$own_full = 1 if $label =~ /F$/;
	is($changes, 'wal', "$label: the changes are found by WAL") if $by eq 'wal' && $type eq 'diff' && $own_full;
	note "$label: changes by $changes";
	push @backups, { label => $label, moment => $moment, dump => dump_of($node),
		scans => scans_of($node), checksums => $checksums };
	sql("SELECT pg_create_restore_point('$moment')");
	return $label;
}

$changes{database}->() foreach 1 .. 3;
my $full = back_up('full');
foreach my $round (1 .. 3)
{
	change_at_random();
	restart() if rand() < 0.3;
	like(back_up('diff'), qr/^${full}_\d{8}-\d{6}D$/, "diff $round refers to the full");
}
change_at_random();

set_up($halves[1]);
$checksums = $halves[1]{checksums};
my $switch = $checksums ? 'enable' : 'disable';
$node->stop;
$node->command_ok([ 'pg_checksums', "--$switch", '-D', $node->data_dir ], "checksums are ${switch}d");
$node->start;
my (undef, $out, $err) = $node->psql('postgres', q{SELECT veza_backup_now('diff')});
like($out, qr/^\d{8}-\d{6}F$/, 'after checksums were switched a full is taken');
like(
	$err,
	qr/NOTICE:  taking a full backup instead of a diff: full backup "$full" was made before data checksums were ${switch}d/,
	'the log says why');
my $second_full = $out;
change_at_random();
restart() if rand() < 0.3;
like(back_up('diff'), qr/^${second_full}_/, 'a diff refers to the newest full');
$node->archive_wal;

my $sizes = $node->safe_psql('postgres', <<'SQL');
SELECT string_agg(label || ' ' || stored_size, ', ') FROM veza_backup_info()
SQL
note "stored: $sizes";
is( $node->safe_psql('postgres',
		q{SELECT sum(checksum_failures), count(*), bool_and(status = 'ok') FROM veza_backup_info()}),
	'0|6|t', 'all the backups are good');

# --- restored -------------------------------------------------------------------------------------

foreach my $backup (@backups)
{
	my ($label, $moment) = @$backup{qw(label moment)};
	my $new_place = PostgreSQL::Test::Utils::tempdir('tablespace');
	my $copy = $node->restore($moment, '--backup', $label, '--target-name', $moment,
		'--target-action', 'promote', '--tablespace-map', "$place=$new_place");
	$copy->append_conf('postgresql.conf', 'autovacuum = off');
	$copy->start;
	$copy->wait_for_end_of_recovery;
	my $found = dump_of($copy);
	my $same = $found eq $backup->{dump};
	ok($same, "$label: the restored cluster equals the source");
	diag(difference($backup->{dump}, $found)) if !$same;
	is_deeply(scans_of($copy), $backup->{scans}, "$label: every kind of scan finds the same rows as in the source");
	is(wrong_bits($copy), 'none', "$label: visibility maps agree with the pages");
	$copy->safe_psql('postgres', "DELETE FROM $_ WHERE id % 3 = 1") foreach tables_of($copy);
	my $scans = scans_of($copy);
	is_deeply(
		[ @$scans{qw(index index-only)} ],
		[ ($scans->{sequential}) x 2 ],
		"$label: visibility maps agree after rows were deleted");
	$copy->command_ok([ 'pg_amcheck', '--all', '--heapallindexed', '--parent-check', '--install-missing' ],
		"$label: every index and heap is sound");
	$copy->stop;
	$copy->command_ok([ 'pg_checksums', '--check', '-D', $copy->data_dir ],
		"$label: every page has its checksum") if $backup->{checksums};
	last if !$same;  # what is left shows why
	$copy->clean_node;
}

# --- no notice ------------------------------------------------------------------------------------

(undef, $out, $err) = $node->psql('postgres', q{SELECT veza_backup_now('diff')});
like($out, qr/^${second_full}_/, 'one more diff');
unlike($err, qr/NOTICE/, 'there is no notice when a diff is taken');

done_testing();
