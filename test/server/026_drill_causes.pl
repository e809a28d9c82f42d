# Restore drills: damage that only a drill can find makes it fail. A cluster that is merely unusual
# or hostile does not.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(remove_tree);
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'it is about what a drill finds in restored clusters: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
$node->init(extra => ['--wal-segsize=1'], proxy => 1);
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
max_prepared_transactions = 5
allow_in_place_tablespaces = on
CONF
$node->start;
my $base = PostgreSQL::Test::Utils::tempdir_short();
my $has_landlock = syscall(444, 0, 0, 1) > 0;
my @drill = ('drill', '--directory', $base, $has_landlock ? () : '--allow-unconfined');
our @around;    # the command that runs vezactl

# --- helpers --------------------------------------------------------------------------------------

# Runs a drill. Returns its JSON output.
sub drill
{
	my ($test, $code, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($out, $err) = ('', '');
	IPC::Run::run([ @around, $ENV{VEZACTL}, '--config', $node->conf, '--output', 'json', @drill, @arguments ],
		'<', \undef, '>', \$out, '2>', \$err);

	is($? >> 8, $code, "$test: exit code") or diag($out . $err);
	my $result = $out =~ /^\{/ ? decode_json($out) : {};
	$result->{warnings} = $err;
	return $result;
}

# Returns the drill's message about a check; '' when the check has passed.
sub complaint
{
	my ($result, $name) = @_;
	my ($check) = grep { $_->{name} eq $name } @{ $result->{checks} };
	return !$check ? 'there is no such check' : $check->{passed} ? '' : $check->{detail};
}

# Runs statements one by one, each in a transaction of its own.
sub run_sql
{
	my ($database, @statements) = @_;
	$node->safe_psql($database, $_) foreach @statements;
	return;
}

# Returns the path of a relation's file, relative to the data directory.
sub file_of
{
	my ($database, $relation) = @_;
	return $node->safe_psql($database, "CHECKPOINT; SELECT pg_relation_filepath('$relation')");
}

# Calls the code with the content of a file of the stopped server, and writes back the changed
# content.
sub alter_file
{
	my ($file, $alter) = @_;
	my $path = $node->data_dir . "/$file";

	$node->stop;
	my $content = VezaTest::slurp_raw($path);
	$alter->(\$content);
	open my $handle, '>:raw', $path or die "could not open $path: $!";
	print $handle $content;
	close $handle or die "could not write $path: $!";
	$node->start;
	return;
}

# Sets or clears PD_ALL_VISIBLE of a page.
sub mark_all_visible
{
	my ($file, $block, $mark) = @_;
	alter_file(
		$file,
		sub {
			my ($content) = @_;
			my $flags = unpack 'v', substr $$content, $block * 8192 + 10, 2;
			substr $$content, $block * 8192 + 10, 2,
			  pack 'v', $mark ? $flags | 4 : $flags & ~4;
		});
	return;
}

# --- a page that only its visibility map marks as all-visible -------------------------------------

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION veza_backup;
CREATE TABLE mapped AS SELECT n AS id, repeat('x', 100) AS text FROM generate_series(1, 1000) AS n;
VACUUM mapped;
SQL
my $mapped = file_of('postgres', 'mapped');
mark_all_visible($mapped, 3, 0);
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
my $result = drill('a page that is not marked', 1, '--amcheck', '--dump');
like(complaint($result, 'visibility maps'),
	qr/^1 of \d+ blocks .*: the visibility map of relation "\Q$mapped\E" marks block 3 as all-visible/,
	'is named');
is(complaint($result, 'amcheck') . complaint($result, 'dump'), '', 'nothing else finds the damage');
like($result->{error}{hint}, qr/VACUUM/, 'the message says what to do');

mark_all_visible($mapped, 3, 1);
alter_file("${mapped}_vm", sub { ${ $_[0] } .= "\0" x 24 . "\1" . "\0" x 8167 });
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$result = drill('a map that is longer than its relation', 1);
like(complaint($result, 'visibility maps'), qr/block 32672 as all-visible, which is past the end/, 'is named');
$node->safe_psql('postgres', 'DROP TABLE mapped');

# --- databases ------------------------------------------------------------------------------------

run_sql('postgres', 'CREATE DATABASE gone', 'CREATE DATABASE closed ALLOW_CONNECTIONS false');
my $map = $node->safe_psql('postgres', <<'SQL');
CHECKPOINT;
SELECT 'base/' || oid || '/pg_filenode.map' FROM pg_database WHERE datname = 'gone'
SQL
my $map_content;
alter_file($map, sub { $map_content = ${ $_[0] }; ${ $_[0] } = '' });
$node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$result = drill('a database to which nobody can connect', 1);
like(complaint($result, 'databases'),
	qr/^could not connect to 1 of \d+ databases that allow connections; database "gone": .*pg_filenode\.map/, 'is named');
alter_file($map, sub { ${ $_[0] } = $map_content });
run_sql('postgres', 'DROP DATABASE gone');

# --- hostile databases ----------------------------------------------------------------------------

# A superuser who runs one of mallory's functions makes him a superuser.
run_sql('postgres', 'CREATE ROLE mallory LOGIN', 'CREATE DATABASE m OWNER mallory');
$node->safe_psql('m', <<'SQL');
CREATE EXTENSION amcheck SCHEMA public;
GRANT CREATE ON SCHEMA public TO mallory;
SQL
# All drills from here on use this backup. A tablespace that is a directory in place of a link is
# unusual, too.
run_sql('postgres', q{CREATE TABLESPACE in_place LOCATION ''},
	'CREATE TABLE in_place TABLESPACE in_place AS SELECT 1 AS id');
my $full = $node->safe_psql('postgres', q{SELECT veza_backup_now('full')});
$node->safe_psql('m', <<'SQL');
SET SESSION AUTHORIZATION mallory;
CREATE SCHEMA evil;
CREATE FUNCTION evil.rise() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  ALTER ROLE mallory SUPERUSER;
  RETURN true;
EXCEPTION WHEN OTHERS THEN
  RETURN true;
END $$;
CREATE FUNCTION evil.always() RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT evil.rise()';
-- relations
CREATE TABLE evil.pg_database(datname name, datallowconn boolean, datconnlimit int, oid oid);
INSERT INTO evil.pg_database VALUES ('absent', true, -1, 1);
CREATE VIEW evil.pg_prepared_xacts AS
  SELECT 'm'::name AS database, 'ALTER ROLE mallory SUPERUSER' AS gid WHERE evil.rise();
-- operators of the types that the queries of psql, pg_amcheck and pg_dump use
DO $do$
DECLARE types text[] := '{text,name,oid,integer,bigint,boolean,varchar,"\"char\""}';
        operators text[] := '{=,<>,~,!~,<,>,||,+,*}';
        type text; other text; operator text; number int := 0;
BEGIN
  FOREACH type IN ARRAY types LOOP
    FOREACH other IN ARRAY types LOOP
      number := number + 1;
      EXECUTE format('CREATE FUNCTION evil.f%s(%s, %s) RETURNS boolean IMMUTABLE LANGUAGE sql '
                     'AS ''SELECT evil.rise()''', number, type, other);
      FOREACH operator IN ARRAY operators LOOP
        EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.f%s, LEFTARG = %s, RIGHTARG = %s)',
                       operator, number, type, other);
      END LOOP;
    END LOOP;
  END LOOP;
