//! May anything be sent to this upstream now, and is it time to probe?
//!
//! One [`Upstream`] a configured upstream. Its conditions are independent of each other, and all
//! must be clear for sending: paused by a person, not yet met, offline, waiting.
//!
//! ```text
//!            probe answered              refused, no name, silence three times
//! unknown ───────────────────→ online ───────────────────────────→ (probe) ── silence ─→ offline
//!    └───── silence ─→ offline                                        └ answered: online       │
//!                         ↑ silence: the gap grows with the outage                             │
//!                         └──────────────────────── probe answered ─→ online, with a pause ←───┘
//! ```
//!
//! **The pause.** `d` is the time between an answer and the next request; 0 is full speed. A *no*
//! doubles it, a *yes* shortens it by a share of itself; while it lasts, one request is in flight.
//! The numbers come from simulating a chain of 10,000 terminals (`spec/03`, The upstream).
//!
//! What survives a restart is serialised; [`Live`] is not. This module never touches a failure.

use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::class::{Class, Contact, Verdict};
use crate::policy::condition::Condition;
use crate::policy::probe::ProbeEnd;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an upstream's configuration says about its pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Requests in flight at once, at full speed.
    pub concurrency: usize,
    /// The longest pause, and the longest gap between probes while offline.
    pub max_pause: Duration,
}

/// The least pause after a no.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Under it a pause is none.
const NO_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause that an outage leaves behind.
const OUTAGE_PAUSE: Duration = Duration::from_secs(30);
/// An answer that took longer shortens no pause and adds no concurrency.
const SLOW: Duration = Duration::from_secs(5);
/// A probe that is answered faster, and well, tells that the upstream is not flooded.
const HEALTHY: Duration = Duration::from_millis(2500);
/// Tries in a row that nobody answered, after which a probe asks.
const SILENT_TRIES: u32 = 3;
/// Probes that records ask for are at least so far apart; no record waits longer for one, because
/// each waits as long by itself (`backoff::LINE_WAIT`).
const HINT_GAP: Duration = Duration::from_secs(2);
/// The least gap between probes while offline.
const PROBE_GAP: Duration = Duration::from_secs(1);

/// Where an upstream stands: what is stored of it, and what only this run knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upstream {
    paused: bool,
    offline: Option<Offline>,
    pause_ms: u64,
    /// After an outage, until the first no: a yes halves the pause.
    recovering: bool,
    /// Nothing starts before.
    waits_until: AgentTime,
    /// The wait is one that the upstream asked for.
    throttled_until: AgentTime,
    last_contact: Option<AgentTime>,
    last_no_at: Option<AgentTime>,
    /// Since when it is what [`Upstream::standing`] says.
    since: WallTime,
    /// When it last accepted something.
    pub last_delivery_at: Option<WallTime>,
    /// Failures up to this insertion number were recorded before a probe began that was answered.
    pub contact_seq: i64,
    /// Failures up to this one were recorded before the upstream last opened.
    pub opened_seq: i64,
    /// Since it opened, not everything that this made due has been marked so.
    pub sweeping: bool,
    #[serde(skip)]
    live: Live,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Offline {
    since: AgentTime,
    reason: String,
}

