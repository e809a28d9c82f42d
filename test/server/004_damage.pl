# A repository that is damaged, or that is the wrong one: every reader refuses it and says why.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(remove_tree);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
my $small = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});

# Random bytes do not compress, so this backup has two packs.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pgcrypto;
CREATE TABLE random AS SELECT gen_random_bytes(1000) AS b FROM generate_series(1, 18000);
SQL
my $label = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->archive_wal;

my $target = $node->basedir . '/target';
my ($start_wal) = read_object("main/backup/$label/backup.json") =~ /"start_wal": *"(\w+)"/;
my ($wal_object) = grep { m{/$start_wal$} } objects('main/wal/');
my ($other_wal) = grep { m{/\w{24}$} && !m{/$start_wal$} } objects('main/wal/');
my ($key) = objects('main/key/');
my ($identity) = objects('main/identity/');

# --- ways to damage an object ---------------------------------------------------------------------

sub flip
{
	my ($content) = @_;
	substr($content, length($content) / 2, 1) ^= "\x01";
	return $content;
}
sub cut { return substr $_[0], 0, length($_[0]) - 3 }
sub lengthen { return "$_[0]\0" }
sub empty { return '' }
sub remove { return undef }

sub with_damage
{
	my ($object, $change, $code) = @_;
	my $good = read_object($object);
	my $bad = $change->($good);

	defined $bad ? write_object($object, $bad) : delete_object($object);
	$code->();
	write_object($object, $good);
	return;
}

