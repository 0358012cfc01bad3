//! One upstream: may anything be sent to it now, and what have tries and probes made of it?
//!
//! Its conditions are independent of each other, and all must be clear for sending (`spec/03`, The
//! upstream): *paused* by a person; *offline*, *blocked* or *failing*, which together are called
//! *shut*; *throttled*; *waiting*; *logging in*; and *unknown* before the first contact of a run.
//!
//! ```text
//!                    probe: silence                  two keys failed, ten refused
//!          ┌──────────────────────── open ──────────────────────────┐
//!          ↓                         ↑  │ misconfigured             ↓
//!       offline ── any answer ───────┤  └────────→ blocked       failing
//!          │                         │                │             │
//!          └ canary: accepted ───────┴── canary: accepted ──────────┘
//! ```
//!
//! The parts have files of their own, each a small machine: [`Pause`] and [`Throttle`] (how fast),
//! [`Prober`] and [`Canary`] (when to look), [`Evidence`] (what answers have shown). This file joins
//! them and answers questions; what happens to an upstream is in [`tries`] (requests and their ends)
//! and [`line`] (probes, opening and shutting, people); what people are told of it, in `silence`. What a try's end means for its *failure* is
//! decided by [`judge`](super::judge). What survives a restart is serialised, [`Live`] is not.

mod line;
mod silence;
pub(in crate::policy) mod tries;

pub use crate::config::upstream::Ordering;
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::canary::{Canary, Routes};
use crate::policy::condition::{Condition, Shut};
use crate::policy::evidence::Evidence;
use crate::policy::passing::Passing;
use crate::policy::pause::Pause;
use crate::policy::probe::Prober;
use crate::policy::throttle::Throttle;
use serde::{Deserialize, Serialize};
use silence::Silence;
use std::time::Duration;

/// What an upstream's configuration says about its pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Requests in flight at once, at full speed.
    pub concurrency: usize,
    /// The longest pause, and the longest gap between probes while offline.
    pub max_pause: Duration,
    /// From the start of one request to that of the next at least (`max_rate`).
    pub min_gap: Duration,
    /// After so much idleness an open upstream is probed; `None`: never.
    pub probe_idle: Option<Duration>,
    /// What waits for what.
    pub ordering: Ordering,
}

/// On whose account a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// It was its turn.
    Turn,
    /// It looks whether the upstream is still shut.
    Canary {
        /// Sent while nobody answered.
        offline: bool,
    },
}

/// See the file's head. Two are equal when the same is stored of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    paused: bool,
    offline: Option<Shut>,
    blocked: Option<Shut>,
    failing: Option<Shut>,
    pause: Pause,
    throttle: Throttle,
    prober: Prober,
    canary: Canary,
    evidence: Evidence,
    last_contact: Option<AgentTime>,
    /// Its standing, and since when.
    standing: Option<Condition>,
    since: WallTime,
    /// When it last accepted something.
    pub last_delivery_at: Option<WallTime>,
    /// Failures up to this insertion number were recorded before a probe began that was answered.
    pub contact_seq: i64,
    /// Failures up to this one were recorded before the upstream last opened.
    pub opened_seq: i64,
    /// Since it opened, not everything that this made due has been marked so.
    pub sweeping: bool,
    /// Critical failures that have a second chance left.
    pub chances: Chances,
    /// Since its last acceptance it was tried in vain, or nobody answered.
    #[serde(default)]
    silence: Option<Silence>,
    #[serde(skip)]
    live: Passing<Live>,
}

/// Where the second chances of critical failures stand. So an acceptance costs a query only when
/// there is something to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chances {
    /// No critical failure has one left.
    None,
    /// Some have, which come with the next acceptance or 4 h after each became critical.
    Waiting,
    /// Those that have one left get it now, in chunks; then it is `None`.
    Due,
}

/// What is gone with the process.
#[derive(Clone, Debug, Default)]
struct Live {
    /// There was contact since the start, or there was none to be had.
    met: bool,
    in_flight: usize,
    /// A request in flight fetches a session first; who came now would only wait for it.
    logging_in: bool,
    /// `max_rate`: nothing starts before.
    next_start: Option<AgentTime>,
    /// A person wants it to go on: the next opening begins without a pause.
    resumed: bool,
    routes: Routes,
    /// Why the last probe or try found nobody.
    last_fault: Option<String>,
    /// What the upstream's clock says more than ours.
    clock_skew_ms: Option<i64>,
    /// How long the last answer took.
    latency: Option<Duration>,
}

