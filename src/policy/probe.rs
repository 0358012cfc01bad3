//! When to ask whether the upstream is there, and what the answer is worth (`spec/03`, Probe).
//!
//! A probe is a `HEAD` that costs little and says nothing about any failure. It is sent only where
//! nothing answered: at once when the network itself says so, at the third silence in a row
//! otherwise; then, while offline, in gaps that grow with the outage. Records, the kernel's link
//! events and steps of the wall clock bring it forward.
//!
//! Two kinds of answer are doubted. Where probes go unanswered though failures are accepted, they
//! are not believed until one is answered. And a web page over plain http is somebody else's (a
//! captive portal), unless it also came right after an acceptance: then it is the upstream's own.
//!
//! What follows from a probe's answer is in `upstream`.

use super::passing::Passing;
use crate::moment::{AgentTime, WallTime};
use crate::policy::class::{Answer, Ending, LineFault, Target, is_html, with_clock};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Tries in a row that nobody answered, after which a probe asks.
const SILENT_TRIES: u32 = 3;
/// Probes that records ask for are at least so far apart; no record waits longer for one, because
/// each waits as long by itself (`backoff::LINE_WAIT`).
const HINT_GAP: Duration = Duration::from_secs(2);
/// The least gap between probes while offline.
const LEAST_GAP: Duration = Duration::from_secs(1);
/// A link event is followed by others (address, route); the probe waits for them.
const LINK_SETTLES: Duration = Duration::from_secs(2);
/// Jitter of that: a power cut ends for a whole shopping mall at once.
const LINK_JITTER: Duration = Duration::from_millis(500);
/// A probe that is answered faster, and well, tells that the upstream is not flooded.
const HEALTHY: Duration = Duration::from_millis(2500);

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
    /// A web page over plain http: the upstream's own, or a captive portal's.
    Page {
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
    pub fn of(ending: Ending, took: Duration, target: &Target, wall: WallTime) -> Self {
        match ending {
            Ending::NotSent(LineFault::CertificateTime, error) => Self::Silence { reason: with_clock(&error, wall) },
            Ending::Answered(answer) if !target.https && is_portal(&answer, target) => {
                Self::Silence { reason: portal(answer.status) }
            }
            Ending::Answered(answer) if !target.https && answer.status / 100 == 2 && is_html(&answer) => {
                Self::Page { status: answer.status, took }
            }
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

fn portal(status: u16) -> String {
    format!("HTTP {status}: somebody else answers (a login page of the network?)")
}

/// Probing of one upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prober {
    /// Probes go unanswered though failures are accepted.
    deaf: bool,
    /// A probe got a web page right after an acceptance: it is the upstream's own.
    page_is_ours: bool,
    #[serde(skip)]
    live: Passing<Live>,
}

#[derive(Clone, Debug, Default)]
struct Live {
    plan: Plan,
    silent_tries: u32,
    last_started_at: Option<AgentTime>,
    /// The next probe's end tells whether probes are to be believed.
    hearing_test: bool,
    /// The network went on changing after a probe was planned: one more when it has settled.
    settled_at: Option<AgentTime>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Plan {
    #[default]
    Idle,
    At {
        at: AgentTime,
        /// Tries went unanswered; nothing is sent before the answer.
        doubt: bool,
    },
    InFlight {
        /// It covers what was recorded up to this insertion number.
        covers: i64,
        doubt: bool,
        started_at: AgentTime,
        /// Something asked for another one meanwhile.
        again: Option<AgentTime>,
    },
}

/// What a probe's end says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Finding {
    /// The upstream is there, for what was recorded up to `covers`. `well`: quick and not loaded.
    There { covers: i64, well: bool, took: Duration },
    /// It is not.
    Gone { reason: String },
    /// This one is not believed; what was recorded up to `covers` has no better to wait for.
    NoWord { covers: i64 },
}

impl Prober {
    /// The process starts.
    pub(super) fn start(&mut self, now: AgentTime) {
        *self.live = Live { plan: Plan::At { at: now, doubt: false }, ..Live::default() };
    }

    // ---- questions

    /// Are probes answered as little as if there were no upstream, though it accepts? For `doctor`.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// When the next one is planned.
    #[must_use]
    pub fn planned(&self) -> Option<AgentTime> {
        match self.live.plan {
            Plan::At { at, .. } => Some(at),
            Plan::Idle | Plan::InFlight { .. } => None,
        }
    }

    /// Does sending wait for a probe's answer?
    #[must_use]
    pub(super) fn decides(&self) -> bool {
        !self.deaf && matches!(self.live.plan, Plan::At { doubt: true, .. } | Plan::InFlight { doubt: true, .. })
    }

    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.live.plan == Plan::Idle
    }

    #[must_use]
    pub(super) fn last_started_at(&self) -> Option<AgentTime> {
        self.live.last_started_at
    }

    // ---- what asks for one

    /// Somebody answered.
    pub(super) fn heard(&mut self) {
        self.live.silent_tries = 0;
    }

    /// The network says that there is nobody: asks at once.
    pub(super) fn doubt(&mut self, now: AgentTime) {
        self.live.silent_tries = 0;
        self.plan(now, true);
    }

    /// A try went unanswered: asks at the third in a row.
    pub(super) fn silence(&mut self, now: AgentTime) {
        self.live.silent_tries += 1;
        if self.live.silent_tries >= SILENT_TRIES {
            self.doubt(now);
        }
    }

    /// Something was accepted while offline: are probes to be believed?
    pub(super) fn test_hearing(&mut self, now: AgentTime) {
        self.live.hearing_test = true;
        self.plan(now, false);
    }

    /// A failure was recorded that waits for the line.
    pub(super) fn hint(&mut self, now: AgentTime) {
        let earliest = self.live.last_started_at.map_or(now, |last| last.after(HINT_GAP).max(now));
        if !matches!(self.live.plan, Plan::InFlight { .. }) {
            self.plan(earliest, false);
        }
    }

    /// A link, an address or a route came or went. Such news comes in bursts: the probe does not wait
    /// for the end of one, for that may take long; but it is asked once more behind it.
    pub(super) fn link_changed(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        let settled_at = now.after(LINK_SETTLES + LINK_JITTER.mul_f64(random.f64()));
        if self.planned().is_some_and(|at| at < settled_at) {
            self.live.settled_at = Some(settled_at);
        } else {
            self.plan(settled_at, false);
        }
    }

    /// A person, or a step of the wall clock, wants to know at once.
    pub(super) fn ask(&mut self, now: AgentTime) {
        self.plan(now, false);
    }

    /// Nobody answered: the gap to the next one grows with the outage.
    pub(super) fn wait(&mut self, now: AgentTime, outage: Duration, longest: Duration, random: &mut fastrand::Rng) {
        let base = (outage / 10).min(longest);
        let gap = base.mul_f64(0.5 + 0.5 * random.f64()).max(LEAST_GAP);
        self.plan(now.after(gap), false);
    }

    fn plan(&mut self, wanted: AgentTime, wants_doubt: bool) {
        match &mut self.live.plan {
            Plan::Idle => self.live.plan = Plan::At { at: wanted, doubt: wants_doubt },
            Plan::At { at, doubt } => {
                *at = wanted.min(*at);
                *doubt |= wants_doubt;
            }
            // The one that is under way settles a doubt; anything else happened after it began.
            Plan::InFlight { doubt, .. } if wants_doubt => *doubt = true,
            Plan::InFlight { again, .. } => *again = Some(again.map_or(wanted, |at| at.min(wanted))),
        }
    }

    // ---- its way

    /// One starts now; it will speak for what was recorded up to `newest`.
    pub(super) fn sent(&mut self, now: AgentTime, newest: i64) {
        let doubt = matches!(self.live.plan, Plan::At { doubt: true, .. });
        self.live.settled_at = self.live.settled_at.filter(|at| *at > now);
        self.live.plan = Plan::InFlight { covers: newest, doubt, started_at: now, again: None };
        self.live.last_started_at = Some(now);
    }

    /// It has ended. `contact`: when the upstream last answered a try.
    pub(super) fn ended(&mut self, end: &ProbeEnd, contact: Option<AgentTime>) -> Option<Finding> {
        let Plan::InFlight { covers, started_at, again, .. } = self.live.plan else { return None };
        let next = again.into_iter().chain(self.live.settled_at.take()).min();
        self.live.plan = next.map_or(Plan::Idle, |at| Plan::At { at, doubt: false });
        // One that was under way at the acceptance is not the one that was asked for.
        let tested = again.is_none() && std::mem::take(&mut self.live.hearing_test);
        Some(match end {
            ProbeEnd::Answered { status, took } => {
                // Whichever it was: probes are heard.
                (self.deaf, self.live.hearing_test) = (false, false);
                Finding::There { covers, well: is_well(*status, *took), took: *took }
            }
            ProbeEnd::Page { status, took } if tested || self.page_is_ours => {
                self.page_is_ours = true;
                self.deaf = false;
                Finding::There { covers, well: is_well(*status, *took), took: *took }
            }
            ProbeEnd::Silence { .. } if tested || self.deaf => {
                self.deaf = true;
                Finding::NoWord { covers }
            }
            // The upstream answered a try since: that is worth more.
            ProbeEnd::Page { .. } | ProbeEnd::Silence { .. } if contact.is_some_and(|at| at > started_at) => {
                Finding::NoWord { covers }
            }
            ProbeEnd::Page { status, .. } => Finding::Gone { reason: portal(*status) },
            ProbeEnd::Silence { reason } => Finding::Gone { reason: reason.clone() },
        })
    }
}

fn is_well(status: u16, took: Duration) -> bool {
    took < HEALTHY && status != 429 && status < 500
}
