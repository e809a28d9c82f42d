# The contents of a backup: every page of every file, and no file that does not belong there.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Find ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

use constant GIB => 1 << 30;
use constant PAGE => 8192;

my $node = VezaTest->new('primary');
$node->init(extra => ['--data-checksums']);
# From the checkpoint that begins a backup until the end of the test, only the backup and the
# statements of this test may write, because the source is compared as it is on disk.
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
bgwriter_lru_maxpages = 0
checkpoint_timeout = 1h
max_wal_size = 4GB
CONF
$node->start;

my $space = $node->basedir . '/space=one';
mkdir $space or die "could not create $space: $!";

# --- the data to back up --------------------------------------------------------------------------

$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION veza_backup;
CREATE TABLESPACE space LOCATION '$space';
CREATE TABLE in_space(i int PRIMARY KEY, t text) TABLESPACE space;
INSERT INTO in_space SELECT i, repeat(md5(i::text), 100) FROM generate_series(1, 5000) AS i;
CREATE TABLE plain(i int PRIMARY KEY, t text);
INSERT INTO plain SELECT i, md5(i::text) FROM generate_series(1, 20000) AS i;
DELETE FROM plain WHERE i % 3 = 0;
VACUUM plain;
CREATE TABLE toasted(t text);
ALTER TABLE toasted ALTER t SET STORAGE EXTERNAL;
INSERT INTO toasted SELECT repeat(md5(i::text), 400) FROM generate_series(1, 100) AS i;
CREATE UNLOGGED TABLE unlogged(i int PRIMARY KEY) TABLESPACE space;
INSERT INTO unlogged SELECT generate_series(1, 1000);
CREATE UNLOGGED TABLE unlogged_too(i int PRIMARY KEY);
INSERT INTO unlogged_too SELECT generate_series(1, 1000);
CREATE TABLE big(i int);
INSERT INTO big SELECT generate_series(1, 100);
CREATE DATABASE many;
SQL
$node->safe_psql('many', <<'SQL');
DO $$ BEGIN
  FOR i IN 1 .. 3000 LOOP
    EXECUTE format('CREATE TABLE small_%s(i int)', i);
    EXECUTE format('INSERT INTO small_%s VALUES (%s)', i, i);
    IF i % 200 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
SQL

sub path_of
{
	my ($relation) = @_;
	return $node->safe_psql('postgres', "SELECT pg_relation_filepath('$relation')");
}

# A relation of more than 1 GiB has two files. This one is almost entirely one hole. New rows go to
# its end.
my $big = path_of('big');
$node->stop;
truncate $node->data_dir . "/$big", GIB or die "could not extend $big: $!";
open my $second, '>', $node->data_dir . "/$big.1" or die "could not create $big.1: $!";
truncate $second, 20 * PAGE or die "could not extend $big.1: $!";
close $second;
$node->start;
$node->safe_psql('postgres', 'INSERT INTO big SELECT generate_series(101, 5000)');
cmp_ok($node->safe_psql('postgres', 'SELECT max((ctid::text::point)[0]) FROM big'),
	'>=', GIB / PAGE, 'a relation has pages in its second file');

# Temporary tables of a connected session, and more of a session that was killed.
my $temporary = $node->start_sql(<<'SQL');
CREATE TEMPORARY TABLE temporary AS SELECT generate_series(1, 100000) AS i;
CREATE INDEX ON temporary (i);
SELECT pg_sleep(600);
SQL
my $temporary_files = sub { glob $node->data_dir . '/base/*/t*_*' };
poll_until(sub { (() = $temporary_files->()) >= 2 }, 'temporary files');
mkdir $node->data_dir . '/base/pgsql_tmp';
PostgreSQL::Test::Utils::append_to_file($node->data_dir . '/base/pgsql_tmp/pgsql_tmp1.0', 'x');
# Files that PostgreSQL does not know belong to the user and are backed up.
PostgreSQL::Test::Utils::append_to_file($node->data_dir . '/notes of the DBA', "don't touch\n");

my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->stop('immediate');
$temporary->{harness}->kill_kill;

# --- every page, compared -------------------------------------------------------------------------

my $moved = $node->basedir . '/moved';
my $copy = $node->restore('copy', '--tablespace-map', ($space =~ s/=/\\=/r) . "=$moved");

# Returns the files of a data directory by name, including those in tablespaces.
sub files_of
{
	my ($directory) = @_;
	my %files;
	File::Find::find(
		{
			no_chdir => 1,
			follow => 1,
			wanted => sub { $files{ substr $_, length($directory) + 1 } = $_ if -f }
		},
		$directory);
	return \%files;
}

