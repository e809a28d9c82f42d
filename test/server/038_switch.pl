# A backup on a standby whose primary writes little: the primary is asked to finish its WAL segment.

use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use FindBin;
use JSON::PP ();
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep);
use VezaTest;

# Encryption is off, so that the test can forge the lock.
my $primary = VezaTest->new('primary');
$primary->init(settings => { cipher => 'none', cipher_passphrase => undef });
$primary->append_conf('postgresql.conf', "autovacuum = off\narchive_timeout = 0");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t (n int)');
$primary->backup('base');
my $standby = VezaTest->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->adopt($primary);
$standby->start;
$standby->apply_conf(backup_wal_timeout => '100s');
# This happens before the primary first looks at the lock, which it does some seconds after a
# segment has begun.
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
my $full = q{SELECT veza_backup_now('full')};
my ($exit, $out, $err);

# Writes the first record of a segment. Returns the segment's name.
sub write_something
{
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (1); CHECKPOINT');
	$primary->wait_for_catchup($standby);
	return current_segment();
}

sub current_segment
{
	return $primary->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
}

sub needs_wal
{
	return grep { read_object($_) =~ /"needs_wal"/ } objects('main/lock/');
}

sub count_in_log
{
	my ($node, $pattern) = @_;
	my @found = slurp_file($node->logfile) =~ /$pattern/g;
	return scalar @found;
}

my $look = 1000;

# Makes the scheduler look at the lock, as it does every minute.
sub let_look
{
	$primary->apply_conf(archive_max_age => ++$look . 's');
	return;
}

# --- a primary that is idle -----------------------------------------------------------------------

my $segment = write_something();
($exit, $out, $err) = $standby->finish_sql($standby->start_sql($full));
is($exit, 0, 'a backup on a standby of an idle primary ends by itself');
like($err,
	qr/NOTICE:  the backup waits for the primary, which writes little.*has been asked to.*pg_switch_wal/,
	'the log says at once what it waits for');
is($primary->safe_psql('postgres', "SELECT status FROM veza_backup_info() WHERE label = '$out'"),
	'ok', 'it is a backup');
my $switched = qr/switching to a new WAL segment, because a backup on a standby waits for/;
is(count_in_log($primary, qr/$switched "\Q$segment\E"/), 1, 'the primary has finished its segment');
is(count_in_log($primary, $switched), 1, 'the primary has finished no other segment');
ok(!needs_wal(), 'the lock asks for nothing when the backup has ended');

# --- a primary that writes little, within a minute ------------------------------------------------

$segment = write_something();
my $writer = $primary->start_sql(<<'SQL');
DO $$ BEGIN LOOP INSERT INTO t VALUES (2); COMMIT; PERFORM pg_sleep(0.3); END LOOP; END $$
SQL
my $position = -s $standby->logfile;
my $session = $standby->start_sql($full);
$standby->wait_for_log(qr/the backup waits for the primary, which writes little/, $position);
$writer->{harness}->signal('INT');
$primary->finish_sql($writer);
poll_until(\&needs_wal, 'the request');
for (1 .. 3)
{
	let_look();
	sleep 1;
}
is(current_segment(), $segment, 'no second segment is finished within a minute');
$primary->archive_wal;
($exit, $out, $err) = $standby->finish_sql($session);
is($exit, 0, 'an operator may still switch to another segment');
is(count_in_log($primary, $switched), 1, 'the primary does not switch again');

# --- forged requests in the repository ------------------------------------------------------------

sub forge_lock
{
	my ($epoch, $needs_wal) = @_;
	my $name = sprintf('lock/%010d', $epoch);
	my $json = JSON::PP->new->canonical;
	my %lock = (
		format => 1, state => 'held', holder => '0' x 32, node => 'elsewhere', process => '',
		purpose => 'full backup', acquired => '2026-11-22T02:00:00Z', lease_seconds => 120,
		slots => {}, needs_wal => $needs_wal, mac_algorithm => 'sha-256');
	$lock{mac} = sha256_hex("$name\0" . $json->encode(\%lock));
	write_object("main/$name", $json->encode(\%lock));
	return;
}

$segment = write_something();
my $system = $primary->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
my $unread = qr/WARNING:  could not find out whether a backup on a standby waits for this server: .*lock/;
write_object('main/lock/0000000100', 'x');
let_look();
poll_until(sub { count_in_log($primary, $unread) }, 'the warning of a lock that cannot be read');
forge_lock(101, "wal/$system/00000001/00000000/0000000100000000000000F0");
let_look();
my $strange = qr/WARNING:  the lock of the repository requests a WAL segment that this server has not begun to write/;
poll_until(sub { count_in_log($primary, $strange) }, 'the warning of a strange request');
write_object('main/lock/0000000102', 'x');
let_look();
sleep 1;
forge_lock(103, "wal/$system/" . 'x' x 5000);
let_look();
sleep 1;
forge_lock(104, "wal/$system/00000001/00000000/$segment.partial");
let_look();
sleep 1;
is(count_in_log($primary, $strange), 1, 'the strange request is logged once');
cmp_ok(count_in_log($primary, $unread), '<=', 2, 'the unreadable lock is logged once');
is(current_segment(), $segment, 'no segment was finished');

done_testing();
