//! `import`: failures from a file of lines, of a dead terminal for instance.
//!
//! The file is read through once before anything is asked, so that a person sees how many lines can be
//! taken and which cannot; then line by line, with the same memory for ten and for a million.

use super::Failure;
use super::args::Global;
use super::choose::confirm;
use super::client::Door;
use super::render::{count, harmless};
use super::session::{Session, claimed};
use super::stream::stream;
use crate::wire::import;
use clap::Args;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// `import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// File of JSON lines, `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Also lines of our own archive that are void
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Only say which lines can be read
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who you are, for the audit [default: whom sudo names]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: &ImportArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let from_pipe = args.file == Path::new("-");
    if args.dry_run {
        return look(&session, open(&args.file)?.as_mut());
    }
    let what = if from_pipe {
        "Lines from standard input are to be imported.".to_owned()
    } else {
        let lines = BufReader::new(open(&args.file)?).split(b'\n').map_while(Result::ok);
        let failures = lines.filter(|line| !line.trim_ascii().is_empty()).count();
        format!("{} failures are to be imported.", count(failures as u64))
    };
    confirm(args.yes, &what)?;
    let mut rest = json!({"force": args.force, "reason": args.reason, "by": claimed(args.by.as_deref())}).to_string();
    rest.truncate(rest.len() - 1);
    let request = |line: &[u8]| -> Vec<u8> {
        let row: &[u8] = if line.starts_with(b"{") { line } else { b"null" };
        [b"{\"op\":\"import\",", &rest.as_bytes()[1..], b",\"row\":", row, b"}"].concat()
    };
    let mut tally = Tally::default();
    let tell = |out: &mut dyn Write, reply: &[u8]| tally.tell(&session, out, reply);
    let done = stream(&session, Door::Admin, open(&args.file)?.as_mut(), request, tell);
    if !session.json && !session.quiet {
        writeln!(io::stdout(), "{} imported, {} were here already.", count(tally.imported), count(tally.present))?;
    }
    done
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Tally {
    lines: u64,
    imported: u64,
    present: u64,
}

impl Tally {
    /// For people only what went wrong is told line by line.
    fn tell(&mut self, session: &Session, out: &mut dyn Write, reply: &[u8]) -> io::Result<()> {
        self.lines += 1;
        if session.json {
            out.write_all(reply)?;
        }
        let reply: Value = serde_json::from_slice(reply).unwrap_or_default();
        match reply["result"].as_str() {
            Some("imported") => self.imported += 1,
            Some(_) => self.present += 1,
            None if session.json => {}
            None => {
                let why = harmless(reply["error"]["message"].as_str().unwrap_or("no answer"));
                writeln!(out, "{} is refused: {why}", self.lines)?;
            }
        }
        Ok(())
    }
}

fn open(file: &Path) -> Result<Box<dyn Read>, Failure> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file).map_err(|error| Failure::Usage(format!("reading {}: {error}", file.display())));
    Ok(Box::new(opened?))
}

/// Which lines could be read?
fn look(session: &Session, input: &mut dyn Read) -> Result<(), Failure> {
    let (mut good, mut bad) = (0_u64, 0_u64);
    let mut out = io::stdout().lock();
    for (number, line) in (1..).zip(BufReader::new(input).split(b'\n')) {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match import::parse(line.trim_ascii(), &session.config.limits) {
            Ok(_) => good += 1,
            Err(wrong) => {
                bad += 1;
                writeln!(out, "line {number}: {}", harmless(&wrong.message))?;
            }
        }
    }
    writeln!(out, "{} lines can be imported, {} cannot; nothing was changed.", count(good), count(bad))?;
    if bad > 0 { Err(Failure::Failed(format!("{} lines cannot be imported", count(bad)))) } else { Ok(()) }
}
