-- The ten columns of the contract, by these names for good; people and other programs read them.
CREATE TABLE sync_failures (
    id              TEXT PRIMARY KEY,
    entity_type     TEXT NOT NULL,
    entity_id       TEXT NOT NULL,
    action          TEXT NOT NULL,
    error           TEXT NOT NULL,
    payload         TEXT,
    retry_count     INTEGER DEFAULT 0,
    last_retry_at   TIMESTAMP,
    created_at      TIMESTAMP,
    updated_at      TIMESTAMP,
    -- What the agent needs beside them.
    seq             INTEGER NOT NULL,
    status          TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'held', 'critical')),
    next_retry_at   TIMESTAMP,          -- for people
    due_at          INTEGER,            -- agent time, ms; NULL: waits for the line
    recorded_at     INTEGER NOT NULL,   -- agent time, ms
    upstream        TEXT,               -- NULL: there was none
    order_key       TEXT,               -- NULL: the entity
    idempotency_key TEXT,               -- NULL: the id
    payload_kind    TEXT CHECK (payload_kind IN ('json', 'text')),
    http_status     INTEGER,
    error_class     TEXT,
    source_uid      INTEGER,
    source_pid      INTEGER,
    terminal_id     TEXT NOT NULL,
    store_id        TEXT,
    head            INTEGER NOT NULL,   -- 1: no older live failure has its order key
    uncounted       INTEGER NOT NULL,   -- 1: never tried, or its last try was not counted
    attempts        INTEGER NOT NULL DEFAULT 0,
    unsure          INTEGER NOT NULL DEFAULT 0,  -- 1: a try may have arrived without our knowing
    -- What the policy remembers of it, as JSON (NULL: nothing), and of that what is looked for.
    dossier         TEXT,
    counted_under   INTEGER,            -- the upstream's acceptance number of counts that may be given back
    counted_out_at  INTEGER,            -- agent time at which its budget was used up
    bound_until     INTEGER,            -- agent time until which the upstream asked it to wait
    last_sent_at    INTEGER             -- agent time
);

CREATE UNIQUE INDEX sync_failures_seq ON sync_failures (seq);
-- The entity's failures, and its order of delivery.
CREATE INDEX sync_failures_entity ON sync_failures (entity_type, entity_id, order_key, seq);
CREATE INDEX sync_failures_retry ON sync_failures (retry_count, created_at);
-- The order of delivery under an explicit order key.
CREATE INDEX sync_failures_order ON sync_failures (order_key, seq) WHERE order_key IS NOT NULL;
-- What is due: only heads, so that a million blocked behind one cost nothing.
CREATE INDEX sync_failures_due ON sync_failures (upstream, due_at, seq) WHERE head = 1 AND status = 'pending';
-- Whom a canary takes: of each route (type and action) the head that was tried longest ago.
CREATE INDEX sync_failures_canary ON sync_failures (upstream, entity_type, action, last_sent_at, seq)
    WHERE head = 1 AND status = 'pending';
-- Counts that may be given back, and critical ones that may get a second chance; usually few.
CREATE INDEX sync_failures_counted ON sync_failures (upstream, counted_under) WHERE counted_under IS NOT NULL;
CREATE INDEX sync_failures_chance ON sync_failures (upstream, seq) WHERE counted_out_at IS NOT NULL;
-- What was recorded while there was no upstream, or no route to one; usually empty.
CREATE INDEX sync_failures_homeless ON sync_failures (seq) WHERE upstream IS NULL;
-- What needs a person; usually empty.
CREATE INDEX sync_failures_person ON sync_failures (status, seq) WHERE status <> 'pending';

-- Every try; it outlives the failure.
CREATE TABLE sync_attempts (
    id          INTEGER PRIMARY KEY,
    failure_id  TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id   TEXT NOT NULL,
    action      TEXT NOT NULL,
    attempt     INTEGER NOT NULL,       -- counts all tries of the failure, from 1
    trigger     TEXT NOT NULL CHECK (trigger IN ('auto', 'manual', 'probe', 'verify')),
    upstream    TEXT NOT NULL,
    started_at  TIMESTAMP NOT NULL,
    duration_ms INTEGER NOT NULL,
    http_status INTEGER,
    class       TEXT NOT NULL,
    error       TEXT,
    response    TEXT,                   -- at most 2 KiB
    counted     INTEGER NOT NULL,
    provisional INTEGER NOT NULL DEFAULT 0,
    why         TEXT
);
CREATE INDEX sync_attempts_failure ON sync_attempts (failure_id, id);

-- What people did; one row a failure.
CREATE TABLE audit_log (
    id            INTEGER PRIMARY KEY,
    at            TIMESTAMP NOT NULL,
    actor_uid     INTEGER,
    actor_name    TEXT,
    claimed_by    TEXT,                 -- what the actor says of itself: not proven
    operation     TEXT NOT NULL,
    failure_id    TEXT,
    reason        TEXT,
    sha256_before TEXT,
    sha256_after  TEXT,
    old_payload   TEXT
);
CREATE INDEX audit_log_failure ON audit_log (failure_id, id) WHERE failure_id IS NOT NULL;

-- The keys that applications gave; each user has its own.
CREATE TABLE idempotency_keys (
    source_uid INTEGER NOT NULL,
    key        TEXT NOT NULL,
    failure_id TEXT NOT NULL,
    sha256     BLOB NOT NULL,
    outcome    TEXT,                    -- NULL: live
    left_at    TIMESTAMP,
    PRIMARY KEY (source_uid, key)
) WITHOUT ROWID;

-- Where each upstream stands; the state is the policy's, as JSON.
CREATE TABLE upstreams (
    name       TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    ordering   TEXT NOT NULL DEFAULT 'key',   -- as it was when heads were marked
    updated_at TIMESTAMP NOT NULL
);

-- The agent's own row, written with every round.
CREATE TABLE agent (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    agent_time INTEGER NOT NULL,        -- ms that the agent has lived
    wall_time  INTEGER NOT NULL,        -- ms since 1970, when that was written
    next_seq   INTEGER NOT NULL,
    live       INTEGER NOT NULL,        -- rows of sync_failures
    routes     TEXT NOT NULL DEFAULT '' -- by which upstreams were chosen
);
INSERT INTO agent (id, agent_time, wall_time, next_seq, live) VALUES (1, 0, 0, 1, 0);
