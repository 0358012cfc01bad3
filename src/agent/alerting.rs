//! Alerts for operators: updates the board with the agent's state, stores it, and decides when to notify.
//!
//! Conditions are evaluated in every round, before its commit, from memory. The store is queried only when the round
//! has changed something that it knows (`stirred`), and once a minute while an alert is active. A record costs two
//! counters. The mean of retries needs a scan of all failures and is computed by the reader.
//!
//! A disk fault does not prevent notifications: an alert that could not be stored is sent anyway and stored later.
//! Outcomes have priority for the remaining disk space.
//!
//! A command that opens the store without a daemon sends no notifications. Damage that it finds is stored, and the
//! daemon reports it.

mod rules;

use super::{Agent, ClientId, Effect, ReaderRequest};
use crate::config::{Alerts as Rules, Heartbeat};
use crate::limits::{ALERT_RECHECK_INTERVAL, ALERTS_OF_A_KIND};
use crate::moment::{AgentTime, Moment};
use crate::policy::alert::window::{Change, Entities, EntityTag, Recent};
use crate::policy::alert::{Alert, AlertTable, Kind, Words};
use crate::policy::heartbeat;
use crate::policy::judge::Decision;
use crate::question::{Question, View};
use crate::record::Failure;
use crate::store::StoreError;
use crate::wire::alerts::{AlertsReply, Sender, notice, present};
use crate::wire::reply;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Events read at a start: more than `entity_failing` is likely to need, and few enough not to delay the first client
/// (with records of 600 bytes a page holds seven).
const MAX_RESTORED_EVENTS: usize = 512;

/// Minimum interval between queries for the mean of retries, because each scans all failures.
const MEAN_GAP: Duration = Duration::from_secs(10);

/// One notification.
#[derive(Debug)]
pub struct Notification {
    /// The `alerts` reply, for the state file.
    pub reply: Vec<u8>,
    /// The current state, posted when there is a notice.
    pub present: Vec<u8>,
    /// Notices for the program, in order; empty when only the state file is to be updated.
    pub notices: Vec<Vec<u8>>,
}

/// Evaluates the alert conditions and tracks what is stored and sent.
#[derive(Debug)]
pub(super) struct Watch {
    rules: Rules,
    heartbeat: Heartbeat,
    board: AlertTable,
    /// The board's alerts, shared with queries.
    shown: Arc<Vec<Alert>>,
    /// Since when alerts are evaluated; `None`: they are not.
    kept_since: Option<AgentTime>,
    /// The state file is up to date.
    retry_columns: bool,
    recorded: Recent,
    entities: Entities,
    /// Entities above the threshold that no alert names yet.
    crossed: BTreeMap<EntityTag, (String, String)>,
    /// Entities that the board's alert names.
    alerted: BTreeSet<EntityTag>,
    /// Events counted in the open round, undone if its commit fails.
    noted: Vec<Noted>,
    /// Entities that the open round has brought above the threshold.
    crossing: BTreeMap<EntityTag, (String, String)>,
    /// Committed records of the recent past exceed the threshold.
    many: bool,
    /// The round has changed what a query of the store would return.
    stirred: bool,
    /// When all conditions were last evaluated.
    looked_at: Option<AgentTime>,
    retries: Retries,
    next_beat: Option<AgentTime>,
    /// The notification to send with this round.
    telling: Option<Box<Notification>>,
}

/// One event as the open round has counted it.
#[derive(Debug)]
struct Noted {
    recorded: Option<Change<AgentTime>>,
    entity: Change<(AgentTime, EntityTag)>,
}

/// The mean of counted attempts.
#[derive(Debug, Default)]
struct Retries {
    /// The reader's last result.
    mean: Option<f64>,
    asked_at: Option<AgentTime>,
    /// The mean may have risen since it was last queried.
    stirred: bool,
    /// The last query has no result yet. One that failed gets none.
    awaited: bool,
}

