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
        let fails = |error: io::Error| format!("reading {}: {error}", path.display());
        let now = stamp(path).map_err(fails)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = known.get(path).filter(|(before, _)| *before == now) {
            return Ok(text.clone());
        }
        let text = fs::read_to_string(path).map_err(fails)?;
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        known.insert(path.to_owned(), (now, text.clone()));
        Ok(text)
    }

    /// A credential by its name: an absolute path, or a file that systemd passed on.
    pub fn credential(&self, name: &str) -> Result<String, String> {
        if name.starts_with('/') {
            return self.file(Path::new(name));
        }
        match env::var_os("CREDENTIALS_DIRECTORY") {
            Some(dir) => self.file(&PathBuf::from(dir).join(name)),
            None => Err(format!("the secret {name:?} is no absolute path, and systemd has passed no credentials")),
        }
    }
}

/// When a file changed last, and how long it is.
pub fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    Ok((meta.modified().ok(), meta.len()))
}
