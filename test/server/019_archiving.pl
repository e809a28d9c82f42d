# Archiving: look-ahead, the view veza_backup_archive, the warning about old WAL, dropping WAL when
# the disk fills, clones of a server, and a shutdown with a backlog.

use strict;
use warnings;
use File::Basename qw(basename);
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Find ();
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(proxy => 1, settings => { archive_max_age => '2s' });
# A checkpoint would write WAL that waits to be archived. So none may happen by itself.
$node->append_conf('postgresql.conf',
	"autovacuum = off\nwal_keep_size = '2GB'\ncheckpoint_timeout = '1h'\nmax_wal_size = '4GB'");
$node->start;
# The function is not temporary: a session with a temporary function writes a commit record when it
# ends, at some later time.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE FUNCTION write_segment() RETURNS text LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
  -- The levels of compression make something of it.
  PERFORM pg_logical_emit_message(false, 'veza',
    string_agg('row ' || i || ' of ' || md5((i % 97)::text), ';')) FROM generate_series(1, 1000) i;
  name := pg_walfile_name(pg_current_wal_insert_lsn());
  PERFORM pg_switch_wal();
  RETURN name;
END $$;
SQL

sub archiving
{
	my ($columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM veza_backup_archive");
}

sub write_segments
{
	my ($count) = @_;
	return split /\n/,
	  $node->safe_psql('postgres', "SELECT write_segment() FROM generate_series(1, $count)");
}

my $seconds;

sub seconds_of
{
	my ($code) = @_;
	my $begin = time;
	$code->();
	return time - $begin;
}

# --- a backlog ------------------------------------------------------------------------------------

my $first = $node->archive_wal;
is(archiving('ready_files, failing, in_flight, gaps IS NULL OR gaps = 0'), '0|f|0|t', 'all is well');
is(archiving('last_stored'), $first, 'what was stored last');
cmp_ok(archiving('sealed_bytes'), '<', archiving('stored_bytes'), 'the view shows the bytes before and after compression');

my $position = -s $node->logfile;
break_store();
my @segments = write_segments(40);
$node->wait_for_log(qr/could not archive WAL file "$segments[0]"/, $position);
$node->wait_for_log(
	qr/WARNING: .*WAL file "$segments[0]" has been waiting to be archived for \d+ s/, $position);
$node->wait_for_log(qr/DETAIL:  \d+ files wait/, $position);
$node->wait_for_log(qr/HINT:  The view veza_backup_archive/, $position);
is(archiving(q{ready_files, ready_bytes = ready_files * 16777216, oldest_ready, oldest_ready_age > '2s', exposure > '1s'}),
	"40|t|$segments[0]|t|t", 'the view shows what waits');
is(archiving(q{failing, last_failed, last_error LIKE 'could not archive WAL file "' || last_failed || '"%', failed_count > 0, last_error_hint <> ''}),
	"t|$segments[0]|t|t|t", 'the view shows the last error');
cmp_ok(archiving('disk_free'), '>', 0, 'the view shows the free space of the disk');
is(archiving('time_to_drain IS NULL'), 't', 'the view cannot say when the backlog will be gone');

my $archiver = $node->archiver_pid;
mend_store();
$node->wake_archiver;
$node->wait_for_archived($segments[-1]);
is($node->archiver_pid, $archiver, 'the same archiver process stores them');
is(scalar(grep { my $s = $_; !grep { m{/$s$} } objects('main/wal/') } @segments), 0,
	'every segment is there');
$node->wait_for_log(qr/LOG: .*WAL is archived in time again/, $position);
# With checksums, hint bits are also written to WAL.
$node->archive_wal;
poll_until(sub { archiving('ready_files, failing, exposure') eq '0|f|00:00:00' },
	'no WAL to wait any more');
poll_until(
	sub {
		$node->archive_wal;
		archiving('compression_level') eq '3';
	},
	'the configured level');

# By default PostgreSQL is told after at most ten seconds that a WAL file cannot be archived.
SKIP:
{
	skip 'a directory that may not be read is not tried again', 1 if store() ne 's3';

	$node->apply_conf(archive_retry_timeout => '1min');
	my $failed = archiving('failed_count');
	break_store();
	my ($patient) = write_segments(1);
	sleep 13;
	is(archiving('failed_count'), $failed, 'archive_retry_timeout says how long a WAL file is tried');
	mend_store();
	$node->wait_for_archived($patient);
	$node->apply_conf(archive_retry_timeout => undef);
}

# Adaptive compression shows in the sizes of the objects. The same segments are stored again under
# another name of the cluster.
sub sealed_size
{
	my ($cluster, %settings) = @_;
	$node->apply_conf(cluster => $cluster, %settings);
	$node->safe_psql('postgres', 'SELECT veza_backup_init()');
	my $before = archiving('sealed_bytes');
	# The archiver has to meet all of them at once. If it woke up while only a few wait, it would begin
	# with the configured level, and on a slow store it would stay there.
	kill 'STOP', $node->archiver_pid;
	rename $node->data_dir . "/pg_wal/archive_status/$_.done",
	  $node->data_dir . "/pg_wal/archive_status/$_.ready"
	  foreach @segments;
	kill 'CONT', $node->archiver_pid;
	$node->wake_archiver;
	$node->wait_for_archived($segments[-1]);
	return archiving('sealed_bytes') - $before;
}
my $fixed = sealed_size('fixed', adaptive_compression => 'off', compression_level => 9);
my $adaptive = sealed_size('adaptive', adaptive_compression => 'on');
$node->apply_conf(compression_level => 3);
# Not even level 1, with which a backlog begins whatever the store, is as good as level 9.
cmp_ok($adaptive, '>', $fixed, 'a backlog is compressed at a faster level');
is(scalar(my @ahead = grep { m{^adaptive/wal/.*/[0-9A-F]{24}$} } objects('adaptive/')), 40,
	'the backlog is stored completely');

# --- a reload during a backlog --------------------------------------------------------------------

$node->apply_conf(cluster => 'elsewhere');
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
$node->apply_conf(cluster => 'main');
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
@segments = write_segments(30);
$node->apply_conf(cluster => 'elsewhere');
# Only after this call does the server continue in the other repository.
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
$node->wake_archiver;
$node->wait_for_archived($segments[-1]);
my @main = grep { m{^main/} } objects('');
my %stored = map { m{/([0-9A-F]{24})$} ? ($1 => 1) : () } objects('');
is(scalar(grep { !$stored{$_} } @segments), 0, 'a change of repository loses no segment');
$node->apply_conf(cluster => 'main');
$node->safe_psql('postgres', 'SELECT veza_backup_init()');

# --- SIGTERM in every phase -----------------------------------------------------------------------

# After SIGTERM the archiver begins nothing new and waits for SIGUSR2, as in a shutdown. Then it
# ends at once, no matter what it was doing, and here another archiver takes its place.
foreach my $phase ('idle', 'busy', 'refused', store() eq 's3' ? 'stalled' : ())
{
	$archiver = $node->archiver_pid;
	break_store($phase eq 'stalled' ? 'stall' : 'refuse') if $phase =~ /refused|stalled/;
	@segments = $phase eq 'idle' ? () : write_segments(12);
	poll_until(sub { archiving('in_flight > 0 OR failing') eq 't' }, 'the archiver to begin')
	  if $phase =~ /refused|stalled/;
	kill 'TERM', $archiver;
	$seconds = seconds_of(
		sub {
			kill 'USR2', $archiver;
			poll_until(sub { !kill 0, $archiver }, 'the archiver to end');
		});
	cmp_ok($seconds, '<', 5, sprintf 'SIGTERM while it is %s: the archiver ends (%.1f s)', $phase, $seconds);
	mend_store();
	poll_until(sub { ($node->archiver_pid || $archiver) ne $archiver }, 'another archiver');
	push @segments, $node->archive_wal;
	my %there = map { m{/([0-9A-F]{24})$} ? ($1 => 1) : () } objects('main/wal/');
	is(scalar(grep { !$there{$_} } @segments), 0, 'every segment is stored by the next archiver');
}

# --- archive_mode = always: every node sends every segment ----------------------------------------

$node->backup('always');
my $twin = VezaTest->new('always');
$twin->init_from_backup($node, 'always', has_streaming => 1);
$twin->adopt($node);
$twin->append_conf('postgresql.conf', 'archive_mode = always');
$twin->start;
@segments = write_segments(6);
$node->wait_for_archived($segments[-1]);
$node->wait_for_catchup($twin);
poll_until(sub { $twin->archive_status($segments[-2]) eq 'done' }, 'the standby to archive, too');
is( $twin->safe_psql('postgres',
		'SELECT conflict_count, failed_count, stored_count > 0 FROM veza_backup_archive'),
	'0|0|t', 'the same content twice is no conflict');
$twin->discard;

# --- a clone --------------------------------------------------------------------------------------

# A clone has the same system identifier and timeline, but its own WAL. It is caught at its first
# segment.
$node->backup('clone');
my $clone = VezaTest->new('clone');
$clone->init_from_backup($node, 'clone');
$clone->adopt($node);
$clone->start;
my $own = $clone->safe_psql('postgres', <<'SQL');
CREATE TABLE elsewhere();
SELECT pg_walfile_name(pg_current_wal_insert_lsn());
SQL
$node->safe_psql('postgres', 'SELECT pg_switch_wal()')
  while $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())') le $own
  && $node->safe_psql('postgres', 'CREATE TABLE IF NOT EXISTS here()') eq '';
