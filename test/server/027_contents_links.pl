# The contents of a backup of an unusual data directory: symbolic links, lost+found, unreadable
# files, and a database that is not where it should be.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Copy qw(copy);
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use VezaTest;

my $elsewhere = PostgreSQL::Test::Utils::tempdir('elsewhere');
my $node = VezaTest->new('primary');
$node->init;
my $data = $node->data_dir;
$node->start;
$node->safe_psql('postgres', $_)
  foreach ('CREATE EXTENSION veza_backup', 'CREATE DATABASE app', 'CREATE DATABASE other');
$node->safe_psql('app', 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS i');
$node->safe_psql('other', 'CREATE TABLE t AS SELECT generate_series(1, 20) AS i');

my $app = 'base/' . $node->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'app'});
my $segment = $node->safe_psql('other', q{SELECT pg_relation_filepath('t')});

# Moves a part of the data directory away and leaves a link in its place.
sub move_away
{
	my ($path) = @_;
	(my $place = "$elsewhere/$path") =~ s/\//-/g;
	$place = "$elsewhere/" . substr($place, length("$elsewhere-"));
	rename "$data/$path", $place or die "could not move $path: $!";
	symlink $place, "$data/$path" or die "could not link $path: $!";
	return $place;
}

sub info
{
	return decode_json($node->vezactl_ok([ '--output', 'json', 'info' ], 'info'));
}

# --- everything behind symbolic links -------------------------------------------------------------

$node->stop;
my %place = map { $_ => move_away($_) } $app, 'pg_xact', $segment, 'postgresql.conf', 'global';
$node->start;
mkdir "$data/lost+found" or die;
chmod 0000, "$data/lost+found";
symlink '/nowhere', "$data/dangling" or die;
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('app', 'INSERT INTO t VALUES (1001)');
$node->archive_wal;

my ($backup) = @{ info()->{backups} };
is_deeply({ map { $_->{path} => $_->{target} } @{ $backup->{links} } },
	\%place, 'info shows which links were followed');
is_deeply([ map { $_->{path} } @{ $backup->{skipped} } ],
	[ 'dangling', 'lost+found' ], 'info shows what was not copied');
is("$backup->{links_count} $backup->{skipped_count}", '5 2', 'info has the counts');
like($node->vezactl_ok(['info']), qr/not copied: "lost\+found" \(belongs to the file system\): $label/,
	'info as text shows them');
my $detail = $node->safe_psql('postgres', 'SELECT status, detail FROM veza_backup_info()');
like($detail, qr/^ok\|not copied: .*lost\+found.*symbolic links followed: .*\Q$app to $place{$app}\E/,
	'veza_backup_info() shows them');
like(slurp_file($node->logfile), qr/WARNING:  skipping "dangling"/, 'the log reports what is unexpected');
like(
	$node->safe_psql('postgres', q{SELECT passed, detail FROM veza_backup_check() WHERE name = 'data_directory'}),
	qr/^t\|\d+ files with \d+ bytes can be read; not copied: .*lost\+found/,
	'veza_backup_check() reports it before a backup');

my $copy = $node->restore('copy');
ok(-d $copy->data_dir . "/$_" && !-l $copy->data_dir . "/$_", "$_ comes back as a directory")
  foreach ($app, 'pg_xact', 'global');
ok(-f $copy->data_dir . "/$_" && !-l $copy->data_dir . "/$_", "$_ comes back as a file")
  foreach ($segment, 'postgresql.conf');
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('app', 'SELECT count(*) FROM t'), '1001', 'a database behind a link is restored');
is($copy->safe_psql('other', 'SELECT count(*) FROM t'), '20', 'a segment of a relation behind a link is restored');
$copy->discard;
unlink "$data/dangling";

my ($exit, $out) = $node->vezactl('restore', '--target-dir', $copy->data_dir, '--databases', 'app');
is($exit, 0, 'a restore of only this database');
like($out, qr/symbolic links.*\Q$app to $place{$app}\E/s, 'the report says which directories were links');
like($out, qr/^databases .*"app" \((?!0 bytes)/m, 'the database has its content');
$copy->clean_node;

# A diff follows links, too.
$node->safe_psql('app', 'UPDATE t SET i = i + 1');
my $diff = $node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
like($diff, qr/D$/, 'a diff');
$copy = $node->restore('diff', '--backup', $diff, '--target-immediate', '--target-action', 'promote');
$copy->start;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('app', 'SELECT count(*), max(i) FROM t'), '1001|1002', 'is restored');
$copy->discard;

# --- what cannot be copied is found at once -------------------------------------------------------

