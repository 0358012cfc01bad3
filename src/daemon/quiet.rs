//! Log events that clients can cause at will: a few per minute are written, the rest is counted.

use crate::moment::AgentTime;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(60);
const MOST: u32 = 10;

/// The limit of one event.
#[derive(Debug)]
pub(super) struct Quiet {
    event: &'static str,
    since: Option<AgentTime>,
    written: u32,
    left_out: u64,
}

impl Quiet {
    pub(super) fn of(event: &'static str) -> Self {
        Self { event, since: None, written: 0, left_out: 0 }
    }

    /// Returns whether it may be written once more.
    pub(super) fn admits(&mut self, now: AgentTime) -> bool {
        self.tell_rest(now);
        if self.since.is_none() {
            self.since = Some(now);
        }
        if self.written < MOST {
            self.written += 1;
            return true;
        }
        self.left_out += 1;
        false
    }

    /// Logs how many were left out, once their minute is over.
    pub(super) fn tell_rest(&mut self, now: AgentTime) {
        if self.since.is_none_or(|since| now.since(since) < WINDOW) {
            return;
        }
        (self.since, self.written) = (None, 0);
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            log::info!("event=events_left_out of={} count={left_out}", self.event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_minute_are_written_and_the_rest_is_counted() {
        let mut quiet = Quiet::of("test");
        let at = |s: i64| AgentTime::from_millis(s * 1000);
        assert_eq!((0..100).filter(|n| quiet.admits(at(n / 4))).count(), 10);
        assert_eq!(quiet.left_out, 90);
        assert!(quiet.admits(at(60)));
        assert_eq!(quiet.left_out, 0);
    }
}
