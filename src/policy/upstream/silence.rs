//! How long an upstream has been of no use, for the alerts (`spec/03`, Alerts): nobody answers, or what
//! is tried is not accepted. It decides nothing about sending.

use super::Upstream;
use crate::moment::AgentTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A time without an acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Silence {
    since: AgentTime,
    /// When the last try of it ended.
    tried_at: Option<AgentTime>,
}

impl Upstream {
    /// A try has ended, and was not accepted.
    pub(super) fn tried_in_vain(&mut self, now: AgentTime) {
        self.silence.get_or_insert(Silence { since: now, tried_at: None }).tried_at = Some(now);
    }

    /// Nobody answers. What was before the start is not counted: then nobody asked.
    pub(super) fn unanswered(&mut self, now: AgentTime) {
        self.silence.get_or_insert(Silence { since: now, tried_at: None });
    }

    /// Something was accepted; or nothing waits, and the line is there.
    pub fn rest(&mut self) {
        self.silence = None;
    }

    /// Is it silent, though the line is there? Then it ends when nothing waits for it.
    #[must_use]
    pub fn is_silent_online(&self) -> bool {
        self.silence.is_some() && self.live.met && !self.is_offline()
    }

    /// Has it been silent for longer than `patience`: offline, or tried for so long? `None`: it is not
    /// known, as the agent has just started.
    #[must_use]
    pub fn is_silent_for(&self, now: AgentTime, patience: Duration) -> Option<bool> {
        let Some(silence) = self.silence else { return Some(false) };
        if !self.live.met {
            return None;
        }
        let until = if self.is_offline() { Some(now) } else { silence.tried_at };
        // An alert that was fired while it was offline stays until there is an acceptance.
        Some(until.is_some_and(|until| until.since(silence.since) >= patience))
    }

    /// When it will have been silent for so long, if nothing happens.
    #[must_use]
    pub fn silent_at(&self, patience: Duration) -> Option<AgentTime> {
        let silence = self.silence.filter(|_| self.is_offline() && self.live.met)?;
        Some(silence.since.after(patience))
    }

    /// Since when it is silent at all, as far as that is remembered.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silence.is_some()
    }

    /// Is the way to it set up wrongly, and why?
    #[must_use]
    pub fn blocked_by(&self) -> Option<&str> {
        self.blocked.as_ref().map(|shut| shut.reason.as_str())
    }

    /// Since when it fails whatever it is sent, and why.
    #[must_use]
    pub fn failing_since(&self) -> Option<(AgentTime, &str)> {
        self.failing.as_ref().map(|shut| (shut.since, shut.reason.as_str()))
    }
}
