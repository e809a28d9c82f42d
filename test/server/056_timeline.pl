
# Choosing a moment: what vezactl says of transactions, restore points and the end of the archive is
# what pg_waldump says, and where recovery then ends.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils ();
use Test::More;
use VezaTest;

plan skip_all => 'it is about what is in WAL: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
max_prepared_transactions = 2
wal_keep_size = '1GB'
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE TABLE t(id int);
CREATE TABLE cut AS SELECT 1 FROM generate_series(1, 1000);
CREATE TABLE gone();
CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
-- The encoding of the first databases is that of the environment.
CREATE DATABASE utf8 TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
SQL
$node->safe_psql('utf8', 'CREATE EXTENSION veza_backup');
# The letters are bytes in LATIN1 that are no UTF-8.
my $letters = q{U&"gr\00F6\00DFe"};
$node->safe_psql('latin', "CREATE EXTENSION veza_backup; CREATE TABLE $letters(id int)");
my $none = $node->basedir . '/none';

# Adds a row. Returns the xid.
sub add
{
	my ($id) = @_;
	return $node->safe_psql('postgres', "INSERT INTO t VALUES ($id) RETURNING pg_current_xact_id()");
}

# All ends of transactions from a position on, as pg_waldump prints them.
sub ends_from
{
	my ($lsn) = @_;
	my ($out, $err) = ('', '');
	local $ENV{TZ} = 'UTC';
	IPC::Run::run(
		[
			$node->installed_command('pg_waldump'), '--rmgr=Transaction', '-p',
			$node->data_dir . '/pg_wal', '-s', $lsn
		],
		'<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	my @ends;
	for my $line (split /\n/, $out)
	{
		next
		  unless $line =~
		  /tx:\s+(\d+), lsn: ([0-9A-F]+\/[0-9A-F]+), .* desc: (COMMIT|ABORT)(_PREPARED (\d+):)? ([-0-9]+ [0-9:.]+) UTC/;
		my ($xid, $at, $kind, $time) = ($5 // $1, $2, $3, $6);
		$time =~ s/ /T/;
		$at =~ s{/0*(?=.)}{/};
		push @ends, { xid => $xid + 0, lsn => $at, committed => $kind eq 'COMMIT', time => "${time}Z" };
	}
	return @ends;
}

sub plan_of
{
	my (@arguments) = @_;
	return decode_json(
		$node->vezactl_ok(
			[ '--output', 'json', 'restore', '--dry-run', '--target-dir', $none, @arguments ],
			"a plan: @arguments"));
}

sub is_between
{
	my ($in, $out, $test, @arguments) = @_;
	my $plan = plan_of(@arguments);
	is($plan->{last_in}{xid}, $in, "$test: the last one in");
	is($plan->{first_out}{xid}, $out, "$test: the first one out");
	return $plan;
}

sub rows_of
{
	my ($server) = @_;
	return $server->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t});
}

# --- two backups, and transactions behind each ----------------------------------------------------

my $old = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $start = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
my $one = add(1);
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('early')});
my $two = add(2);
$node->safe_psql('postgres', <<'SQL');
BEGIN; INSERT INTO t VALUES (3); PREPARE TRANSACTION 'three';
SQL
$node->archive_wal;
my $new = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $four = add(4);
my $between = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', q{COMMIT PREPARED 'three'});
is( $node->safe_psql('postgres',
		q{SELECT lsn <= pg_current_wal_insert_lsn(), newest_backup FROM veza_backup_create_restore_point('late')}),
	"t|$new", 'a restore point with the newest backup');
my $aborted =
  $node->safe_psql('postgres', 'BEGIN; INSERT INTO t VALUES (5) RETURNING pg_current_xact_id(); ROLLBACK');
my $six = add(6);
$node->archive_wal;

my @ends = ends_from($start);
my ($three) = map { $_->{xid} } grep { $_->{xid} > $two && $_->{xid} < $four } @ends;
my $last = (grep { $_->{committed} } @ends)[-1];
is($last->{xid}, $six, 'pg_waldump sees the last commit');

# --- the transactions ------------------------------------------------------------------------------

my $list = decode_json($node->vezactl_ok([ '--output', 'json', 'timeline', '--transactions' ]));
my @ours = map { { xid => $_->{xid}, lsn => $_->{lsn}, committed => $_->{committed}, time => $_->{time} } }
  @{ $list->{transactions} };
