# vezactl wal-get, as restore_command calls it. It exits with 0 for a file, with 1 for "no such
# file", and with 126 for everything else. With another code a recovery would end too early.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Compare qw(compare);
use IO::Socket::UNIX;
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;
use Time::HiRes qw(sleep time);
use VezaTest;

my $node = VezaTest->new('primary');
$node->init(proxy => 1);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup; CREATE TABLE t(i int)');
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
my $segment = $node->archive_wal;

my $wal = $node->data_dir . '/pg_wal';
my $directory = $node->basedir . '/fetched';
mkdir $directory or die;
my $destination = "$directory/RECOVERYXLOG";

sub files { return [ map { s{.*/}{}r } sort glob "$directory/*" ] }

# --- files that exist -----------------------------------------------------------------------------

$node->vezactl_ok([ 'wal-get', $segment, $destination ], 'a segment is fetched');
is(compare($destination, "$wal/$segment"), 0, 'it has the original content');
append_to_file("$directory/old", 'old');
$node->vezactl_ok([ 'wal-get', $segment, "$directory/old" ], 'a file in the way is replaced');
is(compare("$directory/old", "$wal/$segment"), 0, 'by the whole segment');
is_deeply(files(), [ 'RECOVERYXLOG', 'old' ], 'no other file is left behind');

append_to_file("$wal/000000FF.history", "1\t0/1000000\tfor the test\n");
append_to_file("$wal/archive_status/000000FF.history.ready", '');
$node->wake_archiver;
$node->wait_for_archived('000000FF.history');
$node->vezactl_ok([ 'wal-get', '000000FF.history', "$directory/RECOVERYHISTORY" ],
	'a history file is fetched');
is(slurp_file("$directory/RECOVERYHISTORY"), "1\t0/1000000\tfor the test\n", 'it has the original content');
unlink glob "$directory/*";
# The file is removed here: a restore would ask for the timelines before it, and the primary stores
# a history file from its pg_wal again.
unlink "$wal/000000FF.history" or die "could not remove 000000FF.history: $!";
delete_object((grep { m{/000000FF\.history$} } objects('main/wal/'))[0]);

# --- key wraps that open nothing --------------------------------------------------------------------

# Somebody with write access to the bucket has put key wraps before ours. Each costs as much time as
# a wrap may. A process that is told which wrap is ours tries no other.
SKIP:
{
	skip 'times of objects are the server\'s own', 4 if store() eq 's3';

	my ($ours) = objects('main/key/');
	my $wrap = read_object($ours);
	foreach my $i (1 .. 6)
	{
		my $junk = $wrap =~ s/"n": 32768/"n": 131072/r;
		$junk =~ s/"salt": "..../sprintf '"salt": "%04d', $i/e;
		my $name = $ours =~ s{\.[^.]*$}{sprintf '.%016d', $i}er;
		write_object($name, $junk);
		utime 0, $i, repository() . "/$name" or die "could not age $name: $!";
	}
	my $fetch = sub {
		my ($test) = @_;
		my $started = time;
		$node->vezactl_ok([ 'wal-get', $segment, $destination ], $test);
		return time - $started;
	};
	my $searching = $fetch->('a segment is fetched, with wraps that open nothing before ours');
	append_to_file("$directory/veza_key_wrap", ($ours =~ s{^main/}{}r) . "\n");
	my $knowing = $fetch->('a segment is fetched with a note that says which wrap is ours');
	cmp_ok($knowing, '<', $searching / 2, 'with the note it takes less than half the time');
	is_deeply(files(), [ 'RECOVERYXLOG', 'veza_key_wrap' ], 'outside a recovery no note is written');
	delete_object($_) foreach grep { m{\.0{8}} } objects('main/key/');
	unlink glob "$directory/*";
}

# --- files that do not exist ----------------------------------------------------------------------

foreach my $file (qw(0000000100000000000000EE 0000000300000000000000EE 00000007.history
	0000000100000000000000EE.partial 0000000100000000000000EE.00000028.backup))
{
	my ($exit, $out, $err) = $node->vezactl('wal-get', $file, $destination);
	is($exit, 1, "$file: exit code");
	is($out . $err, '', "$file: nothing is said");
}
is_deeply(files(), [], 'nothing is left behind');

# --- everything else ------------------------------------------------------------------------------

