//! The two listening sockets: created with the right permissions from the start, never taken from a running agent,
//! removed only if they are the agent's own. Sockets from [`super::socket_activation`] are never removed.

use super::clock::since_boot;
use crate::access::standing;
use crate::wire::request::Socket;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};
use serde_json::Value;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Why a socket could not be opened.
#[derive(Debug)]
pub enum ListenError {
    /// Another program is listening there.
    Alive(PathBuf),
    /// The path is not a socket.
    NotASocket(PathBuf),
    /// A system call failed.
    Io(&'static str, PathBuf, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive(path) => {
                write!(f, "another program answers at {}; stop it, or choose another socket", path.display())
            }
            Self::NotASocket(path) => {
                write!(
                    f,
                    "{} is there and is no socket; it is left alone. Move it away, or choose another path",
                    path.display()
                )
            }
            Self::Io(doing, path, why) => write!(f, "{doing} {}: {why}{}", path.display(), standing(path, why.kind())),
        }
    }
}

impl std::error::Error for ListenError {}

/// A socket that clients connect to.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    socket: Socket,
    path: PathBuf,
    /// Device and inode of its file, to distinguish it from other files; `None` if it has no file.
    file: Option<(u64, u64)>,
    /// The service manager created it, and has to recreate it.
    passed: bool,
}

/// How long another agent that starts at the same path may take.
const TURN: Duration = Duration::from_secs(2);
/// The same while clients are served, who wait meanwhile.
const TURN_BETWEEN_ROUNDS: Duration = Duration::from_millis(100);

impl Listener {
    /// Binds the path. A socket file without a listener is replaced.
    pub fn bind(path: &Path, socket: Socket) -> Result<Self, ListenError> {
        let (fd, file) = bound(path, socket, TURN)?;
        Ok(Self { fd, socket, path: path.to_owned(), file: Some(file), passed: false })
    }

    /// A socket that the service manager created and keeps.
    pub(super) fn passed(fd: OwnedFd, socket: Socket, path: &Path) -> Self {
        Self { fd, socket, path: path.to_owned(), file: file_at(path), passed: true }
    }

    /// The path that clients connect to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the service manager created it.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.passed
    }

    /// Returns whether its file is at the path that clients connect to.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.file.is_none() || file_at(&self.path) == self.file
    }

    /// Recreates it at its path after its file was deleted. Returns the old descriptor, which clients can no longer
    /// connect to.
    pub fn renew(&mut self) -> Result<OwnedFd, ListenError> {
        let (fd, file) = bound(&self.path, self.socket, TURN_BETWEEN_ROUNDS)?;
        self.file = Some(file);
        Ok(std::mem::replace(&mut self.fd, fd))
    }

    /// Which of the two sockets it is.
    #[must_use]
    pub fn socket(&self) -> Socket {
        self.socket
    }

    /// Accepts the next pending client, if there is one.
    pub fn accept(&self) -> Result<OwnedFd, Errno> {
        accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
    }

    /// Removes the file, if it is still the agent's own.
    pub fn unlink(&self) {
        let ours = !self.passed && self.file.is_some() && file_at(&self.path) == self.file;
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("event=socket_not_removed path={:?} error={:?}", self.path, error.to_string());
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// A socket that listens at a path, and its file. Until it listens no client can connect, whatever the file's mode
/// is.
fn bound(path: &Path, socket: Socket, turn: Duration) -> Result<(OwnedFd, (u64, u64)), ListenError> {
    let fails = |doing: &'static str, why: io::Error| ListenError::Io(doing, path.to_owned(), why);
    let address = SocketAddrUnix::new(path).map_err(|why| fails("making the address of", why.into()))?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.map_err(|why| fails("making the directory of", why))?;
    let _turn = take_turn(dir, turn);
    clear_stale(path, &address)?;
    let fd = open().map_err(|why| fails("making", why.into()))?;
    bind(&fd, &address).map_err(|why| fails("binding", why.into()))?;
    let permissions = fs::Permissions::from_mode(match socket {
        Socket::App => 0o660,
        Socket::Admin => 0o600,
    });
    fs::set_permissions(path, permissions).map_err(|why| fails("setting the mode of", why))?;
    listen(&fd, 1024).map_err(|why| fails("listening at", why.into()))?;
    let file = fs::symlink_metadata(path).map_err(|why| fails("reading", why))?;
    Ok((fd, (file.dev(), file.ino())))
}

/// Serializes agents that find the same stale file: otherwise the second one would remove the socket at which the
/// first one listens. The directory is locked, for at most `patience`, because any user with access to a directory
/// can lock it.
fn take_turn(dir: &Path, patience: Duration) -> Option<fs::File> {
    const LOOK: Duration = Duration::from_millis(20);
    let dir = fs::File::open(dir).ok()?;
    let begun = since_boot();
    loop {
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(dir),
            Err(_) if since_boot().saturating_sub(begun) < patience => thread::sleep(LOOK),
            Err(_) => return None,
        }
    }
}

fn open() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
}

/// Returns whether an agent answers at this path, within a short time.
#[must_use]
pub fn is_served(path: &Path) -> bool {
    const REPLY: Duration = Duration::from_secs(2);
    let ask = || -> io::Result<bool> {
        let fd = open()?;
        connect(&fd, &SocketAddrUnix::new(path)?)?;
        let mut stream = UnixStream::from(fd);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(REPLY))?;
        stream.write_all(b"{\"op\":\"hello\"}\n")?;
        let mut line = Vec::new();
        BufReader::new(stream.take(1 << 16)).read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice::<Value>(&line).is_ok_and(|reply| reply["name"] == "resyncd"))
    };
    ask().unwrap_or(false)
}

/// Removes a socket file that a crash left behind.
fn clear_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), ListenError> {
    let fails = |doing: &'static str, why: io::Error| ListenError::Io(doing, path.to_owned(), why);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fails("reading", error)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    let asking = open().map_err(|why| fails("making a socket for", why.into()))?;
    match connect(&asking, address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(|why| fails("removing the stale", why)),
        Err(Errno::NOENT) => Ok(()),
        // Connected, its queue is full, or access is denied: another program is listening.
        Ok(()) | Err(_) => Err(ListenError::Alive(path.to_owned())),
    }
}
