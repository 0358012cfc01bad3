//! Summary of the history over a period: kinds of attempts, similar errors, the time from recording to delivery,
//! and failures that block others.
//!
//! The agent builds it in one pass over the history; programs that show it read the same struct from the reply.

use crate::limits::cut;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Upper bounds, in seconds, of the times from recording to delivery; the last count has none.
pub const WAITS: [u64; 11] = [1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600];
/// Maximum kinds and errors that are listed separately; the rest is counted together.
const MOST: usize = 50;
/// Bytes of an error's text that are compared for similarity.
const ALIKE: usize = 160;

/// Summary of the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// Time of the oldest attempt that was read, or the beginning of the period.
    pub since: String,
    /// Number of attempts that were read, newest first.
    pub tries: u64,
    /// Whether the whole period was read.
    pub whole: bool,
    /// Attempts by type and action, most frequent first; the rest is an entry without a name.
    pub kinds: Vec<KindOfTry>,
    /// Failed attempts, grouped by similarity, most frequent first; the rest is an entry without a class.
    pub errors: Vec<Alike>,
    /// Upper bounds of `waits`, in seconds; one less than there are counts.
    pub wait_seconds: Vec<u64>,
    /// Deliveries by the time from recording to delivery, if the id contains the time of recording.
    pub waits: Vec<u64>,
    /// The longest of these times, in seconds.
    pub longest_wait_seconds: u64,
    /// Failures that need an operator and block others; most blocked ones first.
    pub blocking: Vec<Blocking>,
    /// Operations, and the agent's own retention; newest first.
    pub deeds: Vec<BulkAction>,
    /// Number of failures that need an operator and block others, and number of failures they block.
    pub blocked: (u64, u64),
}

/// Attempts of one type and action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindOfTry {
    pub entity_type: String,
    pub action: String,
    pub delivered: u64,
    pub failed: u64,
    pub refused: u64,
}

/// Failed attempts with similar errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alike {
    /// Their common class.
    pub class: String,
    /// Their upstream.
    pub upstream: String,
    /// Error of the newest.
    pub error: String,
    /// Number of attempts.
    pub tries: u64,
    /// How many of them used a retry.
    pub counted: u64,
    /// Time of the newest.
    pub last_at: String,
    /// Sequence number of its failure.
    pub seq: i64,
}

/// A failure that blocks others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocking {
    pub seq: i64,
    pub entity_type: String,
    pub entity_id: String,
    pub action: String,
    pub status: String,
    pub created_at: String,
    /// Number of failures that it blocks.
    pub waiting: u64,
}

/// An operation on one failure or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkAction {
    /// Time of the last one.
    pub at: String,
    pub operation: String,
    pub actor: Option<String>,
    pub actor_uid: Option<u32>,
    pub claimed_by: Option<String>,
    pub reason: Option<String>,
    /// Sequence number of the last failure.
    pub seq: Option<i64>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    /// Number of failures.
    pub times: u64,
}

impl BulkAction {
    /// Returns whether it is the same operation on another failure.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let who = |deed: &Self| (deed.actor.clone(), deed.actor_uid, deed.claimed_by.clone());
        self.operation == other.operation && self.reason == other.reason && who(self) == who(other)
    }
}

/// An attempt, as input of the digest.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    pub entity_type: &'a str,
    pub action: &'a str,
    pub upstream: &'a str,
    pub class: &'a str,
    pub error: &'a str,
    pub counted: bool,
    pub at: &'a str,
    pub seq: i64,
    /// Time from recording to the end of the attempt.
    pub wait_ms: Option<i64>,
}

/// Collects attempts, newest first.
#[derive(Debug, Default)]
pub struct Gathering {
    tries: u64,
    kinds: BTreeMap<(String, String), KindOfTry>,
    errors: BTreeMap<(String, String, String), Alike>,
    waits: [u64; WAITS.len() + 1],
    longest_ms: i64,
}

impl Gathering {
    /// Adds an attempt.
    pub fn see(&mut self, seen: &Seen) {
        self.tries += 1;
        let mut key = (seen.entity_type.to_owned(), seen.action.to_owned());
        if self.kinds.len() >= MOST && !self.kinds.contains_key(&key) {
            key = (String::new(), String::new());
        }
        let kind = self.kinds.entry(key).or_insert_with_key(|(entity_type, action)| KindOfTry {
            entity_type: entity_type.clone(),
            action: action.clone(),
            ..KindOfTry::default()
        });
        match seen.class {
            "delivered" => kind.delivered += 1,
            "refused" => kind.refused += 1,
            _ => kind.failed += 1,
        }
        if seen.class == "delivered" {
            self.delivered(seen.wait_ms);
        } else {
            self.failed(seen);
        }
    }

