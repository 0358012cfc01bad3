-- What happened, by five minutes of agent time, for thirty days: so that people can look back. A row that
-- is not there is an interval in which nothing happened; the counts of what is live are then as in the
-- last row before it.
CREATE TABLE series (
    bucket     INTEGER NOT NULL,            -- agent time ÷ 5 min
    upstream   TEXT NOT NULL,               -- '': the terminal as a whole
    wall_time  INTEGER,                     -- of the terminal: ms since 1970 at its beginning
    recorded   INTEGER NOT NULL DEFAULT 0,
    delivered  INTEGER NOT NULL DEFAULT 0,  -- from here on of an upstream
    failed     INTEGER NOT NULL DEFAULT 0,  -- tries that did not deliver and were not refused
    refused    INTEGER NOT NULL DEFAULT 0,
    offline_ms INTEGER NOT NULL DEFAULT 0,  -- up to the interval's end: more than 5 min reach back before it
    shut_ms    INTEGER NOT NULL DEFAULT 0,  -- the same: reached, but blocked, failing, or paused by a person
    pending    INTEGER NOT NULL DEFAULT 0,  -- from here on of the terminal, as it was last
    critical   INTEGER NOT NULL DEFAULT 0,
    held       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, upstream)
) WITHOUT ROWID;
