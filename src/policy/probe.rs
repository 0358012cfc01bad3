//! When to test whether the upstream is reachable, and how far the result is trusted.
//!
//! A probe is a `HEAD` that costs little and is no evidence about any failure. It is sent only without a response: at
//! once when the network reports an error, otherwise at the third timeout in a row; then, while offline, in gaps that
//! grow with the outage. Recorded failures, the kernel's link events and steps of the wall clock bring it forward.
//!
//! Two results are not trusted. If probes time out while failures are accepted, failed probes are ignored until one
//! succeeds. And a web page over plain http is treated as a captive portal's, unless one also came right after an
//! acceptance: then it is the upstream's own.
//!
//! The effects of a probe's result are in `upstream`.

use super::transient::Passing;
use crate::moment::{AgentTime, WallTime};
use crate::policy::body::{Body, is_typed_html};
use crate::policy::class::with_clock;
use crate::policy::ending::Answer;
use crate::policy::ending::ConnectError;
use crate::policy::ending::Ending;
use crate::policy::ending::Target;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Attempts in a row without a response that start a probe.
const SILENT_TRIES: u32 = 3;
/// Minimum gap between probes started by recorded failures. No failure is delayed by it, because each waits as
/// long anyway (`backoff::CONTACT_GRACE`).
const HINT_GAP: Duration = Duration::from_secs(2);
/// Minimum gap between probes while offline.
const LEAST_GAP: Duration = Duration::from_secs(1);
/// A link event is followed by others (address, route). The first starts a probe after a short quiet window, so
/// that a link that is up for only seconds is used.
const LINK_QUIET: Duration = Duration::from_millis(100);
/// The others are combined into one more probe, this long after the last of them.
const LINK_SETTLES: Duration = Duration::from_secs(2);
/// Jitter of both: after a power cut, all tills of a shopping mall come back at once.
const LINK_JITTER: Duration = Duration::from_millis(500);
/// A faster response other than 429 and 5xx shows that the upstream is not overloaded.
const HEALTHY: Duration = Duration::from_millis(2500);

/// The result of a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeEnd {
    /// A response, whatever it contains.
    Answered {
        /// Status of the response.
        status: u16,
        /// Duration of the probe.
        took: Duration,
    },
    /// A web page over plain http: the upstream's own, or a captive portal's.
    Page {
        /// Status of the response.
        status: u16,
        /// Duration of the probe.
        took: Duration,
    },
    /// No response, or one from another server.
    Silence {
        /// Error message.
        reason: String,
    },
}

impl ProbeEnd {
    /// Interprets the end of an exchange: any response shows that the upstream is reachable, except those that
    /// a network sends in place of the upstream.
    #[must_use]
    pub fn of(ending: Ending, took: Duration, target: &Target, wall: WallTime) -> Self {
        match ending {
            Ending::NotSent(ConnectError::CertificateTime, error) => Self::Silence { reason: with_clock(&error, wall) },
            Ending::Answered(answer) if !target.https && is_portal(&answer, target) => {
                Self::Silence { reason: portal(&answer) }
            }
            Ending::Answered(answer) if !target.https && answer.status / 100 == 2 && is_page(&answer) => {
                Self::Page { status: answer.status, took }
            }
            Ending::Answered(answer) => Self::Answered { status: answer.status, took },
            Ending::NotSent(_, reason) | Ending::Broken(_, reason) | Ending::InvalidRequest(reason) => {
                Self::Silence { reason }
            }
            Ending::LoginError(end) => Self::Silence { reason: end.error },
        }
    }
}

/// Over plain http: network authentication, or a redirect to another host.
fn is_portal(answer: &Answer, target: &Target) -> bool {
    answer.status == 511 || (answer.status / 100 == 3 && answer.leads_elsewhere(target))
}

/// Judged by its body; a response to `HEAD` has none, so only its content type can be used.
fn is_page(answer: &Answer) -> bool {
    if answer.body.is_empty() { is_typed_html(answer) } else { Body::of(answer).is_web_page() }
}

