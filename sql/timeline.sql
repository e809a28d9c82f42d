-- What the cluster did and when. test/server compares it with pg_waldump and vezactl.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS veza_backup;
RESET client_min_messages;
SELECT veza_backup_init() ~ '/regress$' AS is_the_location;
SELECT veza_backup_now('full') ~ 'F$' AS is_a_label;
CREATE TABLE regress_timeline (id int);
CREATE TABLE regress_moments AS SELECT clock_timestamp() AS before, pg_current_xact_id()::xid AS xid;
INSERT INTO regress_timeline VALUES (1), (2);
SELECT lsn <= pg_current_wal_insert_lsn() AS lsn, newest_backup = (SELECT max(label) FROM veza_backup_info()) AS newest
  FROM veza_backup_create_restore_point('regress moment');
SELECT pg_switch_wal() IS NOT NULL AS switched;
-- The segment is archived before the backup ends.
SELECT veza_backup_now('full') ~ 'F$' AS is_a_label;

SELECT sum(commits) > 2 AS commits, bool_and(wal_bytes > 0) AS wal, bool_and(time = date_trunc('minute', time)) AS minutes
  FROM veza_backup_timeline();
SELECT bool_and(date_trunc('day', time AT TIME ZONE 'UTC') = time AT TIME ZONE 'UTC') AS days
  FROM veza_backup_timeline(bucket => '1 day');
SELECT count(*) FROM veza_backup_timeline('2001-01-01', '2001-01-02');
SELECT count(*) FROM veza_backup_timeline('-infinity', '2001-01-02', NULL);

SELECT kind, detail, time > before AS time, time_is_exact, timeline, lsn < pg_current_wal_lsn() AS lsn
  FROM veza_backup_timeline_events(from_time => (SELECT before FROM regress_moments)), regress_moments
 WHERE kind = 'restore_point';
SELECT count(*) > 0 AS backups FROM veza_backup_timeline_events() WHERE kind = 'backup' AND detail ~ 'F$';

SELECT committed, prepared, database = (SELECT oid FROM pg_database WHERE datname = current_database()) AS database,
       jsonb_path_exists(relations, '$[*] ? (@.blocks > 0)') AS relations
  FROM regress_moments, veza_backup_timeline_transactions(before, '10 minutes') AS t WHERE t.xid = regress_moments.xid;
SELECT count(*) > 0 AS by_minute FROM regress_moments, veza_backup_timeline_transactions(before);

-- The last years that a timestamp can hold.
SELECT count(*) FROM veza_backup_timeline('294276-12-31', NULL);
SELECT count(*) > 0 AS all FROM veza_backup_timeline(NULL, '294276-12-31');
SELECT count(*) FROM veza_backup_timeline_transactions('294276-12-31', '100000 days');
SELECT count(*) FROM veza_backup_timeline_transactions('4713-01-01 BC', '100000 days');

-- What is refused.
SELECT * FROM veza_backup_timeline('2026-11-22 15:00', '2026-11-22 14:00');
SELECT * FROM veza_backup_timeline(bucket => '90 seconds');
SELECT * FROM veza_backup_timeline(bucket => '1 month');
SELECT * FROM veza_backup_timeline(bucket => '0');
SELECT * FROM veza_backup_timeline(bucket => '100001 days');
SELECT * FROM veza_backup_timeline(bucket => '3000000 hours');
SELECT * FROM veza_backup_timeline_events('infinity', '-infinity');
SELECT * FROM veza_backup_timeline_transactions(NULL);
SELECT * FROM veza_backup_timeline_transactions('infinity');
SELECT * FROM veza_backup_timeline_transactions('-infinity');
SELECT * FROM veza_backup_timeline_transactions(now(), '-1 minute');
SELECT * FROM veza_backup_timeline_transactions(now(), '0');
SELECT * FROM veza_backup_timeline_transactions(now(), '1 month');
SELECT * FROM veza_backup_timeline_transactions(now(), '-2147483647 days');
SELECT * FROM veza_backup_timeline_transactions(now(), '100001 days');
SELECT veza_backup_create_restore_point('');
SELECT veza_backup_create_restore_point(E'two\nlines');
SELECT veza_backup_create_restore_point(repeat('x', 64));
SELECT lsn IS NOT NULL AS lsn FROM veza_backup_create_restore_point(repeat('x', 63));
DROP TABLE regress_timeline, regress_moments;
