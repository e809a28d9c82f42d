# The recovery window in the views and in vezactl info: when a segment is missing, and across a
# promotion.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE TABLE marks(name text);
SQL

# Returns the rows of a view, one per line.
sub rows
{
	my ($server, $columns, $view) = @_;
	return $server->safe_psql('postgres', "SELECT $columns FROM veza_backup_$view");
}

sub info_of
{
	my ($code) = @_;
	my ($exit, $out) = $node->vezactl('--output', 'json', 'info');
	is($exit, $code, "info: exit code $code");
	return decode_json($out)->{systems}[0];
}

sub wal_object
{
	my ($segment) = @_;
	my ($name) = grep { m{/$segment$} } objects('main/wal/');
	return $name;
}

my $stretch_columns = 'oldest_backup, newest_backup, backups, first_timeline, last_timeline, ended_by';

# --- before there is a backup ---------------------------------------------------------------------

my $first = $node->archive_wal;
is(rows($node, '*', 'recovery_window'), '', 'without a backup there is no window');
is(rows($node, 'timeline, kind', 'archive_ranges'), '1|range', 'without a backup there is a range of WAL');
is_deeply(info_of(0)->{recovery_window}, [], 'info shows no window either');

# --- one range of WAL -----------------------------------------------------------------------------

my $old = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my ($from, $to) = $node->vezactl_ok(['info']) =~ /^recovery window .*\n(\S+Z) +(\S+Z) /m;
is( $node->safe_psql('postgres', "SELECT '$from'::timestamptz <= '$to'::timestamptz"),
	't', "nobody has committed since: the window from $from to $to");
my @between = map { $node->archive_wal } 1 .. 3;
my $new = $node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
my $last = $node->archive_wal;
is(rows($node, $stretch_columns, 'recovery_window'),
	"$old|$new|2|1|1|end of the archive", 'two backups in one stretch');
is( rows($node, "kind, last_segment = '$last'", 'archive_ranges'),
	'range|t', 'there is one range of WAL');
is( $node->safe_psql('postgres', <<'SQL'), 't', 'the window begins with the end of the backup');
SELECT w.start_time = stop_time AND w.start_lsn = stop_lsn AND end_time >= stop_time
  FROM veza_backup_recovery_window w JOIN veza_backup_info() ON label = oldest_backup
SQL

# --- a segment between the two backups is missing -------------------------------------------------

delete_object(wal_object($between[1]));
is( rows($node, $stretch_columns, 'recovery_window'),
	"$old|$old|1|1|1|missing segment $between[1]\n$new|$new|1|1|1|end of the archive",
	'two stretches');
is( rows($node, 'kind, first_segment, last_segment, segments', "archive_ranges WHERE kind = 'gap'"),
	"gap|$between[1]|$between[1]|1", 'a gap');
is( rows($node, "end_lsn = (SELECT start_lsn FROM veza_backup_archive_ranges WHERE kind = 'gap')",
		"recovery_window WHERE oldest_backup = '$old'"),
	't', 'the first stretch ends where the gap begins');

my $info = info_of(0);
is_deeply([ map { $_->{oldest_backup} } @{ $info->{recovery_window} } ], [ $old, $new ], 'info');
is_deeply(
	$info->{gaps},
	[ { timeline => 1, first => $between[1], last => $between[1], segments => 1 } ],
	'info shows the gap');
my $text = $node->vezactl_ok(['info']);
like($text, qr/^  GAP in WAL of timeline 1: $between[1] to $between[1], 1 segments$/m,
	'info as text shows the gap');
like($text, qr/^recovery window .*\n.*missing segment $between[1]\n.*end of the archive$/m,
	'info as text shows both stretches');

# --- across a promotion ---------------------------------------------------------------------------

# The archive has all of the old timeline, except for the segment in which the new one begins.
my $copy = $node->restore('copy', '--backup', $new, '--archive-mode', 'preserve');
$copy->start;
$copy->wait_for_end_of_recovery;
$node->stop;
$copy->safe_psql('postgres', 'CREATE TABLE on_the_new_timeline()');
my $promoted = $copy->archive_wal;
like($promoted, qr/^00000002/, 'there is a second timeline');
is( rows($copy, $stretch_columns, "recovery_window WHERE oldest_backup = '$new'"),
	"$new|$new|1|1|2|end of the archive", 'the window continues across the promotion');
is(rows($copy, 'count(*)', "archive_ranges WHERE kind = 'gap'"), '1', 'there is no other gap');

# --- the WAL of a backup is missing ---------------------------------------------------------------

my $needed =
  $copy->safe_psql('postgres', "SELECT start_lsn FROM veza_backup_info() WHERE label = '$new'");
my $missing = '00000001' . substr $copy->safe_psql('postgres', "SELECT pg_walfile_name('$needed')"), 8;
delete_object(wal_object($missing));
is( rows($copy, $stretch_columns, "recovery_window WHERE oldest_backup = '$new'"),
	"$new|$new|1|||not restorable: missing segment $missing", 'a backup that cannot be restored');
is_deeply(
	info_of(1)->{unrestorable},
	[ { label => $new, reason => "missing segment $missing" } ],
	'makes info exit with 1');
like(($node->vezactl('info'))[1], qr/^  \Q$new\E cannot be restored: missing segment $missing$/m,
	'info as text says it');
$node->vezactl_fails([ 'restore', '--target-dir', $node->basedir . '/x', '--backup', $new ],
	1, qr/WAL segment "$missing", which backup "$new" needs, is not in the repository/,
	'restore refuses the backup');

# Its restore_command uses the settings file of the primary, which is removed with the primary. So
# it is stopped first.
$copy->discard;

done_testing();
