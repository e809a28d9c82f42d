# The lease of a restore: an expiry that runs meanwhile keeps what the restore needs, and shows the
# lease.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(settings => { retention_full => 2, retention_archive => 2 });
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE TABLE marks(name text);
CREATE TABLE large AS SELECT repeat(md5(i::text), 30) AS t FROM generate_series(1, 40000) i;
INSERT INTO marks VALUES ('in the old backup');
SQL
my $old = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('postgres', q{INSERT INTO marks VALUES ('in the WAL')});
$node->archive_wal;
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

sub expire
{
	my ($where) = @_;
	return $node->safe_psql('postgres',
		"SELECT action || ': ' || reason FROM veza_backup_expire() WHERE $where");
}

sub leases { return [ grep { !/\.veza-tmp-/ } objects('main/lease/') ] }

# Starts a restore, and stops it (SIGSTOP) as soon as it has its lease.
sub start_and_stop
{
	my ($command, $out, $err) = @_;
	my $restore = IPC::Run::start($command, '<', \undef, '>', $out, '2>', $err);
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until (@{ leases() })
	{
		die 'there is no lease' if time > $deadline;
		sleep 0.005;
	}
	$restore->signal('STOP');
	return $restore;
}

# --- while the restore copies ---------------------------------------------------------------------

my $copy = VezaTest->new('copy');
my @restore = (
	$ENV{VEZACTL} // 'vezactl', '--config', $node->conf, 'restore', '--target-dir', $copy->data_dir,
	'--backup', $old, '--jobs', '1');
my ($out, $err) = ('', '');
my $restore = start_and_stop(\@restore, \$out, \$err);
my ($lease) = @{ leases() };
like($lease, qr{^main/lease/\Q$old\E\.[0-9a-f]{16}$}, 'a restore leaves a lease');

# From now on only the newest full is kept.
$node->apply_conf(retention_full => 1, retention_archive => 1);
like($node->safe_psql('postgres',
		"SELECT detail FROM veza_backup_info() WHERE label = '$old'"),
	qr/^in use by a restore on node "[^"]+" until /, 'veza_backup_info() shows the lease');
like($node->vezactl_ok([ 'info' ]), qr/^in use.*\n  \Q$old\E: a restore on node "/m, 'info shows the lease');
is(decode_json($node->vezactl_ok([ '--output', 'json', 'info' ]))->{leases}[0]{label},
	$old, 'info as JSON has the lease');
like(expire("name = '$old'"), qr/^keep: in use by a restore on node "/, 'the expiry keeps the backup');
like(expire("kind = 'lease'"), qr/^keep: held by a restore/, 'the expiry lists the lease');
unlike($node->vezactl_ok([ 'verify' ]), qr/lease/, 'verify accepts the lease');
$restore->signal('CONT');
# From here on the server could be started, even if vezactl is killed.
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
until (-e $copy->data_dir . '/global/pg_control')
{
	die 'there is no pg_control' if time > $deadline;
}
$restore->signal('STOP');
is(decode_json(read_object($lease))->{lease_seconds},
	86400, 'as soon as a server could be started, the lease lasts for a day');
$restore->signal('CONT');
$restore->finish;
is($restore->result(0), 0, 'the restore ends well') or diag($err);

# --- until recovery has ended ---------------------------------------------------------------------

like(expire("name = '$old'"), qr/^keep: in use/, 'the expiry keeps the WAL that the copy needs');
my $conf = PostgreSQL::Test::Utils::slurp_file($copy->data_dir . '/postgresql.auto.conf');
like($conf, qr{wal-get .* --lease lease/\Q$old\E\.}, 'restore_command carries the lease');
my $state = decode_json($node->vezactl_ok([ '--output', 'json', 'info' ]))->{leases}[0];
$copy->adopt($node);
sleep 1;
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', q{SELECT string_agg(name, ', ') FROM marks}),
	'in the old backup, in the WAL', 'the server comes up with all data');
my $renewed = decode_json($node->vezactl_ok([ '--output', 'json', 'info' ]))->{leases}[0];
cmp_ok($renewed->{renewed}, 'gt', $state->{renewed}, 'wal-get has renewed the lease');
$copy->discard;

# --- when the lease has ended ---------------------------------------------------------------------

SKIP:
{
	skip 'the times of a store cannot be changed', 2 if store() ne 'dir';
	my $path = repository() . "/$lease";
	utime time - 2 * 86400, time - 2 * 86400, $path or die "could not change the time of $path: $!";
	like(expire("name = '$old'"), qr/^remove: /, 'a lease expires');
	is_deeply(leases(), [], 'an expired lease is removed');
}
delete_object($_) foreach @{ leases() };

# A lease is only a request: a node with an older version, or a person, may still remove the backup.
my $new = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $gone = VezaTest->new('gone');
@restore[5, 7] = ($gone->data_dir, $new);
($out, $err) = ('', '');
$restore = start_and_stop(\@restore, \$out, \$err);
delete_object("main/backup/$new/backup.json");
$restore->signal('CONT');
$restore->finish;
is($restore->result(0), 1, 'a backup that was removed meanwhile: exit code');
like($err, qr/backup "\Q$new\E" was removed from the repository while it was being restored/,
	'a backup that was removed meanwhile: message');
ok(!-e $gone->data_dir . '/global/pg_control', 'no server can be started from the incomplete copy');
is_deeply(leases(), [], 'the lease of the failed restore has ended');

# --- without the right to write -------------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
SKIP:
{
	skip 'directories have modes', 4 if store() ne 'dir' || $> == 0;
	my $root = repository() . '/main';
	chmod 0500, $root or die "could not change the mode of $root: $!";
	my $unleased = VezaTest->new('unleased');
	my ($exit, $stdout, $stderr) = $node->vezactl('--quiet', 'restore', '--target-dir', $unleased->data_dir);
	chmod 0700, $root or die "could not change the mode of $root: $!";
	is($exit, 0, 'a restore by an account that may only read');
	my @said = $stderr =~ /(retention may remove backup)/g;
	is(scalar @said, 1, 'the restore says once that there is no lease, also with --quiet');
	unlike(PostgreSQL::Test::Utils::slurp_file($unleased->data_dir . '/postgresql.auto.conf'),
		qr/--lease/, 'restore_command has no lease');
	is_deeply(leases(), [], 'there is no lease');
}

# A standby requests WAL for ever.
my $standby = $node->restore('standby', '--standby');
unlike(PostgreSQL::Test::Utils::slurp_file($standby->data_dir . '/postgresql.auto.conf'),
	qr/--lease/, 'a standby does not renew its lease');

done_testing();
