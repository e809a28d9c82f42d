# vezactl for programs and for operators: its output, its exit codes, and what it never prints.
# Restores are tested in 002_backup_restore.pl, wal-get in 007_wal_get.pl.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
my $system_id =
  $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
my $first_segment = $node->archive_wal;
my $scratch = PostgreSQL::Test::Utils::tempdir();
my $everything_said = '';

# Runs vezactl and remembers its output.
sub vezactl
{
	my ($exit, $out, $err) = $node->vezactl(@_);
	$everything_said .= $out . $err;
	return ($exit, $out, $err);
}

sub json_of
{
	my ($code, @arguments) = @_;
	my ($exit, $out, $err) = vezactl('--output', 'json', @arguments);
	is($exit, $code, "@arguments: exit code");
	return decode_json($out);
}

# Makes a copy of the settings file with more lines at the end. Returns its path.
sub conf_with
{
	my ($lines) = @_;
	my $path = "$scratch/other.conf";
	unlink $path;
	append_to_file($path, slurp_file($node->conf) . $lines);
	chmod 0600, $path;
	return $path;
}

sub vezactl_with
{
	my ($lines, @arguments) = @_;
	# The last --config counts. VezaTest passes the node's own file first.
	return vezactl('--config', conf_with($lines), @arguments);
}

# --- info -----------------------------------------------------------------------------------------

my $info = json_of(0, 'info');
is_deeply($info->{backups}, [], 'there is no backup yet');
is($info->{systems}[0]{system_identifier}, $system_id, 'the cluster is known');
is($info->{systems}[0]{wal}[0]{last}, $first_segment, 'the WAL is listed');

my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $last_segment = $node->archive_wal;
$info = json_of(0, 'info');
my $backup = $info->{backups}[0];
is($backup->{label}, $label, 'the backup is listed');
is("$backup->{type} $backup->{timeline} $backup->{system_identifier}",
	"full 1 $system_id", 'with its type, timeline and system');
like($backup->{start_lsn}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'positions are LSNs');
cmp_ok($backup->{stored_size}, '<', $backup->{size}, 'it is compressed');
is_deeply(
	[ map { $_->{last} } @{ $info->{systems}[0]{wal} } ],
	[$last_segment], 'the WAL is one unbroken range');

