//! Evaluation of alert conditions, one function for each group.

use super::{Rules, Watch};
use crate::agent::Agent;
use crate::limits::{ALERT_RECHECK_INTERVAL, CLOCK_TOLERANCE_MS, FAILING_ALERT_DELAY, LARGE_LOG, PAUSED_FOR, cut};
use crate::moment::{AgentTime, Moment};
use crate::policy::alert::window::{EntityTag, Recent};
use crate::policy::alert::{Kind, OTHERS};
use crate::policy::judge::Decision;
use crate::policy::upstream::Upstream;
use crate::store::alerts::{Happened, When};
use crate::store::{Room, StoreError};
use crate::text::numbers::{decimal, size};
use crate::text::phrases::of_attempt;
use crate::text::{Count, alerts as text};
use std::time::Duration;

/// Critical failures are counted up to this number.
const MOST_COUNTED: usize = 1000;

/// The kinds of alert whose subject is an upstream.
const OF_UPSTREAMS: [Kind; 6] = [
    Kind::UpstreamOffline,
    Kind::UpstreamBlocked,
    Kind::UpstreamFailing,
    Kind::UpstreamPaused,
    Kind::UploadTimeout,
    Kind::ClockWrong,
];

/// Up to so many critical failures are counted whenever something has changed.
const ALWAYS_COUNTED: usize = 100;

/// `many_failures` ends below this count: 8 when the threshold is 10.
pub(super) fn few(threshold: u64) -> u64 {
    (threshold * 8).div_ceil(10).max(1)
}

impl Watch {
    /// Starts the evaluation; `past` lists earlier events from the store.
    pub(super) fn begin(&mut self, now: Moment, past: &[Happened]) {
        let agent_time = |happened: &Happened| match happened.at {
            When::Agent(at) => at.min(now.agent),
            When::Wall(at) => now.agent.before(now.wall.since(at)),
        };
        let mut past: Vec<(AgentTime, &Happened)> = past.iter().map(|one| (agent_time(one), one)).collect();
        past.sort_by_key(|(at, _)| *at);
        for (at, happened) in past {
            if happened.recorded {
                self.recorded.note(at);
            }
            let tag = EntityTag::of(&happened.entity_type, &happened.entity_id);
            self.entities.note(at, tag, self.rules.entity_failing.window);
        }
        self.many = self.is_over(now.agent);
        self.kept_since = Some(now.agent);
    }

    /// Changes the thresholds. Earlier counts are kept as far as the new thresholds allow.
    pub(super) fn take_rules(&mut self, rules: &Rules) {
        self.recorded = Recent::above(rules.many_failures.count).with(&self.recorded);
        (self.rules, self.looked_at) = (rules.clone(), None);
    }

    /// `many_failures`. Records from before the start are not all known, so the alert does not end until the whole
    /// period has been observed.
    fn look_at_recording(&mut self, now: Moment, anew: bool) {
        let rule = self.rules.many_failures;
        let count = self.recorded.count(now.agent, rule.window);
        let seen_all = self.kept_since.is_some_and(|since| now.agent.since(since) >= rule.window);
        if count > rule.count && self.many {
            let words = || text::many_failures(rule.count, &span(rule.window));
            self.board.fire(now, Kind::ManyFailures, "", anew, || (words(), count));
        } else if count < few(rule.count) && seen_all && self.noted.is_empty() {
            self.board.clear(now, Kind::ManyFailures, "");
        }
    }

    /// `high_retries`
    fn look_at_retries(&mut self, now: Moment, anew: bool) {
        /// The alert ends at this share of the threshold: at 1.8 if it begins above 2.
        const LOW: f64 = 0.9;
        let threshold = self.rules.high_retries;
        match self.retries.mean {
            Some(mean) if mean > threshold => {
                let words = || (text::high_retries(&decimal(mean, 1)), 0);
                self.board.fire(now, Kind::HighRetries, "", anew, words);
            }
            Some(mean) if mean > 0.0 && mean >= threshold * LOW => {}
            Some(_) => self.board.clear(now, Kind::HighRetries, ""),
            None => {}
        }
    }

