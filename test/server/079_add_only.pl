# The policies of docs/security.md for a server that may only add, and for an operator's host that expires, with a store that
# gives temporary credentials for a policy (MinIO).

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'a directory has no policies' if store() ne 's3';
make_bucket('x-amz-bucket-object-lock-enabled: true');
plan skip_all => 'the store gives no credentials for a policy' if !become(policy_of_document('Server that may only add'));

my %keeps_all = map { ("retention_$_" => 0) } qw(full diff incr archive);

# --- the server -----------------------------------------------------------------------------------

my $node = VezaTest->new('primary');
$node->init(settings => { %keeps_all });
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t AS SELECT generate_series(1, 1000) AS id');
my $first = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('postgres', 'UPDATE t SET id = id + 1');
$node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
my $second = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->archive_wal;
is($node->safe_psql('postgres', q{SELECT string_agg(name || ': ' || detail, E'\n') FROM veza_backup_check() WHERE NOT passed AND name <> 'archive_timeout'}),
	'', 'veza_backup_check() finds nothing wrong');
unlike(slurp_file($node->logfile), qr/WARNING|AccessDenied/, 'the server has met no refusal');

# A failed backup leaves what it has stored. Nothing removes it but the host: not the next backup, even when it is old.
my $version_file = $node->data_dir . '/base/'
  . $node->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'template1'}) . '/PG_VERSION';
rename $version_file, "$version_file.hidden" or die "could not rename $version_file: $!";
$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/would be incomplete in the backup/, 'a backup that fails');
rename "$version_file.hidden", $version_file or die "could not rename $version_file: $!";
$node->vezactl_ok(['index']);
become();
my $left = '20260101-000000F';
# MinIO lets an administrator say when an object was stored.
VezaTest::s3_request('--request', 'PUT', '--data-binary', 'x', '--header', 'x-minio-source-mtime: 2026-01-01T00:00:00.000000000Z',
	VezaTest::s3_url("main/backup/$left/pack/1-1.pack"));
# An index of WAL that is damaged.
my ($index) = grep { m{^main/walindex/} } objects();
write_object($index, 'x');
become(policy_of_document('Server that may only add'));
$node->change_conf(VezaTest::default_settings(), %keeps_all);
$node->safe_psql('postgres', q{SELECT veza_backup_now('incr')});
unlike(slurp_file($node->logfile), qr/could not remove old backups/, 'the backup after a failed one tries to remove nothing');
isnt((objects("main/backup/$left/"))[0], undef, 'what an old failed backup has left stays');
is_deeply([ grep { m{/finished\.json$} } objects('main/backup/') ], [], 'no finished.json is left');
like($node->vezactl_ok(['index']), qr/, 1 objects that are replaced stay, because these credentials may not delete them/,
	'the index of WAL is made again beside the damaged one');
foreach my $name ("main/backup/$first/backup.json", grep { m{^main/(?:wal|identity|key|walindex)/} } objects())
{
	ok(!eval { delete_object($name); 1 }, "the server cannot delete $name");
}

# --- the operator's host --------------------------------------------------------------------------

become(policy_of_document('Host that expires'));
$node->change_conf(VezaTest::default_settings(), %keeps_all);
my $out = $node->vezactl_ok([ 'expire', '--full', 1, '--archive', 1 ]);
like($out, qr/^remove +backup +\Q$first\E /m, 'the host expires');
is_deeply([ grep { m{^main/backup/\Q$first\E/} } objects() ], [], 'the backup is gone');
like($out, qr/^remove +left-over +\Q$left\E /m, 'with what the failed backup has left');
$node->vezactl_ok([ 'keep', $second ], 'the host pins a backup');
$node->vezactl_ok([ 'keep', '--remove', $second ], 'and takes the pin away');
$node->vezactl_ok(['info'], 'it reads what is there');
like($node->vezactl_ok(['index']), qr/, 1 objects replaced/, 'and removes the damaged index');
my ($wal) = grep { m{^main/wal/} } objects();
ok(!eval { write_object($wal, 'x'); 1 }, 'it writes no WAL');
become();
my $version = version_of($wal);
become(policy_of_document('Host that expires'));
ok(!delete_version($wal, $version), 'and removes no version');
like($node->vezactl_ok(['verify']), qr/nothing is wrong/, 'what is left is whole');
$node->stop;
done_testing();
