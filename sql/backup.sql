-- The SQL functions and views: which there are, what they return, and what they refuse.
-- This file needs a repository without backups. No other file needs what another one has left.
CREATE EXTENSION veza_backup;
-- Without the row types of the views, which are also members of the extension since 17.
SELECT pg_describe_object(classid, objid, 0) COLLATE "C" AS member
  FROM pg_depend JOIN pg_extension e ON refclassid = 'pg_extension'::regclass AND refobjid = e.oid
 WHERE extname = 'veza_backup' AND deptype = 'e' AND classid <> 'pg_type'::regclass
 ORDER BY member;
\a
SELECT proname, pg_get_function_arguments(oid), pg_get_function_result(oid)
  FROM pg_proc WHERE proname LIKE 'veza\_backup%' ORDER BY proname;
\a

SELECT veza_backup_init() ~ '/regress$' AS is_the_location;
SELECT veza_backup_init(accept_new_system => true) ~ '/regress$' AS is_the_location;
SELECT label, type, status FROM veza_backup_info();

SELECT veza_backup_now('full') ~ '^\d{8}-\d{6}F$' AS is_a_label;
SELECT type, status, timeline, start_lsn < stop_lsn AS lsns, start_time < stop_time AS times,
       size > stored_size AS sizes, files > 900 AS files, checksum_failures,
       postgres_version = current_setting('server_version') AS version, node ~ ':\d+$' AS node, detail
  FROM veza_backup_info();
SELECT veza_backup_now(type => 'full', wait => true, fast => true) ~ 'F$' AS is_a_label;
SELECT count(*) FROM veza_backup_info();
SELECT name, passed, hint FROM veza_backup_check();

SELECT veza_backup_now('diff') ~ '^\d{8}-\d{6}F_\d{8}-\d{6}D$' AS is_the_label_of_a_diff;
SELECT type, status, stored_size < 5000000 AS small, size > 10000000 AS whole
  FROM veza_backup_info() WHERE type = 'diff';
SELECT veza_backup_now('incr') ~ '^\d{8}-\d{6}F_\d{8}-\d{6}I$' AS is_the_label_of_an_incr;
SELECT type, status, stored_size < 5000000 AS small, size > 10000000 AS whole
  FROM veza_backup_info() WHERE type = 'incr';

-- No backup runs
SELECT * FROM veza_backup_progress;
SELECT veza_backup_cancel();

-- Refusals
SELECT veza_backup_now('weekly');
SELECT veza_backup_now('FULL');
SELECT veza_backup_now('');
SELECT veza_backup_now(repeat('x', 1000000));
SELECT veza_backup_now(NULL);
SELECT veza_backup_now('full', wait => NULL);

-- A backup does not depend on the transaction that starts it.
BEGIN;
SELECT veza_backup_now('full') ~ 'F$' AS is_a_label;
ROLLBACK;
SELECT count(*) FROM veza_backup_info();
