//! `top`: the live screen.
//!
//! It has three independent parts: a thread that queries the agent ([`poller`]); the operator's input, as a state
//! machine ([`watch`]); and the screen: its layout ([`layout`]), and cells of which only the changed ones are written
//! ([`grid`]). [`terminal`] restores the terminal.
//!
//! It wakes up once a second, for the countdowns, and on each key. It changes a failure through the same operation as
//! the command of that name, which is audited.
//!
//! Without the agent it shows the content of the store, and continues to connect; without a store too, there is nothing
//! to watch, and it fails as `status` does (exit 3). Once it has started, only the operator or a signal ends it; the
//! exit status is 3 if the agent never answered.

mod filter;
mod grid;
mod keys;
mod layout;
mod poller;
mod seen;
mod spark;
mod terminal;
mod watch;

use super::Failure;
use super::args::Global;
use super::session::Session;
use crate::io::clock::{since_boot, wall};
use crate::io::system;
use crate::text::top as text;
use grid::{Grid, TerminalCaps};
use keys::Keys;
use poller::Asking;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::env;
use std::io::{self, IsTerminal, Read};
use std::os::unix::net::UnixStream;
use terminal::Terminal;
use watch::{Act, Watch};

/// How long ESC may still become the beginning of another key, on a slow connection.
const SEQUENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Runs the command.
pub fn run(global: &Global) -> Result<(), Failure> {
    if global.json || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::Usage(text::needs_a_terminal().into()));
    }
    if env::var("TERM").is_ok_and(|term| term == "dumb") {
        return Err(Failure::Usage(text::dumb_terminal().into()));
    }
    let session = Session::new(global)?;
    let ink = TerminalCaps { colors: session.screen.colors(), unicode: knows_unicode() };
    let signals = Signals::new()?;
    let (asking, first) = Asking::start(session)?;
    let mut top = Top {
        met: first.snapshot.running,
        watch: Watch::new(first, since_boot()),
        asking,
        signals,
        ink,
        keys: Keys::default(),
        shown: None,
    };
    let terminal = Terminal::take(io::stdout())?;
    let ended = top.goes_on(&terminal);
    drop(terminal);
    ended?;
    if top.met { Ok(()) } else { Err(Failure::Unreachable(text::was_not_running().into())) }
}

/// Uses the locale; the console of a machine without a desktop has no bars in its font.
fn knows_unicode() -> bool {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_ascii_lowercase().replace('-', "");
    locale.contains("utf8") && env::var("TERM").is_ok_and(|term| term != "linux")
}

/// Streams that become readable when a signal comes.
struct Signals {
    /// A signal to stop, or a closed terminal.
    stop: UnixStream,
    /// The terminal may have another size, or was used by another program.
    changed: UnixStream,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { stop: system::end_signals()?, changed: system::terminal_signals()? })
    }
}

/// State of the running command.
struct Top {
    watch: Watch,
    asking: Asking,
    signals: Signals,
    ink: TerminalCaps,
    keys: Keys,
    /// The screen that the terminal shows.
    shown: Option<Grid>,
    /// Whether the agent has ever answered.
    met: bool,
}

impl Top {
    /// Runs until the operator quits.
    fn goes_on(&mut self, terminal: &Terminal) -> Result<(), Failure> {
        loop {
            self.draws(terminal)?;
            let [key, bell, stop, changed] = self.waits()?;
            if stop || (key && !self.reads_keys(terminal)?) {
                return Ok(());
            }
            if !key && self.keys.waits() {
                let alone = self.keys.alone();
                if !alone.is_none_or(|key| self.pressed(key, terminal)) {
                    return Ok(());
                }
            }
            if bell {
                self.hears(terminal)?;
            }
            if changed {
                swallow(&mut self.signals.changed)?;
                terminal.again()?;
                self.shown = None;
                let act = self.watch.page_again(terminal.size().0);
                self.does(act);
            }
        }
    }

    /// Writes the changes of the screen.
    fn draws(&mut self, terminal: &Terminal) -> io::Result<()> {
        let screen = layout::draw(&self.watch, wall(), since_boot(), terminal.size());
        let written = screen.changes(self.shown.as_ref(), self.ink);
        self.shown = Some(screen);
        terminal.write(written.as_bytes())
    }

    /// Waits for a key, a result, a signal, or the next second.
    fn waits(&self) -> io::Result<[bool; 4]> {
        let input = io::stdin();
        let mut sources = [
            PollFd::new(&input, PollFlags::IN),
            PollFd::new(&self.asking.bell, PollFlags::IN),
            PollFd::new(&self.signals.stop, PollFlags::IN),
            PollFd::new(&self.signals.changed, PollFlags::IN),
        ];
        // Just after the second changes, when the clock on the screen moves.
        let left = 1000 - wall().as_millis().rem_euclid(1000);
        let second = Timespec { tv_sec: left / 1000, tv_nsec: left % 1000 * 1_000_000 };
        match poll(&mut sources, Some(if self.keys.waits() { &SEQUENCE } else { &second })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(sources.map(|source| !source.revents().is_empty())),
            Err(error) => Err(error.into()),
        }
    }

    /// `false`: quit.
    fn reads_keys(&mut self, terminal: &Terminal) -> io::Result<bool> {
        let mut bytes = [0; 1024];
        match rustix::io::read(io::stdin(), &mut bytes) {
            // The terminal was closed.
            Ok(0) | Err(rustix::io::Errno::IO) => Ok(false),
            Ok(read) => {
                let keys = self.keys.read(&bytes[..read]);
                Ok(keys.into_iter().all(|key| self.pressed(key, terminal)))
            }
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// `false`: quit.
    fn pressed(&mut self, key: keys::Key, terminal: &Terminal) -> bool {
        let act = self.watch.press(key, terminal.size());
        self.does(act)
    }

    fn does(&mut self, act: Act) -> bool {
        match act {
            Act::Nothing => {}
            Act::Wish(wish) => self.asking.wish(wish),
            Act::Redraw => self.shown = None,
            Act::Quit => return false,
        }
        true
    }

    /// Takes the results from the thread.
    fn hears(&mut self, terminal: &Terminal) -> Result<(), Failure> {
        if !swallow(&mut self.asking.bell)? {
            return Err(Failure::Failed(text::broken_off().into()));
        }
        while let Ok(news) = self.asking.news.try_recv() {
            let act = self.watch.hears(news, since_boot(), terminal.size().0);
            self.met |= self.watch.seen.snapshot.running;
            self.does(act);
        }
        Ok(())
    }
}

/// Discards the available bytes; `false` at the stream's end.
fn swallow(stream: &mut UnixStream) -> io::Result<bool> {
    let mut bytes = [0; 64];
    match stream.read(&mut bytes) {
        Ok(0) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
        Err(error) => Err(error),
    }
}
