//! Alerts: what is wrong now, what has ended recently, and when operators are notified.
//!
//! ```text
//!             fire                       clear                   a day later
//!  nothing ─────────→ active, untold ─────────→ cleared, untold ────────────→ nothing
//!                          └── a notice of its kind ──┘
//! ```
//!
//! Only edges are reported: the start and the end of an alert. Each kind sends at most one notice an hour;
//! changes in the meantime are in its next notice, with their state at that time. The time of the last notice
//! is stored with the alerts themselves, so neither a restart nor a kill causes a second one.
//!
//! The [`AlertTable`] does not decide whether an alert condition holds: [`window`] counts events, and the agent
//! checks everything else. The board is bounded: a maximum number of alerts of each kind, and one more that
//! represents all others.

pub mod kind;
pub mod window;

use crate::limits::{ALERT_RETENTION, ALERTS_OF_A_KIND, NOTIFY_INTERVAL};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::text::{Language, alerts as text};
pub use kind::Kind;
use std::collections::BTreeMap;

/// Subject of the alert that represents those which do not fit on the board.
pub const OTHERS: &str = "*";

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What is wrong.
    pub kind: Kind,
    /// The upstream, entity or quarantine concerned; empty for the terminal itself.
    pub subject: String,
    /// Whether the condition holds.
    pub active: bool,
    /// Its last start.
    pub since: WallTime,
    /// Its last end, unless it is active.
    pub cleared_at: Option<WallTime>,
    /// Description, for operators.
    pub message: String,
    /// The number in the message: failures, bytes or whatever the kind counts.
    pub amount: u64,
    /// Time of the last start, end or event.
    pub changed_at: AgentTime,
    /// Its last change is not in a notice yet.
    pub untold: bool,
    /// Time of the last notice of its kind that this alert has recorded.
    pub told_at: Option<AgentTime>,
}

impl Alert {
    fn new(kind: Kind, subject: &str, now: Moment) -> Self {
        Self {
            kind,
            subject: subject.to_owned(),
            active: false,
            since: now.wall,
            cleared_at: None,
            message: String::new(),
            amount: 0,
            changed_at: now.agent,
            untold: false,
            told_at: None,
        }
    }
}

/// Message of an alert, and the number in it.
pub type Words = (String, u64);

/// One notice: the changed alerts of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Kind of the alerts.
    pub kind: Kind,
    /// Their current state.
    pub alerts: Vec<Alert>,
}

#[derive(Clone, Debug)]
struct StoredAlert {
    alert: Alert,
    /// Its message in English; `None` for one that was read from the store, until its words are asked for again.
    english: Option<String>,
    /// The stored row is up to date.
    saved: bool,
}

impl StoredAlert {
    fn new(alert: Alert) -> Self {
        Self { alert, english: None, saved: false }
    }
}

/// The table of alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertTable {
    kinds: BTreeMap<Kind, BTreeMap<String, StoredAlert>>,
    /// Removed alerts whose rows are still stored.
    gone: Vec<(Kind, String)>,
    /// An alert has begun or ended since the last call of `has_turned`.
    turned: bool,
}

impl AlertTable {
    /// Adds stored alerts that are not on the board yet. Alerts already on it keep their state and remain unsaved.
    pub fn adopt(&mut self, stored: Vec<Alert>) {
        for alert in stored {
            let kind = self.kinds.entry(alert.kind).or_default();
            let subject = alert.subject.clone();
            kind.entry(subject).or_insert(StoredAlert { alert, english: None, saved: true });
        }
    }

    /// The store is a different file: every alert has to be saved again.
    pub fn forget_saved(&mut self) {
        self.kinds.values_mut().flat_map(BTreeMap::values_mut).for_each(|pinned| pinned.saved = false);
    }

