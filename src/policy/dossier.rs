//! What the policy remembers of one failure: everything that its next try is judged by.
//!
//! A [`Dossier`] is stored with its failure, so that a crash loses only what was in flight. It is a
//! value: [`judge`](super::judge) makes a new one out of it, and so do the few other things that
//! happen to a failure ([`GiveBack`], [`Dossier::second_chance`], a person's wishes).
//!
//! Two of its parts say "at that time" instead of being updated when times change: counts are
//! confirmed by a higher acceptance number, and a used second chance is renewed by a higher epoch.
//! So an acceptance never has to touch the rows of others.

use crate::moment::AgentTime;
use crate::policy::class::Class;
use crate::policy::evidence::{AcceptanceNo, ChanceEpoch, Evidence};
use crate::policy::upstream::Ordering;
use crate::record::{Asked, Status};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// After so long a critical failure gets its second chance though nothing was accepted meanwhile.
pub const CHANCE_AFTER: Duration = Duration::from_hours(4);
/// So many unclear tries between two acceptances weigh against a failure: an outage may bring it a
/// thousand, and the first acceptance after it must not make them a proof.
const MOST_BETWEEN_ACCEPTANCES: u32 = 5;

/// An order key as the policy sees it: two are the same or not. Under `ordering = "none"` each
/// failure has its own (its id), for then nothing ties failures together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderTag(String);

impl OrderTag {
    /// Any text that equal order keys share.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dossier {
    /// Where the failure stands.
    pub standing: Standing,
    /// Tries that counted, as it is shown.
    pub retry_count: u32,
    /// Of those, what is not confirmed yet.
    pub provisional: Provisional,
    /// Has it used its second chance?
    pub chance: Chance,
    /// Its uncounted tries since the last counted one.
    pub unclear: Unclear,
    /// The upstream's acceptance number at its last try, counted or not.
    pub seen: Option<AcceptanceNo>,
    /// It was answered `failed` or `unsure` before: when it is accepted after all, it was the
    /// upstream.
    pub answered_badly: bool,
    /// Did a person ask for the next counted try?
    pub asked: Asked,
    /// The upstream asked this one to wait so long: no sweep and no canary takes it before.
    pub bound_until: Option<AgentTime>,
    /// When its last try was sent.
    pub last_sent_at: Option<AgentTime>,
}

/// Where a failure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// To be sent by itself.
    Pending,
    /// Pending once more after its budget was used up: the one more try, which does not count.
    SecondChance,
    /// A person stopped it.
    Held,
    /// It needs a person.
    Critical(Cause),
}

/// Why a failure needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its counted tries are used up, since then.
    Counted {
        /// Since when.
        at: AgentTime,
    },
    /// It was refused, or has no route: another try would bring nothing else.
    Hopeless,
}

impl Standing {
    /// As it is stored for people and programs.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Pending | Self::SecondChance => Status::Pending,
            Self::Held => Status::Held,
            Self::Critical(_) => Status::Critical,
        }
    }
}

/// Counts that an outage would take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provisional {
    /// All counts are for good.
    None,
    /// The counts beyond `confirmed` were made under this acceptance number, and are for good as
    /// soon as the upstream's is higher.
    Since {
        /// The number that held when they were made.
        accepted: AcceptanceNo,
        /// The count without them.
        confirmed: u32,
    },
}

/// A failure's second chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chance {
    /// It has it.
    Unused,
    /// It used it up in this epoch; it has it again in any later one.
    UsedIn(ChanceEpoch),
}

impl Chance {
    /// May it be used?
    #[must_use]
    pub fn is_left(self, epoch: ChanceEpoch) -> bool {
        match self {
            Self::Unused => true,
            Self::UsedIn(used) => used < epoch,
        }
    }
}

/// Tries that said nothing for certain, since the last counted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclear {
    /// How many, at most five between two acceptances.
    pub tries: u32,
    /// How many of them were `misconfigured`.
    pub misconfigured: u32,
    /// How many since the upstream's last acceptance.
    pub since_acceptance: u32,
}

impl Dossier {
    /// A failure that was never tried: just recorded, edited, or given a fresh budget by a person.
    #[must_use]
    pub fn fresh() -> Self {
        Self {
            standing: Standing::Pending,
            retry_count: 0,
            provisional: Provisional::None,
            chance: Chance::Unused,
            unclear: Unclear::default(),
            seen: None,
            answered_badly: false,
            asked: Asked::No,
            bound_until: None,
            last_sent_at: None,
        }
    }

