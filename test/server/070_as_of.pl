# vezactl --as-of: a bucket with versioning is read as it was. Everything is overwritten and deleted
# with the server's own credentials, which may not remove versions, and the cluster comes back.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use JSON::PP qw(decode_json);
use POSIX qw(strftime);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

# The second that has just passed, by the clock of this machine, which the store has as well.
sub a_time
{
	my $now = int time;
	sleep 0.05 while int time <= $now + 1;
	return strftime('%Y-%m-%d %H:%M:%S+00', gmtime($now));
}

sub rows_of { return $_[0]->safe_psql('postgres', 'SELECT count(*), sum(id) FROM t') }

my $node = VezaTest->new('primary');

if (store() eq 'dir')
{
	$node->init;
	$node->start;
	$node->vezactl_fails([ '--as-of', '2026-11-22 02:00+00', 'info' ], 2,
		qr/repository "[^"]*" is a directory, which keeps no earlier versions.*HINT:  --as-of needs a bucket/s,
		'the past of a directory');
	done_testing();
	exit;
}

# --- a bucket of its own, with versions -----------------------------------------------------------

sub keep_versions
{
	configure_bucket('versioning', 'VersioningConfiguration', '<Status>Enabled</Status>');
	return;
}

my $plain = repository();
make_bucket();
keep_versions();
# Ceph 16 overwrites in a bucket with versions, and lists objects there before they can be read. So versions begin
# when the backups are there.
my $early = honours_conditions();
note($early ? 'versions from the beginning' : 'versions from after the backups');
make_bucket();
keep_versions() if $early;
# The server may do what the policy in docs/security.md says, and not remove a version.
my $limited = become(policy_of_document('Writer'));
if (!$limited)
{
	note('the store has no temporary credentials: a policy of the bucket denies the same');
	put_bucket_policy();
}
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(id int)');
$node->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(1, 1000)');
my $first = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(1001, 2000)');
$node->archive_wal;
my $then = a_time();

# A failover: timeline 2 begins.
$node->stop;
$node->set_standby_mode;
$node->start;
$node->promote;
$node->safe_psql('postgres', 'INSERT INTO t VALUES (-1)');
my $second = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->archive_wal;
$node->stop;
keep_versions() if !$early;
my $before_the_end = a_time();

# --- everything is overwritten, and then deleted --------------------------------------------------

my @objects = objects();
cmp_ok(scalar @objects, '>', 10, 'the repository has ' . @objects . ' objects');
# More versions than a page of a listing has. WAL comes after them.
my @many = map { VezaTest::s3_url("main/probe/many-$_") } 1 .. 400;
VezaTest::s3_request('--parallel', '--request', 'PUT', '--data-binary', 'x', (@many) x 3);
VezaTest::s3_request('--parallel', '--request', 'DELETE', @many);
write_object($_, "ransom\n") foreach @objects;
delete_object($_) foreach @objects;
is_deeply([ objects() ], [], 'nothing is left');
become();
my ($object) = grep { /backup\.json$/ } @objects;
my $version = version_of($object);
become($limited ? policy_of_document('Writer') : undef);
ok(!delete_version($object, $version), 'the server cannot remove a version');
$node->vezactl_fails(['info'], 2, qr/is not initialized/, 'info finds no repository');

# --- and comes back -------------------------------------------------------------------------------

become();
become(policy_of_document('Reader of the past'));
$node->change_conf(s3_access_key => $ENV{VEZA_TEST_S3_ACCESS_KEY}, s3_secret_key => $ENV{VEZA_TEST_S3_SECRET_KEY},
	s3_session_token => $ENV{VEZA_TEST_S3_SESSION_TOKEN});

sub labels { return [ map { $_->{label} } @{ $_[0]->{backups} } ] }

my $info = decode_json($node->vezactl_ok([ '--as-of', $then, '--output', 'json', 'info' ]));
is_deeply(labels($info), [$first], 'info --as-of shows the backup of that time');
is($info->{as_of}, $then =~ s/ /T/r =~ s/\+00$/Z/r, 'info --as-of says of what time it is');
$info = decode_json($node->vezactl_ok([ 'info', '--as-of', $before_the_end, '--output', 'json' ]));
is_deeply(labels($info), [ $first, $second ], 'and both of a later time');
like($node->vezactl_ok([ '--as-of', $then, 'info' ]), qr/^as it was at /m, 'info says so to people, too');

like($node->vezactl_ok([ '--as-of', $then, 'info', '--all' ]), qr/^main +.*\Q$first\E/m, 'info --all --as-of');
like($node->vezactl_ok([ '--as-of', $then, 'verify', '--full' ]), qr/nothing is wrong/, 'verify --as-of');
$node->vezactl_ok([ '--as-of', $then, 'timeline' ]);

my $copy = VezaTest->new('copy');
my ($exit, $out, $err) = $node->vezactl('--as-of', $then, 'restore', '--target-dir', $copy->data_dir);
is($exit, 0, 'restore --as-of') or diag($err);
like($err, qr/warning: a restore with --as-of takes no lease.*HINT: .*lifecycle rule/s, 'it says that there is no lease');
like(slurp_file($copy->data_dir . '/postgresql.auto.conf'),
	qr/^restore_command = '.* --as-of \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ --last-segment \w{24}'/m,
	'the WAL is fetched as of that time');
$copy->adopt($node);
$copy->start;
$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(rows_of($copy), '2000|2001000', 'all rows of that time are there');
is($copy->safe_psql('postgres', 'SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)'),
	'00000003', 'it leaves out the timeline that has begun since, although that is deleted, too');
