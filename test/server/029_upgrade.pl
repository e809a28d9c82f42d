# The SQL definition and the library are updated at different times. Definitions of every older
# version work with this library. An update gives the same result as a new installation. A
# definition that is newer than the library is refused, with a hint what to do.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use VezaTest;

plan skip_all => 'it is about SQL definitions: one store is enough' if store() ne 'dir';

my $node = VezaTest->new('primary');
$node->init;
$node->start;

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

sql("CREATE DATABASE $_") foreach 'old', 'fresh';
sql(q{CREATE EXTENSION veza_backup VERSION '0.1'}, 'old');
sql('CREATE EXTENSION veza_backup', 'fresh');

# --- the current library with an old definition ---------------------------------------------------

like(sql('SELECT veza_backup_init()', 'old'), qr/\Q@{[ repository() ]}\E/, 'veza_backup_init()');
my $full = sql(q{SELECT veza_backup_now('full')}, 'old');
like($full, qr/F$/, 'veza_backup_now()');
is(sql("SELECT label, type, status FROM veza_backup_info()", 'old'), "$full|full|ok", 'veza_backup_info()');
is(sql(q{SELECT passed FROM veza_backup_check() WHERE name = 'archiving'}, 'old'), 't', 'veza_backup_check()');
is(sql('SELECT veza_backup_cancel()', 'old'), 'f', 'veza_backup_cancel()');
is(sql(q{SELECT count(*) > 0 FROM veza_backup_expire(true) WHERE name = '} . $full . q{'}, 'old'), 't',
	'veza_backup_expire()');
sql("SELECT veza_backup_keep('$full')", 'old');
is(sql('SELECT pinned FROM veza_backup_info()', 'old'), 't', 'veza_backup_keep()');

my $members = <<'SQL';
SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'veza_backup'
  AND c.relkind = 'v' ORDER BY 1
SQL
my @views = split /\n/, sql($members, 'old');
cmp_ok(scalar @views, '>=', 7, 'the views of 0.1');
foreach my $view (@views)
{
	my ($exit, $out, $err) = $node->psql('old', "SELECT count(*) FROM (SELECT * FROM $view) AS rows");
	is($err, '', "view $view");
}
is(sql('SELECT count(*) FROM veza_backup_schedule', 'old'), 3, 'a view with rows');
is(sql(q{SELECT failing FROM veza_backup_archive}, 'old'), 'f', 'a view with many columns');

# A running backup fills the columns of the progress view.
$node->apply_conf(max_rate => '1MB');
my $session = $node->start_sql(q{SELECT veza_backup_now('full')}, dbname => 'old');
$node->wait_for_phase('copying');
is(sql('SELECT type, phase FROM veza_backup_progress', 'old'), 'full|copying files', 'veza_backup_progress');
is(sql('SELECT veza_backup_cancel()', 'old'), 't', 'the backup is stopped');
$node->finish_sql($session);
$node->apply_conf(max_rate => undef);

# --- the update -----------------------------------------------------------------------------------

# An older definition receives only the first arguments and columns of the current ones.
my $signatures = <<'SQL';
SELECT p.proname, coalesce(p.proallargtypes, p.proargtypes)::oid[]::regtype[]::text,
       coalesce(p.proargnames, '{}')::text, coalesce(p.proargmodes, '{}')::text
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'veza_backup'
ORDER BY 1
SQL

