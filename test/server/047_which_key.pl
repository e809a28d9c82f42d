# Which key is right when identity and key were replaced by another cluster's, by a forged identity,
# or by one that names no key. No process follows the replacement, and none stops encrypting by
# accident.

use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP ();
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t (id int)');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my ($identity) = objects('main/identity/');
my ($wrap) = objects('main/key/');
my $good = read_object($identity);
my ($key_id) = $wrap =~ m{/key/(\w+)\.};
my $marker = $node->data_dir . '/veza-repository';
my $marked = slurp_file($marker);

my $other = VezaTest->new('other');
$other->init(settings => { cluster => 'other' });
$other->start;
$other->safe_psql('postgres', 'CREATE EXTENSION veza_backup; SELECT veza_backup_init()');
my ($others_identity) = map { s/^other/main/r } objects('other/identity/');
my ($others_wrap) = map { s/^other/main/r } objects('other/key/');
my $others_text = read_object($others_identity =~ s/^main/other/r);
my $others_key = read_object($others_wrap =~ s/^main/other/r);
$other->stop;

sub holds_key
{
	return $node->safe_psql('postgres', q{SELECT detail FROM veza_backup_check() WHERE name = 'key'}) =~
	  /this server holds the same in memory/;
}
happens(sub { poll_until(\&holds_key, 'the row of the check') }, 'the scheduler holds the key');

sub refuses_wal
{
	my ($said, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $position = -s $node->logfile;
	$node->safe_psql('postgres', 'INSERT INTO t SELECT 1');
	my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
	$node->wake_archiver;
	happens(sub { $node->wait_for_log(qr/WARNING:  could not archive WAL file "\w+": .*$said/, $position) },
		"$test: the archiver says so");
	is($node->archive_status($segment), 'ready', "$test: WAL is not acknowledged");
	return ($segment, $position);
}

# --- Another cluster's identity and key ------------------------------------------------------------

delete_object($identity);
write_object($others_identity, $others_text);
write_object($others_wrap, $others_key);
my ($name) = $others_identity =~ m{^main/(.*)};
my ($segment, $position) = refuses_wal(
	qr/has lost its identity.*object "\Q$name\E" names key.*\n.*HINT:  Nothing is put back automatically/,
	'another cluster\'s identity');
my $said = qr/WARNING:  could not check identity and key .*but this server has opened it with key "$key_id"\n.*HINT:  Nothing is put back automatically/;
happens(sub { $node->wait_for_log($said, $position) }, 'the scheduler says so');
is_deeply([ objects('main/identity/') ], [$others_identity], 'the scheduler restores nothing');
foreach my $dry ([], ['--dry-run'])
{
	$node->vezactl_fails([ qw(key restore), @$dry ],
		2, qr/"\Q$name\E".*fits neither a backup nor WAL.*"$key_id" fits 1 backups.*delete it/s, "key restore @$dry");
}
delete_object($others_identity);
like($node->vezactl_ok([qw(key restore)]), qr{wrote identity/}, 'without the foreign identity ours is made again');
$node->wake_archiver;
happens(sub { $node->wait_for_archived($segment) }, 'archiving resumes');
delete_object($others_wrap);

# --- A forged identity of an unknown key -----------------------------------------------------------

my $unknown = 'e' x 32;
write_object($identity, $good =~ s/$key_id/$unknown/r);
foreach my $dry ([], ['--dry-run'])
{
	$node->vezactl_fails([ qw(key restore), @$dry ],
		2, qr/names key "$unknown", but the passphrase opens no copy.*--key-id: "$key_id" fits 1 backups/s, "key restore @$dry");
}
like($node->vezactl_ok([ qw(key restore --key-id), $key_id ]), qr{wrote identity/}, '--key-id decides');
$node->vezactl_ok([qw(info)]);

# --- An identity that names no key -----------------------------------------------------------------

# Somebody who has only access to the store could write this.
my $json = JSON::PP->new->canonical;
my $forged = $json->decode($good);
delete @$forged{qw(mac key_id)};
@$forged{qw(cipher mac_algorithm)} = qw(none sha-256);
my ($object) = $identity =~ m{^main/(.*)};
$forged->{mac} = sha256_hex("$object\0" . $json->encode($forged));
$node->apply_conf(cipher => 'none', cipher_passphrase => undef);
my $not_followed = qr/no identity that names a key, but it holds object "key.*Do not turn encryption off/s;
# No process knows the key any more. One that did would put the right identity back.
$node->restart;
write_object($identity, $json->encode($forged));
$node->vezactl_fails([qw(info)], 2, $not_followed, 'it is not followed while there are keys');
$node->vezactl_fails([qw(key restore)], 2, qr/is encrypted/, 'key restore does not follow it');
delete_object($_) foreach objects('main/key/');
$node->sql_fails('SELECT veza_backup_init()',
	qr/would not be encrypted, but this server has archived to .* with key "$key_id".*HINT:.*delete the file/s,
	'veza_backup_init() does not follow it without keys');
my $before = -s $node->logfile;
$node->safe_psql('postgres', 'INSERT INTO t SELECT 1');
$segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
my $no_key =
  qr/WARNING:  could not archive WAL file "\w+": .*has no key now, but this server has archived to it with key "$key_id"/;
happens(sub {
		poll_until(
			sub {
				$node->wake_archiver;
				return slurp_file($node->logfile, $before) =~ $no_key;
			},
			'the refusal of the archiver');
	},
	'no key: the archiver says so');
is($node->archive_status($segment), 'ready', 'no key: WAL is not acknowledged');
is(slurp_file($marker), $marked, 'the marker is what it was');
unlink $marker or die "unlink: $!";
is($node->safe_psql('postgres', 'SELECT veza_backup_init()'), repository() . '/main', 'an operator may confirm it');
unlike(slurp_file($marker), qr/$key_id/, 'the marker names no key then');

done_testing();
