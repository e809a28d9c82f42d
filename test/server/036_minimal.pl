# WAL that was written with wal_level = minimal, and recycled segments that do not contain the WAL
# of their name.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'it is about the contents of WAL: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nwal_keep_size = '1GB'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(id int)');
my $old = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $before = $node->archive_wal;

# --- a recycled segment ----------------------------------------------------------------------------

my $wal = $node->data_dir . '/pg_wal';
my $recycled = '0000000100000000000000F0';
my $damaged = '0000000100000000000000F1';
PostgreSQL::Test::Utils::system_or_bail('cp', "$wal/$before", "$wal/$recycled");
PostgreSQL::Test::Utils::system_or_bail('cp', "$wal/$before", "$wal/$damaged");
open my $file, '+<:raw', "$wal/$damaged" or die;
print $file 'x' x 40;
close $file or die;
foreach my $segment ($recycled, $damaged)
{
	PostgreSQL::Test::Utils::append_to_file("$wal/archive_status/$segment.ready", '');
}
$node->wake_archiver;
$node->wait_for_archived($damaged);
$node->wait_for_archived($recycled);
is(scalar(my @stored = grep { m{/($recycled|$damaged)$} } objects('main/wal/')),
	2, 'on the current timeline no segment is taken for a recycled one');
$node->wait_for_log(qr/WARNING: .*"$recycled" holds other WAL than its name says/);
delete_object($_) foreach @stored;
unlink "$wal/$damaged", "$wal/$recycled";

# --- wal_level = minimal ---------------------------------------------------------------------------

$node->stop;
$node->append_conf('postgresql.conf', "wal_level = minimal\narchive_mode = off\nmax_wal_senders = 0");
$node->start;
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2); SELECT pg_switch_wal()');
$node->stop;
$node->append_conf('postgresql.conf', "wal_level = replica\narchive_mode = on\nmax_wal_senders = 10");
my $position = -s $node->logfile;
$node->start;
$node->wait_for_log(qr/WARNING: .*WAL after the newest backup was written with wal_level = minimal/,
	$position);
$node->wait_for_log(qr/LOG: .*starting a full backup because of a gap in the archive/, $position);
poll_until(
	sub { 2 == $node->safe_psql('postgres', 'SELECT count(*) FROM veza_backup_info()') },
	'the full backup that follows');
my ($record) = objects('main/gap/');
like($record, qr/\.minimal$/, 'the change is recorded');
my ($exit, $out) = $node->vezactl('info');
like($out, qr{wal_level = minimal at 0/\w+}, 'the recovery window ends at the change');
$node->vezactl_fails(
	[ 'restore', '--target-dir', $node->basedir . '/none', '--backup', $old ], 2,
	qr/would need WAL that was written with wal_level = minimal.*\nHINT: .*--target-exclusive/s,
	'a restore of the old full to the end of WAL');
$node->vezactl_ok(['verify'], 'with a new full backup nothing is wrong');
is($node->safe_psql('postgres', 'SELECT gaps FROM veza_backup_archive'), '0', 'there is no gap');

my ($lsn) = $out =~ m{wal_level = minimal at (\S+)};
my $copy = $node->restore('copy', '--backup', $old, '--target-lsn', $lsn, '--target-exclusive',
	'--target-action', 'promote');
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), '0', 'the old full can be restored up to the change');
$copy->discard;

$copy = $node->restore('new_copy');
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), '2', 'the new full has all rows');
$copy->discard;

# As long as no backup has followed, verify reports the change.
my ($new) = grep { $_ ne $old } split /\n/,
  $node->safe_psql('postgres', 'SELECT label FROM veza_backup_info()');
delete_object("main/backup/$new/backup.json");
($exit, $out) = $node->vezactl('verify');
is($exit, 1, 'verify without the new full');
like($out, qr/was written with wal_level = minimal/, 'verify says why');

$node->stop;
done_testing();