sub stops_recovery
{
	my ($test, $message, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->vezactl_fails([ 'wal-get', @arguments ], 126, $message, $test);
	is_deeply(files(), [], "$test: nothing is left");
	return;
}

stops_recovery('no arguments', qr/file/);
stops_recovery('an unknown option', qr/frobnicate/, '--frobnicate', $segment, $destination);
stops_recovery('what is no WAL file', qr/"pg_control" is not the name of a WAL file/,
	'pg_control', $destination);
stops_recovery('a path as the name', qr/is not the name of a WAL file/,
	"../$segment", $destination);
stops_recovery('another system', qr/belongs to/, '--system-id', '7000000000000000000',
	$segment, $destination);
stops_recovery('a directory that is not there',
	qr/no such|No such/, '--retry', '0', $segment, "$directory/none/RECOVERYXLOG");
{
	local $node->{_veza_conf} = $node->basedir . '/none.conf';
	stops_recovery('no settings', qr/none\.conf/, $segment, $destination);
}

# Anything but a regular file belongs to somebody: neither it nor what it leads to is replaced.
# wal-get must notice this at once, because recovery waits.
my $prey = $node->basedir . '/prey';
append_to_file($prey, 'prey');
my %obstacles = (
	'a directory' => sub { mkdir $_[0] },
	'a symbolic link' => sub { symlink $prey, $_[0] },
	'a symbolic link to nothing' => sub { symlink "$prey.none", $_[0] },
	'a symbolic link to a directory' => sub { symlink $node->basedir, $_[0] },
	'a FIFO' => sub { POSIX::mkfifo($_[0], 0600) },
	'a socket' => sub { IO::Socket::UNIX->new(Local => $_[0], Listen => 1) });
my $obstacle = PostgreSQL::Test::Utils::tempdir_short() . '/x';
foreach my $kind (sort keys %obstacles)
{
	my $made = $obstacles{$kind}->($obstacle) or die "could not make $kind: $!";
	my $inode = (lstat $obstacle)[1];
	my $started = time;
	my ($word) = $kind =~ /^(a (?:symbolic )?\w+)/;
	foreach my $ahead (0, 2)
	{
		$node->vezactl_fails([ 'wal-get', '--prefetch', $ahead, $segment, $obstacle ],
			126, qr/"\Q$obstacle\E" is $word, which is not replaced by a file\nHINT:  /, "$kind in the way");
	}
	cmp_ok(time - $started, '<', 10, 'wal-get does not try again');
	is((lstat $obstacle)[1], $inode, 'it stays');
	rmdir $obstacle or unlink $obstacle or die "could not remove $obstacle: $!";
}
is(slurp_file($prey), 'prey', 'the target of a link is unchanged');
ok(!-e "$prey.none", 'nothing was created at the target of a dangling link');
stops_recovery('no name', qr/"" is not the name of a file/, $segment, '');
stops_recovery('the name of a directory', qr/is not the name of a file/, $segment, "$directory/none/");

# wal-get does not guess whose WAL is wanted.
my $locked = $node->basedir . '/locked';
mkdir $_ or die "could not create $_: $!" foreach $locked, "$locked/pg_wal", "$locked/global";
$node->vezactl_ok([ 'wal-get', $segment, "$locked/pg_wal/RECOVERYXLOG" ], 'without a pg_control it is the only system');
append_to_file("$locked/global/pg_control", 'x');
SKIP:
{
	skip 'root may read everything', 4 if $> == 0;
	foreach my $path ("$locked/global/pg_control", "$locked/global")
	{
		chmod 0, $path or die "could not change the mode of $path: $!";
		$node->vezactl_fails([ 'wal-get', $segment, "$locked/pg_wal/RECOVERYXLOG" ],
			126, qr/could not read file .*pg_control".*Permission denied\nHINT: .*--system-id/,
			'a pg_control that may not be read');
		chmod 0700, $path or die "could not change the mode of $path: $!";
	}
}
unlink "$locked/pg_wal/veza_key_wrap";

break_store();
my $begin = time;
stops_recovery('no store', qr/HINT:  /, '--retry', '3', $segment, $destination);
cmp_ok(time - $begin, '<', 20, 'after it was tried again for a while');
# A restore and a verification try again as long as restore_retry_timeout says. By default, twelve
# times in a minute, with pauses of 27 s in all on average.
$node->change_conf(restore_retry_timeout => '1s');
$begin = time;
$node->vezactl_fails(['verify'], 2, qr/HINT:  /, 'a verification with no store');
cmp_ok(time - $begin, '<', 8, 'it gives up after restore_retry_timeout');
$node->change_conf(restore_retry_timeout => undef);
stops_recovery('no store, a file that is not there', qr/HINT:  /,
	'--retry', '0', '00000007.history', $destination);

# A shutdown of the server during recovery sends SIGTERM.
my ($out, $err) = ('', '');
my $waiting = IPC::Run::start(
	[ $ENV{VEZACTL}, '--config', $node->conf, 'wal-get', $segment, $destination ],
	'>', \$out, '2>', \$err);
$waiting->pump until $err =~ /trying again/;
$begin = time;
$waiting->signal('TERM');
$waiting->finish;
cmp_ok(time - $begin, '<', 2, 'SIGTERM ends the waiting');
cmp_ok($waiting->full_result(0) & 127 ? 128 : $waiting->result(0),
	'>=', 126, 'SIGTERM does not count as "no such file"');

# --- a recovery that begins while the store is away -----------------------------------------------

mend_store();
my $copy = $node->restore('copy', '--backup', $label);
break_store();
PostgreSQL::Test::Utils::system_log('pg_ctl', '-W', '-D', $copy->data_dir, '-l', $copy->logfile,
	'start');
poll_until(sub { -s $copy->logfile && slurp_file($copy->logfile) =~ /trying again/ },
	'an attempt to fetch WAL');
sleep 1;
unlike(
	slurp_file($copy->logfile),
	qr/selected new timeline|ready to accept connections/,
	'without the store a recovery does not end');
mend_store();
poll_until(sub { slurp_file($copy->logfile) =~ /ready to accept connections/ }, 'its end', 90);
# VezaTest does not know yet that this server runs.
$copy->restart;
$copy->wait_for_end_of_recovery;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM t'), '1', 'with the store the recovery finds all WAL');
is_deeply(
	[ map { "main/$_" } split /\n/, slurp_file($copy->data_dir . '/pg_wal/veza_key_wrap') ],
	[ objects('main/key/') ],
	'wal-get has noted which key wrap opens the repository');

done_testing();