# A reader that has read enough, like head, and one that cannot take it.
sub vezactl_into
{
	my ($output, @arguments) = @_;
	my $said = '';
	IPC::Run::run([ $ENV{VEZACTL} // 'vezactl', '--config', $node->conf, @arguments ],
		'<', \undef, '>', $output, '2>', \$said,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return ($? & 127 ? 128 + ($? & 127) : $? >> 8) . $said;
}
pipe my $reader, my $closed or die;
close $reader;
is(vezactl_into($closed, 'info'), '0', 'a reader that does not want the output is no error');
is(vezactl_into($closed, '--output', 'json', 'info'), '0', 'nor with JSON');
open my $full, '>', '/dev/full' or die;
like(vezactl_into($full, 'info'), qr/^2vezactl: error: could not write to standard output/,
	'a full disk is one');

my ($exit, $out, $err) = vezactl('info');
is($exit, 0, 'info as text');
like($out, qr/^\Q$label\E +full /m, 'has a line for the backup');
like($out, qr/WAL of timeline 1: \w{24} to $last_segment, \d+ segments/, 'it has a line for the WAL');

write_object('main/backup/20200101-000000F/pack/00000001', 'left over');
write_object('main/backup/20200102-000000F/backup.json', '{"format":1}');
$info = json_of(1, 'info');
is_deeply($info->{unfinished}, ['20200101-000000F'], 'leftovers are listed');
is($info->{broken}[0]{label}, '20200102-000000F', 'a broken backup is listed, and info exits with 1');
is($info->{backups}[0]{label}, $label, 'the good backup is listed, too');
delete_object('main/backup/20200101-000000F/pack/00000001');
delete_object('main/backup/20200102-000000F/backup.json');

# --- info --all -----------------------------------------------------------------------------------

# A second cluster of the same server, a cluster that has lost its identity, and no cluster at all.
write_object('lost/backup/20200102-000000F/backup.json', "{\"format\":1,\"type\":\"\x1b[2J\"}");
write_object('elsewhere/notes/readme', 'nothing of ours');
my $too_long = 'x' x 129;
write_object("$too_long/notes/readme", 'a name that the setting would not take');
my $all = json_of(1, 'info', '--all');
is(join(' ', map { $_->{cluster} } @{ $all->{clusters} }), 'lost main', 'info --all lists all clusters');
is("$all->{verified} $all->{complete} $all->{other_directories}", '0 1 1',
	'it says that nothing was verified, and counts what is no cluster');
is($all->{misnamed_directories}, 1, 'and what nobody has looked at');
is_deeply($all->{first_other_directories}, ['elsewhere'], 'by name');
like($all->{first_misnamed_directories}[0], qr/^x{50,}/, 'likewise');
my ($lost, $main) = @{ $all->{clusters} };
is("$main->{newest_backup}{label} $main->{backups} $main->{system_identifier}",
	"$label 1 $system_id", 'the newest backup is told without the key');
cmp_ok($backup->{duration}, q{>=}, 1, q{the backup says how long it took, by the steady clock});
is($main->{newest_backup}{size}, $backup->{size}, 'with its size');
is($main->{window}{start_time}, $backup->{stop_time}, 'the window begins with the oldest backup');
cmp_ok($main->{window}{end_time}, 'gt', $backup->{stop_time}, 'and ends with the newest WAL');
is_deeply($main->{problems}, [], 'there is nothing to complain of');
like($lost->{problems}[0]{message}, qr{/lost" has no identity}, 'a lost identity is named');
like($lost->{problems}[1]{message}, qr{20200102-000000F/backup\.json" is damaged}, 'and a damaged backup');

($exit, $out, $err) = vezactl('info', '--all');
is($exit, 1, 'info --all as text exits with 1 for problems');
like($out, qr/^not verified: /m, 'it says that nothing was verified');
like($out, qr/^main +1  \Q$label\E .* none$/m, 'it has a line for each cluster');
like($out, qr/^no cluster: elsewhere$/m, 'and names what is no cluster');
like($out, qr/^not looked at, because no cluster can have this name: "x+ \.\.\. x+"$/m, 'and what nobody has looked at');
unlike($out, qr/\x1b/, 'what others have written does not control the terminal');
delete_object('lost/backup/20200102-000000F/backup.json');

$all = json_of(0, 'info', '--all', '--verify');
is(scalar @{ $all->{clusters} }, 1, 'with --verify, one cluster is left');
$main = $all->{clusters}[0];
is("$main->{verified} $main->{newest_backup}{label} $main->{backups}", "1 $label 1",
	'which was opened with the key');
is_deeply($main->{problems}, [], 'and is whole');
($exit, $out, $err) = vezactl('info', '--verify');
like("$exit $err", qr/^2 .*--verify needs --all/, '--verify alone is refused');
delete_object($_) foreach 'elsewhere/notes/readme', "$too_long/notes/readme";

# --- check ----------------------------------------------------------------------------------------

my $check = json_of(0, 'check');
ok($check->{passed}, 'the repository is fit for use');
my %checks = map { $_->{name} => $_ } @{ $check->{checks} };
is_deeply(
	[ grep { !$checks{$_}{passed} } qw(store write read conditional_writes delete clock identity) ],
	[], 'every check was made');
is(scalar(my @probes = grep { !m{/conditional-writes$} } objects('main/probe/')),
	0, 'the probe was removed');

my $wrong_passphrase = "veza_backup.cipher_passphrase = 'stapler battery horse'\n";
($exit, $out, $err) = vezactl_with($wrong_passphrase, 'check');
is($exit, 1, 'check with a wrong passphrase');
like($out, qr/^identity +failed .*passphrase/m, 'says that the passphrase is wrong');
like($out, qr/^HINT: /m, 'it says what to do');

# --- arguments and settings -----------------------------------------------------------------------

foreach my $case (
	[ [], qr/no command was given/ ],
	[ ['bogus'], qr/bogus/ ],
	[ [ '--output', 'xml', 'info' ], qr/xml/ ],
	[ ['restore'], qr/--target-dir is required/ ],
	[ [ '--config', "$scratch/absent", 'info' ], qr/absent": No such file/ ],
	[ [ 'restore', '--target-dir', "$scratch/x", '--target-time', 'noon' ], qr/not a date and time/ ],
	[ [ 'restore', '--target-dir', "$scratch/x", '--target-xid', 9, '--target-name', 'x' ],
		qr/at most 1/ ],
	[ [ 'restore', '--target-dir', "$scratch/x", '--target-exclusive' ], qr/need a target/ ])
{
	my ($arguments, $pattern) = @$case;
	my ($exit, $out, $err) = vezactl(@$arguments);
	is($exit, 2, "vezactl @$arguments: exit code");
	like($err, qr/^vezactl: error: .*$pattern/, "vezactl @$arguments: message");
}

($exit, $out, $err) = vezactl_with("veza_backup.shedule = 'x'\n", 'info');
is($exit, 2, 'an unknown setting');
like($err, qr/unknown setting "veza_backup.shedule" in file ".*other.conf" line \d+/, 'the message names file and line');
my $error = do
{
	my ($exit, $out) = vezactl_with("veza_backup.jobs = many\n", '--output', 'json', 'info');
	decode_json($out)->{error};
};
is($error->{code}, 'invalid_argument', 'with --output json, errors are JSON');
ok(!-e "$scratch/x", 'no restore has written anything');

# --- wal-get with settings that are wrong ----------------------------------------------------------

# Another exit code below 126 would end a recovery.
my $destination = "$scratch/RECOVERYXLOG";
foreach my $case (
	[ "veza_backup.shedule = 'x'\n", qr/shedule/, 'an unknown setting' ],
	[ "veza_backup.jobs = many\n", qr/not an integer/, 'a bad value' ],
	[ "veza_backup.repository = ''\n", qr/no repository is configured/, 'no repository' ],
	[ $wrong_passphrase, qr/passphrase/, 'a wrong passphrase' ],
	[ "veza_backup.cluster = 'other'\n", qr/not initialized/, 'a cluster that is not there' ])
{
	my ($lines, $pattern, $test) = @$case;
	my ($exit, $out, $err) =
	  vezactl_with($lines, 'wal-get', '--retry', 0, $first_segment, $destination);
	is($exit, 126, "wal-get with $test: exit code");
	like($err, qr/^vezactl: error: .*$pattern/, "wal-get with $test: message");
	ok(!-e $destination, "wal-get with $test: no file");
}

# --- what is never printed ------------------------------------------------------------------------

unlike($everything_said, qr/correct horse battery staple|stapler battery horse/,
	'passphrases are never printed');
unlike($everything_said, qr/\Q$ENV{VEZA_TEST_S3_SECRET_KEY}\E/, 'the secret key is never printed')
  if store() eq 's3';

done_testing();
