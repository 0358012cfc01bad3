-- What people are told of: what holds, and what has ended of late. So a restart says nothing twice.
CREATE TABLE alerts (
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,           -- an upstream, an entity, a quarantine; '': the terminal
    active     INTEGER NOT NULL,
    since      TIMESTAMP NOT NULL,
    cleared_at TIMESTAMP,
    message    TEXT NOT NULL,
    amount     INTEGER NOT NULL,        -- the number in the message
    changed_at INTEGER NOT NULL,        -- agent time, ms
    untold     INTEGER NOT NULL,        -- 1: nobody was told of its last change yet
    told_at    INTEGER,                 -- agent time at which people were last told of its kind
    PRIMARY KEY (kind, subject)
);

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

-- The application's own key, where an edit has given the failure another one.
ALTER TABLE sync_failures ADD COLUMN recorded_key TEXT;

-- What a deed was done to, as it was then: the audit outlives the failure.
ALTER TABLE audit_log ADD COLUMN seq INTEGER;
ALTER TABLE audit_log ADD COLUMN entity_type TEXT;
ALTER TABLE audit_log ADD COLUMN entity_id TEXT;
ALTER TABLE audit_log ADD COLUMN action TEXT;
-- What an edit changed beside the payload: a JSON object, to each name the old and the new value.
ALTER TABLE audit_log ADD COLUMN changes TEXT;

-- The history of an entity, and of a span of time; what was delivered in it is counted in the index.
CREATE INDEX sync_attempts_entity ON sync_attempts (entity_type, entity_id, started_at);
CREATE INDEX sync_attempts_time ON sync_attempts (started_at, class);
CREATE INDEX audit_log_entity ON audit_log (entity_type, entity_id, at) WHERE entity_id IS NOT NULL;
CREATE INDEX audit_log_time ON audit_log (at);
