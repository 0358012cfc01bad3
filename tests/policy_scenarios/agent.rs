//! What agent and store do around the policy, in the simplest way: heads, due failures, the choice
//! of canaries, sweeping, extra attempts, probes, and the next wake-up.

use super::{Due, Event, Line, Till, mode_at, moment, seq};
use crate::world;
use resyncd::config::upstream::Ordering;
use resyncd::ids::Seq;
use resyncd::moment::AgentTime;
use resyncd::policy::backoff::CONTACT_GRACE;
use resyncd::policy::retry_state::{CHANCE_AFTER, Cause, Standing};
use resyncd::policy::upstream::Chances;
use resyncd::record::Status;

impl Till {
    pub(super) fn pump(&mut self) {
        let now = moment(self.now_ms).agent;
        let mut deadlines = Vec::new();
        for line in 0..self.lines.len() {
            self.grant_extra_attempts(line, now, &mut deadlines);
            self.sweep(line, now);
            self.send(line, now);
            self.probe(line, now);
            self.deadlines(line, now, &mut deadlines);
        }
        let next = deadlines.into_iter().filter(|at| *at > now).min().map(|at| at.as_millis() as u64);
        if let Some(next) = next.filter(|next| *next != self.timer_ms) {
            self.timer_ms = next;
            self.at(next, Event::Timer);
        }
    }

    fn grant_extra_attempts(&mut self, line: usize, now: AgentTime, deadlines: &mut Vec<AgentTime>) {
        let upstream = &mut self.lines[line].upstream;
        if upstream.chances == Chances::None {
            return;
        }
        let at_once = upstream.chances == Chances::Due;
        upstream.chances = Chances::None;
        for failure in self.failures.iter_mut().filter(|f| f.live && f.upstream == line) {
            let Standing::Critical(Cause::Counted { at }) = failure.retry_state.standing else { continue };
            let Some(again) = failure.retry_state.second_chance(upstream.evidence()) else { continue };
            if at_once || at.after(CHANCE_AFTER) <= now {
                failure.retry_state = again;
                (failure.due, failure.uncounted) = (Due::At(now), true);
            } else {
                upstream.chances = Chances::Waiting;
                deadlines.push(at.after(CHANCE_AFTER));
            }
        }
    }

    fn sweep(&mut self, line: usize, now: AgentTime) {
        let upstream = &mut self.lines[line].upstream;
        let Some(sweep) = upstream.sweep.take() else { return };
        for (index, failure) in self.failures.iter_mut().enumerate() {
            let concerned = failure.live && failure.upstream == line && failure.uncounted;
            let concerned = concerned && sweep.takes(Seq(seq(index)), failure.retry_state.last_sent_at);
            if let (true, Due::At(at)) =
                (concerned && failure.retry_state.retry_after_until.is_none_or(|b| b <= now), failure.due)
            {
                failure.due = Due::At(at.min(now));
            }
        }
    }

    /// When a head may be sent, if its upstream accepts; `None` when it waits for contact or an operator.
    fn due_at(&self, index: usize) -> Option<AgentTime> {
        let failure = &self.failures[index];
        match failure.due {
            Due::At(at) => Some(at),
            Due::Line if seq(index) <= self.lines[failure.upstream].upstream.contact_seq => {
                Some(AgentTime::from_millis(failure.recorded_ms as i64).after(CONTACT_GRACE))
            }
            Due::Line => None,
        }
    }

    /// Pending heads that are not in flight.
    fn heads(&self, line: usize) -> Vec<usize> {
        let free = |index: &usize| {
            let failure = &self.failures[*index];
            failure.upstream == line && failure.retry_state.standing.status() == Status::Pending && !failure.in_flight
        };
        if self.lines[line].pace.ordering == Ordering::Strict {
            let first = self.lines[line].queue.front().copied().filter(|index| {
                self.keys.get(&self.failures[*index].key).and_then(|queue| queue.front()) == Some(index)
            });
            return first.into_iter().filter(free).collect();
        }
        self.keys.values().filter_map(|queue| queue.front().copied()).filter(free).collect()
    }