/// What is gone with the process.
#[derive(Clone, Debug, Default)]
struct Live {
    /// There was contact since the start.
    met: bool,
    in_flight: usize,
    /// How many may be in flight at full speed.
    window: usize,
    /// Yeses of the present round; a full one widens the window.
    round: usize,
    silent_tries: u32,
    probe: Probe,
    last_probe_at: Option<AgentTime>,
    /// Why the last probe or try found nobody.
    last_fault: Option<String>,
    /// What the upstream's clock says more than ours.
    clock_skew_ms: Option<i64>,
    /// How long the last answer took.
    latency: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Probe {
    #[default]
    Idle,
    Planned(AgentTime),
    /// It covers what was recorded up to this insertion number.
    InFlight(i64),
}

impl Upstream {
    /// An upstream that was never met.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            paused: false,
            offline: None,
            pause_ms: 0,
            recovering: false,
            waits_until: now.agent,
            throttled_until: now.agent,
            last_contact: None,
            last_no_at: None,
            since: now.wall,
            last_delivery_at: None,
            contact_seq: 0,
            opened_seq: 0,
            sweeping: false,
            live: Live::default(),
        }
    }

    /// The process starts: nothing is known until a probe is answered.
    pub fn start(&mut self, now: Moment) {
        self.live = Live { window: 1, probe: Probe::Planned(now.agent), ..Live::default() };
        if !self.paused {
            self.since = now.wall;
        }
    }

    // ---- questions

    /// How many requests may start now.
    #[must_use]
    pub fn slots(&self, now: AgentTime, pace: Pace) -> usize {
        if self.paused || self.offline.is_some() || !self.live.met || now < self.waits_until {
            return 0;
        }
        let allowed = if self.pause_ms > 0 { 1 } else { self.live.window.min(pace.concurrency) };
        allowed.saturating_sub(self.live.in_flight)
    }

    /// Is it time to probe?
    #[must_use]
    pub fn probe_due(&self, now: AgentTime) -> bool {
        matches!(self.live.probe, Probe::Planned(at) if at <= now)
    }

    /// When to ask again, with something to send or without.
    #[must_use]
    pub fn deadline(&self, now: AgentTime, something_due: bool) -> Option<AgentTime> {
        let probe = match self.live.probe {
            Probe::Planned(at) => Some(at),
            Probe::Idle | Probe::InFlight(_) => None,
        };
        let open = !self.paused && self.offline.is_none() && self.live.met;
        let wait = (something_due && open && self.waits_until > now).then_some(self.waits_until);
        probe.into_iter().chain(wait).min()
    }

    /// All conditions that hold, the one that is shown first.
    #[must_use]
    pub fn conditions(&self, now: AgentTime) -> Vec<Condition> {
        let holds = [
            (self.paused, Condition::Paused),
            (self.offline.is_some(), Condition::Offline),
            (now < self.throttled_until, Condition::Throttled),
            (now < self.waits_until, Condition::Waiting),
            (!self.live.met, Condition::Unknown),
        ];
        holds.into_iter().filter_map(|(holds, condition)| holds.then_some(condition)).collect()
    }

    /// The state's name: the first condition, else `online`.
    #[must_use]
    pub fn state(&self, now: AgentTime) -> &'static str {
        self.conditions(now).first().map_or("online", |condition| condition.as_str())
    }

    /// Does nobody answer?
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline.is_some()
    }

    /// Since when it is paused, offline, unknown or online.
    #[must_use]
    pub fn since(&self) -> WallTime {
        self.since
    }

    /// Why nothing was reached, while that is so.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.offline {
            Some(offline) => Some(&offline.reason),
            None => self.live.last_fault.as_deref(),
        }
    }

    /// When the next try or probe is.
    #[must_use]
    pub fn next_try_at(&self, now: Moment) -> Option<WallTime> {
        let at = match (self.paused, self.live.probe) {
            (true, _) => return None,
            (_, Probe::Planned(at)) => at,
            _ if self.waits_until > now.agent => self.waits_until,
            _ => return None,
        };
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

    // ---- what happens to it

    /// A request starts.
    pub fn sent(&mut self) {
        self.live.in_flight += 1;
    }

    /// A request has ended; `sent_at` is when it started.
    pub fn ended(
        &mut self,
        now: Moment,
        sent_at: AgentTime,
        verdict: &Verdict,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) {
        self.live.in_flight = self.live.in_flight.saturating_sub(1);
        match verdict.class {
            Class::Delivered => {
                self.last_delivery_at = Some(now.wall);
                self.yes(now.agent, sent_at, pace, random);
            }
            Class::Failed | Class::Refused => self.yes(now.agent, sent_at, pace, random),
            Class::Unreachable | Class::Throttled | Class::Busy | Class::Unsure | Class::Misconfigured => {
                self.no(now.agent, sent_at, verdict.retry_after, pace, random);
            }
        }
        match verdict.contact {
            Contact::Answered => {
                self.live.latency = Some(now.agent.since(sent_at));
                self.contact(now);
            }
            Contact::Doubtful => self.ask(now.agent),
            Contact::Silent => {
                self.live.silent_tries += 1;
                if self.live.silent_tries >= SILENT_TRIES {
                    self.ask(now.agent);
                }
            }
            Contact::None => {}
        }
        if verdict.contact != Contact::Answered && verdict.class != Class::Refused {
            self.live.last_fault = Some(verdict.error.clone());
        }
    }

    /// A probe starts now; it will speak for what was recorded up to `newest`.
    pub fn probe_sent(&mut self, now: AgentTime, newest: i64) {
        self.live.probe = Probe::InFlight(newest);
        self.live.last_probe_at = Some(now);
    }

    /// A probe has ended.
    pub fn probed(&mut self, now: Moment, end: &ProbeEnd, pace: Pace, random: &mut fastrand::Rng) {
        let Probe::InFlight(newest) = self.live.probe else { return };
        self.live.probe = Probe::Idle;
        match end {
            ProbeEnd::Answered { status, took } => {
                self.contact_seq = self.contact_seq.max(newest);
                self.live.latency = Some(*took);
                let well = *took < HEALTHY && *status != 429 && *status < 500;
                self.open(now, newest, well, pace, random);
            }
            ProbeEnd::Silence { reason } => self.close(now, reason, pace, random),
        }
    }

    /// A failure was recorded whose own try says nothing about it.
    pub fn hint(&mut self, now: AgentTime) {
        if self.offline.is_some() || !self.live.met {
            return; // The next probe is planned, and a till's every sale must not bring it forward.
        }
        let earliest = self.live.last_probe_at.map_or(now, |last| last.after(HINT_GAP).max(now));
        match self.live.probe {
            Probe::Planned(at) if at <= earliest => {}
            Probe::InFlight(_) => {} // `overtaken` asks again when that one has ended.
            Probe::Idle | Probe::Planned(_) => self.live.probe = Probe::Planned(earliest),
        }
    }

    /// Failures wait for the line that no answered probe speaks for.
    pub fn overtaken(&mut self, now: AgentTime) {
        if self.live.probe == Probe::Idle {
            self.hint(now);
        }
    }

    /// A person stops it.
    pub fn suspend(&mut self, now: Moment) {
        if !self.paused {
            self.paused = true;
            self.since = now.wall;
        }
    }

    /// A person wants it to go on: ends the person's pause and the waiting, and tries at once. It
    /// does not shorten what the upstream asked for.
    pub fn resume(&mut self, now: Moment) {
        if self.paused {
            self.paused = false;
            self.since = now.wall;
        }
        self.waits_until = self.throttled_until.max(now.agent);
        if self.offline.is_some() || !self.live.met {
            self.ask(now.agent);
        }
    }

    /// A person wants what waits to be tried now: nothing recorded up to `newest` waits for the line
    /// any longer. No gate is passed, and while nobody answers a probe goes out at once.
    pub fn flush(&mut self, now: AgentTime, newest: i64) {
        self.contact_seq = self.contact_seq.max(newest);
        if self.offline.is_some() || !self.live.met {
            self.ask(now);
        }
    }

    // ---- the pause

    fn yes(&mut self, now: AgentTime, sent_at: AgentTime, pace: Pace, random: &mut fastrand::Rng) {
        let fast = now.since(sent_at) <= SLOW;
        if self.pause_ms > 0 {
            if fast {
                self.shorten(pace);
            }
            self.wait_at_least(now, jittered(self.pause(), random));
        } else if fast {
            self.recovering = false;
            self.live.round += 1;
            if self.live.round >= self.live.window {
                self.live.round = 0;
                self.live.window = (self.live.window + 1).min(pace.concurrency);
            }
        }
    }

    fn shorten(&mut self, pace: Pace) {
        let pause = self.pause().as_secs_f64();
        let share = if self.recovering { 0.5 } else { (pause / pace.max_pause.as_secs_f64()).clamp(0.1, 1.0 / 3.0) };
        let shorter = Duration::from_secs_f64(pause * (1.0 - share));
        self.set_pause(if shorter < NO_PAUSE { Duration::ZERO } else { shorter });
        self.live.window = 1;
        self.live.round = 0;
    }

    fn no(
        &mut self,
        now: AgentTime,
        sent_at: AgentTime,
        retry_after: Option<Duration>,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) {
        // Requests that were under way when the last no came say nothing new.
        if self.last_no_at.is_none_or(|last| sent_at >= last) {
            let doubled = self.pause().saturating_mul(2).max(FIRST_PAUSE).min(pace.max_pause);
            self.set_pause(doubled);
            self.last_no_at = Some(now);
            self.recovering = false;
        }
        self.live.window = 1;
        self.live.round = 0;
        self.wait_at_least(now, jittered(self.pause(), random));
        if let Some(asked) = retry_after {
            let floor = asked.min(pace.max_pause);
            let wait = floor + self.pause().max(floor).mul_f64(random.f64());
            self.wait_at_least(now, wait);
            self.throttled_until = self.throttled_until.max(now.after(wait));
        }
    }

    fn wait_at_least(&mut self, now: AgentTime, wait: Duration) {
        self.waits_until = self.waits_until.max(now.after(wait));
    }

    /// The present pause, `d` of `spec/03`.
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.pause_ms)
    }

    fn set_pause(&mut self, pause: Duration) {
        self.pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    }

    // ---- the line

    fn contact(&mut self, now: Moment) {
        self.live.silent_tries = 0;
        self.live.last_fault = None;
        self.last_contact = Some(now.agent);
    }

    /// Plans a probe for now, unless one is on its way.
    fn ask(&mut self, now: AgentTime) {
        self.live.silent_tries = 0;
        match self.live.probe {
            Probe::InFlight(_) => {}
            Probe::Planned(at) if at <= now => {}
            Probe::Idle | Probe::Planned(_) => self.live.probe = Probe::Planned(now),
        }
    }

    fn open(&mut self, now: Moment, newest: i64, well: bool, pace: Pace, random: &mut fastrand::Rng) {
        let was_offline = self.offline.take();
        let since = was_offline.as_ref().map(|offline| offline.since).or(self.last_contact);
        let starting = !self.live.met;
        self.contact(now);
        self.live.met = true;
        if was_offline.is_none() && !starting {
            return;
        }
        if !self.paused {
            self.since = now.wall;
        }
        let outage = since.map_or(Duration::ZERO, |since| now.agent.since(since));
        let after_outage = outage.div_f64(10.0).min(OUTAGE_PAUSE).min(pace.max_pause);
        let pause = self.pause().max(if after_outage < NO_PAUSE { Duration::ZERO } else { after_outage });
        self.set_pause(pause);
        self.recovering = true;
        self.live.window = 1;
        self.live.round = 0;
        let first = if well { Duration::ZERO } else { pause.mul_f64(random.f64()) };
        self.waits_until = now.agent.after(first).max(self.throttled_until);
        if was_offline.is_some() {
            self.opened_seq = self.opened_seq.max(newest);
            self.sweeping = true;
        }
    }

    fn close(&mut self, now: Moment, reason: &str, pace: Pace, random: &mut fastrand::Rng) {
        let since = match &self.offline {
            Some(offline) => offline.since,
            None => self.last_contact.filter(|_| !self.live.met).unwrap_or(now.agent),
        };
        if self.offline.is_none() && !self.paused {
            self.since = now.wall;
        }
        self.offline = Some(Offline { since, reason: reason.to_owned() });
        self.live.met = true;
        let tenth = now.agent.since(since).div_f64(10.0);
        let gap = tenth.min(pace.max_pause).mul_f64(0.5 + 0.5 * random.f64()).max(PROBE_GAP);
        self.live.probe = Probe::Planned(now.agent.after(gap));
    }

    /// The upstream's clock, by the `Date` of an answer.
    pub fn clock_seen(&mut self, theirs: WallTime, ours: WallTime) {
        self.live.clock_skew_ms = Some(theirs.as_millis().saturating_sub(ours.as_millis()));
    }
}

/// Half to one and a half of a wait: ten thousand terminals must not keep step.
fn jittered(wait: Duration, random: &mut fastrand::Rng) -> Duration {
    wait.mul_f64(0.5 + random.f64())
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
