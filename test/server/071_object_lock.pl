# Buckets that lock each object for two days: archive, backup and expire work in them, with the rights of the policy
# in docs/security.md. Objects that are soon replaced are locked for an hour. Expiry says what it has freed.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::MD5;
use JSON::PP qw(decode_json);
use POSIX qw(strftime);
use Test::More;
use Time::Local qw(timegm);
use VezaTest;

plan skip_all => 'a directory has no object lock' if store() ne 's3';

sub make_locking_bucket
{
	my ($mode) = @_;
	make_bucket('x-amz-bucket-object-lock-enabled: true');
	configure_bucket('object-lock', 'ObjectLockConfiguration',
		'<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>'
		  . "<Mode>$mode</Mode><Days>2</Days></DefaultRetention></Rule>");
	return;
}

# How the newest versions of an object are locked, and for how many hours.
sub lock_of
{
	my ($name, $version) = @_;
	my $head = VezaTest::s3_request('--head', VezaTest::s3_url($name) . "?versionId=$version");
	my ($mode) = $head =~ /^x-amz-object-lock-mode: (\w+)/mi;
	my ($y, $m, $d, $h, $min, $s) =
	  $head =~ /^x-amz-object-lock-retain-until-date: (\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)/mi or return ('', 0);
	return ($mode, (timegm($s, $min, $h, $d, $m - 1, $y) - time) / 3600);
}

# All versions in the repository: name and id. Not those of delete markers.
sub versions_below
{
	my ($prefix) = @_;
	my $root = VezaTest::s3_url('') =~ s{.*?//[^/]+/[^/]+/}{}r;
	my $list = VezaTest::s3_request("$ENV{VEZA_TEST_S3_ENDPOINT}/$ENV{VEZA_TEST_S3_BUCKET}?prefix="
		  . VezaTest::escape("$root$prefix") . '&versions=');
	my @found;
	while ($list =~ m{<Version>(.*?)</Version>}gs)
	{
		my $entry = $1;
		my ($key) = $entry =~ m{<Key>\Q$root\E([^<]+)</Key>} or next;
		my ($id) = $entry =~ m{<VersionId>([^<]+)</VersionId>};
		push @found, [ $key, $id ];
	}
	return @found;
}

eval { make_locking_bucket('GOVERNANCE'); 1 } or plan skip_all => 'the store has no object lock';
# Ceph 16: docs/stores.md.
plan skip_all => 'the store overwrites in a bucket with versions' if !honours_conditions();

foreach my $mode (qw(GOVERNANCE COMPLIANCE))
{
	make_locking_bucket($mode);
	my $limited = become(policy_of_document('Writer'));
	my $node = VezaTest->new("primary_$mode");
	$node->init(settings => { retention_full => 2 });
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
	$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id');
	my $first = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
	$node->archive_wal;
	my $second = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

	# A thief cannot lock junk for longer than the policy says.
	if ($limited)
	{
		my $lock_until = sub {
			return eval {
				VezaTest::s3_request('--request', 'PUT', '--data-binary', 'x', '--header', "x-amz-object-lock-mode: $mode",
					'--header', 'Content-MD5: ' . Digest::MD5::md5_base64('x') . '==',
					'--header', "x-amz-object-lock-retain-until-date: $_[0]", VezaTest::s3_url('main/probe/junk'));
				1;
			};
		};
		ok($lock_until->(strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + 600))), "$mode: the writer may lock for minutes");
		ok(!$lock_until->('2126-01-01T00:00:00Z'), 'and not for a century');
	}

	# --- how long objects are locked --------------------------------------------------------------

	become();
	my %longest;    # hours, by the kind of object
	foreach my $version (versions_below('main/'))
	{
		my ($name, $id) = @$version;
		my ($locked, $hours) = lock_of($name, $id);
		is($locked, $mode, "$name is locked") if $name =~ m{/backup\.json$};
		my ($kind) = $name =~ m{^main/([a-z]+)/};
		$longest{$kind} = $hours if $hours > ($longest{$kind} // 0);
	}
	foreach my $kind (qw(backup wal identity key))
	{
		cmp_ok($longest{$kind} // 0, '>', 47, "$mode: $kind is locked for two days");
	}
	cmp_ok($longest{lock} // 99, '<', 1.1, "$mode: the lock is locked for an hour");
	cmp_ok($longest{lock} // 0, '>', 0.5, 'and not less');

	# --- expiry --------------------------------------------------------------------------------------

	become(policy_of_document('Writer')) if $limited;
	my $out = $node->vezactl_ok([ 'expire', '--full', 1 ]);
	like($out, qr/^remove +backup +\Q$first\E /m, "$mode: expire removes the older backup");
	like($out, qr/^freed: nothing; \S+ \S+ stay as old versions, and no lifecycle rule ever removes them$/m,
		'it says that nothing is freed');
	like($out, qr/^Add a rule .*"NoncurrentVersionExpiration"/m, 'and prints the rule that is missing');
	like($node->safe_psql('postgres', q{SELECT hint FROM veza_backup_check() WHERE name = 'security'}),
		qr/"Filter":\{"Prefix":"[^"]*main\/"\}.*"NoncurrentDays":30/, 'so does the check');
	is_deeply([ grep { m{^main/backup/\Q$first\E/} } objects() ], [], 'the backup is gone');
	become();
	my @kept = versions_below("main/backup/$first/");
	cmp_ok(scalar @kept, '>', 2, 'its versions are not');

	# --- with the rule that was missing ----------------------------------------------------------------

	configure_bucket('lifecycle', 'LifecycleConfiguration',
		'<Rule><ID>old versions</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>'
		  . '<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration></Rule>');
	become(policy_of_document('Writer')) if $limited;
	$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
	$out = $node->vezactl_ok([ 'expire', '--full', 1, '--dry-run' ]);
	like($out, qr/^freed: nothing yet; .* old versions, which lifecycle rule "old versions" removes 30 days after they were deleted/m,
		'when it will be free');
	like($out, qr/but not before they are 2 days old \($mode lock\)$/m, 'and what is locked longer');
	my $space = decode_json($node->vezactl_ok([ 'expire', '--full', 1, '--output', 'json' ]))->{space};
	is($space->{is_free}, 'later', 'JSON says so, too');
	like($node->safe_psql('postgres', q{SELECT detail FROM veza_backup_check() WHERE name = 'security'}),
		qr/it locks each object for 2 days \($mode\)/, 'the check tells of the lock');
	like($node->vezactl_ok(['verify']), qr/nothing is wrong/, 'verify');
	$node->stop;
	become();
}
done_testing();