    fn send(&mut self, line: usize, now: AgentTime) {
        loop {
            let upstream = &self.lines[line].upstream;
            let canary = upstream.canary_due(now);
            let chosen = if canary {
                self.canary(line, now)
            } else if upstream.slots(now, self.lines[line].pace) > 0 {
                let untried_first = upstream.prefers_untried();
                let due = self.heads(line).into_iter().filter_map(|index| Some((self.due_at(index)?, index)));
                due.filter(|(at, _)| *at <= now)
                    .min_by_key(|(at, index)| (untried_first && self.failures[*index].attempts > 0, *at, *index))
                    .map(|(_, index)| index)
            } else {
                None
            };
            let Some(index) = chosen else { return };
            self.dispatch(index, canary, now);
        }
    }

    fn canary(&self, line: usize, now: AgentTime) -> Option<usize> {
        let routes = self.lines[line].upstream.routes();
        let bound =
            |index: &usize| self.failures[*index].retry_state.retry_after_until.is_some_and(|until| until > now);
        self.heads(line).into_iter().filter(|index| !bound(index)).min_by_key(|index| {
            let failure = &self.failures[*index];
            (routes.recency(&failure.route), failure.retry_state.last_sent_at, *index)
        })
    }

    fn dispatch(&mut self, index: usize, canary: bool, now: AgentTime) {
        let earlier = self.failures[..index].iter().any(|f| f.live && f.key == self.failures[index].key);
        if earlier {
            self.violations.push(format!("#{index} was sent before its predecessor had left"));
        }
        let failure = &mut self.failures[index];
        failure.in_flight = true;
        failure.attempts += 1;
        let line = &mut self.lines[failure.upstream];
        let dispatch_kind = line.upstream.sent(now, canary, &failure.route, line.pace);
        let mode = mode_at(&line.phases, self.now_ms);
        let (ending, took) = world::answer(mode, failure.kind, failure.route_no, &mut self.world);
        let (sent_ms, run) = (self.now_ms, self.run);
        self.at(sent_ms + took, Event::TryEnded { failure: index, ending, sent_ms, dispatch_kind, run });
    }

    fn probe(&mut self, line: usize, now: AgentTime) {
        let waits = self
            .heads(line)
            .into_iter()
            .any(|index| self.failures[index].due == Due::Line && seq(index) > self.lines[line].upstream.contact_seq);
        let newest = self.recorded;
        let Line { upstream, pace, phases, .. } = &mut self.lines[line];
        if waits {
            upstream.overtaken(now);
        }
        if upstream.probe_due(now, *pace) {
            upstream.probe_sent(now, newest);
            let (end, took) = world::probe(mode_at(phases, self.now_ms));
            self.probes.push(self.now_ms);
            let (at, run) = (self.now_ms + took, self.run);
            self.at(at, Event::ProbeEnded { line, end, run });
        }
    }

    fn deadlines(&self, line: usize, now: AgentTime, deadlines: &mut Vec<AgentTime>) {
        let Line { upstream, pace, .. } = &self.lines[line];
        let heads = self.heads(line);
        let bound = |index: &usize| self.failures[*index].retry_state.retry_after_until.filter(|until| *until > now);
        let waits = if upstream.is_shut() {
            deadlines.extend(heads.iter().filter_map(bound));
            heads.iter().any(|index| bound(index).is_none())
        } else {
            let due: Vec<AgentTime> = heads.iter().filter_map(|index| self.due_at(*index)).collect();
            deadlines.extend(due.iter().filter(|at| **at > now));
            due.iter().any(|at| *at <= now)
        };
        deadlines.extend(upstream.deadline(now, waits, *pace));
    }
}
