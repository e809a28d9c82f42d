# A PostgreSQL::Test::Cluster node with veza_backup, and helpers for the server tests.
#
#   use VezaTest;
#   use Test::More;
#
#   my $node = VezaTest->new('primary');
#   $node->init;                       # or init(settings => { cluster => 'other' }, tls => 1)
#   $node->start;
#   $node->safe_psql('postgres', q{CREATE EXTENSION veza_backup});
#   $node->archive_wal;
#   my ($exit, $out, $err) = $node->vezactl('info');
#   my $copy = $node->restore('copy', '--target-time', $time);
#   $copy->wait_for_end_of_recovery;
#
# A store that is away: init(proxy => 1), then break_store() and mend_store(). A store that fails at
# random (S3 only): init(proxy => 'faults'), then store_faults(), mend_store() and fault_counts().
# Credentials that end (S3 only): init(proxy => 'credentials'), then command_proxy() with the commands of
# credential_gate.py.
# With store_conditions() the same proxy acts as a store without conditional writes.
#
# run.sh runs each test twice, with VEZA_TEST_STORE=dir and =s3: a test looks at the repository only
# through objects(), read_object(), write_object() and delete_object(), or asks store() and skips.
# All nodes of a test file share one repository, which no other test uses. When a test fails, the end
# of each server's log is shown.
package VezaTest;

use strict;
use warnings;
use parent -norequire, 'PostgreSQL::Test::Cluster';
use parent 'Exporter';

use Carp qw(croak);
use Digest::MD5 ();
use Digest::SHA ();
use Errno ();
use Fcntl qw(LOCK_EX O_CREAT O_EXCL O_WRONLY);
use File::Basename qw(basename dirname);
use File::Find ();
use File::Path qw(make_path);
use File::Temp ();
use IPC::Open2 ();
use IPC::Open3 ();
use IPC::Run ();
use PostgreSQL::Test::Cluster;
# Nothing is imported, because functions such as command_ok would hide the methods of the same
# names.
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  store repository poll_until happens objects read_object write_object delete_object
  break_store mend_store slow_store store_faults fault_counts
  store_conditions permit_writes flip_last_byte make_bucket configure_bucket
  honours_conditions become version_of delete_version policy_of_document
);

my @nodes;
my $repository;
my $proxy;
my $root_name = basename($0, '.pl') . '-' . sprintf('%d-%06x', time, rand(1 << 24));

# The user's own S3 settings must not affect the tests.
delete @ENV{ grep { /^AWS_/ } keys %ENV };

# Returns the kind of repository: 'dir' or 's3'.
sub store
{
	return $ENV{VEZA_TEST_STORE} // 'dir';
}

# Returns this test's repository, in the form of the setting veza_backup.repository.
sub repository
{
	if (!defined $repository)
	{
		if (store() eq 's3')
		{
			$repository = "s3://$ENV{VEZA_TEST_S3_BUCKET}/$root_name";
		}
		else
		{
			# On the disk, also where the servers' data are in memory.
			$repository = $ENV{VEZA_TEST_REPOSITORIES}
			  ? File::Temp::tempdir("${root_name}_XXXX", DIR => $ENV{VEZA_TEST_REPOSITORIES}, CLEANUP => 1)
			  : PostgreSQL::Test::Utils::tempdir('repository');
		}
	}
	return $repository;
}

# Calls the code until it returns true. Dies at the deadline, naming what it waited for.
sub poll_until
{
	my ($code, $what, $seconds) = @_;
	my $deadline = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);

	until ($code->())
	{
		croak "timed out waiting for $what" if time > $deadline;
		sleep 0.1;
	}
	return 1;
}

