//! Connectivity of the upstream: probes, outages and recovery, and the requests of operators.
//!
//! Offline ends with any response. Blocked and failing end with an acceptance or by an operator. When the last
//! of the three has ended, the upstream has *recovered* (`opened`): a delay proportional to the outage remains,
//! and failures without a counted attempt are due.

use super::{Sweep, Upstream};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::canary::Need;
use crate::policy::condition::{Condition, Shut};
use crate::policy::pace::Pace;
use crate::policy::pause::{AFTER_BLOCK, AFTER_OUTAGE};
use crate::policy::probe::{Finding, ProbeEnd};

impl Upstream {
    // ---- probes

    /// A probe starts now; its result applies to failures recorded up to `newest`.
    pub fn probe_sent(&mut self, now: AgentTime, newest: i64) {
        self.prober.sent(now, newest);
    }

    /// A probe has ended.
    pub fn probed(&mut self, now: Moment, end: &ProbeEnd, pace: Pace, random: &mut fastrand::Rng) {
        match self.prober.ended(end, self.last_contact) {
            None => {}
            Some(Finding::There { covers, well, took, status }) => {
                self.live.latency = Some(took);
                self.contact_seq = self.contact_seq.max(covers);
                self.online(now, well, covers, pace, random);
                self.contact(now);
                self.unblock_by_probe(now, status, covers, pace);
            }
            // The share of errors explains so many in a row: this is no outage, and the next attempt is better
            // evidence.
            Some(Finding::Gone { .. })
                if matches!(end, ProbeEnd::Silence { .. })
                    && !self.is_offline()
                    && self.live.met
                    && self.pause.explains(self.prober.unanswered()) => {}
            Some(Finding::Gone { reason }) => self.gone(now, &reason, pace, random),
            Some(Finding::Inconclusive { .. }) if self.is_offline() => self.plan_probe(now.agent, pace, random),
            Some(Finding::Inconclusive { covers }) => {
                self.contact_seq = self.contact_seq.max(covers);
                self.online(now, false, covers, pace, random);
            }
        }
    }

    /// All waiting failures belong to routes that hold them back, so none can act as a canary for a block: a
    /// probe is sent instead, at the canary's pace.
    pub fn ask_instead_of_canary(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        if self.is_offline() || self.blocked.is_none() {
            return self.canary_ended(now, random);
        }
        self.live.probe_opens = true;
        self.prober.ask(now);
        self.canary.again(now, Need::Shut, random);
    }

    /// Ends a block if a probe in place of a canary did not get the response that caused it.
    fn unblock_by_probe(&mut self, now: Moment, status: u16, newest: i64, pace: Pace) {
        let asked = std::mem::take(&mut self.live.probe_opens);
        let Some(blocked) = self.blocked.take_if(|blocked| asked && !blocked.is_by(status)) else { return };
        self.live.reopened = Some(self.canary.planned());
        self.pause.recover(now.agent, now.agent.since(blocked.since), AFTER_BLOCK, pace);
        if !self.is_shut() {
            self.opened(now.agent, newest);
        }
        self.settle(now);
    }

    /// A failure was recorded whose own attempt was inconclusive.
    pub fn hint(&mut self, now: AgentTime) {
        if self.probes_by_hints() {
            self.prober.hint(now);
        }
    }

    /// Would [`overtaken`](Self::overtaken) change anything?
    #[must_use]
    pub fn may_be_overtaken(&self) -> bool {
        self.prober.is_idle() && self.probes_by_hints()
    }

    /// Failures wait for the line that no answered probe speaks for.
    pub fn overtaken(&mut self, now: AgentTime) {
        if self.may_be_overtaken() {
            self.prober.hint(now);
        }
    }

    /// Offline or unknown, the next probe is planned, and a till's every sale must not bring it forward.
    fn probes_by_hints(&self) -> bool {
        !self.is_offline() && self.live.met
    }

    /// The kernel says that a link, an address or a route came or went.
    pub fn link_changed(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        self.prober.link_changed(now, random);
    }

    /// The wall clock made a step: a certificate that was expired or not yet valid may be valid now.
    pub fn clock_stepped(&mut self, now: AgentTime) {
        self.prober.ask(now);
    }

    /// The upstream's clock, by the `Date` of a response.
    pub fn clock_seen(&mut self, theirs: WallTime, ours: WallTime) {
        self.live.clock_skew_ms = Some(theirs.as_millis().saturating_sub(ours.as_millis()));
    }

    // ---- operators

