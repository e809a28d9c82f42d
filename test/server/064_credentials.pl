# Credentials for S3 that end while they are used: archiving, a backup and a restore that last longer than
# three of them, what is refused, files that are rotated, and services that fail.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

plan skip_all => 'a directory needs no credentials' if store() ne 's3';

my $gate = VezaTest::proxy_endpoint('credentials');

sub gate { return VezaTest::command_proxy(@_) }
sub stats { return { gate('stats') =~ /(\w+)=(\d+)/g } }

# The server and vezactl ask this service, as they would ask that of an instance.
$ENV{AWS_EC2_METADATA_SERVICE_ENDPOINT} = $gate;
delete $ENV{$_} foreach grep { /^AWS_(?!EC2_METADATA_SERVICE_ENDPOINT)/ } keys %ENV;

my @no_keys = (s3_access_key => undef, s3_secret_key => undef);
my $node = VezaTest->new('primary');
$node->init(proxy => 'credentials', settings => { @no_keys, s3_credentials => 'instance' });
$node->append_conf('postgresql.conf', 'archive_timeout = 60');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 50000) i');

sub check_row
{
	return $node->safe_psql('postgres',
		q{SELECT passed, detail, hint FROM veza_backup_check() WHERE name = 'credentials'});
}

sub failures
{
	return $node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver');
}

# --- longer than three tokens ---------------------------------------------------------------------

$node->archive_wal;
like(check_row(),
	qr/^t\|access key "ASIA\d+" from instance: "\Q$gate\E", valid until 2\d{3}-\d\d-\d\dT[\d:.]+Z\|$/,
	'the check says which provider gave what, and until when');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
like($node->vezactl_ok(['check']), qr/^credentials +ok +access key "ASIA\d+" from instance: /m, 'vezactl check, too');

gate('life 3');
gate('revoke');
my $failed = failures();
my $before = stats();
$node->apply_conf(max_rate => '2500kB');
my $begun = time;
my $backup = $node->start_sql(q{SELECT veza_backup_now('full')});
for (1 .. 4)
{
	$node->archive_wal;
	sleep 1;
}
my (undef, $label) = $node->finish_sql($backup);
like($label, qr/^\d{8}-\d{6}F$/, 'a backup ends');
my $took = time - $begun;
cmp_ok($took, '>', 9, "the backup lasted longer than three tokens");
my $after = stats();
cmp_ok($after->{issued} - $before->{issued}, '>=', 4, 'credentials were renewed');
# What the two processes held was revoked. Nothing else was ever refused, because renewal is ahead of the end.
cmp_ok($after->{refused} - $before->{refused}, '<=', 4, 'they were renewed before they ended');
is(failures(), $failed, 'archiving has not failed meanwhile');
$node->apply_conf(max_rate => 0);

$before = stats();
gate('delay 0.35');
$begun = time;
my $copy = $node->restore('copy', '--backup', $label, '--target-immediate');
gate('pass');
cmp_ok(time - $begun, '>', 9, 'the restore lasted longer than three tokens');
$after = stats();
cmp_ok($after->{issued} - $before->{issued}, '>=', 3, 'its credentials were renewed');
is($after->{refused}, $before->{refused}, 'it was never refused');
$copy->start;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), '50000', 'what was restored is whole');
$copy->stop('immediate');

# --- refused although they have not ended ---------------------------------------------------------

gate('life 3600');
$node->archive_wal;
$failed = failures();
$before = stats();
gate('revoke');
$node->archive_wal;
is(failures(), $failed, 'a refused token is replaced at once');
cmp_ok(stats()->{refused}, '>', $before->{refused}, 'it was refused');

# A service that fails does no harm while the old credentials are valid.
gate('life 8');
gate('revoke');
$node->archive_wal;
gate('metadata fail');
sleep 6.5;  # in the last quarter
$node->archive_wal;
is(failures(), $failed, 'the old credentials do while the service fails');
gate('metadata pass');

# --- no service -----------------------------------------------------------------------------------

gate('metadata stall');
$begun = time;
my ($exit, $out) = $node->vezactl('check');
cmp_ok(time - $begun, '<', 4, 'a service that does not answer costs at most two seconds');
is($exit, 1, 'vezactl check fails');
like($out, qr/^credentials +failed +could not get credentials from the instance metadata service at "\Q$gate\E": .* ms/m,
	'it says so');
like($out, qr/^HINT:  credentials: .*veza_backup\.s3_credentials/m, 'it says what to do');
# Exit code 1 would mean that the archive ends here.
is(system('timeout', '4', $ENV{VEZACTL} // 'vezactl', '--config', $node->conf, 'wal-get',
		'0000000100000000000000FF', $node->basedir . '/wal') >> 8, 124, 'wal-get waits');
gate('metadata pass');
gate('life 3600');

# --- a file that is rotated -----------------------------------------------------------------------

