# The observation of archiving, which fails while the archive status files cannot be listed. It is
# repeated soon.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; SELECT veza_backup_init()');
ok($node->poll_query_until('postgres', 'SELECT observed_at IS NOT NULL AND gaps_checked_at IS NOT NULL FROM veza_backup_get_archive()'),
	'archiving is observed and surveyed');

my $status = $node->data_dir . '/pg_wal/archive_status';
my $position = -s $node->logfile;
chmod 0, $status or die "could not change the mode of $status: $!";
$node->wait_for_log(qr/WARNING:  could not open .*archive_status.*Permission denied/, $position);
chmod 0700, $status or die "could not change the mode of $status: $!";
my $mended = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
VezaTest::happens(
	sub {
		VezaTest::poll_until(
			sub {
				$node->safe_psql('postgres',
					"SELECT observed_at > '$mended' FROM veza_backup_get_archive()") eq 't';
			},
			'the next observation',
			30);
	},
	'a failed observation is repeated soon');

$node->stop;
done_testing();