END $do$;
-- functions; the last two are a better match for what pg_amcheck asks for than amcheck's own
CREATE FUNCTION evil.quote_literal(text) RETURNS text LANGUAGE sql AS 'SELECT evil.rise()::text';
CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text
  LANGUAGE sql AS 'SELECT evil.rise()::text';
CREATE FUNCTION public.bt_index_check(index oid, heapallindexed boolean) RETURNS void
  LANGUAGE sql AS 'SELECT evil.rise()';
CREATE FUNCTION public.verify_heapam(relation oid, on_error_stop boolean, check_toast boolean, skip text,
                                     startblock bigint, endblock bigint)
  RETURNS TABLE(blkno bigint, offnum integer, attnum integer, msg text)
  LANGUAGE sql AS 'SELECT 1::bigint, 1, 1, ''x'' WHERE NOT evil.rise()';
-- casts, domains, index expressions, policies
CREATE TYPE evil.state AS ENUM ('on', 'off');
CREATE FUNCTION evil.text_of(evil.state) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT evil.rise()::text';
CREATE CAST (evil.state AS text) WITH FUNCTION evil.text_of(evil.state) AS IMPLICIT;
CREATE DOMAIN evil.user_name AS text CHECK (evil.rise());
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql IMMUTABLE
  AS 'SELECT CASE WHEN evil.rise() THEN $1 END';