# Returns the first block that differs, or undef.
sub first_difference
{
	my ($one, $other) = @_;
	open my $a, '<:raw', $one or die "could not open $one: $!";
	open my $b, '<:raw', $other or die "could not open $other: $!";
	for (my $offset = 0;; $offset += 4 << 20)
	{
		my ($from_a, $from_b);
		defined(sysread $a, $from_a, 4 << 20) or die "could not read $one: $!";
		defined(sysread $b, $from_b, 4 << 20) or die "could not read $other: $!";
		if ($from_a ne $from_b)
		{
			my ($same) = ($from_a ^ $from_b) =~ /^(\0*)/;
			return int(($offset + length $same) / PAGE);
		}
		return if $from_a eq '';
	}
}

# Files that may exist on one side only, or may differ.
my @source_only = (
	qr{^postmaster\.(pid|opts)$}, qr{^veza-repository$},
	qr{^pg_wal/},
	qr{/pg_internal\.init$},
	qr{^pg_(notify|subtrans|stat_tmp|replslot|dynshmem|serial|snapshots)/},
	qr{/t\d+_\d+(_\w+)?$},
	qr{/pgsql_tmp});
my @copy_only = (qr{^(backup_label|tablespace_map|recovery\.signal|veza-recovery-settings|veza-directory)$});
my @different = (qr{^postgresql\.auto\.conf$}, qr{^postgresql\.conf$});

# The content of unlogged relations.
my %unlogged = map { $_ => 1 } grep { -e $node->data_dir . "/${_}_init" }
  map { s{^.*?/((pg_tblspc|base)/.*)_init$}{$1}r }
  glob $node->data_dir . '/{base/*,pg_tblspc/*/*/*}/*_init';
is(scalar(keys %unlogged), 4, 'there are two unlogged tables and their indexes');

my ($source_files, $copy_files) = (files_of($node->data_dir), files_of($copy->data_dir));
my (@unexpected, $compared, $pages);
foreach my $name (sort keys %{ { %$source_files, %$copy_files } })
{
	my ($source, $restored) = ($source_files->{$name}, $copy_files->{$name});
	my $relation = $name =~ s/(_(vm|fsm))?(\.\d+)?$//r;
	if (!defined $restored)
	{
		push @unexpected, "$name is not in the copy"
		  unless grep { $name =~ $_ } @source_only or $unlogged{$relation};
	}
	elsif (!defined $source)
	{
		push @unexpected, "$name is in the copy only" unless grep { $name =~ $_ } @copy_only;
	}
	elsif (grep { $name =~ $_ } @source_only or $unlogged{$relation})
	{
		push @unexpected, "$name should not be in the copy";
	}
	elsif (!grep { $name =~ $_ } @different)
	{
		my $block = first_difference($source, $restored);
		push @unexpected, "$name differs in block $block" if defined $block;
		my ($mode, $mode_of_copy) = map { (stat)[2] } $source, $restored;
		# A restore removes all permissions for others, and write permission for the group.
		push @unexpected, "$name has another mode" if ($mode & ~07027) != $mode_of_copy;
		$compared++;
		$pages += (-s $source) / PAGE;
	}
}
is_deeply(\@unexpected, [], 'the copy has the files of the source, byte by byte');
cmp_ok($compared, '>', 3900, "$compared files were compared");
cmp_ok($pages, '>', GIB / PAGE, int($pages) . ' pages were compared');

is(slurp_file($copy->data_dir . '/notes of the DBA'), "don't touch\n", 'a file of the user is kept');
cmp_ok((stat $copy->data_dir . "/$big")[12] * 512, '<', 10 << 20, 'holes come back as holes');
foreach my $directory (qw(pg_wal/archive_status pg_replslot pg_notify pg_stat_tmp pg_subtrans))
{
	ok(-d $copy->data_dir . "/$directory", "there is a directory $directory");
}

# --- the same data, seen by the server ------------------------------------------------------------

$copy->start;
$copy->wait_for_end_of_recovery;
is( $copy->safe_psql('postgres', <<'SQL'),
SELECT (SELECT count(*) FROM plain), (SELECT count(*) FROM in_space),
       (SELECT count(*) FROM toasted WHERE length(t) = 12800), (SELECT count(*) FROM big),
       (SELECT count(*) FROM unlogged), (SELECT count(*) FROM unlogged_too)
SQL
	'13334|5000|100|5000|0|0', 'the tables are there, and unlogged ones are empty');
is($copy->safe_psql('many', q{SELECT count(*) FROM pg_class WHERE relname ~ '^small_\d'}),
	3000, 'thousands of small tables are there');
is($copy->safe_psql('postgres', q{SELECT pg_tablespace_location(oid) FROM pg_tablespace
	 WHERE spcname = 'space'}),
	$moved, 'the tablespace is where it was asked to be');
$copy->safe_psql('postgres', 'INSERT INTO unlogged VALUES (1); INSERT INTO unlogged_too VALUES (1)');
$copy->discard;

# --- databases and tables created and dropped during a backup -------------------------------------

$node->start;
$node->change_conf(jobs => 1);
$node->reload;
$node->safe_psql('postgres', 'CREATE TABLE dropped AS SELECT generate_series(1, 10000) AS i');
my $backup = $node->start_sql(q{SELECT veza_backup_now('full')});
my $worker = $node->stop_worker_while('copying files');

