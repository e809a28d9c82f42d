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
    OUT detail text)
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
GRANT EXECUTE ON FUNCTION veza_backup_info() TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_progress() TO pg_monitor;
GRANT SELECT ON veza_backup_progress TO pg_monitor;
GRANT EXECUTE ON FUNCTION veza_backup_get_schedule() TO pg_monitor;
GRANT SELECT ON veza_backup_schedule TO pg_monitor;