sub restore_refuses
{
	my ($test, $exit_code, $message, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 3;

	$node->vezactl_fails([ 'restore', '--target-dir', $target, '--backup', $label, @arguments ],
		$exit_code, $message, $test);
	ok(!-e "$target/global/pg_control", "$test: what is left cannot be started");
	remove_tree($target);
	return;
}

# Runs one test for each kind of damage: restore must name the object.
sub restore_names
{
	my ($object, %ways) = @_;
	my $name = $object =~ s{^main/}{}r;

	foreach my $way (sort keys %ways)
	{
		with_damage($object, $ways{$way}, sub { restore_refuses("$name, $way", 1, qr/\Q$name\E/) });
	}
	return;
}

# --- a backup -------------------------------------------------------------------------------------

my ($first_pack, $second_pack) = objects("main/backup/$label/pack/");
restore_names(
	$first_pack,
	flipped => \&flip,
	truncated => \&cut,
	lengthened => \&lengthen,
	missing => \&remove,
	'swapped with another pack' => sub { read_object($second_pack) },
	'swapped with that of another backup' =>
	  sub { read_object($first_pack =~ s/$label/$small/r) });
restore_names(
	"main/backup/$label/manifest",
	flipped => \&flip,
	truncated => \&cut,
	missing => \&remove,
	'swapped with that of another backup' => sub { read_object("main/backup/$small/manifest") });
restore_names(
	"main/backup/$label/backup.json",
	changed => sub { $_[0] =~ s/"files": *\K(\d)/($1 + 1) % 10/er },
	truncated => \&cut,
	empty => \&empty,
	'swapped with that of another backup' => sub { read_object("main/backup/$small/backup.json") });

with_damage(
	"main/backup/$label/backup.json",
	\&flip,
	sub {
		is( $node->safe_psql('postgres',
				"SELECT status, detail ~ 'backup.json' FROM veza_backup_info() WHERE label = '$label'"),
			'unreadable|t', 'veza_backup_info() marks a backup with a damaged summary');
		my ($exit, $out) = $node->vezactl('info');
		is($exit, 1, 'vezactl info exits with an error');
		like($out, qr/unusable\n +$label: .*backup\.json/, 'vezactl info says what is wrong');
		like($out, qr/^$small +full /m, 'vezactl info shows the other backups');
	});
with_damage(
	"main/backup/$label/backup.json",
	\&remove,
	sub { restore_refuses('a backup without summary', 2, qr/"$label" is not complete/) });

# --- WAL ------------------------------------------------------------------------------------------

my $destination = $node->basedir . '/segment';
my %damage = (
	flipped => \&flip,
	truncated => \&cut,
	lengthened => \&lengthen,
	empty => \&empty,
	'swapped with another segment' => sub { read_object($other_wal) });
foreach my $way (sort keys %damage)
{
	my $name = $wal_object =~ s{^main/}{}r;
	with_damage(
		$wal_object,
		$damage{$way},
		sub {
			$node->vezactl_fails([ 'wal-get', '--retry', '1', $start_wal, $destination ],
				126, $way eq 'empty' ? qr/"$start_wal" is missing/ : qr/\Q$name\E/, "a segment, $way");
			is_deeply([ glob "$destination*" ], [], "a segment, $way: nothing is left");
		});
}
with_damage(
	$wal_object,
	\&remove,
	sub {
		restore_refuses('a backup without its WAL', 1,
			qr/WAL segment "$start_wal", which backup "$label" needs, is not in the repository/);
	});

# --- key and identity -----------------------------------------------------------------------------

# The scheduler restores identity and key as soon as the archiver has missed them (044). It is
# stopped here, because it must not do so before the test has looked.
my $scheduler = $node->scheduler_pid;
kill 'STOP', $scheduler;

sub everything_refuses
{
	my ($test, $message) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my ($exit, $out, $err) = $node->vezactl('info');
	isnt($exit, 0, "$test: vezactl info refuses");
	like($err, $message, "$test: and says why");
	$node->vezactl_fails([ 'wal-get', '--retry', '1', $start_wal, $destination ],
		126, $message, "$test: wal-get");
	$node->sql_fails(q{SELECT veza_backup_now('full')}, $message, "$test: veza_backup_now()");
	like(
		$node->safe_psql('postgres',
			q{SELECT detail, hint FROM veza_backup_check() WHERE name = 'identity' AND NOT passed}),
		$message, "$test: veza_backup_check()");
	return;
}

with_damage($key, sub { $_[0] =~ s/("wrapped": *".{10})(.)/$1 . ($2 eq 'A' ? 'B' : 'A')/er },
	sub { everything_refuses('a damaged key', qr/passphrase does not open|object "key/) });
with_damage($key, \&cut, sub { everything_refuses('a truncated key', qr/object "key\//) });
with_damage($key, \&remove, sub { everything_refuses('no key', qr/has lost its key/) });
with_damage($identity, sub { $_[0] =~ s/("block_size": *)8192/${1}4096/r },
	sub { everything_refuses('a forged identity', qr/identity\/\d+/) });
with_damage($identity, \&cut,
	sub { everything_refuses('a truncated identity', qr/identity\/\d+/) });
with_damage(
	$identity,
	\&remove,
	sub {
		$node->vezactl_fails(['info'], 1, qr/has lost its identity.*HINT:  .*vezactl key restore/s,
			'no identity');
	});
kill 'CONT', $scheduler;
$node->vezactl_ok([ 'restore', '--target-dir', $target, '--backup', $label ],
	'undamaged, it is restored');
remove_tree($target);

# --- settings that do not match the repository ----------------------------------------------------

my %right = %{ $node->{_veza_settings} };

sub with_settings
{
	my ($changes, $code) = @_;
	$node->apply_conf(%$changes);
	$code->();
	$node->apply_conf(map { $_ => $right{$_} } keys %$changes);
	return;
}

with_settings(
	{ cipher_passphrase => 'incorrect donkey battery staple' },
	sub {
		everything_refuses('a wrong passphrase',
			qr/the passphrase does not open repository.*veza_backup\.cipher_passphrase/s);
	});
with_settings({ cipher => 'none', cipher_passphrase => undef },
	sub { everything_refuses('no encryption', qr/is encrypted.*veza_backup\.cipher/s) });

SKIP:
{
	skip 'there is no S3', 1 if store() ne 's3';

	my $store_refuses = sub {
		my ($test, $message) = @_;
		$node->vezactl_fails(['info'], 2, $message, "$test: vezactl info");
		$node->vezactl_fails([ 'wal-get', '--retry', '1', $start_wal, $destination ],
			126, $message, "$test: wal-get");
		$node->sql_fails(q{SELECT veza_backup_now('full')}, $message, "$test: veza_backup_now()");
		like(
			$node->safe_psql('postgres',
				q{SELECT detail, hint FROM veza_backup_check() WHERE name = 'store' AND NOT passed}),
			$message, "$test: veza_backup_check()");
	};
	with_settings({ repository => 's3://no-such-bucket/x' },
		sub { $store_refuses->('no bucket', qr/no-such-bucket.*Create the bucket/s) });
	with_settings({ s3_access_key => 'NOSUCHKEY' },
		sub { $store_refuses->('an unknown access key', qr/Check veza_backup\.s3_access_key/) });
	with_settings({ s3_secret_key => 'n0t-the-right-one' },
		sub { $store_refuses->('a wrong secret key', qr/Check veza_backup\.s3_secret_key/) });
}

SKIP:
{
	skip 'there is no directory', 1 if store() ne 'dir';

	break_store();
	$node->vezactl_fails(['info'], 2, qr/Permission denied.*HINT:  .*owner of the directory/s,
		'a directory of another user');
	mend_store();
	with_settings(
		{ repository => $node->conf },
		sub {
			$node->sql_fails(q{SELECT veza_backup_now('full')},
				qr/could not open directory .*Not a directory\nHINT:  Set veza_backup\.repository to a directory/,
				'a file as the repository');
		});
}

# --- secrets --------------------------------------------------------------------------------------

my @secrets = grep { defined } @right{qw(cipher_passphrase s3_secret_key)};
push @secrets, 'incorrect donkey battery staple', 'n0t-the-right-one';
my $secret = join '|', map { quotemeta } @secrets;

unlike(slurp_file($node->logfile), qr/$secret/, 'no secret is in the log, after all these reloads');
is($node->safe_psql('postgres', 'SHOW veza_backup.cipher_passphrase'),
	'********', 'superusers see that there is a secret');
unlike($node->safe_psql('postgres', 'SELECT * FROM pg_settings'), qr/$secret/,
	'pg_settings does not show secrets to superusers');
$node->safe_psql('postgres', 'CREATE ROLE somebody LOGIN');
unlike(
	$node->safe_psql('postgres', 'SELECT * FROM pg_settings', extra_params => [ '-U', 'somebody' ]),
	qr/$secret|\*{8}/, 'pg_settings does not show secrets to other users');
$node->sql_fails('SHOW veza_backup.cipher_passphrase',
	qr/must be superuser or have privileges|permission denied/,
	'SHOW of a secret', extra_params => [ '-U', 'somebody' ]);
foreach my $object ($key, $identity, "main/backup/$label/backup.json")
{
	unlike(read_object($object), qr/$secret/, "no secret is in $object");
}

done_testing();
