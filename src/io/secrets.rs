//! Files that hold secrets: read on demand, read again when they change, and never shown.
//!
//! An error contains the path and the reason, not the content.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Contents of the files read so far.
#[derive(Default)]
pub struct Secrets {
    known: Mutex<HashMap<PathBuf, (FileVersion, String)>>,
}

/// Detects a change of a file. A file that is replaced by one of the same length within the same tick of the clock
/// has another inode, and one that is rewritten in place and backdated has another change time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileVersion {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// A file's text, without the line end that editors add.
    pub fn file(&self, path: &Path) -> Result<String, String> {
        let path = &located(path);
        let now = stamp(path).map_err(|error| unread(path, &error))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = known.get(path).filter(|(before, _)| *before == now) {
            return Ok(text.clone());
        }
        let text = fs::read_to_string(path).map_err(|error| unread(path, &error))?;
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        known.insert(path.to_owned(), (now, text.clone()));
        Ok(text)
    }
}

/// Where systemd puts the credentials of the packaged service. Commands that root runs, such as `try` and `doctor`,
/// find them there; other users have no access.
const PACKAGED: &str = "/run/credentials/resyncd.service";

/// The path of a secret: an absolute path is unchanged, a bare name is a credential that systemd has passed on
/// (`LoadCredential=`).
#[must_use]
pub fn located(file: &Path) -> PathBuf {
    if file.is_absolute() {
        return file.to_owned();
    }
    env::var_os("CREDENTIALS_DIRECTORY").map_or_else(|| PathBuf::from(PACKAGED), PathBuf::from).join(file)
}

/// The current version of a file.
pub fn stamp(path: &Path) -> io::Result<FileVersion> {
    let meta = fs::metadata(located(path))?;
    Ok(FileVersion {
        inode: (meta.dev(), meta.ino()),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// Why a secret could not be read, and the remedy.
#[must_use]
pub fn unread(path: &Path, error: &io::Error) -> String {
    let passed = path.starts_with("/run/credentials") && error.kind() == io::ErrorKind::NotFound;
    let remedy = if passed { ". Is there a LoadCredential= for it in the service's unit?" } else { "" };
    format!("reading {}: {error}{remedy}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, FileTimes};

    /// A new token with the same length and time, written in place and by a rename.
    #[test]
    fn a_file_is_read_again_whatever_its_length_and_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, new) = (dir.path().join("token"), dir.path().join("new"));
        let secrets = Secrets::default();
        fs::write(&path, "tok-1\n").expect("a file");
        assert_eq!(secrets.file(&path).as_deref(), Ok("tok-1"));
        let modified = fs::metadata(&path).and_then(|meta| meta.modified()).expect("a time");
        let dated = |path: &Path| {
            let file = File::options().append(true).open(path).expect("the file");
            file.set_times(FileTimes::new().set_modified(modified)).expect("its time");
        };
        fs::write(&new, "tok-2\n").expect("a file");
        dated(&new);
        fs::rename(&new, &path).expect("in its place");
        assert_eq!(secrets.file(&path).as_deref(), Ok("tok-2"));
        let before = stamp(&path).expect("its stamp");
        // The kernel's timestamps of files have a resolution of some milliseconds.
        while stamp(&path).expect("its stamp") == before {
            fs::write(&path, "tok-3\n").expect("written over");
            dated(&path);
        }
        assert_eq!(secrets.file(&path).as_deref(), Ok("tok-3"));
    }
}
