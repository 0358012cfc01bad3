//! Runs a command with data on its standard input, and kills it after a timeout.
//!
//! The input is a memory file, not a pipe: a command that does not read it delays nothing. The command has a
//! process group of its own, and all of it is killed. No shell is involved.

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How a command ended.
#[derive(Debug)]
pub enum End {
    /// It exited with status 0.
    Well,
    /// It exited with another status, or was ended by a signal.
    Badly(String),
    /// It exceeded the timeout and was killed.
    Killed,
    /// It could not be started or waited for.
    Never(io::Error),
}

/// Variables of the service manager that are meant for the agent only.
const OURS: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Runs it until it ends, for at most `patience`.
#[must_use]
pub fn run(words: &[String], input: &[u8], patience: Duration) -> End {
    let Some((program, arguments)) = words.split_first() else {
        return End::Never(io::Error::other("no program is named"));
    };
    let started = standing(input).and_then(|input| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        for name in OURS {
            command.env_remove(name);
        }
        command.spawn()
    });
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return End::Never(error),
    };
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (ended, end) = channel();
    let waiter = thread::Builder::new().name("program".into()).stack_size(64 << 10);
    let waits = waiter.spawn(move || ended.send(child.wait()));
    let kill = || group.map_or(Ok(()), |group| kill_process_group(group, Signal::KILL));
    if let Err(error) = waits {
        // Its end could not be detected.
        let _ = kill();
        return End::Never(error);
    }
    match end.recv_timeout(patience) {
        Ok(status) => status.map_or_else(End::Never, of),
        Err(RecvTimeoutError::Disconnected) => End::Never(io::Error::other("the waiting thread has ended")),
        Err(RecvTimeoutError::Timeout) => match kill() {
            Ok(()) => End::Killed,
            Err(error) => End::Never(error.into()),
        },
    }
}

/// A descriptor from which these bytes can be read.
fn standing(input: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("alert", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    seek(&file, SeekFrom::Start(0))?;
    Ok(Stdio::from(file))
}

fn of(status: ExitStatus) -> End {
    match (status.success(), status.code(), status.signal()) {
        (true, ..) => End::Well,
        (_, Some(code), _) => End::Badly(format!("exit status {code}")),
        (_, None, signal) => End::Badly(format!("signal {}", signal.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn words(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn it_gets_its_input_and_its_end_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("got");
        let large = vec![b'x'; 1 << 20];
        assert!(matches!(
            run(&words(&format!("cat > {}", file.display())), &large, Duration::from_secs(60)),
            End::Well
        ));
        assert_eq!(fs::read(file).expect("a file"), large);
        let unread = run(&words("exit 3"), &large, Duration::from_secs(60));
        assert!(matches!(&unread, End::Badly(how) if how == "exit status 3"), "{unread:?}");
        let killed = run(&words("kill -9 $$"), b"", Duration::from_secs(60));
        assert!(matches!(&killed, End::Badly(how) if how == "signal 9"), "{killed:?}");
        assert!(matches!(run(&["/no/such".to_owned()], b"", Duration::from_secs(60)), End::Never(_)));
    }

    #[test]
    fn what_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = dir.path().join("held");
        // The child holds a lock while it lives, so a file that can be locked shows that it has ended.
        let script = format!("exec 9> {0}; flock 9; (sleep 1000) & sleep 1000", lock.display());
        assert!(matches!(run(&words(&script), b"", Duration::from_millis(300)), End::Killed));
        let held = File::create(lock).expect("a file");
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("the lock is free");
    }
}
