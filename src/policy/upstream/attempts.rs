//! Requests of failures, and what their ends show about the upstream.
//!
//! [`judge`](crate::policy::judge) calls these functions in the order of this file: first the result, then its
//! meaning. Nothing here depends on which failure was sent.

use super::{Chances, DispatchKind, TimedOutUploads, Upstream};
use crate::moment::{AgentTime, Moment};
use crate::policy::canary::{Need, Route};
use crate::policy::class::{Class, Verdict};
use crate::policy::condition::Shut;
use crate::policy::ending::Contact;
use crate::policy::evidence::Evidence;
use crate::policy::order_tag::OrderTag;
use crate::policy::pace::Pace;
use crate::policy::share::own_wait;
use crate::policy::throttle::Asked;
use std::time::Duration;

/// The end of an attempt, as far as the upstream is concerned.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct AttemptSummary<'a> {
    pub(in crate::policy) sent_at: AgentTime,
    /// Number of the attempt within its failure, from 1.
    pub(in crate::policy) attempt: u32,
    pub(in crate::policy) verdict: &'a Verdict,
    /// The newest sequence number.
    pub(in crate::policy) newest: i64,
}

impl Upstream {
    /// A request starts.
    pub fn sent(&mut self, now: AgentTime, canary: bool, route: &Route, pace: Pace) -> DispatchKind {
        self.live.in_flight += 1;
        self.live.routes.tried(route);
        self.live.next_start = (!pace.min_gap.is_zero()).then(|| now.after(pace.min_gap));
        if canary { DispatchKind::Canary { offline: self.is_offline() } } else { DispatchKind::Turn }
    }

    /// A request that was reported as started was not sent after all.
    pub fn not_sent(&mut self) {
        self.live.in_flight = self.live.in_flight.saturating_sub(1);
    }

    /// A login begins, or has ended.
    pub fn logging_in(&mut self, is: bool) {
        self.live.logging_in = is;
    }

    /// An attempt has ended: applies what that shows about reachability, whatever it means for the failure.
    pub(in crate::policy) fn heard(
        &mut self,
        now: Moment,
        end: AttemptSummary,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) {
        let Verdict { class, contact, error, .. } = end.verdict;
        self.live.in_flight = self.live.in_flight.saturating_sub(1);
        if end.verdict.stalled {
            let count = self.live.timed_out_uploads.as_ref().map_or(0, |uploads| uploads.count).saturating_add(1);
            self.live.timed_out_uploads = Some(TimedOutUploads { count, last: now.agent, words: error.clone() });
        } else if *contact == Contact::Answered && end.attempt > 1 {
            // A first attempt is of another failure, whose smaller body says nothing about the larger one.
            self.live.timed_out_uploads = None;
        }
        match contact {
            Contact::Answered => {
                self.live.latency = Some(now.agent.since(end.sent_at));
                if *class != Class::Delivered && self.is_offline() {
                    self.online(now, false, end.newest, pace, random);
                }
                self.contact(now);
            }
            // An expired certificate is not a missing response: the server that holds it is the upstream.
            Contact::Doubtful if *class == Class::Misconfigured => {}
            Contact::Doubtful if !self.is_offline() => self.prober.doubt(now.agent),
            Contact::Silent if !self.is_offline() => {
                let explained = self.pause.explains(self.prober.unanswered() + 1);
                self.prober.silence(now.agent, explained);
            }
            // While offline, probes are scheduled already.
            Contact::Doubtful | Contact::Silent => {}
            Contact::None => return,
        }
        match (contact, class) {
            (Contact::Answered, Class::Throttled | Class::Busy | Class::Unsure) => {
                self.live.last_no = Some(error.clone());
            }
            (Contact::Answered, Class::Delivered) => self.live.last_no = None,
            (Contact::Answered, _) => {}
            _ => self.live.last_fault = Some(error.clone()),
        }
        if *class == Class::Delivered {
            self.usual.learn(now.agent, self.took(now.agent, end.sent_at), !self.pause.is_none());
        } else {
            self.tried_in_vain(now.agent);
        }
        if !end.verdict.unreadable && matches!(class, Class::Delivered | Class::Refused | Class::Failed) {
            self.evidence.readable();
        }
        self.pause.attempted();
        self.evidence.sample(*class, end.attempt);
    }

