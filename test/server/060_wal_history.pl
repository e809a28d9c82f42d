# Diffs by WAL when the server that takes them has not made the full itself since its start: after restarts, on a
# standby, after a promotion. Each segment says which one it follows, and that is compared. The WAL of a twin, which
# has the same names, positions and sizes and other rows, is never taken for the server's own.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils ();
use Test::More;
use VezaTest;

plan skip_all => 'it is about which WAL is trusted: 057 makes diffs by WAL on S3' if store() ne 'dir';

my $primary = VezaTest->new('primary');
$primary->init(extra => ['--data-checksums']);
# A promoted standby needs the last segment of the old timeline.
$primary->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
wal_keep_size = 1GB
checkpoint_timeout = 1h
CONF
$primary->start;
$primary->safe_psql('postgres', $_) foreach (
	'CREATE EXTENSION veza_backup',
	q{CREATE TABLE t AS SELECT n AS id, 'before' AS b, repeat('x', 700) AS filler FROM generate_series(1, 3000) n});

sub summary { return decode_json(read_object("main/backup/$_[0]/backup.json")) }

# Updates one row. Any two updates have the same size.
sub update
{
	my ($node, $id) = @_;
	$node->safe_psql('postgres', "UPDATE t SET b = 'behind' WHERE id = $id");
	return;
}

sub rows_of { return $_[0]->safe_psql('postgres', 'SELECT count(*), sum(hashtext(id || b)) FROM t') }

sub restored_rows
{
	my ($node, $label, @arguments) = @_;
	my $copy = $node->restore("copy_$label", '--backup', $label, '--target-immediate', '--target-action', 'promote',
		@arguments);
	$copy->append_conf('postgresql.conf', 'archive_mode = off');    # it would archive a timeline
	$copy->start;
	$copy->wait_for_end_of_recovery;
	my $rows = rows_of($copy);
	$copy->discard;
	return $rows;
}

sub is_by_wal
{
	my ($node, $label, $test) = @_;
	my $summary = summary($label);
	is($summary->{changes_by}, 'wal', "$test: by WAL") or diag($summary->{changes_doubt});
	ok(!exists $summary->{changes_doubt}, "$test: no doubt");
	is(restored_rows($node, $label), rows_of($node), "$test: the rows are right");
	return;
}

my $full = $primary->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$primary->backup('base');
my $standby = VezaTest->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->adopt($primary);
$standby->start;

# --- restarts -------------------------------------------------------------------------------------

update($primary, 10);
$primary->archive_wal;
update($primary, 20);
$primary->restart;
update($primary, 30);
$primary->archive_wal;
$primary->restart;
$primary->safe_psql('postgres', 'CHECKPOINT');
update($primary, 40);
is_by_wal($primary, $primary->safe_psql('postgres', q{SELECT veza_backup_now('diff')}), 'after two restarts');

# --- a standby ------------------------------------------------------------------------------------

update($primary, 50);
$primary->archive_wal;
$primary->wait_for_catchup($standby, 'replay');
my $session = $standby->start_sql(q{SELECT veza_backup_now('diff')});
while ($session->{harness}->pumpable)
{
	$primary->archive_wal;
	$session->{harness}->pump_nb;
}
my ($exit, $diff, $err) = $standby->finish_sql($session);
is($exit, 0, 'a standby takes a diff') or diag($err);
$primary->wait_for_catchup($standby, 'replay');
is_by_wal($standby, $diff, 'a standby');

# --- a promotion ----------------------------------------------------------------------------------

update($primary, 60);
$primary->stop;
my $twin = VezaTest->new('twin');
IPC::Run::run([ 'cp', '-a', $primary->data_dir, $twin->data_dir ]) or die 'cp failed';
$standby->promote;
$standby->wait_for_end_of_recovery;
update($standby, 70);
$standby->archive_wal;
is_by_wal($standby, $standby->safe_psql('postgres', q{SELECT veza_backup_now('diff')}), 'after a promotion');
$standby->restart;
update($standby, 80);
is_by_wal($standby, $standby->safe_psql('postgres', q{SELECT veza_backup_now('diff')}), 'after a promotion and a restart');
$standby->stop;

# --- a twin ---------------------------------------------------------------------------------------

sub newest { return (sort map { m{/(00000001[0-9A-F]{16})$} ? $1 : () } objects('main/wal/'))[-1] }

# Both do the same work, on other rows. The twin archives elsewhere meanwhile. Then the server stops, and the twin
# archives here, from the segment behind the server's last one on.
$primary->start;
foreach my $id (100, 200)
{
	update($primary, $id);
	$primary->archive_wal;
}
$primary->stop;
my $last = newest();

$twin->adopt_as_twin($primary, cluster => 'elsewhere');
$twin->start;
$twin->safe_psql('postgres', 'SELECT veza_backup_init()');
my $id = 1000;
for (;;)
{
	update($twin, $id++);
	last if $twin->archive_wal ge $last;
}
$twin->apply_conf(cluster => 'main');
$twin->safe_psql('postgres', 'SELECT veza_backup_init()');
update($twin, 2500);
cmp_ok($twin->archive_wal, 'eq', newest(), 'the twin goes on where the server ended');
update($twin, 2600);
$diff = $twin->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
like($diff, qr/^${full}_/, 'a diff on the full from before');
my $summary = summary($diff);
isnt($summary->{changes_by}, 'wal', 'not by WAL, which is the WAL of another');
like($summary->{changes_doubt}, qr/follows another segment "$last" than the one in the repository/, 'the summary says why');
is(restored_rows($twin, $diff, '--target-timeline', 1), rows_of($twin), 'the rows are right');

like(
	$twin->safe_psql('postgres', "SELECT detail FROM veza_backup_info() WHERE label = '$diff'"),
	qr/everything was read, because WAL segment "\w+" follows another/,
	'veza_backup_info() says why');
($exit, my $out, $err) = $twin->vezactl('info');
like($out, qr/everything was read, because WAL segment "\w+" follows another.*: $diff/, 'vezactl info says why');
($exit, $out, $err) = $twin->vezactl('info', '--output', 'json');
like($out, qr/"changes_doubt": ?"WAL segment /, 'and says it in JSON');
$twin->stop('immediate');

done_testing();