CREATE TABLE public.users(id int PRIMARY KEY, name evil.user_name, state evil.state);
INSERT INTO public.users SELECT n, 'user', 'on' FROM generate_series(1, 100) AS n;
CREATE INDEX ON public.users (evil.lower(name)) WHERE evil.always();
ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.users FORCE ROW LEVEL SECURITY;
CREATE POLICY rise ON public.users USING (evil.rise());
-- settings
ALTER DATABASE m SET search_path = evil, pg_catalog;
ALTER DATABASE m SET default_transaction_read_only = on;
ALTER DATABASE m SET statement_timeout = '1ms';
ALTER DATABASE m SET local_preload_libraries = 'nope';
ALTER DATABASE m SET role = 'mallory';
ALTER DATABASE m SET session_authorization = 'mallory';
RESET SESSION AUTHORIZATION;
ALTER DATABASE m SET session_preload_libraries = 'nope';
-- not mallory's, but what they call is
SET search_path = pg_catalog;
CREATE FUNCTION evil.on_event() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM evil.rise();
  RAISE 'nothing is changed here';
END $$;
ALTER FUNCTION evil.on_event() OWNER TO mallory;
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 170000 THEN
    CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION evil.on_event();
  END IF;
END $$;
CREATE EVENT TRIGGER on_change ON ddl_command_start EXECUTE FUNCTION evil.on_event();
SQL
$node->archive_wal;
# The planner evaluates the predicate of the index for the first query.
$result = drill('a hostile database', 0,
	'--backup', $full, '--amcheck', '--dump', '--keep',
	'--check', 'SELECT count(*) FROM users', '--database', 'm', '--min', 100,
	'--check', q{SELECT count(*) FROM users WHERE name = 'user'}, '--database', 'm', '--min', 100,
	'--check', q{SELECT rolsuper = false FROM pg_roles WHERE rolname = current_user}, '--database', 'm');
is_deeply([ map { $_->{passed} ? () : "$_->{name}: $_->{detail}" } @{ $result->{checks} } ],
	[], 'passes its checks');
is(`$result->{connect} -Atc "SELECT count(*) FROM pg_roles WHERE rolsuper"`,
	"1\n", 'no function of the database ran as a superuser');
system "$result->{stop} >/dev/null";
remove_tree($result->{directory});

# --- unusual clusters -----------------------------------------------------------------------------

