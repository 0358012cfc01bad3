-- What the clean-up must remember, all of it in agent time (ms), so that a wall clock that jumps makes
-- nothing old.

-- Up to which row of the history everything was written by then.
CREATE TABLE history_marks (
    agent_time INTEGER PRIMARY KEY,
    attempt_id INTEGER NOT NULL,
    audit_id   INTEGER NOT NULL
);

-- When a file of the archive got its last line.
CREATE TABLE archive_files (
    name       TEXT PRIMARY KEY,
    written_at INTEGER NOT NULL
);

-- When the last clean-up ended, and before when there is to be none.
CREATE TABLE clean_up (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    ended_at   INTEGER,
    not_before INTEGER
);
INSERT INTO clean_up (id) VALUES (1);

-- Since when a key's failure is known to have left; NULL: the next clean-up says so.
ALTER TABLE idempotency_keys ADD COLUMN left_by INTEGER;
CREATE INDEX idempotency_keys_left ON idempotency_keys (left_by) WHERE outcome IS NOT NULL;
