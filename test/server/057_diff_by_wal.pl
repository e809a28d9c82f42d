# Diffs and incrs that read only what WAL has changed. A cluster is changed at random in every way that WAL does not
# tell block by block. Then each backup is made twice, by WAL and by reading everything, and both restores are the
# same, byte by byte, where nothing wrote in between. An incr by WAL is the last of a chain of such. Hint bits are
# logged here, so they are not masked.
#
# VEZA_TEST_SEED repeats a run.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils ();
use Test::More;
use VezaTest;

my $seed = $ENV{VEZA_TEST_SEED} || int(rand(1 << 30));
srand $seed;
note "VEZA_TEST_SEED=$seed";

my $block_size = 8192;
my $place = PostgreSQL::Test::Utils::tempdir('tablespace');
my $node = VezaTest->new('primary');
$node->init(extra => rand() < 0.5 ? ['--data-checksums'] : [], settings => { jobs => 3 });
$node->append_conf('postgresql.conf', <<'CONF');
allow_in_place_tablespaces = on
autovacuum = off
wal_log_hints = on
max_prepared_transactions = 5
veza_backup.backup_after_gap = off
wal_keep_size = 0
min_wal_size = 32MB
CONF
$node->start;
sql($_) foreach (
	'CREATE EXTENSION veza_backup', 'CREATE EXTENSION amcheck',
	"CREATE TABLESPACE outside LOCATION '$place'", q{CREATE TABLESPACE inside LOCATION ''},
	'CREATE DATABASE load');
$node->command_ok([ 'pgbench', '--quiet', '-i', '-s', '2', 'load' ], 'pgbench -i');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub pick { return $_[ rand @_ ] }

# --- changes --------------------------------------------------------------------------------------

my $tables = 0;
my @tables = map { new_table() } 1 .. 5;

sub new_table
{
	my $name = 't' . ++$tables;
	my $rows = 5_000 + int(rand(30_000));
	sql(<<SQL);
CREATE TABLE $name (id int PRIMARY KEY, a int, b text, p point);
INSERT INTO $name SELECT n, n % 97, repeat(md5(n::text), 1 + n % 5), point(n % 100, n)
  FROM generate_series(1, $rows) n;
CREATE INDEX ON $name (a);
CREATE INDEX ON $name USING @{[ pick('gist', 'spgist') ]} (p);
CREATE INDEX ON $name USING @{[ pick('hash', 'brin') ]} (b);
SQL
	return $name;
}

