//! Progress of the exchange on this thread.
//!
//! The HTTP client's errors do not show whether anything was sent, but everything depends on whether the upstream
//! may have the request. So the layers of a connection record here what they see. An exchange runs on one thread
//! from beginning to end.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Progress of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No connection was started: if one is in use, it is an older one.
    Begun,
    /// A connection is being established.
    Connecting,
    /// It is established, TLS included.
    Connected,
}

/// Progress of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// The connection.
    pub stage: Stage,
    /// Bytes of the request that were written, at least in part.
    pub written: u64,
    /// A byte of a response has arrived.
    pub answered: bool,
    /// It arrived while the request was being written, and the connection ended then.
    pub cut_short: bool,
    since: Option<Instant>,
}

const BEGUN: Course = Course { stage: Stage::Begun, written: 0, answered: false, cut_short: false, since: None };

thread_local! {
    static COURSE: Cell<Course> = const { Cell::new(BEGUN) };
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

impl Course {
    /// Returns whether an older connection was used, which may have ended in the meantime.
    #[must_use]
    pub fn reused(self) -> bool {
        self.stage == Stage::Begun
    }

    /// Time since the first byte was written.
    #[must_use]
    pub fn writing_for(self) -> Duration {
        self.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

/// Starts a new exchange.
pub fn begin() {
    COURSE.set(BEGUN);
}

/// The progress so far.
#[must_use]
pub fn now() -> Course {
    COURSE.get()
}

/// Records the progress of the connection.
pub fn reached(stage: Stage) {
    COURSE.set(Course { stage, ..COURSE.get() });
}

/// Records that bytes of the request are about to be written.
#[expect(clippy::disallowed_methods, reason = "for the words of an error")]
pub fn writing(bytes: usize) {
    let course = COURSE.get();
    let since = course.since.or_else(|| Some(Instant::now()));
    COURSE.set(Course { written: course.written + bytes as u64, since, ..course });
}

/// Records that a byte of the response has arrived.
pub fn answered() {
    COURSE.set(Course { answered: true, ..COURSE.get() });
}

/// Records that the other side answered and ended the connection before the whole request was written.
pub fn cut_short() {
    COURSE.set(Course { cut_short: true, ..COURSE.get() });
}

/// Runs `look`; during it only data that has arrived already is read, without waiting.
pub fn only_look<T>(look: impl FnOnce() -> T) -> T {
    LOOKING.set(true);
    let seen = look();
    LOOKING.set(false);
    seen
}

/// Returns whether [`only_look`] is running.
#[must_use]
pub fn is_only_looking() -> bool {
    LOOKING.get()
}
