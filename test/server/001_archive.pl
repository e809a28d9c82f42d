# The archive module: which files are stored, which are refused, and how a failing store affects the
# server.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Fcntl qw(SEEK_SET);
use List::Util qw(min);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(proxy => 1);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');

my $system_id =
  $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
my $archiver = $node->archiver_pid;

sub object_of
{
	my ($segment) = @_;
	return "main/wal/$system_id/00000001/00000000/$segment";
}

sub log_since
{
	my ($position) = @_;
	return PostgreSQL::Test::Utils::slurp_file($node->logfile, $position);
}

# Ends the current segment, and does not wait until it is archived.
sub switch_wal
{
	return $node->safe_psql('postgres', <<'SQL');
SELECT pg_walfile_name(l) FROM pg_logical_emit_message(false, 'veza', 'fill') AS l;
SELECT FROM pg_switch_wal();
SQL
}

sub seconds_of
{
	my ($code) = @_;
	my $begin = time;
	$code->();
	return time - $begin;
}

# --- a segment arrives ----------------------------------------------------------------------------

my $segment = $node->archive_wal;
my $object = object_of($segment);
is_deeply([ objects('main/wal/') ], [ grep { $_ le $object } objects('main/wal/') ],
	'the segment has the name that FORMAT.md defines');
ok((grep { $_ eq $object } objects('main/wal/')), "$segment is in the repository");
is(scalar(my @identities = objects('main/identity/')), 1, 'the primary has stored its identity');
is(scalar(my @keys = objects('main/key/')), 1, 'there is one key');

# --- the same file again --------------------------------------------------------------------------

my $stored = read_object($object);
my $position = -s $node->logfile;
$node->archive_again($segment);
$node->wait_for_archived($segment);
is($node->archive_status($segment), 'done', 'a file that is already stored is acknowledged');
is(read_object($object), $stored, 'it was not written again');
unlike(log_since($position), qr/WARNING/, 'there is no warning');

# --- the same name, another content ---------------------------------------------------------------

my $path = $node->data_dir . "/pg_wal/$segment";
flip_last_byte($path);
$position = -s $node->logfile;
$node->archive_again($segment);
$node->wait_for_log(
	qr/WARNING: .*could not archive WAL file "$segment": WAL file "$segment" is already in repository "[^"]+" with different content, written by \S+:\d+ at 20\d\d-\d\d-\d\dT/,
	$position);
$node->wait_for_log(qr/HINT:  .*veza_backup\.cluster/, $position);
is($node->archive_status($segment), 'ready', 'a file with another content stays .ready');
is(read_object($object), $stored, 'nothing was overwritten');

flip_last_byte($path);
$node->wake_archiver;
$node->wait_for_archived($segment);
pass('the right content is acknowledged again');

# --- files that recovery never requests -----------------------------------------------------------

foreach my $file ("$segment.partial", "$segment.00000028.backup")
{
	my $copy = $node->data_dir . "/pg_wal/$file";
	PostgreSQL::Test::Utils::system_or_bail('cp', $path, $copy);
	my $ready = $node->data_dir . "/pg_wal/archive_status/$file.ready";
	PostgreSQL::Test::Utils::append_to_file($ready, '');
	$node->wake_archiver;
	$node->wait_for_archived($file);
	$stored = read_object(object_of($file));

	flip_last_byte($copy);
	$position = -s $node->logfile;
	$node->archive_again($file);
	$node->wait_for_archived($file);
	$node->wait_for_log(qr/WARNING: .*WAL file "$file" is already in repository .* with different content/, $position);
	$node->wait_for_log(qr/HINT:  The file is not stored, because recovery never needs one of its kind/, $position);
	is(read_object(object_of($file)), $stored, "$file is not overwritten");
	is($node->safe_psql('postgres', 'SELECT failing, last_conflict FROM veza_backup_archive'), "f|$file",
		'the view shows the conflict, and that archiving is not failing');
	$node->archive_wal;
}

# --- the store is away ----------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE dropped');
$position = -s $node->logfile;
break_store();
my $waiting = switch_wal();
$node->wait_for_log(qr/WARNING: .*could not archive WAL file "$waiting"/, $position);
$node->wait_for_log(qr/HINT: /, $position);
is($node->archive_status($waiting), 'ready', 'without the store the segment stays .ready');

# DROP DATABASE waits for every process of the server, including the archiver.
$node->wake_archiver;
my $seconds = seconds_of(sub { $node->safe_psql('postgres', 'DROP DATABASE dropped') });
cmp_ok($seconds, '<', 3, 'DROP DATABASE does not wait for the store');

mend_store();
$node->wake_archiver;
$node->wait_for_archived($waiting);
ok((grep { $_ eq object_of($waiting) } objects('main/wal/')),
	'the segment arrives when the store is back');

# --- wrong settings, then correct ones ------------------------------------------------------------

my ($wrong, $right) =
  store() eq 's3'
  ? ({ s3_endpoint => 'http://127.0.0.1:1' }, { s3_endpoint => VezaTest::proxy_endpoint(1) })
  : ({ repository => '/proc/veza' }, { repository => repository() });

