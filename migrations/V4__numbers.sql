-- A failure's number is its row's own from here on: rowid = seq. That is an index less to write with every
-- record and every delivery; the others lose their last column, because SQLite ends each of their entries
-- with the rowid anyway.

-- What only a foreign hand can have written gets numbers behind all others: it would be in the way.
UPDATE sync_failures SET rowid = (SELECT max(0, max(rowid)) FROM sync_failures) + 1 - rowid WHERE rowid < 1;
UPDATE sync_failures
    SET seq = (SELECT max(next_seq, coalesce((SELECT max(seq) FROM sync_failures WHERE typeof(seq) = 'integer'), 0))
               FROM agent) + rowid
    WHERE typeof(seq) <> 'integer' OR seq < 1;
UPDATE agent SET next_seq = max(next_seq, coalesce((SELECT max(seq) FROM sync_failures), 0) + 1);

-- Rows that go down, of which there should be none, are out of the way until the others have gone up.
UPDATE sync_failures SET rowid = -seq
    WHERE rowid IN (SELECT rowid FROM sync_failures INDEXED BY sync_failures_seq WHERE seq < rowid);
CREATE TEMP TABLE renumbered AS
    SELECT rowid AS place, seq AS number FROM sync_failures INDEXED BY sync_failures_seq
    WHERE seq > rowid AND rowid > 0 ORDER BY seq DESC;

DROP INDEX sync_failures_seq;
DROP INDEX sync_failures_entity;
DROP INDEX sync_failures_retry;
DROP INDEX sync_failures_order;
DROP INDEX sync_failures_due;
DROP INDEX sync_failures_canary;
DROP INDEX sync_failures_counted;
DROP INDEX sync_failures_chance;
DROP INDEX sync_failures_homeless;
DROP INDEX sync_failures_person;

-- The highest first, so that each finds its place free: by a trigger, because an UPDATE has an order of its own.
-- (Two moves of all rows by way of negative numbers made the file more than half as large again.) In sixteen
-- parts, because SQLite keeps what a statement changes in memory until it ends.
CREATE TEMP TABLE renumbering (place INTEGER NOT NULL, number INTEGER NOT NULL);
CREATE TEMP TRIGGER renumbering_row AFTER INSERT ON renumbering BEGIN
    UPDATE sync_failures SET rowid = NEW.number WHERE rowid = NEW.place;
END;
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
INSERT INTO renumbering SELECT place, number FROM renumbered WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM renumbering) ORDER BY rowid LIMIT (SELECT count(*) / 16 + 1 FROM renumbered);
UPDATE sync_failures SET rowid = -rowid WHERE rowid < 0;
DROP TABLE renumbering;
DROP TABLE renumbered;

-- The entity's failures, and its order of delivery.
CREATE INDEX sync_failures_entity ON sync_failures (entity_type, entity_id, order_key);
CREATE INDEX sync_failures_retry ON sync_failures (retry_count, created_at);
-- The order of delivery under an explicit order key.
CREATE INDEX sync_failures_order ON sync_failures (order_key) WHERE order_key IS NOT NULL;
-- What is due: only heads, so that a million blocked behind one cost nothing.
CREATE INDEX sync_failures_due ON sync_failures (upstream, due_at) WHERE head = 1 AND status = 'pending';
-- Whom a canary takes: of each route (type and action) the head that was tried longest ago.
CREATE INDEX sync_failures_canary ON sync_failures (upstream, entity_type, action, last_sent_at)
    WHERE head = 1 AND status = 'pending';
-- Counts that may be given back, and critical ones that may get a second chance; usually few.
CREATE INDEX sync_failures_counted ON sync_failures (upstream, counted_under) WHERE counted_under IS NOT NULL;
CREATE INDEX sync_failures_chance ON sync_failures (upstream) WHERE counted_out_at IS NOT NULL;
-- What was recorded while there was no upstream, or no route to one; usually empty.
CREATE INDEX sync_failures_homeless ON sync_failures (upstream) WHERE upstream IS NULL;
-- What needs a person; usually empty.
CREATE INDEX sync_failures_person ON sync_failures (status) WHERE status <> 'pending';
