//! Which failures retention may remove: two rules, in agent time.
//!
//! A pending failure is never removed because of its age. One that needs an operator is, if it has waited too
//! long, together with those behind it that are as old, because they would be sent without it.

use crate::config::Retention;
use crate::record::Status;
use std::time::Duration;

/// The rule by which a failure may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It has failed often, and long ago.
    Exhausted,
    /// It is older than the limit for all failures.
    TooOld,
}

impl Rule {
    /// The rule by which a failure of this age may be removed; if both apply, the one that requires less of
    /// those behind it.
    #[must_use]
    pub fn of(retention: &Retention, status: Status, retry_count: u32, age: Duration) -> Option<Self> {
        let exhausted = retry_count > retention.exhausted_retries && age > retention.exhausted_age;
        let too_old = age > retention.max_age;
        match (status, exhausted, too_old) {
            (Status::Pending, ..) | (_, false, false) => None,
            (_, true, false) => Some(Self::Exhausted),
            (_, true, true) if retention.exhausted_age <= retention.max_age => Some(Self::Exhausted),
            (_, _, true) => Some(Self::TooOld),
        }
    }

    /// The minimum age of all failures behind it.
    #[must_use]
    pub fn age(self, retention: &Retention) -> Duration {
        match self {
            Self::Exhausted => retention.exhausted_age,
            Self::TooOld => retention.max_age,
        }
    }

    /// Description, for the audit.
    #[must_use]
    pub fn words(self, retention: &Retention) -> String {
        let age = in_words(self.age(retention));
        match self {
            Self::Exhausted => format!("more than {} retries and older than {age}", retention.exhausted_retries),
            Self::TooOld => format!("older than {age}"),
        }
    }
}

fn in_words(age: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    match age.as_secs() {
        seconds if seconds >= DAY && seconds.is_multiple_of(DAY) => format!("{} d", seconds / DAY),
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn the_two_rules() {
        let retention = Retention::default();
        let rule = |status, retries, days: u32| Rule::of(&retention, status, retries, DAY * days);
        assert_eq!(rule(Status::Critical, 6, 8), Some(Rule::Exhausted));
        assert_eq!(rule(Status::Critical, 6, 7), None, "older than seven days");
        assert_eq!(rule(Status::Critical, 5, 8), None, "more than five retries");
        assert_eq!(rule(Status::Critical, 0, 31), Some(Rule::TooOld));
        assert_eq!(rule(Status::Held, 0, 31), Some(Rule::TooOld));
        assert_eq!(rule(Status::Held, 6, 31), Some(Rule::Exhausted));
        assert_eq!(rule(Status::Pending, 100, 10_000), None, "never a pending one");
    }

    #[test]
    fn the_audit_says_which() {
        let retention = Retention::default();
        assert_eq!(Rule::Exhausted.words(&retention), "more than 5 retries and older than 7 d");
        assert_eq!(Rule::TooOld.words(&Retention { max_age: DAY / 2, ..retention }), "older than 12 h");
    }
}
