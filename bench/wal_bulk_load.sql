-- For pgbench: 4,000 rows, some 3 MB of WAL.
\set start random(1, 46000)
INSERT INTO events
SELECT nextval('loaded'), created + random() * interval '1 day', random() * 100000, amount, md5(random()::text), body
FROM corpus WHERE id BETWEEN :start AND :start + 3999;
