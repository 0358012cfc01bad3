//! The path of the log to standard error: a bounded queue, and a thread that writes.
//!
//! Standard error may be a pipe whose reader is blocked (a pager, a collector that hangs, a container's full log),
//! and then a write to it does not return. Only that thread waits for it. Lines that do not fit into the queue are
//! dropped, and their number is logged as soon as there is space again.
//!
//! Before the thread starts and after it has ended, the calling threads write their lines directly.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Maximum bytes of queued lines.
const MOST_WAITING: usize = 1 << 20;
/// Maximum bytes per write.
const AT_ONCE: usize = 32 << 10;
/// Timeout at the end, for a reader that reads nothing.
const PATIENCE: Duration = Duration::from_secs(2);

static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Standard error, as used by the logger. It accepts every line and never fails: a log that was closed must not
/// stop the agent.
#[derive(Debug)]
pub struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if QUEUE.get().is_none_or(|queue| !queue.push(bytes)) {
            let _ = io::stderr().write_all(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread. Dropping this first writes everything that is queued, unless the reader does not read.
#[derive(Debug)]
pub struct LogThread {
    queue: Arc<Queue>,
}

impl LogThread {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let queue = Arc::clone(QUEUE.get_or_init(Arc::default));
        let own = Arc::clone(&queue);
        queue.waiting().state = State::Queued;
        thread::Builder::new().name("log".into()).spawn(move || {
            let left_out = |count| log::warn!("event=log_lines_left_out count={count}");
            own.write_to(&mut io::stderr(), left_out);
        })?;
        Ok(Self { queue })
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.queue.end(PATIENCE);
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Signals that something was queued or written.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// Bytes of queued lines and of the write in progress.
    bytes: usize,
    left_out: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No thread writes.
    #[default]
    Direct,
    Queued,
    /// The reader does not read; nothing more is written.
    Shut,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line; false if it has to be written directly.
    fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.waiting();
        match waiting.state {
            State::Direct => return false,
            State::Shut => return true,
            State::Queued => {}
        }
        if waiting.bytes + line.len() > MOST_WAITING {
            waiting.left_out += 1;
            return true;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        drop(waiting);
        self.bell.notify_all();
        true
    }

    /// Writes queued lines until the end.
    fn write_to(&self, out: &mut impl Write, tell_left_out: impl Fn(u64)) {
        loop {
            let mut waiting = self.waiting();
            while waiting.lines.is_empty() && waiting.state == State::Queued {
                waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.state != State::Queued {
                return;
            }
            let mut text = Vec::new();
            while text.len() < AT_ONCE
                && let Some(line) = waiting.lines.pop_front()
            {
                text.extend_from_slice(&line);
            }
            drop(waiting);
            // A reader that closed its end has no use for the log.
            let _ = out.write_all(&text);
            let mut waiting = self.waiting();
            waiting.bytes -= text.len();
            let left_out = std::mem::take(&mut waiting.left_out);
            drop(waiting);
            self.bell.notify_all();
            if left_out > 0 {
                tell_left_out(left_out);
            }
        }
    }

    /// Waits until everything is written, or nothing was for `patience`.
    fn end(&self, patience: Duration) {
        let mut waiting = self.waiting();
        while waiting.bytes > 0 {
            let before = waiting.bytes;
            let (after, _) = self.bell.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
            waiting = after;
            if waiting.bytes >= before {
                waiting.state = State::Shut;
                break;
            }
        }
        if waiting.state == State::Queued {
            waiting.state = State::Direct;
        }
        drop(waiting);
        self.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    /// A writer that blocks until it is released.
    struct Gated {
        let_through: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.let_through.recv().map_err(io::Error::other)?;
            self.written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_not_read_and_what_is_left_out_is_counted() {
        let queue = Arc::new(Queue::default());
        queue.waiting().state = State::Queued;
        let (open, let_through) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut gated = Gated { let_through, written: Arc::clone(&written) };
        let own = Arc::clone(&queue);
        let writer = thread::spawn(move || {
            let told = Mutex::new(0);
            own.write_to(&mut gated, |count| *told.lock().unwrap_or_else(PoisonError::into_inner) += count);
            told.into_inner().unwrap_or_else(PoisonError::into_inner)
        });
        let line = [b'x'; 1024];
        for _ in 0..2000 {
            assert!(queue.push(&line));
        }
        assert!(queue.waiting().bytes <= MOST_WAITING);
        let _ = std::iter::repeat_n((), 100_000).try_for_each(|()| open.send(()));
        queue.end(Duration::from_secs(30));
        let told: u64 = writer.join().expect("the writer ends");
        let written = written.lock().unwrap_or_else(PoisonError::into_inner).len() as u64 / 1024;
        assert!(told > 0, "something had to be left out");
        assert_eq!(written + told, 2000);
        assert!(!queue.push(&line), "it is written directly from now on");
    }

    #[test]
    fn the_end_does_not_wait_for_ever() {
        let queue = Queue::default();
        queue.waiting().state = State::Queued;
        queue.push(b"a line\n");
        queue.end(Duration::from_millis(10));
        assert_eq!(queue.waiting().state, State::Shut);
    }
}
