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
    OUT detail text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_info() IS 'the backups in the repository';

CREATE FUNCTION veza_backup_check(
    OUT name text,
    OUT passed boolean,
    OUT detail text,
    OUT hint text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION veza_backup_check() IS
'tests settings, store, identity and archiving (switches to a new WAL segment), one row a check';

-- What acts, and what talks to the store with the server's credentials, is for superusers until
-- granted. What only looks is for monitoring.
REVOKE ALL ON FUNCTION veza_backup_init(boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_now(text, boolean, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_check() FROM PUBLIC;
REVOKE ALL ON FUNCTION veza_backup_info() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION veza_backup_info() TO pg_monitor;