    /// An operator pauses it.
    pub fn suspend(&mut self, now: Moment) {
        self.paused = true;
        self.paused_since.get_or_insert(now.agent);
        self.settle(now);
    }

    /// An operator resumes it: ends the pause, a block, a failing state and the pacing delay (also for failures
    /// that wait for it), and sends at once; while offline it probes at once. A requested `Retry-After` is not
    /// shortened. `newest`: the newest sequence number.
    pub fn resume(&mut self, now: Moment, newest: i64) {
        let opens = self.is_shut() && !self.is_offline();
        (self.paused, self.paused_since) = (false, None);
        (self.blocked, self.failing) = (None, None);
        self.pause.end(now.agent);
        if opens {
            self.opened(now.agent, newest);
        } else {
            self.sweep(now.agent, 0);
        }
        if self.is_offline() || !self.live.met {
            self.live.resumed = true;
            self.prober.ask(now.agent);
        }
        self.settle(now);
    }

    /// An operator requests that waiting failures are sent now: none recorded up to `newest` waits for contact
    /// any longer. No pause is overridden, and while the upstream is unreachable a probe is sent at once.
    pub fn flush(&mut self, now: AgentTime, newest: i64) {
        self.contact_seq = self.contact_seq.max(newest);
        if self.is_offline() || !self.live.met {
            self.prober.ask(now);
        }
    }

    /// Its configuration has changed and it was set up again, which may have fixed the cause of an outage.
    pub fn changed(&mut self, now: Moment, random: &mut fastrand::Rng) {
        if self.is_shut() && !self.is_offline() {
            self.canary.arm(now.agent, Need::Shut, random);
        }
    }

    // ---- outages and recovery

    /// The upstream responded.
    pub(super) fn contact(&mut self, now: Moment) {
        self.prober.heard();
        self.live.last_fault = None;
        self.last_contact = Some(now.agent);
    }

    /// The upstream is reachable: ends offline, or the unknown state at the start. `well`: nothing indicates
    /// that other terminals come back at the same time.
    pub(super) fn online(&mut self, now: Moment, well: bool, newest: i64, pace: Pace, random: &mut fastrand::Rng) {
        let ignorant = !std::mem::replace(&mut self.live.met, true);
        let offline = self.offline.take();
        let since = match &offline {
            Some(offline) => offline.since,
            None if ignorant => self.last_contact.unwrap_or(now.agent),
            None => return,
        };
        self.live.back_at = Some(now.agent);
        self.pause.recover(now.agent, now.agent.since(since), AFTER_OUTAGE, pace);
        if std::mem::take(&mut self.live.resumed) {
            self.pause.end(now.agent);
        }
        self.pause.first(now.agent, well, random);
        match (offline.is_some(), self.is_shut()) {
            (true, false) => self.opened(now.agent, newest),
            // Blocked or failing as well: the reason for the slow pace of canaries is over.
            (true, true) => self.canary.arm(now.agent, Need::Shut, random),
            (false, _) => {}
        }
        self.settle(now);
    }

    /// A failure was accepted: ends every outage.
    pub(super) fn open_at_last(&mut self, now: Moment, newest: i64, pace: Pace) {
        if !self.is_shut() {
            return;
        }
        if let Some(offline) = self.offline.take() {
            self.live.back_at = Some(now.agent);
            self.pause.recover(now.agent, now.agent.since(offline.since), AFTER_OUTAGE, pace);
        }
        for shut in [self.blocked.take(), self.failing.take()].into_iter().flatten() {
            self.pause.recover(now.agent, now.agent.since(shut.since), AFTER_BLOCK, pace);
        }
        self.opened(now.agent, newest);
        self.settle(now);
    }

    /// The last outage has ended. Failures recorded up to now need not wait for contact.
    fn opened(&mut self, now: AgentTime, newest: i64) {
        self.canary.stop();
        self.live.probe_opens = false;
        self.contact_seq = self.contact_seq.max(newest);
        self.opened_seq = self.opened_seq.max(newest);
        self.sweep(now, newest);
    }

    /// Makes waiting failures due now; of those never attempted only numbers up to `up_to`.
    fn sweep(&mut self, now: AgentTime, up_to: i64) {
        let pending = self.sweep.map_or(0, |sweep| sweep.up_to);
        self.sweep = Some(Sweep { up_to: up_to.max(pending), since: now });
        self.swept_at = Some(now);
    }

    /// The upstream is unreachable.
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

    /// Records since when the current state holds.
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
