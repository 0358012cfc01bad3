-- The database of one terminal. Only the agent writes to it; people and other programs may read it with
-- any SQLite client while the agent runs.
--
-- Two kinds of time occur. TIMESTAMP columns are UTC text for people, '2026-11-24 06:12:34.123', and
-- nothing depends on them. INTEGER times are agent time: milliseconds that the agent has lived, which a
-- wall clock that jumps does not move. What is due, and how old something is, follows from agent time.

-- Every failure that is neither delivered nor removed. The first ten columns are a contract: their names
-- and meanings are permanent.
CREATE TABLE sync_failures (
    id              TEXT PRIMARY KEY,
    entity_type     TEXT NOT NULL,
    entity_id       TEXT NOT NULL,
    action          TEXT NOT NULL,
    error           TEXT NOT NULL,      -- the last error message that counted
    payload         TEXT,               -- what is to be sent, byte for byte
    retry_count     INTEGER DEFAULT 0,  -- failed retries that counted
    last_retry_at   TIMESTAMP,
    created_at      TIMESTAMP,
    updated_at      TIMESTAMP,

    -- Insertion number, never used twice, and the order of delivery. The agent keeps it equal to the
    -- rowid, so that every index ends with it.
    seq             INTEGER NOT NULL,
    status          TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'held', 'critical')),
    next_retry_at   TIMESTAMP,          -- due_at for people
    due_at          INTEGER,            -- agent time; NULL: as soon as the upstream is available
    recorded_at     INTEGER NOT NULL,   -- agent time
    upstream        TEXT,               -- NULL: no route led to an upstream
    order_key       TEXT,               -- NULL: the order is that of the entity
    idempotency_key TEXT,               -- NULL: the id
    payload_kind    TEXT CHECK (payload_kind IN ('json', 'text', 'bytes')),  -- bytes: payload is a BLOB
    http_status     INTEGER,            -- of the last attempt that counted
    error_class     TEXT,
    source_uid      INTEGER,            -- user and process that recorded it
    source_pid      INTEGER,
    terminal_id     TEXT NOT NULL,
    store_id        TEXT,
    head            INTEGER NOT NULL,   -- 1: no older live failure has its order key
    uncounted       INTEGER NOT NULL,   -- 1: never attempted, or its last attempt did not count
    attempts        INTEGER NOT NULL DEFAULT 0,
    unsure          INTEGER NOT NULL DEFAULT 0,  -- 1: an attempt may have been accepted without a response

    -- What the delivery policy remembers of it, as JSON (NULL: nothing). The columns below repeat the parts
    -- of it that are searched.
    retry_state     TEXT,
    refundable_under INTEGER,           -- the upstream's acceptance number under which counts can be refunded
    exhausted_at    INTEGER,            -- agent time at which its retry budget was used up
    retry_after_until INTEGER,          -- agent time until which the upstream asked it to wait
    last_sent_at    INTEGER,            -- agent time

    recorded_key    TEXT,               -- the application's own key, after an edit has replaced it
    -- Checksum of id, idempotency_key, entity, action and payload as the agent wrote them (src/store/checksum.rs). It is
    -- compared before every attempt, so that damaged content is never sent. NULL: not known, so not compared.
    content_checksum INTEGER,
    imported_at     INTEGER,            -- agent time from which retention counts; NULL: recorded_at
    strict          INTEGER NOT NULL DEFAULT 0  -- 1: its upstream delivers in the order of recording, whatever the key
);

-- The failures of an entity, in the order of delivery.
CREATE INDEX sync_failures_entity ON sync_failures (entity_type, entity_id, order_key);
CREATE INDEX sync_failures_retry ON sync_failures (retry_count, created_at);
-- The order of delivery under an explicit order key.
CREATE INDEX sync_failures_order ON sync_failures (order_key) WHERE order_key IS NOT NULL;
-- What is due: heads only, so that a million failures blocked behind one cost nothing.
CREATE INDEX sync_failures_due ON sync_failures (upstream, due_at) WHERE head = 1 AND status = 'pending';
-- Candidates for a canary: of each route (type and action) the head that was sent longest ago.
CREATE INDEX sync_failures_canary ON sync_failures (upstream, entity_type, action, last_sent_at)
    WHERE head = 1 AND status = 'pending';
