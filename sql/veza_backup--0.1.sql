\echo Use "CREATE EXTENSION veza_backup" to load this file. \quit

CREATE FUNCTION veza_backup_init(accept_new_system boolean DEFAULT false)
RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_init(boolean) IS
'creates the repository (identity and key) unless it is there, and returns its location';

CREATE FUNCTION veza_backup_now(
    type text,
    wait boolean DEFAULT true,
    fast boolean DEFAULT true)
RETURNS text
-- Not STRICT: a null argument must not pass for a backup.
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_now(text, boolean, boolean) IS
'takes a backup in a background worker and returns its label; fast: checkpoint at once';

CREATE FUNCTION veza_backup_info(
    OUT label text,
    OUT type text,
    OUT status text,
    OUT start_time timestamptz,
    OUT stop_time timestamptz,
    OUT timeline integer,
    OUT start_lsn pg_lsn,
    OUT stop_lsn pg_lsn,
    OUT size bigint,
    OUT stored_size bigint,
    OUT files bigint,
    OUT checksum_failures bigint,
    OUT postgres_version text,
    OUT node text,
    OUT pinned boolean,
    OUT detail text,
    OUT last_drill timestamptz,
    OUT last_drill_passed boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_info() IS 'the backups in the repository';

CREATE FUNCTION veza_backup_cancel()
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_cancel() IS
'asks the backup that runs on this server to stop; false when none runs';

CREATE FUNCTION veza_backup_get_progress(
    OUT pid integer,
    OUT type text,
    OUT label text,
    OUT phase text,
    OUT started_at timestamptz,
    OUT copying_since timestamptz,
    OUT bytes_total bigint,
    OUT bytes_done bigint,
    OUT files_total bigint,
    OUT files_done bigint,
    OUT bytes_stored bigint,
    OUT throttled interval)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_get_progress() IS 'what veza_backup_progress shows';

-- bytes_per_second is the average since files are copied; files that were made while the backup ran
-- can make bytes_done exceed bytes_total.
CREATE VIEW veza_backup_progress AS
SELECT pid, type, label, phase, started_at, bytes_total, bytes_done, files_total, files_done,
       bytes_stored,
       (bytes_done / nullif(seconds, 0))::bigint AS bytes_per_second,
       make_interval(secs => CASE WHEN phase = 'copying files' AND bytes_done > 0
           THEN greatest(bytes_total - bytes_done, 0) * seconds / bytes_done END) AS time_left,
       throttled
  FROM veza_backup_get_progress(),
       LATERAL (SELECT extract(epoch FROM clock_timestamp() - copying_since)::double precision)
           AS elapsed (seconds);
COMMENT ON VIEW veza_backup_progress IS 'the backup that runs on this server';

CREATE FUNCTION veza_backup_get_schedule(
    OUT kind text,
    OUT schedule text,
    OUT description text,
    OUT timezone text,
    OUT last_slot timestamptz,
    OUT last_result text,
    OUT last_error text,
    OUT last_label text,
    OUT node text,
    OUT attempts integer,
    OUT next_run timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_get_schedule() IS 'what veza_backup_schedule shows';

CREATE VIEW veza_backup_schedule AS SELECT * FROM veza_backup_get_schedule();
COMMENT ON VIEW veza_backup_schedule IS
'the schedules, what became of the latest slot of each in the whole formation, and what comes next';

CREATE FUNCTION veza_backup_get_archive(
    OUT ready_files bigint,
    OUT ready_bytes bigint,
    OUT oldest_ready text,
    OUT oldest_ready_since timestamptz,
    OUT in_flight integer,
    OUT stored_ahead integer,
    OUT compression_level integer,
    OUT wal_rate bigint,
    OUT archive_rate bigint,
    OUT time_to_drain interval,
    OUT disk_free bigint,
    OUT disk_size bigint,
    OUT time_until_disk_full interval,
    OUT observed_at timestamptz,
    OUT exposed_since timestamptz,
    OUT last_stored text,
    OUT last_stored_at timestamptz,
    OUT stored_count bigint,
    OUT stored_bytes bigint,
    OUT sealed_bytes bigint,
    OUT last_failed text,
    OUT last_failed_at timestamptz,
    OUT last_error text,
    OUT last_error_hint text,
    OUT failed_count bigint,
    OUT failing boolean,
    OUT retries bigint,
    OUT last_conflict text,
    OUT last_conflict_at timestamptz,
    OUT conflict_error text,
    OUT conflict_count bigint,
    OUT last_dropped text,
    OUT last_dropped_at timestamptz,
    OUT dropped_count bigint,
    OUT gaps bigint,
    OUT first_gap text,
    OUT gaps_checked_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_get_archive() IS 'what veza_backup_archive shows';

CREATE VIEW veza_backup_archive AS
SELECT ready_files, ready_bytes, oldest_ready, oldest_ready_since,
       now() - oldest_ready_since AS oldest_ready_age,
       in_flight, stored_ahead, compression_level, wal_rate, archive_rate, time_to_drain,
       disk_free, disk_size, time_until_disk_full,
       CASE WHEN observed_at IS NOT NULL
            THEN greatest(now() - exposed_since, interval '0') END AS exposure,
       last_stored, last_stored_at, stored_count, stored_bytes, sealed_bytes,
       failing, last_failed, last_failed_at, last_error, last_error_hint, failed_count, retries,
       last_conflict, last_conflict_at, conflict_error, conflict_count,
       last_dropped, last_dropped_at, dropped_count, gaps, first_gap, gaps_checked_at
  FROM veza_backup_get_archive();
COMMENT ON VIEW veza_backup_archive IS
'how this server''s archiver is doing: what waits and for how long, rates, the last success, failure and conflict, gaps';

CREATE FUNCTION veza_backup_get_recovery_window(
    OUT start_time timestamptz,
    OUT end_time timestamptz,
    OUT start_lsn pg_lsn,
    OUT end_lsn pg_lsn,
    OUT first_timeline integer,
    OUT last_timeline integer,
    OUT oldest_backup text,
    OUT newest_backup text,
    OUT backups bigint,
    OUT ended_by text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_get_recovery_window() IS 'what veza_backup_recovery_window shows';

-- end_time is when the store got the last segment, by its own clock: no commit in it is later. A
-- backup that cannot be restored has a row without times and LSNs.
CREATE VIEW veza_backup_recovery_window AS SELECT * FROM veza_backup_get_recovery_window();
COMMENT ON VIEW veza_backup_recovery_window IS
'from when to when one can restore, a row for each unbroken stretch';

CREATE FUNCTION veza_backup_get_archive_ranges(
    OUT timeline integer,
    OUT kind text,
    OUT first_segment text,
    OUT last_segment text,
    OUT segments bigint,
    OUT start_lsn pg_lsn,
    OUT end_lsn pg_lsn)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_get_archive_ranges() IS 'what veza_backup_archive_ranges shows';

CREATE VIEW veza_backup_archive_ranges AS SELECT * FROM veza_backup_get_archive_ranges();
COMMENT ON VIEW veza_backup_archive_ranges IS
'the WAL in the repository: for each timeline every unbroken range and every gap';

CREATE FUNCTION veza_backup_get_drills(
    OUT "time" timestamptz,
    OUT label text,
    OUT passed boolean,
    OUT node text,
    OUT target text,
    OUT phases jsonb,
    OUT restored_bytes bigint,
    OUT rpo_seconds double precision,
    OUT rto_seconds double precision,
    OUT checks_passed bigint,
    OUT checks_failed bigint,
    OUT error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_get_drills() IS 'what veza_backup_drills shows';

CREATE VIEW veza_backup_drills AS SELECT * FROM veza_backup_get_drills();
COMMENT ON VIEW veza_backup_drills IS
'the restore drills whose results are in the repository; phases are in seconds';

CREATE FUNCTION veza_backup_get_metrics(
    OUT name text,
    OUT labels jsonb,
    OUT value double precision,
    OUT help text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_get_metrics() IS 'what veza_backup_metrics shows';

CREATE VIEW veza_backup_metrics AS SELECT * FROM veza_backup_get_metrics();
COMMENT ON VIEW veza_backup_metrics IS
'the metrics of this server and its repository, for an exporter; metrics_file has the same as a file';

CREATE FUNCTION veza_backup_check(
    OUT name text,
    OUT passed boolean,
    OUT detail text,
    OUT hint text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_check() IS
'tests settings, store, identity and archiving (switches to a new WAL segment), one row a check';

CREATE FUNCTION veza_backup_expire(
    dry_run boolean DEFAULT false,
    OUT kind text,
    OUT name text,
    OUT action text,
    OUT reason text,
    OUT bytes bigint)
RETURNS SETOF record
-- Not STRICT: a null argument must not pass for a removal.
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_expire(boolean) IS
'removes, or with dry_run only tells, what retention does not keep; a row for everything, with the reason';

CREATE FUNCTION veza_backup_keep(label text, keep boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_keep(text, boolean) IS
'pins a backup, so that retention leaves it and what it needs alone, or removes the pin';

-- What acts, and what talks to the store with the server's credentials, is for superusers until
-- granted. What only looks is for monitoring.
REVOKE ALL ON FUNCTION veza_backup_init(boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_now(text, boolean, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_check() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_cancel() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_expire(boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_keep(text, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_info() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_get_progress() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_get_schedule() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_get_metrics() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_get_archive() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_get_recovery_window() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_get_archive_ranges() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_get_drills() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION veza_backup_info() TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_progress() TO pg_monitor;
GRANT SELECT ON veza_backup_progress TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_schedule() TO pg_monitor;
GRANT SELECT ON veza_backup_schedule TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_archive() TO pg_monitor;
GRANT SELECT ON veza_backup_archive TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_recovery_window() TO pg_monitor;
GRANT SELECT ON veza_backup_recovery_window TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_archive_ranges() TO pg_monitor;
GRANT SELECT ON veza_backup_archive_ranges TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_drills() TO pg_monitor;
GRANT SELECT ON veza_backup_drills TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_metrics() TO pg_monitor;
GRANT SELECT ON veza_backup_metrics TO pg_monitor;
