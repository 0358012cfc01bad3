//! Questions about what is kept: filters, pages, and who may see how much.
//!
//! Values only; `wire` reads them from a request, `store::reader` answers them.

use crate::ids::{FailureName, Seq};
use crate::limits::DEFAULT_PAGE;
use crate::moment::WallTime;
use crate::record::Status;

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
}

impl Default for ListQuery {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            limit: DEFAULT_PAGE,
            after: None,
            direction: Direction::Ascending,
            payload: false,
        }
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
    /// `history` of one failure, live or gone.
    History(FailureName),
    /// The numbers of the failures that a bulk operation means, in chunks.
    Select {
        /// Which.
        filter: Filter,
        /// Beyond this one.
        after: Seq,
        /// At most so many.
        limit: usize,
    },
}