$node->wait_for_archived($own);
$position = -s $clone->logfile;
$clone->safe_psql('postgres', 'SELECT pg_switch_wal()');
$clone->wait_for_log(qr/WARNING: .*WAL file "$own" is already in repository .* with different content/,
	$position);
is( $clone->safe_psql('postgres',
		q{SELECT last_conflict, conflict_count > 0, conflict_error LIKE '%written by %' FROM veza_backup_archive}),
	"$own|t|t",
	'the view shows the conflict and which server wrote the other segment');
is($clone->archive_status($own), 'ready', 'the clone keeps its segment');
# The clone's later segments would take names that the right server has yet to use.
my @behind = split /\n/,
  $clone->safe_psql('postgres', 'SELECT write_segment() FROM generate_series(1, 3)');
my $conflicts = 'SELECT conflict_count FROM veza_backup_archive';
my $before = $clone->safe_psql('postgres', $conflicts);
$clone->wake_archiver;
poll_until(sub { $clone->safe_psql('postgres', $conflicts) > $before }, 'the clone to be refused again');
is(scalar(grep { my $s = $_; grep { m{/$s$} } objects('main/wal/') } @behind), 0,
	'the clone does not store its later segments either');
$clone->discard;

# --- an idle server -------------------------------------------------------------------------------

