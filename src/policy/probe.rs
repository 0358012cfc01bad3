//! What a probe brought: is somebody there, and is it the upstream?

use crate::policy::class::{Answer, Ending, Target};
use std::time::Duration;

/// What a probe brought.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeEnd {
    /// An answer, whatever it says.
    Answered {
        /// Its status.
        status: u16,
        /// How long it took.
        took: Duration,
    },
    /// Nobody, or somebody else.
    Silence {
        /// In words.
        reason: String,
    },
}

impl ProbeEnd {
    /// What an exchange says about the line: any answer will do, but those that a network gives in
    /// the upstream's place.
    #[must_use]
    pub fn of(ending: Ending, took: Duration, target: &Target) -> Self {
        match ending {
            Ending::Answered(answer) if !target.https && is_portal(&answer, target) => Self::Silence {
                reason: format!("HTTP {}: somebody else answers (a login page of the network?)", answer.status),
            },
            Ending::Answered(answer) => Self::Answered { status: answer.status, took },
            Ending::NotSent(_, reason) | Ending::Broken(_, reason) | Ending::Unbuildable(reason) => {
                Self::Silence { reason }
            }
        }
    }
}

/// Over plain http: network authentication, or a redirect to another host.
fn is_portal(answer: &Answer, target: &Target) -> bool {
    answer.status == 511 || (answer.status / 100 == 3 && answer.leads_elsewhere(target))
}
