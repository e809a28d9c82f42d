# The reader of WAL against pg_waldump: over WAL of every kind that a server writes, both name the same records
# with the same blocks, and the same commits, aborts, drops and so on; and both find the same end.
#
# The segments have 1 MB in one cluster and 16 MB in the other. A record that a crash has cut off is given up
# by the server that starts again, and by a standby that is promoted there.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VezaTest ();
use WalDump;
use WalLoad;

plan skip_all => 'no repository is in it: one store is enough' if VezaTest::store() ne 'dir';

# For a longer look at more of the same.
my $seconds = $ENV{VEZA_TEST_WAL_LOAD_SECONDS} // 0;
my $seed = $ENV{VEZA_TEST_SEED} // time;
note("VEZA_TEST_SEED=$seed");

sub new_node
{
	my ($name, $megabytes) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 'logical', extra => [ '--wal-segsize', $megabytes ]);
	$node->append_conf('postgresql.conf', <<CONF);
allow_in_place_tablespaces = on
archive_mode = on
archive_command = 'cp %p "@{[ $node->archive_dir ]}/%f"'
autovacuum_naptime = 1s
max_connections = 50
max_prepared_transactions = 10
min_wal_size = @{[ $megabytes * 4 ]}MB
restart_after_crash = on
shared_buffers = 32MB
track_commit_timestamp = on
CONF
	$node->append_conf('postgresql.conf', 'summarize_wal = on') if $node->pg_version >= 17;
	$node->start;
	return $node;
}

# Brings all WAL of a node that does not run into one directory: what is archived, and what is in pg_wal, with
# files that were recycled and not used yet.
sub gather
{
	my ($node) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir('wal');

	foreach my $from ($node->archive_dir, $node->data_dir . '/pg_wal')
	{
		my @segments = grep { m{/[0-9A-F]{24}$} } glob "$from/*";
		PostgreSQL::Test::Utils::system_or_bail('cp', @segments, $directory) if @segments;
	}
	return $directory;
}

sub all_of
{
	my ($ours) = @_;
	return join "\n", @$ours{qw(end why)}, map { @{ $ours->{$_} } } qw(records infos ends);
}

