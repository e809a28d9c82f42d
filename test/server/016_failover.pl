# Failover: the new primary archives the WAL that the lost primary had not archived. WAL that is
# lost is recorded and logged as a gap, and a new backup follows it. The old primary comes back.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

my $primary = VezaTest->new('primary');
$primary->init(extra => ['--data-checksums']);
$primary->append_conf('postgresql.conf', "autovacuum = off\nwal_keep_size = '1GB'");
$primary->start;
$primary->safe_psql('postgres',
	'CREATE EXTENSION veza_backup; CREATE TABLE t(id serial, filler text)');
my $system_id =
  $primary->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');

sub standby_of
{
	my ($origin, $name) = @_;
	my $standby = VezaTest->new($name);
	$origin->backup($name);
	$standby->init_from_backup($origin, $name, has_streaming => 1);
	$standby->adopt($origin);
	$standby->start;
	return $standby;
}

# Fills several segments with rows.
sub write_segments
{
	my ($node, $count) = @_;
	my @segments;
	for (1 .. $count)
	{
		push @segments, $node->safe_psql('postgres', <<'SQL');
INSERT INTO t(filler) SELECT repeat('x', 200) FROM generate_series(1, 1000);
SELECT pg_walfile_name(pg_current_wal_lsn());
SQL
		$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
	}
	return @segments;
}

sub rows_of
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT count(*), max(id) FROM t');
}

sub is_stored
{
	my ($file) = @_;
	return 1 == grep { m{/\Q$file\E$} } objects("main/wal/$system_id/");
}

sub archiving
{
	my ($node, $columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM veza_backup_archive");
}

# Kills the server before it can archive the rest of its WAL.
sub lose
{
	my ($node, $archiver) = @_;
	$node->kill9;
	kill 'KILL', $archiver;
	poll_until(sub { !kill 0, $archiver }, 'the end of the archiver');
	return;
}

# --- the new primary archives what the old one had not --------------------------------------------

my $standby = standby_of($primary, 'standby');
my $backup = $primary->safe_psql('postgres', q{SELECT veza_backup_now('full')});
write_segments($primary, 2);

# The archiver hangs, as if the store were away for this server only.
my $archiver = $primary->archiver_pid;
kill 'STOP', $archiver;
my @unarchived = write_segments($primary, 5);
$primary->safe_psql('postgres', q{INSERT INTO t(filler) VALUES ('in the last segment')});
$primary->wait_for_catchup($standby);
my $rows_before = rows_of($primary);
is(scalar(grep { is_stored($_) } @unarchived), 0, 'the primary has not archived its last segments');
lose($primary, $archiver);

is($standby->archive_status($unarchived[0]), 'done', 'the standby believes that they are archived');
my $position = -s $standby->logfile;
$standby->promote;
$standby->wait_for_log(qr/LOG: .*archiving \d+ WAL files that are missing in the repository/,
	$position);
# Several segments are stored at the same time, and not always in order.
poll_until(
	sub {
		5 == (grep { is_stored($_) } @unarchived)
		  && grep { m{\.partial$} } objects("main/wal/$system_id/00000001/");
	},
	'the segments of the old timeline that the archive lacks');
is(scalar(grep { is_stored($_) } @unarchived), 5, 'the new primary archives them all');
ok(is_stored('00000002.history'), 'it archives the history of its timeline');
is(scalar(grep { m{\.partial$} } objects("main/wal/$system_id/00000001/")), 1,
	'it archives the partial segment');

is(rows_of($standby), $rows_before, 'no row was lost');
my @new = write_segments($standby, 3);
$standby->wait_for_archived($new[-1]);
poll_until(sub { archiving($standby, 'gaps') eq '0' }, 'the archive survey finds no gap');
my $rows_after = rows_of($standby);
my $time = $standby->safe_psql('postgres', 'SELECT clock_timestamp()');
$standby->safe_psql('postgres', 'CREATE TABLE later()');
$standby->archive_wal;
my $copy = $standby->restore('through_the_switch', '--backup', $backup, '--target-time', $time,
	'--target-action', 'promote');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), $rows_after, 'a backup from before the failover is rolled forward through it');
