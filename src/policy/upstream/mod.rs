//! State machine of one upstream: whether something may be sent now, and how attempts and probes change that.
//!
//! Its conditions are independent of each other, and none may hold for sending: *paused* by an operator;
//! *offline*, *blocked* or *failing*, which together are called *shut* (unavailable); *throttled*; *waiting*;
//! *logging in*; and *unknown* before the first contact of a run.
//!
//! ```text
//!                   probe: no response              two keys failed, ten rejected
//!          ┌──────────────────────── open ──────────────────────────┐
//!          ↓                         ↑  │ misconfigured             ↓
//!       offline ── any response ─────┤  └────────→ blocked       failing
//!          │                         │                │             │
//!          └ canary: accepted ───────┴── canary: accepted ──────────┘
//! ```
//!
//! Each part is a small machine in its own file: [`Pause`] and [`Throttle`] (how fast), [`Prober`] and
//! [`Canary`] (when to test for recovery), [`Evidence`] (what responses have shown). This file combines them
//! and answers queries; events are in [`attempts`] (requests and their ends) and [`line`] (probes, outages and
//! recovery, operators); what alerts depend on is in `silence`. [`judge`](super::judge) decides what the end of
//! an attempt means for its *failure*. State that survives a restart is serialized, [`Live`] is not.

pub(in crate::policy) mod attempts;
mod connectivity;
mod silence;

use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::canary::{Canary, Routes};
use crate::policy::condition::{Condition, Shut};
use crate::policy::evidence::Evidence;
use crate::policy::latency::Latency;
use crate::policy::pace::Pace;
use crate::policy::pause::Pause;
use crate::policy::probe::Prober;
use crate::policy::throttle::Throttle;
use crate::policy::transient::Passing;
use serde::{Deserialize, Serialize};
use silence::Silence;
use std::time::Duration;

/// Why a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchKind {
    /// In its turn.
    Turn,
    /// To test whether the upstream is still unavailable.
    Canary {
        /// Sent while the upstream was unreachable.
        offline: bool,
    },
}

/// State of one upstream. Two states are equal when their stored parts are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    paused: bool,
    #[serde(default)]
    paused_since: Option<AgentTime>,
    offline: Option<Shut>,
    blocked: Option<Shut>,
    failing: Option<Shut>,
    pause: Pause,
    throttle: Throttle,
    prober: Prober,
    canary: Canary,
    evidence: Evidence,
    /// How long its acceptances usually take.
    #[serde(default)]
    usual: Latency,
    last_contact: Option<AgentTime>,
    /// The first lasting condition, and since when it holds.
    standing: Option<Condition>,
    since: WallTime,
    /// Time of the last acceptance.
    pub last_delivery_at: Option<WallTime>,
    /// Failures up to this sequence number were recorded before the start of a probe that was answered.
    pub contact_seq: i64,
    /// Failures up to this sequence number were recorded before the last recovery.
    pub opened_seq: i64,
    /// What a recovery or an operator's `resume` has made due, until the store has applied it.
    pub sweep: Option<Sweep>,
    /// Time of the last sweep: a failure attempted before it does not wait for a pacing delay.
    #[serde(default)]
    swept_at: Option<AgentTime>,
    /// Failures whose request was noted on disk before it was sent, and whose result is not stored yet: after a
    /// crash it is unknown whether they have arrived.
    #[serde(default)]
    pub under_way: Vec<Seq>,
    /// State of the extra attempts of critical failures.
    pub chances: Chances,
    /// Set by the first failed attempt or probe after the last acceptance.
    #[serde(default)]
    silence: Option<Silence>,
    #[serde(skip)]
    live: Passing<Live>,
}

/// Failures that are due now although their own time has not come. Of those whose last attempt was not counted:
/// the ones last attempted before `since`, and the never attempted ones with a number of at most `up_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// The newest number at the recovery; 0 if the upstream was available.
    pub up_to: i64,
    /// When it was requested.
    pub since: AgentTime,
}

impl Sweep {
    /// Returns whether it makes this failure due, if its last attempt was not counted.
    #[must_use]
    pub fn takes(&self, seq: Seq, last_sent_at: Option<AgentTime>) -> bool {
        last_sent_at.map_or(seq.0 <= self.up_to, |at| at <= self.since)
    }
}

/// State of the extra attempts of critical failures, so that an acceptance only needs a query if there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chances {
    /// No critical failure has one left.
    None,
    /// Some have, which are granted at the next acceptance or 4 h after each became critical.
    Waiting,
    /// Those that have one left get it now, in chunks; then the state is `None`.
    Due,
}

/// Attempts whose body was too large for the link and the timeout.
#[derive(Clone, Debug)]
struct TimedOutUploads {
    /// How many in a row, apart from the first attempts of other failures.
    count: u32,
    /// The last of them.
    last: AgentTime,
    /// Its error.
    words: String,
}

