//! The live screen on a pseudo-terminal: that it draws, does what a key says, and leaves the terminal as it
//! was. What it looks like is compared in `tests/top/run.sh`, in a terminal that understands what is drawn.

use super::command_line::{resyncd, told};
use crate::support::{Agent, Plan, id_of, record, wait_for, wait_until};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

/// A person before a terminal, on which top runs.
struct Watched {
    keyboard: File,
    terminal: OwnedFd,
    top: Child,
    written: Arc<Mutex<Vec<u8>>>,
    /// The terminal's settings before it started.
    before: String,
}

impl Watched {
    fn start(agent: &Agent) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&keyboard).expect("it is granted");
        unlockpt(&keyboard).expect("it is unlocked");
        let terminal = ioctl_tiocgptpeer(&keyboard, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("its other end");
        let size = Winsize { ws_col: 80, ws_row: 24, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).expect("it has a size");
        let end = || terminal.try_clone().expect("a descriptor");
        let before = settings(&terminal);
        let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
        command.arg("--config").arg(agent.state_dir().with_file_name("resyncd.toml")).arg("top");
        command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env_remove("RESYNCD_LANG").env_remove("NO_COLOR");
        let top = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary starts");
        let keyboard = File::from(keyboard);
        let (written, sink) = (Arc::new(Mutex::new(Vec::new())), keyboard.try_clone().expect("a descriptor"));
        let taking = Arc::clone(&written);
        std::thread::spawn(move || take(sink, &taking));
        Self { keyboard, terminal, top, written, before }
    }

    fn shows(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.written.lock().expect("no holder panics")).contains(text)
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        wait_until(text, || self.shows(text));
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// It ends, and the terminal is as it was.
    #[track_caller]
    fn ends_well_after(&mut self, end: impl FnOnce(&mut Self)) {
        assert_ne!(settings(&self.terminal), self.before, "they are others while it runs");
        end(self);
        let status = wait_for("the end of top", || self.top.try_wait().expect("a child can be asked"));
        assert_eq!(status.code(), Some(0));
        self.sees(LEFT);
        assert_eq!(settings(&self.terminal), self.before);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

fn settings(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).expect("a terminal"))
}

/// Until the terminal is closed.
fn take(mut sink: File, taking: &Mutex<Vec<u8>>) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = sink.read(&mut piece) {
        taking.lock().expect("no holder panics").extend_from_slice(&piece[..read]);
    }
}

/// The other screen is left, the cursor is shown again.
const LEFT: &str = "\x1b[?25h\x1b[?1049l";

#[test]
fn a_failure_is_held_with_a_reason_and_the_terminal_is_left_as_it_was() {
    let agent = Agent::start(&Plan::default());
    let id = id_of(&agent.call(&record("s-1", &json!({}))));
    let mut watched = Watched::start(&agent);
    watched.sees("q quit");
    watched.types("h");
    watched.sees("Put no. 1 SALE s-1 CREATE on hold?");
    watched.types("by hand\r");
    agent.wait_for_failure(&id, "the failure being held", |failure| failure["status"] == "held");
    assert_eq!(agent.cell("SELECT operation || ' ' || reason FROM audit_log"), "hold by hand");
    watched.ends_well_after(|watched| watched.types("q"));
}

#[test]
fn a_signal_ends_it_as_q_does() {
    let agent = Agent::start(&Plan::default());
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut watched = Watched::start(&agent);
        watched.sees("q quit");
        let pid = Pid::from_raw(i32::try_from(watched.top.id()).expect("a process number")).expect("not zero");
        watched.ends_well_after(|_| kill_process(pid, signal).expect("a child can be signalled"));
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let agent = Agent::start(&Plan::default());
    for args in [&["top"][..], &["--json", "top"]] {
        let refused = resyncd(&agent, args);
        assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
        assert!(told(&refused).contains("resyncd status --json"), "{}", told(&refused));
    }
}
