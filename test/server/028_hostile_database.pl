# A database whose owner tries to become superuser, or to disturb backups: our workers run none of
# its code, none of its settings disturbs them, and the inventory in the backup is right.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use VezaTest;

plan skip_all => 'it is about what databases can do to workers: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
$node->init;
$node->start;

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

my $version = $node->pg_version;

sql('CREATE EXTENSION veza_backup');
sql(q{CREATE ROLE mallory LOGIN});
sql(q{CREATE ROLE nobody});
# The database that was created last is asked first.
my @hostile = map { "m$_" } 1 .. 2;
foreach my $database (@hostile)
{
	sql("CREATE DATABASE $database OWNER mallory");
	sql('CREATE EXTENSION hstore', $database);
}

# --- traps: a superuser who calls one makes mallory a superuser -----------------------------------

sub as_mallory
{
	my ($statements, $database) = @_;
	return $node->safe_psql($database, $statements, extra_params => [ '-U', 'mallory' ]);
}

# Operators and functions for the types of the catalogs: all that our SQL might use, and a few more.
# They are exact matches, so they win wherever the schema evil is on the search path.
my @types = ('text', 'name', '"char"', 'oid', 'boolean', 'bigint', 'integer');
my $traps = <<'SQL';
CREATE SCHEMA evil;
CREATE TABLE evil.calls (what text);
GRANT ALL ON SCHEMA evil TO PUBLIC;
GRANT ALL ON evil.calls TO PUBLIC;
CREATE FUNCTION evil.spring(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO evil.calls VALUES (what);
  IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER) THEN
    ALTER ROLE mallory SUPERUSER;
  END IF;
  RETURN true;
END $$;
CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.spring('current_setting'); RETURN pg_catalog.current_setting($1); END $$;
CREATE FUNCTION evil.count() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.spring('count'); RETURN 1; END $$;
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.spring('domain'));
CREATE DOMAIN evil.name AS pg_catalog.name CHECK (evil.spring('domain'));
CREATE VIEW evil.pg_extension AS SELECT evil.spring('view'), 0::oid AS oid, 'evil'::pg_catalog.name AS extname,
  '6.66'::pg_catalog.text AS extversion;
CREATE VIEW evil.pg_settings AS SELECT evil.spring('view'), * FROM pg_catalog.pg_settings;
SQL
foreach my $type (@types)
{
	my $qualified = $type eq '"char"' ? 'pg_catalog."char"' : "pg_catalog.$type";
	$qualified =~ s/bigint/int8/;
	$qualified =~ s/integer/int4/;
	$qualified =~ s/boolean/bool/;
	my $suffix = $type =~ s/\W//gr;
	$traps .= <<SQL;
CREATE FUNCTION evil.compare_$suffix($qualified, $qualified) RETURNS pg_catalog.bool LANGUAGE plpgsql AS
\$\$ BEGIN PERFORM evil.spring('$suffix'); RETURN true; END \$\$;
SQL
	$traps .= "CREATE OPERATOR evil.$_ (LEFTARG = $qualified, RIGHTARG = $qualified, "
	  . "FUNCTION = evil.compare_$suffix);\n"
	  foreach '=', '<>', '<', '>', '<=', '>=', '~', '!~', '~~', '!~~', '||';
}
# A cast that an assignment or a comparison could use.
$traps .= <<'SQL';
CREATE TYPE evil.kind AS ENUM ('e', 's');
CREATE FUNCTION evil.to_text(evil.kind) RETURNS pg_catalog.text LANGUAGE plpgsql AS
$$ BEGIN PERFORM evil.spring('cast'); RETURN 'e'; END $$;
CREATE CAST (evil.kind AS pg_catalog.text) WITH FUNCTION evil.to_text(evil.kind) AS IMPLICIT;
SQL
foreach my $database (@hostile)
{
	as_mallory($traps, $database);
	as_mallory("ALTER DATABASE $database SET search_path = evil, pg_catalog", $database);
}
is(as_mallory(q{SELECT 'a' ~ 'b'}, 'm1'), 't', 'the traps are set');