    /// `upstream_*` and `clock_wrong` of one upstream.
    fn look_at_upstream(&mut self, now: Moment, anew: bool, (name, state): (&str, &Upstream)) {
        let patience = self.rules.upstream_offline;
        let board = &mut self.board;
        match state.is_silent_for(now.agent, patience) {
            Some(true) => board.fire(now, Kind::UpstreamOffline, name, anew, || {
                let patience = span(patience);
                let words = state.reason().map_or_else(
                    || text::upstream_offline_unexplained(name, &patience),
                    |why| text::upstream_offline(name, &patience, &reason(why, 200)),
                );
                (words, 0)
            }),
            Some(false) if !state.is_silent() => board.clear(now, Kind::UpstreamOffline, name),
            // Not failing for long enough to begin, but an active alert stays until something is accepted.
            Some(false) | None => {}
        }
        match state.blocked_by() {
            Some(why) => {
                let words = || (text::upstream_blocked(name, &reason(why, 200)), 0);
                board.fire(now, Kind::UpstreamBlocked, name, anew, words);
            }
            None => board.clear(now, Kind::UpstreamBlocked, name),
        }
        match state.failing_since() {
            Some((since, why)) if now.agent.since(since) >= FAILING_ALERT_DELAY => {
                let words = || (text::upstream_failing(name, &reason(why, 200)), 0);
                board.fire(now, Kind::UpstreamFailing, name, anew, words);
            }
            Some(_) => {}
            None => board.clear(now, Kind::UpstreamFailing, name),
        }
        match state.uploads_time_out(now.agent) {
            Some(why) => {
                board.fire(now, Kind::UploadTimeout, name, anew, || (text::upload_timeout(name, &reason(why, 300)), 0));
            }
            None => board.clear(now, Kind::UploadTimeout, name),
        }
        match state.clock_skew_ms().map(i64::unsigned_abs) {
            Some(skew) if skew > CLOCK_TOLERANCE_MS => board.fire(now, Kind::ClockWrong, name, anew, || {
                let differ = span(Duration::from_secs(skew / 1000));
                (text::clock_wrong(name, &differ), skew)
            }),
            Some(_) => board.clear(now, Kind::ClockWrong, name),
            None => {}
        }
    }

    /// Ends the alerts of upstreams that are no longer configured.
    fn end_unconfigured(&mut self, now: Moment, names: &[&str]) {
        for kind in OF_UPSTREAMS {
            for gone in self.board.subjects(kind).iter().filter(|subject| !names.contains(&subject.as_str())) {
                self.board.clear(now, kind, gone);
            }
        }
    }
}

impl Agent {
    /// Evaluates all conditions that may have changed; at the first call and once a minute, also those that persist.
    pub(super) fn look(&mut self, now: Moment) {
        let anew = self.watch.looked_at.is_none_or(|at| now.agent.since(at) >= ALERT_RECHECK_INTERVAL);
        if anew {
            self.watch.looked_at = Some(now.agent);
            let names: Vec<&str> = self.upstreams.iter().map(|line| line.config.name.as_str()).collect();
            self.watch.end_unconfigured(now, &names);
            self.watch.board.tidy(now);
        }
        let stirred = std::mem::take(&mut self.watch.stirred);
        let readable = self.write_recovery.refusal().is_none() && self.round.failed.is_none();
        let looked = if readable { self.look_into_store(now, stirred, anew) } else { Ok(()) };
        self.watch.stirred |= stirred && !readable;
        if let Err(error) = looked {
            self.watch.stirred = true;
            self.write_recovery.met(now.agent, &error);
        }
        for line in &self.upstreams {
            self.watch.look_at_upstream(now, anew, (&line.config.name, &line.state));
        }
        self.look_at_disk(now, anew);
        self.watch.look_at_recording(now, anew);
        self.watch.look_at_retries(now, anew);
    }

    /// When an upstream's alert begins if its state does not change.
    pub(super) fn upstreams_change_at(&self) -> Option<AgentTime> {
        let board = &self.watch.board;
        let each = |line: &crate::agent::UpstreamEntry| {
            let is = |kind| board.is_active(kind, &line.config.name);
            let silent = line.state.silent_at(self.watch.rules.upstream_offline);
            let failing = line.state.failing_since().map(|(since, _)| since.after(FAILING_ALERT_DELAY));
            let silent = silent.filter(|_| !is(Kind::UpstreamOffline));
            let paused = line.state.paused_since().map(|since| since.after(PAUSED_FOR));
            let failing = failing.filter(|_| !is(Kind::UpstreamFailing));
            silent.into_iter().chain(failing).chain(paused.filter(|_| !is(Kind::UpstreamPaused))).min()
        };
        self.upstreams.iter().filter_map(each).min()
    }

    /// `disk_low`, `wal_large`
    fn look_at_disk(&mut self, now: Moment, anew: bool) {
        let (least, log) = (self.limits.min_free_disk, self.log_size);
        let board = &mut self.watch.board;
        match self.disk_free {
            Some(free) if free < least.saturating_mul(2) => {
                board.fire(now, Kind::DiskLow, "", anew, || (text::disk_low(&size(free), &size(least)), free));
            }
            Some(_) => board.clear(now, Kind::DiskLow, ""),
            None => {}
        }
        if log >= LARGE_LOG {
            board.fire(now, Kind::WalLarge, "", anew, || (text::wal_large(&size(log)), log));
        } else {
            board.clear(now, Kind::WalLarge, "");
        }
    }