$copy->discard;

# --- the old primary comes back -------------------------------------------------------------------

$standby->safe_psql('postgres', 'CHECKPOINT');
PostgreSQL::Test::Utils::system_or_bail(
	$primary->installed_command('pg_rewind'), '--target-pgdata', $primary->data_dir,
	'--source-server', $standby->connstr('postgres'), '--no-sync', '--config-file',
	$primary->data_dir . '/postgresql.conf');
# pg_rewind has copied the configuration of the other server.
$primary->append_conf('postgresql.conf',
		"wal_keep_size = 0\nport = @{[ $primary->port ]}\n"
	  . "unix_socket_directories = '@{[ $primary->host ]}'\n"
	  . "primary_conninfo = '@{[ $standby->connstr ]}'\n");
$primary->append_conf('standby.signal', '');
$primary->start;
write_segments($standby, 2);
$standby->wait_for_catchup($primary);
is(rows_of($primary), rows_of($standby), 'the rewound server follows');
is(archiving($standby, 'conflict_count'), '0', 'no server has met a segment with another content');
is(archiving($standby, 'dropped_count'), '0', 'no segment was dropped');

# --- WAL that is on no disk any more --------------------------------------------------------------

# The rewound server takes over. It lacks a segment.
$standby->safe_psql('postgres', q{SELECT pg_switch_wal()});
$archiver = $standby->archiver_pid;
kill 'STOP', $archiver;
my @lost = write_segments($standby, 4);
$standby->wait_for_catchup($primary);
poll_until(sub { $primary->archive_status($lost[-1]) eq 'ready' },
	'the standby to keep WAL that may not be archived');
lose($standby, $archiver);
is(archiving($primary, 'ready_files, oldest_ready IS NULL, exposure IS NULL'),
	'0|t|t', 'on a standby, no WAL counts as waiting');
my $hidden = $primary->data_dir . "/pg_wal/$lost[1]";
rename $hidden, $primary->basedir . '/hidden' or die "could not rename $hidden: $!";

my $backups = $primary->safe_psql('postgres', 'SELECT count(*) FROM veza_backup_info()');
$position = -s $primary->logfile;
$primary->promote;
# The checkpoint of the promotion itself may be as quick as this when few buffers are dirty.
$primary->safe_psql('postgres', 'CHECKPOINT');
# What the archiver has stored by now may go.
is(scalar(grep { -e $primary->data_dir . "/pg_wal/$lost[$_]" || is_stored($lost[$_]) } 0, 2, 3),
	3, 'the first checkpoint removes nothing that may not be archived');
$primary->wait_for_log(
	qr/WARNING: .*there is a gap in the archive: WAL from "$lost[1]" to "$lost[1]" is neither in the repository nor in pg_wal/,
	$position);
$primary->wait_for_log(qr/HINT:  A new backup starts by itself/, $position);
$primary->wait_for_log(qr/LOG: .*starting a diff backup because of a gap in the archive/, $position);
is(scalar(my @records = objects("main/gap/$system_id/$lost[1]-$lost[1]")), 1,
	'the gap is recorded in the repository');
poll_until(sub { 3 == grep { is_stored($lost[$_]) } 0, 2, 3 }, 'the segments around the gap');
pass('the existing segments are archived');
poll_until(
	sub {
		$primary->safe_psql('postgres', 'SELECT count(*) FROM veza_backup_info()') > $backups;
	},
	'the backup that follows a gap');
poll_until(sub { archiving($primary, 'gaps') eq '0' }, 'the archive survey begins at the new backup');
$rows_after = rows_of($primary);
$time = $primary->safe_psql('postgres', 'SELECT clock_timestamp()');
$primary->safe_psql('postgres', 'CREATE TABLE much_later()');
$primary->archive_wal;
$copy = $primary->restore('after_the_gap', '--target-time', $time, '--target-action', 'promote');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), $rows_after, 'WAL after the gap can be restored from the new backup');
$copy->discard;

done_testing();
