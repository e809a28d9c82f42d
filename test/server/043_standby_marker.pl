# The repository to which a standby will archive after a promotion: only one that is proven to be
# the primary's.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $primary = VezaTest->new('primary');
$primary->init;
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t (id int)');
$primary->archive_wal;

# An old repository of the same cluster exists and can be opened. It may be forgotten, or belong to
# a colleague.
$primary->apply_conf(cluster => 'old');
$primary->safe_psql('postgres', 'SELECT veza_backup_init()');
$primary->archive_wal;
$primary->apply_conf(cluster => 'main');
$primary->safe_psql('postgres', 'SELECT veza_backup_init()');
$primary->archive_wal;
$primary->safe_psql('postgres', q{SELECT veza_backup_now('full')});

sub marker_of
{
	my ($node) = @_;
	my $path = $node->data_dir . '/veza-repository';
	return -e $path ? slurp_file($path) : 'none';
}

# --- A standby that was restored from a backup ----------------------------------------------------

my $standby = $primary->restore('standby', '--standby', '--archive-mode', 'preserve');
$standby->enable_streaming($primary);
is(marker_of($standby), 'none', 'no backup holds the marker');
# A wrong name that leads to an existing repository. It is there from the start: a standby with the
# right name would write the marker soon after it.
$standby->change_conf(cluster => 'old');
$standby->start;
$primary->safe_psql('postgres', 'INSERT INTO t SELECT 1');
$primary->archive_wal;
$primary->wait_for_catchup($standby);

my $looked = sub {
	return $standby->safe_psql('postgres', q{SELECT detail FROM veza_backup_check() WHERE name = 'key'}) =~
	  /this server holds the same in memory/;
};
happens(sub { poll_until($looked, 'the row of the check') }, 'the standby looks at the wrong repository');
is(marker_of($standby), 'none', 'a repository without the WAL of the primary is not accepted');

$standby->apply_conf(cluster => 'main');
happens(
	sub { poll_until(sub { marker_of($standby) =~ /main/ }, 'the standby to write the marker') },
	'the repository with the WAL of the primary is accepted');

# --- A standby with archive_mode = always ---------------------------------------------------------

$standby->append_conf('postgresql.conf', 'archive_mode = always');
$standby->append_conf('postgresql.conf', "veza_backup.cluster = 'old'");
$standby->restart;
$primary->safe_psql('postgres', 'INSERT INTO t SELECT 2');
my $segment = $primary->archive_wal;
my $stored = sub { return scalar(grep { m{/\Q$segment\E$} } objects('old/wal/')) };
happens(sub { poll_until($stored, 'a segment') }, 'the standby stores a segment in the repository of its settings');
my $position = -s $standby->logfile;
$standby->restart;
# The scheduler looks at the repository two seconds after the start.
sleep 8;
like(
	$standby->safe_psql('postgres', q{SELECT detail FROM veza_backup_check() WHERE name = 'key'}),
	qr/old" is not the one that this server archives to/,
	'the check on a standby with settings for another repository');
like(marker_of($standby), qr/main/, 'WAL that the standby has stored itself proves nothing');
$primary->stop;
$standby->promote;
$standby->safe_psql('postgres', 'INSERT INTO t SELECT 3');
$standby->safe_psql('postgres', 'SELECT pg_switch_wal()');
my $refusal = qr/WARNING:  could not archive WAL file "[\w.]+": .*old" is not the one that this server archives to/;
happens(sub { $standby->wait_for_log($refusal, $position) }, 'the new primary acknowledges no WAL there');

done_testing();