sub signatures
{
	my %found;
	foreach my $line (split /\n/, sql($signatures, $_[0]))
	{
		my ($name, @arrays) = split /\|/, $line;
		my ($types, $names, $modes) = map { [ split /,/, tr/{}//dr ] } @arrays;
		foreach my $i (0 .. $#$types)
		{
			my $kind = ($modes->[$i] // 'i') =~ /[iv]/ ? 'in' : 'out';
			push @{ $found{$name}{$kind} }, "$names->[$i] $types->[$i]";
		}
		$found{$name}{in} //= [];
		$found{$name}{out} //= [];
	}
	return \%found;
}

my ($then, $now) = map { signatures($_) } 'old', 'fresh';
foreach my $name (sort keys %$then)
{
	foreach my $kind ('in', 'out')
	{
		my @first = @{ $now->{$name}{$kind} // [] };
		$#first = $#{ $then->{$name}{$kind} } if @first > @{ $then->{$name}{$kind} };
		is_deeply(\@first, $then->{$name}{$kind}, "$name: new $kind come last");
	}
}

my $definition = <<'SQL';
SELECT * FROM (
  SELECT 'function ' || p.oid::regprocedure::text AS what,
         pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') || coalesce(obj_description(p.oid, 'pg_proc'), '')
  FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_extension e ON e.oid = d.refobjid
  WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'veza_backup'
  UNION ALL
  SELECT 'view ' || c.relname,
         pg_get_viewdef(c.oid) || coalesce(c.relacl::text, '') || coalesce(obj_description(c.oid, 'pg_class'), '')
         || (SELECT string_agg(a.attname || a.attnum, ',' ORDER BY a.attnum) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0)
  FROM pg_depend d JOIN pg_class c ON c.oid = d.objid JOIN pg_extension e ON e.oid = d.refobjid
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'veza_backup'
) AS definition ORDER BY 1
SQL
sql('ALTER EXTENSION veza_backup UPDATE', 'old');
is(sql($definition, 'old'), sql($definition, 'fresh'), 'an update gives what a new installation has');
is(sql('SELECT extversion FROM pg_extension', 'old') =~ s/.*\n//r,
	sql(q{SELECT default_version FROM pg_available_extensions WHERE name = 'veza_backup'}), 'in the newest version');
like(sql(q{SELECT label FROM veza_backup_info() WHERE status = 'ok'}, 'old'), qr/^$full/, 'it works');

# --- a definition that is newer than the library --------------------------------------------------

my $newer = qr/extension "veza_backup" has version "99.0".*does not support\n.*HINT:  Restart the server/s;
sql(q{UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'veza_backup'}, 'old');
my $calls = <<'SQL';
SELECT CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END || p.proname || '('
       || coalesce((SELECT string_agg(quote_literal(CASE t::regtype WHEN 'boolean'::regtype THEN 'true'
            WHEN 'integer'::regtype THEN '1' WHEN 'timestamptz'::regtype THEN 'now'
            WHEN 'interval'::regtype THEN '1 hour' ELSE 'x' END) || '::' || t::regtype, ', ' ORDER BY n)
          FROM unnest(CASE p.prokind WHEN 'p' THEN coalesce(p.proallargtypes, p.proargtypes::oid[])
                                     ELSE p.proargtypes::oid[] END) WITH ORDINALITY AS a (t, n)), '') || ')'
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'veza_backup'
ORDER BY 1
SQL
my @calls = split /\n/, sql($calls, 'old');
cmp_ok(scalar @calls, '>=', 14, 'the functions');
foreach my $call (@calls)
{
	my (undef, undef, $err) = $node->psql('old', $call);
	like($err, $newer, "$call is refused");
}
sql(q{UPDATE pg_extension SET extversion = 'unknown' WHERE extname = 'veza_backup'}, 'old');
my (undef, undef, $err) = $node->psql('old', 'SELECT veza_backup_cancel()');
like($err, qr/has version "unknown".*HINT:  Restart/s, 'a definition with a meaningless version is refused');

# --- a foreign definition -------------------------------------------------------------------------

my $columns = join ', ', map { "OUT c$_ text" } 1 .. 200;
sql(<<"SQL", 'fresh');
CREATE SCHEMA own;
CREATE FUNCTION own.veza_backup_get_schedule($columns) RETURNS SETOF record
  AS '\$libdir/veza_backup' LANGUAGE C;
SQL
(undef, undef, $err) = $node->psql('fresh', 'SELECT * FROM own.veza_backup_get_schedule()');
like($err, qr/does not belong to extension "veza_backup".*HINT: /s, 'a function that is not the extension\'s');
sql('ALTER EXTENSION veza_backup ADD FUNCTION own.veza_backup_get_schedule()', 'fresh');
(undef, undef, $err) = $node->psql('fresh', 'SELECT * FROM own.veza_backup_get_schedule()');
like($err, qr/is defined with 200 columns, but the loaded library returns \d+.*HINT:  Restart/s,
	'a definition with more columns than the library has');

done_testing();
