//! Opens a person's editor on a text.

use super::Failure;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

/// A file that goes when it is no longer needed: payloads are customers' data.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        // It may be gone already; there is nothing else to do about it.
        let _ = fs::remove_file(&self.0);
    }
}

/// What `$VISUAL`, `$EDITOR` or `vi` makes of a text.
pub(super) fn edit(name: &str, text: &str) -> Result<String, Failure> {
    let path = env::temp_dir().join(format!("{}-{name}", std::process::id()));
    let fails = |error: std::io::Error| {
        Failure::Failed(format!("a file for the editor, {}: {error}; use --payload-file instead", path.display()))
    };
    // Nobody else may read it, and nobody may have put another one in its place.
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(fails)?;
    let passing = Passing(path.clone());
    file.write_all(text.as_bytes()).map_err(fails)?;
    let program = ["VISUAL", "EDITOR"].into_iter().find_map(|name| env::var(name).ok().filter(|it| !it.is_empty()));
    let program = program.unwrap_or_else(|| "vi".to_owned());
    // It may have arguments, so a shell takes it apart.
    let ended = Command::new("sh").args(["-c", &format!("{program} \"$1\""), "sh"]).arg(&passing.0).status();
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(Failure::Failed(format!("{program} ended with {status}; nothing was changed"))),
        Err(error) => return Err(Failure::Failed(format!("starting {program}: {error}; set EDITOR"))),
    }
    // Many editors put a new file in the old one's place.
    let mut edited = String::new();
    file = fs::File::open(&passing.0).map_err(fails)?;
    file.rewind().and_then(|()| file.read_to_string(&mut edited)).map_err(fails)?;
    Ok(edited)
}
