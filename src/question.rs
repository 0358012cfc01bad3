//! Queries about stored data: filters, pages and access levels.
//!
//! Data types only. `wire` parses them from a request, `store::reader` answers them.

use crate::ids::{FailureName, Seq};
use crate::limits::{DEFAULT_PAGE, SERIES_KEPT};
use crate::moment::WallTime;
use crate::record::Status;
use std::time::Duration;

/// Default period of queries that have a `since`.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Selects failures; an absent field does not restrict the selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Stored status.
    pub status: Option<Status>,
    /// Exact entity type.
    pub entity_type: Option<String>,
    /// Exact entity id.
    pub entity_id: Option<String>,
    /// Exact order key, of failures recorded with one.
    pub order_key: Option<String>,
    /// Exact action.
    pub action: Option<String>,
    /// Destination upstream.
    pub upstream: Option<String>,
    /// Class of the last counted attempt.
    pub error_class: Option<String>,
    /// Created at or after this time, by the terminal's clock.
    pub since: Option<WallTime>,
    /// Created before this time.
    pub until: Option<WallTime>,
}

/// Direction of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Ascending,
    /// Newest first.
    Descending,
}

/// A page of failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Which failures to list.
    pub filter: Filter,
    /// Maximum number of failures, 1 to 1000.
    pub limit: usize,
    /// Continue after this one, in the list's direction.
    pub after: Option<ListCursor>,
    /// Direction of the list.
    pub direction: Direction,
    /// Include payloads.
    pub payload: bool,
    /// Include the number of matches; this reads every match.
    pub total: bool,
}

impl ListQuery {
    /// Critical and held failures are listed in the order of their times of recording, all others along the sequence
    /// numbers, which imported failures get again.
    #[must_use]
    pub fn is_by_time(&self) -> bool {
        matches!(self.filter.status, Some(Status::Critical | Status::Held))
    }
}

/// Position of a failure in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCursor {
    /// Time of recording, in the stored format, where that is the order.
    pub at: Option<String>,
    /// The sequence number.
    pub seq: Seq,
}

impl ListCursor {
    /// Parses what [`Display`](std::fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, seq) = match text.rsplit_once('~') {
            Some((at, seq)) => (Some(WallTime::parse(at).map_or_else(|| at.to_owned(), WallTime::sql)), seq),
            None => (None, text),
        };
        Some(Self { at, seq: Seq(seq.parse().ok()?) })
    }
}

impl std::fmt::Display for ListCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{}~", crate::record::wire_time(at))?;
        }
        self.seq.fmt(f)
    }
}

impl Default for ListQuery {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            limit: DEFAULT_PAGE,
            after: None,
            direction: Direction::Ascending,
            payload: false,
            total: true,
        }
    }
}

/// A page of attempts and operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Whose history.
    pub of: HistoryOf,
    /// At or after this time.
    pub since: Option<WallTime>,
    /// Continue after this entry, in the page's direction.
    pub after: Option<EntryCursor>,
    /// Maximum number of entries.
    pub limit: usize,
    /// Direction; oldest first by default.
    pub direction: Direction,
}

/// Scope of a history query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryOf {
    /// One failure, live or removed.
    Failure(FailureName),
    /// All failures of one entity.
    Entity(String, String),
    /// All failures of the entities with this id, whatever their type.
    EntityId(String),
    /// All failures.
    All,
    /// Removals of undelivered failures that have not been restored since.
    Removed,
    /// Accepted attempts.
    Delivered,
}

/// Position of an entry in the history. Within one millisecond an operation sorts before the attempt that it
/// triggered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryCursor {
    /// Time, in the stored format.
    pub at: String,
    /// True for an attempt, false for an operation.
    pub attempt: bool,
    /// The row id.
    pub row: i64,
}

impl EntryCursor {
    /// Parses what [`Display`](std::fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, rest) = text.split_once('~')?;
        let at = WallTime::parse(at)?.sql();
        let attempt = match rest.get(..1)? {
            "a" => true,
            "o" => false,
            _ => return None,
        };
        Some(Self { at, attempt, row: rest.get(1..)?.parse().ok()? })
    }
}

impl std::fmt::Display for EntryCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = crate::record::wire_time(&self.at);
        write!(f, "{at}~{}{}", if self.attempt { 'a' } else { 'o' }, self.row)
    }
}

/// Access level of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A local application: no payloads, response bodies or user ids.
    Application,
    /// Root and the agent's own user.
    Admin,
}

/// A query that may take long and therefore runs outside the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `list`
    List(ListQuery),
    /// `get`, when no agent is running
    Get(FailureName),
    /// `unsent`
    Unsent,
    /// `health`
    Health,
    /// `alerts`
    Alerts,
    /// Mean number of counted attempts of live failures; asked by the agent itself.
    MeanRetries,
    /// `metrics`
    Metrics,
    /// `history`
    History(HistoryQuery),
    /// `stats` since this time.
    Statistics(WallTime),
    /// `digest` since this time.
    Digest(WallTime),
    /// `series` over this period until now.
    Series(Duration),
    /// The numbers of the failures selected by a bulk operation, in chunks.
    Select {
        /// Which failures.
        filter: Filter,
        /// Continue after this one.
        after: Seq,
        /// Maximum chunk size.
        limit: usize,
    },
    /// The rest of the failures that a bulk operation names, to be handed back: other rounds come between its parts.
    Rest(Vec<Seq>),
    /// The same as [`Select`](Self::Select), newest first.
    SelectBefore {
        /// Which failures.
        filter: Filter,
        /// Below this one.
        before: Seq,
        /// Maximum chunk size.
        limit: usize,
    },
}

impl Question {
    /// `stats`; the default period is the last day.
    #[must_use]
    pub fn statistics(since: Option<WallTime>, now: WallTime) -> Self {
        Self::Statistics(since.unwrap_or_else(|| now.before(DAY)))
    }

    /// `digest`; the default period is the last day.
    #[must_use]
    pub fn digest(since: Option<WallTime>, now: WallTime) -> Self {
        Self::Digest(since.unwrap_or_else(|| now.before(DAY)))
    }

    /// `series`; the default period is the last day, the maximum what is kept.
    #[must_use]
    pub fn series(since: Option<WallTime>, now: WallTime) -> Self {
        Self::Series(since.map_or(DAY, |since| now.since(since)).min(SERIES_KEPT))
    }
}
