//! Files that hold secrets: read when they are needed, read again when they change, and never shown.
//!
//! An error names the file and why, not what is in it.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What is known of the files so far.
#[derive(Default)]
pub struct Secrets {
    known: Mutex<HashMap<PathBuf, (Stamp, String)>>,
}

/// By what a change is seen.
pub type Stamp = (Option<SystemTime>, u64);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// A file's text, without the line end that editors leave.
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

/// Where systemd puts the credentials of the packaged service. Commands that root runs beside it, such as
/// `try` and `doctor`, find them there; nobody else may look.
const PACKAGED: &str = "/run/credentials/resyncd.service";

/// Where a secret is: an absolute path is that, a bare name is a credential that systemd has passed on
/// (`LoadCredential=`).
#[must_use]
pub fn located(file: &Path) -> PathBuf {
    if file.is_absolute() {
        return file.to_owned();
    }
    env::var_os("CREDENTIALS_DIRECTORY").map_or_else(|| PathBuf::from(PACKAGED), PathBuf::from).join(file)
}

/// When a file changed last, and how long it is.
pub fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(located(path))?;
    Ok((meta.modified().ok(), meta.len()))
}

/// Why a secret could not be read, and what to do.
#[must_use]
pub fn unread(path: &Path, error: &io::Error) -> String {
    let passed = path.starts_with("/run/credentials") && error.kind() == io::ErrorKind::NotFound;
    let remedy = if passed { ". Is there a LoadCredential= for it in the service's unit?" } else { "" };
    format!("reading {}: {error}{remedy}", path.display())
}