    /// Reports that the condition holds. `words` is only called when needed, at the start of an alert or if
    /// `anew`, and once for each language.
    pub fn fire(&mut self, now: Moment, kind: Kind, subject: &str, anew: bool, words: impl Fn() -> Words) {
        let subject = self.place(now, kind, subject);
        let pinned = self.kinds.entry(kind).or_default().entry(subject.clone());
        let pinned = pinned.or_insert_with(|| StoredAlert::new(Alert::new(kind, &subject, now)));
        let alert = &mut pinned.alert;
        if alert.active && !anew {
            return;
        }
        let words = || if subject == OTHERS { (others(kind), 0) } else { words() };
        let now_said = words();
        // Most rounds look at an alert again and change nothing.
        if pinned.english.is_none() || now_said.0 != alert.message {
            pinned.english = Some(Language::English.during(|| words().0));
        }
        let words = now_said;
        if !alert.active {
            (alert.active, alert.untold, self.turned) = (true, true, true);
            (alert.since, alert.cleared_at, alert.changed_at) = (now.wall, None, now.agent);
            pinned.saved = false;
        }
        if (&alert.message, alert.amount) != (&words.0, words.1) {
            (alert.message, alert.amount) = words;
            pinned.saved = false;
        }
    }

    /// Reports an event, which may be a repeated one; the alert stays active for a day from now on.
    pub fn happen(&mut self, now: Moment, kind: Kind, subject: &str, words: impl Fn() -> Words) {
        self.fire(now, kind, subject, true, words);
        let subject = if self.is_active(kind, subject) { subject } else { OTHERS };
        if let Some(pinned) = self.kinds.get_mut(&kind).and_then(|all| all.get_mut(subject)) {
            pinned.saved &= pinned.alert.changed_at == now.agent;
            pinned.alert.changed_at = now.agent;
        }
    }

    /// Reports that the condition does not hold.
    pub fn clear(&mut self, now: Moment, kind: Kind, subject: &str) {
        let Some(pinned) = self.kinds.get_mut(&kind).and_then(|all| all.get_mut(subject)) else { return };
        if pinned.alert.active {
            let alert = &mut pinned.alert;
            (alert.active, alert.untold, self.turned) = (false, true, true);
            (alert.cleared_at, alert.changed_at) = (Some(now.wall), now.agent);
            pinned.saved = false;
        }
    }

    /// The subject under which it is listed: its own, or [`OTHERS`] if the board is full.
    fn place(&mut self, now: Moment, kind: Kind, subject: &str) -> String {
        let all = self.kinds.entry(kind).or_default();
        let named = all.len() - usize::from(all.contains_key(OTHERS));
        if named < ALERTS_OF_A_KIND || all.contains_key(subject) {
            return subject.to_owned();
        }
        let ended = all.iter().filter(|(_, pinned)| !pinned.alert.active);
        let oldest = ended.min_by_key(|(_, pinned)| pinned.alert.changed_at).map(|(name, _)| name.clone());
        let Some(oldest) = oldest else { return OTHERS.to_owned() };
        // The time of the kind's last notice must survive the removal of the alert that recorded it.
        let told_at = all.remove(&oldest).and_then(|pinned| pinned.alert.told_at);
        let newcomer = Alert { told_at, ..Alert::new(kind, subject, now) };
        all.insert(subject.to_owned(), StoredAlert::new(newcomer));
        self.gone.push((kind, oldest));
        subject.to_owned()
    }

    /// Removes alerts that ended long ago, and ends events that have been active for a day.
    pub fn tidy(&mut self, now: Moment) {
        let over = |alert: &Alert| now.agent.since(alert.changed_at) >= ALERT_RETENTION;
        let mut ended = Vec::new();
        for (kind, all) in &mut self.kinds {
            let places =
                all.iter().filter(|(name, pinned)| pinned.alert.active && *name != OTHERS).count() < ALERTS_OF_A_KIND;
            let done = all.values().filter(|pinned| {
                let alert = &pinned.alert;
                alert.active && ((kind.is_happening() && over(alert)) || (alert.subject == OTHERS && places))
            });
            ended.extend(done.map(|pinned| (*kind, pinned.alert.subject.clone())));
            let gone = &mut self.gone;
            all.retain(|subject, pinned| {
                let alert = &pinned.alert;
                // Alerts with a recent notice are kept, because they record its time: an end may be reported a
                // day late, by an agent that was switched off in the meantime.
                let spoke = alert.told_at.is_some_and(|at| now.agent.since(at) < NOTIFY_INTERVAL);
                let stays = alert.active || alert.untold || spoke || !over(alert);
                if !stays {
                    gone.push((*kind, subject.clone()));
                }
                stays
            });
        }
        for (kind, subject) in ended {
            self.clear(now, kind, &subject);
        }
    }

