//! One terminal of the chain: the shipped policy over a backlog in memory.

use resyncd::config::Retry;
use resyncd::moment::{AgentTime, Moment};
use resyncd::policy::backoff::CONTACT_GRACE;
use resyncd::policy::canary::Route;
use resyncd::policy::class::Verdict;
use resyncd::policy::judge::{Decision, Rules, Try, judge};
use resyncd::policy::order_tag::OrderTag;
use resyncd::policy::pace::Pace;
use resyncd::policy::retry_state::{CHANCE_AFTER, RetryState, Standing};
use resyncd::policy::upstream::{Chances, DispatchKind, Upstream};
use resyncd::record::Status;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

pub(crate) struct Failure {
    pub(crate) retry_state: RetryState,
    pub(crate) recorded_at: AgentTime,
    pub(crate) delivered: bool,
    attempts: u32,
}

pub(crate) struct Terminal {
    pub(crate) upstream: Upstream,
    pub(crate) pace: Pace,
    pub(crate) failures: Vec<Failure>,
    pub(crate) left: usize,
    pub(crate) first_delivery_s: Option<f64>,
    /// The time of its current wake-up, in µs.
    pub(crate) wake_us: u64,
    pub(crate) rtt_s: f64,
    pub(crate) random: fastrand::Rng,
    /// Number of order keys in the backlog; the other failures of a key wait behind its head.
    keys: usize,
    pub(crate) backlog: usize,
    /// Its failures are recorded with `retry: "now"`.
    pub(crate) at_once: bool,
    /// Heads that were never attempted, in order.
    fresh: VecDeque<u32>,
    /// Heads that were attempted, by the time at which they are due.
    tried: BinaryHeap<Reverse<(AgentTime, u32)>>,
    /// Critical heads.
    critical: BTreeSet<u32>,
}

/// An action of the terminal.
pub(crate) enum Wish {
    Send { failure: u32, dispatch_kind: DispatchKind },
    Probe,
}

impl Terminal {
    pub(crate) fn new(now: Moment, pace: Pace, backlog: usize, keys: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let slow = random.u32(0..100) == 0;
        Self {
            upstream: Upstream::new(now),
            pace,
            failures: Vec::with_capacity(backlog),
            left: 0,
            first_delivery_s: None,
            wake_us: u64::MAX,
            rtt_s: if slow { 2.0 } else { 0.02 + 0.18 * random.f64() },
            random,
            keys: if keys == 0 { usize::MAX } else { keys },
            backlog,
            at_once: false,
            fresh: VecDeque::new(),
            tried: BinaryHeap::new(),
            critical: BTreeSet::new(),
        }
    }

    pub(crate) fn record(&mut self, now: AgentTime) -> u32 {
        let index = u32::try_from(self.failures.len()).unwrap();
        self.failures.push(Failure {
            retry_state: RetryState::fresh(),
            recorded_at: now,
            delivered: false,
            attempts: 0,
        });
        self.left += 1;
        if (index as usize) < self.keys || index as usize >= self.backlog {
            self.fresh.push_back(index);
        }
        if !self.at_once {
            self.upstream.hint(now);
        }
        index
    }

    fn newest(&self) -> i64 {
        self.failures.len() as i64
    }

    /// When an unattempted failure may be sent, if the upstream is reachable.
    fn due_at(&self, index: u32) -> Option<AgentTime> {
        let recorded_at = self.failures[index as usize].recorded_at;
        if self.at_once {
            return Some(recorded_at);
        }
        let known = i64::from(index) < self.upstream.contact_seq;
        known.then(|| recorded_at.after(CONTACT_GRACE))
    }

    /// Its actions now, and when it wants to be woken.
    pub(crate) fn pump(&mut self, now: Moment, route: &Route) -> (Vec<Wish>, Option<AgentTime>) {
        let mut wishes = Vec::new();
        let mut deadlines = Vec::new();
        self.grant_extra_attempts(now.agent, &mut deadlines);
        self.upstream.sweep = None; // Attempted failures are due when their pause ends: below.
        while let Some((failure, canary)) = self.choose(now.agent) {
            self.failures[failure as usize].attempts += 1;
            let dispatch_kind = self.upstream.sent(now.agent, canary, route, self.pace);
            wishes.push(Wish::Send { failure, dispatch_kind });
        }
        let newest = self.fresh.back().filter(|_| !self.at_once);
        if newest.is_some_and(|newest| i64::from(*newest) >= self.upstream.contact_seq) {
            self.upstream.overtaken(now.agent);
        }
        if self.upstream.probe_due(now.agent, self.pace) {
            self.upstream.probe_sent(now.agent, self.newest());
            wishes.push(Wish::Probe);
        }
        let next_tried = self.tried.peek().map(|Reverse((at, _))| *at);
        let next_fresh = self.fresh.front().and_then(|index| self.due_at(*index));
        let due = [next_tried, next_fresh].into_iter().flatten().min();
        let waits = if self.upstream.is_shut() {
            !self.fresh.is_empty() || !self.tried.is_empty()
        } else {
            due.is_some_and(|at| at <= now.agent)
        };
        deadlines.extend(due);
        deadlines.extend(self.upstream.deadline(now.agent, waits, self.pace));
        (wishes, deadlines.into_iter().filter(|at| *at > now.agent).min())
    }