# Compares all that was written on a timeline, in all ways to read. Returns what pg_waldump says.
sub compare
{
	my ($node, $directory, $timeline, $segment_size, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $theirs = their_records($node, $directory, $timeline, $segment_size);
	my $ours = our_records($directory, $timeline);

	compare_records($ours, $theirs, $segment_size, $test);
	my $all = all_of($ours);
	foreach my $options ([ '--seed', $seed ], ['--each'], [ '--each', '--seed', $seed + 1 ])
	{
		my $again = our_records($directory, $timeline, @$options);
		ok(all_of($again) eq $all, "$test: the same with @$options") or same_records($again, $ours, "@$options");
	}
	return $theirs;
}

# Tests that WAL has records of these names, so that a load that has lost them does not go unnoticed.
sub has_kinds
{
	my ($dump, $test, @kinds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %there = map { $_ => 1 } @{ $dump->{names} };

	is_deeply([ grep { !$there{$_} } @kinds ], [], "$test: kinds of records");
	return;
}

sub message
{
	my ($node, $bytes) = @_;
	return $node->safe_psql('postgres',
		"SELECT pg_walfile_name(pg_logical_emit_message(true, 'long', repeat('0123456789', $bytes / 10)))");
}

# --- the server's own summaries, since 17 ---------------------------------------------------------

# Waits until all WAL up to now is summarized. Returns what the summaries name: "relation_fork block", and
# "relation_fork limit" where a relation was made anew or has become shorter.
sub server_summaries
{
	my ($node) = @_;

	my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	# Summaries end where a checkpoint's redo is.
	$node->safe_psql('postgres', 'SELECT pg_switch_wal(); CHECKPOINT');
	$node->poll_query_until('postgres', "SELECT summarized_lsn >= '$end' FROM pg_get_wal_summarizer_state()")
	  or die 'WAL was not summarized';
	return split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT DISTINCT reltablespace || '/' || reldatabase || '/' || relfilenode || '_'
    || (ARRAY['main', 'fsm', 'vm', 'init'])[relforknumber + 1] || ' '
    || CASE WHEN is_limit_block THEN 'limit' ELSE relblocknumber::text END
  FROM pg_available_wal_summaries() AS s, pg_wal_summary_contents(s.tli, s.start_lsn, s.end_lsn)
SQL
}

# Tests that our records name all that the server's summaries name.
sub covers_summaries
{
	my ($ours, $test, @summaries) = @_;
	my %named;

	foreach (@{ $ours->{records} })
	{
		$named{"$1_$2 $3"} = 1 while /block \d+ (\S+) (\w+) (\d+)/g;
		$named{"$1 limit"} = 1 if /(?:creates|truncates \d+ flags \d+) (\S+)/;
		if (/drops (\d\S+)/) { $named{"$_ limit"} = 1 foreach split /,/, $1 }
		# The summaries name all forks of a relation that goes, and a whole database as relation 0.
		$named{"$1 database"} = 1 foreach /(?:to|new-database|drops-database) (\d+\/\d+)/;
	}
	my @missing = grep {
		my ($relation) = /^(.*)_/;
		my ($database) = /^(\d+\/\d+)\/0_/;
		!$named{$_} && !(/ limit$/ && $named{"${relation}_main limit"}) && !($database && $named{"$database database"});
	} @summaries;
	cmp_ok(scalar(@summaries), '>', 1000, "$test: the server has summaries");
	is_deeply([ @missing[ 0 .. ($#missing < 9 ? $#missing : 9) ] ], [], "$test: we name all that they name");
	return;
}

# How many records were cut off and replaced.
sub given_up
{
	my ($dump) = @_;
	return scalar grep { $_ eq 'XLOG/OVERWRITE_CONTRECORD' } @{ $dump->{names} };
}

# Ends a server in the middle of a record that lies in two segments, with the second one lost.
sub crash_at_border
{
	my ($node) = @_;

	# It fills the segment up to a page or so.
	$node->safe_psql('postgres', <<'SQL');
CHECKPOINT;
CREATE FUNCTION message_at_border(OUT first text, OUT last text) LANGUAGE plpgsql AS $$
DECLARE
  size int := setting FROM pg_settings WHERE name = 'wal_segment_size';
  remain int;
BEGIN LOOP
  remain := size - (pg_current_wal_insert_lsn() - '0/0') % size;
  EXIT WHEN remain BETWEEN 1000 AND 12000;
  PERFORM pg_logical_emit_message(false, 'fill', repeat('x', greatest(20, least(remain - 12000, 8000))));
END LOOP;
first := pg_walfile_name(pg_current_wal_insert_lsn());
last := pg_walfile_name(pg_logical_emit_message(true, 'long', repeat('0123456789', 30000)));
END $$
SQL
	my ($first, $last) = split /\|/, $node->safe_psql('postgres', 'SELECT * FROM message_at_border()');
	cmp_ok($last, 'gt', $first, 'a record goes on in another segment');
	$node->stop('immediate');
	foreach my $directory ($node->data_dir . '/pg_wal', $node->archive_dir)
	{
		foreach my $segment (grep { /^[0-9A-F]{24}$/ && $_ gt $first } map { s{.*/}{}r } glob "$directory/*")
		{
			unlink "$directory/$segment", "$directory/archive_status/$segment.ready",
			  "$directory/archive_status/$segment.done";
		}
	}
	return;
}

# The same with a record that lies in several pages of one segment, of which the last ones are lost.
sub crash_in_segment
{
	my ($node) = @_;

	$node->safe_psql('postgres', 'SELECT pg_switch_wal(); CHECKPOINT');
	my $begin = $node->safe_psql('postgres', q{SELECT pg_current_wal_insert_lsn() - '0/0'});
	my $segment = message($node, 50000);
	$node->stop('immediate');

	open my $file, '+<:raw', $node->data_dir . "/pg_wal/$segment" or die "could not open $segment: $!";
	my $size = -s $file;
	my $cut = (int(($begin + 20000) / 8192) * 8192) % $size;
	seek $file, $cut, 0 or die "could not seek: $!";
	print $file "\0" x ($size - $cut);
	close $file or die "could not write $segment: $!";
	return;
}

# A copy of a node that does not run, promoted where its WAL ends. Stopped.
sub promoted
{
	my ($node, $name) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);

	$node->backup_fs_cold($name);
	$copy->init_from_backup($node, $name);
	$copy->append_conf('postgresql.conf', "archive_command = 'cp %p \"@{[ $copy->archive_dir ]}/%f\"'");
	$copy->set_standby_mode;
	$copy->start;
	$copy->promote;
	$copy->safe_psql('postgres', q{INSERT INTO items VALUES (100000, 'after the promotion'); SELECT pg_switch_wal()});
	$copy->stop;
	return $copy;
}

# --- segments of 1 MB -----------------------------------------------------------------------------

my $node = new_node('small', 1);
my $load = WalLoad->new($node, $seed);
$load->set_up;
note($load->run($seconds) . ' rounds of load');
# More than two segments, so that one has nothing but the middle of it.
message($node, 2_500_000);

crash_at_border($node);
my $at_border = promoted($node, 'at_border');
$node->start;
message($node, 100);
crash_in_segment($node);
my $in_segment = promoted($node, 'in_segment');
$node->start;

# A backend that is killed while it writes: the server starts again by itself.
$node->psql('postgres', <<'SQL');
DO $$ BEGIN FOR i IN 1 .. 20 LOOP
  PERFORM pg_logical_emit_message(true, 'killed', repeat('0123456789', 10000));
END LOOP;
COPY (SELECT) TO PROGRAM 'kill -9 $PPID';
END $$
SQL
$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not start again';
# A crash that leaves the last segment as it was recycled.
$node->safe_psql('postgres', 'SELECT pg_switch_wal(); CHECKPOINT; SELECT pg_switch_wal(); CHECKPOINT');
$node->safe_psql('postgres', q{INSERT INTO items VALUES (100000, 'the last one')});
$node->stop('immediate');

my $wal = gather($node);
my $dump = compare($node, $wal, 1, 1 << 20, '1 MB');
has_kinds($dump, '1 MB', qw(
  XLOG/CHECKPOINT_SHUTDOWN XLOG/CHECKPOINT_ONLINE XLOG/SWITCH XLOG/PARAMETER_CHANGE XLOG/RESTORE_POINT
  XLOG/FPW_CHANGE XLOG/BACKUP_END XLOG/OVERWRITE_CONTRECORD XLOG/FPI XLOG/FPI_FOR_HINT XLOG/NEXTOID
  Transaction/COMMIT Transaction/ABORT Transaction/PREPARE Transaction/COMMIT_PREPARED
  Transaction/ABORT_PREPARED Transaction/ASSIGNMENT Transaction/INVALIDATION
  Storage/CREATE Storage/TRUNCATE Database/CREATE_FILE_COPY Database/CREATE_WAL_LOG Database/DROP
  Tablespace/CREATE Tablespace/DROP MultiXact/CREATE_ID RelMap/UPDATE Standby/LOCK Standby/RUNNING_XACTS
  Heap/INSERT Heap/INSERT+INIT Heap/DELETE Heap/UPDATE Heap/HOT_UPDATE Heap/LOCK Heap/TRUNCATE Heap/HEAP_CONFIRM
  Heap/INPLACE Heap2/MULTI_INSERT Heap2/NEW_CID Heap2/REWRITE
  Btree/INSERT_LEAF Btree/SPLIT_R Btree/DEDUP Btree/UNLINK_PAGE Btree/VACUUM
  Hash/INSERT Hash/SPLIT_PAGE Hash/SQUEEZE_PAGE Hash/DELETE
  Gin/INSERT Gin/SPLIT Gin/INSERT_LISTPAGE Gin/UPDATE_META_PAGE Gin/VACUUM_PAGE
  Gist/PAGE_UPDATE Gist/PAGE_SPLIT Gist/PAGE_DELETE Sequence/LOG
  SPGist/ADD_LEAF SPGist/PICKSPLIT SPGist/VACUUM_LEAF BRIN/INSERT BRIN/SAMEPAGE_UPDATE BRIN/REVMAP_EXTEND
  CommitTs/ZEROPAGE ReplicationOrigin/SET Generic/Generic LogicalMessage/MESSAGE));
# The one that was killed has perhaps left a third one.
cmp_ok(given_up($dump), '>=', 2, 'records were given up');

# Each copy went another way where its WAL ended. It has left the record that was cut off on timeline 1.
foreach my $copy ($at_border, $in_segment)
{
	my $wal = gather($copy);
	# The last segment of timeline 1 may be there under the name of a partial one.
	my ($first) = wal_segments($wal, 2);
	my ($before, @older) = reverse grep { substr($_, 8) lt substr($first, 8) } wal_segments($wal, 1);
	unlink map { "$wal/$_" } @older;
	my $left = compare($copy, $wal, 1, 1 << 20, $copy->name . ', timeline 1');
	# With a segment from before the switch, as recovery reads them.
	PostgreSQL::Test::Utils::system_or_bail('cp', "$wal/$before", "$wal/" . $before =~ s/^.{8}/00000002/r);
	my $dump = compare($copy, $wal, 2, 1 << 20, $copy->name . ', timeline 2');
	has_kinds($dump, $copy->name . ', timeline 2', qw(XLOG/END_OF_RECOVERY XLOG/CHECKPOINT_SHUTDOWN Transaction/COMMIT));
	is(given_up($dump), given_up($left), $copy->name . ': the new timeline begins before the record that was cut off');
	$copy->clean_node;
}
$node->clean_node;

# --- segments of other sizes ----------------------------------------------------------------------

foreach my $megabytes ($seconds ? (16, 64) : 16)
{
	my $node = new_node("segments_of_$megabytes", $megabytes);
	my $load = WalLoad->new($node, $seed);

	$load->set_up(PostgreSQL::Test::Utils::tempdir('elsewhere'));
	note($load->run($seconds) . ' rounds of load');
	my @summaries = $node->pg_version >= 17 ? server_summaries($node) : ();
	crash_at_border($node);
	$node->start;
	$node->safe_psql('postgres', q{INSERT INTO items VALUES (100000, 'the last one')});
	$node->stop;
	my $wal = gather($node);
	my $dump = compare($node, $wal, 1, $megabytes << 20, "$megabytes MB");
	covers_summaries(our_records($wal, 1), "$megabytes MB", @summaries) if $node->pg_version >= 17;
	has_kinds($dump, "$megabytes MB", qw(XLOG/OVERWRITE_CONTRECORD XLOG/SWITCH Generic/Generic));
	$node->clean_node;
}

done_testing();