    /// Evaluates the conditions that need queries of the store.
    fn look_into_store(&mut self, now: Moment, stirred: bool, anew: bool) -> Result<(), StoreError> {
        self.look_at_entities(now, anew)?;
        self.look_at_room(now, stirred || anew)?;
        for index in 0..self.upstreams.len() {
            self.look_at_pause(now, anew, index)?;
            let line = &self.upstreams[index];
            if line.state.is_silent_online() && !self.store.any_pending(&line.config.name)? {
                self.upstreams[index].state.rest();
            }
        }
        if !stirred && !anew {
            return Ok(());
        }
        if self.store.any_critical()? {
            // A few are counted at each look, so that the message does not lag behind what the list shows.
            let full = anew || !self.watch.board.is_active(Kind::CriticalFailures, "");
            let count = self.store.count_critical(if full { MOST_COUNTED } else { ALWAYS_COUNTED })?;
            if full || count < ALWAYS_COUNTED as u64 {
                self.watch.board.fire(now, Kind::CriticalFailures, "", true, || (need_a_person(count), count));
            }
        } else {
            self.watch.board.clear(now, Kind::CriticalFailures, "");
        }
        Ok(())
    }

    /// `upstream_paused`: an operator paused the upstream an hour ago, and failures are waiting for it.
    fn look_at_pause(&mut self, now: Moment, anew: bool, index: usize) -> Result<(), StoreError> {
        let line = &self.upstreams[index];
        let (name, board) = (&line.config.name, &mut self.watch.board);
        let long = line.state.paused_since().is_some_and(|since| now.agent.since(since) >= PAUSED_FOR);
        if long && self.store.any_pending(name)? {
            board.fire(now, Kind::UpstreamPaused, name, anew, || (text::upstream_paused(name, &span(PAUSED_FOR)), 0));
        } else {
            board.clear(now, Kind::UpstreamPaused, name);
        }
        Ok(())
    }

    /// `database_full`: a record was refused for lack of space; ends when there is space again.
    fn look_at_room(&mut self, now: Moment, ask: bool) -> Result<(), StoreError> {
        let room = match self.round.room {
            Some(room) => room,
            None if ask && self.watch.board.is_active(Kind::DatabaseFull, "") => self.store.room()?,
            None => return Ok(()),
        };
        if room == Room::Enough {
            self.watch.board.clear(now, Kind::DatabaseFull, "");
        } else {
            let words = || {
                let message = match room {
                    Room::TooMany => text::too_many(self.limits.max_failures),
                    _ => text::database_full(&size(self.limits.max_database)),
                };
                (message, self.store.ledger().live)
            };
            self.watch.board.fire(now, Kind::DatabaseFull, "", ask, words);
        }
        Ok(())
    }

    /// `entity_failing`
    fn look_at_entities(&mut self, now: Moment, anew: bool) -> Result<(), StoreError> {
        let rule = self.watch.rules.entity_failing;
        for (tag, (entity_type, entity_id)) in std::mem::take(&mut self.watch.crossed) {
            let subject = subject_of(&entity_type, &entity_id);
            self.watch.board.fire(now, Kind::EntityFailing, &subject, false, || {
                (text::entity_failing(&subject, rule.count, &span(rule.window)), rule.count + 1)
            });
            self.watch.alerted.insert(tag);
        }
        let left = |outcome: &&crate::agent::outcomes::Outcome| outcome.judgement.decision == Decision::Accepted;
        let mut doubtful = Vec::new();
        if anew {
            doubtful = self.watch.board.subjects(Kind::EntityFailing);
            let named = doubtful.iter().filter_map(|subject| tag_of(subject).map(|(tag, ..)| tag));
            self.watch.alerted = named.collect();
        } else if !self.watch.alerted.is_empty() {
            for outcome in self.round.outcomes.iter().filter(left) {
                let (entity_type, entity_id) = (&outcome.failure.entity_type, &outcome.failure.entity_id);
                if self.watch.alerted.contains(&EntityTag::of(entity_type, entity_id)) {
                    doubtful.push(subject_of(entity_type, entity_id));
                }
            }
        }
        for subject in doubtful {
            let Some((tag, entity_type, entity_id)) = tag_of(&subject) else { continue };
            let quiet = self.watch.entities.count(now.agent, tag, rule.window) == 0;
            if quiet || !self.store.any_of_entity(entity_type, entity_id)? {
                self.watch.board.clear(now, Kind::EntityFailing, &subject);
                self.watch.alerted.remove(&tag);
            }
        }
        Ok(())
    }
}

/// Formats an entity as an alert's subject. A type contains no blank.
fn subject_of(entity_type: &str, entity_id: &str) -> String {
    format!("{entity_type} {entity_id}")
}

fn tag_of(subject: &str) -> Option<(EntityTag, &str, &str)> {
    let (entity_type, entity_id) = subject.split_once(' ').filter(|_| subject != OTHERS)?;
    Some((EntityTag::of(entity_type, entity_id), entity_type, entity_id))
}

fn need_a_person(count: u64) -> String {
    match count {
        count if count >= MOST_COUNTED as u64 => text::critical_failures_or_more(Count(MOST_COUNTED as u64)),
        count => text::critical_failures(count),
    }
}

/// An upstream's reason in the language of the message, cut to `most` bytes.
fn reason(why: &str, most: usize) -> String {
    cut(&of_attempt(why), most)
}

/// `24 h`, `15 min`, `90 s`
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds >= 120 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
