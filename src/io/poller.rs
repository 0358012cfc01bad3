//! epoll, level-triggered, with a number for each descriptor.
//!
//! Deadlines follow the boot-time clock, which continues while the machine is suspended. The timeout of epoll does
//! not: a deadline reached in a suspend of eight hours would wait for the rest of the old timeout. So longer waits
//! are ended by a timer of that clock.

use crate::io::clock::since_boot;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use std::io;
use std::time::Duration;

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Data, or the end of the stream.
    pub read: bool,
    /// Space to write.
    pub write: bool,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Its number.
    pub token: u64,
    /// It can be read, or is at its end, or broken.
    pub read: bool,
    /// It can be written.
    pub write: bool,
    /// The connection is closed in both directions, or has failed.
    pub hangup: bool,
}

/// The poller of the loop.
#[expect(missing_debug_implementations, reason = "the kernel's events have none")]
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    timer: OwnedFd,
    /// When the timer expires, since the boot.
    rings_at: Option<Duration>,
}

/// The number of the timer, which is internal.
const TIMER: u64 = u64::MAX;
/// Shorter waits are left to epoll: a suspend delays them by at most this much.
const SHORT: Duration = Duration::from_secs(1);
/// Tolerated delay of a longer wait; most of them have the same deadline as the one before.
const INEXACT: Duration = Duration::from_millis(5);

impl Poller {
    /// Maximum descriptors reported by one call of [`wait`](Self::wait).
    const AT_ONCE: usize = 256;

    /// A poller without descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        Ok(Self { epoll, events: Vec::with_capacity(Self::AT_ONCE), timer, rings_at: None })
    }

    /// Registers a descriptor.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags(interest))?)
    }

    /// Changes what a descriptor is waited for.
    pub fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), flags(interest))?)
    }

    /// Removes a descriptor.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits for at most `most`, or without a limit if `None`; a signal ends the wait early without results.
    pub fn wait(&mut self, most: Option<Duration>) -> io::Result<Vec<Ready>> {
        let most = match most {
            Some(most) if most > SHORT => {
                self.set_timer(most)?;
                None
            }
            most => most.map(timespec),
        };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), most.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        if self.events.iter().any(|event| event.data.u64() == TIMER) {
            // The timer stays readable until it is read; a later wait may do that.
            let _ = rustix::io::read(&self.timer, &mut [0_u8; 8]);
            self.rings_at = None;
        }
        let others = self.events.iter().filter(|event| event.data.u64() != TIMER);
        let ready = others.map(|event| {
            // The kernel's struct is packed; its fields are copied out.
            let (data, flags) = (event.data, event.flags);
            let hangup = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            Ready {
                token: data.u64(),
                read: hangup || flags.contains(epoll::EventFlags::IN),
                write: flags.contains(epoll::EventFlags::OUT),
                hangup,
            }
        });
        Ok(ready.collect())
    }

    fn set_timer(&mut self, wait: Duration) -> io::Result<()> {
        let at = since_boot().saturating_add(wait);
        if self.rings_at.and_then(|rings| rings.checked_sub(at)).is_some_and(|late| late < INEXACT) {
            return Ok(());
        }
        let never = timespec(Duration::ZERO);
        let time = Itimerspec { it_interval: never, it_value: timespec(at) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time)?;
        self.rings_at = Some(at);
        Ok(())
    }
}

/// Which of these sockets, by their places, were closed by the other end.
pub fn hung_up<'f>(sockets: impl Iterator<Item = BorrowedFd<'f>>) -> io::Result<Vec<usize>> {
    let mut asked: Vec<PollFd> = sockets.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty())).collect();
    rustix::event::poll(&mut asked, Some(&timespec(Duration::ZERO)))?;
    let gone = |asked: &PollFd| asked.revents().intersects(PollFlags::HUP | PollFlags::ERR);
    Ok(asked.iter().enumerate().filter(|(_, asked)| gone(asked)).map(|(place, _)| place).collect())
}

/// Returns whether this descriptor can be read now: of a listener, whether a client is pending.
pub fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut asked = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    rustix::event::poll(&mut asked, Some(&timespec(Duration::ZERO)))?;
    Ok(asked[0].revents().contains(PollFlags::IN))
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, interest.read);
    flags.set(epoll::EventFlags::OUT, interest.write);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_waits_end() {
        let mut poller = Poller::new().expect("a poller");
        for wait in [Duration::from_millis(20), SHORT + Duration::from_millis(20), Duration::from_millis(20)] {
            let begun = since_boot();
            assert!(poller.wait(Some(wait)).expect("it waits").is_empty(), "nobody else is there");
            assert!(since_boot().saturating_sub(begun) >= wait, "it ended before {wait:?}");
        }
    }
}