-- Counts that can be refunded, and critical failures that may get a second chance; usually few.
CREATE INDEX sync_failures_counted ON sync_failures (upstream, refundable_under) WHERE refundable_under IS NOT NULL;
CREATE INDEX sync_failures_chance ON sync_failures (upstream) WHERE exhausted_at IS NOT NULL;
-- The oldest live failure of an upstream with strict order: its front, even beside a long backlog of another upstream.
CREATE INDEX sync_failures_strict ON sync_failures (upstream) WHERE strict = 1;
-- Recorded while there was no upstream, or no route to one, by status: those without a route are critical, and keep
-- their place as long as the routes stay the same.
CREATE INDEX sync_failures_unrouted ON sync_failures (status) WHERE upstream IS NULL;
-- What needs a person, by number and by age; usually empty.
CREATE INDEX sync_failures_person ON sync_failures (status) WHERE status <> 'pending';
CREATE INDEX sync_failures_cases ON sync_failures (status, created_at) WHERE status <> 'pending';

-- Every attempt. It outlives its failure, so it repeats what identifies that.
CREATE TABLE sync_attempts (
    id          INTEGER PRIMARY KEY,
    failure_id  TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id   TEXT NOT NULL,
    action      TEXT NOT NULL,
    attempt     INTEGER NOT NULL,       -- numbers all attempts of the failure, from 1
    trigger     TEXT NOT NULL CHECK (trigger IN ('auto', 'manual', 'probe', 'verify')),
    upstream    TEXT NOT NULL,
    started_at  TIMESTAMP NOT NULL,
    duration_ms INTEGER NOT NULL,
    http_status INTEGER,
    class       TEXT NOT NULL,
    error       TEXT,
    response    TEXT,                   -- at most 2 KiB of it
    counted     INTEGER NOT NULL,
    provisional INTEGER NOT NULL DEFAULT 0,
    why         TEXT
);
CREATE INDEX sync_attempts_failure ON sync_attempts (failure_id, id);
-- The history of an entity, and of a span of time; deliveries in it are counted in the index.
CREATE INDEX sync_attempts_entity ON sync_attempts (entity_type, entity_id, started_at);
CREATE INDEX sync_attempts_time ON sync_attempts (started_at, class);

-- What people did, one row for each failure. It describes the failure as it was then, and outlives it.
CREATE TABLE audit_log (
    id            INTEGER PRIMARY KEY,
    at            TIMESTAMP NOT NULL,
    actor_uid     INTEGER,
    actor_name    TEXT,
    claimed_by    TEXT,                 -- what the actor says of itself; not verified
    operation     TEXT NOT NULL,
    failure_id    TEXT,
    reason        TEXT,
    sha256_before TEXT,
    sha256_after  TEXT,
    old_payload   TEXT,
    seq           INTEGER,
    entity_type   TEXT,
    entity_id     TEXT,
    action        TEXT,
    changes       TEXT                  -- other fields that an edit changed: a JSON object of old and new values
);
CREATE INDEX audit_log_failure ON audit_log (failure_id, id) WHERE failure_id IS NOT NULL;
CREATE INDEX audit_log_entity ON audit_log (entity_type, entity_id, at) WHERE entity_id IS NOT NULL;
CREATE INDEX audit_log_time ON audit_log (at);
-- What left undelivered.
CREATE INDEX audit_log_removed ON audit_log (at) WHERE operation IN ('discard', 'cleanup');

-- The idempotency keys that applications gave. Each user has its own; users may share one only for the same content,
-- because the upstream sees the key alone.
CREATE TABLE idempotency_keys (
    key        TEXT NOT NULL,
    source_uid INTEGER NOT NULL,
    failure_id TEXT NOT NULL,
    sha256     BLOB NOT NULL,           -- of the content that was recorded under it
    outcome    TEXT,                    -- how its failure left; NULL: it is live
    left_at    TIMESTAMP,
    left_by    INTEGER,                 -- agent time by which it had left; NULL: the next clean-up sets it
    PRIMARY KEY (key, source_uid)
) WITHOUT ROWID;
-- With the user, so that no entry is shaped like one of an index of failures, by which a salvage counts them.
CREATE INDEX idempotency_keys_left ON idempotency_keys (left_by, source_uid) WHERE outcome IS NOT NULL;

