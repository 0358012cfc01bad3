//! Explains why no agent answers, as far as a command can determine, and what to run.
//!
//! systemd holds the packaged sockets: it accepts connections while the service is down, so a dead agent looks like a
//! slow one. The unit's state and its last messages distinguish the two. Each of systemd's tools may take at most
//! [`SYSTEMD_SECONDS`].

use super::render::sanitize;
use crate::config::Config;
use crate::figures::snapshot::Absence;
use crate::text::connection as text;
use crate::wire::request::Socket;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Time limit of `systemctl` and `journalctl` each, in seconds.
const SYSTEMD_SECONDS: &str = "2";
/// Number of the unit's messages that are shown.
const MESSAGES: usize = 3;
/// Directory of the packaged sockets.
const PACKAGED: &str = "/run/resyncd";

/// This user may not use the socket.
#[must_use]
pub(super) fn forbidden(path: &Path, door: Socket) -> String {
    match door {
        Socket::App => text::forbidden(path.display()),
        Socket::Admin => text::forbidden_admin(path.display()),
    }
}

/// Connections are accepted and were not answered within this time.
#[must_use]
pub(super) fn silent(path: &Path, waited: Duration) -> String {
    let (unit, path, seconds) = (Unit::of(path), path.display(), waited.as_secs());
    match unit {
        Some(unit) if !unit.is_running() => text::silent_without_service(path, seconds, &unit.with_messages()),
        Some(unit) => text::silent_service(path, seconds, &unit.with_messages()),
        None => text::silent(path, seconds),
    }
}

/// Returns whether this is a socket of the packaged service, and that is running.
#[must_use]
pub(super) fn service_runs(path: &Path) -> bool {
    Unit::of(path).is_some_and(|unit| unit.is_running())
}

/// No process listens at the socket.
#[must_use]
pub(super) fn not_running(path: &Path, error: &io::Error) -> String {
    match Unit::of(path) {
        Some(unit) if unit.is_running() => text::socket_removed(path.display(), error),
        Some(unit) if unit.is_failed() => text::service_failed(path.display(), error, &unit.with_messages()),
        _ => text::not_running(path.display(), error),
    }
}

/// What is known of an agent that does not reply, whose store is read in its place. `silent`: its socket accepts
/// connections. `None`: nothing runs.
#[must_use]
pub(super) fn absence(config: &Config, silent: bool) -> Option<Absence> {
    let said = |what: String, next: &str| Some(Absence { what, next: next.to_owned() });
    match Unit::of(&config.agent.admin_socket) {
        Some(unit) if unit.is_running() && silent => {
            return said(text::service_hangs(&unit.with_messages()), text::next_restart_service());
        }
        Some(unit) if unit.is_running() => {
            return said(text::sockets_removed().to_owned(), text::next_restart_sockets());
        }
        Some(unit) if unit.is_failed() || silent => {
            return said(text::service_does_not_start(&unit.with_messages()), text::next_check_and_start());
        }
        _ => {}
    }
    let pid = lock_holder(&config.agent.state_dir)?;
    Some(Absence { what: text::process_does_not_answer(pid), next: text::next_restart_process(pid) })
}

/// The process that holds a state directory: its lock names it, and the kernel says that it holds a lock.
fn lock_holder(dir: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(dir.join("lock")).ok()?.trim().parse().ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let held = |line: &str| {
        // 1: FLOCK  ADVISORY  WRITE 17900 08:01:12345 0 EOF
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields.get(1) == Some(&"FLOCK") && fields.get(4).and_then(|field| field.parse().ok()) == Some(pid)
    };
    locks.lines().any(held).then_some(pid)
}

/// The state of the packaged service in systemd.
#[derive(Debug)]
struct Unit {
    active: String,
    sub: String,
    result: String,
}

impl Unit {
    /// `None` if the socket is not the packaged one, or there is no systemd.
    fn of(path: &Path) -> Option<Self> {
        if !path.starts_with(PACKAGED) || !Path::new("/run/systemd/system").exists() {
            return None;
        }
        let shown = output("systemctl", &["show", "resyncd.service", "--property=ActiveState,SubState,Result"])?;
        Some(Self::parse(&shown))
    }

    fn parse(shown: &str) -> Self {
        let value = |name: &str| {
            let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        Self { active: value("ActiveState"), sub: value("SubState"), result: value("Result") }
    }

    fn is_running(&self) -> bool {
        self.active == "active"
    }

    fn is_failed(&self) -> bool {
        self.active == "failed" || self.sub == "auto-restart" || !matches!(self.result.as_str(), "" | "success")
    }

    fn state(&self) -> String {
        match (self.is_failed(), self.sub.as_str()) {
            (true, sub) => format!("{} ({sub}, {})", self.active, self.result),
            (false, sub) => format!("{} ({sub})", self.active),
        }
    }

    /// Its state and its last messages, if this user may read them.
    fn with_messages(&self) -> String {
        let number = MESSAGES.to_string();
        let arguments = ["--unit=resyncd.service", "--lines", &number, "--output=cat", "--quiet", "--no-pager"];
        let messages = output("journalctl", &arguments).unwrap_or_default();
        let lines: Vec<String> = messages.lines().filter(|line| !line.trim().is_empty()).map(sanitize).collect();
        match &lines[..] {
            [] => self.state(),
            lines => text::unit_and_messages(&self.state(), &lines.join("\n  ")),
        }
    }
}

/// Standard output of one of systemd's tools; `timeout` kills one that hangs.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("timeout");
    command.arg(SYSTEMD_SECONDS).arg(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_fails_again_and_again_is_not_called_running() {
        let unit = Unit::parse("ActiveState=activating\nSubState=auto-restart\nResult=exit-code\n");
        assert!(!unit.is_running() && unit.is_failed());
        assert_eq!(unit.state(), "activating (auto-restart, exit-code)");
        let unit = Unit::parse("ActiveState=active\nSubState=running\nResult=success\n");
        assert!(unit.is_running() && !unit.is_failed());
    }
}