    /// A failure was accepted; `badly`: an earlier response to it was bad. Ends every outage.
    pub(in crate::policy) fn accepted(
        &mut self,
        now: Moment,
        end: AttemptSummary,
        badly: bool,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) {
        self.last_delivery_at = Some(now.wall);
        self.live.reopened = None;
        self.rest();
        self.throttle.accepted();
        let renewed = self.evidence.accept(badly);
        if renewed || self.chances == Chances::Waiting {
            self.chances = Chances::Due;
        }
        if self.is_offline() {
            self.prober.recheck_probes(now.agent);
        }
        self.open_at_last(now, end.newest, pace);
        self.yes(now.agent, end.sent_at, pace, random);
    }

    /// A verification found that a failure had arrived: the upstream is reachable and responds, but this is not
    /// an acceptance.
    pub fn verified(&mut self, now: Moment, sent_at: AgentTime, newest: i64, pace: Pace, random: &mut fastrand::Rng) {
        self.live.in_flight = self.live.in_flight.saturating_sub(1);
        if self.is_offline() {
            self.online(now, false, newest, pace, random);
        }
        self.contact(now);
        self.pause.attempted();
        self.yes(now.agent, sent_at, pace, random);
        self.canary_ended(now.agent, random);
    }

    /// The upstream has processed a request.
    pub(in crate::policy) fn yes(
        &mut self,
        now: AgentTime,
        sent_at: AgentTime,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) {
        let slow = self.usual.is_slow(now, self.took(now, sent_at), !self.pause.is_none());
        self.pause.yes(now, sent_at, slow, pace, random);
    }

    /// How long the upstream took for a request that has ended now.
    fn took(&self, now: AgentTime, sent_at: AgentTime) -> Duration {
        now.since(self.live.back_at.map_or(sent_at, |back| sent_at.max(back)))
    }

    /// A response that is neither a success nor a failure.
    pub(in crate::policy) fn neither(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        self.pause.wait(now, random);
    }

    /// Returns whether the error of an attempt is sporadic. Otherwise the upstream's pace has to follow it.
    pub(in crate::policy) fn sporadic(
        &mut self,
        now: AgentTime,
        sent_at: AgentTime,
        answered: bool,
        random: &mut fastrand::Rng,
    ) -> bool {
        !self.is_shut() && self.pause.sporadic(now, sent_at, answered, random)
    }

    /// Until when a failure waits alone after this number of errors in a row.
    pub(in crate::policy) fn own_wait(
        &self,
        now: AgentTime,
        errors: u32,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) -> AgentTime {
        now.after(own_wait(errors, self.evidence.unclear_share(), pace.max_pause, random))
    }

    /// The upstream was unavailable or did not respond.
    pub(in crate::policy) fn no(&mut self, now: AgentTime, sent_at: AgentTime, pace: Pace, random: &mut fastrand::Rng) {
        self.pause.no(now, sent_at, pace, random);
    }

    /// The upstream sent `Retry-After`. Returns until when that binds the failure itself, if it does.
    /// `singled_out`: others were accepted since the previous attempt of this failure.
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

    /// The evidence, for attributing a count.
    pub(in crate::policy) fn evidence_mut(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    /// The configuration for it is wrong.
    pub(in crate::policy) fn block(&mut self, now: Moment, reason: &str, random: &mut fastrand::Rng) {
        if !self.is_shut() {
            match self.live.reopened.take() {
                Some(n) => self.canary.arm_behind(n, now.agent, Need::Shut, random),
                None => self.canary.arm(now.agent, Need::Shut, random),
            }
        }
        self.blocked.get_or_insert_with(|| Shut::new(now.agent, reason));
        self.settle(now);
    }

    /// It fails on every request.
    pub(in crate::policy) fn fail(&mut self, now: Moment, reason: &str, random: &mut fastrand::Rng) {
        if !self.is_shut() {
            self.canary.arm(now.agent, Need::Shut, random);
        }
        self.failing.get_or_insert_with(|| Shut::new(now.agent, reason));
        self.settle(now);
    }

    /// A canary has ended.
    pub(in crate::policy) fn canary_ended(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        if self.is_shut() {
            let need = if self.is_offline() { Need::Offline } else { Need::Shut };
            self.canary.again(now, need, random);
        }
    }

    /// A failure has become critical with retries exhausted, and has its extra attempt left.
    pub fn owes_extra_attempt(&mut self) {
        if self.chances == Chances::None {
            self.chances = Chances::Waiting;
        }
    }
}
