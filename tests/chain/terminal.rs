//! One terminal of the chain: the shipped policy over a backlog in memory.

use resyncd::config::Retry;
use resyncd::moment::{AgentTime, Moment};
use resyncd::policy::backoff::LINE_WAIT;
use resyncd::policy::canary::Route;
use resyncd::policy::class::Verdict;
use resyncd::policy::dossier::{CHANCE_AFTER, Dossier, OrderTag, Standing};
use resyncd::policy::judge::{Decision, Rules, Try, judge};
use resyncd::policy::upstream::{Chances, Errand, Pace, Upstream};
use resyncd::record::Status;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

pub(crate) struct Failure {
    pub(crate) dossier: Dossier,
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
    /// When its present wake-up is, in µs.
    pub(crate) wake_us: u64,
    pub(crate) rtt_s: f64,
    pub(crate) random: fastrand::Rng,
    /// How many order keys the backlog has; the rest of a key waits behind its head.
    keys: usize,
    pub(crate) backlog: usize,
    /// Heads that were never tried, in order.
    fresh: VecDeque<u32>,
    /// Heads that were, by the time at which they are due.
    tried: BinaryHeap<Reverse<(AgentTime, u32)>>,
    /// Critical ones.
    critical: BTreeSet<u32>,
}

/// What a terminal wants to be done.
pub(crate) enum Wish {
    Send { failure: u32, errand: Errand },
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
            fresh: VecDeque::new(),
            tried: BinaryHeap::new(),
            critical: BTreeSet::new(),
        }
    }

    pub(crate) fn record(&mut self, now: AgentTime) -> u32 {
        let index = u32::try_from(self.failures.len()).unwrap();
        self.failures.push(Failure { dossier: Dossier::fresh(), recorded_at: now, delivered: false, attempts: 0 });
        self.left += 1;
        if (index as usize) < self.keys || index as usize >= self.backlog {
            self.fresh.push_back(index);
        }
        self.upstream.hint(now);
        index
    }

    fn newest(&self) -> i64 {
        self.failures.len() as i64
    }

    /// When a fresh one may go, were the line open.
    fn due_at(&self, index: u32) -> Option<AgentTime> {
        let known = i64::from(index) < self.upstream.contact_seq;
        known.then(|| self.failures[index as usize].recorded_at.after(LINE_WAIT))
    }

    /// What it does now, and when it wants to be woken.
    pub(crate) fn pump(&mut self, now: Moment, route: &Route) -> (Vec<Wish>, Option<AgentTime>) {
        let mut wishes = Vec::new();
        let mut deadlines = Vec::new();
        self.give_chances(now.agent, &mut deadlines);
        self.upstream.sweeping = false; // What was tried is due when its pause ends: below.
        while let Some((failure, canary)) = self.choose(now.agent) {
            self.failures[failure as usize].attempts += 1;
            let errand = self.upstream.sent(now.agent, canary, route, self.pace);
            wishes.push(Wish::Send { failure, errand });
        }
        if self.fresh.back().is_some_and(|newest| i64::from(*newest) >= self.upstream.contact_seq) {
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

    fn give_chances(&mut self, now: AgentTime, deadlines: &mut Vec<AgentTime>) {
        if self.upstream.chances == Chances::None {
            return;
        }
        let at_once = self.upstream.chances == Chances::Due;
        self.upstream.chances = Chances::None;
        for index in self.critical.clone() {
            let failure = &mut self.failures[index as usize];
            let Some(again) = failure.dossier.second_chance(self.upstream.evidence()) else { continue };
            if at_once {
                failure.dossier = again;
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
        let free = |index: u32| self.failures[index as usize].dossier.bound_until.is_none_or(|until| until <= now);
        let place = (0..all.len())
            .filter(|place| free(all[*place].0.1))
            .min_by_key(|place| self.failures[all[*place].0.1 as usize].dossier.last_sent_at);
        let found = place.map(|place| all.swap_remove(place).0.1);
        self.tried = all.into();
        found
    }

    /// A try has ended; is it delivered?
    pub(crate) fn tried(
        &mut self,
        now: Moment,
        index: u32,
        (sent_at, errand): (AgentTime, Errand),
        verdict: &Verdict,
        retry: &Retry,
        orders: &[OrderTag],
    ) -> bool {
        let newest = self.newest();
        let failure = &mut self.failures[index as usize];
        let end = Try {
            dossier: &failure.dossier,
            order: &orders[index as usize % self.keys.min(orders.len())],
            recorded_at: failure.recorded_at,
            attempt: failure.attempts,
            sent_at,
            errand,
            verdict,
            newest,
        };
        let rules = Rules { retry, pace: self.pace };
        let judgement = judge(&end, &mut self.upstream, rules, now, &mut self.random);
        failure.dossier = judgement.dossier;
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
        if let Some(give_back) = judgement.give_back {
            for (index, failure) in self.failures.iter_mut().enumerate().filter(|(_, failure)| !failure.delivered) {
                if let Some(back) = give_back.of(&failure.dossier) {
                    failure.dossier = back;
                    self.critical.remove(&u32::try_from(index).unwrap());
                }
            }
        }
        judgement.decision == Decision::Accepted
    }

    /// Healthy failures that were charged a retry or need a person.
    pub(crate) fn charged(&self) -> usize {
        let charged = |failure: &&Failure| {
            failure.dossier.retry_count > 0
                || (!failure.delivered && failure.dossier.standing.status() != Status::Pending)
                || failure.dossier.standing == Standing::SecondChance
        };
        self.failures.iter().filter(charged).count()
    }
}