# Waits for something and makes a test of it: a timeout fails the test and does not end the script.
sub happens
{
	my ($waiting, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $happened = eval { $waiting->(); 1 };
	my $why = $@;
	ok($happened, $test) or diag($why);
	return;
}

# Damages a file.
sub flip_last_byte
{
	my ($path) = @_;
	open my $file, '+<:raw', $path or die "could not open $path: $!";
	seek $file, -1, 2;
	read $file, my $byte, 1;
	seek $file, -1, 2;
	print $file chr(ord($byte) ^ 0xFF);
	close $file or die "could not write $path: $!";
	return;
}

# --- a node ---------------------------------------------------------------------------------------

sub new
{
	my ($class, $name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster::new($class, $name, %params);
	push @nodes, $node;
	return $node;
}

# Runs initdb, and writes a configuration that archives to the test's repository. Named parameters
# in addition to those of PostgreSQL::Test::Cluster: settings => {name => value}, which replace or,
# with undef, remove settings of veza_backup.conf; tls => 1, to speak TLS to S3; proxy => 1, to
# reach S3 through the proxy that break_store() governs, or proxy => 'faults', through the one that
# store_faults() governs.
sub init
{
	my ($self, %params) = @_;
	my %settings = %{ delete $params{settings} // {} };
	my $tls = delete $params{tls};
	my $through_proxy = delete $params{proxy};
	my @extra = @{ delete $params{extra} // [] };
	# No checksums on any version, unless a test asks for them.
	push @extra, '--no-data-checksums'
	  if $self->pg_version >= 18 && !grep { $_ eq '--data-checksums' } @extra;

	{
		no warnings 'redefine';
		my $system_or_bail = \&PostgreSQL::Test::Utils::system_or_bail;
		local *PostgreSQL::Test::Utils::system_or_bail = sub {
			$_[0] eq 'initdb' && $ENV{VEZA_TEST_TEMPLATES} ? copy_of_initdb(@_) : $system_or_bail->(@_);
		};
		$self->SUPER::init(allows_streaming => 1, extra => \@extra, %params);
	}
	$self->write_conf({ default_settings($tls), %settings });
	$self->change_conf(s3_endpoint => proxy_endpoint($through_proxy))
	  if $through_proxy && store() eq 's3';
	$self->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'veza_backup'
archive_mode = on
archive_library = 'veza_backup'
max_worker_processes = 16
include '@{[ $self->conf ]}'
CONF
	return;
}

# Does what `initdb -D DIRECTORY OPTION...` does, in a fifth of the time: initdb runs once for the same options,
# and what it has made is copied. A copy gets a system identifier of its own.
sub copy_of_initdb
{
	my (undef, @options) = @_;
	# -D up to 17, and --pgdata from 18 on, which is not the first there.
	my ($at) = grep { $options[$_] =~ /^(?:-D|--pgdata)\z/ } 0 .. $#options;
	my (undef, $directory) = splice @options, $at, 2;
	my $template = $ENV{VEZA_TEST_TEMPLATES} . '/' . join('_', map { s/[^\w=-]/+/gr } @options);

	open my $lock, '>', "$template.lock" or croak "could not write $template.lock: $!";
	flock $lock, LOCK_EX or croak "could not lock $template.lock: $!";
	if (!-d $template)
	{
		PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', "$template.new");
		system('initdb', '-D', "$template.new", @options) == 0 or croak 'initdb failed';
		rename "$template.new", $template or croak "could not rename $template.new: $!";
	}
	close $lock;
	system('cp', '-R', '--preserve=mode', '--sparse=always', $template, $directory) == 0 or croak 'cp failed';
	renew_system_identifier($directory);
	return;
}

# A cluster is told from another one by the first eight bytes of pg_control. The first page of a WAL file repeats
# them at offset 24.
sub renew_system_identifier
{
	my ($directory) = @_;
	my $control = slurp_raw("$directory/global/pg_control");
	my ($seconds, $microseconds) = Time::HiRes::gettimeofday();
	my $old = substr $control, 0, 8;
	my $new = pack 'Q', $seconds << 32 | $microseconds << 12 | $$ & 0xFFF;
	my $checksum_at = length_before_checksum($control);

	substr $control, 0, 8, $new;
	substr $control, $checksum_at, 4, pack('L', crc32c(substr $control, 0, $checksum_at));
	overwrite("$directory/global/pg_control", 0, $control);
	foreach my $wal (glob "$directory/pg_wal/0*")
	{
		open my $file, '<:raw', $wal or croak "could not read $wal: $!";
		read $file, my $header, 32;
		croak "$wal is not of this cluster" if substr($header, 24) ne $old;
		overwrite($wal, 24, $new);
	}
	return;
}

# pg_control ends with the checksum of what is before it. How long that is differs between major versions.
sub length_before_checksum
{
	my ($control) = @_;

	for (my $length = 200; $length < 1024; $length += 4)
	{
		return $length if crc32c(substr $control, 0, $length) == unpack 'L', substr $control, $length, 4;
	}
	croak 'pg_control has no checksum';
}

sub crc32c
{
	my ($bytes) = @_;
	my $crc = 0xFFFFFFFF;

	foreach my $byte (unpack 'C*', $bytes)
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? $crc >> 1 ^ 0x82F63B78 : $crc >> 1 foreach 1 .. 8;
	}
	return $crc ^ 0xFFFFFFFF;
}

sub overwrite
{
	my ($path, $offset, $bytes) = @_;
	open my $file, '+<:raw', $path or croak "could not open $path: $!";
	seek $file, $offset, 0;
	print $file $bytes;
	close $file or croak "could not write $path: $!";
	return;
}

sub default_settings
{
	my ($tls) = @_;
	my %settings = (
		repository => repository(),
		cluster => 'main',
		# No scheduled backup may start during a test.
		schedule_full => '',
		schedule_diff => '',
		cipher => 'aes-256-gcm',
		cipher_passphrase => 'correct horse battery staple');

	if (store() eq 's3')
	{
		$settings{s3_region} = 'us-east-1';
		$settings{s3_access_key} = $ENV{VEZA_TEST_S3_ACCESS_KEY};
		$settings{s3_secret_key} = $ENV{VEZA_TEST_S3_SECRET_KEY};
		$settings{s3_session_token} = $ENV{VEZA_TEST_S3_SESSION_TOKEN} if $ENV{VEZA_TEST_S3_SESSION_TOKEN};
		$settings{s3_endpoint} =
		  $tls ? $ENV{VEZA_TEST_S3_TLS_ENDPOINT} : $ENV{VEZA_TEST_S3_ENDPOINT};
		$settings{s3_ca_file} = $ENV{VEZA_TEST_S3_CA_FILE} if $tls;
	}
	return %settings;
}

# Returns the path of veza_backup.conf. It is outside of the data directory, so that vezactl can
# read it when that directory is gone.
sub conf
{
	my ($self) = @_;
	return $self->{_veza_conf} // $self->basedir . '/veza_backup.conf';
}

# Writes veza_backup.conf from {name => value}; every value is quoted.
sub write_conf
{
	my ($self, $settings) = @_;
	my $path = $self->conf;

	$self->{_veza_settings} = { %$settings };
	unlink $path;
	sysopen my $file, $path, O_WRONLY | O_CREAT | O_EXCL, 0600
	  or croak "could not write $path: $!";
	foreach my $name (sort keys %$settings)
	{
		my $value = $settings->{$name};
		next unless defined $value;
		$value =~ s/'/''/g;
		print $file "veza_backup.$name = '$value'\n";
	}
	close $file or croak "could not write $path: $!";
	return;
}

# Changes some settings of veza_backup.conf; the caller reloads or restarts.
sub change_conf
{
	my ($self, %changes) = @_;
	$self->write_conf({ %{ $self->{_veza_settings} }, %changes });
	return;
}

# The same, with a reload. The reload has reached the server when this returns.
sub apply_conf
{
	my ($self, %changes) = @_;
	my $loaded = $self->safe_psql('postgres', 'SELECT pg_conf_load_time()');

	$self->change_conf(%changes);
	$self->reload;
	$self->poll_query_until('postgres', "SELECT pg_conf_load_time() > '$loaded'")
	  or croak 'the reload did not reach the server';
	return;
}

# --- WAL ------------------------------------------------------------------------------------------

# Ends the current WAL segment and waits until the archiver has stored it. Returns its name.
sub archive_wal
{
	my ($self) = @_;
	my $segment = $self->safe_psql('postgres', <<'SQL');
SELECT pg_walfile_name(l) FROM pg_logical_emit_message(false, 'veza', 'fill') AS l
SQL
	$self->safe_psql('postgres', 'SELECT pg_switch_wal()');
	$self->wait_for_archived($segment);
	return $segment;
}

# Waits until a finished segment (or another file of pg_wal) is archived. It looks at the archive
# status, because pg_stat_archiver tells the last file only and that may be a history file.
sub wait_for_archived
{
	my ($self, $segment, $seconds) = @_;
	my $wal = $self->data_dir . '/pg_wal';

	return poll_until(
		sub {
			return 0 if -e "$wal/archive_status/$segment.ready";
			return -e "$wal/archive_status/$segment.done" || !-e "$wal/$segment";
		},
		"the archiving of $segment", $seconds);
}

# 'ready' while the archiver has to store the file, 'done' when it has.
sub archive_status
{
	my ($self, $file) = @_;
	my $path = $self->data_dir . "/pg_wal/archive_status/$file";

	return -e "$path.ready" ? 'ready' : -e "$path.done" ? 'done' : 'none';
}

# Offers a file that was archived to the archiver again, as after a crash that lost the rename.
sub archive_again
{
	my ($self, $file) = @_;
	my $path = $self->data_dir . "/pg_wal/archive_status/$file";

	rename "$path.done", "$path.ready" or croak "could not rename $path.done: $!";
	$self->wake_archiver;
	return;
}

sub archiver_pid
{
	my ($self) = @_;
	return $self->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'});
}

# Makes the archiver look for files now. After a failure it would sleep for a minute. Processes of
# the server wake each other with the same signal.
sub wake_archiver
{
	my ($self) = @_;
	return kill 'USR1', $self->archiver_pid;
}

# --- the backup worker ----------------------------------------------------------------------------

# Returns the process id and the phase of the backup worker, if there is one.
sub backup_worker
{
	my ($self) = @_;
	return $self->child_titled(qr/veza_backup \w+ backup ?([\w ]*)/);
}

# Returns the process id of the scheduler. No view shows it, because it is not connected to a
# database.
sub scheduler_pid
{
	my ($self) = @_;
	return ($self->child_titled(qr/(veza_backup scheduler)/))[0];
}

# Returns the pid of the first child of the postmaster whose title matches, and the captures of the
# pattern.
sub child_titled
{
	my ($self, $pattern) = @_;
	my ($postmaster) =
	  split /\n/, PostgreSQL::Test::Utils::slurp_file($self->data_dir . '/postmaster.pid');

	foreach my $directory (glob '/proc/[0-9]*')
	{
		my ($captured) = read_proc("$directory/cmdline") =~ $pattern;
		if (defined $captured && read_proc("$directory/status") =~ /^PPid:\s+$postmaster$/m)
		{
			return (basename($directory), $captured);
		}
	}
	return;
}

# Returns an empty string for a process that has ended.
sub read_proc
{
	my ($path) = @_;
	open my $file, '<', $path or return '';
	local $/ = undef;
	return readline($file) // '';
}

# Waits until the worker is in a phase (as its process title says). Returns its pid.
sub wait_for_phase
{
	my ($self, $phase, $seconds) = @_;
	my $pid;
	my $deadline = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);

	while (1)
	{
		($pid, my $now) = $self->backup_worker;
		return $pid if defined $pid && $now =~ /^$phase/;
		croak "timed out waiting for a backup worker that is $phase" if time > $deadline;
		sleep 0.005;
	}
}

# The same, and stops the worker there (SIGSTOP). kill 'CONT' continues it.
sub stop_worker_while
{
	my ($self, $phase, $seconds) = @_;
	my $pid = $self->wait_for_phase($phase, $seconds);

	kill 'STOP', $pid;
	my (undef, $now) = $self->backup_worker;
	return $pid if defined $now && $now =~ /^$phase/;
	kill 'CONT', $pid;
	croak 'the backup worker was too quick: it is ' . ($now // 'gone');
}

# --- SQL ------------------------------------------------------------------------------------------

# As in PostgreSQL::Test::Cluster, but one psql asks again and again, as long as its connection lives.
sub poll_query_until
{
	my ($self, $database, $query, $expected) = @_;
	my ($session, $answer);
	my $asked = sub {
		$session //= $self->open_session($database);
		$answer = ask_session($session, $query);
		if (!defined $answer)
		{
			close_session($session);
			undef $session;
		}
		return defined $answer && $answer eq ($expected // 't');
	};
	my $done = eval { poll_until($asked, 'a query') };
	my $why = $@;

	close_session($session) if $session;
	return 1 if $done;
	diag(sprintf "%s\n%s\nThe last answer: %s", $query, $why, $answer // 'no connection');
	return 0;
}

# Returns a psql that ask_session() gives queries to.
sub open_session
{
	my ($self, $database) = @_;
	my $pid = IPC::Open3::open3(my $queries, my $answers, undef, $self->installed_command('psql'),
		'-XAt', '-d', $self->connstr($database));

	$queries->autoflush(1);
	return { pid => $pid, queries => $queries, answers => $answers };
}

# Returns what psql prints, errors included. psql ends without a connection: then this returns undef.
sub ask_session
{
	my ($session, $query) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $answer = '';

	print { $session->{queries} } "$query\n;\n\\echo answered\n";
	while (defined(my $line = readline $session->{answers}))
	{
		return $answer =~ s/\n\z//r if $line eq "answered\n";
		$answer .= $line;
	}
	return;
}

sub close_session
{
	my ($session) = @_;
	local $SIG{PIPE} = 'IGNORE';
	local $?;

	close $session->{queries};
	close $session->{answers};
	waitpid $session->{pid}, 0;
	return;
}

# Runs SQL that must fail. Makes two tests: that it fails, and what psql prints (message, detail,
# hint).
sub sql_fails
{
	my ($self, $sql, $pattern, $test, %params) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($exit, $out, $err) = $self->psql('postgres', $sql, %params);

	isnt($exit, 0, "$test: fails");
	like($err, $pattern, "$test: message");
	return;
}

# What psql says when it cannot connect; empty when it can. `options` are added to the connection
# string. The method psql() dies in some of these
# cases: it writes SQL to a psql that has ended by then.
sub connection_error
{
	my ($self, $database, $options) = @_;
	my $connstr = $self->connstr($database) . ' ' . ($options // '');
	my $err;
	IPC::Run::run([ $self->installed_command('psql'), '-XAtq', '-d', $connstr, '-c', 'SELECT 1' ],
		'<', '/dev/null', '>', \my $out, '2>', \$err);
	return $err;
}

# Starts SQL in a separate psql. finish_sql() waits for it and returns exit code, standard output
# and standard error.
sub start_sql
{
	my ($self, $sql, %params) = @_;
	my %session = (out => '', err => '');

	$session{harness} = IPC::Run::start(
		[
			$self->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1',
			'-d', $self->connstr($params{dbname} // 'postgres'), '-c', $sql
		],
		'<', \undef, '>', \$session{out}, '2>', \$session{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

sub finish_sql
{
	my ($self, $session) = @_;

	$session->{harness}->finish;
	my $exit = $session->{harness}->result(0);
	chomp $session->{out};
	print "# psql: exit $exit\n$session->{out}\n$session->{err}";
	return ($exit, $session->{out}, $session->{err});
}

# --- vezactl --------------------------------------------------------------------------------------

# Runs `vezactl --config FILE ...` and returns exit code, standard output and standard error. A
# signal that ended it is 128 and its number, as in a shell.
sub vezactl
{
	my ($self, @arguments) = @_;
	my @command = ($ENV{VEZACTL} // 'vezactl', '--config', $self->conf, @arguments);
	my ($out, $err) = ('', '');

	print "# running: @command\n";
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	my $exit = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	print "# exit $exit\n$out$err";
	return ($exit, $out, $err);
}

# Like vezactl(), with one test: that it exits with 0. Returns the standard output.
sub vezactl_ok
{
	my ($self, $arguments, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($exit, $out, $err) = $self->vezactl(@$arguments);

	is($exit, 0, $test // "vezactl @$arguments") or diag($out . $err);
	return $out;
}

# Like vezactl(), with two tests: the exit code, and the text on standard error.
sub vezactl_fails
{
	my ($self, $arguments, $code, $pattern, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($exit, $out, $err) = $self->vezactl(@$arguments);

	is($exit, $code, "$test: exit code");
	like($err, $pattern, "$test: message");
	return;
}

# --- restoring ------------------------------------------------------------------------------------

# Restores with `vezactl restore --target-dir D ...` into a new node, and returns that node, not yet
# started. Dies when the restore fails.
sub restore
{
	my ($self, $name, @arguments) = @_;
	my $copy = VezaTest->new($name);
	my ($exit, $out, $err) =
	  $self->vezactl('restore', '--target-dir', $copy->data_dir, @arguments);

	croak "vezactl restore @arguments: exit $exit\n$out$err" if $exit != 0;
	$copy->adopt($self);
	return $copy;
}

# Adopts a copy of another node's data directory that does not go on as that node: it gets a
# veza_backup.conf of its own, with the other's settings and these changes.
sub adopt_as_twin
{
	my ($self, $origin, %changes) = @_;

	$self->adopt($origin);
	delete $self->{_veza_conf};
	$self->write_conf({ %{ $origin->{_veza_settings} }, %changes });
	$self->append_conf('postgresql.conf', "include '" . $self->conf . "'\n");
	return;
}

# Gives a restored data directory its own port and socket directory.
sub adopt
{
	my ($self, $origin) = @_;
	my ($host, $port) = ($self->host, $self->port);

	$self->{_veza_conf} = $origin->conf;
	$self->{_veza_settings} = { %{ $origin->{_veza_settings} } };
	$self->append_conf('postgresql.conf', <<CONF);
port = $port
unix_socket_directories = '$host'
CONF
	return;
}

# Stops the node, if it runs, and removes its files.
sub discard
{
	my ($self) = @_;
	$self->stop('immediate');
	$self->clean_node;
	return;
}

sub wait_for_end_of_recovery
{
	my ($self) = @_;
	$self->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()')
	  or croak 'recovery did not end';
	return;
}

# --- a store that fails -------------------------------------------------------------------------

# Breaks the store. 'refuse': connections are refused (for a directory: nobody may enter it).
# 'stall' (S3 only): connections hang. Nodes reach S3 through the proxy only with init(proxy => 1).
sub break_store
{
	my ($how) = @_;
	if (store() eq 's3')
	{
		command_proxy($how // 'refuse');
	}
	else
	{
		croak 'a directory cannot stall' if ($how // 'refuse') ne 'refuse';
		chmod 0000, repository() or croak 'could not change the mode of the repository';
	}
	return;
}

sub mend_store
{
	if (store() eq 's3')
	{
		command_proxy('pass') if $proxy;
	}
	else
	{
		chmod 0700, repository() or croak 'could not change the mode of the repository';
	}
	return;
}

# Makes uploads slow until mend_store(). S3 only, with init(proxy => 1).
sub slow_store
{
	command_proxy('slow');
	return;
}

# Until mend_store(), this share of the requests fails in one way or another. The seed decides which
# ones.
sub store_faults
{
	my ($rate, $seed) = @_;
	command_proxy("faults $rate $seed");
	return;
}

# Sets how the store treats If-None-Match from now on: 'honour', 'ignore' (it overwrites) or
# 'refuse' (501).
sub store_conditions
{
	my ($how) = @_;
	command_proxy("conditions $how");
	return;
}

# Whether objects may be stored below a directory of the cluster, for example "main/walindex".
# On S3 only with init(proxy => 'faults').
sub permit_writes
{
	my ($directory, $may) = @_;
	if (store() eq 's3')
	{
		command_proxy('forbid ' . ($may ? 'none' : "/$directory/"));
		return;
	}
	my $path = repository() . "/$directory";
	File::Find::find(sub { chmod $may ? 0700 : 0500, $_ if -d }, $path);
	return;
}

# Returns {requests => n, and the number of each kind of fault since the test began}.
sub fault_counts
{
	return { command_proxy('stats') =~ /(\w+)=(\d+)/g };
}

# Returns http://127.0.0.1:<port of the proxy>. The proxy is started on first use and ends with this
# process. A test has one proxy; with 'faults' it is the one that fails at random, with 'credentials' the
# one that gives credentials.
sub proxy_endpoint
{
	my ($kind) = @_;

	if (!$proxy)
	{
		my %programs = (faults => 'fault_proxy.py', credentials => 'credential_gate.py');
		my $program = dirname(__FILE__) . '/../../support/' . ($programs{ $kind // '' } // 'proxy.py');
		my ($target) = $ENV{VEZA_TEST_S3_ENDPOINT} =~ m{^http://([^/]+)}
		  or croak 'the proxy needs an http:// endpoint';

		my $pid = IPC::Open2::open2(my $answers, my $commands, 'python3', $program, $target);
		$commands->autoflush(1);
		$proxy = { pid => $pid, answers => $answers, commands => $commands };
		chomp($proxy->{port} = readline($answers) // croak 'the proxy did not start');
	}
	return "http://127.0.0.1:$proxy->{port}";
}

sub command_proxy
{
	my ($command) = @_;

	proxy_endpoint();
	print { $proxy->{commands} } "$command\n";
	my $answer = readline($proxy->{answers}) // '';
	croak "the proxy did not obey: $answer" if index($answer, $command) != 0;
	return $answer;
}

# --- the repository, seen from outside ------------------------------------------------------------

# Returns the names of all objects in the repository that begin with a prefix, sorted.
sub objects
{
	my ($prefix) = @_;
	return store() eq 's3' ? s3_objects($prefix // '') : directory_objects($prefix // '');
}

sub read_object
{
	my ($name) = @_;
	return store() eq 's3' ? s3_request(s3_url($name)) : slurp_raw(repository() . "/$name");
}

# Replaces an object. Nothing in the product does this.
sub write_object
{
	my ($name, $content) = @_;
	my $path = store() eq 's3'
	  ? PostgreSQL::Test::Utils::tempdir() . '/object'
	  : repository() . "/$name";

	make_path(dirname($path));
	unlink $path;
	open my $file, '>:raw', $path or croak "could not write $path: $!";
	print $file $content;
	close $file or croak "could not write $path: $!";
	s3_request('--upload-file', $path, s3_url($name)) if store() eq 's3';
	return;
}

sub delete_object
{
	my ($name) = @_;
	if (store() eq 's3')
	{
		s3_request('--request', 'DELETE', s3_url($name));
	}
	else
	{
		# As on S3, a file that is gone is not an error: a writing server renames its temporary files.
		unlink repository() . "/$name" or $!{ENOENT} or croak "could not delete $name: $!";
	}
	return;
}

sub directory_objects
{
	my ($prefix) = @_;
	my $root = repository();
	my @names;

	File::Find::find(
		{
			no_chdir => 1,
			wanted => sub { push @names, substr($_, length($root) + 1) if -f }
		},
		$root);
	return sort grep { index($_, $prefix) == 0 } @names;
}

sub s3_objects
{
	my ($prefix) = @_;
	my ($marker, @names) = ('');
	my $bucket = "$ENV{VEZA_TEST_S3_ENDPOINT}/$ENV{VEZA_TEST_S3_BUCKET}";

	while (1)
	{
		# The signature covers the parameters in alphabetical order, so they must be in this order.
		my $page = s3_request(sprintf '%s?marker=%s&prefix=%s',
			$bucket, escape($marker), escape("$root_name/$prefix"));
		my @keys = $page =~ m{<Key>([^<]*)</Key>}g;

		push @names, map { substr($_, length($root_name) + 1) } @keys;
		last unless $page =~ m{<IsTruncated>true</IsTruncated>};
		$marker = $keys[-1];
	}
	return sort @names;
}

sub s3_url
{
	my ($name) = @_;
	return "$ENV{VEZA_TEST_S3_ENDPOINT}/$ENV{VEZA_TEST_S3_BUCKET}/$root_name/$name";
}

# S3 only. Makes a bucket for this test, in which its repository is from now on. Further arguments are
# headers of the request. Returns the bucket's name.
sub make_bucket
{
	my @headers = @_;
	my $bucket = sprintf 'veza-%d-%06x', $$, rand(1 << 24);

	s3_request('--request', 'PUT', (map { ('--header', $_) } @headers), "$ENV{VEZA_TEST_S3_ENDPOINT}/$bucket");
	$ENV{VEZA_TEST_S3_BUCKET} = $bucket;
	undef $repository;
	return $bucket;
}

# Gives the test's bucket a document of configuration: its subresource, its element, and what is in it.
sub configure_bucket
{
	my ($what, $element, $content) = @_;
	my $document = "<$element xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">$content</$element>";

	s3_request('--request', 'PUT', '--header', 'Content-Type: application/xml',
		'--header', 'Content-MD5: ' . Digest::MD5::md5_base64($document) . '==',
		'--data-binary', $document, "$ENV{VEZA_TEST_S3_ENDPOINT}/$ENV{VEZA_TEST_S3_BUCKET}?$what=");
	return;
}

# A policy of docs/security.md, the one behind this bold word, for the test's bucket.
sub policy_of_document
{
	my ($word) = @_;
	my $document = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../docs/security.md");
	my ($policy) = $document =~ /^\*\*\Q$word\E\*\*.*?^```json\n(.*?)^```/ms
	  or croak "docs/security.md has no policy \"$word\"";
	return $policy =~ s{pg-backup/production}{pg-backup/$root_name}gr
	  =~ s{pg-backup}{$ENV{VEZA_TEST_S3_BUCKET}}gr;
}

# S3 only. From now on this test, and the nodes that it makes, have credentials with no more rights than
# this policy gives. Returns whether the store has such credentials (the STS of MinIO); without them,
# nothing changes. become() without an argument goes back to those with all rights.
my %all_rights;
sub become
{
	my ($policy) = @_;
	%all_rights = map { $_ => $ENV{"VEZA_TEST_S3_$_"} } qw(ACCESS_KEY SECRET_KEY SESSION_TOKEN)
	  if !%all_rights;
	my %rights = %all_rights;

	if (defined $policy)
	{
		my $form = 'Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600&Policy=' . escape($policy);
		my ($answer, $err) = ('', '');
		IPC::Run::run(
			[
				'curl', '--silent', '--fail', '--max-time', '60', '--aws-sigv4', 'aws:amz:us-east-1:sts',
				'--user', "$all_rights{ACCESS_KEY}:$all_rights{SECRET_KEY}",
				'--header', 'x-amz-content-sha256: ' . Digest::SHA::sha256_hex($form),
				'--data-binary', $form, "$ENV{VEZA_TEST_S3_ENDPOINT}/"
			],
			'<', \undef, '>', \$answer, '2>', \$err);
		return 0 if $answer !~ /<AssumeRoleResponse/;
		@rights{qw(ACCESS_KEY SECRET_KEY SESSION_TOKEN)} =
		  map { $answer =~ m{<$_>([^<]+)</$_>} } qw(AccessKeyId SecretAccessKey SessionToken);
	}
	foreach my $name (keys %rights)
	{
		if (defined $rights{$name}) { $ENV{"VEZA_TEST_S3_$name"} = $rights{$name} }
		else { delete $ENV{"VEZA_TEST_S3_$name"} }
	}
	return 1;
}

# The id of the newest version of an object, or of its delete marker.
sub version_of
{
	my ($name) = @_;
	my $list = s3_request("$ENV{VEZA_TEST_S3_ENDPOINT}/$ENV{VEZA_TEST_S3_BUCKET}?prefix="
		  . escape("$root_name/$name") . '&versions=');
	my ($id) = $list =~ m{<VersionId>([^<]+)</VersionId>} or croak "$name has no version";
	return $id;
}

# Removes one version of an object for good. Returns whether that was allowed.
sub delete_version
{
	my ($name, $id) = @_;
	return eval { s3_request('--request', 'DELETE', s3_url($name) . '?versionId=' . escape($id)); 1 } // 0;
}

# Whether the store refuses to overwrite in the test's bucket.
sub honours_conditions
{
	my @put = (
		'--request', 'PUT', '--header', 'If-None-Match: *', '--data-binary', 'x',
		"$ENV{VEZA_TEST_S3_ENDPOINT}/$ENV{VEZA_TEST_S3_BUCKET}/condition");
	s3_request(@put);
	return !eval { s3_request(@put); 1 };
}

sub s3_request
{
	my @arguments = @_;
	my ($out, $err);

	# The payload is declared unsigned because curl 7.88 signs with a digest that it does not send.
	IPC::Run::run(
		[
			'curl', '--silent', '--show-error', '--fail', '--max-time', '60',
			'--aws-sigv4', 'aws:amz:us-east-1:s3',
			'--user', "$ENV{VEZA_TEST_S3_ACCESS_KEY}:$ENV{VEZA_TEST_S3_SECRET_KEY}",
			'--header', 'x-amz-content-sha256: UNSIGNED-PAYLOAD',
			($ENV{VEZA_TEST_S3_SESSION_TOKEN}
				? ('--header', "x-amz-security-token: $ENV{VEZA_TEST_S3_SESSION_TOKEN}") : ()),
			@arguments
		],
		'<', \undef, '>', \$out, '2>', \$err) or croak "curl @arguments: $err";
	return $out;
}

sub escape
{
	my ($text) = @_;
	$text =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge;
	return $text;
}

sub slurp_raw
{
	my ($path) = @_;
	open my $file, '<:raw', $path or croak "could not read $path: $!";
	local $/ = undef;
	return <$file>;
}

# --- when a test fails ----------------------------------------------------------------------------

END
{
	my $status = $?;
	if ($status != 0 || !PostgreSQL::Test::Utils::all_tests_passing())
	{
		show_log($_) foreach @nodes;
	}
	mend_store();
	close $proxy->{commands} if $proxy;
	waitpid $proxy->{pid}, 0 if $proxy;
	$? = $status;
}

sub show_log
{
	my ($node) = @_;
	return unless -s $node->logfile;
	my @lines = split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile);

	splice @lines, 0, -40 if @lines > 40;
	diag(join "\n", '--- the end of the log of ' . $node->name, @lines);
	return;
}

1;
