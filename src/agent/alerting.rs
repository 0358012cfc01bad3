//! What people are told of: feeds the board of alerts with what the agent knows, keeps it in the store,
//! and says when somebody is to be told (`spec/03`, Alerts).
//!
//! It is judged with every round, before its commit, from what is in memory; the store is only asked
//! when the round has changed something that it knows (`stirred`), and once a minute while an alert is
//! active. A record costs two counters. What takes a look at all failures, their mean of retries, is the
//! reader's to answer.
//!
//! Trouble with the disk keeps nobody from being told of it: what could not be stored is told all the
//! same, and stored later. Outcomes come first in what room there is.
//!
//! A command that opens the store without a daemon keeps no watch. What it finds of damage is stored for
//! the daemon to tell.

mod looking;

use super::{Agent, ClientId, Effect, Inquiry};
use crate::config::{Alerts as Rules, Heartbeat};
use crate::limits::{ALERT_LOOK, ALERTS_OF_A_KIND};
use crate::moment::{AgentTime, Moment};
use crate::policy::alert::window::{Entities, EntityTag, Recent};
use crate::policy::alert::{Alert, Board, Kind, Words};
use crate::policy::heartbeat;
use crate::question::{Question, View};
use crate::store::StoreError;
use crate::wire::alerts::{AlertsReply, Sender, notice, present};
use crate::wire::reply;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Happenings that are read at a start: more than `entity_failing` is likely to need, and not so many that
/// the first client waits for them (with records of 600 bytes a page holds seven).
const REMEMBERED_AT_START: usize = 512;

/// The mean of retries is asked for at most this often: it is a look at all failures.
const MEAN_GAP: Duration = Duration::from_secs(10);

/// What is to be told.
#[derive(Debug)]
pub struct Telling {
    /// For the state file: the `alerts` reply.
    pub reply: Vec<u8>,
    /// The present state, to be posted when there is a notice.
    pub present: Vec<u8>,
    /// For the program, one after the other; none when only the state file is to be brought up to date.
    pub notices: Vec<Vec<u8>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    rules: Rules,
    heartbeat: Heartbeat,
    board: Board,
    /// What is on the board, for who asks.
    shown: Arc<Vec<Alert>>,
    /// Since when it is kept; `None`: it is not.
    kept_since: Option<AgentTime>,
    /// The state file says what is so.
    filed: bool,
    recorded: Recent,
    entities: Entities,
    /// Entities above the threshold that nobody was told of yet.
    crossed: BTreeMap<EntityTag, (String, String)>,
    /// Those that are on the board.
    alerted: BTreeSet<EntityTag>,
    /// What the open round has counted, should it not be committed: records, and happenings to entities.
    counted: (usize, usize),
    /// The round has changed what the store would say.
    stirred: bool,
    /// When it was last looked at everything.
    looked_at: Option<AgentTime>,
    retries: Retries,
    next_beat: Option<AgentTime>,
    /// What the round is to tell.
    telling: Option<Box<Telling>>,
}

/// The mean of counted tries.
#[derive(Debug, Default)]
struct Retries {
    /// As the reader said last.
    mean: Option<f64>,
    asked_at: Option<AgentTime>,
    /// It may have risen since it was asked for.
    stirred: bool,
}

impl Watch {
    pub(super) fn new(rules: &Rules, heartbeat: &Heartbeat) -> Self {
        Self {
            rules: rules.clone(),
            heartbeat: heartbeat.clone(),
            board: Board::default(),
            shown: Arc::default(),
            kept_since: None,
            filed: false,
            recorded: Recent::above(rules.many_failures.count),
            entities: Entities::default(),
            crossed: BTreeMap::new(),
            alerted: BTreeSet::new(),
            counted: (0, 0),
            stirred: true,
            looked_at: None,
            retries: Retries { stirred: true, ..Retries::default() },
            next_beat: None,
            telling: None,
        }
    }

    /// A failure of this entity was recorded.
    pub(super) fn recorded(&mut self, now: AgentTime, entity_type: &str, entity_id: &str) {
        self.recorded.note(now);
        self.counted.0 += 1;
        self.happened(now, entity_type, entity_id);
    }

    /// A try of this entity's was counted.
    pub(super) fn counted(&mut self, now: AgentTime, entity_type: &str, entity_id: &str) {
        self.retries.stirred = true;
        self.happened(now, entity_type, entity_id);
    }

    fn happened(&mut self, now: AgentTime, entity_type: &str, entity_id: &str) {
        let (tag, rule) = (EntityTag::of(entity_type, entity_id), self.rules.entity_failing);
        let count = self.entities.note(now, tag, rule.window);
        self.counted.1 += 1;
        if count > rule.count
            && !self.alerted.contains(&tag)
            && !self.crossed.contains_key(&tag)
            && self.crossed.len() <= ALERTS_OF_A_KIND
        {
            self.crossed.insert(tag, (entity_type.to_owned(), entity_id.to_owned()));
        }
    }

    /// Something happened that the store knows of.
    pub(super) fn stir(&mut self) {
        self.stirred = true;
    }

    /// The reader has told how many counted tries live failures have on average.
    pub(super) fn mean_is(&mut self, mean: f64) {
        self.retries.mean = Some(mean);
    }

    /// The round is on disk, or nothing of it is.
    pub(super) fn round_ended(&mut self, committed: bool) {
        let (records, happenings) = std::mem::take(&mut self.counted);
        if !committed {
            self.recorded.take_back(records);
            self.entities.take_back(happenings);
            self.stirred = true;
        }
    }

    /// It has happened: a quarantine, a stranger's hand.
    pub(super) fn happen(&mut self, now: Moment, kind: Kind, subject: &str, words: Words) {
        self.board.happen(now, kind, subject, words);
    }