/// State that is lost when the process ends.
#[derive(Clone, Debug, Default)]
struct Live {
    /// The upstream has been contacted since the start, or found unreachable.
    met: bool,
    in_flight: usize,
    /// A request in flight fetches a session first; others would only wait for it.
    logging_in: bool,
    /// Earliest start of the next request under `max_rate`.
    next_start: Option<AgentTime>,
    /// An operator resumed it: the next recovery begins without a delay.
    resumed: bool,
    routes: Routes,
    /// No failure may act as a canary, so the next probe can end a block.
    probe_opens: bool,
    /// A probe ended a block, and nothing was accepted since: the number of canaries that had been scheduled
    /// then. If the block returns, the delays continue from there.
    reopened: Option<u32>,
    /// Why the last probe or attempt found the upstream unreachable.
    last_fault: Option<String>,
    /// Error of the last response that slowed delivery down; cleared by an acceptance.
    last_no: Option<String>,
    /// Attempts in a row with a body that was too large for the link and the timeout.
    timed_out_uploads: Option<TimedOutUploads>,
    /// The upstream's clock minus the terminal's, in ms.
    clock_skew_ms: Option<i64>,
    /// Duration of the last response.
    latency: Option<Duration>,
    /// End of the last outage: time before it is not counted as latency of the upstream.
    back_at: Option<AgentTime>,
}

