//! Contact with the upstream: probes, opening and shutting, and what people want of it.
//!
//! Offline ends with any answer. Blocked and failing end with an acceptance or a person. When the
//! last of the three has ended, the upstream has *opened*: a pause remains of what it took, and what
//! was never tried or not counted is due.

use super::{Pace, Upstream};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::canary::Need;
use crate::policy::condition::{Condition, Shut};
use crate::policy::pause::{AFTER_BLOCK, AFTER_OUTAGE};
use crate::policy::probe::{Finding, ProbeEnd};

impl Upstream {
    // ---- probes

    /// A probe starts now; it will speak for what was recorded up to `newest`.
    pub fn probe_sent(&mut self, now: AgentTime, newest: i64) {
        self.prober.sent(now, newest);
    }

    /// A probe has ended.
    pub fn probed(&mut self, now: Moment, end: &ProbeEnd, pace: Pace, random: &mut fastrand::Rng) {
        match self.prober.ended(end, self.last_contact) {
            None => {}
            Some(Finding::There { covers, well, took }) => {
                self.live.latency = Some(took);
                self.contact_seq = self.contact_seq.max(covers);
                self.online(now, well, covers, pace, random);
                self.contact(now);
            }
            Some(Finding::Gone { reason }) => self.gone(now, &reason, pace, random),
            Some(Finding::NoWord { .. }) if self.is_offline() => self.plan_probe(now.agent, pace, random),
            Some(Finding::NoWord { covers }) => {
                self.contact_seq = self.contact_seq.max(covers);
                self.online(now, false, covers, pace, random);
            }
        }
    }

    /// A failure was recorded whose own try says nothing about it.
    pub fn hint(&mut self, now: AgentTime) {
        // Offline or unknown, the next probe is planned, and a till's every sale must not bring it
        // forward.
        if !self.is_offline() && self.live.met {
            self.prober.hint(now);
        }
    }

    /// Failures wait for the line that no answered probe speaks for.
    pub fn overtaken(&mut self, now: AgentTime) {
        if self.prober.is_idle() {
            self.hint(now);
        }
    }

    /// The kernel says that a link, an address or a route came or went.
    pub fn link_changed(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        self.prober.link_changed(now, random);
    }

    /// The wall clock made a step: a certificate that was out of its time may be right now.
    pub fn clock_stepped(&mut self, now: AgentTime) {
        self.prober.ask(now);
    }

    /// The upstream's clock, by the `Date` of an answer.
    pub fn clock_seen(&mut self, theirs: WallTime, ours: WallTime) {
        self.live.clock_skew_ms = Some(theirs.as_millis().saturating_sub(ours.as_millis()));
    }

    // ---- people

    /// A person stops it.
    pub fn suspend(&mut self, now: Moment) {
        self.paused = true;
        self.settle(now);
    }

    /// A person wants it to go on: ends the person's pause, a block, a failing state and the
    /// waiting, and tries at once; while offline it probes at once. It does not shorten what the
    /// upstream asked for. `newest`: the newest insertion number.
    pub fn resume(&mut self, now: Moment, newest: i64) {
        let opens = self.is_shut() && !self.is_offline();
        self.paused = false;
        (self.blocked, self.failing) = (None, None);
        self.pause.end(now.agent);
        if opens {
            self.opened(newest);
        }
        if self.is_offline() || !self.live.met {
            self.live.resumed = true;
            self.prober.ask(now.agent);
        }
        self.settle(now);
    }

    /// A person wants what waits to be tried now: nothing recorded up to `newest` waits for the line
    /// any longer. No gate is passed, and while nobody answers a probe goes out at once.
    pub fn flush(&mut self, now: AgentTime, newest: i64) {
        self.contact_seq = self.contact_seq.max(newest);
        if self.is_offline() || !self.live.met {
            self.prober.ask(now);
        }
    }

    /// Its configuration has changed, and it was met anew. What shut it may have been mended by that.
    pub fn changed(&mut self, now: Moment, random: &mut fastrand::Rng) {
        if self.is_shut() && !self.is_offline() {
            self.canary.arm(now.agent, Need::Shut, random);
        }
    }

    // ---- opening and shutting

    /// Somebody of the upstream answered.
    pub(super) fn contact(&mut self, now: Moment) {
        self.prober.heard();
        self.live.last_fault = None;
        self.last_contact = Some(now.agent);
    }

    /// The line is there: ends offline, or the ignorance of the start. `well`: nothing speaks for
    /// others being there as well, who would all come at once.
    pub(super) fn online(&mut self, now: Moment, well: bool, newest: i64, pace: Pace, random: &mut fastrand::Rng) {
        let ignorant = !std::mem::replace(&mut self.live.met, true);
        let offline = self.offline.take();
        let since = match &offline {
            Some(offline) => offline.since,
            None if ignorant => self.last_contact.unwrap_or(now.agent),
            None => return,
        };
        self.pause.recover(now.agent.since(since), AFTER_OUTAGE, pace);
        if std::mem::take(&mut self.live.resumed) {
            self.pause.end(now.agent);
        }
        self.pause.first(now.agent, well, random);
        match (offline.is_some(), self.is_shut()) {
            (true, false) => self.opened(newest),
            // Blocked or failing as well: what made the canary slow is over.
            (true, true) => self.canary.arm(now.agent, Need::Shut, random),
            (false, _) => {}
        }
        self.settle(now);
    }

    /// A failure was accepted: whatever shut it is over.
    pub(super) fn open_at_last(&mut self, now: Moment, newest: i64, pace: Pace) {
        if !self.is_shut() {
            return;
        }
        if let Some(offline) = self.offline.take() {
            self.pause.recover(now.agent.since(offline.since), AFTER_OUTAGE, pace);
        }
        for shut in [self.blocked.take(), self.failing.take()].into_iter().flatten() {
            self.pause.recover(now.agent.since(shut.since), AFTER_BLOCK, pace);
        }
        self.opened(newest);
        self.settle(now);
    }

    /// Nothing shuts it any more. What was recorded up to now has waited for the line long enough.
    fn opened(&mut self, newest: i64) {
        self.canary.stop();
        self.contact_seq = self.contact_seq.max(newest);
        self.opened_seq = self.opened_seq.max(newest);
        self.sweeping = true;
    }

    /// Nobody answers.
    fn gone(&mut self, now: Moment, reason: &str, pace: Pace, random: &mut fastrand::Rng) {
        if self.offline.is_none() {
            // At the start, the time since the last contact counts as outage.
            let since = self.last_contact.filter(|_| !self.live.met).unwrap_or(now.agent);
            self.offline = Some(Shut::new(since, reason));
            self.canary.arm(now.agent, Need::Offline, random);
        } else if let Some(offline) = &mut self.offline {
            reason.clone_into(&mut offline.reason);
        }
        self.live.met = true;
        self.unanswered(now.agent);
        self.plan_probe(now.agent, pace, random);
        self.settle(now);
    }

    fn plan_probe(&mut self, now: AgentTime, pace: Pace, random: &mut fastrand::Rng) {
        if let Some(offline) = &self.offline {
            self.prober.wait(now, now.since(offline.since), pace.max_pause, random);
        }
    }

    /// Notes since when it stands as it does.
    pub(super) fn settle(&mut self, now: Moment) {
        let lasts = |condition: &Condition| {
            !matches!(condition, Condition::Throttled | Condition::Waiting | Condition::LoggingIn)
        };
        let standing = self.conditions(now.agent).into_iter().find(lasts);
        if standing != self.standing {
            self.standing = standing;
            self.since = now.wall;
        }
    }
}
