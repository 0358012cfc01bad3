//! The metrics as a text file, for an exporter that reads files (`node_exporter`'s textfile collector).
//!
//! A thread asks the agent like any other client, on the admin socket; so the loop knows nothing of
//! it, and it ends with the process. The file is replaced by a rename, that nobody reads half of it;
//! what is being written has another ending than `.prom`, that nobody reads it at all. It is not put
//! on disk: after a power cut the next one comes in seconds.

use crate::access::standing;
use crate::limits::{METRICS_EVERY, METRICS_PATIENCE};
use serde::Deserialize;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

/// Starts the thread: asks at this socket, writes this file.
pub fn start(admin_socket: &Path, file: &Path) -> io::Result<()> {
    let (socket, file) = (admin_socket.to_owned(), file.to_owned());
    let thread = thread::Builder::new().name("textfile".into());
    thread.spawn(move || {
        let mut connection = None;
        let mut before: Option<String> = None;
        loop {
            let now = write(&mut connection, &socket, &file).err();
            match news(before.as_deref(), now.as_deref()) {
                News::None => {}
                News::Bad(error) => log::warn!("event=metrics_not_written error={error:?}"),
                News::Good => log::info!("event=metrics_written path={file:?}"),
            }
            before = now;
            thread::sleep(METRICS_EVERY);
        }
    })?;
    Ok(())
}

/// What the log should know.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    None,
    Bad(&'a str),
    Good,
}

/// What stays wrong is said once, and that it is right again.
fn news<'a>(before: Option<&str>, now: Option<&'a str>) -> News<'a> {
    match now {
        Some(error) if before != Some(error) => News::Bad(error),
        None if before.is_some() => News::Good,
        _ => News::None,
    }
}

/// Writes the file once. A connection that fails is made anew the next time.
fn write(connection: &mut Option<BufReader<UnixStream>>, socket: &Path, file: &Path) -> Result<(), String> {
    let text = ask(connection, socket).inspect_err(|_| *connection = None);
    let text = text.map_err(|error| format!("asking the agent at {}: {error}", socket.display()))?;
    replace(file, &text).map_err(|error| {
        let how = standing(&beside(file), error.kind());
        format!("writing {}: {error}{how}", file.display())
    })
}

fn ask(connection: &mut Option<BufReader<UnixStream>>, socket: &Path) -> io::Result<String> {
    #[derive(Deserialize)]
    struct Reply {
        text: String,
    }
    if connection.is_none() {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(METRICS_PATIENCE))?;
        *connection = Some(BufReader::new(stream));
    }
    let stream = connection.as_mut().expect("it was just made");
    stream.get_mut().write_all(b"{\"op\":\"metrics\"}\n")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let reply: Reply = serde_json::from_str(&line).map_err(|_| io::Error::other(line.trim_end().to_owned()))?;
    Ok(reply.text)
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let beside = beside(file);
    let mut new = File::create(&beside)?;
    // The exporter is another user, whatever our umask says.
    new.set_permissions(Permissions::from_mode(0o644))?;
    new.write_all(text.as_bytes())?;
    fs::rename(&beside, file)
}

/// In the same directory, or the rename would be none.
fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_wrong_is_said_once() {
        let course = [None, Some("a"), Some("a"), Some("b"), Some("b"), None, None];
        let told: Vec<News> = course.windows(2).map(|two| news(two[0], two[1])).collect();
        assert_eq!(told, [News::Bad("a"), News::None, News::Bad("b"), News::None, News::Good, News::None]);
    }
}
