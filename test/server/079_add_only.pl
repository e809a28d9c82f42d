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
$node->vezactl_ok([ 'keep', $second ], 'the host pins a backup');
$node->vezactl_ok([ 'keep', '--remove', $second ], 'and takes the pin away');
$node->vezactl_ok(['info'], 'it reads what is there');
my ($wal) = grep { m{^main/wal/} } objects();
ok(!eval { write_object($wal, 'x'); 1 }, 'it writes no WAL');
become();
my $version = version_of($wal);
become(policy_of_document('Host that expires'));
ok(!delete_version($wal, $version), 'and removes no version');
like($node->vezactl_ok(['verify']), qr/nothing is wrong/, 'what is left is whole');
$node->stop;
done_testing();