# Archives all WAL, with settings that override those of the role and the database.
sub archive_all
{
	local $ENV{PGOPTIONS} = '-c statement_timeout=0 -c role=none';
	my $segment = $node->safe_psql('template1', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
	$node->safe_psql('template1', 'SELECT pg_switch_wal()');
	return $node->wait_for_archived($segment);
}

my $me = $node->safe_psql('postgres', 'SELECT current_user');
my @odd = (
	{
		name => 'more transactions prepared than the backup has room for, with locks',
		before => sub {
			$node->safe_psql('postgres', 'ALTER SYSTEM SET max_prepared_transactions = 20');
			$node->restart;
			$node->safe_psql('postgres', join '', map { "CREATE TABLE locked_$_();" } 1 .. 10);
			$node->safe_psql('postgres', "BEGIN; LOCK locked_$_; PREPARE TRANSACTION 'it''s $_'") foreach 1 .. 10;
		},
		arguments => [
			'--amcheck', '--dump', '--check', 'SELECT count(*) FROM pg_prepared_xacts', '--min', 10
		],
		after => sub { $node->safe_psql('postgres', "ROLLBACK PREPARED 'it''s $_'") foreach 1 .. 10 },
	},
	{
		name => 'settings of the role and of the database postgres',
		before => sub {
			run_sql('template1',
				q{ALTER DATABASE postgres SET default_transaction_read_only = on},
				q{ALTER DATABASE postgres SET session_preload_libraries = 'nope'},
				qq{ALTER ROLE "$me" SET role = 'mallory'; ALTER ROLE "$me" SET statement_timeout = '1ms'});
		},
		arguments => [ '--check', q{SELECT current_setting('statement_timeout') = '0'} ],
		after => sub {
			local $ENV{PGOPTIONS} = '-c statement_timeout=0 -c role=none';
			run_sql('template1', qq{ALTER ROLE "$me" RESET ALL}, 'ALTER DATABASE postgres RESET ALL');
		},
	},
	{
		name => 'a database with a line break in its name, which pg_dumpall refuses',
		before => sub { $node->safe_psql('postgres', qq{CREATE DATABASE "two\nlines"}) },
		arguments => [ '--amcheck', '--dump' ],
		after => sub { $node->safe_psql('postgres', qq{DROP DATABASE "two\nlines"}) },
	},
	{
		name => 'no database postgres',
		before => sub { $node->safe_psql('template1', 'ALTER DATABASE postgres RENAME TO elsewhere') },
		arguments => [ '--amcheck', '--dump', '--check', 'SELECT 1', ],
		after => sub { $node->safe_psql('template1', 'ALTER DATABASE elsewhere RENAME TO postgres') },
	},
	{
		name => 'segments that are full, and none that was ended by a switch',
		before => sub {
			$node->safe_psql('postgres',
				'CREATE TABLE public.much AS SELECT n, repeat(md5(n::text), 20) AS t FROM generate_series(1, 8000) AS n');
			my $segment = $node->safe_psql('template1',
				'SELECT pg_walfile_name(pg_current_wal_lsn() - 1048576)');
			$node->wait_for_archived($segment);
		},
		unarchived => 1,
	});

foreach my $odd (@odd)
{
	$odd->{before}();
	archive_all() if !$odd->{unarchived};
	$result = drill($odd->{name}, 0, '--backup', $full, @{ $odd->{arguments} // [] });
	is_deeply([ map { $_->{passed} ? () : "$_->{name}: $_->{detail}" } @{ $result->{checks} } ],
		[], "$odd->{name}: all checks pass");
	$odd->{after}() if $odd->{after};
}

drill('a role that is not there', 2, '--backup', $full, '--role', 'nobody');
drill('a role that is no superuser', 2, '--backup', $full, '--role', 'mallory');
drill('a role for the checks that is not there', 2, '--backup', $full, '--check-role', 'nobody');
drill('a check that may not ask', 2, '--backup', $full, '--check', q{SELECT pg_read_file('PG_VERSION')});
$result = drill('checks by a superuser', 0, '--backup', $full, '--check-role', $me,
	'--check', q{SELECT length(pg_read_file('PG_VERSION'))});

SKIP:
{
	skip 'the modes of a directory are the rights to it', 4 if store() ne 'dir';
	my $records = repository() . '/main/drill';
	chmod 0500, $records or die "could not change the mode of $records: $!";
	my $metrics = PostgreSQL::Test::Utils::tempdir() . '/drill.prom';
	$result = drill('nothing can be stored', 0, '--backup', $full, '--metrics-file', $metrics);
	like($result->{warnings}, qr/warning: could not store the record of the drill/, 'is said');
	is($result->{record}, '', 'there is no record');
	like(slurp_file($metrics), qr/^veza_backup_drill_success\{.*\} 1$/m, 'the metrics say that it passed');
	chmod 0700, $records;
}

SKIP:
{
	skip 'without Landlock', 1 if !$has_landlock || syscall(444, 0, 0, 1) < 2;
	local @around = ('python3', "$FindBin::RealBin/../support/without_shm.py");
	drill('/dev/shm that cannot be written', 0, '--backup', $full);
}

# --- a segment that is as it was stored, but has no WAL after its middle --------------------------

break_store('refuse');
$node->safe_psql('postgres', 'CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) AS n');
my ($segment, $offset) = split /\|/, $node->safe_psql('postgres',
	'SELECT pg_walfile_name(l), (pg_walfile_name_offset(l)).file_offset FROM pg_current_wal_lsn() AS l');
$node->safe_psql('postgres', 'CREATE TABLE lost AS SELECT n FROM generate_series(1, 1000) AS n');
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->safe_psql('postgres', 'CHECKPOINT');
alter_file(
	"pg_wal/$segment",
	sub {
		my ($content) = @_;
		my $from = (int($offset / 8192) + 1) * 8192;
		substr($$content, $from) = "\0" x (length($$content) - $from);
	});
mend_store();
$node->wake_archiver;
$node->archive_wal;
$result = drill('a segment that ends in its middle', 1, '--backup', $full,
	'--check', 'SELECT count(*) FROM kept', '--min', 1000);
like(complaint($result, 'end of the WAL'),
	qr/^recovery ended at \S+, in WAL segment "$segment", although the archive continues to/, 'is named');
is(scalar(grep { !$_->{passed} } @{ $result->{checks} }), 1, 'nothing else notices it');

done_testing();
