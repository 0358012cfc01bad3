//! Does it hold? The table of `spec/03`, Alerts, one function a group of its lines.

use super::{Rules, Watch};
use crate::agent::{Agent, recording};
use crate::limits::{ALERT_LOOK, CLOCK_TOLERANCE_MS, FAILING_FOR, LARGE_LOG, bytes, cut};
use crate::moment::{AgentTime, Moment};
use crate::policy::alert::window::{EntityTag, Recent};
use crate::policy::alert::{Kind, OTHERS};
use crate::policy::judge::Decision;
use crate::policy::upstream::Upstream;
use crate::store::alerts::{Happened, When};
use crate::store::{Room, StoreError};
use std::time::Duration;

/// Critical failures are counted so far.
const MOST_COUNTED: usize = 1000;

/// What an upstream's alerts are about.
const OF_UPSTREAMS: [Kind; 4] = [Kind::UpstreamOffline, Kind::UpstreamBlocked, Kind::UpstreamFailing, Kind::ClockWrong];

/// Fewer than these end `many_failures`: 8, where it began above 10.
pub(super) fn few(threshold: u64) -> u64 {
    (threshold * 8).div_ceil(10).max(1)
}

impl Watch {
    /// From now on it is kept; `past` is what happened before.
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
        self.kept_since = Some(now.agent);
    }

    /// Other thresholds; what was counted stays counted as far as they allow.
    pub(super) fn take_rules(&mut self, rules: &Rules) {
        self.recorded = Recent::above(rules.many_failures.count).with(&self.recorded);
        (self.rules, self.looked_at) = (rules.clone(), None);
    }

    /// `many_failures`. What was recorded before the start is not all known, so it is not ended before
    /// its whole time was seen.
    fn look_at_recording(&mut self, now: Moment, anew: bool) {
        let rule = self.rules.many_failures;
        let count = self.recorded.count(now.agent, rule.window);
        let seen_all = self.kept_since.is_some_and(|since| now.agent.since(since) >= rule.window);
        if count > rule.count {
            let words = || format!("more than {} failures were recorded within {}", rule.count, span(rule.window));
            self.board.fire(now, Kind::ManyFailures, "", anew, || (words(), count));
        } else if count < few(rule.count) && seen_all {
            self.board.clear(now, Kind::ManyFailures, "");
        }
    }

    /// `high_retries`
    fn look_at_retries(&mut self, now: Moment, anew: bool) {
        /// It ends at this share of the threshold: at 1.8, where it began above 2.
        const LOW: f64 = 0.9;
        let threshold = self.rules.high_retries;
        match self.retries.mean {
            Some(mean) if mean > threshold => {
                let words = || (format!("live failures have {mean:.1} counted tries on average"), 0);
                self.board.fire(now, Kind::HighRetries, "", anew, words);
            }
            Some(mean) if mean > 0.0 && mean >= threshold * LOW => {}
            Some(_) => self.board.clear(now, Kind::HighRetries, ""),
            None => {}
        }
    }

    /// `upstream_*` and `clock_wrong` of one upstream.
    fn look_at_upstream(&mut self, now: Moment, anew: bool, (name, state): (&str, &Upstream)) {
        let reason = || cut(state.reason().unwrap_or("it accepts nothing"), 200);
        let patience = self.rules.upstream_offline;
        let board = &mut self.board;
        match state.is_silent_for(now.agent, patience) {
            Some(true) => board.fire(now, Kind::UpstreamOffline, name, anew, || {
                (format!("nothing was accepted by {name} for {} or longer: {}", span(patience), reason()), 0)
            }),
            Some(false) if !state.is_silent() => board.clear(now, Kind::UpstreamOffline, name),
            // Not for so long, but what began before stays until something is accepted.
            Some(false) | None => {}
        }
        match state.blocked_by() {
            Some(why) => board.fire(now, Kind::UpstreamBlocked, name, anew, || {
                (format!("{name} takes nothing as it is set up: {}", cut(why, 200)), 0)
            }),
            None => board.clear(now, Kind::UpstreamBlocked, name),
        }
        match state.failing_since() {
            Some((since, why)) if now.agent.since(since) >= FAILING_FOR => {
                let words = || (format!("{name} fails whatever it is sent: {}", cut(why, 200)), 0);
                board.fire(now, Kind::UpstreamFailing, name, anew, words);
            }
            Some(_) => {}
            None => board.clear(now, Kind::UpstreamFailing, name),
        }
        match state.clock_skew_ms().map(i64::unsigned_abs) {
            Some(skew) if skew > CLOCK_TOLERANCE_MS => board.fire(now, Kind::ClockWrong, name, anew, || {
                let differ = span(Duration::from_secs(skew / 1000));
                (format!("the terminal's clock and that of {name} differ by {differ}"), skew)
            }),
            Some(_) => board.clear(now, Kind::ClockWrong, name),
            None => {}
        }
    }

    /// What an upstream's alert was about has left the configuration.
    fn end_unconfigured(&mut self, now: Moment, names: &[&str]) {
        for kind in OF_UPSTREAMS {
            for gone in self.board.subjects(kind).iter().filter(|subject| !names.contains(&subject.as_str())) {
                self.board.clear(now, kind, gone);
            }
        }
    }
}

