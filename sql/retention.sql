-- Retention: which backups are removed and which are kept. There may be backups from before, or none.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS veza_backup;
RESET client_min_messages;
SELECT veza_backup_init() ~ '/regress$' AS is_the_location;

-- A backup, its pin, and two more
SELECT veza_backup_now('full') AS label \gset
SELECT veza_backup_keep(:'label');
SELECT veza_backup_keep(label => :'label', keep => true);
SELECT pinned FROM veza_backup_info() WHERE label = :'label';
SELECT veza_backup_now('full') ~ 'F$' AS is_a_label;
SELECT veza_backup_now('full') ~ 'F$' AS is_a_label;

ALTER SYSTEM SET veza_backup.retention_full = 1;
SELECT pg_reload_conf();
-- A new process reads the new value.
\c -
SELECT count(*) FROM veza_backup_expire(dry_run => true) WHERE kind = 'backup' AND action = 'keep';
SELECT action, reason, bytes > 0 AS has_bytes FROM veza_backup_expire(dry_run => true)
 WHERE name = :'label';
SELECT count(*) > 2 AS nothing_has_gone FROM veza_backup_info();
SELECT DISTINCT action FROM veza_backup_expire() WHERE kind = 'backup' ORDER BY action;
SELECT pinned FROM veza_backup_info() ORDER BY label;
SELECT DISTINCT kind, action FROM veza_backup_expire() WHERE kind <> 'tombstone' ORDER BY kind, action;

-- Without the pin it stays as long as a rule by time keeps it.
SELECT veza_backup_keep(:'label', false);
ALTER SYSTEM SET veza_backup.retention_window = '36h';
ALTER SYSTEM SET veza_backup.retention_keep = '2 daily, 1 yearly';
SELECT pg_reload_conf();
\c -
SELECT action, reason FROM veza_backup_expire() WHERE name = :'label';
ALTER SYSTEM RESET veza_backup.retention_window;
SELECT pg_reload_conf();
\c -
SELECT action, reason FROM veza_backup_expire(dry_run => true) WHERE name = :'label';
SELECT veza_backup_keep(:'label', false);
SELECT count(*) FROM veza_backup_expire() WHERE kind = 'backup' AND action = 'remove';
SELECT pinned FROM veza_backup_info();

-- Refusals
SELECT veza_backup_expire(NULL);
SELECT veza_backup_keep(NULL);
SELECT veza_backup_keep('20261122-020000F', NULL);
SELECT veza_backup_keep('latest');
\set VERBOSITY sqlstate
SELECT veza_backup_keep('20010101-000000F', false);

ALTER SYSTEM RESET veza_backup.retention_full;
ALTER SYSTEM RESET veza_backup.retention_keep;
SELECT pg_reload_conf();
