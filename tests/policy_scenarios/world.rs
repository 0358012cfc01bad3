//! The outside world: an upstream whose mode changes with time, and failures of which some can
//! never be delivered. Its responses have the wire's form, and the shipped `classify` reads them.

use resyncd::policy::ending::Answer;

use resyncd::policy::ending::InterruptKind;

use resyncd::policy::ending::ConnectError;

use resyncd::policy::ending::Ending;
use resyncd::policy::probe::ProbeEnd;
use std::time::Duration;

pub(crate) const SECOND: u64 = 1000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;

/// The behaviour of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Accepted by a healthy upstream.
    Good,
    /// Poisoned: answered with this status, unless the upstream's mode prevents it.
    Status(u16),
    /// Poisoned: 503 with this `Retry-After` in seconds.
    RetryAfter(u64),
    /// Poisoned: never answered.
    Timeout,
    /// Poisoned: the connection breaks.
    Reset,
}

/// The behaviour of an upstream for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Good,
    /// Refuses or ignores connections.
    Down,
    /// Takes requests and never answers; probes neither.
    HungDown,
    /// Takes requests and never answers, but answers probes.
    Hung,
    /// A hotel's login page instead of the upstream.
    Portal,
    /// Answers everything with this status.
    Status(u16),
    /// 503 with `Retry-After` in seconds.
    RetryAfter(u64),
    /// Answers one route with this status.
    Route(u32, u16),
    /// Answers this share (percent) with this status.
    Share(u32, u16),
    /// This share (percent) is accepted, but the response is lost.
    Lost(u32),
    /// Answers after this time.
    Slow(u64),
    /// Healthy, but probes are refused.
    DeafToProbes,
}

/// A request's end and how long it takes, in ms.
pub(crate) fn answer(mode: Mode, kind: Kind, route: u32, random: &mut fastrand::Rng) -> (Ending, u64) {
    let (chance, quick) = (random.u32(0..100), random.u64(40..80));
    let silent = || Ending::Broken(InterruptKind::Timeout, "no answer in time".into());
    let reset = || Ending::Broken(InterruptKind::Reset, "connection reset".into());
    match mode {
        Mode::Down if chance < 50 => return (Ending::NotSent(ConnectError::NoConnection, "refused".into()), 10),
        Mode::Down => {
            return (Ending::NotSent(ConnectError::ConnectTimeout, "no connection in time".into()), 5 * SECOND);
        }
        Mode::Hung | Mode::HungDown => return (silent(), 30 * SECOND),
        Mode::Portal => return (portal(), quick),
        Mode::Status(status) => return (status_answer(status, None), quick),
        Mode::RetryAfter(wait) => return (status_answer(503, Some(wait)), quick),
        Mode::Route(bad, status) if bad == route => return (status_answer(status, None), quick),
        Mode::Share(share, status) if chance < share => return (status_answer(status, None), quick),
        Mode::Lost(share) if chance < share && kind == Kind::Good => return (reset(), quick),
        _ => {}
    }
    let took = if let Mode::Slow(ms) = mode { ms } else { quick };
    match kind {
        Kind::Good => (status_answer(200, None), took),
        Kind::Status(status) => (status_answer(status, None), took),
        Kind::RetryAfter(wait) => (status_answer(503, Some(wait)), took),
        Kind::Timeout => (silent(), 30 * SECOND),
        Kind::Reset => (reset(), took),
    }
}

/// A probe's end and how long it takes, in ms.
pub(crate) fn probe(mode: Mode) -> (ProbeEnd, u64) {
    let silence = |took| (ProbeEnd::Silence { reason: "connection refused".into() }, took);
    match mode {
        Mode::Down | Mode::HungDown => silence(2 * SECOND),
        Mode::DeafToProbes => silence(100),
        Mode::Portal => (ProbeEnd::Page { status: 200, took: Duration::from_millis(50) }, 50),
        _ => (ProbeEnd::Answered { status: 200, took: Duration::from_millis(30) }, 30),
    }
}

fn status_answer(status: u16, retry_after: Option<u64>) -> Ending {
    let retry_after = retry_after.map(|seconds| seconds.to_string());
    Ending::Answered(Answer { status, retry_after, ..Answer::default() })
}

fn portal() -> Ending {
    let (content_type, body) = (Some("text/html".into()), b"<html><body>Please log in".to_vec());
    Ending::Answered(Answer { status: 200, content_type, body, ..Answer::default() })
}
