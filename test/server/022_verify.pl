# vezactl verify: a complete repository passes, every kind of damage is found and named, and
# concurrent work of the server does no harm.

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

# Random bytes do not compress, so the full backup has two packs.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE EXTENSION pgcrypto;
CREATE TABLE random AS SELECT gen_random_bytes(1000) AS b FROM generate_series(1, 18000);
SQL
my $full = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('postgres', 'CREATE TABLE more AS SELECT * FROM random LIMIT 500');
my $diff = $node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
my $first_after = $node->archive_wal;
my $second_after = $node->archive_wal;
my $last = $node->archive_wal;

# Runs a verification that must end with this exit code. Returns its report.
sub verify
{
	my ($code, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my ($exit, $out, $err) = $node->vezactl('--output', 'json', 'verify', @arguments);
	is($exit, $code, "verify @arguments: exit code") or diag($out . $err);
	return decode_json($out);
}

# Returns "object|backup" for every problem of a report.
sub problems
{
	my ($report) = @_;
	return [ map { $_->{object} . '|' . ($_->{backup} // '') } @{ $report->{problems} } ];
}

# --- a complete repository ------------------------------------------------------------------------

my $quick = verify(0);
is_deeply(
	[ map { "$_->{label} $_->{type} " . ($_->{passed} ? 'good' : 'bad') } @{ $quick->{backups} } ],
	[ "$full full good", "$diff diff good" ],
	'both backups are good');
is_deeply([ @$quick{qw(problems orphans)} ], [ [], [] ], 'no problems, no orphans');
my $thorough = verify(0, '--full', '--jobs', 2);
ok($thorough->{passed} && $thorough->{full}, '--full finds nothing either');
cmp_ok($thorough->{bytes_read}, '>', 18_000_000, '--full has read everything');
cmp_ok($quick->{bytes_read}, '<', 1_000_000, 'without --full it does not read everything');
is($thorough->{extents}, $quick->{extents}, 'both modes know all extents');
my ($exit, $out) = $node->vezactl('verify', '--full', '--max-rate', '200MB');
is($exit, 0, 'verify with text output');
like($out, qr/^\Q$diff\E +diff +good$/m, 'the text has a line for each backup');
like($out, qr/^verified every byte of 2 backups, .*: nothing is wrong/m, 'the text has totals');

# --- damage ---------------------------------------------------------------------------------------

sub flip
{
	my ($content) = @_;
	substr($content, length($content) / 2, 1) ^= "\x01";
	return $content;
}
sub cut { return substr $_[0], 0, length($_[0]) - 3 }
sub remove { return undef }

# Damages an object and tests what verify finds, without and with --full.
sub finds
{
	my ($object, $change, $quickly, $thoroughly) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $good = read_object($object);
	my $bad = $change->($good);

	defined $bad ? write_object($object, $bad) : delete_object($object);
	is_deeply(problems(verify(@$quickly ? 1 : 0)), $quickly, "$object: quickly");
	is_deeply(problems(verify(@$thoroughly ? 1 : 0, '--full')), $thoroughly, "$object: thoroughly");
	write_object($object, $good);
	return;
}

# It would find that WAL is missing, and take a backup.
my $scheduler = $node->scheduler_pid;
kill 'STOP', $scheduler or die "could not stop process $scheduler: $!";
my $pack = "backup/$full/pack/00000002";
my @of_both = ("$pack|$full", "$pack|$diff");
finds("main/$pack", \&remove, \@of_both, \@of_both);
finds("main/$pack", \&cut, \@of_both, \@of_both);
finds("main/$pack", \&flip, [], \@of_both);
my $manifest = "backup/$diff/manifest";
finds("main/$manifest", \&flip, ["$manifest|$diff"], ["$manifest|$diff"]);
finds("main/$manifest", \&remove, ["$manifest|$diff"], ["$manifest|$diff"]);
my $summary = "backup/$full/backup.json";
finds(
	"main/$summary", \&cut,
	[ "$summary|$full", "$summary|$diff" ],
	[ "$summary|$full", "$summary|$diff" ]);

my ($start_wal) = read_object("main/backup/$full/backup.json") =~ /"start_wal": *"(\w+)"/;
sub wal_object
{
	my ($segment) = @_;
	my ($object) = grep { m{/$segment$} } objects('main/wal/');
	return $object =~ s{^main/}{}r;
}
my $start_object = wal_object($start_wal);
finds("main/$start_object", \&remove, ["$start_object|$full"], ["$start_object|$full"]);
finds("main/$start_object", \&flip, [], ["$start_object|$full"]);
my $window_object = wal_object($second_after);
finds("main/$window_object", \&remove, ["$window_object|"], ["$window_object|"]);
finds("main/$window_object", \&flip, [], ["$window_object|"]);
finds('main/' . wal_object($last), \&remove, [], []);
kill 'CONT', $scheduler;

write_object("main/backup/$full/pack/00000077", 'stray');
write_object('main/stray', 'x');
is_deeply([ sort @{ verify(0)->{orphans} } ],
	[ "backup/$full/pack/00000077", 'stray' ], 'orphans are listed');
delete_object("main/backup/$full/pack/00000077");
delete_object('main/stray');

# --- one backup -----------------------------------------------------------------------------------

my $other = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $other_pack = "backup/$other/pack/00000001";
my $good = read_object("main/$other_pack");
delete_object("main/$other_pack");
is_deeply(problems(verify(1, '--backup', $other)), ["$other_pack|$other"], 'a damaged backup');
verify(0, '--backup', $diff, '--full');
write_object("main/$other_pack", $good);
$node->vezactl_fails([ 'verify', '--backup', '20010101-000000F' ],
	2, qr/there is no backup "20010101-000000F".*HINT: /s, 'a backup that does not exist');

# --- the environment ------------------------------------------------------------------------------

my %right = %{ $node->{_veza_settings} };
$node->apply_conf(cipher_passphrase => 'incorrect donkey battery staple');
$node->vezactl_fails(['verify'], 2, qr/the passphrase does not open repository/,
	'a wrong passphrase');
$node->apply_conf(cipher_passphrase => $right{cipher_passphrase});

# --- while the server works -----------------------------------------------------------------------

my $backup = $node->start_sql(q{SELECT veza_backup_now('full')});
verify(0, '--full') foreach 1 .. 3;
$node->finish_sql($backup);
is(verify(0, '--full')->{problem_count}, 0, 'a verification after the server has worked');

done_testing();