impl Watch {
    pub(super) fn new(rules: &Rules, heartbeat: &Heartbeat) -> Self {
        Self {
            rules: rules.clone(),
            heartbeat: heartbeat.clone(),
            board: AlertTable::default(),
            shown: Arc::default(),
            kept_since: None,
            retry_columns: false,
            recorded: Recent::above(rules.many_failures.count),
            entities: Entities::default(),
            crossed: BTreeMap::new(),
            alerted: BTreeSet::new(),
            noted: Vec::new(),
            crossing: BTreeMap::new(),
            many: false,
            stirred: true,
            looked_at: None,
            retries: Retries { stirred: true, ..Retries::default() },
            next_beat: None,
            telling: None,
        }
    }

    /// Counts a failure that the open round has recorded: its entity, and when it was created.
    pub(super) fn recorded(&mut self, created: AgentTime, entity_type: &str, entity_id: &str) {
        let recorded = Some(self.recorded.note(created));
        let entity = self.happened(created, entity_type, entity_id);
        self.noted.push(Noted { recorded, entity });
    }

    /// Counts the committed end of an attempt. The first failed attempt of a handed-over failure counts as a new
    /// failure; a counted attempt counts for its entity.
    pub(super) fn ended(&mut self, now: AgentTime, failure: &Failure, decision: Decision) {
        if decision == Decision::Accepted {
            return;
        }
        let (entity_type, entity_id) = (&failure.entity_type, &failure.entity_id);
        if failure.is_handed_over() {
            self.recorded.note(failure.recorded_at);
            self.happened(failure.recorded_at, entity_type, entity_id);
        }
        if decision.counts() {
            self.retries.stirred = true;
            self.happened(now, entity_type, entity_id);
        }
        self.many = self.is_over(now);
        self.crossed.append(&mut self.crossing);
    }

    fn happened(&mut self, at: AgentTime, entity_type: &str, entity_id: &str) -> Change<(AgentTime, EntityTag)> {
        let (tag, rule) = (EntityTag::of(entity_type, entity_id), self.rules.entity_failing);
        let (count, change) = self.entities.note(at, tag, rule.window);
        let told = self.alerted.contains(&tag) || self.crossed.contains_key(&tag);
        if count > rule.count && !told && self.crossing.len() + self.crossed.len() <= ALERTS_OF_A_KIND {
            self.crossing.insert(tag, (entity_type.to_owned(), entity_id.to_owned()));
        }
        change
    }

    /// Notes that something in the store has changed.
    pub(super) fn stir(&mut self) {
        self.stirred = true;
        // When a failure without counted attempts leaves, the mean of the others rises.
        self.retries.stirred |= self.retries.mean != Some(0.0);
    }

    /// Notes that failures were imported, with counts of their own.
    pub(super) fn imported(&mut self) {
        self.stir();
        self.retries.stirred = true;
    }

    /// Takes the reader's result: the mean of counted attempts over live failures.
    pub(super) fn mean_is(&mut self, mean: f64) {
        (self.retries.mean, self.retries.awaited) = (Some(mean), false);
    }

    /// Settles the round's counts: keeps them if the round was committed, else undoes them.
    pub(super) fn round_ended(&mut self, now: AgentTime, committed: bool) {
        let noted = std::mem::take(&mut self.noted);
        if committed {
            self.crossed.append(&mut self.crossing);
        } else {
            for Noted { recorded, entity } in noted.into_iter().rev() {
                self.entities.undo(entity);
                if let Some(recorded) = recorded {
                    self.recorded.undo(recorded);
                }
            }
            self.crossing.clear();
            self.stirred = true;
        }
        self.many = self.is_over(now);
    }

    fn is_over(&mut self, now: AgentTime) -> bool {
        let rule = self.rules.many_failures;
        self.recorded.count(now, rule.window) > rule.count
    }

    /// Returns whether the last committed round has made a new alert true.
    fn has_news(&self) -> bool {
        let many = self.many && !self.board.is_active(Kind::ManyFailures, "");
        many || !self.crossed.is_empty()
    }

    /// Raises an alert for a single event, such as a quarantine or a foreign write.
    pub(super) fn happen(&mut self, now: Moment, kind: Kind, subject: &str, words: impl Fn() -> Words) {
        self.board.happen(now, kind, subject, words);
    }

