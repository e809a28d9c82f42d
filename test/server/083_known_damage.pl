# What `vezactl verify --full` has found damaged is remembered: the next diff does not build on it, a restore passes over
# it, retention does not count it, and everybody is told. What is good again is forgotten.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(settings => { retention_full => 2, retention_diff => 7, retention_archive => 2 });
$node->append_conf('postgresql.conf', "autovacuum = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t (id int)');
my $none = $node->basedir . '/none';

sub add { return $node->safe_psql('postgres', "INSERT INTO t VALUES ($_[0])") }

# Returns the label and what was said.
sub back_up
{
	my ($type) = @_;
	my ($label, $notices) = ('', '');
	$node->psql('postgres', "SELECT veza_backup_now('$type')", stdout => \$label, stderr => \$notices, on_error_die => 1);
	return ($label, $notices);
}

# Returns what mends the pack again.
sub damage
{
	my ($label) = @_;
	my $pack = "main/backup/$label/pack/00000001";
	my $content = read_object($pack);
	my $damaged = $content;
	substr($damaged, length($damaged) / 2, 1) ^= "\xFF";
	write_object($pack, $damaged);
	return sub { write_object($pack, $content) };
}

sub records { return [ map { s{^main/damage/}{}r } objects('main/damage/') ] }

sub unrestorable
{
	my ($exit, $out, $err) = $node->vezactl('--output', 'json', 'info');
	return { map { $_->{label} => $_->{reason} } map { @{ $_->{unrestorable} } } @{ decode_json($out)->{systems} } };
}

my ($old) = back_up('full');
add(1);
my ($full) = back_up('full');
add(2);
my ($diff, $said) = back_up('diff');
like($diff, qr/^\Q$full\E_/, 'a diff builds on the newest full');
add(3);
$node->archive_wal;
$node->vezactl_ok([ 'verify', '--full' ], 'nothing is damaged yet');
is_deeply(records(), [], 'so nothing is remembered');

# --- a pack of the newest full is damaged ---------------------------------------------------------

my $mend = damage($full);
$node->vezactl_ok([ 'verify' ], 'a listing does not find it');
my ($exit, $out, $err) = $node->vezactl('verify', '--full');
is($exit, 1, 'verify --full finds it');
like($out, qr/^\Q$full\E is known as damaged from now on/m, 'and remembers it');
is_deeply(records(), [$full], 'by a record of the full, and none of the diff');
if (store() eq 's3')
{
	like(read_object("main/damage/$full"), qr/hmac-sha-256/, 'the record is signed');
}
my $reasons = unrestorable();
like($reasons->{$full}, qr{object "backup/\Q$full\E/pack/00000001" is damaged, as "vezactl verify --full" found on}, 'info says why');
like($reasons->{$diff}, qr{^full backup "\Q$full\E": object}, 'also of the diff that needs it');
is($node->safe_psql('postgres', q{SELECT string_agg(label, ',') FROM veza_backup_info() WHERE status = 'not restorable'}),
	"$full,$diff", 'the view says so');
is($node->safe_psql('postgres', q{SELECT passed FROM veza_backup_check() WHERE name = 'backups'}), 'f', 'so does the check');

($exit, $out, $err) = $node->vezactl('restore', '--dry-run', '--target-dir', $none);
is($exit, 0, 'a restore without --backup is possible');
like($err, qr/the newest backup is passed over: full backup "\Q$full\E": object .* is damaged.*Backup \Q$old\E and the WAL/s, 'it passes over the diff');
($exit, $out, $err) = $node->vezactl('restore', '--dry-run', '--target-dir', $none, '--backup', $full);
is($exit, 0, 'with --backup it takes the damaged one');
like($err, qr/warning: backup \Q$full\E: object .* is damaged/, 'with a warning');
my $copy = $node->restore('copy');
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t}), '1,2,3', 'the older chain has every row');
$copy->discard;
delete_object($_) foreach objects('main/lease/');

(my $second, $said) = back_up('diff');
like($second, qr/^\Q$old\E_/, 'the next diff builds on the older full');
like($said, qr/building on full backup "\Q$old\E", because full backup "\Q$full\E" is not built on: object .* is damaged/, 'and says why');
($exit, $out) = $node->vezactl('--output', 'json', 'expire', '--dry-run');
my %actions = map { $_->{name} => $_ } grep { $_->{kind} eq 'backup' } @{ decode_json($out)->{decisions} };
is($actions{$old}{action}, 'keep', 'retention keeps the older full');

# --- and one of the older full --------------------------------------------------------------------

my $mend_old = damage($old);
is(($node->vezactl('verify', '--full'))[0], 1, 'verify --full finds that as well');
is_deeply(records(), [ $old, $full ], 'and remembers both');
(my $new, $said) = back_up('diff');
like($new, qr/^\d{8}-\d{6}F$/, 'the next diff is a full');
like($said, qr/taking a full backup instead of a diff: full backup "\Q$full\E" is not built on: object/, 'it says why');
like(slurp_file($node->logfile), qr/taking a full backup instead of a diff: full backup "\Q$full\E" is not built on/, 'the log, too');
is_deeply([ grep { m{/\Q$old\E/backup.json} } objects('main/backup/') ], ["main/backup/$old/backup.json"],
	'there are three fulls, and the two damaged ones count for nothing');

# --- a record that anybody can have written -------------------------------------------------------

write_object("main/damage/$new", '{}');
($exit, $out, $err) = $node->vezactl('restore', '--dry-run', '--target-dir', $none);
unlike($err, qr/passed over/, 'a restore passes over no backup because of it');
like($err, qr/warning: backup \Q$new\E: it may be known as damaged, but the record of that cannot be used/, 'but warns');
($exit, $out) = $node->vezactl('info');
is($exit, 1, 'info has bad news');
like($out, qr/\Q$new\E: it may be known as damaged/, 'and names it');
my ($newer, $why) = back_up('diff');
like($newer, qr/^\d{8}-\d{6}F$/, 'a diff is a full then');
like($why, qr/full backup "\Q$new\E" is not built on: it may be known/, 'which says why');

# --- good again -----------------------------------------------------------------------------------

$mend->();
is(($node->vezactl('verify', '--full'))[0], 1, 'one of them is still damaged');
is_deeply(records(), [$old], 'the other one, which was mended, is forgotten, and so is what nobody had signed');
my ($third) = back_up('diff');
like($third, qr/^\Q$newer\E_/, 'a diff builds on the newest full again');
$node->vezactl_ok([ 'expire', '--full', 1, '--archive', 1 ], 'an expiry removes the damaged full');
is_deeply([ objects("main/backup/$old/") ], [], 'which is gone');
is_deeply(records(), [], 'with what was known of it');
$node->vezactl_ok([ 'verify', '--full' ], 'everything that is left is good');

# --- a host that may only read --------------------------------------------------------------------

SKIP:
{
	skip 'a bucket has policies', 3 if store() ne 'dir';
	skip 'root may write everywhere', 3 if $> == 0;

	damage($newer);
	mkdir repository() . '/main/damage';
	chmod 0500, repository() . '/main/damage';
	($exit, $out, $err) = $node->vezactl('verify', '--full');
	is($exit, 1, 'the exit code of damage');
	like($err, qr{warning: what was verified could not be written down below "damage/": }, 'a warning');
	like($err, qr/HINT: +Later backups do not know/, 'which says what follows');
	chmod 0700, repository() . '/main/damage';
}

$node->stop;
done_testing();