    // ---- notices

    /// Returns the notices that are due now, and marks them as sent.
    pub fn notices(&mut self, now: Moment) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (kind, all) in &mut self.kinds {
            let due = speaks_at(all, now.agent).is_some_and(|at| at <= now.agent);
            if !due {
                continue;
            }
            let mut alerts = Vec::new();
            for pinned in all.values_mut().filter(|pinned| pinned.alert.untold) {
                (pinned.alert.untold, pinned.alert.told_at, pinned.saved) = (false, Some(now.agent), false);
                alerts.push(pinned.alert.clone());
            }
            notices.push(Notice { kind: *kind, alerts });
        }
        notices
    }

    /// The time at which the next notice is due.
    #[must_use]
    pub fn next_notice_at(&self, now: AgentTime) -> Option<AgentTime> {
        self.kinds.values().filter_map(|all| speaks_at(all, now)).min()
    }

    // ---- what is shown and stored

    /// Returns whether this alert is active.
    #[must_use]
    pub fn is_active(&self, kind: Kind, subject: &str) -> bool {
        self.kinds.get(&kind).and_then(|all| all.get(subject)).is_some_and(|pinned| pinned.alert.active)
    }

    /// Returns whether any alert for a lasting condition is active.
    #[must_use]
    pub fn any_lasts(&self) -> bool {
        self.alerts().any(|alert| alert.active && !alert.kind.is_happening())
    }

    /// The time at which the first active event ends.
    #[must_use]
    pub fn next_end_at(&self) -> Option<AgentTime> {
        let stand = self.alerts().filter(|alert| alert.active && alert.kind.is_happening());
        stand.map(|alert| alert.changed_at.after(ALERT_RETENTION)).min()
    }

    /// The message of an alert in English, for the log.
    #[must_use]
    pub fn english(&self, kind: Kind, subject: &str) -> Option<&str> {
        self.kinds.get(&kind)?.get(subject)?.english.as_deref()
    }

    /// The subjects of active alerts of this kind.
    #[must_use]
    pub fn subjects(&self, kind: Kind) -> Vec<String> {
        let all = self.kinds.get(&kind).into_iter().flat_map(BTreeMap::values);
        all.filter(|pinned| pinned.alert.active).map(|pinned| pinned.alert.subject.clone()).collect()
    }

    /// All alerts on the board.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.kinds.values().flat_map(BTreeMap::values).map(|pinned| &pinned.alert)
    }

    /// Returns whether any alert has begun or ended since the last call.
    pub fn has_turned(&mut self) -> bool {
        std::mem::take(&mut self.turned)
    }

    /// Alerts whose stored rows are missing or out of date.
    pub fn unsaved(&self) -> impl Iterator<Item = &Alert> {
        self.kinds.values().flat_map(BTreeMap::values).filter(|pinned| !pinned.saved).map(|pinned| &pinned.alert)
    }

    /// Removed alerts whose rows are still stored.
    #[must_use]
    pub fn gone(&self) -> &[(Kind, String)] {
        &self.gone
    }

    /// Marks all alerts as saved.
    pub fn saved(&mut self) {
        self.kinds.values_mut().flat_map(BTreeMap::values_mut).for_each(|pinned| pinned.saved = true);
        self.gone.clear();
    }
}

/// The time at which this kind may send a notice; `None` if it has nothing to report.
fn speaks_at(all: &BTreeMap<String, StoredAlert>, now: AgentTime) -> Option<AgentTime> {
    if !all.values().any(|pinned| pinned.alert.untold) {
        return None;
    }
    let last = all.values().filter_map(|pinned| pinned.alert.told_at).max();
    Some(last.map_or(now, |last| last.after(NOTIFY_INTERVAL)))
}

fn others(kind: Kind) -> String {
    text::others(ALERTS_OF_A_KIND, kind.as_str())
}

#[cfg(test)]
#[path = "alert_tests.rs"]
mod tests;