impl Upstream {
    /// An upstream that was never met.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            paused: false,
            offline: None,
            blocked: None,
            failing: None,
            pause: Pause::none(now.agent),
            throttle: Throttle::none(now.agent),
            prober: Prober::default(),
            canary: Canary::Off,
            evidence: Evidence::none(),
            last_contact: None,
            standing: None,
            since: now.wall,
            last_delivery_at: None,
            contact_seq: 0,
            opened_seq: 0,
            sweeping: false,
            chances: Chances::None,
            silence: None,
            live: Passing::default(),
        }
    }

    /// The process starts: nothing is known until a probe is answered.
    pub fn start(&mut self, now: Moment) {
        self.live = Passing::default();
        self.prober.start(now.agent);
        self.settle(now);
    }

    // ---- may something be sent?

    /// How many failures may be sent now because it is their turn.
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

    /// Does nothing but the ends of its requests say when the next one goes: as many as are allowed are under
    /// way, and each is followed at once?
    #[must_use]
    pub fn is_at_full_speed(&self, now: AgentTime, pace: Pace) -> bool {
        let wide = self.pause.is_none() && self.pause.width(pace.concurrency) == pace.concurrency;
        self.is_open(now) && wide && pace.min_gap.is_zero() && pace.ordering != Ordering::Strict
    }

    /// May a failure go whose turn it is, as far as what is under way lets it?
    fn is_open(&self, now: AgentTime) -> bool {
        self.may_send() && !self.is_shut() && now >= self.next_turn()
    }

    /// May a canary be sent now? It passes the pause, but neither a `Retry-After` nor a person.
    #[must_use]
    pub fn canary_due(&self, now: AgentTime) -> bool {
        self.may_send() && self.live.in_flight == 0 && self.canary_at().is_some_and(|at| at <= now)
    }

    /// Do failures that were never tried go before those that were?
    #[must_use]
    pub fn prefers_untried(&self) -> bool {
        !self.pause.is_none()
    }

    /// Which routes were tried how recently: what a canary is chosen by.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.live.routes
    }

    /// Is it time to probe?
    #[must_use]
    pub fn probe_due(&self, now: AgentTime, pace: Pace) -> bool {
        self.prober.planned().or_else(|| self.idle_probe_at(pace)).is_some_and(|at| at <= now)
    }

    /// When to ask again, while something is due (or a head pending, when it is shut) or not. Always
    /// ahead: what may be done now has been done when this is asked.
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

    /// Neither a person, nor a login, nor ignorance is in the way. (A doubt that a probe settles is
    /// ignorance.)
    fn may_send(&self) -> bool {
        !self.paused && !self.live.logging_in && self.live.met && !self.prober.decides()
    }

    fn next_turn(&self) -> AgentTime {
        self.pause.until().max(self.no_sooner())
    }

    fn canary_at(&self) -> Option<AgentTime> {
        self.canary.at().map(|at| at.max(self.no_sooner()))
    }

    /// What binds canaries as well: a `Retry-After` and `max_rate`.
    fn no_sooner(&self) -> AgentTime {
        self.live.next_start.map_or(self.throttle.until(), |start| start.max(self.throttle.until()))
    }

    fn idle_probe_at(&self, pace: Pace) -> Option<AgentTime> {
        let idle = pace.probe_idle?;
        let open = self.live.met && !self.is_shut() && self.prober.is_idle() && self.live.in_flight == 0;
        let last = self.last_contact.max(self.prober.last_started_at())?;
        open.then(|| last.after(idle))
    }

    /// When a failure whose try did not count may go again, as far as this is known.
    pub(super) fn reopens_at(&self, now: AgentTime) -> AgentTime {
        self.next_turn().max(now)
    }

    // ---- what is shown

    /// Is it offline, blocked or failing?
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.offline.is_some() || self.blocked.is_some() || self.failing.is_some()
    }

    /// Does nobody answer?
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline.is_some()
    }

    /// All conditions that hold, the one that is shown first.
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

    /// The state's name: the first condition, else `online`.
    #[must_use]
    pub fn state(&self, now: AgentTime) -> &'static str {
        self.conditions(now).first().map_or("online", |condition| condition.as_str())
    }

    /// Since when it is paused, offline, blocked, failing, unknown or open.
    #[must_use]
    pub fn since(&self) -> WallTime {
        self.since
    }

    /// Why it is shut, or why nothing was reached, while that is so.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let shut = [&self.offline, &self.blocked, &self.failing].into_iter().flatten().next();
        shut.map(|shut| shut.reason.as_str()).or(self.live.last_fault.as_deref())
    }

    /// When the next try or probe is.
    #[must_use]
    pub fn next_try_at(&self, now: Moment) -> Option<WallTime> {
        if self.paused {
            return None;
        }
        let send = if self.is_shut() { self.canary_at() } else { Some(self.next_turn()).filter(|at| *at > now.agent) };
        let at = send.into_iter().chain(self.prober.planned()).min()?;
        Some(now.wall.after(at.since(now.agent)))
    }

    /// How long the last answer took.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.live.latency
    }

    /// What the upstream's clock says more than ours, by its last answer.
    #[must_use]
    pub fn clock_skew_ms(&self) -> Option<i64> {
        self.live.clock_skew_ms
    }

    /// The present pause, `d` of `spec/03`.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pause.length()
    }

    /// Are probes not believed? For `doctor`.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.prober.is_deaf()
    }

    /// What its answers have shown.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

#[cfg(test)]
mod tests;
