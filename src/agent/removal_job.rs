//! A removal in progress: who asked for it, what is still to be removed, and how far it has come.

use super::{ClientId, Pending};
use crate::ids::Seq;
use crate::policy::retention::Rule;
use crate::question::{Filter, Question};
use crate::record::{Disposition, Failure, OrderKey, Status};
use crate::store::audit::Actor;
use crate::wire::fields::Rejection;
use crate::wire::removal::{Cleaned, Discarded};
use crate::wire::reply;
use serde_json::value::RawValue;
use std::collections::VecDeque;

/// The client that requested the job and is waiting for the reply.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) client: ClientId,
    pub(super) reference: Option<Box<RawValue>>,
}

/// A removal job, which continues where its last chunk ended.
#[derive(Debug)]
pub(super) struct RemovalJob {
    pub(super) asker: Option<Asker>,
    pub(super) actor: Actor,
    pub(super) reason: Option<String>,
    pub(super) dry_run: bool,
    pub(super) task: Task,
    /// The reader is selecting more failures for it.
    pub(super) waits: bool,
    /// Number of failures removed by committed chunks.
    pub(super) settled: u64,
}

/// The kind of job.
#[derive(Debug)]
pub(super) enum Task {
    Discard(Box<Discarding>),
    CleanUp(Cleaning),
}

/// State of a `discard`.
#[derive(Debug)]
pub(super) struct Discarding {
    /// The next failures to remove, the newest last.
    pub(super) found: Vec<Seq>,
    /// The filter that selects older ones, and the number below which to search.
    pub(super) rest: Option<(Filter, Seq)>,
    pub(super) let_followers: bool,
    /// Followers still to be put on hold, per order key, from this number on.
    pub(super) holding: VecDeque<(OrderKey, Seq, Seq)>,
    pub(super) told: Discarded,
}

/// One failure that is removed.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) failure: Failure,
    pub(super) how: Disposition,
    pub(super) reason: Option<String>,
}

/// A run in progress.
#[derive(Debug)]
pub(super) struct Cleaning {
    pub(super) stage: Stage,
    /// Number of failures to remove.
    pub(super) matched: u64,
    /// Number of failures removed so far.
    pub(super) changed: u64,
}

/// What a run does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// Searches for old heads that are critical or held, after this number.
    Heads {
        status: Status,
        after: Seq,
    },
    /// Checks whether all followers of a head with more than a chunk of them are old; checked up to this number.
    Proving {
        long: Long,
        seen: Seq,
    },
    /// All of them are old; they are removed from the newest on.
    Disposition {
        long: Long,
    },
    Attempts,
    Audit {
        after: i64,
    },
    Keys,
    Files,
}

/// A head with more followers than fit a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long {
    pub(super) head: Seq,
    pub(super) rule: Rule,
    pub(super) status: Status,
}

impl Cleaning {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Heads { status: Status::Critical, after: Seq(0) }, matched: 0, changed: 0 }
    }
}

impl Discarding {
    pub(super) fn is_over(&self) -> bool {
        self.found.is_empty() && self.rest.is_none() && self.holding.is_empty()
    }

    /// Takes the reader's selection, newest first.
    pub(super) fn take(&mut self, seqs: Vec<Seq>, chunk: usize) {
        self.rest = match (self.rest.take(), seqs.last()) {
            (Some((filter, _)), Some(last)) if seqs.len() == chunk => Some((filter, *last)),
            _ => None,
        };
        self.found = seqs;
        self.found.reverse();
    }
}

impl RemovalJob {
    /// The next query for the reader.
    pub(super) fn question(&self, chunk: usize) -> Option<Question> {
        let Task::Discard(discarding) = &self.task else { return None };
        if !discarding.found.is_empty() || !discarding.holding.is_empty() {
            return None;
        }
        let (filter, before) = discarding.rest.clone()?;
        Some(Question::SelectBefore { filter, before, limit: chunk })
    }

    /// Number of failures removed, the chunk in the open round included.
    pub(super) fn changed(&self) -> u64 {
        match &self.task {
            Task::Discard(discarding) => discarding.told.changed,
            Task::CleanUp(cleaning) => cleaning.changed,
        }
    }

    /// The reply to the client, if there is one.
    pub(super) fn tell(&self, done: Result<(), &Rejection>) -> Option<(ClientId, Pending)> {
        let asker = self.asker.as_ref()?;
        let reference = asker.reference.as_deref();
        let line = match (done, &self.task) {
            (Err(rejection), _) => reply::error_after(rejection, self.settled, reference),
            (Ok(()), Task::Discard(discarding)) => reply::ok(&discarding.told, reference),
            (Ok(()), Task::CleanUp(cleaning)) => {
                reply::ok(&Cleaned { matched: cleaning.matched, changed: cleaning.changed }, reference)
            }
        };
        Some((asker.client, Pending::Ready(line)))
    }

    /// Returns whether the job is the agent's own.
    pub(super) fn is_our_own(&self) -> bool {
        self.asker.is_none()
    }
}
