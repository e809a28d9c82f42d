# Secrets do not get into places that others can read: a backup that is not encrypted, or a core
# dump of vezactl. veza_backup_check() and `vezactl check` report who may read what.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::MD5 qw(md5_base64);
use IPC::Run ();
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use POSIX qw(mkfifo);
use Test::More;
use VezaTest;

my $secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYzq7Jd0';
my $passphrase = 'correct horse battery staple';
my $in_clear = qr/and the backup would not be encrypted/;
my $hint = qr/HINT:  .*veza_backup\.s3_secret_key_file/;

my $node = VezaTest->new('primary');
$node->init(settings => { cipher => 'none', cipher_passphrase => undef });
$node->append_conf('postgresql.conf', 'archive_timeout = 60');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

sub check_row
{
	my ($name) = @_;
	return $node->safe_psql('postgres',
		"SELECT passed, detail, hint FROM veza_backup_check() WHERE name = '$name'");
}

sub backup_is_refused
{
	my ($what, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->sql_fails(q{SELECT veza_backup_now('full')}, qr/$what, $in_clear\n$hint/, $test);
	like(check_row('data_directory'), qr/^f\|$what/, "$test: the check reports it before a backup");
	return;
}

# --- a backup that is not encrypted ---------------------------------------------------------------

my $backups = () = objects('main/backup/');
# The value is not in force, but it is in the file.
$node->safe_psql('postgres', "ALTER SYSTEM SET veza_backup.s3_session_token = '$secret'");
backup_is_refused(
	qr/file "postgresql\.auto\.conf" holds a value of "veza_backup\.s3_session_token"/,
	'ALTER SYSTEM');
unlike(slurp_file($node->logfile), qr/(?<!SET veza_backup\.s3_session_token = ')\Q$secret/,
	'the message does not show it');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET veza_backup.s3_session_token');

my $data = $node->data_dir;
append_to_file("$data/postgresql.conf.old", "#veza_backup.s3_secret_key = '$secret'\n");
backup_is_refused(
	qr/file "postgresql\.conf\.old" holds a value of "veza_backup\.s3_secret_key"/,
	'a comment in an old file');
unlink "$data/postgresql.conf.old";

# The server log contains text from everybody who can reach the port.
$node->append_conf('postgresql.conf',
	"logging_collector = on\nlog_directory = 'messages'\nlog_filename = 'today'\n");
$node->restart;
isnt($node->connection_error('postgres', 'user=veza_backup.s3_secret_key=hunter2'),
	'', 'a user name that looks like a setting');
VezaTest::poll_until(
	sub { slurp_file("$data/messages/today") =~ /veza_backup\.s3_secret_key=hunter2/ },
	'the line in the log', 20);
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
like(check_row('data_directory'), qr/^t\|/, 'nobody from outside can stop a backup in this way');
$node->append_conf('postgresql.conf', 'logging_collector = off');
$node->restart;

# The directory's name begins like the names of PostgreSQL's own directories.
mkdir "$data/pg_conf.d" or die "could not make $data/pg_conf.d: $!";
append_to_file("$data/pg_conf.d/s3.conf", "veza_backup.s3_secret_key = '$secret'\n");
backup_is_refused(
	qr{file "pg_conf\.d/s3\.conf" holds a value of "veza_backup\.s3_secret_key"},
	'a directory that is included');
unlink "$data/pg_conf.d/s3.conf";

# The configuration includes this file, although its name does not end in .conf.
mkdir "$data/inc" or die "could not make $data/inc: $!";
append_to_file("$data/inc/veza", "veza_backup.s3_session_token\r=\r'$secret'\n");
$node->append_conf('postgresql.conf', "include_if_exists 'inc/veza'");
backup_is_refused(qr{file "inc/veza" holds a value of "veza_backup\.s3_session_token"},
	'a file that is included');
unlink "$data/inc/veza";

append_to_file("$data/patroni.dynamic.json",
	qq({"postgresql":{"parameters":{"veza_backup.s3_session_token":"$secret"}}}));
backup_is_refused(
	qr/file "patroni\.dynamic\.json" holds a value of "veza_backup\.s3_session_token"/,
	'a file of Patroni');
unlink "$data/patroni.dynamic.json";

# Comments that mention a secret do not stop a backup.
$node->append_conf('postgresql.conf', <<'EOF');
# never set veza_backup.s3_secret_key to a value in this file
# veza_backup.s3_secret_key to be set in /etc/veza_backup
# veza_backup.cipher_passphrase = see the vault
#veza_backup.s3_secret_key = '...'
# veza_backup.s3_secret_key = (see s3.key)
EOF
$backups = () = objects('main/backup/');

if (store() eq 's3')
{
	append_to_file("$data/s3.key", "$ENV{VEZA_TEST_S3_SECRET_KEY}\n");
	backup_is_refused(qr/file "s3\.key" holds a secret that veza_backup uses/, 'secrets in files of their own stop no backup');
	unlink "$data/s3.key";
}
is(scalar(() = objects('main/backup/')), $backups, 'no secret was stored');
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
like(check_row('security'),
	qr/^t\|nothing is encrypted: anybody who can read the repository can read the database.*cipher_passphrase_file/,
	'the check warns that nothing is encrypted');
like($node->vezactl_ok(['check']), qr/^security +warning  *nothing is encrypted/m, 'vezactl check warns, too');

# --- an encrypted backup may contain secrets ------------------------------------------------------

$node->apply_conf(
	cluster => 'sealed',
	cipher => 'aes-256-gcm',
	cipher_passphrase => $passphrase);
$node->safe_psql('postgres', 'SELECT veza_backup_init()');
$node->wake_archiver;
append_to_file("$data/postgresql.conf.old", "#veza_backup.s3_secret_key = '$secret'\n");
like($node->safe_psql('postgres', q{SELECT veza_backup_now('full')}), qr/^\d{8}-\d{6}F$/,
	'an encrypted backup contains the file as it is');

# --- messages about a server with inline secrets --------------------------------------------------

$node->safe_psql('postgres', "ALTER SYSTEM SET veza_backup.s3_session_token = '$secret'");
$node->reload;
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my ($drill_exit) = $node->vezactl('drill', '--allow-unconfined',
	'--directory', PostgreSQL::Test::Utils::tempdir('drill'), '--check', 'SELECT 1/0');
is($drill_exit, 1, 'a drill that fails');
my @records = objects('sealed/drill/');
is(scalar(@records), 1, 'the record of the failed drill');
my %said = (
	'the record of a drill' => read_object($records[0]),
	'metrics' => $node->safe_psql('postgres', 'SELECT * FROM veza_backup_metrics'),
	'veza_backup_check()' => $node->safe_psql('postgres', 'SELECT * FROM veza_backup_check()'),
	map {; $_ => read_object($_) } grep { /backup\.json$/ } objects('sealed/backup/'));
like($said{'the record of a drill'}, qr/division by zero/, 'the record contains the error');
foreach my $where (sort keys %said)
{
	unlike($said{$where}, qr/\Q$secret\E|\Q$passphrase/, "no secret in $where");
}
$node->safe_psql('postgres', 'ALTER SYSTEM RESET veza_backup.s3_session_token');
$node->reload;

# --- who may read what ----------------------------------------------------------------------------

my $conf = $node->conf;
like(check_row('security'), qr/^t\|.*"veza_backup\.cipher_passphrase" is set in file "\Q$conf\E"/,
	'the check says where a secret is set');
like(check_row('security'), qr/\|$/, 'there is no hint about it');
my $position = -s $node->logfile;
chmod 0644, $conf;
$node->reload;
my $others = qr/other accounts can read file "\Q$conf\E", which sets "veza_backup\.cipher_passphrase"/;
like(check_row('security'), qr/^f\|$others.*\|.*chmod 0600/, 'the check fails when others can read the file');
$node->wait_for_log(qr/WARNING:  $others/, $position);
pass('the log warns of it');
my ($exit, $out) = $node->vezactl('check');
is($exit, 1, 'vezactl check fails');
like($out, qr/^security +failed +$others/m, 'vezactl check says why');
chmod 0600, $conf;
$node->vezactl_ok(['check'], 'the check passes when others cannot read it');

# A link in a directory that is closed to others leads to the file.
my $closed = $node->basedir . '/closed';
mkdir $closed, 0700 or die "could not make $closed: $!";
symlink $conf, "$closed/veza.conf" or die "could not make $closed/veza.conf: $!";
$node->append_conf('postgresql.conf', "include '$closed/veza.conf'");
$node->reload;
VezaTest::poll_until(
	sub { check_row('security') =~ qr{^t\|.*is set in file "\Q$closed\E/veza\.conf"} },
	'the file that sets it', 20);
chmod 0644, $conf;
like(check_row('security'), qr{^f\|other accounts can read file "\Q$closed\E/veza\.conf"},
	'a link in a closed directory does not protect its target');
chmod 0600, $conf;

# --- the bucket -----------------------------------------------------------------------------------

SKIP:
{
	skip 'there is no bucket', 3 if store() ne 's3';

	my ($root) = repository() =~ m{^s3://[^/]+/(.*)$};
	my $url = "$ENV{VEZA_TEST_S3_ENDPOINT}/$ENV{VEZA_TEST_S3_BUCKET}?lifecycle=";
	my $rules = <<XML;
<LifecycleConfiguration><Rule><ID>ninety-days</ID><Filter><Prefix>$root/</Prefix></Filter>
<Status>Enabled</Status><Expiration><Days>90</Days></Expiration></Rule></LifecycleConfiguration>
XML
	like(check_row('security'), qr/the bucket keeps no old versions/, 'a bucket without versions');
	VezaTest::s3_request('--request', 'PUT', '--data-binary', $rules,
		'--header', 'Content-Type: application/xml',
		'--header', 'Content-MD5: ' . md5_base64($rules) . '==', $url);
	like(check_row('security'), qr/^f\|lifecycle rule "ninety-days" of the bucket deletes objects/,
		'a rule that deletes backups');
	VezaTest::s3_request('--request', 'DELETE', $url);
	like(check_row('security'), qr/^t\|/, 'the check passes when the rule is gone');
}

# --- vezactl leaves no core dump ------------------------------------------------------------------

SKIP:
{
	skip 'files of root are root\'s in any case', 1 if $> == 0;

	# vezactl waits until somebody writes into its configuration file, which is a FIFO.
	my $fifo = $node->basedir . '/fifo';
	mkfifo($fifo, 0600) or die "could not make $fifo: $!";
	my $waiting = IPC::Run::start([ $ENV{VEZACTL} // 'vezactl', '--config', $fifo, 'info' ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
	my $pid = $waiting->{KIDS}[0]{PID};
	# The files in /proc of a process that must not be dumped belong to root.
	VezaTest::poll_until(sub { (stat "/proc/$pid/environ")[4] == 0 }, 'a process that is not dumped', 20);
	pass('other processes cannot read its memory');
	$waiting->signal('KILL');
	eval { $waiting->finish };
}

done_testing();
