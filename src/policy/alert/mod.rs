//! Alerts: what holds now, what has ended of late, and when people are told (`spec/03`, Alerts).
//!
//! ```text
//!             fire                       clear                   a day later
//!  nothing ─────────→ active, untold ─────────→ cleared, untold ────────────→ nothing
//!                          └── a notice of its kind ──┘
//! ```
//!
//! Only edges are news: that an alert begins, and that it ends. A kind speaks at most once an hour; what
//! changes meanwhile is in its next notice, as it stands then. When it last spoke is remembered with the
//! alerts themselves, so that neither a restart nor a kill lets it speak again.
//!
//! The [`Board`] decides nothing about when an alert holds: [`window`] counts, and the agent knows the
//! rest. It is bounded: so many alerts of a kind, and one more that stands for all others.

pub mod kind;
pub mod window;

use crate::limits::{ALERT_TOLD_FOR, ALERTS_OF_A_KIND, NOTICE_GAP};
use crate::moment::{AgentTime, Moment, WallTime};
pub use kind::Kind;
use std::collections::BTreeMap;

/// The subject of what does not fit on the board.
pub const OTHERS: &str = "*";

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What is wrong.
    pub kind: Kind,
    /// With what: an upstream, an entity, a quarantine; empty for the terminal itself.
    pub subject: String,
    /// Does it hold?
    pub active: bool,
    /// When it began last.
    pub since: WallTime,
    /// When it ended, if it has.
    pub cleared_at: Option<WallTime>,
    /// What it is, for people.
    pub message: String,
    /// The number in the message: failures, bytes, whatever its kind counts.
    pub amount: u64,
    /// When it last changed.
    pub changed_at: AgentTime,
    /// Nobody was told of its last change yet.
    pub untold: bool,
    /// When people were last told of its kind, as far as this one knows.
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

/// What an alert says: words, and the number in them.
pub type Words = (String, u64);

/// What people are told at once: the alerts of one kind that have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Of which kind.
    pub kind: Kind,
    /// As they stand now.
    pub alerts: Vec<Alert>,
}

#[derive(Clone, Debug)]
struct Pinned {
    alert: Alert,
    /// It is stored as it is.
    saved: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Board {
    kinds: BTreeMap<Kind, BTreeMap<String, Pinned>>,
    /// What was taken off and is stored still.
    gone: Vec<(Kind, String)>,
    /// Something began or ended since this was asked last.
    turned: bool,
}

impl Board {
    /// Takes what is stored, as far as it is not known here, and holds nothing for stored that is.
    pub fn adopt(&mut self, stored: Vec<Alert>) {
        for alert in stored {
            let kind = self.kinds.entry(alert.kind).or_default();
            let subject = alert.subject.clone();
            kind.entry(subject).or_insert(Pinned { alert, saved: true });
        }
    }

    /// The file is another one: everything is to be stored again.
    pub fn forget_saved(&mut self) {
        self.kinds.values_mut().flat_map(BTreeMap::values_mut).for_each(|pinned| pinned.saved = false);
    }