my %changes = (
	insert => sub {
		my $t = pick(@tables);
		sql("INSERT INTO $t SELECT n, n, 'late' FROM generate_series((SELECT coalesce(max(id), 0) + 1 "
			  . "FROM $t), (SELECT coalesce(max(id), 0) + 3000 FROM $t)) n");
	},
	update => sub { my $t = pick(@tables); sql("UPDATE $t SET a = a + 1 WHERE id % 200 = 7") },
	undone => sub { my $t = pick(@tables); sql("BEGIN; UPDATE $t SET b = b || 'x' WHERE id < 300; ROLLBACK") },
	prepared => sub {
		my $t = pick(@tables);
		sql("BEGIN; CREATE TABLE made AS SELECT * FROM $t; DELETE FROM $t WHERE id % 50 = 1; PREPARE TRANSACTION 'p'");
		sql(pick('COMMIT', 'ROLLBACK') . q{ PREPARED 'p'; DROP TABLE IF EXISTS made});
	},
	# The end of the table is cut off, and it grows again.
	cut => sub {
		my $t = pick(@tables);
		sql("DELETE FROM $t WHERE id > (SELECT max(id) / 2 FROM $t)");
		sql("VACUUM $t");
		sql("INSERT INTO $t SELECT n, n, 'again' FROM generate_series(100000, 104000) n ON CONFLICT DO NOTHING");
	},
	vacuum => sub { my $t = pick(@tables); sql("DELETE FROM $t WHERE id % 9 = 0"); sql("VACUUM $t") },
	vacuum_full => sub { my $t = pick(@tables); sql("VACUUM FULL $t") },
	catalogs => sub { sql('VACUUM FULL pg_class; VACUUM FULL pg_attribute') },
	freeze => sub { my $t = pick(@tables); sql("VACUUM (FREEZE) $t") },
	truncate => sub { my $t = pick(@tables); sql("TRUNCATE $t"); $_->() foreach new_rows($t) },
	truncate_undone => sub { my $t = pick(@tables); sql("BEGIN; TRUNCATE $t; ROLLBACK") },
	drop => sub {
		my ($t) = splice @tables, rand @tables, 1;
		sql("DROP TABLE $t");
		push @tables, new_table();
	},
	move => sub {
		my $t = pick(@tables);
		sql("ALTER TABLE $t SET TABLESPACE " . pick('outside', 'inside', 'pg_default'));
	},
	rewrite => sub { my $t = pick(@tables); sql("ALTER TABLE $t ALTER a TYPE bigint") },
	relogged => sub { my $t = pick(@tables); sql("ALTER TABLE $t SET UNLOGGED; ALTER TABLE $t SET LOGGED") },
	reindex => sub { my $t = pick(@tables); sql("REINDEX TABLE $t") },
	hints => sub { my $t = pick(@tables); sql("SELECT count(*) FROM $t") },
	sequence => sub { sql('CREATE SEQUENCE IF NOT EXISTS s; SELECT nextval(\'s\') FROM generate_series(1, 50)') },
	message => sub { sql(q{SELECT pg_logical_emit_message(true, 'long', repeat('0123456789', 400000))}) },
	load => sub { $node->command_ok([ 'pgbench', '-n', '-c', '2', '-t', '200', 'load' ], 'pgbench') },
	switch => sub { sql('SELECT pg_switch_wal()') },
	database => sub {
		my $n = int(rand(2));
		sql("DROP DATABASE IF EXISTS d$n");
		sql("CREATE DATABASE d$n OID @{[ 60000 + $n ]} TEMPLATE @{[ pick('template0', 'load') ]} "
			  . "STRATEGY @{[ pick('file_copy', 'wal_log') ]} TABLESPACE @{[ pick('pg_default', 'outside') ]}");
		sql("ALTER DATABASE d$n SET TABLESPACE @{[ pick('pg_default', 'outside') ]}");
		$node->safe_psql("d$n", 'CREATE TABLE own AS SELECT n FROM generate_series(1, 20000) n');
	});

sub new_rows
{
	my ($t) = @_;
	return sub { sql("INSERT INTO $t SELECT n, n, 'new' FROM generate_series(1, 900) n") };
}

# --- backups and what is in them ------------------------------------------------------------------

sub set
{
	my ($value) = @_;
	sql("ALTER SYSTEM SET veza_backup.find_changes = '$value'");
	sql('SELECT pg_reload_conf()');
	return;
}

sub back_up { return sql("SELECT veza_backup_now('$_[0]')") }

sub summary { return decode_json(read_object("main/backup/$_[0]/backup.json")) }

sub lsn
{
	my ($high, $low) = split m{/}, $_[0];
	return (hex($high) << 32) + hex($low);
}

# Returns the paths of the files in a restored cluster that hold relations.
sub relation_files
{
	my ($copy) = @_;
	my @files;
	my @directories = glob $copy->data_dir . '/{global,base/*,pg_tblspc/*/PG_*/*}';
	foreach my $directory (grep { -d } @directories)
	{
		push @files, map { substr $_, length($copy->data_dir) + 1 } grep { m{/\d+(_\w+)?(\.\d+)?$} && -f } glob "$directory/*";
	}
	return sort @files;
}

# The first page of an SP-GiST index remembers where there was room lately. That is not logged, and only a hint
# (SpGistUpdateMetaPage).
sub without_cache
{
	my ($page) = @_;
	my ($magic) = unpack 'x24 L', $page;

	if ($magic == 0xBA0BABEE)
	{
		substr($page, 28, 64) = "\0" x 64;
		substr($page, 8, 2) = "\0" x 2;    # the checksum
	}
	return $page;
}

# Compares two restores page by page. A page that was written since the first of the backups began is left out:
# recovery from that backup replays the change.
sub same_pages
{
	my ($first, $second, $since) = @_;
	my @files = relation_files($first);
	my @wrong;

	is_deeply([ relation_files($second) ], \@files, 'both restores have the same relations');
	foreach my $file (@files)
	{
		my ($one, $other) = map { PostgreSQL::Test::Utils::slurp_file($_->data_dir . "/$file") } $first, $second;
		next if $one eq $other;
		if (length $one != length $other)
		{
			push @wrong, "$file: size";
			next;
		}
		for (my $at = 0; $at < length $one; $at += $block_size)
		{
			my ($page, $theirs) = map { without_cache(substr $_, $at, $block_size) } $one, $other;
			next if $page eq $theirs;
			my ($high, $low) = unpack 'LL', $theirs;
			push @wrong, "$file: block " . $at / $block_size if ($high << 32) + $low < $since;
		}
	}
	is_deeply(\@wrong, [], 'all pages are the same');
	note scalar(@files) . ' files';
	return !@wrong;
}

