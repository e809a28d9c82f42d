# A diff on a full that the server has made since its start, after somebody else has archived WAL of
# the same names: a clone, while the server itself archived elsewhere.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use Test::More;
use VezaTest;

plan skip_all => 'it is about which WAL is trusted: 057 makes diffs by WAL on S3' if store() ne 'dir';

my $node = VezaTest->new('primary');
$node->init(extra => ['--data-checksums'], settings => { schedule_full => '', schedule_diff => '' });
$node->append_conf('postgresql.conf', "autovacuum = off\ncheckpoint_timeout = 1h");
$node->start;
# No page gets a hint bit or is named in WAL for another reason than its own update.
$node->safe_psql('postgres', $_) foreach 'CREATE EXTENSION veza_backup',
  q{CREATE TABLE t AS SELECT n AS id, 'before' AS b, repeat('x', 700) AS filler FROM generate_series(1, 3000) n},
  'VACUUM t', 'SELECT count(*) FROM t', 'CHECKPOINT';

sub update
{
	my ($of, $id) = @_;
	$of->safe_psql('postgres', "UPDATE t SET b = 'behind' WHERE id = $id");
	return;
}

sub rows_of
{
	my ($of) = @_;
	return $of->safe_psql('postgres',
		q{SELECT count(*), sum(hashtext(id || b)), count(*) FILTER (WHERE b = 'behind') FROM t});
}

sub newest_segment
{
	return (sort map { m{/(00000001[0-9A-F]{16})$} ? $1 : () } objects('main/wal/'))[-1];
}

$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# A base backup that is started without a signal file goes on under the same timeline.
$node->backup('base');
my $clone = VezaTest->new('clone');
$clone->init_from_backup($node, 'base');
$clone->adopt_as_twin($node);

$node->apply_conf(cluster => 'elsewhere');
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
my $left = newest_segment();
$clone->start;
foreach my $round (1 .. 6)
{
	update($clone, 2000 + $round);
	my $segment = $clone->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
	if ($segment le $left)
	{
		# The server has archived that one.
		$clone->safe_psql('postgres', 'SELECT pg_switch_wal()');
		unlink $clone->data_dir . "/pg_wal/archive_status/$segment.ready";
		next;
	}
	$clone->archive_wal;
}
$clone->stop;
my $last = newest_segment();
cmp_ok($last, 'gt', $left, 'the clone has archived WAL of the same names');

my $id = 100;
do { update($node, $id += 50) } while $node->archive_wal lt $last;
$node->apply_conf(cluster => 'main');
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
update($node, 2900);
$node->archive_wal;
update($node, 2950);
$node->vezactl_ok(['index']);
# The segments that the clone has archived leave pg_wal.
$node->safe_psql('postgres', 'CHECKPOINT');
my $diff = $node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
my $summary = decode_json(read_object("main/backup/$diff/backup.json"));
isnt($summary->{changes_by}, 'wal', 'the diff does not go by the WAL of the clone');
like($summary->{changes_doubt}, qr/follows another segment|own/, 'and says why');

my $copy = $node->restore('copy', '--backup', $diff, '--target-immediate', '--target-action', 'promote');
$copy->append_conf('postgresql.conf', 'archive_mode = off');
$copy->start;
$copy->wait_for_end_of_recovery;
is(rows_of($copy), rows_of($node), 'its rows are right');

done_testing();
