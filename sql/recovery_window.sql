-- The recovery window and the WAL in the repository. test/server tests gaps and timelines.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS veza_backup;
RESET client_min_messages;
SELECT veza_backup_init() ~ '/regress$' AS is_the_location;
SELECT veza_backup_now('full') ~ 'F$' AS is_a_label;
\d veza_backup_recovery_window
\d veza_backup_archive_ranges

SELECT start_time <= end_time AS times, start_lsn < end_lsn AS lsns, first_timeline, last_timeline,
       oldest_backup = (SELECT min(label) FROM veza_backup_info()) AS oldest,
       newest_backup = (SELECT max(label) FROM veza_backup_info()) AS newest,
       backups = (SELECT count(*) FROM veza_backup_info()) AS backups, ended_by
  FROM veza_backup_recovery_window;
SELECT timeline, kind, first_segment = pg_walfile_name(start_lsn + 1) AS first_segment,
       last_segment = pg_walfile_name(end_lsn - 1) AS last_segment,
       segments * pg_size_bytes(current_setting('wal_segment_size')) = end_lsn - start_lsn AS segments
  FROM veza_backup_archive_ranges;

SET ROLE pg_monitor;
SELECT count(*) FROM veza_backup_recovery_window;
SELECT count(*) FROM veza_backup_archive_ranges;
RESET ROLE;
CREATE ROLE regress_veza_nobody;
SET ROLE regress_veza_nobody;
SELECT count(*) FROM veza_backup_recovery_window;
SELECT count(*) FROM veza_backup_get_recovery_window();
SELECT count(*) FROM veza_backup_archive_ranges;
SELECT count(*) FROM veza_backup_get_archive_ranges();
RESET ROLE;
DROP ROLE regress_veza_nobody;