impl Agent {
    /// Looks at everything that may have changed; once a minute, and at first, at what lasts as well.
    pub(super) fn look(&mut self, now: Moment) {
        let anew = self.watch.looked_at.is_none_or(|at| now.agent.since(at) >= ALERT_LOOK);
        if anew {
            self.watch.looked_at = Some(now.agent);
            let names: Vec<&str> = self.lines.iter().map(|line| line.config.name.as_str()).collect();
            self.watch.end_unconfigured(now, &names);
            self.watch.board.tidy(now);
        }
        let stirred = std::mem::take(&mut self.watch.stirred);
        let readable = self.settle.refusal().is_none() && self.round.failed.is_none();
        let looked = if readable { self.look_into_store(now, stirred, anew) } else { Ok(()) };
        self.watch.stirred |= stirred && !readable;
        if let Err(error) = looked {
            self.watch.stirred = true;
            self.settle.met(now.agent, &error);
        }
        for line in &self.lines {
            self.watch.look_at_upstream(now, anew, (&line.config.name, &line.state));
        }
        self.look_at_disk(now, anew);
        self.watch.look_at_recording(now, anew);
        self.watch.look_at_retries(now, anew);
    }

    /// When an upstream's alert begins, if nothing happens.
    pub(super) fn upstreams_change_at(&self) -> Option<AgentTime> {
        let board = &self.watch.board;
        let each = |line: &crate::agent::Line| {
            let is = |kind| board.is_active(kind, &line.config.name);
            let silent = line.state.silent_at(self.watch.rules.upstream_offline);
            let failing = line.state.failing_since().map(|(since, _)| since.after(FAILING_FOR));
            let silent = silent.filter(|_| !is(Kind::UpstreamOffline));
            silent.into_iter().chain(failing.filter(|_| !is(Kind::UpstreamFailing))).min()
        };
        self.lines.iter().filter_map(each).min()
    }

    /// `disk_low`, `wal_large`
    fn look_at_disk(&mut self, now: Moment, anew: bool) {
        let (least, log) = (self.limits.min_free_disk, self.log_size);
        let board = &mut self.watch.board;
        match self.disk_free {
            Some(free) if free < least.saturating_mul(2) => board.fire(now, Kind::DiskLow, "", anew, || {
                (format!("{} are free on the disk; below {} nothing is recorded", bytes(free), bytes(least)), free)
            }),
            Some(_) => board.clear(now, Kind::DiskLow, ""),
            None => {}
        }
        if log >= LARGE_LOG {
            board.fire(now, Kind::WalLarge, "", anew, || {
                (format!("the database's log has {}: another program reads without an end; end it", bytes(log)), log)
            });
        } else {
            board.clear(now, Kind::WalLarge, "");
        }
    }

    /// What only the store knows.
    fn look_into_store(&mut self, now: Moment, stirred: bool, anew: bool) -> Result<(), StoreError> {
        self.look_at_room(now, stirred || anew)?;
        self.look_at_entities(now, anew)?;
        for index in 0..self.lines.len() {
            let line = &self.lines[index];
            if line.state.is_silent_online() && !self.store.any_pending(&line.config.name)? {
                self.lines[index].state.rest();
            }
        }
        if !stirred && !anew {
            return Ok(());
        }
        if self.store.any_critical()? {
            if anew || !self.watch.board.is_active(Kind::CriticalFailures, "") {
                let count = self.store.count_critical(MOST_COUNTED)?;
                self.watch.board.fire(now, Kind::CriticalFailures, "", true, || (need_a_person(count), count));
            }
        } else {
            self.watch.board.clear(now, Kind::CriticalFailures, "");
        }
        Ok(())
    }

    /// `database_full`: a record was refused for it; until there is room.
    fn look_at_room(&mut self, now: Moment, ask: bool) -> Result<(), StoreError> {
        let room = match self.round.room {
            Some(room) => room,
            None if ask && self.watch.board.is_active(Kind::DatabaseFull, "") => self.store.room()?,
            None => return Ok(()),
        };
        if room == Room::Enough {
            self.watch.board.clear(now, Kind::DatabaseFull, "");
        } else {
            let words = || (recording::no_room(room, &self.limits).message, self.store.ledger().live);
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
                let words = format!(
                    "{subject}: more than {} failures or counted tries within {}",
                    rule.count,
                    span(rule.window)
                );
                (words, rule.count + 1)
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

/// An entity as an alert's subject. A type has no blank in it.
fn subject_of(entity_type: &str, entity_id: &str) -> String {
    format!("{entity_type} {entity_id}")
}

fn tag_of(subject: &str) -> Option<(EntityTag, &str, &str)> {
    let (entity_type, entity_id) = subject.split_once(' ').filter(|_| subject != OTHERS)?;
    Some((EntityTag::of(entity_type, entity_id), entity_type, entity_id))
}

fn need_a_person(count: u64) -> String {
    match count {
        1 => "1 failure needs a person".to_owned(),
        count if count >= MOST_COUNTED as u64 => format!("{MOST_COUNTED} failures or more need a person"),
        count => format!("{count} failures need a person"),
    }
}

/// `24 h`, `15 min`, `90 s`
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds >= 120 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
