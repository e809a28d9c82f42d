\echo Use "ALTER EXTENSION veza_backup UPDATE TO '0.2'" to load this file. \quit

-- Rules for this file and later upgrade scripts (test/server/029_upgrade.pl and
-- 028_hostile_database.pl check them):
--
-- 1. A function that exists keeps its arguments and columns. New ones come after them, because a library also serves
--    older definitions.
-- 2. Every operator and function is named with its schema, pg_catalog. The script runs as a superuser in a schema where
--    others may have created functions with a better match of arguments. So NULLIF and IN over mixed types are not used.

-- The same views as in 0.1, but with names that mean the same in every schema.
CREATE OR REPLACE VIEW veza_backup_progress AS
SELECT pid, type, label, phase, started_at, bytes_total, bytes_done, files_total, files_done,
       bytes_stored,
       CASE WHEN seconds OPERATOR(pg_catalog.<>) 0::double precision
           THEN (bytes_done::double precision OPERATOR(pg_catalog./) seconds)::bigint END
           AS bytes_per_second,
       CASE WHEN phase OPERATOR(pg_catalog.=) 'copying files'::text
               AND bytes_done OPERATOR(pg_catalog.>) 0::bigint
           THEN pg_catalog.make_interval(secs =>
               greatest(bytes_total OPERATOR(pg_catalog.-) bytes_done, 0::bigint)::double precision
               OPERATOR(pg_catalog.*) seconds
               OPERATOR(pg_catalog./) bytes_done::double precision) END AS time_left,
       throttled
  FROM veza_backup_get_progress(),
       LATERAL (SELECT extract(epoch FROM pg_catalog.clock_timestamp()
                                          OPERATOR(pg_catalog.-) copying_since)::double precision)
           AS elapsed (seconds);

CREATE OR REPLACE VIEW veza_backup_archive AS
SELECT ready_files, ready_bytes, oldest_ready, oldest_ready_since,
       pg_catalog.now() OPERATOR(pg_catalog.-) oldest_ready_since AS oldest_ready_age,
       in_flight, stored_ahead, compression_level, wal_rate, archive_rate, time_to_drain,
       disk_free, disk_size, time_until_disk_full,
       CASE WHEN observed_at IS NOT NULL
            THEN greatest(pg_catalog.now() OPERATOR(pg_catalog.-) exposed_since, interval '0')
            END AS exposure,
       last_stored, last_stored_at, stored_count, stored_bytes, sealed_bytes,
       failing, last_failed, last_failed_at, last_error, last_error_hint, failed_count, retries,
       last_conflict, last_conflict_at, conflict_error, conflict_count,
       last_dropped, last_dropped_at, dropped_count, gaps, first_gap, gaps_checked_at
  FROM veza_backup_get_archive();

CREATE PROCEDURE veza_backup_take(
    type text,
    fast boolean DEFAULT true,
    wait_for_running boolean DEFAULT false,
    INOUT label text DEFAULT NULL)
AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON PROCEDURE veza_backup_take(text, boolean, boolean, text) IS
'takes a backup and returns its label, holding no snapshot while it runs; wait_for_running: first waits for a backup that is running';
REVOKE ALL ON PROCEDURE veza_backup_take(text, boolean, boolean, text) FROM PUBLIC;

CREATE FUNCTION veza_backup_create_restore_point(
    name text,
    OUT lsn pg_lsn,
    OUT newest_backup text)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_create_restore_point(text) IS
'makes a restore point for vezactl restore --target-name, and returns its LSN and the label of the newest backup that leads there';
REVOKE ALL ON FUNCTION veza_backup_create_restore_point(text) FROM PUBLIC;

CREATE FUNCTION veza_backup_timeline(
    from_time timestamptz DEFAULT NULL,
    to_time timestamptz DEFAULT NULL,
    bucket interval DEFAULT '1 minute',
    OUT "time" timestamptz,
    OUT timeline integer,
    OUT commits bigint,
    OUT aborts bigint,
    OUT wal_bytes bigint,
    OUT images bigint,
    OUT image_bytes bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_timeline(timestamptz, timestamptz, interval) IS
'the load of the cluster in buckets of time, from the WAL in the repository';

CREATE FUNCTION veza_backup_timeline_events(
    from_time timestamptz DEFAULT NULL,
    to_time timestamptz DEFAULT NULL,
    OUT "time" timestamptz,
    OUT time_is_exact boolean,
    OUT timeline integer,
    OUT lsn pg_lsn,
    OUT xid xid,
    OUT kind text,
    OUT detail text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_timeline_events(timestamptz, timestamptz) IS
'what happened in the cluster, from the WAL in the repository: restore points, checkpoints, what was dropped or truncated, backups, gaps';

CREATE FUNCTION veza_backup_timeline_transactions(
    around timestamptz,
    within interval DEFAULT '1 minute',
    OUT "time" timestamptz,
    OUT timeline integer,
    OUT lsn pg_lsn,
    OUT xid xid,
    OUT committed boolean,
    OUT prepared boolean,
    OUT database oid,
    OUT relations jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_timeline_transactions(timestamptz, interval) IS
'the transactions that ended around a moment, and what each has changed; lsn and xid are targets for vezactl restore';

REVOKE ALL ON FUNCTION veza_backup_timeline(timestamptz, timestamptz, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_timeline_events(timestamptz, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_timeline_transactions(timestamptz, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION veza_backup_timeline(timestamptz, timestamptz, interval) TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_timeline_events(timestamptz, timestamptz) TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_timeline_transactions(timestamptz, interval) TO pg_monitor;
