//! Every bound in one place: lines, buffers, batches, waits, texts.
//!
//! Constants are the protocol's and the agent's own; what an integrator may change is in
//! [`Limits`], with the defaults of `spec/04`.

use std::time::Duration;

/// What the section `[limits]` of the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients connected at once, on both sockets together.
    pub max_connections: usize,
    /// Bytes of a request line, without its end.
    pub max_line: usize,
    /// Bytes of a payload as it is stored.
    pub max_payload: usize,
    /// Live failures; one more is refused with `full`.
    pub max_failures: u64,
    /// Bytes of the database (pages in use) from which on recording is refused with `full`.
    pub max_database: u64,
    /// Bytes that must be free on the file system for a recording.
    pub min_free_disk: u64,
    /// What a card number in a payload or an error leads to.
    pub card_numbers: CardNumbers,
}

/// What a card number in a payload or an error leads to (`spec/04`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CardNumbers {
    /// A line in the log; the failure is recorded.
    #[default]
    Warn,
    /// `bad_request`; nothing is recorded.
    Refuse,
    /// Nobody looks.
    Off,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1000,
            max_line: 1 << 20,
            max_payload: 256 << 10,
            max_failures: 1_000_000,
            max_database: 1 << 30,
            min_free_disk: 64 << 20,
            card_numbers: CardNumbers::default(),
        }
    }
}

/// The hard limit of the file lies this much above the soft one, so that outcomes, deletions and
/// audit always have room (`spec/04`).
pub const OUTCOME_ROOM: u64 = 16 << 20;

/// JSON nesting of a request (`spec/02`).
pub const MAX_DEPTH: usize = 64;
/// Characters of an entity type or an action.
pub const MAX_NAME: usize = 64;
/// Characters of the id of a failure that is imported.
pub const MAX_ID: usize = 128;
/// Characters of an entity id, an order key.
pub const MAX_KEY: usize = 256;
/// Characters of an idempotency key.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;
/// Bytes of an error text; more is cut at a character boundary, with `…`.
pub const MAX_ERROR: usize = 8 << 10;
/// Bytes of the answer's excerpt in an attempt.
pub const MAX_EXCERPT: usize = 2 << 10;
/// Characters of a reason that a person gives.
pub const MAX_REASON: usize = 1000;

/// All buffers of all clients together; beyond it the largest one's client gets `busy`.
pub const MAX_BUFFERS: usize = 16 << 20;
/// Unread replies from which on a client is no longer read.
pub const MAX_UNREAD: usize = 256 << 10;
/// How long such a client may go on not reading.
pub const UNREAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a line may take from its first byte to its last.
pub const LINE_PATIENCE: Duration = Duration::from_secs(30);

/// Most failures of one page of `list`, and its default.
pub const MAX_PAGE: usize = 1000;
/// See [`MAX_PAGE`].
pub const DEFAULT_PAGE: usize = 50;
/// Bytes at which a page of `list` ends.
pub const MAX_PAGE_BYTES: usize = 1 << 20;
/// Failures that a bulk operation changes in one transaction.
pub const BULK_CHUNK: usize = 500;
/// Bytes of payloads from which on no more failures leave in one transaction: their lines are written
/// and synced while others wait.
pub const ARCHIVE_PIECE: usize = 1 << 20;
/// Ids that one request may name.
pub const MAX_IDS: usize = 1000;
/// Bulk operations and reader's questions that may wait at once; one more is `busy`.
pub const MAX_QUESTIONS: usize = 64;

/// How long `check` waits for the agent's answer; a monitoring system commonly gives up after 10 s.
pub const CHECK_PATIENCE: Duration = Duration::from_secs(8);
/// How often the metrics' text file is written (`spec/04`), and how long its writer waits for them.
pub const METRICS_EVERY: Duration = Duration::from_secs(15);
/// See [`METRICS_EVERY`].
pub const METRICS_PATIENCE: Duration = Duration::from_secs(60);
/// Types that have a name of their own in the metrics (`spec/07`); the rest is counted together.
pub const MAX_TYPES: usize = 50;

