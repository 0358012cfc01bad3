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