fn portal(answer: &Answer) -> String {
    let status = answer.status;
    match answer.redirect() {
        Some(redirects) => format!("HTTP {status}: {redirects} (a login page of the network?)"),
        None => somebody_else(status),
    }
}

fn somebody_else(status: u16) -> String {
    format!("HTTP {status}: somebody else answers (a login page of the network?)")
}

/// Probing of one upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prober {
    /// Probes time out although failures are accepted.
    deaf: bool,
    /// A probe got a web page right after an acceptance, so it is the upstream's own.
    html_is_own: bool,
    #[serde(skip)]
    live: Passing<Live>,
}

#[derive(Clone, Debug, Default)]
struct Live {
    plan: Plan,
    /// Attempts and probes in a row without a response.
    unanswered: u32,
    last_started_at: Option<AgentTime>,
    /// The end of the next probe decides whether probes are trusted.
    probe_recheck: bool,
    /// When a link, an address or a route last came or went.
    link_changed_at: Option<AgentTime>,
    /// The network has changed again after a probe was scheduled: send one more when it has settled.
    settled_at: Option<AgentTime>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Plan {
    #[default]
    Idle,
    At {
        at: AgentTime,
        /// Attempts timed out; nothing is sent before the probe has ended.
        doubt: bool,
    },
    InFlight {
        /// It covers failures recorded up to this sequence number.
        covers: i64,
        doubt: bool,
        started_at: AgentTime,
        /// Another probe was requested in the meantime.
        again: Option<AgentTime>,
    },
}

/// Interpretation of a probe's result.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Finding {
    /// The upstream is reachable, for failures recorded up to `covers`. `well`: a quick response that is not an
    /// error.
    There { covers: i64, well: bool, took: Duration, status: u16 },
    /// The upstream is unreachable.
    Gone { reason: String },
    /// This probe is not trusted; failures recorded up to `covers` need not wait for another.
    Inconclusive { covers: i64 },
}

impl Prober {
    /// Initializes probing at the start of the process.
    pub(super) fn start(&mut self, now: AgentTime) {
        *self.live = Live { plan: Plan::At { at: now, doubt: false }, ..Live::default() };
    }

    // ---- queries

    /// Returns whether probes time out although the upstream accepts failures. For `doctor`.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// When the next probe is scheduled.
    #[must_use]
    pub fn planned(&self) -> Option<AgentTime> {
        match self.live.plan {
            Plan::At { at, .. } => Some(at),
            Plan::Idle | Plan::InFlight { .. } => None,
        }
    }

    /// Returns whether sending has to wait for the end of a probe.
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

    // ---- what starts one

    /// The upstream responded.
    pub(super) fn heard(&mut self) {
        self.live.unanswered = 0;
    }

    /// The network reports that the upstream is unreachable: starts a probe at once.
    pub(super) fn doubt(&mut self, now: AgentTime) {
        self.live.unanswered = self.live.unanswered.saturating_add(1);
        self.plan(now, true);
    }

    /// An attempt timed out: starts a probe at the third in a row, unless the share of errors explains so many
    /// (`explained`).
    pub(super) fn silence(&mut self, now: AgentTime, explained: bool) {
        self.live.unanswered = self.live.unanswered.saturating_add(1);
        if self.live.unanswered >= SILENT_TRIES && !explained {
            self.plan(now, true);
        }
    }

    /// Attempts and probes in a row without a response.
    #[must_use]
    pub(super) fn unanswered(&self) -> u32 {
        self.live.unanswered
    }

    /// A failure was accepted while offline: tests whether probes can be trusted.
    pub(super) fn recheck_probes(&mut self, now: AgentTime) {
        self.live.probe_recheck = true;
        self.plan(now, false);
    }

    /// A failure was recorded that waits for contact.
    pub(super) fn hint(&mut self, now: AgentTime) {
        let earliest = self.live.last_started_at.map_or(now, |last| last.after(HINT_GAP).max(now));
        if !matches!(self.live.plan, Plan::InFlight { .. }) {
            self.plan(earliest, false);
        }
    }