/// How long the time series is kept, in agent time.
pub const SERIES_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tries that a digest of the history looks at.
pub const MAX_DIGEST: usize = 200_000;
/// Points of an answer about the time series; a longer span gets longer steps.
pub const MAX_POINTS: i64 = 1000;

/// Routes (entity type and action) that a canary chooses among.
pub const MAX_ROUTES: usize = 200;

/// Bytes of an HTTP answer's body that are read; more is ignored.
pub const MAX_BODY: usize = 64 << 10;
/// Bytes of an HTTP answer's headers.
pub const MAX_HEADERS: usize = 16 << 10;
/// The longest `Retry-After` that is obeyed (`spec/03`).
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How long requests in flight may take at a stop.
pub const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a question that is being answered may take at a stop.
pub const READERS_LEAVE: Duration = Duration::from_secs(2);
/// How long `run` waits for the store's lock.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How often a store's lock that somebody holds is asked for again.
pub const LOCK_ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a foreign lock may stall the loop.
pub const BUSY_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that are held back for outcomes on a full disk, at most; and a sixteenth of what is free.
pub const BALLAST: u64 = 1 << 20;
/// With less there is none: outcomes need some pages for each try.
pub const LEAST_BALLAST: u64 = 64 << 10;
/// Free bytes from which on SQLite's log goes into the file at once, while the file can still grow:
/// as much as a whole ballast asks for.
pub const SCARCE_DISK: u64 = 16 * BALLAST;
/// Free bytes that others may use up between two looks at the disk: what a quick one writes in two seconds.
pub const SUDDEN_DISK: u64 = 1 << 30;
/// Bytes of SQLite's log at which people are told: somebody reads the file without an end.
pub const LARGE_LOG: u64 = 64 << 20;
/// … and at which recording is refused.
pub const MAX_LOG: u64 = 256 << 20;

/// Alerts of one kind that have their own place; one more stands for all others.
pub const ALERTS_OF_A_KIND: usize = 100;
/// A kind of alert speaks at most once in this time (`spec/03`).
pub const NOTICE_GAP: Duration = Duration::from_secs(3600);
/// How long an alert that has ended is shown (`spec/07`), and a happening stands.
pub const ALERT_TOLD_FOR: Duration = Duration::from_secs(24 * 3600);
/// How often alerts are judged while one is active and nothing happens (`spec/03`).
pub const ALERT_LOOK: Duration = Duration::from_secs(60);
/// How long an upstream has to be failing before somebody is told (`spec/03`).
pub const FAILING_FOR: Duration = Duration::from_secs(300);
/// An upstream's clock and ours may differ by so much.
pub const CLOCK_TOLERANCE_MS: u64 = 300_000;
/// Records and counted tries, of all entities, among which one that fails again and again is looked for.
pub const REMEMBERED_HAPPENINGS: usize = 16_384;
/// How long the program that is told of alerts may take.
pub const COMMAND_PATIENCE: Duration = Duration::from_secs(10);

/// A number of bytes for people: `1.4 MiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", number / unit, number % unit * 10 / unit);
    match number {
        0..1024 => format!("{number} B"),
        1024..1_048_576 => format!("{} KiB", tenths(1 << 10)),
        1_048_576..1_073_741_824 => format!("{} MiB", tenths(1 << 20)),
        _ => format!("{} GiB", tenths(1 << 30)),
    }
}

/// Cuts a text to at most `max` bytes, at a character boundary, and says so with `…`.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::{bytes, cut};

    #[test]
    fn bytes_for_people() {
        assert_eq!([bytes(1023), bytes(1_468_006), bytes(64 << 20)], ["1023 B", "1.3 MiB", "64.0 MiB"]);
    }

    #[test]
    fn cutting_keeps_characters_whole_and_the_bound() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("aaaaaaaaaa", 8), "aaaaa…");
        assert_eq!(cut("ääää", 7), "ää…");
        assert!(cut("ääääää", 8).len() <= 8);
    }
}