my $file = $node->basedir . '/credentials';

sub write_file
{
	my ($name, $content) = @_;
	open my $handle, '>', "$name.new" or die "could not write $name.new: $!";
	chmod 0600, "$name.new";
	print $handle $content;
	close $handle or die "could not write $name.new: $!";
	rename "$name.new", $name or die "could not rename $name.new: $!";
	return;
}

sub issue_profile
{
	my (undef, $id, $secret, $token) = split / /, gate('issue');
	chomp $token;
	write_file($file,
		"[backup]\naws_access_key_id = $id\naws_secret_access_key = $secret\naws_session_token = $token\n");
	return $id;
}

my $id = issue_profile();
$node->apply_conf(s3_credentials => 'profile', s3_credentials_file => $file, s3_profile => 'backup');
$node->archive_wal;
like(check_row(),
	qr/^t\|access key "$id" from profile "backup" in file "\Q$file\E", without a known end\|$/,
	'the check names profile and file');
$failed = failures();
gate('revoke');
$id = issue_profile();
$node->archive_wal;
is(failures(), $failed, 'the new file is read without a reload');

# Nobody has renewed the file.
gate('revoke');
my $position = -s $node->logfile;
my $segment = $node->safe_psql('postgres', q{SELECT pg_walfile_name(pg_logical_emit_message(false, 'v', 'x'))});
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->wait_for_log(qr/server answered 400 InvalidToken: No\n.*HINT:  .*veza_backup\.s3_credentials/s, $position);
pass('the log says that the token was refused');
$begun = time;
$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/InvalidToken/, 'a backup says so');
cmp_ok(time - $begun, '<', 10, 'without using up the retries');
issue_profile();
$node->wait_for_archived($segment);
pass('archiving goes on when the file was renewed');

# --- static keys in files -------------------------------------------------------------------------

my (undef, @values) = split / /, gate('issue');
my %files = (s3_access_key_file => $values[0], s3_secret_key_file => $values[1], s3_session_token_file => $values[2]);
write_file($node->basedir . "/$_", $files{$_}) foreach keys %files;
$node->apply_conf(s3_credentials => undef, s3_credentials_file => undef, s3_profile => undef,
	map {; $_ => $node->basedir . "/$_" } keys %files);
$node->archive_wal;
like(check_row(), qr/^t\|access key "$values[0]" from static: the files of the settings, /,
	'keys and token in files');

# A program that writes the files may start after the server.
$node->apply_conf(metrics_file => $node->basedir . '/metrics.prom');
$node->stop;
rename $node->basedir . '/s3_secret_key_file', $node->basedir . '/aside' or die "rename: $!";
unlink $node->basedir . '/metrics.prom';
$position = -s $node->logfile;
$node->start;
$segment = $node->safe_psql('postgres', q{SELECT pg_walfile_name(pg_logical_emit_message(false, 'v', 'x'))});
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->wait_for_log(qr/could not open secret file "\S+s3_secret_key_file"/, $position);
like($node->safe_psql('postgres', 'SELECT detail FROM veza_backup_check() WHERE NOT passed'),
	qr/could not open secret file/, 'the check says that the file is away');
chmod 0644, $node->basedir . '/s3_access_key_file' or die "chmod: $!";
my $later = -s $node->logfile;
$node->wait_for_log(qr/WARNING:  secret file "\S+s3_access_key_file" has group or world access/, $later);
chmod 0600, $node->basedir . '/s3_access_key_file' or die "chmod: $!";
rename $node->basedir . '/aside', $node->basedir . '/s3_secret_key_file' or die "rename: $!";
$node->wait_for_archived($segment);
pass('archiving goes on when the file is there, without a reload');
for (1 .. 300)
{
	last if -e $node->basedir . '/metrics.prom';
	sleep 0.1;
}
ok(-e $node->basedir . '/metrics.prom', 'so does the scheduler');

# --- web identity ---------------------------------------------------------------------------------

write_file($node->basedir . '/identity', 'identity-token');
$node->apply_conf((map {; $_ => undef } keys %files), metrics_file => undef, s3_credentials => 'web-identity',
	s3_role_arn => 'arn:aws:iam::123456789012:role/backup', s3_sts_endpoint => $gate,
	s3_web_identity_token_file => $node->basedir . '/identity');
$node->archive_wal;
like(check_row(), qr/^t\|access key "ASIA\d+" from web-identity: role "arn:aws:iam::123456789012:role\/backup" /,
	'web identity');
write_file($node->basedir . '/identity', 'another-token');
($exit, $out) = $node->vezactl('check');
like($out, qr/^credentials +failed .*server answered 400 InvalidIdentityToken$/m, 'a token that is not accepted');

unlike(slurp_file($node->logfile), qr/identity-token|another-token|\Q$values[1]\E|\Q$values[2]\E/,
	'no secret is in the log');

done_testing();