    /// A person wants it tried now; a critical one gets one shot, which counts when it fails. Asked
    /// for twice it is still one shot.
    pub fn ask(&mut self) {
        self.asked = match (self.standing, self.asked) {
            (Standing::Critical(_) | Standing::SecondChance, _) | (_, Asked::OneShot) => Asked::OneShot,
            (Standing::Pending | Standing::Held, _) => Asked::Sooner,
        };
        if self.standing != Standing::Held {
            self.standing = Standing::Pending;
        }
        self.bound_until = None;
    }

    /// It gets its second chance, when it is critical by counting and has one left.
    #[must_use]
    pub fn second_chance(&self, evidence: &Evidence) -> Option<Self> {
        let by_counting = matches!(self.standing, Standing::Critical(Cause::Counted { .. }));
        (by_counting && self.chance.is_left(evidence.epoch())).then(|| Self {
            standing: Standing::SecondChance,
            chance: Chance::UsedIn(evidence.epoch()),
            asked: Asked::No,
            ..self.clone()
        })
    }

    /// The count that nothing takes back any more.
    #[must_use]
    pub fn confirmed(&self, now: AcceptanceNo) -> u32 {
        match self.provisional {
            Provisional::Since { accepted, confirmed } if accepted == now => confirmed,
            Provisional::Since { .. } | Provisional::None => self.retry_count,
        }
    }

    /// Has the upstream accepted another failure since this one's previous try?
    #[must_use]
    pub(super) fn others_got_through(&self, accepted: AcceptanceNo) -> bool {
        self.seen.is_some_and(|seen| seen < accepted)
    }

    /// A try has ended with this.
    pub(super) fn note(&mut self, class: Class, sent_at: AgentTime, accepted: AcceptanceNo) {
        if self.others_got_through(accepted) {
            self.unclear.since_acceptance = 0;
        }
        self.seen = Some(accepted);
        self.last_sent_at = Some(sent_at);
        self.bound_until = None;
        self.answered_badly |= matches!(class, Class::Failed | Class::Unsure);
        let unclear = matches!(class, Class::Throttled | Class::Busy | Class::Unsure | Class::Misconfigured);
        if unclear && self.unclear.since_acceptance < MOST_BETWEEN_ACCEPTANCES {
            self.unclear.since_acceptance += 1;
            self.unclear.tries += 1;
        }
        self.unclear.misconfigured += u32::from(class == Class::Misconfigured);
    }

    /// A try counts, until it may be given back.
    pub(super) fn count(&mut self, accepted: AcceptanceNo) {
        let confirmed = self.confirmed(accepted);
        self.provisional = Provisional::Since { accepted, confirmed };
        self.add_one();
    }

    /// A try counts, and nothing takes it back.
    pub(super) fn count_for_good(&mut self) {
        self.provisional = Provisional::None;
        self.add_one();
    }

    fn add_one(&mut self) {
        self.retry_count = self.retry_count.saturating_add(1);
        self.unclear = Unclear::default();
        self.asked = Asked::No;
    }
}

/// It was the upstream: every count that is not confirmed is given back.
///
/// The store finds those concerned by their acceptance number (an index on it, of rows that have
/// one) and replaces the dossiers for which [`GiveBack::of`] has a new one; those are due at once.
/// Dossiers in flight are given back as well: in memory, where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiveBack {
    /// Counts made under this number are concerned: the upstream's present one.
    pub accepted: AcceptanceNo,
    pub(super) epoch: ChanceEpoch,
    pub(super) ordering: Ordering,
}