    /// A link, an address or a route came or went. Such events come in bursts: one probe starts soon after the
    /// first, and one more when the network has settled after the last.
    pub(super) fn link_changed(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        let jitter = LINK_JITTER.mul_f64(random.f64());
        let first = self.live.link_changed_at.is_none_or(|last| now.since(last) > LINK_SETTLES);
        self.live.link_changed_at = Some(now);
        if first {
            return self.plan(now.after(LINK_QUIET + jitter), false);
        }
        let settled_at = now.after(LINK_SETTLES + jitter);
        if self.planned().is_some_and(|at| at < settled_at) {
            self.live.settled_at = Some(settled_at);
        } else {
            self.plan(settled_at, false);
        }
    }

    /// An operator, or a step of the wall clock, requires a probe at once.
    pub(super) fn ask(&mut self, now: AgentTime) {
        self.plan(now, false);
    }

    /// The upstream did not respond: schedules the next probe, in a gap that grows with the outage.
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
            // A probe in flight resolves a doubt; any other event happened after it started.
            Plan::InFlight { doubt, .. } if wants_doubt => *doubt = true,
            Plan::InFlight { again, .. } => *again = Some(again.map_or(wanted, |at| at.min(wanted))),
        }
    }

    // ---- life of a probe

    /// A probe starts now; its result applies to failures recorded up to `newest`.
    pub(super) fn sent(&mut self, now: AgentTime, newest: i64) {
        let doubt = matches!(self.live.plan, Plan::At { doubt: true, .. });
        self.live.settled_at = self.live.settled_at.filter(|at| *at > now);
        self.live.plan = Plan::InFlight { covers: newest, doubt, started_at: now, again: None };
        self.live.last_started_at = Some(now);
    }

    /// A probe has ended. `contact`: when the upstream last responded to an attempt.
    pub(super) fn ended(&mut self, end: &ProbeEnd, contact: Option<AgentTime>) -> Option<Finding> {
        let Plan::InFlight { covers, started_at, again, .. } = self.live.plan else { return None };
        // A response is conclusive about all changes before its request started.
        let changed_since = self.live.link_changed_at.is_some_and(|at| at > started_at);
        let told = matches!(end, ProbeEnd::Answered { .. }) && !changed_since;
        let settled_at = self.live.settled_at.take().filter(|_| !told);
        let next = again.into_iter().chain(settled_at).min();
        self.live.plan = next.map_or(Plan::Idle, |at| Plan::At { at, doubt: false });
        // A probe in flight at the acceptance is not the one that was requested.
        if matches!(end, ProbeEnd::Silence { .. }) {
            self.live.unanswered = self.live.unanswered.saturating_add(1);
        }
        let tested = again.is_none() && std::mem::take(&mut self.live.probe_recheck);
        Some(match end {
            ProbeEnd::Answered { status, took } => {
                // A response to either of them shows that probes work.
                (self.deaf, self.live.probe_recheck) = (false, false);
                Finding::There { covers, well: is_well(*status, *took), took: *took, status: *status }
            }
            ProbeEnd::Page { status, took } if tested || self.html_is_own => {
                self.html_is_own = true;
                self.deaf = false;
                Finding::There { covers, well: is_well(*status, *took), took: *took, status: *status }
            }
            ProbeEnd::Silence { .. } if tested || self.deaf => {
                self.deaf = true;
                Finding::Inconclusive { covers }
            }
            // The upstream has responded to an attempt since, which is better evidence.
            ProbeEnd::Page { .. } | ProbeEnd::Silence { .. } if contact.is_some_and(|at| at > started_at) => {
                Finding::Inconclusive { covers }
            }
            ProbeEnd::Page { status, .. } => Finding::Gone { reason: somebody_else(*status) },
            ProbeEnd::Silence { reason } => Finding::Gone { reason: reason.clone() },
        })
    }
}

fn is_well(status: u16, took: Duration) -> bool {
    took < HEALTHY && status != 429 && status < 500
}
