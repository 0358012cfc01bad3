//! Questions about what is kept: filters, pages, and who may see how much.
//!
//! Values only; `wire` reads them from a request, `store::reader` answers them.

use crate::ids::{FailureName, Seq};
use crate::limits::{DEFAULT_PAGE, SERIES_KEPT};
use crate::moment::WallTime;
use crate::record::Status;
use std::time::Duration;

/// What is told of when nobody says since when.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Which failures are meant; what is absent does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The stored status.
    pub status: Option<Status>,
    /// Exactly this type.
    pub entity_type: Option<String>,
    /// Exactly this entity.
    pub entity_id: Option<String>,
    /// Exactly this order key, where one was given.
    pub order_key: Option<String>,
    /// Exactly this action.
    pub action: Option<String>,
    /// Bound for this upstream.
    pub upstream: Option<String>,
    /// Class of the last counted try.
    pub error_class: Option<String>,
    /// Created then or later, by the terminal's clock.
    pub since: Option<WallTime>,
    /// Created before.
    pub until: Option<WallTime>,
}

/// Which way a list runs along the insertion numbers.
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
    /// Which.
    pub filter: Filter,
    /// At most so many, 1 to 1000.
    pub limit: usize,
    /// Beyond this one, in the list's direction.
    pub after: Option<Seq>,
    /// Which way.
    pub direction: Direction,
    /// With payloads.
    pub payload: bool,
    /// Say how many match; counting them takes a look at each.
    pub total: bool,
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

/// A page of what was tried and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Whose.
    pub of: HistoryOf,
    /// Then or later.
    pub since: Option<WallTime>,
    /// Beyond this entry, in the page's direction.
    pub after: Option<EntryCursor>,
    /// At most so many.
    pub limit: usize,
    /// Which way; oldest first unless asked otherwise.
    pub direction: Direction,
}

/// Whose history is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryOf {
    /// One failure's, live or gone.
    Failure(FailureName),
    /// An entity's, over all its failures.
    Entity(String, String),
    /// Everybody's.
    All,
}

/// The place of an entry in a time line: in one millisecond a person's deed comes before the try that
/// it made happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryCursor {
    /// As it is stored.
    pub at: String,
    /// A try, not a deed.
    pub attempt: bool,
    /// The row.
    pub row: i64,
}

impl EntryCursor {
    /// Reads what [`Display`](std::fmt::Display) wrote.
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

/// What a question may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A local application: no payloads, no answers of upstreams, nobody's uid.
    Application,
    /// Root and the agent's own user.
    Admin,
}

/// A question that may take long, so that the loop does not answer it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `list`
    List(ListQuery),
    /// `get`, when there is no agent to answer it
    Get(FailureName),
    /// `unsent`
    Unsent,
    /// `health`
    Health,
    /// `alerts`
    Alerts,
    /// How many counted tries live failures have on average, for the agent itself.
    MeanRetries,
    /// `metrics`
    Metrics,
    /// `history`
    History(HistoryQuery),
    /// `stats` since this time.
    Statistics(WallTime),
    /// `digest` since this time.
    Digest(WallTime),
    /// `series` over so long until now.
    Series(Duration),
    /// The numbers of the failures that a bulk operation means, in chunks.
    Select {
        /// Which.
        filter: Filter,
        /// Beyond this one.
        after: Seq,
        /// At most so many.
        limit: usize,
    },
    /// The same from the newest on.
    SelectBefore {
        /// Which.
        filter: Filter,
        /// Below this one.
        before: Seq,
        /// At most so many.
        limit: usize,
    },
}

impl Question {
    /// `stats`, over the last day unless asked otherwise.
    #[must_use]
    pub fn statistics(since: Option<WallTime>, now: WallTime) -> Self {
        Self::Statistics(since.unwrap_or_else(|| now.before(DAY)))
    }

    /// `digest`, over the last day unless asked otherwise.
    #[must_use]
    pub fn digest(since: Option<WallTime>, now: WallTime) -> Self {
        Self::Digest(since.unwrap_or_else(|| now.before(DAY)))
    }

    /// `series`, over the last day unless asked otherwise, and no further back than it is kept.
    #[must_use]
    pub fn series(since: Option<WallTime>, now: WallTime) -> Self {
        Self::Series(since.map_or(DAY, |since| now.since(since)).min(SERIES_KEPT))
    }
}
