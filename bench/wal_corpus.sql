-- Text as applications have it, for the bulk loads of wal.sh: words from a vocabulary, common ones more often.
-- 16 MB of it, so that no segment of WAL holds the same rows twice.
SELECT setseed(0.42) \g /dev/null

CREATE UNLOGGED TABLE corpus AS
WITH syllables AS (
  SELECT '{ka,ro,mi,ten,lo,sa,ver,in,da,bu,el,an,ti,gor,ne,sh,pre,con,ul,ist}'::text[] AS s
), vocabulary AS MATERIALIZED (
  -- "+ 0 * g": without it, the aggregate would belong to the outer query.
  SELECT array_agg(word) AS v
  FROM (SELECT (SELECT string_agg(s[1 + floor(random() * 20)::int + 0 * g], '')
                FROM generate_series(1, 1 + w % 4) g) AS word
        FROM syllables, generate_series(1, 6000) w) words
)
SELECT n AS id,
       timestamptz '2026-11-01' + n * interval '0.37 s' AS created,
       (random() * 100000)::numeric(12, 2) AS amount,
       (SELECT string_agg(v[1 + floor(6000 * power(random(), 3))::int + 0 * g], ' ')
        FROM generate_series(1, 15 + n % 40) g) AS body
FROM vocabulary, generate_series(1, 50000) n;

CREATE INDEX ON corpus (id);
CREATE SEQUENCE loaded CACHE 1000;
CREATE TABLE events (id bigint, created timestamptz, customer int, amount numeric(12, 2), digest text, body text);
CREATE INDEX ON events (id);
CREATE INDEX ON events (customer);
