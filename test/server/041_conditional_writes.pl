# A store that does not honour If-None-Match is refused before anything is written to it, and a twin
# overwrites nothing. With s3_conditional_writes = 'look' such a store will do.

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
  qr/does not take conditional writes \(If-None-Match\): .*server answered 501 NotImplemented/;
my $hint = qr/HINT:  .*veza_backup\.s3_conditional_writes = 'look'.* a request more for each object/;

sub check_row
{
	my ($on) = @_;
	return $on->safe_psql('postgres', <<'SQL');
SELECT passed, detail, 'HINT:  ' || hint FROM veza_backup_check() WHERE name = 'conditional_writes'
SQL
}

# What lies there but the object with which the store is tried.
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
$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/$overwrites.*$hint/s, 'its backup');
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->wait_for_log(qr/WARNING:  could not archive WAL file "\w+": .*$overwrites.*$hint/s);
pass('its archiver');
like(check_row($node), qr/^f\|$overwrites\|$hint/, 'its check');

store_conditions('refuse');
$node->sql_fails('SELECT veza_backup_init()', qr/$refuses.*$hint/s, 'init on a store that answers 501');
my ($exit, $out) = $node->vezactl('check');
is($exit, 1, 'vezactl check fails');
like($out, qr/^conditional_writes +failed .*$refuses/m, 'and says why');
is_deeply([ stored() ], [], 'nothing was stored');

# --- one that honours it: archiving goes on by itself ---------------------------------------------

store_conditions('honour');
$node->safe_psql('postgres', q{SELECT veza_backup_init()});
$node->wake_archiver;
$node->archive_wal;
like(check_row($node), qr/^t\|the store refuses to overwrite an object\|$/, 'a store that honours it');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# Every process that writes asks the store once, whatever it writes.
my $before = fault_counts()->{requests};
$node->archive_wal foreach 1 .. 5;
# A PUT, and the look at identity and key before the acknowledgement; a proof for each would cost two more.
cmp_ok(fault_counts()->{requests} - $before, '<=', 5 * 5 + 5, 'no write pays for the proof of the first');

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

# --- nothing but the first write needs a proof ----------------------------------------------------

$node->restart;
$node->vezactl_ok(['info'], 'such a repository can be looked at');
$node->vezactl_ok(['verify'], 'verified');
$node->restore('copy')->discard;
pass('and restored');

# --- looking before each write --------------------------------------------------------------------

$node->apply_conf(s3_conditional_writes => 'look');
$node->wake_archiver;
$node->archive_wal;
like(check_row($node), qr/^t\|.*s3_conditional_writes is "look": two servers .* at the same moment/,
	'check says what looking does not see');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

my $position = -s $twin->logfile;
$twin->reload;
$twin->wake_archiver;
$twin->wait_for_log(qr/WAL file "$segment" is already in repository .* with different content/,
	$position);
ok(read_object($object) eq $original, 'and still the twin overwrites nothing');
$twin->discard;

store_conditions('honour');
$node->vezactl_ok(['verify'], 'what was stored so is whole');

done_testing();
