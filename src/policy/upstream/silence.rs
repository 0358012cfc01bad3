//! How long an upstream has accepted nothing, for the alerts: it is unreachable, or attempts fail. It does not
//! affect sending.

use super::Upstream;
use crate::moment::AgentTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A period without an acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Silence {
    since: AgentTime,
    /// End of the last attempt in it.
    tried_at: Option<AgentTime>,
}

impl Upstream {
    /// An attempt has ended without an acceptance.
    pub(super) fn tried_in_vain(&mut self, now: AgentTime) {
        self.silence.get_or_insert(Silence { since: now, tried_at: None }).tried_at = Some(now);
    }

    /// The upstream is unreachable. Time before the start of the process does not count, as no attempts were made.
    pub(super) fn unanswered(&mut self, now: AgentTime) {
        self.silence.get_or_insert(Silence { since: now, tried_at: None });
    }

    /// Something was accepted, or nothing waits and the upstream is reachable.
    pub fn rest(&mut self) {
        self.silence = None;
    }

    /// Returns whether nothing is accepted although the upstream is reachable. That ends when nothing waits for it.
    #[must_use]
    pub fn is_silent_online(&self) -> bool {
        self.silence.is_some() && self.live.met && !self.is_offline()
    }

    /// Returns whether it has accepted nothing for longer than `patience`, offline or with attempts over that
    /// time. `None`: unknown, as the agent has just started.
    #[must_use]
    pub fn is_silent_for(&self, now: AgentTime, patience: Duration) -> Option<bool> {
        let Some(silence) = self.silence else { return Some(false) };
        if !self.live.met {
            return None;
        }
        let until = if self.is_offline() { Some(now) } else { silence.tried_at };
        // An alert that was raised while it was offline stays until there is an acceptance.
        Some(until.is_some_and(|until| until.since(silence.since) >= patience))
    }

    /// When it will have accepted nothing for `patience`, if no event occurs.
    #[must_use]
    pub fn silent_at(&self, patience: Duration) -> Option<AgentTime> {
        let silence = self.silence.filter(|_| self.is_offline() && self.live.met)?;
        Some(silence.since.after(patience))
    }

    /// Returns whether a period without an acceptance is recorded.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silence.is_some()
    }

    /// Since when an operator has paused it.
    #[must_use]
    pub fn paused_since(&self) -> Option<AgentTime> {
        self.paused_since.filter(|_| self.paused)
    }

    /// Why the configuration for it is wrong, if it is blocked.
    #[must_use]
    pub fn blocked_by(&self) -> Option<&str> {
        self.blocked.as_ref().map(|shut| shut.reason.as_str())
    }

    /// Since when it fails on every request, and why.
    #[must_use]
    pub fn failing_since(&self) -> Option<(AgentTime, &str)> {
        self.failing.as_ref().map(|shut| (shut.since, shut.reason.as_str()))
    }
}