    fn delivered(&mut self, wait_ms: Option<i64>) {
        // Ignores times between which the clock was set back.
        let Some(wait_ms) = wait_ms.filter(|wait| *wait >= 0) else { return };
        let place = WAITS.partition_point(|bound| i64::try_from(bound * 1000).is_ok_and(|bound| bound < wait_ms));
        self.waits[place] += 1;
        self.longest_ms = self.longest_ms.max(wait_ms);
    }

    fn failed(&mut self, seen: &Seen) {
        let mut key = (seen.class.to_owned(), seen.upstream.to_owned(), pattern(seen.error));
        if self.errors.len() >= MOST && !self.errors.contains_key(&key) {
            key = (String::new(), String::new(), String::new());
        }
        let alike = self.errors.entry(key).or_insert_with_key(|(class, upstream, _)| Alike {
            class: class.clone(),
            upstream: upstream.clone(),
            error: if class.is_empty() { String::new() } else { cut(seen.error, 2 * ALIKE) },
            last_at: seen.at.to_owned(),
            seq: seen.seq,
            ..Alike::default()
        });
        alike.tries += 1;
        alike.counted += u64::from(seen.counted);
    }

    /// The summary. The caller adds blocking failures and the period.
    #[must_use]
    pub fn digest(self) -> Digest {
        let mut kinds: Vec<KindOfTry> = self.kinds.into_values().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.delivered + kind.failed + kind.refused));
        let mut errors: Vec<Alike> = self.errors.into_values().collect();
        errors.sort_by_key(|alike| std::cmp::Reverse(alike.tries));
        Digest {
            tries: self.tries,
            kinds,
            errors,
            wait_seconds: WAITS.to_vec(),
            waits: self.waits.to_vec(),
            longest_wait_seconds: u64::try_from(self.longest_ms / 1000).unwrap_or_default(),
            ..Digest::default()
        }
    }
}

/// An error's text with all numbers made equal, except a leading status: `unknown SKU 4711` and `unknown SKU 4712`
/// are one error, `HTTP 404` and `HTTP 500` two.
fn pattern(error: &str) -> String {
    let (status, rest) = match error.strip_prefix("HTTP ").and_then(|rest| rest.split_at_checked(3)) {
        Some((status, rest)) => (status, rest),
        None => ("", error),
    };
    let mut alike = String::from(status);
    let mut digits = false;
    for c in rest.chars() {
        match (c.is_ascii_digit(), digits) {
            (true, true) => {}
            (true, false) => alike.push('#'),
            (false, _) => alike.push(c),
        }
        digits = c.is_ascii_digit();
        if alike.len() > ALIKE {
            break;
        }
    }
    alike
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<'a>(class: &'a str, error: &'a str, seq: i64) -> Seen<'a> {
        Seen {
            entity_type: "SALE",
            action: "CREATE",
            upstream: "hq",
            class,
            error,
            counted: class == "failed",
            at: "t",
            seq,
            wait_ms: Some(4000),
        }
    }

    #[test]
    fn errors_that_differ_in_a_number_are_alike_and_statuses_are_not() {
        let mut gathering = Gathering::default();
        for (n, error) in
            ["HTTP 422: unknown SKU 4712", "HTTP 422: unknown SKU 9", "HTTP 404: unknown SKU 9"].iter().enumerate()
        {
            gathering.see(&seen("refused", error, i64::try_from(n).expect("small")));
        }
        let digest = gathering.digest();
        let told: Vec<_> = digest.errors.iter().map(|alike| (alike.tries, alike.seq, alike.error.as_str())).collect();
        assert_eq!(told, [(2, 0, "HTTP 422: unknown SKU 4712"), (1, 2, "HTTP 404: unknown SKU 9")]);
    }

    #[test]
    fn kinds_and_errors_have_a_bound_and_nothing_is_lost() {
        let mut gathering = Gathering::default();
        let names: Vec<String> = (0..200).map(|n| format!("{}-{n}", "x".repeat(n))).collect();
        for name in &names {
            gathering.see(&Seen { entity_type: name, ..seen("failed", name, 1) });
        }
        let digest = gathering.digest();
        assert_eq!((digest.kinds.len(), digest.errors.len()), (MOST + 1, MOST + 1));
        assert_eq!(digest.kinds.iter().map(|kind| kind.failed).sum::<u64>(), 200);
        assert_eq!(digest.errors.iter().map(|alike| alike.counted).sum::<u64>(), 200);
    }

    #[test]
    fn deliveries_stand_under_the_time_they_took() {
        let mut gathering = Gathering::default();
        for wait_ms in [Some(0), Some(1000), Some(1001), Some(-5), None, Some(400_000_000)] {
            gathering.see(&Seen { wait_ms, ..seen("delivered", "", 1) });
        }
        let digest = gathering.digest();
        assert_eq!((digest.waits[0], digest.waits[1], digest.waits[WAITS.len()]), (2, 1, 1));
        assert_eq!((digest.waits.iter().sum::<u64>(), digest.longest_wait_seconds, digest.tries), (4, 400_000, 6));
    }
}
