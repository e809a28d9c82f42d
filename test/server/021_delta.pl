# vezactl restore --delta returns a data directory to a backup, and does not fetch data that is
# already right.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(remove_tree);
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE EXTENSION pgcrypto;
-- Frozen below, so that reading it changes no page.
CREATE TABLE large AS SELECT i, gen_random_bytes(1000) AS b FROM generate_series(1, 30000) i;
CREATE TABLE marks(name text);
INSERT INTO marks VALUES ('in the backup');
VACUUM FREEZE large;
CHECKPOINT;
SQL
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('postgres', q{INSERT INTO marks VALUES ('in the WAL')});
$node->archive_wal;

my $copy = $node->restore('copy');
my $target = $copy->data_dir;

sub restore_json
{
	my (@arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my ($exit, $out, $err) =
	  $node->vezactl('--output', 'json', 'restore', '--target-dir', $target, @arguments);
	is($exit, 0, "restore @arguments") or diag($err);
	# The port and the socket were settings of the copy only.
	$copy->adopt($node);
	return decode_json($out);
}

sub marks
{
	$copy->start;
	$copy->wait_for_end_of_recovery;
	my $marks = $copy->safe_psql('postgres', q{SELECT string_agg(name, ', ') FROM marks});
	is($copy->safe_psql('postgres', 'SELECT count(*), count(DISTINCT b) FROM large'),
		'30000|30000', 'the large table is whole');
	return $marks;
}

is(marks(), 'in the backup, in the WAL', 'a copy');

# --- a server with unwanted changes ---------------------------------------------------------------

$copy->safe_psql('postgres', <<'SQL');
INSERT INTO marks VALUES ('a mistake');
CREATE TABLE mistake AS SELECT generate_series(1, 1000);
DELETE FROM large WHERE i = 77;
CHECKPOINT;
SQL
my $file = $copy->safe_psql('postgres', q{SELECT pg_relation_filepath('mistake')});
$node->vezactl_fails([ 'restore', '--delta', '--target-dir', $target ],
	2, qr/a server with process id \d+ runs in directory "\Q$target\E".*HINT: /s,
	'a server that runs');
$copy->stop;
$node->vezactl_fails([ 'restore', '--target-dir', $target ], 2, qr/is not empty/, 'without --delta');

my $report = restore_json('--delta');
cmp_ok($report->{bytes}, '>', 30_000_000, 'the whole cluster is as in the backup');
cmp_ok($report->{bytes_fetched}, '<', $report->{bytes} / 4, 'little data was fetched');
ok(!-e "$target/$file", 'a table that was created later is gone');
is(marks(), 'in the backup, in the WAL', 'the mistakes are gone, too');
$copy->stop('immediate');

# --- killed ---------------------------------------------------------------------------------------

append_to_file("$target/base/stray", 'x');
unlink glob "$target/base/1/1*";
my $large = $node->safe_psql('postgres', q{SELECT pg_relation_filepath('large')});
unlink "$target/$large";
my $killed = 0;
foreach my $milliseconds (20, 50, 100, 200, 400)
{
	my $command = "exec '$ENV{VEZACTL}' --config '@{[ $node->conf ]}' --quiet restore --delta"
	  . " --target-dir '$target' 2>/dev/null";
	system("timeout -s KILL @{[ $milliseconds / 1000 ]} sh -c \"$command\"");
	if ($? >> 8 == 137 || $? & 127)
	{
		$killed++;
		ok(!-e "$target/global/pg_control" || -e "$target/base/stray",
			"killed after $milliseconds ms: it cannot be started, or nothing was changed");
	}
}
note("killed $killed times");
restore_json('--delta');
ok(!-e "$target/veza-restoring", 'the next run completes it');
is(marks(), 'in the backup, in the WAL', 'the server starts after the last run');
$copy->stop;

# --- not a data directory -------------------------------------------------------------------------

my $letters = $node->basedir . '/letters';
mkdir $letters;
append_to_file("$letters/1", 'dear');
$node->vezactl_fails([ 'restore', '--delta', '--target-dir', $letters ],
	2, qr/not empty and not a data directory/, 'a directory that is not a data directory');
is(slurp_file("$letters/1"), 'dear', 'the other directory is left alone');

done_testing();
