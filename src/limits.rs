//! All bounds in one place: lines, buffers, batches, timeouts, texts.
//!
//! Constants are fixed by the protocol or the agent; the values that an integrator can change are in [`Limits`],
//! with their defaults.

use std::borrow::Cow;
use std::time::Duration;

/// The section `[limits]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum simultaneous connections to the app socket.
    pub max_connections: usize,
    /// Maximum bytes of a request line, without its end.
    pub max_line: usize,
    /// Maximum bytes of a stored payload.
    pub max_payload: usize,
    /// Maximum live failures; another one is rejected with `full`.
    pub max_failures: u64,
    /// Bytes of the database (pages in use) above which recording is rejected with `full`.
    pub max_database: u64,
    /// Bytes that must be free on the file system for recording.
    pub min_free_disk: u64,
    /// What happens if a payload or an error contains a card number.
    pub card_numbers: CardNumbers,
}

/// What happens if a payload or an error contains a card number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CardNumbers {
    /// It is logged; the failure is recorded.
    #[default]
    Warn,
    /// The request is rejected with `bad_request`.
    Refuse,
    /// Nothing is checked.
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

/// The hard limit of the file is this much above the soft one, so that delivery results, deletions and audit always
/// fit.
pub const OUTCOME_ROOM: u64 = 16 << 20;

/// History is deleted within this distance of the soft limit, or within a sixteenth of it where that is less.
pub const HISTORY_GAP: u64 = 16 << 20;

/// Maximum JSON nesting of a request.
pub const MAX_DEPTH: usize = 64;
/// Maximum names in one object of the protocol; names within a payload are not counted.
pub const MAX_NAMES: usize = 64;
/// Maximum bytes of an unknown name for which a similar known name is suggested.
pub const MAX_HINTED: usize = 64;
/// Maximum characters of a client's text that a message repeats.
pub const MAX_QUOTE: usize = 64;
/// Maximum characters of an entity type or an action.
pub const MAX_NAME: usize = 64;
/// Maximum characters of the id of an imported failure.
pub const MAX_ID: usize = 128;
/// Maximum characters of an entity id or an order key.
pub const MAX_KEY: usize = 256;
/// Maximum characters of an idempotency key.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;
/// Maximum bytes of an error text; a longer one is cut at a character boundary, with `…`.
pub const MAX_ERROR: usize = 8 << 10;
/// Maximum bytes of the response excerpt in an attempt.
pub const MAX_EXCERPT: usize = 2 << 10;
/// Maximum characters of an operator's reason.
pub const MAX_REASON: usize = 1000;

/// Memory of all buffers of all clients of the app socket. Beyond it the connection that holds most is closed.
pub const MAX_BUFFERS: usize = 24 << 20;
/// The same of the admin socket, which has its own: a reply to `list` may have six megabytes.
pub const MAX_ADMIN_BUFFERS: usize = 12 << 20;
/// Maximum connections to the admin socket, in addition to `limits.max_connections` of the app socket.
pub const ADMIN_CONNECTIONS: usize = 32;
/// Descriptors reserved for everything except clients: files, senders, probes.
pub const OWN_DESCRIPTORS: usize = 128;
/// Maximum connections that one pass of the loop accepts from each socket.
pub const ACCEPTED_AT_ONCE: usize = 64;
/// A connection that was active this recently is not closed in favour of a new one.
pub const ACTIVE: Duration = Duration::from_secs(1);
/// The same for a connection with an incomplete line or unread replies.
pub const HESITATING: Duration = Duration::from_secs(5);
/// How long no connection is accepted after the system had no descriptor or memory for one.
pub const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Maximum lines of all clients in one round.
pub const ROUND_LINES: usize = 2000;
/// Maximum bytes of these lines.
pub const ROUND_BYTES: usize = 1 << 20;
/// Time after which a round accepts no further line.
pub const ROUND_TIME: Duration = Duration::from_millis(50);
/// Maximum lines of one client in a round.
pub const LINES_OF_A_TURN: usize = 512;
/// Maximum and minimum bytes per read from a client.
pub const READ_AT_ONCE: (usize, usize) = (64 << 10, 4 << 10);

/// Bytes of a line up to which it is read without a pause, however short memory is.
pub const SHORT_LINE: usize = 128 << 10;

/// Unread replies from which on a client is no longer read.
pub const MAX_UNREAD: usize = 256 << 10;
/// Timeout of a client that does not read its replies.
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a closing client to read the rest.
pub const CLOSING_PATIENCE: Duration = Duration::from_secs(5);
/// Where memory is short, a line that has taken so long is given up before others.
pub const LINGERING: Duration = Duration::from_secs(1);
/// How long a line may take from its first byte to its last.
pub const LINE_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum failures in one page of `list`.
pub const MAX_PAGE: usize = 1000;
/// Default number of failures in one page of `list`.
pub const DEFAULT_PAGE: usize = 50;
/// Size in bytes at which a page of `list` ends.
pub const MAX_PAGE_BYTES: usize = 1 << 20;
/// Failures that a bulk operation changes in one transaction.
pub const BULK_CHUNK: usize = 500;
/// Maximum rows of a `replay`. A round brings back all of them: about 20 ms, while clients wait.
pub const MAX_REPLAYED: usize = 128;
/// Bytes of payloads after which a transaction changes or removes no more failures. SQLite writes a row as a whole, its
/// payload included, when one of its columns changes, and clients wait for that and for the sync of archive lines.
pub const ROUND_PAYLOADS: usize = 1 << 20;
/// Maximum ids in one request.
pub const MAX_IDS: usize = 1000;
/// Maximum concurrent bulk operations; another one is rejected with `busy`.
pub const MAX_QUESTIONS: usize = 64;