$node->change_conf(%$wrong);
$node->reload;
$position = -s $node->logfile;
$waiting = switch_wal();
$node->wait_for_log(qr/WARNING: .*could not archive WAL file "$waiting"/, $position);
is($node->archive_status($waiting), 'ready', 'with wrong settings the segment stays .ready');
$node->change_conf(%$right);
$seconds = seconds_of(
	sub {
		$node->reload;
		$node->wait_for_archived($waiting);
	});
cmp_ok($seconds, '<', 5, 'corrected settings take effect at once');

# --- thousands of failures ------------------------------------------------------------------------

# Returns the minimum of several measurements. An attempt in progress temporarily uses more buffers
# and connections.
sub state_of_archiver
{
	my %least;
	for (1 .. 40)
	{
		my $status = PostgreSQL::Test::Utils::slurp_file("/proc/$archiver/status");
		my @descriptors = glob "/proc/$archiver/fd/*";
		my ($memory) = $status =~ /^VmRSS:\s+(\d+) kB/m;
		$least{memory} = $memory if $memory < ($least{memory} // $memory + 1);
		$least{descriptors} = @descriptors if @descriptors < ($least{descriptors} // @descriptors + 1);
		sleep 0.05;
	}
	return \%least;
}

# The archiver sleeps between attempts. Each signal ends a sleep.
sub fail_often
{
	my ($times) = @_;
	my $failures = sub {
		$node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver');
	};
	my $until = $failures->() + $times;

	poll_until(
		sub {
			for (1 .. 50)
			{
				kill 'USR1', $archiver;
				sleep 0.004;
			}
			return $failures->() >= $until;
		},
		"$times failures");
	return;
}

# A leak grows in every round. malloc() may also keep the buffers of a segment (16 MB with newer C
# libraries); that growth appears in only one round.
sub is_flat
{
	my ($times, $what) = @_;
	my ($growth, $descriptors);
	my $before = state_of_archiver();

	for (1 .. 3)
	{
		fail_often(min($times, 100)) for 1 .. $times / min($times, 100);
		my $now = state_of_archiver();
		$growth = $now->{memory} - $before->{memory};
		$descriptors = $now->{descriptors} - $before->{descriptors};
		last if $growth < 1024;
		$before->{memory} = $now->{memory};
	}
	cmp_ok($growth, '<', 1024, "$what: memory is flat (kB)");
	# One connection more or less is not a leak.
	cmp_ok($descriptors, '<', 5, "$what: no descriptor is lost");
	return;
}

# These attempts fail quickly: when the archiver opens the repository again, before it seals the
# file.
if (store() eq 's3')
{
	$node->change_conf(s3_secret_key => 'wrongwrongwrong1');
}
else
{
	break_store();
}
$node->reload;
$position = -s $node->logfile;
$waiting = switch_wal();
fail_often(100);
# An attempt on S3 needs a request, but one on a directory fails at once. So a directory gets ten
# thousand attempts.
my $hundreds = store() eq 's3' ? 6 : 100;
is_flat(100 * $hundreds, "${hundreds}00 failures to connect");
like(
	log_since($position),
	store() eq 's3' ? qr/HINT:  Check veza_backup\.s3_secret_key / : qr/HINT:  Make the operating system user/,
	'the hint says what is wrong');
unlike(log_since($position), qr/wrongwrongwrong1/, 'no secret is in the log');

$node->change_conf(s3_secret_key => $ENV{VEZA_TEST_S3_SECRET_KEY}) if store() eq 's3';
mend_store();
$node->reload;
$node->wait_for_archived($waiting);

# These attempts fail late, after the whole file was sealed and sent.
flip_last_byte($node->data_dir . "/pg_wal/$waiting");
$node->archive_again($waiting);
fail_often(10);
is_flat(30, '30 refused uploads');
flip_last_byte($node->data_dir . "/pg_wal/$waiting");
$node->wake_archiver;
$node->wait_for_archived($waiting);

is($node->archiver_pid, $archiver, 'the archiver process is still the same');

# --- shutdown -------------------------------------------------------------------------------------

if (store() eq 's3')
{
	$node->apply_conf(s3_endpoint => VezaTest::proxy_endpoint());
	$node->safe_psql('postgres', 'SELECT veza_backup_init()');
}
break_store();
$waiting = switch_wal();
$seconds = seconds_of(sub { $node->stop('fast') });
cmp_ok($seconds, '<', 10, 'a fast shutdown ends without the store');
$node->start;
is($node->archive_status($waiting), 'ready', 'the segment waits for the store after it');

SKIP:
{
	skip 'a directory cannot stall', 1 if store() ne 's3';

	break_store('stall');
	$node->wake_archiver;
	sleep 1;
	$seconds = seconds_of(sub { $node->stop('fast') });
	cmp_ok($seconds, '<', 12, 'a fast shutdown ends with a store that hangs');
	$node->start;
}

mend_store();
$node->wake_archiver;
$node->wait_for_archived($waiting);
my $last = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
$node->stop('fast');
ok((grep { $_ eq object_of($last) } objects('main/wal/')),
	'a shutdown with the store stores the last segment');

done_testing();