$node->safe_psql('postgres', 'CREATE DATABASE by_wal STRATEGY wal_log');
$node->safe_psql('postgres', 'CREATE DATABASE by_copy STRATEGY file_copy');
$node->safe_psql($_, "CREATE TABLE t AS SELECT '$_' AS name") foreach qw(by_wal by_copy);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE created TABLESPACE space AS SELECT generate_series(1, 10000) AS i;
DROP TABLE dropped;
DELETE FROM plain WHERE i > 10;
VACUUM (TRUNCATE) plain;
CHECKPOINT;
SQL
# DROP DATABASE waits until every process, including the backup worker, has closed the files.
my $drop = $node->start_sql('DROP DATABASE many');
sleep 0.5;
kill 'CONT', $worker;
$node->finish_sql($drop);
my ($exit, $second_label) = $node->finish_sql($backup);
is($exit, 0, 'a backup succeeds while databases and tables are created and dropped');
$node->archive_wal;

$copy = $node->restore('copy2', '--tablespace-map', ($space =~ s/=/\\=/r) . "=$moved-too");
$copy->start;
$copy->wait_for_end_of_recovery;
is( $copy->safe_psql('postgres', q{SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database
	 WHERE NOT datistemplate}),
	'by_copy by_wal postgres', 'the databases are those at the end of the backup');
is($copy->safe_psql($_, 'SELECT name FROM t'), $_, "$_ is whole") foreach qw(by_wal by_copy);
is( $copy->safe_psql('postgres', <<'SQL'),
SELECT (SELECT count(*) FROM created), (SELECT count(*) FROM plain), to_regclass('dropped')
SQL
	'10000|7|', 'the tables are those at the end of the backup');
$copy->command_ok([ 'pg_amcheck', '--all', '--install-missing' ], 'pg_amcheck finds nothing');
$copy->discard;

# --- pages that are damaged -----------------------------------------------------------------------

my $heap = path_of('in_space');
my $index = path_of('in_space_pkey');
$node->stop;
$node->corrupt_page_checksum($heap, 3 * PAGE);
$node->corrupt_page_checksum($index, PAGE);
$node->corrupt_page_checksum("$big.1", 19 * PAGE);
$node->start;

# Block numbers count within the relation, not within the file.
my @damaged = ([ $heap, 3 ], [ $index, 1 ], [ "$big.1", GIB / PAGE + 19 ]);

my $position = -s $node->logfile;
$label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
is( $node->safe_psql('postgres',
		"SELECT status, checksum_failures FROM veza_backup_info() WHERE label = '$label'"),
	'page checksum failures|3', 'a backup with damaged pages is kept, and marked');
is_deeply(
	[
		sort split /, /,
		$node->safe_psql('postgres',
			"SELECT detail FROM veza_backup_info() WHERE label = '$label'")
	],
	[ sort map { "$_->[0] block $_->[1]" } @damaged ],
	'the pages are named');
my $log = slurp_file($node->logfile, $position);
like($log, qr/WARNING:  page checksum verification failed in file "\Q$_->[0]\E", block $_->[1]\n/,
	"$_->[0], block $_->[1] is in the log")
  foreach @damaged;
like($log, qr/WARNING:  backup "$label" holds 3 pages with wrong checksums\n.*HINT:  /,
	'the number of damaged pages');
like($node->vezactl_ok([ 'info', '--output', 'json' ]), qr/"checksum_failures": 3/,
	'vezactl info counts them');
$copy = $node->restore('copy3', '--backup', $label, '--tablespace-map',
	($space =~ s/=/\\=/r) . "=$moved-3");
is(first_difference($node->data_dir . "/$heap", $copy->data_dir . "/$heap"),
	undef, 'a damaged page is restored as it was');

# The older backup has undamaged copies of these pages, and WAL leads from it to the same target.
my @restore = ('--quiet', '--output', 'json', 'restore', '--dry-run', '--target-dir', $node->basedir . '/none',
	'--tablespace-map', ($space =~ s/=/\\=/r) . "=$moved-4");
my $reason = qr/backup "$label" holds 3 pages with wrong checksums, the first in file "[^"]+", block \d+/;
my (undef, $plan, $warning) = $node->vezactl(@restore);
isnt(decode_json($plan)->{label}, $label, 'a backup with damaged pages is passed over');
like($warning, qr/warning: the newest backup is passed over: $reason\nHINT: .*--backup/, 'the backup that is passed over is named, also with --quiet');
(undef, $plan, $warning) = $node->vezactl(@restore, '--backup', $label);
is(decode_json($plan)->{label}, $label, 'a backup with damaged pages is restored when it is named');
like($warning, qr/warning: $reason\nHINT:  The pages were damaged when the backup was made/, 'restoring it gives a warning');
$node->vezactl_fails([ 'verify', '--backup', $label ], 1, qr/^/, 'verify');
like(($node->vezactl('verify', '--backup', $label))[1], qr/$label +full +damaged.*$reason/s, 'names it');

done_testing();
