//! `report`: a terminal's state and its events of a month, as one page for a ticket or a mail.
//!
//! [`gather`] collects the data, with or without the agent; [`sections`] and [`trends`] convert it to a [`page`];
//! [`html`] and [`plain`] write that. Everything on it is bounded, so that a terminal with a million failures has a
//! page of the same size.

/// Appends to a text, which cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($out, $($text)*);
    }};
}

mod gather;
mod html;
mod page;
mod plain;
mod plot;
mod sections;
mod table;
mod trends;

use super::Failure;
use super::args::Global;
use super::session::Session;
use crate::access::standing;
use crate::text::report as text;
use clap::Args;
use serde_json::json;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Output file; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Text instead of HTML; to standard output if no file is named
    #[arg(long)]
    pub text: bool,
    /// Include payloads and responses of failures that need a person
    #[arg(long)]
    pub payloads: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: &ReportArgs) -> Result<(), Failure> {
    let output = match &args.output {
        Some(path) => Some(path.as_path()).filter(|path| *path != Path::new("-")),
        None if args.text => None,
        None => return Err(Failure::Usage(text::no_output().to_owned())),
    };
    let session = Session::new(global)?;
    let gathered = gather::gather(&session, global, args.payloads)?;
    let page = sections::page(&gathered);
    let mut written = Vec::new();
    if args.text {
        plain::page(&mut written, &page)?;
    } else {
        written = html::page(&page).into_bytes();
    }
    let Some(path) = output else { return Ok(io::stdout().lock().write_all(&written)?) };
    keep(path, &written)?;
    let size = written.len() as u64;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", json!({"ok": true, "file": path.display().to_string(), "bytes": size}))?;
    } else if !session.quiet {
        let says = if args.payloads { text::written_with_payloads } else { text::written };
        writeln!(out, "{}", says(size, &path.display().to_string()))?;
    }
    Ok(())
}

/// Writes the file atomically and readable by its owner alone, because it contains entities and errors.
fn keep(path: &Path, written: &[u8]) -> Result<(), Failure> {
    let fails = |error: io::Error| {
        let how = standing(path, error.kind());
        Failure::Failed(text::not_written(&path.display().to_string(), &format!("{error}{how}")))
    };
    // Devices and pipes are written to, not replaced.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut there = OpenOptions::new().write(true).open(path).map_err(fails)?;
        return there.write_all(written).map_err(fails);
    }
    let mut name = OsString::from(path);
    name.push(".part");
    let part = PathBuf::from(name);
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let done = made.and_then(|mut file| file.write_all(written)).and_then(|()| fs::rename(&part, path));
    done.inspect_err(|_| {
        // The partial file is useless; the original error is returned.
        let _ = fs::remove_file(&part);
    })
    .map_err(fails)
}
