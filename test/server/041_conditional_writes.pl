# A store that does not honour If-None-Match is refused before anything is written to it. A second
# server with the same name (a twin) overwrites nothing. With s3_conditional_writes = 'look' such a
# store can be used.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'a directory has no conditions that could be ignored' if store() ne 's3';

my $overwrites = qr/the store of repository "s3:[^"]*" overwrote an object although If-None-Match was sent/;
my $refuses =
  qr/does not support conditional writes \(If-None-Match\): .*server answered 501 NotImplemented/;
my $hint = qr/HINT:  .*veza_backup\.s3_conditional_writes = 'look'.* one more request for each object/;

sub check_row
{
	my ($on) = @_;
	return $on->safe_psql('postgres', <<'SQL');
SELECT passed, detail, 'HINT:  ' || hint FROM veza_backup_check() WHERE name = 'conditional_writes'
SQL
}

# Returns the stored objects, except for the probe for conditional writes.
sub stored
{
	return grep { $_ ne 'main/probe/conditional-writes' } objects();
}

# --- a store that overwrites, or answers 501 ------------------------------------------------------

my $node = VezaTest->new('primary');
$node->init(proxy => 'faults');
store_conditions('ignore');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->sql_fails('SELECT veza_backup_init()', qr/$overwrites.*$hint/s, 'init on a store that overwrites');
$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/$overwrites.*$hint/s, 'a backup on a store that overwrites');
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->wait_for_log(qr/WARNING:  could not archive WAL file "\w+": .*$overwrites.*$hint/s);
pass('the archiver on a store that overwrites');
like(check_row($node), qr/^f\|$overwrites\|$hint/, 'the check on a store that overwrites');

store_conditions('refuse');
$node->sql_fails('SELECT veza_backup_init()', qr/$refuses.*$hint/s, 'init on a store that answers 501');
my ($exit, $out) = $node->vezactl('check');
is($exit, 1, 'vezactl check fails');
like($out, qr/^conditional_writes +failed .*$refuses/m, 'vezactl check says why');
is_deeply([ stored() ], [], 'nothing was stored');

# --- a store that honours it: archiving resumes by itself -----------------------------------------

store_conditions('honour');
$node->safe_psql('postgres', q{SELECT veza_backup_init()});
$node->wake_archiver;
$node->archive_wal;
like(check_row($node), qr/^t\|the store refuses to overwrite an object\|$/, 'a store that honours it');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# Every process that writes tries the store once, no matter how much it writes.
my $before = fault_counts()->{requests};
$node->archive_wal foreach 1 .. 5;
# Each file needs a PUT, and requests for identity and key before it is acknowledged. A trial for
# each file would cost two more.
cmp_ok(fault_counts()->{requests} - $before, '<=', 5 * 5 + 5, 'only the first write pays for the trial');

# --- a twin on a store that has changed -----------------------------------------------------------

$node->stop;
my $twin = VezaTest->new('twin');
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $twin->data_dir);
chmod 0700, $twin->data_dir;
$twin->adopt($node);
$node->start;
$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(true, 'veza', 'of the original')});
my $segment = $node->archive_wal;
my $object = sprintf 'main/wal/%s/%s/%s/%s',
  $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'),
  substr($segment, 0, 8), substr($segment, 8, 8), $segment;
my $original = read_object($object);

store_conditions('ignore');
$twin->start;
$twin->safe_psql('postgres', q{SELECT pg_logical_emit_message(true, 'veza', 'of the twin')});
$twin->safe_psql('postgres', 'SELECT pg_switch_wal()');
$twin->wait_for_log(qr/WARNING:  could not archive WAL file "$segment": .*$overwrites/);
ok(read_object($object) eq $original, 'the twin has overwritten nothing');

# --- only writing needs a trial -------------------------------------------------------------------

$node->restart;
$node->vezactl_ok(['info'], 'such a repository can be read');
$node->vezactl_ok(['verify'], 'verified');
$node->restore('copy')->discard;
pass('such a repository can be restored');

# --- looking before each write --------------------------------------------------------------------

$node->apply_conf(s3_conditional_writes => 'look');
$node->wake_archiver;
$node->archive_wal;
like(check_row($node), qr/^t\|.*s3_conditional_writes is "look": two servers .* at the same moment/,
	'the check says what looking cannot prevent');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

my $position = -s $twin->logfile;
$twin->reload;
$twin->wake_archiver;
$twin->wait_for_log(qr/WAL file "$segment" is already in repository .* with different content/,
	$position);
ok(read_object($object) eq $original, 'the twin still overwrites nothing');
$twin->discard;

store_conditions('honour');
$node->vezactl_ok(['verify'], 'what was stored with looking is complete');

done_testing();
