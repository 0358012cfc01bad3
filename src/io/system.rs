//! Signals, limits, users, free space: small questions to the system.

use crate::agent::Peer;
use rustix::fd::AsFd;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A descriptor that can be read when the process is asked to stop. The second such signal ends the
/// process at once, with exit 1.
pub fn stop_signals() -> io::Result<UnixStream> {
    stream_of(&[SIGTERM, SIGINT])
}

fn stream_of(signals: &[i32]) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let asked = Arc::new(AtomicBool::new(false));
    for signal in signals.iter().copied() {
        // The order matters: the first signal finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    ours.set_nonblocking(true)?;
    Ok(ours)
}

/// A stream that becomes readable when a signal asks to read the configuration again.
pub fn reload_signal() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGHUP, theirs)?;
    ours.set_nonblocking(true)?;
    Ok(ours)
}

/// The same for a command that has taken the terminal: it is asked to stop, or the terminal goes. As with
/// [`stop_signals`], the second one ends the process at once.
pub fn end_signals() -> io::Result<UnixStream> {
    stream_of(&[SIGTERM, SIGINT, SIGHUP])
}

/// A stream that becomes readable when the terminal has another size, or the process goes on after it
/// was stopped.
pub fn terminal_signals() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    for signal in [SIGWINCH, SIGCONT] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    ours.set_nonblocking(true)?;
    Ok(ours)
}

/// Lets the process have as many descriptors as it is allowed to.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        log::warn!("event=descriptors_not_raised error={:?}", error.to_string());
    }
}

/// Keeps what this process holds in memory (payloads, tokens) out of core dumps, and out of reach of
/// other processes of the same user.
pub fn hide_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("event=memory_not_hidden error={:?}", error.to_string());
    }
}

/// Bytes of the file system that this process may still use.
pub fn disk_free(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of a file; 0 when there is none.
pub fn file_size(file: &Path) -> io::Result<u64> {
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        meta => Ok(meta?.len()),
    }
}

/// Who is at the other end of a socket. Their name is only looked for where it is asked for: that reads a file.
pub fn peer(fd: impl AsFd, by_name: bool) -> io::Result<Peer> {
    let proven = socket_peercred(fd)?;
    let uid = proven.uid.as_raw();
    let name = if by_name { user_name(uid) } else { None };
    Ok(Peer { uid, pid: proven.pid.as_raw_nonzero().get().unsigned_abs(), name })
}

/// A local user's name. Users of a directory service have only their number here.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// A number that nobody can guess, for the agent's seed.
pub fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled == bytes.len() {
        Ok(u64::from_ne_bytes(bytes))
    } else {
        Err(io::Error::other("the system gave too few random bytes"))
    }
}

/// The system's name and version, and the kernel's: `Debian GNU/Linux 12 (bookworm), Linux 6.1.0 x86_64`.
#[must_use]
pub fn release() -> String {
    let files = ["/etc/os-release", "/usr/lib/os-release"];
    let text = files.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let pretty = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = rustix::system::uname();
    let words = [kernel.sysname(), kernel.release(), kernel.machine()].map(|word| word.to_string_lossy().into_owned());
    format!("{}, {}", pretty.unwrap_or("unknown").trim_matches('"'), words.join(" "))
}
