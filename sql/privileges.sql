-- Which roles may call which functions.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS veza_backup;
CREATE ROLE regress_veza_monitor IN ROLE pg_monitor;
CREATE ROLE regress_veza_nobody;
RESET client_min_messages;
-- There is a repository with a backup to look at.
SELECT veza_backup_init() ~ '/regress$' AS is_the_location;
SELECT veza_backup_now('full') ~ 'F$' AS is_a_label;

SET ROLE regress_veza_monitor;
SELECT count(*) > 0 AS may_look FROM veza_backup_info();
SELECT count(*) FROM veza_backup_progress;
SELECT count(*) FROM veza_backup_archive;
SELECT count(*) > 0 AS may_look FROM veza_backup_metrics;
SELECT count(*) FROM veza_backup_drills;
SELECT count(*) > 0 AS may_look FROM veza_backup_timeline_events();
SELECT count(*) >= 0 AS may_look FROM veza_backup_timeline();
SELECT count(*) >= 0 AS may_look FROM veza_backup_timeline_transactions(now());
SELECT veza_backup_cancel();
SELECT veza_backup_now('full');
CALL veza_backup_take('full');
SELECT veza_backup_check();
SELECT veza_backup_init();
SELECT veza_backup_expire(dry_run => true);
SELECT veza_backup_keep('20261122-020000F');
SELECT veza_backup_create_restore_point('x');

SET ROLE regress_veza_nobody;
SELECT count(*) FROM veza_backup_info();
SELECT count(*) FROM veza_backup_progress;
SELECT count(*) FROM veza_backup_archive;
SELECT count(*) > 0 AS may_look FROM veza_backup_metrics;
SELECT count(*) FROM veza_backup_drills;
SELECT count(*) > 0 AS may_look FROM veza_backup_timeline_events();
SELECT count(*) >= 0 AS may_look FROM veza_backup_timeline();
SELECT count(*) >= 0 AS may_look FROM veza_backup_timeline_transactions(now());
SELECT veza_backup_cancel();
SELECT veza_backup_now('full');
CALL veza_backup_take('full');
SELECT veza_backup_check();
SELECT veza_backup_init();
SELECT veza_backup_expire(dry_run => true);
SELECT veza_backup_keep('20261122-020000F');
SELECT veza_backup_create_restore_point('x');
RESET ROLE;

GRANT EXECUTE ON FUNCTION veza_backup_now, veza_backup_check TO regress_veza_nobody;
SET ROLE regress_veza_nobody;
SELECT veza_backup_now('full') ~ 'F$' AS is_a_label;
SELECT bool_and(passed) AS all_passed FROM veza_backup_check();
RESET ROLE;

-- Nobody can read a secret. Superusers can see that there is one.
SHOW veza_backup.cipher_passphrase;
SHOW veza_backup.s3_secret_key;
SET ROLE regress_veza_nobody;
DO $$ BEGIN
  PERFORM current_setting('veza_backup.cipher_passphrase');
EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE 'insufficient privilege';
END $$;
SELECT name FROM pg_settings WHERE name IN ('veza_backup.cipher_passphrase', 'veza_backup.s3_secret_key',
  'veza_backup.s3_session_token', 'veza_backup.cipher_passphrase_command');
SET veza_backup.cipher_passphrase_command = 'id';
ALTER SYSTEM SET veza_backup.cipher_passphrase_command = 'id';
RESET ROLE;

DROP OWNED BY regress_veza_nobody;
DROP ROLE regress_veza_monitor, regress_veza_nobody;