$node->append_conf('postgresql.conf', "archive_timeout = 1\ncheckpoint_timeout = 30");
$node->reload;
$node->safe_psql('postgres', 'CHECKPOINT');
sleep 5;
my $objects = () = objects('main/wal/');
sleep 6;
is(scalar(my @now = objects('main/wal/')), $objects, 'an idle server archives nothing');
poll_until(sub { archiving('exposure') eq '00:00:00' }, 'nothing to lose');

# --- a disk that fills ----------------------------------------------------------------------------

my $backup = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
break_store();
$position = -s $node->logfile;
# A limit above the free space of any disk.
$node->apply_conf(archive_drop_below => '2000GB');
my ($dropped) = write_segments(1);
$node->wait_for_log(qr/WARNING: .*WAL file "$dropped" is dropped/, $position);
$node->wait_for_log(qr/DETAIL:  Less space is free than veza_backup\.archive_drop_below says/, $position);
is(archiving('last_dropped, dropped_count > 0'), "$dropped|t", 'the view shows that WAL was dropped');
unlink $node->data_dir . "/pg_wal/$dropped" or die "could not remove $dropped: $!";
mend_store();
$node->apply_conf(archive_drop_below => '0');
$node->wake_archiver;
$node->archive_wal;
$node->wait_for_log(qr/WARNING: .*there is a gap in the archive: WAL from "$dropped"/, $position);
poll_until(
	sub {
		$node->safe_psql('postgres',
			q{SELECT count(*) FROM veza_backup_info() WHERE type = 'diff' AND status = 'ok'}) > 0;
	},
	'the backup that follows the gap');
