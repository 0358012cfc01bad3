//! Requests of failures, and what their ends say about the upstream.
//!
//! [`judge`](crate::policy::judge) calls these in the order in which they stand here: first what was
//! heard, then what it means. Nothing here knows which failure it was.

use super::{Chances, Errand, Pace, Upstream};
use crate::moment::{AgentTime, Moment};
use crate::policy::canary::{Need, Route};
use crate::policy::class::{Class, Contact, Verdict};
use crate::policy::condition::Shut;
use crate::policy::dossier::OrderTag;
use crate::policy::evidence::Evidence;
use crate::policy::throttle::Asked;
use std::time::Duration;

/// A try's end, as far as the upstream is concerned.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Heard<'a> {
    pub(in crate::policy) sent_at: AgentTime,
    /// Which of its failure's tries it was, from 1.
    pub(in crate::policy) attempt: u32,
    pub(in crate::policy) verdict: &'a Verdict,
    /// The newest insertion number.
    pub(in crate::policy) newest: i64,
}

impl Upstream {
    /// A request starts.
    pub fn sent(&mut self, now: AgentTime, canary: bool, route: &Route, pace: Pace) -> Errand {
        self.live.in_flight += 1;
        self.live.routes.tried(route);
        self.live.next_start = (!pace.min_gap.is_zero()).then(|| now.after(pace.min_gap));
        if canary { Errand::Canary { offline: self.is_offline() } } else { Errand::Turn }
    }

    /// A login begins, or has ended.
    pub fn logging_in(&mut self, is: bool) {
        self.live.logging_in = is;
    }

    /// A try has ended; what that says about the line, whatever it means for the failure.
    pub(in crate::policy) fn heard(&mut self, now: Moment, end: Heard, pace: Pace, random: &mut fastrand::Rng) {
        let Verdict { class, contact, error, .. } = end.verdict;
        self.live.in_flight = self.live.in_flight.saturating_sub(1);
        match contact {
            Contact::Answered => {
                self.live.latency = Some(now.agent.since(end.sent_at));
                if *class != Class::Delivered && self.is_offline() {
                    self.online(now, false, end.newest, pace, random);
                }
                self.contact(now);
            }
            // A certificate out of its time is no silence: who holds it is the upstream.
            Contact::Doubtful if *class == Class::Misconfigured => {}
            Contact::Doubtful if !self.is_offline() => self.prober.doubt(now.agent),
            Contact::Silent if !self.is_offline() => self.prober.silence(now.agent),
            // Offline, probes are planned already.
            Contact::Doubtful | Contact::Silent => {}
            Contact::None => return,
        }
        if *contact != Contact::Answered {
            self.live.last_fault = Some(error.clone());
        }
        if *class != Class::Delivered {
            self.tried_in_vain(now.agent);
        }
        self.evidence.sample(*class, end.attempt);
    }

    /// A failure was accepted, which it may have been answered `badly` before. Opens whatever was
    /// shut.
    pub(in crate::policy) fn accepted(
        &mut self,
        now: Moment,
        end: Heard,
        badly: bool,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) {
        self.last_delivery_at = Some(now.wall);
        self.rest();
        self.throttle.accepted();
        let renewed = self.evidence.accept(badly);
        if renewed || self.chances == Chances::Waiting {
            self.chances = Chances::Due;
        }
        if self.is_offline() {
            self.prober.test_hearing(now.agent);
        }
        self.open_at_last(now, end.newest, pace);
        self.yes(now.agent, end.sent_at, pace, random);
    }

    /// It was asked whether a failure had arrived, and it had: the upstream is there and answers,
    /// but it has accepted nothing.
    pub fn verified(&mut self, now: Moment, sent_at: AgentTime, newest: i64, pace: Pace, random: &mut fastrand::Rng) {
        self.live.in_flight = self.live.in_flight.saturating_sub(1);
        if self.is_offline() {
            self.online(now, false, newest, pace, random);
        }
        self.contact(now);
        self.yes(now.agent, sent_at, pace, random);
        self.canary_ended(now.agent, random);
    }

    /// The upstream has dealt with a request.
    pub(in crate::policy) fn yes(
        &mut self,
        now: AgentTime,
        sent_at: AgentTime,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) {
        self.pause.yes(now, now.since(sent_at), pace, random);
    }

    /// An answer that is neither a yes nor a no.
    pub(in crate::policy) fn neither(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        self.pause.wait(now, random);
    }

    /// The upstream could not, or nobody answered.
    pub(in crate::policy) fn no(&mut self, now: AgentTime, sent_at: AgentTime, pace: Pace, random: &mut fastrand::Rng) {
        self.pause.no(now, sent_at, pace, random);
    }

    /// The upstream asked to wait; until when that binds the failure itself, where it does.
    /// `singled_out`: others got through since this failure's previous try.
    pub(in crate::policy) fn asked_to_wait(
        &mut self,
        now: AgentTime,
        wait: Duration,
        (order, singled_out): (&OrderTag, bool),
        pace: Pace,
        random: &mut fastrand::Rng,
    ) -> Option<AgentTime> {
        let asked = Asked { wait, order, singled_out };
        self.throttle.asked(now, asked, self.pause.length(), pace, random)
    }

    /// To weigh a count.
    pub(in crate::policy) fn evidence_mut(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    /// The way to it is set up wrongly.
    pub(in crate::policy) fn block(&mut self, now: Moment, reason: &str, random: &mut fastrand::Rng) {
        if !self.is_shut() {
            self.canary.arm(now.agent, Need::Shut, random);
        }
        self.blocked.get_or_insert_with(|| Shut::new(now.agent, reason));
        self.settle(now);
    }

    /// It fails whatever it is sent.
    pub(in crate::policy) fn fail(&mut self, now: Moment, reason: &str, random: &mut fastrand::Rng) {
        if !self.is_shut() {
            self.canary.arm(now.agent, Need::Shut, random);
        }
        self.failing.get_or_insert_with(|| Shut::new(now.agent, reason));
        self.settle(now);
    }

    /// A canary has come back.
    pub(in crate::policy) fn canary_ended(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        if self.is_shut() {
            let need = if self.is_offline() { Need::Offline } else { Need::Shut };
            self.canary.again(now, need, random);
        }
    }

    /// A failure has become critical by counting that has its second chance left.
    pub(in crate::policy) fn owes_chance(&mut self) {
        if self.chances == Chances::None {
            self.chances = Chances::Waiting;
        }
    }
}