# Only a superuser can set these up, but they then apply to everybody. A worker must not call them
# either.
sql($_, 'm1') foreach (
	'CREATE FUNCTION public.on_event() RETURNS event_trigger LANGUAGE plpgsql AS '
	  . q{$$ BEGIN
	  IF (SELECT backend_type FROM pg_catalog.pg_stat_activity
	      WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) OPERATOR(pg_catalog.<>) 'client backend' THEN
	    PERFORM evil.spring('event trigger');
	  END IF;
	END $$},
	'CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION public.on_event()');
sql('CREATE EVENT TRIGGER login ON login EXECUTE FUNCTION public.on_event()', 'm1') if $version >= 17;

# --- settings that disturb ------------------------------------------------------------------------

sql("ALTER DATABASE m2 SET $_") foreach (
	q{session_preload_libraries = 'no_such_library'},
	q{local_preload_libraries = ''},
	q{role = 'nobody'},
	q{statement_timeout = 1}, q{lock_timeout = 1}, q{idle_in_transaction_session_timeout = 1},
	($version >= 17 ? q{transaction_timeout = 1} : ()),
	q{default_transaction_read_only = on},
	q{default_transaction_isolation = serializable}, q{default_transaction_deferrable = on},
	q{client_encoding = 'SJIS'}, q{work_mem = '77MB'}, q{search_path = evil, pg_catalog});

# --- a backup -------------------------------------------------------------------------------------

sub superusers { return sql('SELECT string_agg(rolname, $$ $$ ORDER BY rolname) FROM pg_roles WHERE rolsuper') }
my $superusers = superusers();
sql('DELETE FROM evil.calls', 'm1');

my $log = -s $node->logfile;
my $label = sql(q{SELECT veza_backup_now('full')});
is(superusers(), $superusers, 'nobody has become superuser by the backup');
is(sql('TABLE evil.calls', 'm1'), '', 'nothing of the hostile database was called');
unlike(substr(slurp_file($node->logfile), $log), qr/not noted in the backup/, 'every database was asked');

my ($backup) = grep { $_->{label} eq $label }
  @{ decode_json($node->vezactl_ok([ '--output', 'json', 'info' ], 'info'))->{backups} };
my %extensions;
$extensions{ $_->{database} }{ $_->{name} } = $_->{version} foreach @{ $backup->{extensions} };
my ($plpgsql, $hstore) = map {
	sql("SELECT default_version FROM pg_available_extensions WHERE name = '$_'")
} 'plpgsql', 'hstore';
is_deeply($extensions{$_}, { plpgsql => $plpgsql, hstore => $hstore }, "the extensions of $_")
  foreach @hostile;
is_deeply([ sort keys %{ $extensions{postgres} } ], [ 'plpgsql', 'veza_backup' ], 'the extensions of postgres are listed');

# --- the settings ---------------------------------------------------------------------------------

my $settings = $backup->{settings};
is($settings->{max_worker_processes}, 16, 'a setting that differs from the default');
is($settings->{shared_preload_libraries}, 'veza_backup', 'a setting that only superusers can see');
is($settings->{wal_level}, 'replica', 'an enumeration') if exists $settings->{wal_level};
is($settings->{'veza_backup.repository'}, repository(), 'a setting of veza_backup');
is($settings->{work_mem}, undef, 'a setting of a database is not listed for the server');
ok(!exists $settings->{'veza_backup.cipher_passphrase'}, 'secrets are not listed');
is($settings->{restore_command}, undef, 'internal settings are not listed');
is($settings->{$_}, undef, "$_ is as it always is") foreach 'unix_socket_permissions', 'data_directory_mode';
$node->append_conf('postgresql.conf', <<'CONF');
archive_cleanup_command = 'secret things'
shared_buffers = 16MB
other.setting = 'unknown'
CONF
$node->restart;
is(sql(q{SELECT count(*) FROM pg_settings WHERE name = 'archive_cleanup_command' AND setting <> ''}), 1, 'set');
$label = sql(q{SELECT veza_backup_now('full')});
($backup) = grep { $_->{label} eq $label }
  @{ decode_json($node->vezactl_ok([ '--output', 'json', 'info' ], 'info'))->{backups} };