/// How long a command waits for a reply that needs no long work; monitoring systems commonly give up after 10 s.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a command that records waits for an agent that is restarting behind a socket of the service manager: a stop
/// may take [`STOP_TIMEOUT`], a start some seconds more.
pub const RESTART_TIMEOUT: Duration = Duration::from_secs(16);
/// How often the metrics file is written.
pub const METRICS_EVERY: Duration = Duration::from_secs(15);
/// How long the writer of the metrics file waits for the metrics.
pub const METRICS_TIMEOUT: Duration = Duration::from_secs(60);
/// Entity types with series of their own in the metrics; the rest is counted together.
pub const MAX_TYPES: usize = 50;

/// Entity types that the reply to `unsent` counts separately.
pub const MAX_UNSENT_TYPES: usize = 1000;

/// Retention of the time series, in agent time.
pub const SERIES_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Maximum attempts that a digest of the history reads.
pub const MAX_DIGEST: usize = 200_000;
/// Maximum points in a reply about the time series; a longer period gets longer steps.
pub const MAX_POINTS: i64 = 1000;

/// Maximum routes (entity type and action) that a canary is chosen from.
pub const MAX_ROUTES: usize = 200;

/// Maximum bytes read of an HTTP response body; the rest is ignored.
pub const MAX_BODY: usize = 64 << 10;
/// The same if a proof, an answer rule or a `verify` query reads the body.
pub const MAX_READ_BODY: usize = 1 << 20;
/// Maximum bytes of HTTP response headers.
pub const MAX_HEADERS: usize = 16 << 10;
/// Maximum `Retry-After` that is obeyed.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Timeout for requests in flight at a stop.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a running query at a stop.
pub const READER_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long `run` waits for the lock of the store.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of attempts to get a store lock that another process holds.
pub const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// How long a lock of another process may block the loop.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum bytes held back for delivery results on a full disk; at most a sixteenth of the free space.
pub const BALLAST: u64 = 1 << 20;
/// A smaller ballast would be useless: each delivery result needs some pages.
pub const LEAST_BALLAST: u64 = 64 << 10;
/// Bytes of pages kept inside the database for delivery results on a full disk.
pub const RESERVE: u64 = 1 << 20;
/// Free bytes below which the WAL is checkpointed at once, while the file can still grow: the free space that a
/// full ballast requires.
pub const CHECKPOINT_EARLY_BELOW: u64 = 16 * BALLAST;
/// Free bytes that other programs may use between two disk checks: what a fast disk writes in two seconds.
pub const DISK_CHECK_MARGIN: u64 = 1 << 30;
/// Bytes of the WAL at which the integrity check yields, so that SQLite can reuse the WAL.
pub const CHECK_LOG: u64 = 32 << 20;
/// Bytes of the WAL at which an alert is raised, because a reader keeps a transaction open.
pub const LARGE_LOG: u64 = 64 << 20;
/// Bytes of the WAL at which recording is rejected.
pub const MAX_LOG: u64 = 256 << 20;

/// Maximum alerts of one kind; one more represents all others.
pub const ALERTS_OF_A_KIND: usize = 100;
/// Minimum time between two notices of one kind of alert.
pub const NOTIFY_INTERVAL: Duration = Duration::from_secs(3600);
/// How long an alert that has ended is shown, and an event is active.
pub const ALERT_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// How often alerts are checked while one is active and no events arrive.
pub const ALERT_RECHECK_INTERVAL: Duration = Duration::from_secs(60);
/// How long an upstream has to be failing before an alert is raised.
pub const FAILING_ALERT_DELAY: Duration = Duration::from_secs(300);
/// How long a pause has to last, while something waits, before an alert is raised.
pub const PAUSED_FOR: Duration = Duration::from_secs(3600);
/// Tolerated difference between an upstream's clock and the terminal's, in ms.
pub const CLOCK_TOLERANCE_MS: u64 = 300_000;
/// Number of recorded failures and counted attempts, of all entities, in which repeatedly failing entities are
/// searched.
pub const MAX_ENTITY_EVENTS: usize = 16_384;
/// Timeout of the alert command.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Formats a number of bytes for display: `1.4 MiB`.
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

/// Truncates a text to at most `max` bytes, at a character boundary, and marks that with `…`.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

/// A client's text as quoted in a message: at most [`MAX_QUOTE`] characters, with `…` for the rest.
#[must_use]
pub fn quote(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_QUOTE) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, cut, quote};

    #[test]
    fn a_quotation_has_at_most_64_characters() {
        let longest = "ä".repeat(64);
        assert_eq!(quote(&longest), longest);
        assert_eq!(quote(&format!("{longest}ä")), format!("{longest}…"));
    }

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
