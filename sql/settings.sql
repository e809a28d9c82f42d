-- The settings, and the values that they refuse. ALTER SYSTEM runs the same checks as a reload.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS veza_backup;
RESET client_min_messages;

SELECT name, vartype, context, unit, min_val, max_val, boot_val
  FROM pg_settings WHERE name LIKE 'veza\_backup.%' ORDER BY name;
SELECT name, setting, reset_val FROM pg_settings
 WHERE name IN ('veza_backup.cipher_passphrase', 'veza_backup.cluster') ORDER BY name;

-- Neither in a session nor with an unknown name
SET veza_backup.cluster = 'other';
SET veza_backup.nonsense = 1;

ALTER SYSTEM SET veza_backup.repository = 'relative/path';
ALTER SYSTEM SET veza_backup.repository = 'ftp://example.com/backups';
ALTER SYSTEM SET veza_backup.repository = 's3://';
ALTER SYSTEM SET veza_backup.repository = 's3://Not_A_Bucket/x';
ALTER SYSTEM SET veza_backup.repository = '<repository>';
ALTER SYSTEM SET veza_backup.mirror = 'relative/path';
ALTER SYSTEM SET veza_backup.mirror_config = 'mirror.conf';
ALTER SYSTEM SET veza_backup.cluster = '';
ALTER SYSTEM SET veza_backup.cluster = '../other';
ALTER SYSTEM SET veza_backup.cluster = 'two words';
ALTER SYSTEM SET veza_backup.s3_endpoint = 'minio.example.com:9000';
ALTER SYSTEM SET veza_backup.s3_endpoint = 'https://user:password@minio.example.com';
ALTER SYSTEM SET veza_backup.s3_uri_style = 'dns';
ALTER SYSTEM SET veza_backup.s3_conditional_writes = 'off';
ALTER SYSTEM SET veza_backup.s3_region = 'us east';
ALTER SYSTEM SET veza_backup.s3_checksum = 'crc32';
ALTER SYSTEM SET veza_backup.s3_storage_class = 'DEEP_ARCHIVE';
ALTER SYSTEM SET veza_backup.s3_storage_class = 'two words';
ALTER SYSTEM SET veza_backup.s3_sse = 'aes128';
ALTER SYSTEM SET veza_backup.s3_sse_kms_key_id = 'two words';
ALTER SYSTEM SET veza_backup.s3_sse_customer_key_file = 'key';
ALTER SYSTEM SET veza_backup.s3_tags = 'project';
ALTER SYSTEM SET veza_backup.s3_tags = 'aws:project=shop';
ALTER SYSTEM SET veza_backup.s3_proxy = 'proxy.example.com:3128';
ALTER SYSTEM SET veza_backup.s3_proxy = 'http://user:password@proxy.example.com:3128';
ALTER SYSTEM SET veza_backup.s3_proxy = 'http://proxy.example.com';
ALTER SYSTEM SET veza_backup.s3_proxy_login_file = '/nonexistent/login';
ALTER SYSTEM SET veza_backup.s3_ca_file = 'ca.pem';
ALTER SYSTEM SET veza_backup.s3_ca_file = '/nonexistent/ca.pem';
ALTER SYSTEM SET veza_backup.s3_access_key = 'CHANGEME';
ALTER SYSTEM SET veza_backup.s3_access_key = 'YOUR_ACCESS_KEY';
ALTER SYSTEM SET veza_backup.s3_secret_key = '<secret key>';
ALTER SYSTEM SET veza_backup.s3_secret_key = 'xxxxxxxx';
ALTER SYSTEM SET veza_backup.s3_secret_key = E'two\nlines';
ALTER SYSTEM SET veza_backup.s3_secret_key_file = 'key';
ALTER SYSTEM SET veza_backup.s3_secret_key_file = '/nonexistent/key';
ALTER SYSTEM SET veza_backup.s3_credentials = 'magic';
ALTER SYSTEM SET veza_backup.s3_session_token_file = 'token';
ALTER SYSTEM SET veza_backup.s3_credentials_file = 'credentials';
ALTER SYSTEM SET veza_backup.s3_profile = '[backup]';
ALTER SYSTEM SET veza_backup.s3_role_arn = 'backup';
ALTER SYSTEM SET veza_backup.s3_role_session_name = 'two words';
ALTER SYSTEM SET veza_backup.s3_web_identity_token_file = 'token';
ALTER SYSTEM SET veza_backup.s3_sts_endpoint = 'http://sts.example.com';
ALTER SYSTEM SET veza_backup.cipher = 'rot13';
ALTER SYSTEM SET veza_backup.find_changes = 'guess';
ALTER SYSTEM SET veza_backup.cipher_passphrase = 'changeme';
ALTER SYSTEM SET veza_backup.cipher_passphrase = 'fifteen letters';
ALTER SYSTEM SET veza_backup.cipher_passphrase = 'my very secret passphrase';
ALTER SYSTEM SET veza_backup.cipher_passphrase_file = '/etc/passwd';
ALTER SYSTEM SET veza_backup.compression_level = 20;
ALTER SYSTEM SET veza_backup.compression_level = -8;
ALTER SYSTEM SET veza_backup.jobs = 'many';
ALTER SYSTEM SET veza_backup.s3_connections = 0;
ALTER SYSTEM SET veza_backup.backup_wal_timeout = '5 parsecs';
ALTER SYSTEM SET veza_backup.archive_look_ahead = 65;
ALTER SYSTEM SET veza_backup.adaptive_compression = 'maybe';
ALTER SYSTEM SET veza_backup.wal_index = 'perhaps';
ALTER SYSTEM SET veza_backup.archive_drop_below = '5 percent';
ALTER SYSTEM SET veza_backup.metrics_file = 'veza.prom';
ALTER SYSTEM SET veza_backup.metrics_file = '/var/lib/metrics/veza.txt';
ALTER SYSTEM SET veza_backup.schedule_drill = 'weekly';
ALTER SYSTEM SET veza_backup.retention_full = -1;
ALTER SYSTEM SET veza_backup.retention_diff = 10001;
ALTER SYSTEM SET veza_backup.retention_incr = -1;
ALTER SYSTEM SET veza_backup.retention_archive = '4 weeks';
ALTER SYSTEM SET veza_backup.retention_keep = '7 hourly';
ALTER SYSTEM SET veza_backup.schedule_full = '0 2 * * 8';
ALTER SYSTEM SET veza_backup.schedule_full = '0 2 * *';
ALTER SYSTEM SET veza_backup.schedule_diff = '*/0 * * * *';
ALTER SYSTEM SET veza_backup.schedule_diff = '3/5 * * * *';
ALTER SYSTEM SET veza_backup.schedule_diff = '0 0 30 feb *';
ALTER SYSTEM SET veza_backup.schedule_diff = '@reboot';
ALTER SYSTEM SET veza_backup.schedule_incr = '@reboot';
ALTER SYSTEM SET veza_backup.schedule_timezone = 'Europe/Atlantis';
ALTER SYSTEM SET veza_backup.schedule_timezone = '';
ALTER SYSTEM SET veza_backup.backup_from = 'replica';
-- Out of range. The message has units since 17.
\set VERBOSITY sqlstate
ALTER SYSTEM SET veza_backup.archive_memory = '512kB';
ALTER SYSTEM SET veza_backup.archive_max_age = -1;
ALTER SYSTEM SET veza_backup.archive_shutdown_timeout = '2h';
ALTER SYSTEM SET veza_backup.archive_retry_timeout = '2h';
ALTER SYSTEM SET veza_backup.s3_request_timeout = 0;
ALTER SYSTEM SET veza_backup.restore_retry_timeout = 0;
ALTER SYSTEM SET veza_backup.schedule_jitter = '2d';
ALTER SYSTEM SET veza_backup.retention_window = '-1d';
\set VERBOSITY default

-- Accepted, in every form that the server can write
ALTER SYSTEM SET veza_backup.repository = 's3://bucket/some/prefix';
ALTER SYSTEM SET veza_backup.cipher = 'AES-256-CBC';
ALTER SYSTEM SET veza_backup.s3_verify_tls = 'no';
ALTER SYSTEM SET veza_backup.backup_wal_timeout = '5 min';
ALTER SYSTEM SET veza_backup.compression_level = -7;
ALTER SYSTEM SET veza_backup.cipher_passphrase = 'sixteen letters!';
ALTER SYSTEM SET veza_backup.schedule_full = '30 1 1,15 JAN-jun Sun';
ALTER SYSTEM SET veza_backup.retention_window = '14d';
ALTER SYSTEM SET veza_backup.retention_keep = '7 daily, 5 Weekly,12 monthly';
ALTER SYSTEM SET veza_backup.schedule_diff = '';
ALTER SYSTEM SET veza_backup.schedule_timezone = 'europe/berlin';
ALTER SYSTEM SET veza_backup.schedule_jitter = '1h';
ALTER SYSTEM SET veza_backup.backup_from = 'Prefer-Standby';
ALTER SYSTEM RESET ALL;
