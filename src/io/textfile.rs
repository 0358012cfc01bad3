//! The metrics as a text file, for an exporter that reads files (`node_exporter`'s textfile collector).
//!
//! A thread queries the agent like any other client, on the admin socket, so the loop is independent of it; it ends
//! with the process. The file is replaced by a rename, so that no reader sees half of it, and the temporary file
//! does not end in `.prom`, so that the exporter ignores it. It is not synced: after a power cut the next one is
//! written within seconds.

use crate::access::standing;
use crate::limits::{METRICS_EVERY, METRICS_TIMEOUT};
use serde::Deserialize;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

/// Starts the thread, which queries this socket and writes this file.
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

/// What has to be logged.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    None,
    Bad(&'a str),
    Good,
}

/// A lasting error is logged once, and so is its end.
fn news<'a>(before: Option<&str>, now: Option<&'a str>) -> News<'a> {
    match now {
        Some(error) if before != Some(error) => News::Bad(error),
        None if before.is_some() => News::Good,
        _ => News::None,
    }
}

/// Writes the file once. A connection that failed is opened again the next time.
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
        stream.set_read_timeout(Some(METRICS_TIMEOUT))?;
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
    // An existing file may be another user's link to any place.
    remove(&beside)?;
    let mut new = File::create_new(&beside)?;
    // The exporter runs as another user, so the umask must not apply.
    new.set_permissions(Permissions::from_mode(0o644))?;
    new.write_all(text.as_bytes())?;
    fs::rename(&beside, file)
}

/// Removes a file, if it exists.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A name in the same directory, because a rename cannot cross file systems.
fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, victim) = (dir.path().join("resyncd.prom"), dir.path().join("victim"));
        fs::write(&victim, "precious").expect("a file");
        for name in ["resyncd.prom", "resyncd.prom.new"] {
            let link = dir.path().join(name);
            remove(&link).expect("it goes");
            std::os::unix::fs::symlink(&victim, link).expect("a link");
        }
        replace(&file, "text").expect("it is written");
        assert_eq!(fs::read_to_string(&victim).expect("it"), "precious");
        assert_eq!(fs::read_to_string(&file).expect("it"), "text");
    }

    #[test]
    fn what_stays_wrong_is_said_once() {
        let course = [None, Some("a"), Some("a"), Some("b"), Some("b"), None, None];
        let told: Vec<News> = course.windows(2).map(|two| news(two[0], two[1])).collect();
        assert_eq!(told, [News::Bad("a"), News::None, News::Bad("b"), News::None, News::Good, News::None]);
    }
}