    /// What is on the board.
    pub(super) fn shown(&self) -> Arc<Vec<Alert>> {
        Arc::clone(&self.shown)
    }

    fn show(&mut self) {
        self.shown = Arc::new(self.board.alerts().cloned().collect());
    }

    /// When the reader is asked for the mean of retries: soon when it may have risen, else once a minute
    /// while it is too high.
    fn asks_at(&self) -> Option<AgentTime> {
        let gap = match (self.retries.stirred, self.board.is_active(Kind::HighRetries, "")) {
            (true, _) => MEAN_GAP,
            (false, true) => ALERT_LOOK,
            (false, false) => return None,
        };
        Some(self.retries.asked_at.map_or(AgentTime::ZERO, |last| last.after(gap)))
    }

    /// When to look again, if nothing happens before.
    fn next_look(&self) -> Option<AgentTime> {
        let many = self.board.is_active(Kind::ManyFailures, "");
        let rule = self.rules.many_failures;
        [
            self.looked_at.map(|last| last.after(ALERT_LOOK)).filter(|_| self.board.any_lasts()),
            self.board.next_end_at(),
            self.asks_at(),
            self.recorded.under_at(looking::few(rule.count), rule.window).filter(|_| many),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Agent {
    /// From now on alerts are judged and told. For the daemon, which has somebody to tell.
    pub fn keep_watch(&mut self, now: Moment) {
        // While the file is being brought back there is nothing to read, and counting begins at nothing.
        let readable = self.settle.refusal().is_none();
        let past = if readable { self.store.happened_of_late(REMEMBERED_AT_START) } else { Ok(Vec::new()) };
        let past = past.unwrap_or_else(|error| {
            self.settle.met(now.agent, &error);
            Vec::new()
        });
        self.watch.begin(now, &past);
        self.plan_beat(now);
    }

    /// Other thresholds and another period from now on.
    pub fn alert_rules_are(&mut self, now: Moment, rules: &Rules, heartbeat: &Heartbeat) {
        self.watch.take_rules(rules);
        self.watch.heartbeat = heartbeat.clone();
        self.plan_beat(now);
    }

    /// The file is open, perhaps another one: what it remembers is known, and it remembers what is.
    pub(super) fn adopt_alerts(&mut self) -> Result<(), StoreError> {
        let stored = self.store.alerts()?;
        self.watch.board.forget_saved();
        self.watch.board.adopt(stored);
        self.watch.show();
        self.watch.stir();
        Ok(())
    }

    /// Judges, and stores what has changed with the open round; what is to be told comes behind it.
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
            report(alert);
        }
        if !watches || (!turned && notices.is_empty() && self.watch.filed) {
            return;
        }
        self.watch.filed = true;
        let sender = Sender {
            terminal_id: &self.terminal_id,
            store_id: self.store_id.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
        };
        let telling = Telling {
            reply: reply::ok(&AlertsReply::of(&self.watch.shown), None),
            present: present(sender, now.wall, &self.watch.shown),
            notices: notices.iter().map(|told| notice(sender, now.wall, told)).collect(),
        };
        self.watch.telling = Some(Box::new(telling));
    }

    /// Stores what has changed; not while outcomes need what room there is.
    fn keep_alerts(&mut self) {
        let board = &self.watch.board;
        let nothing = board.unsaved().next().is_none() && board.gone().is_empty();
        if nothing || self.settle.next().is_some() || self.settle.is_full() || self.store.lacks_room() {
            return;
        }
        let (gone, unsaved) = (board.gone().to_vec(), board.unsaved().cloned().collect::<Vec<_>>());
        let kept = self.write(|agent| {
            gone.iter().try_for_each(|(kind, subject)| agent.store.forget_alert(*kind, subject))?;
            unsaved.iter().try_for_each(|alert| agent.store.keep_alert(alert))
        });
        self.round.keeps_alerts = kept.is_ok();
    }

    /// The round with the alerts in it is on disk, or is not.
    pub(super) fn alerts_kept(&mut self, in_round: bool, committed: bool) {
        if in_round && committed {
            self.watch.board.saved();
        }
        self.watch.round_ended(committed);
    }

    /// What is to be told, questions of the agent's own, and when to come back.
    pub(super) fn watch_on(&mut self, now: Moment, effects: &mut Vec<Effect>) -> Option<AgentTime> {
        self.watch.kept_since?;
        effects.extend(self.watch.telling.take().map(Effect::Tell));
        let own = |client, question, facts| {
            Effect::Ask(Box::new(Inquiry { client, question, view: View::Admin, reference: None, facts }))
        };
        if self.watch.asks_at().is_some_and(|at| at <= now.agent) {
            self.watch.retries = Retries { asked_at: Some(now.agent), stirred: false, ..self.watch.retries };
            effects.push(own(ClientId::AGENT, Question::MeanRetries, super::questions::Facts::default()));
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
        looks.into_iter().flatten().filter(|at| *at > now.agent).min()
    }

    fn plan_beat(&mut self, now: Moment) {
        let Heartbeat { url, every } = &self.watch.heartbeat;
        let watches = url.is_some() && self.watch.kept_since.is_some();
        self.watch.next_beat = watches.then(|| heartbeat::next(now, *every, &self.terminal_id));
    }
}

/// One line of the log an alert that has changed.
fn report(alert: &Alert) {
    let Alert { kind, subject, message, .. } = alert;
    let kind = kind.as_str();
    if alert.active {
        log::warn!("event=alert kind={kind} subject={subject:?} active=true message={message:?}");
    } else {
        log::info!("event=alert kind={kind} subject={subject:?} active=false message={message:?}");
    }
}