sub size_of { return summary($_[0])->{stored_size} }

foreach my $round (1 .. 3)
{
	my $type = $round == 1 ? 'diff' : 'incr';
	set('wal');
	back_up('full');
	my @done;
	foreach (1 .. 10)
	{
		my $what = pick(sort keys %changes);
		push @done, $what;
		$changes{$what}->();
		next if $type eq 'diff' || $_ % 3;
		push @done, 'incr';
		back_up('incr');
	}
	note "round $round: @done";
	sql('CHECKPOINT');
	my $by_wal = back_up($type);
	# The LSNs of pages are not used after a restart: contents are compared with those of the parent.
	$node->restart;
	set('contents');
	my $by_contents = back_up(pick('diff', $type));
	is(summary($by_wal)->{changes_by}, 'wal', "round $round: $by_wal by WAL");
	is(summary($by_contents)->{changes_by}, 'digest', "round $round: $by_contents by contents");
	note "stored: " . size_of($by_wal) . ' by WAL, ' . size_of($by_contents) . ' by contents';
	my @copies = map {
		$node->restore("copy$round$_", '--backup', $_, '--tablespace-map', "$place=" . PostgreSQL::Test::Utils::tempdir('place'))
	} $by_wal, $by_contents;
	last if !same_pages(@copies, lsn(summary($by_wal)->{start_lsn}));
	$copies[0]->append_conf('postgresql.conf', 'autovacuum = off');
	$copies[0]->start;
	$copies[0]->wait_for_end_of_recovery;
	$copies[0]->command_ok([ 'pg_amcheck', '--all', '--heapallindexed', '--parent-check', '--install-missing' ],
		"round $round: every index and heap is sound");
	$copies[0]->stop;
	$copies[0]->command_ok([ 'pg_checksums', '--check', '-D', $copies[0]->data_dir ], "round $round: checksums")
	  if summary($by_wal)->{data_checksum_version};
	$_->clean_node foreach @copies;
}

# --- a diff costs what has changed ----------------------------------------------------------------

sub reads_everything
{
	my ($reason, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $at = -s $node->logfile;
	my $label = back_up('diff');

	isnt(summary($label)->{changes_by}, 'wal', "$test: not by WAL");
	like(PostgreSQL::Test::Utils::slurp_file($node->logfile, $at), qr/the diff reads everything: $reason/, "$test: the log says why");
	return;
}

back_up('full');
reads_everything('veza_backup.find_changes is "contents"', 'the setting');
set('wal');
my $at = -s $node->logfile;
is(summary(back_up('diff'))->{changes_by}, 'wal', 'nothing has changed');
like(
	PostgreSQL::Test::Utils::slurp_file($node->logfile, $at),
	qr/the diff reads what WAL has changed since full backup/,
	'the log says how');

# --- doubts ---------------------------------------------------------------------------------------

# The first segment behind the start of a full, without its index. It leaves pg_wal.
my $start = summary(back_up('full'))->{start_wal};
$changes{load}->();
sql('CHECKPOINT; SELECT pg_switch_wal()') foreach 1 .. 3;
$node->archive_wal;
sql('CHECKPOINT');
delete_object($_) foreach objects('main/walindex/');
my ($segment) = grep { m{/([0-9A-F]{24})$} && $1 ge $start } sort(objects('main/wal/'));
my ($name) = $segment =~ m{([0-9A-F]{24})$};
ok(!-e $node->data_dir . "/pg_wal/$name", 'the server has no need for the segment');
my $content = read_object($segment);
my $damaged = $content;
substr($damaged, length($damaged) / 2, 16) = 'x' x 16;

write_object($segment, $damaged);
reads_everything(".*\"$name\"", 'a damaged segment');
delete_object($segment);
reads_everything("the repository does not have WAL segment \"$name\"", 'a missing segment');
write_object($segment, $content);
is(summary(back_up('diff'))->{changes_by}, 'wal', 'all of the WAL is there again');

done_testing();