    /// It holds. The words are only asked for when they are needed: at its beginning, or for `anew`.
    pub fn fire(&mut self, now: Moment, kind: Kind, subject: &str, anew: bool, words: impl FnOnce() -> Words) {
        let subject = self.place(now, kind, subject);
        let pinned = self.kinds.entry(kind).or_default().entry(subject.clone());
        let pinned = pinned.or_insert_with(|| Pinned { alert: Alert::new(kind, &subject, now), saved: false });
        let alert = &mut pinned.alert;
        if alert.active && !anew {
            return;
        }
        let words = if subject == OTHERS { (others(kind), 0) } else { words() };
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

    /// It has happened, perhaps once more: from now on it stands for its day.
    pub fn happen(&mut self, now: Moment, kind: Kind, subject: &str, words: Words) {
        self.fire(now, kind, subject, true, || words);
        let subject = if self.is_active(kind, subject) { subject } else { OTHERS };
        if let Some(pinned) = self.kinds.get_mut(&kind).and_then(|all| all.get_mut(subject)) {
            pinned.saved &= pinned.alert.changed_at == now.agent;
            pinned.alert.changed_at = now.agent;
        }
    }

    /// It does not hold, or no longer.
    pub fn clear(&mut self, now: Moment, kind: Kind, subject: &str) {
        let Some(pinned) = self.kinds.get_mut(&kind).and_then(|all| all.get_mut(subject)) else { return };
        if pinned.alert.active {
            let alert = &mut pinned.alert;
            (alert.active, alert.untold, self.turned) = (false, true, true);
            (alert.cleared_at, alert.changed_at) = (Some(now.wall), now.agent);
            pinned.saved = false;
        }
    }

    /// Whose name stands on the board for this subject: its own, unless there is no place for it.
    fn place(&mut self, now: Moment, kind: Kind, subject: &str) -> String {
        let all = self.kinds.entry(kind).or_default();
        let named = all.len() - usize::from(all.contains_key(OTHERS));
        if named < ALERTS_OF_A_KIND || all.contains_key(subject) {
            return subject.to_owned();
        }
        let ended = all.iter().filter(|(_, pinned)| !pinned.alert.active);
        let oldest = ended.min_by_key(|(_, pinned)| pinned.alert.changed_at).map(|(name, _)| name.clone());
        let Some(oldest) = oldest else { return OTHERS.to_owned() };
        // Its kind has spoken when it last has, whoever takes its place.
        let told_at = all.remove(&oldest).and_then(|pinned| pinned.alert.told_at);
        let newcomer = Alert { told_at, ..Alert::new(kind, subject, now) };
        all.insert(subject.to_owned(), Pinned { alert: newcomer, saved: false });
        self.gone.push((kind, oldest));
        subject.to_owned()
    }

    /// Takes off what ended long ago, and ends what has stood for its day.
    pub fn tidy(&mut self, now: Moment) {
        let over = |alert: &Alert| now.agent.since(alert.changed_at) >= ALERT_TOLD_FOR;
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
                // What spoke of late stays, or nobody would know that it did: an end may be told a day
                // later, by an agent that was switched off meanwhile.
                let spoke = alert.told_at.is_some_and(|at| now.agent.since(at) < NOTICE_GAP);
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

    /// What people are told now.
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

    /// When the next notice is due.
    #[must_use]
    pub fn next_notice_at(&self, now: AgentTime) -> Option<AgentTime> {
        self.kinds.values().filter_map(|all| speaks_at(all, now)).min()
    }

    // ---- what is shown and stored

    /// Is it active?
    #[must_use]
    pub fn is_active(&self, kind: Kind, subject: &str) -> bool {
        self.kinds.get(&kind).and_then(|all| all.get(subject)).is_some_and(|pinned| pinned.alert.active)
    }

    /// Is any that lasts for as long as something is so?
    #[must_use]
    pub fn any_lasts(&self) -> bool {
        self.alerts().any(|alert| alert.active && !alert.kind.is_happening())
    }

    /// When the day of a happening ends.
    #[must_use]
    pub fn next_end_at(&self) -> Option<AgentTime> {
        let stand = self.alerts().filter(|alert| alert.active && alert.kind.is_happening());
        stand.map(|alert| alert.changed_at.after(ALERT_TOLD_FOR)).min()
    }

    /// The subjects of a kind that are active.
    #[must_use]
    pub fn subjects(&self, kind: Kind) -> Vec<String> {
        let all = self.kinds.get(&kind).into_iter().flat_map(BTreeMap::values);
        all.filter(|pinned| pinned.alert.active).map(|pinned| pinned.alert.subject.clone()).collect()
    }

    /// All that is on the board.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.kinds.values().flat_map(BTreeMap::values).map(|pinned| &pinned.alert)
    }

    /// Has anything begun or ended since this was asked last?
    pub fn has_turned(&mut self) -> bool {
        std::mem::take(&mut self.turned)
    }

    /// Those that are not stored as they are.
    pub fn unsaved(&self) -> impl Iterator<Item = &Alert> {
        self.kinds.values().flat_map(BTreeMap::values).filter(|pinned| !pinned.saved).map(|pinned| &pinned.alert)
    }

    /// Those that are stored and are no more.
    #[must_use]
    pub fn gone(&self) -> &[(Kind, String)] {
        &self.gone
    }

    /// Everything is stored as it is.
    pub fn saved(&mut self) {
        self.kinds.values_mut().flat_map(BTreeMap::values_mut).for_each(|pinned| pinned.saved = true);
        self.gone.clear();
    }
}

/// When a kind has something to say and may.
fn speaks_at(all: &BTreeMap<String, Pinned>, now: AgentTime) -> Option<AgentTime> {
    if !all.values().any(|pinned| pinned.alert.untold) {
        return None;
    }
    let last = all.values().filter_map(|pinned| pinned.alert.told_at).max();
    Some(last.map_or(now, |last| last.after(NOTICE_GAP)))
}

fn others(kind: Kind) -> String {
    format!("more than {ALERTS_OF_A_KIND} at once; the others are not named ({})", kind.as_str())
}

#[cfg(test)]
#[path = "alert_tests.rs"]
mod tests;
