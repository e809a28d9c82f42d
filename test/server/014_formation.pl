# A primary and two standbys with the same configuration: each slot of the schedule is taken exactly
# once, also while nodes are killed and one is promoted. This takes some minutes, so it runs on S3
# only.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

plan skip_all => 'one store is enough' if store() ne 's3';

my $primary = VezaTest->new('primary');
$primary->init(
	extra => ['--data-checksums'],
	settings => {
		schedule_full => '', schedule_diff => '', schedule_jitter => 0,
		backup_from => 'prefer-standby', retention_diff => 0
	});
# The standbys keep the WAL that the primary has not archived when it is lost, also on a slow machine.
# Otherwise there is a gap in the archive, and a backup starts because of it and not for a slot.
$primary->append_conf('postgresql.conf', "wal_keep_size = '2GB'");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(at timestamptz)');
$primary->backup('base');
my @standbys = map {
	my $node = VezaTest->new($_);
	$node->init_from_backup($primary, 'base', has_streaming => 1);
	$node->adopt($primary);
	$node->start;
	$node
} qw(standby_a standby_b);
my $full = $primary->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# Writes WAL all the time. Otherwise a backup on a standby would wait for the segment in which it
# ends.
sub start_writer
{
	my ($node) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir('writer') . '/script';
	PostgreSQL::Test::Utils::append_to_file($script,
		"INSERT INTO t VALUES (now());\nSELECT pg_switch_wal();\n\\sleep 300 ms\n");
	my $out = '';
	return IPC::Run::start(
		[
			$node->installed_command('pgbench'), '-h', $node->host, '-p', $node->port,
			'-n', '-T', '600', '-f', $script, 'postgres'
		],
		'>', \$out, '2>&1');
}

# The backup of each slot, as the view of a node shows it.
my %label_of;

sub look
{
	my ($node) = @_;
	my ($slot, $result, $label, $by) = split /\|/, $node->safe_psql('postgres', <<'SQL');
SELECT extract(epoch FROM last_slot)::bigint, last_result, last_label, node
  FROM veza_backup_schedule WHERE kind = 'diff'
SQL
	return unless $slot;
	push @{ $label_of{$slot} }, $label
	  if $result eq 'succeeded' && !grep { $_ eq $label } @{ $label_of{$slot} // [] };
	return ($slot, $result // '', $label // '', $by // '');
}

sub wait_for_look
{
	my ($node, $condition, $what, $seconds) = @_;
	my @found;
	poll_until(sub { @found = look($node); return @found && $condition->(@found) }, $what, $seconds);
	return @found;
}

sub is_of
{
	my ($node, $by) = @_;
	return $by =~ /:@{[ $node->port ]}$/;
}

sub nodes_reload
{
	my ($changes, @nodes) = @_;
	$nodes[0]->change_conf(%$changes);
	$_->reload foreach @nodes;
	return;
}

# --- all is well ----------------------------------------------------------------------------------

my $writer = start_writer($primary);
nodes_reload({ schedule_diff => '* * * * *' }, $primary, @standbys);
my ($first, undef, undef, $by) =
  wait_for_look($primary, sub { $_[1] eq 'succeeded' }, 'the first slot', 130);
ok((grep { is_of($_, $by) } @standbys), 'a standby takes the slot');

# --- the node that takes the next slot is killed --------------------------------------------------

nodes_reload({ max_rate => '3MB' }, $primary, @standbys);
my ($second);
($second, undef, undef, $by) = wait_for_look($primary,
	sub { $_[0] > $first && $_[1] eq 'running' }, 'the second slot', 90);
my ($killed) = grep { is_of($_, $by) } @standbys;
my ($left) = grep { $_ != $killed } @standbys;
ok($killed, 'a standby is taking the backup');
$killed->stop('immediate');
nodes_reload({ max_rate => '0' }, $primary, $left);
my ($third, undef, undef, $then) = wait_for_look($primary,
	sub { $_[0] >= $second && $_[1] eq 'succeeded' && !is_of($killed, $_[3]) },
	'a slot after the death', 200);
ok(!is_of($killed, $then), 'another node takes the slot of the dead one, or the next');

# --- the primary is lost, the standby promoted ----------------------------------------------------

$writer->signal('TERM');
$writer->finish;
$primary->stop('immediate');
$left->promote;
$writer = start_writer($left);
my ($fourth, undef, $label);
($fourth, undef, $label, $by) = wait_for_look($left,
	sub { $_[0] > $third && $_[1] eq 'succeeded' && is_of($left, $_[3]) },
	'a slot after the promotion', 200);
like($label, qr/^${full}_/, 'the promoted standby carries on the schedule by itself');

# The dead standby starts again. Its timeline has diverged, and it finds nothing left to do.
$killed->start;
sleep 5;
$writer->signal('TERM');
$writer->finish;

# --- the result -----------------------------------------------------------------------------------

note join ', ', map { "$_: @{ $label_of{$_} }" } sort keys %label_of;
is(scalar(grep { @{ $label_of{$_} } != 1 } keys %label_of), 0, 'no slot has become two backups');
# A failed slot is abandoned when the next one is due, a minute later.
is( $left->safe_psql('postgres', <<'SQL'),
SELECT count(*) - count(DISTINCT date_trunc('minute', start_time))
  FROM veza_backup_info() WHERE type = 'diff' AND status = 'ok'
SQL
	'0',
	'no minute has two backups');

done_testing();
