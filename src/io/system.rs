//! Signals, limits, users, free space: small system calls.

use crate::agent::Peer;
use rustix::fd::AsFd;
use rustix::fs::FsWord;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A descriptor that is readable when the process is asked to stop. A second such signal ends the process at once,
/// with exit status 1.
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

/// A stream that becomes readable when a signal requests a reload of the configuration.
pub fn reload_signal() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGHUP, theirs)?;
    ours.set_nonblocking(true)?;
    Ok(ours)
}

/// The same for a command that uses the whole terminal: it is asked to stop, or the terminal is closed. As with
/// [`stop_signals`], a second signal ends the process at once.
pub fn end_signals() -> io::Result<UnixStream> {
    stream_of(&[SIGTERM, SIGINT, SIGHUP])
}

/// A stream that becomes readable when the terminal is resized, or the process continues after it was stopped.
pub fn terminal_signals() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    for signal in [SIGWINCH, SIGCONT] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    ours.set_nonblocking(true)?;
    Ok(ours)
}

/// Raises the limit of descriptors to the allowed maximum.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        log::warn!("event=descriptors_not_raised error={:?}", error.to_string());
    }
}

/// Maximum descriptors of the process.
#[must_use]
pub fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Keeps the memory of this process (payloads, tokens) out of core dumps, and inaccessible to other processes of
/// the same user.
pub fn hide_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("event=core_dump_protection_failed error={:?}", error.to_string());
    }
}

/// Is this path, or what of it exists, on a file system that a restart of the machine empties?
#[must_use]
pub fn is_in_memory(path: &Path) -> bool {
    const TMPFS: FsWord = 0x0102_1994;
    const RAMFS: FsWord = 0x8584_58f6;
    let there = path.ancestors().find(|part| part.exists());
    there.and_then(|part| rustix::fs::statfs(part).ok()).is_some_and(|disk| matches!(disk.f_type, TMPFS | RAMFS))
}

/// Free bytes of the file system for this process.
pub fn disk_free(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Size of a file in bytes; 0 if it does not exist.
pub fn file_size(file: &Path) -> io::Result<u64> {
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        meta => Ok(meta?.len()),
    }
}

/// The process at the other end of a socket. The user name is looked up only with `by_name`, because that reads a
/// file.
pub fn peer(fd: impl AsFd, by_name: bool) -> io::Result<Peer> {
    let proven = socket_peercred(fd)?;
    let uid = proven.uid.as_raw();
    let name = if by_name { user_name(uid) } else { None };
    Ok(Peer { uid, pid: proven.pid.as_raw_nonzero().get().unsigned_abs(), name })
}

/// A local user's name; `None` for users of a directory service.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// A random number from the system, as the agent's seed.
pub fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled == bytes.len() {
        Ok(u64::from_ne_bytes(bytes))
    } else {
        Err(io::Error::other("the system gave too few random bytes"))
    }
}

/// Name and version of the system and the kernel: `Debian GNU/Linux 12 (bookworm), Linux 6.1.0 x86_64`.
#[must_use]
pub fn release() -> String {
    let files = ["/etc/os-release", "/usr/lib/os-release"];
    let text = files.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let pretty = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = rustix::system::uname();
    let words = [kernel.sysname(), kernel.release(), kernel.machine()].map(|word| word.to_string_lossy().into_owned());
    format!("{}, {}", pretty.unwrap_or("unknown").trim_matches('"'), words.join(" "))
}