    fn grant_extra_attempts(&mut self, now: AgentTime, deadlines: &mut Vec<AgentTime>) {
        if self.upstream.chances == Chances::None {
            return;
        }
        let at_once = self.upstream.chances == Chances::Due;
        self.upstream.chances = Chances::None;
        for index in self.critical.clone() {
            let failure = &mut self.failures[index as usize];
            let Some(again) = failure.retry_state.second_chance(self.upstream.evidence()) else { continue };
            if at_once {
                failure.retry_state = again;
                self.critical.remove(&index);
                self.tried.push(Reverse((now, index)));
            } else {
                self.upstream.chances = Chances::Waiting;
                deadlines.push(now.after(CHANCE_AFTER));
            }
        }
    }

    fn choose(&mut self, now: AgentTime) -> Option<(u32, bool)> {
        if self.upstream.canary_due(now) {
            let fresh = self.fresh.pop_front();
            return fresh.or_else(|| self.longest_ago(now)).map(|index| (index, true));
        }
        if self.upstream.slots(now, self.pace) == 0 {
            return None;
        }
        let fresh = self.fresh.front().and_then(|index| self.due_at(*index)).filter(|at| *at <= now);
        let tried = self.tried.peek().map(|Reverse((at, _))| *at).filter(|at| *at <= now);
        let take_fresh = match (fresh, tried) {
            (None, None) => return None,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(a), Some(b)) => self.upstream.prefers_untried() || a <= b,
        };
        let index = if take_fresh { self.fresh.pop_front() } else { self.tried.pop().map(|Reverse((_, index))| index) };
        index.map(|index| (index, false))
    }

    fn longest_ago(&mut self, now: AgentTime) -> Option<u32> {
        let mut all = std::mem::take(&mut self.tried).into_vec();
        let free =
            |index: u32| self.failures[index as usize].retry_state.retry_after_until.is_none_or(|until| until <= now);
        let place = (0..all.len())
            .filter(|place| free(all[*place].0.1))
            .min_by_key(|place| self.failures[all[*place].0.1 as usize].retry_state.last_sent_at);
        let found = place.map(|place| all.swap_remove(place).0.1);
        self.tried = all.into();
        found
    }

    /// An attempt has ended. Returns whether the failure is delivered.
    pub(crate) fn tried(
        &mut self,
        now: Moment,
        index: u32,
        (sent_at, dispatch_kind): (AgentTime, DispatchKind),
        verdict: &Verdict,
        retry: &Retry,
        orders: &[OrderTag],
    ) -> bool {
        let newest = self.newest();
        let failure = &mut self.failures[index as usize];
        let end = Try {
            retry_state: &failure.retry_state,
            order: &orders[index as usize % self.keys.min(orders.len())],
            recorded_at: failure.recorded_at,
            attempt: failure.attempts,
            sent_at,
            dispatch_kind,
            verdict,
            newest,
        };
        let rules = Rules { retry, pace: self.pace };
        let judgement = judge(&end, &mut self.upstream, rules, now, &mut self.random);
        failure.retry_state = judgement.retry_state;
        match judgement.decision {
            Decision::Accepted => {
                failure.delivered = true;
                self.left -= 1;
                let next = (index as usize).saturating_add(self.keys);
                if (index as usize) < self.backlog && next < self.backlog {
                    self.fresh.push_back(u32::try_from(next).unwrap());
                }
            }
            Decision::Uncounted { due_at } => self.tried.push(Reverse((due_at, index))),
            Decision::Counted { wait, .. } => self.tried.push(Reverse((now.agent.after(wait), index))),
            Decision::NeedsPerson { .. } => {
                self.critical.insert(index);
            }
        }
        if let Some(refund) = judgement.refund {
            for (index, failure) in self.failures.iter_mut().enumerate().filter(|(_, failure)| !failure.delivered) {
                if let Some(back) = refund.of(&failure.retry_state) {
                    failure.retry_state = back;
                    self.critical.remove(&u32::try_from(index).unwrap());
                }
            }
        }
        judgement.decision == Decision::Accepted
    }

    /// Valid failures that were charged a retry or need an operator.
    pub(crate) fn charged(&self) -> usize {
        let charged = |failure: &&Failure| {
            failure.retry_state.retry_count > 0
                || (!failure.delivered && failure.retry_state.standing.status() != Status::Pending)
                || failure.retry_state.standing == Standing::SecondChance
        };
        self.failures.iter().filter(charged).count()
    }
}