is($backup->{settings}{shared_buffers}, '16MB', 'a setting has its unit');
is($backup->{settings}{archive_cleanup_command}, '(set)', 'of a setting that may contain a password, only the name is listed');
ok(!exists $backup->{settings}{'other.setting'}, 'settings of other extensions are left out');
is(superusers(), $superusers, 'still, nobody has become superuser');

# --- the extension in a schema that mallory owns --------------------------------------------------

# Better matches than those of pg_catalog for every combination of types. The functions of a view
# are chosen when it is created, and everybody who reads the view later runs them.
sql('CREATE DATABASE trap OWNER mallory');
my @mixed = ('int4', 'int8', 'float8', 'numeric', 'interval', 'timestamptz', 'text', 'bool');
my $better = "CREATE SCHEMA evil;\n";
foreach my $left (@mixed)
{
	foreach my $right (@mixed)
	{
		$better .= "CREATE FUNCTION evil.f($left, $right) RETURNS $left LANGUAGE sql AS 'SELECT \$1';\n"
		  . "CREATE FUNCTION evil.p($left, $right) RETURNS bool LANGUAGE sql AS 'SELECT true';\n";
		$better .= "CREATE OPERATOR evil.$_ (LEFTARG = $left, RIGHTARG = $right, FUNCTION = evil.f);\n"
		  foreach '+', '-', '*', '/';
		$better .= "CREATE OPERATOR evil.$_ (LEFTARG = $left, RIGHTARG = $right, FUNCTION = evil.p);\n"
		  foreach '=', '<>', '<', '>', '<=', '>=';
	}
}
$better .= "CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT pg_catalog.now()';\n"
  . "CREATE FUNCTION evil.make_interval(secs float8) RETURNS interval LANGUAGE sql AS \$\$SELECT '1s'::interval\$\$;\n";
as_mallory($better, 'trap');
my $strange_parts = <<'SQL';
SELECT v.relname, pg_describe_object(d.refclassid, d.refobjid, 0)
FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
  JOIN pg_class v ON v.oid = r.ev_class AND v.relnamespace = 'evil'::regnamespace
WHERE d.refobjid >= 16384 AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e')
ORDER BY 1, 2
SQL
sql(q{CREATE EXTENSION veza_backup SCHEMA evil VERSION '0.1'}, 'trap');
like(sql($strange_parts, 'trap'), qr/operator/, 'version 0.1 used foreign functions in such a schema');
sql('ALTER EXTENSION veza_backup UPDATE', 'trap');
is(sql($strange_parts, 'trap'), '', 'an update repairs it');
sql('DROP EXTENSION veza_backup', 'trap');
sql('CREATE EXTENSION veza_backup SCHEMA evil', 'trap');
is(sql($strange_parts, 'trap'), '', 'a new installation is right');

# --- a database that cannot be read ---------------------------------------------------------------

my $place = $node->data_dir . '/base/' . sql(q{SELECT oid FROM pg_database WHERE datname = 'm2'});
rename "$place/PG_VERSION", "$place/PG_VERSION.away" or die;
$log = -s $node->logfile;
$node->psql('postgres', q{SELECT veza_backup_now('full')});
like(substr(slurp_file($node->logfile), $log), qr/extensions of some databases are not noted/, 'a warning names it');
rename "$place/PG_VERSION.away", "$place/PG_VERSION" or die;

# --- the worker that drops empty databases --------------------------------------------------------

# The worker connects to "postgres". Dropping a template needs one more step.
sql('CREATE DATABASE mould IS_TEMPLATE true');
sql('CREATE EXTENSION veza_backup', 'template1');
sql("ALTER DATABASE postgres SET $_", 'template1') foreach (
	q{role = 'nobody'}, q{statement_timeout = 1}, q{default_transaction_read_only = on},
	q{session_preload_libraries = 'no_such_library'});
sql(q{SELECT veza_backup_now('full')}, 'template1');

my $copy = $node->restore('copy', '--databases', 'm1');
$copy->append_conf('postgresql.conf', 'shared_buffers = 16MB');
$copy->start;
poll_until(sub { !-e $copy->data_dir . '/veza-empty-databases' }, 'the list to be worked off', 30);
is($copy->safe_psql('template1', q{SELECT count(*) FROM pg_database WHERE datname IN ('mould', 'm2')}),
	0, 'the settings of its own database do not disturb the worker');

done_testing();
