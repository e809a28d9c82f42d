# The index of WAL: the archiver stores it with the segments, the scheduler and vezactl index complete
# it, verify compares it, retention removes it, and archiving goes on without it.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(
	extra => ['--wal-segsize=1'],
	proxy => 'faults',
	settings => { schedule_full => '', schedule_diff => '', retention_archive => 0 });
$node->append_conf('postgresql.conf', "max_wal_size = '64MB'\nwal_keep_size = '256MB'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(i int)');

# Finishes so many segments, and waits until they are archived.
sub segments
{
	my ($of, $count) = @_;
	$of->safe_psql('postgres', 'INSERT INTO t VALUES (1); SELECT pg_switch_wal()') for 1 .. $count;
	return $of->archive_wal;
}

sub index_objects
{
	my @objects = grep { !/\.veza-tmp-/ } objects('main/walindex/');
	return @objects;
}

# The archived segments, and those that an index object names.
sub archived
{
	my @segments = map { m{/([0-9A-F]{24})$} ? $1 : () } objects('main/wal/');
	return @segments;
}

sub indexed
{
	my %indexed;
	for my $object (index_objects())
	{
		my ($first, $last) = $object =~ m{/\d+/[0-9A-F]{8}/([0-9A-F]{24})-([0-9A-F]{24})-1-[0-9a-f]{16}$}
		  or die "unexpected name $object";
		# Of the names of segments of 1 MB, the last eight digits go up to FFF.
		my ($from, $to) = map { hex(substr($_, 8, 8)) * 4096 + hex(substr($_, 16)) } $first, $last;
		$indexed{ sprintf('%s%08X%08X', substr($first, 0, 8), $_ >> 12, $_ & 4095) } = 1
		  for $from .. $to;
	}
	return \%indexed;
}

sub not_indexed
{
	my $indexed = indexed();
	return grep { !$indexed->{$_} } archived();
}

# The postmaster and its children.
sub processes
{
	my ($of) = @_;
	my ($postmaster) = slurp_file($of->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @children = grep { (eval { slurp_file("/proc/$_/stat") } // '') =~ /^\d+ \(.*\) \S $postmaster / }
	  map { m{(\d+)$} } glob '/proc/[0-9]*';
	return ($postmaster, @children);
}

# Lets the scheduler complete the index: it leaves young segments alone, and looks when the settings
# have changed. The times of objects on S3 cannot be set, so vezactl does it there.
my $changes = 300;

sub complete
{
	my ($of, $test) = @_;
	if (store() eq 's3')
	{
		$of->vezactl_ok(['index'], "$test: vezactl index");
	}
	else
	{
		my $hour_ago = time - 3600;
		utime $hour_ago, $hour_ago, repository() . "/$_" for objects('main/wal/');
		# A look makes the index of 64 segments at most.
		poll_until(
			sub {
				return 1 if !not_indexed();
				$of->apply_conf(archive_max_age => ++$changes . 's');
				sleep 1;
				return 0;
			},
			'a complete index');
	}
	is_deeply([ not_indexed() ], [], $test);
	happens(
		sub {
			poll_until(
				sub {
					$of->apply_conf(archive_max_age => ++$changes . 's');
					sleep 1;
					$of->safe_psql('postgres', <<'SQL') eq '0' },
SELECT value FROM veza_backup_metrics WHERE name = 'veza_backup_archive_index_missing_segments'
SQL
				'the metric');
		},
		"$test, says the metric");
	return;
}

# --- the archiver ---------------------------------------------------------------------------------

segments($node, 70);
happens(sub { poll_until(sub { scalar index_objects() }, 'an index object') },
	'64 segments have an index that nobody had to ask for');
my @first = index_objects();
cmp_ok(scalar grep({ indexed()->{$_} } archived()), '>=', 60, 'it names the segments');
is($node->safe_psql('postgres',
		q{SELECT value >= 60 FROM veza_backup_metrics WHERE name = 'veza_backup_archive_indexed_total'}),
	't', 'and is counted');

# --- vezactl index --------------------------------------------------------------------------------

my $made = decode_json($node->vezactl_ok([ 'index', '--output', 'json' ]));
is($made->{segments}, scalar archived(), 'every archived segment is looked at');
is($made->{segments_indexed}, $made->{segments_without_index}, 'what was missing is made');
is_deeply([ not_indexed() ], [], 'nothing is missing');
is(decode_json($node->vezactl_ok([ 'index', '--output', 'json' ]))->{segments_without_index}, 0,
	'a second run has nothing to do');
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->vezactl_ok([ 'verify', '--full' ], "what the archiver has noted is what a second look finds");
$node->vezactl_ok([ 'index', '--all' ]);
is_deeply([ grep { my $old = $_; grep { $_ eq $old } @first } index_objects() ],
	[], '--all has replaced the objects');
$node->vezactl_ok([ 'verify', '--full' ], 'and the new ones are right');

my $segment = (archived())[2];
my $part = decode_json(
	$node->vezactl_ok([ 'index', '--all', '--from', $segment, '--to', $segment, '--output', 'json' ]));
is($part->{segments_indexed}, 1, 'one segment, by its name');
$node->vezactl_fails([ 'index', '--from', 'nonsense' ],
	2, qr/"nonsense" is neither the name of a WAL segment nor an LSN/, 'neither a segment nor an LSN');
$node->vezactl_fails([ 'index', '--from', $segment, '--timeline', 7 ], 2, qr/different timelines: 7 and 1/,
	'two timelines');

# --- damage ---------------------------------------------------------------------------------------

my ($victim) = index_objects();
write_object($victim, substr(read_object($victim), 0, 300));
my ($exit, $out) = $node->vezactl('verify');
is($exit, 1, 'verify finds a damaged index');
my ($inside) = $victim =~ m{^main/(.*)};
like($out, qr/index of WAL: .*\Q$inside\E.*"vezactl index --all --from \w+ --to \w+"/, 'and says what helps');
like($out, qr/\Q$label\E +full +good/, 'the backup is good');
$node->vezactl_ok(['index']);
$node->vezactl_ok(['verify'], 'which is so');

# --- the archiver goes on without -----------------------------------------------------------------

my $position = -s $node->logfile;
permit_writes('main/walindex', 0);
segments($node, 66);
happens(
	sub {
		poll_until(sub { segments($node, 1);
				$node->log_contains('could not store the index of WAL', $position) },
			'a warning');
	},
	'an index that cannot be stored is logged');
is($node->safe_psql('postgres', 'SELECT failed_count FROM veza_backup_archive'),
	0, 'and is no failure of archiving');
permit_writes('main/walindex', 1);
complete($node, 'the index is complete again');

# --- a crash --------------------------------------------------------------------------------------

for my $round (1 .. 3)
{
	my $load = $node->start_sql(
		join '', map { 'INSERT INTO t SELECT generate_series(1, 100000); SELECT pg_switch_wal();' } 1 .. 5);
	sleep rand(1.5);
	my @processes = processes($node);
	$node->kill9;
	kill 'KILL', @processes;
	$node->finish_sql($load);
	poll_until(sub { !kill 0, @processes }, 'the end of all processes');
	$node->start;
}
segments($node, 3);
complete($node, 'the index is complete after crashes');

# --- a promotion ----------------------------------------------------------------------------------

$node->backup('base');
my $standby = VezaTest->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->adopt($node);
$standby->start;
segments($node, 5);
$node->wait_for_catchup($standby);
$node->stop;
$standby->promote;
$standby->wait_for_end_of_recovery;
segments($standby, 5);
complete($standby, 'no hole in the index across a promotion');
ok(scalar(grep { m{/00000002/} } index_objects()), 'the new timeline has an index');
$standby->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$standby->vezactl_ok([ 'verify', '--full' ], 'which is right');

# --- off ------------------------------------------------------------------------------------------

$standby->apply_conf(wal_index => 'off');
my @before = index_objects();
segments($standby, 66);
is_deeply([ index_objects() ], \@before, 'wal_index = off makes none');

# --- retention ------------------------------------------------------------------------------------

SKIP:
{
	skip 'the times of objects on S3 cannot be set', 4 if store() eq 's3';
	my $long_ago = time - 7200;
	utime $long_ago, $long_ago, repository() . "/$_" for index_objects();
	$standby->vezactl_ok(['index']);
	my %known = map { $_ => 1 } archived();
	my %young = map { $_ => 1 } index_objects();
	delete @young{@before};
	cmp_ok(scalar keys %young, '>', 0, 'there are young objects');
	$standby->apply_conf(retention_full => 1, retention_diff => 0, retention_archive => 1);
	$standby->safe_psql('postgres', q{SELECT veza_backup_now('full')});
	is(scalar grep({ m{/00000001/} } index_objects()), 0, 'the index of the old timeline is gone with its WAL');
	is_deeply([ grep { !-e repository() . "/$_" } keys %young ], [], 'young objects stay');
	is_deeply([ grep { $known{$_} } not_indexed() ], [], 'what stays keeps its index');
}

# --- damaged WAL ----------------------------------------------------------------------------------

SKIP:
{
	skip 'objects on S3 cannot be damaged', 3 if store() eq 's3';
	segments($standby, 2);
	$standby->apply_conf(wal_index => 'on');
	my ($segment) = not_indexed();
	my ($object) = grep { m{/$segment$} } objects('main/wal/');
	my $path = repository() . "/$object";
	my $position = -s $standby->logfile;
	flip_last_byte($path);
	my $hour_ago = time - 3600;
	utime $hour_ago, $hour_ago, $path;
	my $row = sub {
		my ($columns) = @_;
		return $standby->safe_psql('postgres',
			"SELECT $columns FROM veza_backup_check() WHERE name = 'wal_index'");
	};
	is($row->('passed'), 't', 'the check passes before');
	happens(
		sub {
			poll_until(
				sub {
					$standby->apply_conf(archive_max_age => ++$changes . 's');
					sleep 1;
					return $row->('passed') eq 'f';
				},
				'the row of the check');
		},
		'an archived segment that cannot be read fails the check');
	like($row->('detail, hint'), qr/^1 archived WAL segments could not be read at .*\|.*vezactl verify --full/,
		'which says what to do');
	$standby->wait_for_log(qr/WARNING: .*1 archived WAL segments cannot be read\n.*DETAIL: .*\/$segment\b/, $position);
}

done_testing();
