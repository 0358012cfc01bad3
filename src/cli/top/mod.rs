//! `top`: the live screen.
//!
//! Three parts that know little of each other: a thread that asks the agent ([`asking`]); what a person
//! does with it, as a state machine ([`watch`]); and the screen: where what stands ([`layout`]), as cells
//! of which only the changed ones are written ([`grid`]). [`terminal`] leaves everything as it was.
//!
//! It wakes up once a second, for the countdowns, and when somebody presses a key. Whatever it does to
//! a failure goes through the same operation as the command of that name, and stands in the audit.
//!
//! Without the agent it shows what the store has, and goes on trying; where there is no store either,
//! there is nothing to watch, and it says so as `status` does (exit 3). Once it has watched, nothing
//! but a person or a signal ends it; the exit status is 3 if the agent never was there.

mod asking;
mod grid;
mod keys;
mod layout;
mod seen;
mod sieve;
mod spark;
mod terminal;
mod watch;

use super::Failure;
use super::args::Global;
use super::session::Session;
use crate::io::clock::{since_boot, wall};
use crate::io::system;
use asking::Asking;
use grid::{Grid, Ink};
use keys::Keys;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::env;
use std::io::{self, IsTerminal, Read};
use std::os::unix::net::UnixStream;
use terminal::Terminal;
use watch::{Act, Watch};

/// How long ESC alone may still become the beginning of another key, on a slow line.
const SEQUENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Runs the command.
pub fn run(global: &Global) -> Result<(), Failure> {
    let screenless = "For one look: resyncd status; for a program: resyncd status --json, or resyncd metrics";
    if global.json || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::Usage(format!("top draws on a terminal, and reads its keys. {screenless}")));
    }
    if env::var("TERM").is_ok_and(|term| term == "dumb") {
        return Err(Failure::Usage(format!("this terminal cannot be drawn on (TERM=dumb). {screenless}")));
    }
    let session = Session::new(global)?;
    let ink = Ink { colors: session.screen.colors(), unicode: knows_unicode() };
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
    if top.met {
        Ok(())
    } else {
        Err(Failure::Unreachable(
            "the agent was not running. Start it: systemctl start resyncd, or: resyncd run".into(),
        ))
    }
}

/// As the locale says; the console of a machine without a desktop has no bars in its font.
fn knows_unicode() -> bool {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_ascii_lowercase().replace('-', "");
    locale.contains("utf8") && env::var("TERM").is_ok_and(|term| term != "linux")
}

/// Streams that can be read when a signal has come.
struct Signals {
    /// Somebody asks for the end, or the terminal has gone.
    stop: UnixStream,
    /// The terminal may have another size, or have been used by others.
    changed: UnixStream,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { stop: system::end_signals()?, changed: system::terminal_signals()? })
    }
}

/// Everything that is in play.
struct Top {
    watch: Watch,
    asking: Asking,
    signals: Signals,
    ink: Ink,
    keys: Keys,
    /// What the terminal shows.
    shown: Option<Grid>,
    /// Has the agent itself ever answered?
    met: bool,
}

impl Top {
    /// Until somebody has seen enough.
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

    /// Writes what has changed.
    fn draws(&mut self, terminal: &Terminal) -> io::Result<()> {
        let screen = layout::draw(&self.watch, wall(), since_boot(), terminal.size());
        let written = screen.changes(self.shown.as_ref(), self.ink);
        self.shown = Some(screen);
        terminal.write(written.as_bytes())
    }

    /// Waits for a key, news, a signal, or the next second.
    fn waits(&self) -> io::Result<[bool; 4]> {
        let input = io::stdin();
        let mut sources = [
            PollFd::new(&input, PollFlags::IN),
            PollFd::new(&self.asking.bell, PollFlags::IN),
            PollFd::new(&self.signals.stop, PollFlags::IN),
            PollFd::new(&self.signals.changed, PollFlags::IN),
        ];
        // Just behind the second's beginning, when the clock on the screen moves.
        let left = 1000 - wall().as_millis().rem_euclid(1000);
        let second = Timespec { tv_sec: left / 1000, tv_nsec: left % 1000 * 1_000_000 };
        match poll(&mut sources, Some(if self.keys.waits() { &SEQUENCE } else { &second })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(sources.map(|source| !source.revents().is_empty())),
            Err(error) => Err(error.into()),
        }
    }

    /// `false`: it is to end.
    fn reads_keys(&mut self, terminal: &Terminal) -> io::Result<bool> {
        let mut bytes = [0; 1024];
        match rustix::io::read(io::stdin(), &mut bytes) {
            // The terminal has gone.
            Ok(0) | Err(rustix::io::Errno::IO) => Ok(false),
            Ok(read) => {
                let keys = self.keys.read(&bytes[..read]);
                Ok(keys.into_iter().all(|key| self.pressed(key, terminal)))
            }
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// `false`: it is to end.
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

    /// Takes what has come from the agent.
    fn hears(&mut self, terminal: &Terminal) -> Result<(), Failure> {
        if !swallow(&mut self.asking.bell)? {
            return Err(Failure::Failed("the part that asks the agent has broken off; start top again".into()));
        }
        while let Ok(news) = self.asking.news.try_recv() {
            let act = self.watch.hears(news, since_boot(), terminal.size().0);
            self.met |= self.watch.seen.snapshot.running;
            self.does(act);
        }
        Ok(())
    }
}

/// Reads what is there; `false` at the stream's end.
fn swallow(stream: &mut UnixStream) -> io::Result<bool> {
    let mut bytes = [0; 64];
    match stream.read(&mut bytes) {
        Ok(0) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
        Err(error) => Err(error),
    }
}
