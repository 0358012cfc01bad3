//! The head office: it serves a fixed number of requests a second, and treats an excess in one of several manners.

use resyncd::policy::ending::Answer;

use resyncd::policy::ending::InterruptKind;

use resyncd::policy::ending::ConnectError;

use resyncd::policy::ending::Ending;

/// How it treats more requests than it can serve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// Answers 503.
    Busy,
    /// Answers 503 with `Retry-After` in seconds.
    RetryAfter(u64),
    /// Queues requests for up to this many seconds, then accepts no connections.
    Queue(f64),
}

/// The result of a request that arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Served; the response leaves at this time, in seconds.
    Served(f64),
    /// Rejected immediately.
    TurnedAway,
    /// Not even a connection.
    Ignored,
}

/// With 503, it accepts this many seconds of work before it rejects.
const SLACK: f64 = 0.25;
/// How long a terminal waits for a connection, in seconds.
const CONNECT_TIMEOUT: f64 = 5.0;

pub(crate) struct Office {
    pub(crate) manner: Manner,
    /// Requests a second.
    pub(crate) capacity: f64,
    /// When its capacity halves, in seconds.
    pub(crate) halves_at: Option<f64>,
    free_at: f64,
}

impl Office {
    pub(crate) fn new(manner: Manner, capacity: f64, halves_at: Option<f64>) -> Self {
        Self { manner, capacity, halves_at, free_at: 0.0 }
    }

    pub(crate) fn capacity_at(&self, at: f64) -> f64 {
        if self.halves_at.is_some_and(|halves| at >= halves) { self.capacity / 2.0 } else { self.capacity }
    }

    fn arrives(&mut self, at: f64) -> Fate {
        let limit = if let Manner::Queue(seconds) = self.manner { seconds } else { SLACK };
        if self.free_at - at > limit {
            return if matches!(self.manner, Manner::Queue(_)) { Fate::Ignored } else { Fate::TurnedAway };
        }
        self.free_at = self.free_at.max(at) + 1.0 / self.capacity_at(at);
        Fate::Served(self.free_at)
    }

    /// A request arrives. Returns when and how it ends for the terminal, which is `way_s` away.
    pub(crate) fn answers(&mut self, at: f64, way_s: f64, sent_s: f64, patience_s: f64) -> (f64, End) {
        match self.arrives(at) {
            Fate::Served(done) if done + way_s - sent_s > patience_s => (sent_s + patience_s, End::Timeout),
            Fate::Served(done) => (done + way_s, End::Ok),
            Fate::Ignored => (sent_s + CONNECT_TIMEOUT, End::Refused),
            Fate::TurnedAway => match self.manner {
                Manner::RetryAfter(wait) => (at + way_s, End::RetryAfter(wait)),
                Manner::Busy | Manner::Queue(_) => (at + way_s, End::Busy),
            },
        }
    }
}

/// How a request or a probe ends for the terminal.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    Ok,
    Busy,
    RetryAfter(u64),
    Refused,
    NoConnection,
    Timeout,
}

/// The same as the policy's type.
pub(crate) fn ending(end: End) -> Ending {
    let answer = |status, retry_after: Option<u64>| {
        let retry_after = retry_after.map(|seconds| seconds.to_string());
        Ending::Answered(Answer { status, retry_after, ..Answer::default() })
    };
    match end {
        End::Ok => answer(200, None),
        End::Busy => answer(503, None),
        End::RetryAfter(wait) => answer(503, Some(wait)),
        End::Refused => Ending::NotSent(ConnectError::ConnectTimeout, "no connection in time".into()),
        End::NoConnection => Ending::NotSent(ConnectError::NoConnection, "no route".into()),
        End::Timeout => Ending::Broken(InterruptKind::Timeout, "no answer in time".into()),
    }
}
