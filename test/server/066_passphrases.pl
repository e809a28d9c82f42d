# A second passphrase opens the same repository, a passphrase is changed while the server runs, and
# the wrapped key comes back from what was printed.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

my $directory = PostgreSQL::Test::Utils::tempdir('safe');
my $old = 'correct horse battery staple';
my $recovery = 'the passphrase that lies in the safe';
my $new = 'another horse battery staple';

sub secret_file
{
	my ($name, $content) = @_;
	unlink "$directory/$name";
	append_to_file("$directory/$name", "$content\n");
	chmod 0600, "$directory/$name";
	return "$directory/$name";
}

my $node = VezaTest->new('primary');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t AS SELECT 1 AS id');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# Runs vezactl with another passphrase.
sub vezactl_with
{
	my ($passphrase, @arguments) = @_;
	my %settings = %{ $node->{_veza_settings} };
	$node->change_conf(cipher_passphrase => $passphrase);
	my @result = $node->vezactl(@arguments);
	$node->write_conf(\%settings);
	return @result;
}

# id, or name if it has one => the entry of `key list`
sub passphrases
{
	my $list = decode_json($node->vezactl_ok([ '--output', 'json', 'key', 'list' ], 'key list'));
	return map { ($_->{name} // $_->{id}) => $_ } @{ $list->{passphrases} };
}

# --- a second passphrase ----------------------------------------------------------------------------

my %first = passphrases();
my ($first_id) = keys %first;
is($first{$first_id}{state}, 'in use', 'one passphrase');
is(scalar @{ $first{$first_id}{backups} }, 1, 'the backup holds a copy of its wrap');
$node->vezactl_fails([ 'key', 'add', '--passphrase-file', secret_file('short', 'hunter2') ],
	2, qr/fewer than 16 characters/, 'a passphrase that is too short');
my $file = secret_file('recovery', $recovery);
chmod 0644, $file;
$node->vezactl_fails([ 'key', 'add', '--passphrase-file', $file ], 2, qr/has group or world access/, 'a file for all');
chmod 0600, $file;
my $added = $node->vezactl_ok([ 'key', 'add', '--passphrase-file', $file, '--name', 'recovery' ]);
like($added, qr/^added passphrase [0-9a-f]{16}\n.*take one/, 'says that a backup has to follow');
my %both = passphrases();
is($both{recovery}{state}, 'good', 'the key has signed the new wrap');
is(scalar @{ $both{recovery}{backups} }, 0, 'no backup has a copy yet');
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
%both = passphrases();
is_deeply($both{recovery}{backups}, [$label], 'the next backup has one');
$node->vezactl_fails([ 'key', 'remove', $first_id ], 2, qr/is the one that this configuration uses/,
	'the passphrase in use is not removed');

my ($exit, $out) = vezactl_with($recovery, 'info');
is($exit, 0, 'the second passphrase opens the repository');
like($out, qr/\Q$label/, 'and reads the same backups');
my $copy = VezaTest->new('copy');
($exit) = vezactl_with($recovery, 'restore', '--target-dir', $copy->data_dir);
is($exit, 0, 'a restore with the second passphrase');

# --- a passphrase is changed ------------------------------------------------------------------------

$node->vezactl_ok([ 'key', 'add', '--passphrase-file', secret_file('new', $new), '--name', 'of-2027' ]);
$node->apply_conf(cipher_passphrase => $new);
$node->archive_wal;
$node->change_conf(mirror => '/nonexistent/mirror');
my $said = $node->vezactl_ok([ 'key', 'remove', $first_id ], 'the old passphrase is removed');
$node->change_conf(mirror => undef);
like($said, qr/the passphrase goes on opening the mirror\. Remove it there, too/, 'that a mirror keeps its wrap');
like($said, qr/Copies of its wrap are in 2 backups \(the last one listed is "\Q$label\E"/, 'and where it still fits');
like($said, qr/if the passphrase has leaked, make a new repository/, 'and what that means');
my %left = passphrases();
is_deeply([ sort keys %left ], [ 'of-2027', 'recovery' ], 'two are left');
$node->archive_wal;
like($node->safe_psql('postgres', q{SELECT veza_backup_now('diff')}), qr/D$/, 'a diff with the new passphrase');
my ($refused, undef, $why) = vezactl_with($old, 'info');
is($refused, 2, 'the old one is of no use');
like($why, qr/the passphrase does not open repository/, 'and the message says so');
($exit, undef, $why) = vezactl_with($old, 'key', 'restore', '--dry-run');
is($exit, 2, 'it does not come back by itself');
like($why, qr/where other passphrases have theirs\nHINT:.*--even-if-removed/, 'and the message says why');
($exit, $out) = vezactl_with($old, 'key', 'restore', '--even-if-removed', '--dry-run');
is($exit, 0, 'but it opens the copies in older backups, as the documents say');
like($out, qr/would write key/, 'from which it could be put back');

# A server that has the removed passphrase does not acknowledge WAL.
my $position = -s $node->logfile;
$node->apply_conf(cipher_passphrase => $old);
my $segment = $node->safe_psql('postgres',
	q{INSERT INTO t VALUES (2); SELECT pg_walfile_name(pg_switch_wal())});
$node->wait_for_log(qr/could not archive WAL file .*the passphrase does not open/, $position);
is($node->archive_status($segment), 'ready', 'WAL waits');
$node->apply_conf(cipher_passphrase => $new);
$node->wake_archiver;
$node->wait_for_archived($segment);
pass('and goes on with the right one');

# --- both wraps are lost ----------------------------------------------------------------------------

happens(
	sub {
		VezaTest::poll_until(
			sub {
				return $node->safe_psql('postgres', q{SELECT detail FROM veza_backup_check() WHERE name = 'key'}) =~
				  /this server holds the same in memory/;
			},
			'the row of the check');
	},
	'the scheduler holds the key');
my @wraps = objects('main/key/');
is(scalar @wraps, 2, 'two wraps');
delete_object($_) foreach @wraps;
$node->safe_psql('postgres', 'SELECT pg_switch_wal() FROM pg_logical_emit_message(false, $$a$$, $$b$$)');
happens(sub { VezaTest::poll_until(sub { "@{[ objects('main/key/') ]}" eq "@wraps" }, 'both wraps') },
	'a running server puts back both');

# --- on paper ---------------------------------------------------------------------------------------

my $sheet = $node->vezactl_ok([ 'key', 'export' ]);
my @lines = grep { /^\d: / } split /\n/, $sheet;
is(scalar @lines, 8, 'eight lines');
unlike($sheet, qr/\Q$new\E/, 'without the passphrase');
my $others = $node->vezactl_ok([ 'key', 'export', 'recovery' ]);
isnt($others, $sheet, 'the sheet of another passphrase');
like($node->vezactl_ok([ 'key', 'import', '--dry-run', secret_file('test', $sheet) ]),
	qr/the copy that you have given opens this key/, 'a sheet is tested');
$node->vezactl_fails([ 'key', 'import', '--dry-run', secret_file('test', $others) ],
	1, qr/does not open the key.*with a configuration that has that one/s, 'the other one needs its passphrase');
($exit) = vezactl_with($recovery, 'key', 'import', '--dry-run', secret_file('test', $others));
is($exit, 0, 'which it opens');
$node->stop;
# Nothing in the repository tells the key any more.
delete_object($_) foreach @wraps, grep { /backup\.json$/ } objects('main/backup/');
$node->vezactl_fails(['info'], 1, qr/has lost its key/, 'the key is lost');

my $typed = lc $sheet =~ s/-//gr;
$typed =~ s/^(4: .)(.)/$1 . ($2 eq 'x' ? 'y' : 'x')/me;
$node->vezactl_fails([ 'key', 'import', secret_file('sheet', $typed) ],
	2, qr/line 4 of the key sheet is mistyped/, 'a typing error');
$node->vezactl_fails([ 'key', 'import', secret_file('sheet', join "\n", @lines[ 0 .. 6 ]) ],
	2, qr/line 8 of the key sheet is missing/, 'a line that is missing');
($exit, undef, $why) = vezactl_with($recovery, 'key', 'import', secret_file('sheet', $sheet));
is($exit, 2, 'the sheet with another passphrase');
like($why, qr/no copy .*that the passphrase opens/, 'is of no use');
is(scalar(() = objects('main/key/')), 0, 'nothing was written');
$node->vezactl_ok([ 'key', 'import', secret_file('sheet', lc $sheet =~ s/-//gr) ], 'the sheet as it was typed in');
is(scalar(() = objects('main/key/')), 1, 'the key is there again');
$node->vezactl_ok([ 'key', 'import', secret_file('sheet', $sheet) ], 'once more');
is(scalar(() = objects('main/key/')), 1, 'nothing more is written');
$node->start;
$node->archive_wal;
pass('the server goes on');

done_testing();