splice @ours, 0, @ours - @ends;
$_->{committed} = $_->{committed} ? 1 : 0 for @ours, @ends;
is_deeply(\@ours, \@ends, 'timeline --transactions lists what pg_waldump lists');
my $file = $node->safe_psql('postgres', q{SELECT pg_relation_filenode('t')});
my ($touched) = map { $_->{relations} } grep { $_->{xid} == $six } @{ $list->{transactions} };
my ($relation) = grep { $_->{relation} == $file } @$touched;
cmp_ok($relation->{blocks}, '>=', 1, 'and the relation that was changed');
is_deeply([ @$relation{qw(database_name schema name)} ], [qw(postgres public t)], 'with its name');
like($node->vezactl_ok([ 'timeline', '--transactions' ]), qr/ \Q$six\E  commit  .*\d in postgres\.public\.t\b/,
	'in the text, too');

my $in_sql = decode_json(
	$node->safe_psql('postgres', <<'SQL'));
SELECT json_agg(json_build_object('time', to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.USZ'),
  'timeline', timeline, 'lsn', lsn, 'xid', xid::text::int, 'committed', committed, 'prepared', prepared,
  'database', coalesce(database::text::int, 0), 'relations', relations))
FROM veza_backup_timeline_transactions(now(), '1 day')
SQL
is_deeply($in_sql, $list->{transactions}, 'and so does veza_backup_timeline_transactions()');

my $story = decode_json($node->vezactl_ok([ '--output', 'json', 'timeline' ]));
is_deeply(
	[ map { $_->{text} } grep { $_->{kind} eq 'restore_point' } @{ $story->{events} } ],
	[ 'early', 'late' ], 'timeline shows restore points');
is_deeply([ map { $_->{text} } grep { $_->{kind} eq 'backup' } @{ $story->{events} } ],
	[ $old, $new ], 'and backups');
is_deeply(
	decode_json(
		$node->safe_psql('postgres',
			q{SELECT json_agg(json_build_array(timeline, lsn, kind, detail)) FROM veza_backup_timeline_events()})),
	[ map { [ @$_{qw(timeline lsn kind text)} ] } @{ $story->{events} } ],
	'and so does veza_backup_timeline_events()');
my $commits = 0;
$commits += $_->{commits} for @{ $story->{load} };
cmp_ok($commits, '>=', scalar(grep { $_->{committed} } @ends), 'and the load');
is($node->safe_psql('postgres', 'SELECT sum(commits) FROM veza_backup_timeline()'),
	$commits, 'and so does veza_backup_timeline()');

# --- the window ------------------------------------------------------------------------------------

is( $node->safe_psql('postgres',
		"SELECT bool_and(end_time = '$last->{time}') FROM veza_backup_recovery_window"),
	't', 'the window ends with the last commit');
my $stretch =
  decode_json($node->vezactl_ok([ '--output', 'json', 'info' ]))->{systems}[0]{recovery_window}[0];
is($stretch->{last_commit}{xid}, $six, 'info names it');

# --- targets ---------------------------------------------------------------------------------------

my $plan = is_between($four, $three, 'a time between two commits', '--target-time', $between);
is($plan->{label}, $new, 'the newest backup');
$plan = is_between($one, $two, 'a restore point behind the first backup', '--target-name', 'early');
is($plan->{label}, $old, 'the older backup is chosen for it');
$plan = is_between($three, $six, 'a restore point behind the second backup', '--target-name', 'late');
is($plan->{label}, $new, 'the newer backup is chosen for it');
is(is_between($two, $four, 'an xid', '--target-xid', $two)->{label}, $old, 'and so it is for an xid');
is_between($three, $six, 'a prepared transaction', '--target-xid', $three);
is_between($three, $six, 'an aborted transaction', '--target-xid', $aborted);
is_between($six, undef, 'the end of WAL');
my ($lsn) = map { $_->{lsn} } grep { $_->{xid} == $three } @ends;
is_between($three, $six, 'the LSN of a commit', '--target-lsn', $lsn);
is_between($four, $three, 'the same, exclusive', '--target-lsn', $lsn, '--target-exclusive');

$node->vezactl_fails(
	[
		'restore', '--target-dir', $none, '--target-time',
		$node->safe_psql('postgres', 'SELECT clock_timestamp()')
	],
	2,
	qr/no transaction in the repository ended after time .* the last commit that recovery can reach is transaction $six, committed at .* \(LSN \Q$last->{lsn}\E\)/,
	'a time behind the last commit');
$node->vezactl_fails([ 'timeline', '--around', '' ], 2, qr/--around: the value is empty/, 'a variable that is not set');
$node->vezactl_fails([ 'timeline', '--around', '2026-11-22', '--from', '2026-11-21' ],
	2, qr/--from excludes --around|--around excludes --from/, 'one way to name a range');
