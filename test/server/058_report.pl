# vezactl report: the same facts as a page and as JSON.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'it is about how facts are shown: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
$node->init(settings => { schedule_full => '', schedule_diff => '' });
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(i int)');
$node->archive_wal;
my $page = PostgreSQL::Test::Utils::tempdir() . '/report.html';

# --- nothing yet ----------------------------------------------------------------------------------

$node->vezactl_fails(['report'], 2, qr/nothing says where.*\nHINT: +.*--html/s, 'a report goes somewhere');
$node->vezactl_fails([ 'report', '--html', '-', '--output', 'json' ],
	2, qr/page and JSON cannot both be written to standard output/, 'one thing goes to standard output');
like(($node->vezactl('report', '--html', '-'))[1], qr/^<!doctype html>.*Nothing can be restored\./si, 'the page there');
ok(!-e '-', 'no file has that name');
$node->vezactl_fails([ 'report', '--html', '/nowhere/report.html' ],
	2, qr{"/nowhere}, 'the directory must be there');
$node->vezactl_fails([ 'report', '--html', $page ], 1, qr/warning: Nothing can be restored/, 'without a backup');
like(slurp_file($page), qr/Nothing can be restored\./, 'the page says so as well');

# --- a cluster with a history ---------------------------------------------------------------------

my $full = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('postgres', 'INSERT INTO t SELECT 1') for 1 .. 5;
$node->safe_psql('postgres', 'TRUNCATE t');
# A name that would end the script, if it were not data.
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('</script><script>alert(1)</script>')});
my $diff = $node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
my $standby = $node->restore('standby', '--standby', '--archive-mode', 'preserve');
$standby->enable_streaming($node);
$standby->start;
$node->wait_for_catchup($standby);
$node->stop;
$standby->promote;
$standby->wait_for_end_of_recovery;
$standby->safe_psql('postgres', 'INSERT INTO t SELECT 2');
$standby->archive_wal;
$standby->vezactl_ok(['index']);

my $report = decode_json($standby->vezactl_ok([ 'report', '--html', $page, '--output', 'json' ]));
is_deeply([ map { "$_->{type} $_->{label}" } @{ $report->{backups} } ],
	[ "full $full", "diff $diff" ], 'the backups');
is_deeply([ map { @{ $_->{doubts} } } @{ $report->{backups} } ], [], 'nothing is wrong with them');
is(scalar @{ $report->{window} }, 1, 'a stretch of time can be restored');
my $window = $report->{window}[0];
is($window->{to_is_exact} ? 'yes' : 'no', 'yes', 'to its last commit');
is("$window->{first_timeline} $window->{last_timeline}", '1 2', 'across the promotion');
is_deeply([ map { [ $_->{id}, $_->{parent} ] } @{ $report->{timelines} } ],
	[ [ 1, undef ], [ 2, 1 ] ], 'the new timeline comes from the old one');
my ($point) = grep { $_->{kind} eq 'restore_point' } @{ $report->{events} };
like($point->{text}, qr/<script>/, 'the restore point');
my $commits = 0;
$commits += $_->[1] foreach @{ $report->{load} };
cmp_ok($commits, '>=', 6, 'the load');
ok(!(grep { $_->[0] > $report->{to} } @{ $report->{load} }), 'is not from the future');
is_deeply($report->{warnings}, [], 'no warnings');
is(join(' ', grep { !/^(?:restore_point|timeline|parameters)$/ } map { $_->{kind} } @{ $report->{events} }),
	'', 'what a busy cluster does all the time is left out');
is("$report->{events_left_out} $report->{gaps_left_out}", '0 0', 'and nothing else');

my $html = slurp_file($page);
unlike($html, qr/<script>alert/, 'no name is taken for a part of the page');
unlike($html, qr{(?:src|href)=|https?://(?!www\.w3\.org)}, 'the page needs no network');
my ($data) = $html =~ m{<script type="application/json" id="data">(.*?)</script>}s;
is_deeply(
	{ %{ decode_json($data) }, generated => 0, to => 0, events_from => 0 },
	{ %$report, generated => 0, to => 0, events_from => 0 },
	'the page has the same facts');

# --- a backup that cannot be restored -------------------------------------------------------------

{
	my $pack = "main/backup/$full/pack/00000001";
	my $content = read_object($pack);
	delete_object($pack);
	my ($exit, $out, $told) = $standby->vezactl('report', '--output', 'json');
	is($exit, 1, 'a pack is missing');
	my $said = join ' ', @{ decode_json($out)->{warnings} };
	like($said, qr{Nothing can be restored\. Backup \Q$full\E cannot be restored: object "backup/$full/pack/00000001" is missing\.},
		'the report says so of the full');
	like($said, qr{Backup \Q$diff\E cannot be restored: full backup "\Q$full\E" lacks object}, 'and of the diff');
	my $row = q{SELECT passed, detail FROM veza_backup_check() WHERE name = 'backups'};
	like($standby->safe_psql('postgres', $row), qr/^f\|no backup can be restored; 2 that cannot be restored/, 'so does veza_backup_check()');
	is( $standby->safe_psql('postgres',
			q{SELECT string_agg(value::text, ' ' ORDER BY name, labels->>'type') FROM veza_backup_metrics
			   WHERE name ~ '^veza_backup_(backups.*|last_success.*)$' AND labels->>'type' <> 'incr'}),
		'0 0 1 1', 'and the metrics, which know no success any more');
	write_object($pack, $content);
	$standby->vezactl_ok(['report', '--output', 'json']);
}

SKIP:
{
	my ($chromium) = grep { -x } map { "$_/chromium" } split /:/, $ENV{PATH};
	skip 'there is no chromium here', 2 if !$chromium;
	my $shown = `timeout 60 $chromium --headless --no-sandbox --disable-gpu --dump-dom --window-size=1280,900 file://$page 2>/dev/null`;
	like($shown, qr{<circle[^>]*\Q$diff\E}, 'a browser draws the backups');
	like($shown, qr{<td class="long">restore point &quot;&lt;/script&gt;|<td class="long">[^<]*&lt;/script&gt;},
		'and lists the restore point');
}

done_testing();