    /// The alerts of the board.
    /// Does it hold, for the terminal as a whole?
    pub(super) fn is_active(&self, kind: Kind) -> bool {
        self.board.is_active(kind, "")
    }

    pub(super) fn shown(&self) -> Arc<Vec<Alert>> {
        Arc::clone(&self.shown)
    }

    fn show(&mut self) {
        self.shown = Arc::new(self.board.alerts().cloned().collect());
    }

    /// When to query the mean of retries: soon if it may have risen, otherwise once a minute while it is too high or the
    /// last query has no result.
    fn asks_at(&self) -> Option<AgentTime> {
        let repeats = self.retries.awaited || self.board.is_active(Kind::HighRetries, "");
        let gap = match (self.retries.stirred, repeats) {
            (true, _) => MEAN_GAP,
            (false, true) => ALERT_RECHECK_INTERVAL,
            (false, false) => return None,
        };
        Some(self.retries.asked_at.map_or(AgentTime::ZERO, |last| last.after(gap)))
    }

    /// When to evaluate again if no event comes first.
    fn next_look(&self) -> Option<AgentTime> {
        let many = self.board.is_active(Kind::ManyFailures, "");
        let rule = self.rules.many_failures;
        [
            self.looked_at.map(|last| last.after(ALERT_RECHECK_INTERVAL)).filter(|_| self.board.any_lasts()),
            self.board.next_end_at(),
            self.asks_at(),
            self.recorded.under_at(rules::few(rule.count), rule.window).filter(|_| many),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Agent {
    /// Starts evaluating and sending alerts. Only the daemon calls this, because only it can notify.
    pub fn keep_watch(&mut self, now: Moment) {
        // While the file is being restored it cannot be read, so counting begins at zero.
        let readable = self.write_recovery.refusal().is_none();
        let past = if readable { self.store.happened_of_late(MAX_RESTORED_EVENTS) } else { Ok(Vec::new()) };
        let past = past.unwrap_or_else(|error| {
            self.write_recovery.met(now.agent, &error);
            Vec::new()
        });
        self.watch.begin(now, &past);
        self.plan_beat(now);
    }

    /// Takes over changed thresholds and another heartbeat interval.
    pub fn alert_rules_are(&mut self, now: Moment, rules: &Rules, heartbeat: &Heartbeat) {
        self.watch.take_rules(rules);
        self.watch.heartbeat = heartbeat.clone();
        self.plan_beat(now);
    }

    /// The file was opened and may be another one: merges the alerts that it has stored with those in memory.
    pub(super) fn adopt_alerts(&mut self) -> Result<(), StoreError> {
        let stored = self.store.alerts()?;
        self.watch.board.forget_saved();
        self.watch.board.adopt(stored);
        self.watch.show();
        self.watch.stir();
        Ok(())
    }

    /// Evaluates the conditions and stores changes with the open round; notifications follow its commit.
    pub(super) fn judge_alerts(&mut self, now: Moment) {
        if self.watch.kept_since.is_some() {
            self.look(now);
        }
        let watches = self.watch.kept_since.is_some();
        let notices = if watches { self.watch.board.notices(now) } else { Vec::new() };
        let turned = self.watch.board.has_turned();
        if turned || self.watch.board.unsaved().next().is_some() {
            self.watch.show();
        }
        self.keep_alerts();
        for alert in notices.iter().flat_map(|notice| &notice.alerts) {
            report(alert, self.watch.board.english(alert.kind, &alert.subject));
        }
        if !watches || (!turned && notices.is_empty() && self.watch.retry_columns) {
            return;
        }
        self.watch.retry_columns = true;
        let sender = Sender {
            terminal_id: &self.terminal_id,
            store_id: self.store_id.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
        };
        let telling = Notification {
            reply: reply::ok(&AlertsReply::of(&self.watch.shown), None),
            present: present(sender, now.wall, &self.watch.shown),
            notices: notices.iter().map(|told| notice(sender, now.wall, told)).collect(),
        };
        self.watch.telling = Some(Box::new(telling));
    }

    /// Stores changed alerts, unless outcomes need the remaining disk space.
    fn keep_alerts(&mut self) {
        let board = &self.watch.board;
        let nothing = board.unsaved().next().is_none() && board.gone().is_empty();
        if nothing
            || self.write_recovery.next().is_some()
            || self.write_recovery.is_full()
            || self.store.is_reserved_for_outcomes()
        {
            return;
        }
        let (gone, unsaved) = (board.gone().to_vec(), board.unsaved().cloned().collect::<Vec<_>>());
        let kept = self.write(|agent| {
            gone.iter().try_for_each(|(kind, subject)| agent.store.forget_alert(*kind, subject))?;
            unsaved.iter().try_for_each(|alert| agent.store.keep_alert(alert))
        });
        self.round.keeps_alerts = kept.is_ok();
    }

    /// Marks alerts as stored if the round that contains them was committed.
    pub(super) fn alerts_kept(&mut self, in_round: bool, committed: bool) {
        if in_round && committed {
            self.watch.board.saved();
            self.store.told_of_vanished();
            self.store.told_of_quarantined();
        }
    }

    /// Adds notifications and the agent's own queries to `effects`; returns when to come back.
    pub(super) fn watch_on(&mut self, now: Moment, effects: &mut Vec<Effect>) -> Option<AgentTime> {
        self.watch.kept_since?;
        effects.extend(self.watch.telling.take().map(Effect::Tell));
        let own = |client, question, facts| {
            Effect::Ask(Box::new(ReaderRequest { client, question, view: View::Admin, reference: None, facts }))
        };
        if self.watch.asks_at().is_some_and(|at| at <= now.agent) {
            let mean = self.watch.retries.mean;
            self.watch.retries = Retries { mean, asked_at: Some(now.agent), stirred: false, awaited: true };
            effects.push(own(ClientId::AGENT, Question::MeanRetries, super::facts::Facts::default()));
        }
        if self.watch.next_beat.is_some_and(|at| at <= now.agent) {
            self.plan_beat(now);
            effects.push(own(ClientId::HEARTBEAT, Question::Health, self.facts(now)));
        }
        let looks = [
            self.watch.next_look(),
            self.watch.board.next_notice_at(now.agent),
            self.watch.next_beat,
            self.upstreams_change_at(),
        ];
        let next = looks.into_iter().flatten().filter(|at| *at > now.agent).min();
        let readable = self.write_recovery.refusal().is_none() && self.write_recovery.next().is_none();
        if readable && self.watch.has_news() { Some(now.agent) } else { next }
    }

    fn plan_beat(&mut self, now: Moment) {
        let Heartbeat { url, every } = &self.watch.heartbeat;
        let watches = url.is_some() && self.watch.kept_since.is_some();
        self.watch.next_beat = watches.then(|| heartbeat::next(now, *every, &self.terminal_id));
    }
}

/// Logs a changed alert as one line. The log is English, and the alert's own message may be in another language; an
/// alert of an earlier run that ends at once is logged without one.
fn report(alert: &Alert, english: Option<&str>) {
    let Alert { kind, subject, active, .. } = alert;
    let message = english.map_or_else(String::new, |message| format!(" message={message:?}"));
    let level = if *active { log::Level::Warn } else { log::Level::Info };
    log::log!(level, "event=alert kind={} subject={subject:?} active={active}{message}", kind.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Overrides};

    /// The reader may fail, for example while the file is moved: the alert would never begin, nor end.
    #[test]
    fn a_mean_that_was_not_read_is_asked_for_again() {
        let config = Config::load(None, &Overrides::default(), &Environment::default()).expect("the defaults");
        let mut watch = Watch::new(&config.alerts, &config.heartbeat);
        let asked = AgentTime::ZERO.after(Duration::from_secs(100));
        watch.retries = Retries { mean: None, asked_at: Some(asked), stirred: false, awaited: true };
        assert_eq!(watch.asks_at(), Some(asked.after(ALERT_RECHECK_INTERVAL)));
        watch.mean_is(0.0);
        assert_eq!(watch.asks_at(), None, "an idle agent does not wake up for it");
    }
}
