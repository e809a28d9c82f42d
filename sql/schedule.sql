-- The view of the schedules. No backup becomes due here: test/server tests that.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS veza_backup;
RESET client_min_messages;

SELECT * FROM veza_backup_schedule;

ALTER SYSTEM SET veza_backup.schedule_full = '30 1 29 feb *';
ALTER SYSTEM SET veza_backup.schedule_diff = '*/20 8-17 29 2 *';
ALTER SYSTEM SET veza_backup.schedule_timezone = 'asia/kolkata';
SELECT pg_reload_conf();
-- Give the server time to read its configuration files.
SELECT pg_sleep(0.5);
SET timezone = 'Asia/Kolkata';
SELECT kind, schedule, description, timezone, to_char(next_run, 'MM-DD HH24:MI') AS next_run
  FROM veza_backup_schedule;
SELECT last_slot, last_result, last_error, last_label, node, attempts FROM veza_backup_schedule;

SET ROLE pg_monitor;
SELECT count(*) FROM veza_backup_schedule;
RESET ROLE;
CREATE ROLE regress_veza_nobody;
SET ROLE regress_veza_nobody;
SELECT count(*) FROM veza_backup_schedule;
SELECT count(*) FROM veza_backup_get_schedule();
RESET ROLE;
DROP ROLE regress_veza_nobody;

ALTER SYSTEM RESET ALL;
SELECT pg_reload_conf();