impl Upstream {
    /// An upstream without any contact.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            paused: false,
            paused_since: None,
            offline: None,
            blocked: None,
            failing: None,
            pause: Pause::none(now.agent),
            throttle: Throttle::none(now.agent),
            prober: Prober::default(),
            canary: Canary::Off,
            evidence: Evidence::none(),
            usual: Latency::default(),
            last_contact: None,
            standing: None,
            since: now.wall,
            last_delivery_at: None,
            contact_seq: 0,
            opened_seq: 0,
            sweep: None,
            swept_at: None,
            under_way: Vec::new(),
            chances: Chances::None,
            silence: None,
            live: Passing::default(),
        }
    }

    /// Initializes the state at the start of the process: reachability is unknown until a probe is answered.
    pub fn start(&mut self, now: Moment) {
        self.live = Passing::default();
        if self.paused {
            self.paused_since.get_or_insert(now.agent);
        }
        self.prober.start(now.agent);
        self.settle(now);
    }

    // ---- may something be sent?

    /// Number of failures that may be sent now in their turn.
    #[must_use]
    pub fn slots(&self, now: AgentTime, pace: Pace) -> usize {
        if !self.is_open(now) {
            return 0;
        }
        let most = match pace.ordering {
            Ordering::Strict => 1,
            Ordering::Key | Ordering::None if !pace.min_gap.is_zero() => self.live.in_flight + 1,
            Ordering::Key | Ordering::None => usize::MAX,
        };
        self.pause.width(pace.concurrency).min(most).saturating_sub(self.live.in_flight)
    }

    /// Returns whether only the ends of its requests trigger the next ones: the maximum number is in flight,
    /// and each is followed at once.
    #[must_use]
    pub fn is_at_full_speed(&self, now: AgentTime, pace: Pace) -> bool {
        let wide = self.pause.is_none() && self.pause.width(pace.concurrency) == pace.concurrency;
        self.is_open(now) && wide && pace.min_gap.is_zero() && pace.ordering != Ordering::Strict
    }

    /// Returns whether a failure may be sent in its turn, ignoring the limit of requests in flight.
    fn is_open(&self, now: AgentTime) -> bool {
        self.may_send() && !self.is_shut() && now >= self.next_turn()
    }

    /// Returns whether a canary may be sent now. It ignores the pacing delay, but neither `Retry-After` nor an
    /// operator's pause.
    #[must_use]
    pub fn canary_due(&self, now: AgentTime) -> bool {
        self.may_send() && self.live.in_flight == 0 && self.canary_at().is_some_and(|at| at <= now)
    }

    /// Returns whether failures without an attempt are sent before others.
    #[must_use]
    pub fn prefers_untried(&self) -> bool {
        !self.pause.is_none()
    }

    /// The routes by recency of their attempts, for choosing a canary.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.live.routes
    }

    /// Returns whether a probe is due.
    #[must_use]
    pub fn probe_due(&self, now: AgentTime, pace: Pace) -> bool {
        self.prober.planned().or_else(|| self.idle_probe_at(pace)).is_some_and(|at| at <= now)
    }

    /// When the state has to be polled again; `something_waits`: a failure is due (or a pending head exists,
    /// while the upstream is unavailable). Always in the future, because what may be done now has been done
    /// before this call.
    #[must_use]
    pub fn deadline(&self, now: AgentTime, something_waits: bool, pace: Pace) -> Option<AgentTime> {
        let probe = self.prober.planned().or_else(|| self.idle_probe_at(pace));
        let send = match (something_waits && self.may_send(), self.is_shut()) {
            (false, _) => None,
            (true, true) => self.canary_at(),
            (true, false) => Some(self.next_turn()),
        };
        [probe, send].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Returns whether no pause, login, missing contact or pending decisive probe prevents sending.
    fn may_send(&self) -> bool {
        !self.paused && !self.live.logging_in && self.live.met && !self.prober.decides()
    }

    fn next_turn(&self) -> AgentTime {
        self.pause.until().max(self.no_sooner())
    }

    fn canary_at(&self) -> Option<AgentTime> {
        self.canary.at().map(|at| at.max(self.no_sooner()))
    }

    /// The earliest start of any request, canaries included, under `Retry-After` and `max_rate`.
    fn no_sooner(&self) -> AgentTime {
        self.live.next_start.map_or(self.throttle.until(), |start| start.max(self.throttle.until()))
    }

    fn idle_probe_at(&self, pace: Pace) -> Option<AgentTime> {
        let idle = pace.probe_idle?;
        let open = self.live.met && !self.is_shut() && self.prober.is_idle() && self.live.in_flight == 0;
        let last = self.last_contact.max(self.prober.last_started_at())?;
        open.then(|| last.after(idle))
    }

    /// When a failure whose attempt did not count may be sent again, as far as this is known.
    pub(super) fn reopens_at(&self, now: AgentTime) -> AgentTime {
        self.next_turn().max(now)
    }

    /// Returns whether a recovery or an operator ended the wait of a failure that was last attempted at this
    /// time. For one without an attempt its number decides.
    #[must_use]
    pub fn has_swept(&self, seq: Seq, last_sent_at: Option<AgentTime>) -> bool {
        match last_sent_at {
            Some(at) => self.swept_at.is_some_and(|swept| at <= swept),
            None => seq.0 <= self.opened_seq,
        }
    }

    // ---- what is shown

    /// Returns whether it is offline, blocked or failing.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.offline.is_some() || self.blocked.is_some() || self.failing.is_some()
    }

    /// Returns whether it is unreachable.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline.is_some()
    }

    /// All conditions that hold, the displayed one first.
    #[must_use]
    pub fn conditions(&self, now: AgentTime) -> Vec<Condition> {
        let holds = [
            (self.paused, Condition::Paused),
            (self.offline.is_some(), Condition::Offline),
            (self.blocked.is_some(), Condition::Blocked),
            (self.failing.is_some(), Condition::Failing),
            (now < self.throttle.until(), Condition::Throttled),
            (now < self.pause.until(), Condition::Waiting),
            (self.live.logging_in, Condition::LoggingIn),
            (!self.live.met, Condition::Unknown),
        ];
        holds.into_iter().filter_map(|(holds, condition)| holds.then_some(condition)).collect()
    }

    /// The name of the state: the first condition, or `online`.
    #[must_use]
    pub fn state(&self, now: AgentTime) -> &'static str {
        self.conditions(now).first().map_or("online", |condition| condition.as_str())
    }

    /// Since when it is paused, offline, blocked, failing, unknown or available.
    #[must_use]
    pub fn since(&self) -> WallTime {
        self.since
    }

    /// Why it is unavailable or was not reached, or the error of the last response that slowed delivery down.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let shut = [&self.offline, &self.blocked, &self.failing].into_iter().flatten().next();
        let shut = shut.map(|shut| shut.reason.as_str());
        shut.or(self.live.last_fault.as_deref()).or(self.live.last_no.as_deref())
    }

    /// The time of the next attempt or probe.
    #[must_use]
    pub fn next_try_at(&self, now: Moment) -> Option<WallTime> {
        if self.paused {
            return None;
        }
        let send = if self.is_shut() { self.canary_at() } else { Some(self.next_turn()).filter(|at| *at > now.agent) };
        let at = send.into_iter().chain(self.prober.planned()).min()?;
        Some(now.wall.after(at.since(now.agent)))
    }

    /// The last error, if several attempts in a row had a body that was too large for the link and the timeout. Those of
    /// smaller bodies in between do not matter.
    #[must_use]
    pub fn uploads_time_out(&self, now: AgentTime) -> Option<&str> {
        /// A single one may be due to a broken connection.
        const IN_A_ROW: u32 = 3;
        /// Without another one for so long, that failure has left or has been edited.
        const FORGOTTEN: Duration = Duration::from_secs(3 * 60 * 60);
        let uploads = self.live.timed_out_uploads.as_ref().filter(|uploads| now.since(uploads.last) < FORGOTTEN)?;
        (uploads.count >= IN_A_ROW).then_some(uploads.words.as_str())
    }

    /// Duration of the last response.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.live.latency
    }

    /// The upstream's clock minus the terminal's in ms, by its last response.
    #[must_use]
    pub fn clock_skew_ms(&self) -> Option<i64> {
        self.live.clock_skew_ms
    }

    /// The current pacing delay.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pause.length()
    }

    /// Returns whether probes are not trusted. For `doctor`.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.prober.is_deaf()
    }

    /// What its responses have shown.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

#[cfg(test)]
mod tests;