$node->vezactl_fails([ 'timeline', '--bucket', '1001min' ],
	2, qr/"1001min" is too long a time to sum up\nHINT: +Give at most 1000min, 1000h or 1000d\./, 'a bucket that is too long');
$node->vezactl_fails([ 'timeline', '--bucket', '99999999999h' ], 2, qr/is too long a time/, 'much too long');
$node->vezactl_fails([ 'timeline', '--bucket', 'x' x 100_000 ],
	2, qr/^vezactl: error: "x{100,2700} \S+ x{100,1400}" is not a length of time$/m, 'a message does not repeat all of a long argument');
$node->vezactl_fails([ 'restore', '--target-dir', $none, '--target-name', 'nowhere' ],
	2, qr/restore point "nowhere" is not in the WAL/, 'a restore point that is not there');
$node->vezactl_fails([ 'restore', '--target-dir', $none, '--target-xid', $six + 1000 ],
	2, qr/is not in the WAL/, 'a transaction that is not there');
ok(!-e $none, 'nothing was written');

my $like = $node->vezactl_ok([ 'restore', '--dry-run', '--target-dir', $none, '--target-time', $between ]);
like($like, qr/^last in       transaction $four, committed at /m, 'the plan as text: the last one in');
like($like, qr/^first out     transaction $three, committed at /m, 'the first one out');

# --- names -----------------------------------------------------------------------------------------

my $before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('latin', "INSERT INTO $letters VALUES (1)");
$node->safe_psql('postgres', $_) foreach ('DELETE FROM cut', 'VACUUM cut', 'DROP TABLE gone');
$node->archive_wal;
my $found = <<'SQL';
SELECT count(*) FROM veza_backup_timeline_transactions(now(), '1 day'), jsonb_array_elements(relations) AS r
WHERE r->>'database_name' = 'latin' AND r->>'name' = U&'gr\00F6\00DFe'
SQL
is($node->safe_psql('utf8', $found), '1', 'a relation of a database in another encoding');
is($node->safe_psql('latin', $found), '1', 'the same, seen from that database');
my ($inserted) = map { @{ $_->{relations} } } @{
	decode_json($node->vezactl_ok([ '--output', 'json', 'timeline', '--transactions', '--from', $before ]))->{transactions}
};
is_deeply([ @$inserted{qw(database_name schema name)} ], [ 'latin', 'public', "gr\x{F6}\x{DF}e" ], 'vezactl gives it in UTF-8');
like($node->vezactl_ok([ 'timeline', '--transactions', '--from', $before ]),
	qr/\d in latin\.public\.gr\xC3\xB6\xC3\x9Fe\b/, 'in the text, too');

$node->safe_psql('postgres', 'DROP DATABASE latin');
$node->archive_wal;
my %told = map { $_->{kind} => $_->{text} }
  @{ decode_json($node->vezactl_ok([ '--output', 'json', 'timeline', '--from', $before ]))->{events} };
is($told{truncated}, 'postgres.public.cut to 0 blocks', 'the name of a relation that was truncated');
is($told{dropped}, '1 relation files dropped: postgres.public.gone', 'of one that was dropped');
is($told{database}, 'latin dropped', 'and of a database');
is( $node->safe_psql('postgres',
		"SELECT string_agg(detail, ', ' ORDER BY lsn) FROM veza_backup_timeline_events('$before') WHERE kind IN ('truncated', 'dropped', 'database')"),
	"$told{truncated}, $told{dropped}, $told{database}", 'veza_backup_timeline_events() says the same');

# --- and so it comes -------------------------------------------------------------------------------

for my $case (
	[ 'at_a_time', '1,2,4', '--target-time', $between ],
	[ 'at_a_name', '1', '--target-name', 'early' ],
	[ 'at_a_prepared', '1,2,3,4', '--target-xid', $three ])
{
	my ($name, $rows, @arguments) = @$case;
	my $copy = $node->restore($name, @arguments, '--target-action', 'promote');
	$copy->start;
	$copy->wait_for_end_of_recovery;
	is(rows_of($copy), $rows, "recovery ends as the plan has said: @arguments");
	# It has left the first timeline before the second backup, or behind it.
	is( $copy->safe_psql('postgres',
			q{SELECT newest_backup FROM veza_backup_create_restore_point('on a branch')}),
		$name eq 'at_a_name' ? $old : $new,
		'the newest backup from which a restore point on the new timeline can be reached');
	$copy->discard;
}

done_testing();