is( $node->safe_psql('postgres', 'SELECT max(label) FROM veza_backup_info()') =~ /^${backup}_/,
	1, 'a diff that refers to the existing full');

# --- a store that can be read, but not written to -------------------------------------------------

sub allow_writing
{
	my ($directory, $allowed) = @_;
	File::Find::finddepth(
		sub { chmod $allowed ? 0700 : 0500, $_ or die "could not change the mode of $_: $!" if -d },
		repository() . "/main/$directory");
	return;
}

SKIP:
{
	skip 'the proxy cannot tell a read from a write', 3 if store() eq 's3';
	allow_writing('wal', 0);
	$position = -s $node->logfile;
	# After a new backup, nobody would need the segments that are to be offered again.
	$node->apply_conf(archive_drop_below => '2000GB', backup_after_gap => 'off');
	my @given_up = write_segments(3);
	poll_until(sub { archiving('last_dropped') eq $given_up[-1] }, 'the end of the last segment');
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$node->apply_conf(archive_drop_below => '2001GB');
	poll_until(sub { archiving("gaps_checked_at > '$now'") eq 't' }, 'an archive survey');
	is(join(',', map { $node->archive_status($_) } @given_up),
		'done,done,done', 'a checkpoint may remove dropped WAL');
	unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile, $position),
		qr/archiving \d+ WAL files that are missing/, 'dropped WAL is not offered again while the store accepts no WAL');

	# A checkpoint has removed one of these segments, and the gap may not be recorded.
	my $lost = shift @given_up;
	unlink $node->data_dir . "/pg_wal/$lost" or die "could not remove $lost: $!";
	allow_writing('gap', 0);
	allow_writing('wal', 1);
	$node->apply_conf(archive_drop_below => '0');
	$node->archive_wal;
	$node->reload;    # wakes the scheduler
	# More than the two if the server has finished a segment by itself while the store took none.
	$node->wait_for_log(qr/LOG: .*archiving \d+ WAL files that are missing in the repository/, $position);
	$node->wait_for_archived($_) foreach @given_up;
	is(scalar(grep { my $s = $_; grep { m{/$s$} } objects('main/wal/') } @given_up),
		2, 'dropped WAL is offered again when the store accepts WAL');
	$node->wait_for_log(qr/WARNING: .*could not record a gap in the archive/, $position);
	$node->wait_for_log(qr/WARNING: .*there is a gap in the archive: WAL from "$lost" to "$lost"/,
		$position);
	allow_writing('gap', 1);
	$node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
	$node->apply_conf(backup_after_gap => 'on');    # begins a survey
	poll_until(sub { archiving('gaps') eq '0' }, 'the survey that follows a backup');
}

# --- shutdown -------------------------------------------------------------------------------------

@segments = write_segments(30);
# A shutdown would not switch a segment without a record.
my $last = $node->safe_psql('postgres',
	q{SELECT pg_walfile_name(pg_logical_emit_message(false, 'veza', 'the last record'))});
