//! The two listening sockets: made with the right permissions from the start, never stolen from a
//! living agent, removed only when they are our own. Those that [`super::passed`] brings are nobody's to remove.

use crate::access::standing;
use crate::wire::request::Socket;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why a socket could not be had.
#[derive(Debug)]
pub enum ListenError {
    /// Somebody answers there.
    Alive(PathBuf),
    /// There is something else.
    NotASocket(PathBuf),
    /// The system said no.
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
    path: PathBuf,
    /// Device and inode of our own file, so that nobody else's is removed; `None`: it was passed to us.
    file: Option<(u64, u64)>,
}

impl Listener {
    /// Binds the path. A file that nobody answers behind is replaced. The umask is the process's,
    /// so this must happen before there are threads.
    pub fn bind(path: &Path, socket: Socket) -> Result<Self, ListenError> {
        let fails = |doing: &'static str, why: io::Error| ListenError::Io(doing, path.to_owned(), why);
        let address = SocketAddrUnix::new(path).map_err(|why| fails("making the address of", why.into()))?;
        if let Some(dir) = path.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(dir);
            made.map_err(|why| ListenError::Io("making the directory of", path.to_owned(), why))?;
        }
        clear_stale(path, &address)?;
        let fd = open().map_err(|why| fails("making", why.into()))?;
        let hidden = match socket {
            Socket::App => Mode::from_raw_mode(0o117),
            Socket::Admin => Mode::from_raw_mode(0o177),
        };
        let before = rustix::process::umask(hidden);
        let bound = bind(&fd, &address);
        rustix::process::umask(before);
        bound.map_err(|why| fails("binding", why.into()))?;
        listen(&fd, 1024).map_err(|why| fails("listening at", why.into()))?;
        let file = fs::metadata(path).map_err(|why| fails("reading", why))?;
        Ok(Self { fd, path: path.to_owned(), file: Some((file.dev(), file.ino())) })
    }

    /// One that the service manager made, and keeps.
    pub(super) fn passed(fd: OwnedFd, path: &Path) -> Self {
        Self { fd, path: path.to_owned(), file: None }
    }

    /// The next client, if one waits.
    pub fn accept(&self) -> Result<OwnedFd, Errno> {
        accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
    }

    /// Removes the file, if it is still ours.
    pub fn unlink(&self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| Some((file.dev(), file.ino())) == self.file);
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

fn open() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
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
        // Connected, its queue is full, or it is not ours to ask: somebody lives there.
        Ok(()) | Err(_) => Err(ListenError::Alive(path.to_owned())),
    }
}
