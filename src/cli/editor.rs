//! Opens the user's editor on a text.

use super::Failure;
use crate::text::edit as words;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

/// A temporary file that is removed when dropped, because payloads are customers' data.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        // It may be removed already; there is nothing else to do about it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Lets the user edit a text with `$VISUAL`, `$EDITOR` or `vi`.
pub(super) fn edit(name: &str, text: &str) -> Result<String, Failure> {
    let path = env::temp_dir().join(format!("{}-{name}", std::process::id()));
    let fails = |error: std::io::Error| Failure::Failed(words::editors_file(path.display(), error));
    // No other user may read the file, or have created one in its place.
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(fails)?;
    let passing = Passing(path.clone());
    file.write_all(text.as_bytes()).map_err(fails)?;
    let program = ["VISUAL", "EDITOR"].into_iter().find_map(|name| env::var(name).ok().filter(|it| !it.is_empty()));
    let program = program.unwrap_or_else(|| "vi".to_owned());
    // The variable may contain arguments, so a shell parses it.
    let ended = Command::new("sh").args(["-c", &format!("{program} \"$1\""), "sh"]).arg(&passing.0).status();
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(Failure::Failed(words::editor_failed(&program, status))),
        Err(error) => return Err(Failure::Failed(words::no_editor(&program, error))),
    }
    // Many editors replace the file with a new one.
    let mut edited = String::new();
    file = fs::File::open(&passing.0).map_err(fails)?;
    file.rewind().and_then(|()| file.read_to_string(&mut edited)).map_err(fails)?;
    Ok(edited)
}