$seconds = seconds_of(sub { $node->stop('fast') });
note sprintf 'stopped with a backlog in %.1f s', $seconds;
cmp_ok($seconds, '<', 45, 'a shutdown with a backlog and a store ends');
ok((grep { m{/$last$} } objects('main/wal/')), 'the last segment is stored');
$node->start;

$node->apply_conf(archive_shutdown_timeout => '1s');
break_store();
@segments = write_segments(60);
$seconds = seconds_of(sub { $node->stop('fast') });
cmp_ok($seconds, '<', 10, 'a shutdown with a backlog and no store ends soon');
$node->start;
is($node->archive_status($segments[-1]), 'ready', 'the backlog is still there after the shutdown');
mend_store();
$node->wake_archiver;
$node->wait_for_archived($segments[-1]);

# In a smart shutdown sessions may continue for any time, and archiving with them. The limits for a
# shutdown apply only when the server waits for nothing but the archiver.
$archiver = $node->archiver_pid;
$position = -s $node->logfile;
break_store();
my $writer = $node->start_sql(<<'SQL');
DO $$
BEGIN
  WHILE pg_read_file('postmaster.pid') !~ 'stopping' LOOP
    PERFORM pg_sleep(0.05);
  END LOOP;
END $$;
SELECT write_segment() FROM generate_series(1, 3);
SELECT pg_sleep(3600);
SQL
$node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'});
kill 'TERM', $node->{_pid};
my @waiting;
poll_until(sub { (@waiting = glob $node->data_dir . '/pg_wal/archive_status/*.ready') >= 3 },
	'the session to write in a smart shutdown');
# Waits longer than the one second for which a shutdown may archive.
$node->wait_for_log(
	store() eq 's3' ? qr/could not archive WAL file/ : qr/failed too many times/, $position);
mend_store();
kill 'USR1', $archiver;
$node->wait_for_archived(basename($_, '.ready')) foreach @waiting;
ok(kill(0, $archiver), 'a smart shutdown archives for as long as there are sessions');
$node->stop('fast');
$node->finish_sql($writer);

# A slow store is not a dead one: storing one segment takes longer than the time without progress
# that is allowed.
SKIP:
{
	skip 'a directory is not slow', 1 if store() ne 's3';
	$node->change_conf(
		archive_shutdown_timeout => '60s', adaptive_compression => 'off', compression_level => -7);
	$node->start;
	my $slow = $node->safe_psql('postgres', <<'SQL');
SELECT pg_walfile_name(pg_switch_wal());
SELECT pg_walfile_name(pg_logical_emit_message(false, 'veza', string_agg(md5(random()::text), '')))
FROM generate_series(1, 460000)
SQL
	$slow = (split /\n/, $slow)[-1];
	slow_store();
	$seconds = seconds_of(sub { $node->stop('fast') });
	mend_store();
	note sprintf 'stopped with a slow store in %.1f s', $seconds;
	ok((grep { m{/$slow$} } objects('main/wal/')), 'a shutdown waits for a slow store');
}

# --- the smallest and the largest segments --------------------------------------------------------

foreach my $megabytes (1, 1024)
{
	my $other = VezaTest->new("segments_of_$megabytes");
	$other->init(
		extra => [ '--wal-segsize', $megabytes ],
		settings => { cluster => "of_$megabytes" });
	$other->append_conf('postgresql.conf', "min_wal_size = '2GB'\nmax_wal_size = '4GB'");
	$other->start;
	my @of_this_size = map { $other->archive_wal } 1 .. ($megabytes == 1 ? 20 : 1);
	my $stored = () = objects("of_$megabytes/wal/");
	cmp_ok($stored, '>=', scalar(@of_this_size), "segments of $megabytes MB are archived");
	my $fetched = $other->basedir . '/fetched';
	$other->vezactl_ok([ 'wal-get', $of_this_size[-1], $fetched ]);
	is(-s $fetched, $megabytes * 1024 * 1024, 'these segments are restored');
	$other->stop('fast');
}

done_testing();