impl GiveBack {
    /// The dossier without its unconfirmed counts; `None` when it is not concerned.
    #[must_use]
    pub fn of(&self, dossier: &Dossier) -> Option<Dossier> {
        let confirmed = match dossier.provisional {
            Provisional::Since { accepted, confirmed } if accepted == self.accepted => confirmed,
            Provisional::Since { .. } | Provisional::None => return None,
        };
        // Under strict order the head has to go on: it is given back however often.
        if !dossier.chance.is_left(self.epoch) && self.ordering != Ordering::Strict {
            return None;
        }
        let standing = match dossier.standing {
            Standing::Held => Standing::Held,
            Standing::Pending | Standing::SecondChance | Standing::Critical(_) => Standing::Pending,
        };
        Some(Dossier {
            standing,
            retry_count: confirmed,
            provisional: Provisional::None,
            chance: Chance::UsedIn(self.epoch),
            ..dossier.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give_back(accepted: i64) -> GiveBack {
        GiveBack { accepted: AcceptanceNo(accepted), epoch: ChanceEpoch(1), ordering: Ordering::Key }
    }

    #[test]
    fn a_later_acceptance_confirms_counts_without_touching_them() {
        let mut dossier = Dossier::fresh();
        dossier.count(AcceptanceNo(7));
        dossier.count(AcceptanceNo(7));
        assert_eq!((dossier.confirmed(AcceptanceNo(7)), dossier.confirmed(AcceptanceNo(8))), (0, 2));
        dossier.count(AcceptanceNo(8));
        assert_eq!((dossier.confirmed(AcceptanceNo(8)), dossier.retry_count), (2, 3));
        assert_eq!(give_back(8).of(&dossier).map(|back| back.retry_count), Some(2));
        assert_eq!(give_back(7).of(&dossier), None);
    }

    #[test]
    fn a_chance_is_used_once_an_epoch() {
        let mut dossier = Dossier::fresh();
        dossier.count(AcceptanceNo(7));
        dossier.standing = Standing::Critical(Cause::Counted { at: AgentTime::ZERO });
        let mut back = give_back(7).of(&dossier).expect("its count is not confirmed");
        assert_eq!(back.standing, Standing::Pending);
        back.count(AcceptanceNo(7));
        assert_eq!(give_back(7).of(&back), None);
        assert!(GiveBack { epoch: ChanceEpoch(2), ..give_back(7) }.of(&back).is_some());
        assert!(GiveBack { ordering: Ordering::Strict, ..give_back(7) }.of(&back).is_some());
    }

    #[test]
    fn held_stays_held_and_what_was_edited_is_left_alone() {
        let mut dossier = Dossier::fresh();
        dossier.count(AcceptanceNo(7));
        dossier.standing = Standing::Held;
        assert_eq!(give_back(7).of(&dossier).map(|back| back.standing), Some(Standing::Held));
        assert_eq!(give_back(7).of(&Dossier::fresh()), None);
    }

    #[test]
    fn a_shot_that_is_asked_for_twice_stays_one() {
        let mut dossier = Dossier { standing: Standing::Critical(Cause::Hopeless), ..Dossier::fresh() };
        (0..2).for_each(|_| dossier.ask());
        assert_eq!((dossier.standing, dossier.asked), (Standing::Pending, Asked::OneShot));
        let mut pending = Dossier::fresh();
        (0..2).for_each(|_| pending.ask());
        assert_eq!(pending.asked, Asked::Sooner);
    }

    #[test]
    fn only_what_is_critical_by_counting_gets_one_more_try() {
        let evidence = Evidence::none();
        let with = |standing| Dossier { standing, ..Dossier::fresh() };
        let counted_out = with(Standing::Critical(Cause::Counted { at: AgentTime::ZERO }));
        let again = counted_out.second_chance(&evidence).expect("it has a chance");
        assert_eq!((again.standing, again.standing.status()), (Standing::SecondChance, Status::Pending));
        assert!(!again.chance.is_left(evidence.epoch()));
        for standing in [Standing::Critical(Cause::Hopeless), Standing::Held, Standing::Pending] {
            assert_eq!(with(standing).second_chance(&evidence), None, "{standing:?}");
        }
    }

    #[test]
    fn unclear_tries_count_five_between_two_acceptances() {
        let mut dossier = Dossier::fresh();
        (0..9).for_each(|_| dossier.note(Class::Busy, AgentTime::ZERO, AcceptanceNo(1)));
        assert_eq!(dossier.unclear.tries, 5);
        dossier.note(Class::Unreachable, AgentTime::ZERO, AcceptanceNo(2));
        assert_eq!(dossier.unclear.tries, 5, "nobody was reached");
        (0..3).for_each(|_| dossier.note(Class::Misconfigured, AgentTime::ZERO, AcceptanceNo(2)));
        assert_eq!((dossier.unclear.tries, dossier.unclear.misconfigured), (8, 3));
    }
}