sub backup_fails
{
	my ($pattern, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $objects = () = objects('backup/');
	my $checkpoint = $node->safe_psql('postgres', 'SELECT checkpoint_lsn FROM pg_control_checkpoint()');
	$node->sql_fails(q{SELECT veza_backup_now('full')}, $pattern, $test);
	is(scalar(() = objects('backup/')), $objects, "$test: nothing was stored");
	is($node->safe_psql('postgres', 'SELECT checkpoint_lsn FROM pg_control_checkpoint()'),
		$checkpoint, "$test: it fails before the checkpoint");
	my $row = $node->safe_psql('postgres',
		q{SELECT passed, detail, hint FROM veza_backup_check() WHERE name = 'data_directory'});
	like($row, qr/^f\|/, "$test: the check finds it, too");
	like($row, $pattern, "$test: the check names it");
	return;
}

append_to_file("$data/base/secret", 'x');
chmod 0000, "$data/base/secret";
backup_fails(qr{could not open file "\Q$data\E/base/secret": Permission denied}, 'an unreadable file');
unlink "$data/base/secret";

symlink '/nowhere', "$data/base/77777" or die;
backup_fails(qr{symbolic link "\Q$data\E/base/77777" leads to "/nowhere", which does not exist},
	'a link to nothing where a database could be');
unlink "$data/base/77777";

symlink '..', "$data/base/up" or die;
backup_fails(qr{symbolic link "\Q$data\E/base/up" leads to "\Q$data\E", which contains the link}, 'a loop');
unlink "$data/base/up";

# --- databases and their files --------------------------------------------------------------------

# The server does not notice the missing directory as long as nobody connects.
my $other = 'base/' . $node->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'other'});
rename "$data/$other", "$elsewhere/hidden" or die;
$node->sql_fails(
	q{SELECT veza_backup_now('full')},
	qr/database "other" would be incomplete in the backup: \Q$other\E is missing/,
	'a database that is not where it should be');
rename "$elsewhere/hidden", "$data/$other" or die;

rename "$data/$other/PG_VERSION", "$elsewhere/hidden" or die;
$node->sql_fails(
	q{SELECT veza_backup_now('full')},
	qr/database "other" would be incomplete in the backup: PG_VERSION in \Q$other\E is missing/,
	'a database without its PG_VERSION');
rename "$elsewhere/hidden", "$data/$other/PG_VERSION" or die;

# Databases are created, dropped and moved while a backup is made.
$node->safe_psql('postgres', 'CREATE DATABASE doomed');
$node->apply_conf(max_rate => '1MB');
my $session = $node->start_sql(q{SELECT veza_backup_now('full')});
# By then it has listed the databases.
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM veza_backup_progress WHERE files_done > 0})
  or die 'the backup does not begin to copy';
my $worker = $node->stop_worker_while('copying');
$node->safe_psql('postgres', 'CREATE DATABASE late STRATEGY wal_log');
my $drop = $node->start_sql('DROP DATABASE doomed');
kill 'CONT', $worker;
$node->apply_conf(max_rate => '0');
($exit, $out) = $node->finish_sql($session);
is($exit, 0, 'databases may come and go while a backup is made');
$node->finish_sql($drop);
my ($newest) = grep { $_->{label} eq $out } @{ info()->{backups} };
my @names = map { $_->{name} } @{ $newest->{databases} };
ok(!grep({ $_ eq 'late' } @names), 'one that came later is in the WAL');
note("databases: @names");

# --- a tablespace that is not mounted -------------------------------------------------------------

my $space = PostgreSQL::Test::Utils::tempdir('space');
$node->safe_psql('postgres', "CREATE TABLESPACE fast LOCATION '$space'");
my ($version) = glob "$space/PG_*";
rename $version, "$elsewhere/version" or die;
$node->sql_fails(q{SELECT veza_backup_now('full')},
	qr/the location "\Q$space\E" of tablespace \d+ has no directory "PG_\d+_\d+".*HINT: .*mounted/s,
	'a tablespace that is not mounted');
rename "$elsewhere/version", $version or die;
mkdir "$space/lost+found" or die;
$label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# A location that contains only lost+found counts as empty.
my $new_space = PostgreSQL::Test::Utils::tempdir('new_space');
mkdir "$new_space/lost+found" or die;
$copy = VezaTest->new('mounted');
mkdir $copy->data_dir or die;
mkdir $copy->data_dir . '/lost+found' or die;
$node->vezactl_ok([ 'restore', '--target-dir', $copy->data_dir, '--backup', $label,
	'--tablespace-map', "$space=$new_space", '--target-immediate' ],
	'restored into mount points');
ok(-d "$new_space/lost+found", 'the mount points keep lost+found');

done_testing();
