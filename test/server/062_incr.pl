# Incr backups: each builds on the newest backup, whatever its type, and each is restored and read by both readers.
# Retention keeps what an incr needs, and version 0.1 finds a mark on that. What only unit tests can reach is in
# test/core/restore/incr_test.cpp and test/core/retention/incr_retention_test.cpp.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils ();
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(settings => { retention_full => 1, retention_diff => 1, retention_incr => 1, retention_archive => 1 });
$node->append_conf('postgresql.conf', "autovacuum = off\nwal_log_hints = on\n");
$node->start;
sql($_) foreach (
	'CREATE EXTENSION veza_backup',
	'CREATE TABLE t (id int PRIMARY KEY, a int) WITH (fillfactor = 50)',
	'INSERT INTO t SELECT n, 0 FROM generate_series(1, 50000) n',
	'CREATE TABLE idle AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub back_up { return sql("SELECT veza_backup_now('$_[0]')") }

sub summary { return decode_json(read_object("main/backup/$_[0]/backup.json")) }

sub change { return sql("UPDATE t SET a = a + 1 WHERE id BETWEEN $_[0] AND $_[0] + 20") }

# What a restore of each backup must hold.
my %sums;

# The rows are read before the backup: hints that reading sets are logged, and so change pages.
sub take
{
	my ($type) = @_;
	my $sum = sql('SELECT count(*) || \' \' || sum(a) || \' \' || sum(id::bigint * a) FROM t');
	my $label = back_up($type);
	$sums{$label} = $sum;
	return $label;
}

my $full = take('full');
change(100);
my $diff = take('diff');
change(20000);
my $first = take('incr');
change(100);
change(40000);
my $second = take('incr');

like($first, qr/^\Q$full\E_\d{8}-\d{6}I$/, 'the label of an incr');
my $summary = summary($second);
is($summary->{type}, 'incr', 'its type');
is($summary->{parent}, $first, 'it builds on the newest backup');
is(summary($first)->{parent}, $diff, 'which may be a diff');
is($summary->{changes_by}, 'wal', 'WAL tells what has changed');
my @sources = map { $_->{label} } @{ $summary->{sources} };
ok((grep { $_ eq $full } @sources), 'most is in the full');
ok((grep { $_ eq $first } @sources), 'some is in the incr before');
cmp_ok($summary->{stored_size}, '<', summary($full)->{stored_size} / 4, 'it is small');

# --- info, verify, restore ------------------------------------------------------------------------

is(sql("SELECT type || ' ' || status FROM veza_backup_info() WHERE label = '$second'"), 'incr ok', 'veza_backup_info()');
like($node->vezactl_ok(['info']), qr/\Q$second\E/, 'vezactl info');
my %shown = map { $_->{label} => $_ } @{ decode_json($node->vezactl_ok([ '--output', 'json', 'info' ]))->{backups} };
is($shown{$second}{parent}, $first, 'its parent in JSON');
is_deeply($shown{$second}{needs}, \@sources, 'what it needs in JSON');
is($shown{$diff}{parent}, $full, 'the parent of a diff is its full');
ok(!exists $shown{$full}{needs}, 'a full needs nothing');
$node->vezactl_ok([ 'verify', '--full' ]);
$node->vezactl_ok([ 'verify', '--full', '--backup', $second ]);
is(sql('SELECT count(*) FROM veza_backup_recovery_window'), '1', 'there is one window');

my @to_the_backup = ('--target-immediate', '--target-action', 'promote');

sub holds
{
	my ($copy, $label, $what) = @_;
	$copy->start;
	$copy->wait_for_end_of_recovery;
	is( $copy->safe_psql('postgres',
			"SELECT count(*) || ' ' || sum(a) || ' ' || sum(id::bigint * a) FROM t"),
		$sums{$label},
		"$what: the rows");
	is($copy->safe_psql('postgres', 'SELECT count(DISTINCT md5) FROM idle'), '20000', "$what: a table that was idle");
	$copy->stop;
	return;
}

my $copy = $node->restore('copy', '--backup', $second, @to_the_backup);
holds($copy, $second, 'a restore');
change(30000);
my $third = take('incr');
$node->vezactl_ok([ 'restore', '--delta', '--backup', $third, @to_the_backup, '--target-dir', $copy->data_dir ]);
$copy->adopt($node);
holds($copy, $third, 'a delta restore');
$copy->clean_node;

# --- what contents tell ---------------------------------------------------------------------------

sql(q{ALTER SYSTEM SET veza_backup.find_changes = 'contents'});
$node->restart;
change(100);
my $compared = take('incr');
is(summary($compared)->{changes_by}, 'digest', 'contents are compared with what the parent names');
my $other = $node->restore('compared', '--backup', $compared, @to_the_backup);
holds($other, $compared, 'a restore of it');
$other->clean_node;

# --- retention ------------------------------------------------------------------------------------

my %needed = map { $_->{label} => 1 } @{ summary($compared)->{sources} };
foreach my $label (keys %needed)
{
	ok((grep { $_ eq "main/backup/$label/backup.json" } objects("main/backup/$label/")), "$label is needed and stays");
	ok((grep { $_ eq "main/pin/$label.named" } objects('main/pin/')), '0.1 finds a mark on it');
}
is(sql(q{SELECT count(*) FROM veza_backup_info() WHERE pinned}), '0', 'the marks are no pins');
like(sql(q{SELECT string_agg(reason, '|') FROM veza_backup_expire(dry_run => true)}), qr/incr "\S+" needs it/, 'the reason is told');

# --- a parent that cannot be read -----------------------------------------------------------------

my $manifest = "main/backup/$compared/manifest";
write_object($manifest, substr(read_object($manifest), 0, 100));
change(200);
my ($exit, $built, $told) = $node->psql('postgres', q{SELECT veza_backup_now('incr')});
is($exit, 0, 'the newest backup is damaged');
like($told, qr/NOTICE: .*building on \S+ "\S+", because incr "\Q$compared\E" cannot be read/, 'it is passed over, and a notice says why');
isnt(summary($built)->{parent}, $compared, 'the parent is another one');

# --- a backup between is lost ---------------------------------------------------------------------

# A pack of the full, which everything needs.
my $pack = "main/backup/$full/pack/00000001";
my $content = read_object($pack);
delete_object($pack);
like(sql("SELECT status || ': ' || detail FROM veza_backup_info() WHERE label = '$full'"),
	qr{^not restorable: object "backup/\Q$full\E/pack/00000001" is missing}, 'veza_backup_info() names the pack');
like(sql("SELECT status || ': ' || detail FROM veza_backup_info() WHERE label = '$built'"),
	qr{^not restorable: full backup "\Q$full\E" lacks object}, 'also for an incr that needs the full');
($exit, my $new, $told) = $node->psql('postgres', q{SELECT veza_backup_now('incr')});
like($new, qr/^\d{8}-\d{6}F$/, 'without a pack that all name, a full is taken');
like($told, qr{NOTICE: .*taking a full backup instead of an incr: .* cannot be read: object "backup/\Q$full\E/pack/00000001" is missing}, 'a notice says why');
change(300);
my $middle = back_up('incr');
change(300 + 100);
my $last = back_up('incr');
ok((grep { $_->{label} eq $middle } @{ summary($last)->{sources} }), 'the last incr needs the one before');
my $document = "main/backup/$middle/backup.json";
$content = read_object($document);
delete_object($document);
is(sql("SELECT status FROM veza_backup_info() WHERE label = '$last'"), 'not restorable', 'veza_backup_info() says so');
like(sql("SELECT detail FROM veza_backup_info() WHERE label = '$last'"), qr/needs incr "\Q$middle\E", which is missing or damaged/,
	'and why');
my $older = VezaTest->new('older');
($exit, my $out, $told) = $node->vezactl('restore', '--target-dir', $older->data_dir, '--dry-run');
is($exit, 0, 'a restore without a label');
like($told, qr/the newest backup is passed over: incr "\Q$last\E" needs incr "\Q$middle\E"/, 'passes over it');
write_object($document, $content);

# A new full replaces them all, when the restores hold them no longer.
delete_object($_) foreach objects('main/lease/');
back_up('full');
is(sql('SELECT string_agg(type, \' \') FROM veza_backup_info()'), 'full', 'nothing else is left');
is_deeply([ objects('main/pin/') ], [], 'nor a mark');
$node->vezactl_ok([ 'verify', '--full' ]);

done_testing();
