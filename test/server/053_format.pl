# A repository of version 1 of the format, as 0.1 makes it, is upgraded to version 2 while its server
# runs. What was stored stays readable, and a diff of version 2 refers to the full of version 1.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Basename qw(dirname);
use File::Path qw(make_path);
use IPC::Run ();
use JSON::PP qw(decode_json);
use Test::More;
use VezaTest;

my $node = VezaTest->new('primary');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION veza_backup');
$node->archive_wal;

my $copy = PostgreSQL::Test::Utils::tempdir('copy');
my $passphrase = "$copy.passphrase";
PostgreSQL::Test::Utils::append_to_file($passphrase, $node->{_veza_settings}{cipher_passphrase});

# Runs the second reader on a copy of the repository. Returns its output.
sub second_reader
{
	my (@arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $name (objects('main/'))
	{
		next if -e "$copy/$name";
		make_path(dirname("$copy/$name"));
		PostgreSQL::Test::Utils::append_to_file("$copy/$name", read_object($name));
	}
	my ($out, $err) = ('', '');
	ok( IPC::Run::run(
			[
				'/usr/bin/python3', "$FindBin::RealBin/../support/veza_reader.py",
				'--root', "$copy/main", '--passphrase-file', $passphrase, @arguments
			],
			'>', \$out, '2>', \$err),
		"the second reader: @arguments[0, 1]")
	  or diag($err);
	return $out;
}

sub records
{
	my ($label) = @_;
	return map { decode_json($_) } split /\n/, second_reader('cat', "backup/$label/manifest");
}

# By which methods the packs of a type are digested, one word each.
sub digests
{
	my ($type, @records) = @_;
	my %found = map { ($_->{digest} // 'sha-256') => 1 } grep { $_->{type} eq $type } @records;
	return join ' ', sort keys %found;
}

# The member of a WAL file's attributes that holds its digest.
sub digest_of_wal
{
	my ($file) = @_;
	my ($name) = grep { m{/\Q$file\E$} } objects('main/wal/');
	my $attributes = decode_json(second_reader('attributes', $name =~ s{^main/}{}r));
	return join ' ', grep { /^plain_(?!size)/ } sort keys %$attributes;
}

sub check_row
{
	return $node->safe_psql('postgres',
		q{SELECT passed, detail, coalesce(hint, '') FROM veza_backup_check() WHERE name = 'format'});
}

# --- a new repository has version 2 ---------------------------------------------------------------

is_deeply([ objects('main/format/') ], ['main/format/2'], 'a new repository says so');
is(check_row(), 't|backups and WAL are written in version 2|', 'and the check, too');
is(digest_of_wal($node->archive_wal), 'plain_gmac', 'WAL is of version 2');

# --- without the mark everything is as before -----------------------------------------------------

delete_object('main/format/2');
$node->restart;
like(check_row(), qr/^t\|.*version 1\|When all nodes .*vezactl repository upgrade/,
	'the check says what to do');
is(digest_of_wal($node->archive_wal), 'plain_sha256', 'WAL is of version 1');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (n int PRIMARY KEY, filler text) WITH (fillfactor = 50);
INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, 40000) n;
VACUUM FREEZE t;
CHECKPOINT;
SQL
my $full = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my @full = records($full);
is($full[0]{version}, 1, 'a backup is of version 1');
is(digests('pack', @full), 'sha-256', 'and so are its packs');

# --- a mark that is damaged -----------------------------------------------------------------------

write_object('main/format/2', '{"format": 1, "version": 2}');
like(check_row(), qr{^f\|object "format/2" cannot be used: .*\|.*delete it}, 'the check names it');
my ($exit, $report) = $node->vezactl('--output', 'json', 'verify');
is($exit, 1, 'verify finds it');
is(decode_json($report)->{problems}[0]{object}, 'format/2', 'and names it');
$node->vezactl_fails([ 'repository', 'upgrade' ],
	1, qr{object "format/2" cannot be used.*\nHINT: .*Delete the object}, 'it is not overwritten');
delete_object('main/format/2');

# --- the upgrade ----------------------------------------------------------------------------------

like($node->vezactl_ok([ 'repository', 'upgrade' ]), qr{^wrote format/2\n.*0\.1}, 'the upgrade');
like($node->vezactl_ok([ 'repository', 'upgrade' ]), qr/nothing has to be written/, 'may run again');
is(check_row(), 't|backups and WAL are written in version 2|', 'the check is content');

$node->safe_psql('postgres', q{UPDATE t SET filler = 'y' WHERE n IN (1, 20000)});
my $diff = $node->safe_psql('postgres', q{SELECT veza_backup_now('diff')});
like($diff, qr/^${full}_/, 'a diff refers to the full of version 1');
my @diff = records($diff);
is($diff[0]{version}, 2, 'the running server writes it in version 2');
is(digests('pack', @diff), 'gmac', 'its own packs have version 2');
is(digests('full_pack', @diff), 'sha-256', q{those of the full stay as they are});
my $packed = 0;
$packed += length read_object($_) foreach objects("main/backup/$diff/pack/");
cmp_ok($packed, '<', 1_500_000, 'it stores only what has changed');

$node->restart;
my $last = $node->archive_wal;
is(digest_of_wal($last), 'plain_gmac', 'WAL is of version 2 again');

# --- everything is readable -----------------------------------------------------------------------

$node->vezactl_ok([ 'verify', '--full' ]);
second_reader('restore', $diff, PostgreSQL::Test::Utils::tempdir('second') . '/data');
second_reader('wal', $last, "$copy.wal");
my $restored = $node->restore('restored', '--backup', $diff);
$restored->start;
$restored->wait_for_end_of_recovery;
is($restored->safe_psql('postgres', 'SELECT count(*), count(*) FILTER (WHERE filler = $$y$$) FROM t'),
	'40000|2', 'the diff restores');
$restored->discard;

done_testing();