-- The policy's state of each upstream, as JSON.
CREATE TABLE upstreams (
    name       TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    ordering   TEXT NOT NULL DEFAULT 'key',   -- under which heads were marked
    updated_at TIMESTAMP NOT NULL
);

-- The agent's own row, written with every round.
CREATE TABLE agent (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    agent_time INTEGER NOT NULL,
    wall_time  INTEGER NOT NULL,        -- ms since 1970, when agent_time was written
    next_seq   INTEGER NOT NULL,
    live       INTEGER NOT NULL,        -- rows of sync_failures
    routes     TEXT NOT NULL DEFAULT '',-- routes under which upstreams were chosen
    instance   TEXT NOT NULL            -- names this database; the state directory remembers it
);
INSERT INTO agent (id, agent_time, wall_time, next_seq, live, instance)
    VALUES (1, 0, 0, 1, 0, lower(hex(randomblob(16))));

-- Alerts that are active, and those that have ended recently, so that a restart repeats nothing.
CREATE TABLE alerts (
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,           -- an upstream, an entity, a quarantine; '': the terminal
    active     INTEGER NOT NULL,
    since      TIMESTAMP NOT NULL,
    cleared_at TIMESTAMP,
    message    TEXT NOT NULL,
    amount     INTEGER NOT NULL,        -- the number in the message
    changed_at INTEGER NOT NULL,        -- agent time
    untold     INTEGER NOT NULL,        -- 1: its last change was not announced yet
    told_at    INTEGER,                 -- agent time of the last announcement of its kind
    PRIMARY KEY (kind, subject)
);

-- For the clean-up: rows of the history up to these were written by that agent time.
CREATE TABLE history_marks (
    agent_time INTEGER PRIMARY KEY,
    attempt_id INTEGER NOT NULL,
    audit_id   INTEGER NOT NULL
);

-- For the clean-up: agent time at which a file of the archive got its last line.
CREATE TABLE archive_files (
    name       TEXT PRIMARY KEY,
    written_at INTEGER NOT NULL
);

-- When the last clean-up ended, and the earliest time of the next one; agent time.
CREATE TABLE clean_up (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    ended_at   INTEGER,
    not_before INTEGER
);
INSERT INTO clean_up (id) VALUES (1);

-- What happened in each five minutes of agent time, for thirty days. In an interval without a row nothing
-- happened; the numbers of live failures are then those of the last row before it.
CREATE TABLE series (
    bucket     INTEGER NOT NULL,            -- agent time ÷ 5 min
    upstream   TEXT NOT NULL,               -- '': the terminal as a whole
    wall_time  INTEGER,                     -- of the terminal: ms since 1970 at its beginning
    recorded   INTEGER NOT NULL DEFAULT 0,
    delivered  INTEGER NOT NULL DEFAULT 0,  -- from here on of an upstream
    failed     INTEGER NOT NULL DEFAULT 0,  -- attempts that were neither accepted nor refused
    refused    INTEGER NOT NULL DEFAULT 0,
    offline_ms INTEGER NOT NULL DEFAULT 0,  -- up to the interval's end: more than 5 min reach back before it
    shut_ms    INTEGER NOT NULL DEFAULT 0,  -- the same: reached, but blocked, failing, or paused by a person
    pending    INTEGER NOT NULL DEFAULT 0,  -- from here on of the terminal, as it was last
    critical   INTEGER NOT NULL DEFAULT 0,
    held       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, upstream)
) WITHOUT ROWID;

-- Pages that are kept for outcomes on a full disk: rows of zeros, which are deleted when outcomes need their room.
CREATE TABLE reserve (
    id   INTEGER PRIMARY KEY,
    room BLOB NOT NULL
);
