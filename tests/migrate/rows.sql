-- 200 awkward rows of the server-side table: texts of all kinds, retries, times with zones and microseconds, rows that
-- an UPDATE has moved behind newer ones.
CREATE TABLE sync_failures (
    id            TEXT PRIMARY KEY,
    entity_type   TEXT NOT NULL,
    entity_id     TEXT NOT NULL,
    action        TEXT NOT NULL,
    error         TEXT NOT NULL,
    payload       TEXT,
    retry_count   INTEGER DEFAULT 0,
    last_retry_at TIMESTAMPTZ,
    created_at    TIMESTAMPTZ,
    updated_at    TIMESTAMPTZ
);
CREATE INDEX ON sync_failures (entity_type, entity_id);
CREATE INDEX ON sync_failures (retry_count, created_at);

INSERT INTO sync_failures
SELECT
    CASE n % 4 WHEN 0 THEN n::text WHEN 1 THEN 'c' || md5(n::text) WHEN 2 THEN gen_random_uuid()::text ELSE 'ROW/' || n || ':~!' END,
    (ARRAY['SALE', 'RETURN', 'Sales Invoice', 'STOCK'])[1 + n % 4],
    CASE WHEN n % 7 = 0 THEN 'ticket «' || n / 4 || '» 日本' ELSE 's-' || n / 4 END,
    CASE WHEN n % 4 = 0 THEN 'CREATE' WHEN n % 4 = 3 THEN 'DELETE' ELSE 'UPDATE' END,
    (ARRAY[
        'connect ETIMEDOUT', E'HTTP 500: line 1\nline 2\twith a tab', 'HTTP 422: "quoted" \ backslash', 'año 😀 — €',
        repeat('long ', 500)
    ])[1 + n % 5],
    (ARRAY[
        '{"total": 12.50, "big": 123456789012345678901234567890, "small": 1e-300}',
        '[1, [2, {"deep": [null, true, "\u00e1\\n"]}], "x"]',
        NULL,
        E'{\n  "pretty": true,\r\n  "note": "añ — 😀 \\"x\\""\n}\n',
        '<xml attr="1">&amp; not JSON</xml>',
        '"a string"', '0', '', 'null', '{"a": 1, "a": 2}', E'C:\\new\\table\\\\n', repeat('{"k": "', 1) || repeat('v', 20000) || '"}'
    ])[1 + n % 12],
    CASE n % 6 WHEN 0 THEN NULL ELSE n % 6 - 1 END,
    CASE WHEN n % 6 > 1 THEN now() - make_interval(mins => 200 - n) END,
    now() - make_interval(days => (200 - n) / 10, secs => 200 - n) + make_interval(secs => 0.123456),
    now() - make_interval(secs => 200 - n)
FROM generate_series(0, 199) AS n;

-- What the old job did: the row moves to the end of the table, its count goes up.
UPDATE sync_failures SET retry_count = coalesce(retry_count, 0) + 1, updated_at = now() WHERE action = 'CREATE' AND coalesce(retry_count, 0) < 2;