like($err, qr/warning: the restored server begins a history of its own.*HINT: .*veza_backup\.cluster/s, 'and another cluster is advised');
poll_until(sub { slurp_file($copy->data_dir . '/postgresql.auto.conf') !~ / --as-of| --last-segment/ },
	'the end of --as-of in restore_command');
pass('after the recovery, restore_command fetches what is new');
$copy->discard;

my $later = $node->restore('later', '--as-of', $before_the_end);
$later->start;
$later->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(rows_of($later), '2001|2000999', 'all rows of the later time are there');
$later->discard;

# Which timelines are newer than the followed one is not known. "No such file" would free their numbers.
my $blind = $node->basedir . '/blind';
mkdir $_ or die "could not create $_: $!" foreach $blind, "$blind/postgresql.auto.conf";
append_to_file("$blind/recovery.signal", '');
IPC::Run::run([ $ENV{VEZACTL}, '--config', $node->conf, '--as-of', $then, 'wal-get', '00000003.history', "$blind/x" ],
	'2>', \$err, init => sub { chdir $blind or die });
is($? >> 8, 126, 'a history file of the past, when the settings of the recovery cannot be read');
like($err, qr/postgresql\.auto\.conf/, 'the message names the file');

# A lifecycle rule removes the last segment during the recovery. That is no end of the WAL.
my $short = $node->restore('short', '--as-of', $before_the_end);
my ($last) = slurp_file($short->data_dir . '/postgresql.auto.conf') =~ / --last-segment ([0-9A-F]{24})/;
ok($last, 'restore_command names the last segment');
become();
my ($segment) = grep { m{/\Q$last\E$} } @objects;
VezaTest::s3_request('--request', 'DELETE', bucket_policy()) if !$limited;
while (my $id = eval { version_of($segment) })
{
	delete_version($segment, $id) or die "could not remove version $id of $segment";
}
become(policy_of_document('Reader of the past'));
$short->change_conf(s3_access_key => $ENV{VEZA_TEST_S3_ACCESS_KEY}, s3_secret_key => $ENV{VEZA_TEST_S3_SECRET_KEY},
	s3_session_token => $ENV{VEZA_TEST_S3_SESSION_TOKEN});
$short->start(fail_ok => 1);
$short->wait_for_log(qr/error: WAL segment "$last", which was there when the restore began, is missing.*FATAL:  could not restore file/s);
unlike(slurp_file($short->logfile), qr/archive recovery complete/, 'recovery does not end before a segment that has gone');
$short->discard;

# --- versioning that is suspended ------------------------------------------------------------------

become();
configure_bucket('versioning', 'VersioningConfiguration', '<Status>Suspended</Status>');
become(policy_of_document('Reader of the past'));
$node->change_conf(s3_access_key => $ENV{VEZA_TEST_S3_ACCESS_KEY}, s3_secret_key => $ENV{VEZA_TEST_S3_SECRET_KEY},
	s3_session_token => $ENV{VEZA_TEST_S3_SESSION_TOKEN});
($exit, $out, $err) = $node->vezactl('--as-of', $then, 'info');
is($exit, 0, 'a bucket whose versioning is suspended') or diag($err);
like($out, qr/\Q$first\E/, 'shows its past');
like($err, qr/warning: versioning of the bucket is suspended.*HINT: .*verify --full/s, 'with a warning');

# --- what is refused ------------------------------------------------------------------------------

$node->vezactl_fails([ '--as-of', $then, 'expire' ], 2,
	qr/"vezactl expire" cannot be used with --as-of/, 'the past cannot be changed');
$node->vezactl_fails([ '--as-of', $then, 'restore', '--standby', '--target-dir', $copy->data_dir ], 2,
	qr/--as-of and --standby exclude each other/, 'a standby of the past');
$node->vezactl_fails([ '--as-of', '2999-01-01', 'info' ], 2, qr/cannot be read as it was at 29\d\d-.*HINT:  Give a time that has passed/s,
	'a time that has not come');
$node->vezactl_fails([ '--as-of', '2001-01-01', 'info' ], 2, qr/is not initialized/, 'a time before the repository');
$node->vezactl_fails([ '--as-of', 'yesterday', 'info' ], 2, qr/--as-of.*"yesterday"/, 'no time');
$node->vezactl_fails([ '--as-of', 'yesterday', 'wal-get', '000000010000000000000001', 'x' ], 126,
	qr/--as-of/, 'recovery does not end because of a wrong option');
become();
$node->change_conf(VezaTest::default_settings(), repository => $plain, s3_session_token => undef);
$node->vezactl_fails([ '--as-of', $then, 'info' ], 2,
	qr/bucket "[^"]*" has no versioning.*HINT:  A bucket keeps what is overwritten/s, 'a bucket without versions');
done_testing();

# Denies to everybody what the writer's policy denies.
sub put_bucket_policy
{
	my $policy = sprintf '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", '
	  . '"Action": "s3:DeleteObjectVersion", "Resource": "arn:aws:s3:::%s/*"}]}', $ENV{VEZA_TEST_S3_BUCKET};
	VezaTest::s3_request('--request', 'PUT', '--data-binary', $policy, bucket_policy());
	return;
}

sub bucket_policy { return "$ENV{VEZA_TEST_S3_ENDPOINT}/$ENV{VEZA_TEST_S3_BUCKET}?policy=" }
