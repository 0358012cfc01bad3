//! `import`: failures from a file, for example of a dead terminal or of another table.
//!
//! The input is read to its end before anything is imported ([`rows`](super::rows)); then its rows are imported one by
//! one, in the order in which they were recorded.

use super::Failure;
use super::args::Global;
use super::choose::confirm;
use super::render::{count, sanitize, spoken_by_agent};
use super::rows::{MOST_SHOWN, Row, Rows};
use super::session::{Session, claimed};
use super::stream::stream;
use crate::config::Retention;
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::text::{Count, choose, import as text, record};
use crate::wire::request::Socket;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

/// `import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// File of JSON lines, a JSON array, or CSV with a heading; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Also lines of our own archive that are void; asks first
    #[arg(long)]
    pub force: bool,
    /// Count the age for retention from the recording, instead of from the import
    #[arg(long)]
    pub keep_age: bool,
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
    let rows = Rows::read(&args.file, &session.config.limits)?;
    if let (Some((number, first)), false) = (rows.without_zone, session.quiet) {
        let told = text::times_without_zone(number, rows.unit(), first);
        // Standard error may be closed; there is nowhere left to say so.
        let _ = writeln!(io::stderr(), "resyncd: {told}");
    }
    if args.dry_run {
        return look(&rows);
    }
    confirm(args.yes || !args.force, &text::will(rows.rows.len() as u64))?;
    let mut tally = Tally { rows: &rows, done: 0, results: BTreeMap::new(), refused: 0, old: 0, needs_person: 0 };
    let unreadable = told_unreadable(&session, &rows)?;
    let by = claimed(args.by.as_deref());
    let mut rest = json!({"force": args.force, "keep_age": args.keep_age, "reason": args.reason, "by": by}).to_string();
    rest.truncate(rest.len() - 1);
    let request = |row: &[u8]| [b"{\"op\":\"import\",", &rest.as_bytes()[1..], b",\"row\":", row, b"}"].concat();
    let tell = |out: &mut dyn Write, reply: &[u8]| tally.tell(&session, out, reply);
    let done = stream(&session, Socket::Admin, &mut rows.reader(), request, tell);
    if !session.json && !session.quiet {
        tally.sum(&mut io::stdout().lock(), args.keep_age)?;
    }
    done.and(unreadable)
}

/// The results of the rows.
struct Tally<'r> {
    rows: &'r Rows,
    done: usize,
    /// Number of rows per result; for finished ones, per status.
    results: BTreeMap<String, u64>,
    refused: usize,
    old: u64,
    needs_person: u64,
}

impl Tally<'_> {
    /// Prints a row's result; without `--json` only for rows that failed.
    fn tell(&mut self, session: &Session, out: &mut dyn Write, reply: &[u8]) -> io::Result<()> {
        if session.json {
            out.write_all(reply)?;
        }
        let reply: Value = serde_json::from_slice(reply).unwrap_or_default();
        let row = self.rows.rows.get(self.done);
        self.done += 1;
        match reply["result"].as_str() {
            Some(result) => {
                let name = reply["was"].as_str().map_or_else(|| result.to_owned(), |was| format!("finished {was}"));
                *self.results.entry(name).or_default() += 1;
                if matches!(reply["status"].as_str(), Some("critical" | "held")) {
                    self.needs_person += 1;
                    let retention = &session.config.retention;
                    self.old += u64::from(row.is_some_and(|row| is_old(row, retention, wall())));
                }
            }
            None if session.json => {}
            None => {
                self.refused += 1;
                if self.refused <= MOST_SHOWN {
                    let why = spoken_by_agent(reply["error"]["message"].as_str().unwrap_or(record::no_answer()));
                    let number = row.map(|row| row.number).unwrap_or_default();
                    writeln!(out, "{}", text::refused(self.rows.unit(), number, &why))?;
                }
            }
        }
        Ok(())
    }

    fn sum(&self, out: &mut impl Write, keep_age: bool) -> io::Result<()> {
        if self.refused > MOST_SHOWN {
            writeln!(out, "{}", text::more_refused((self.refused - MOST_SHOWN) as u64))?;
        }
        let of = |name: &str| Count(self.results.get(name).copied().unwrap_or_default());
        writeln!(out, "{}", text::imported(of("imported"), of("present")))?;
        let finished = |(name, number): (&String, &u64)| Some((name.strip_prefix("finished ")?.to_owned(), *number));
        let finished: Vec<(String, u64)> = self.results.iter().filter_map(finished).collect();
        if !finished.is_empty() {
            let all: u64 = finished.iter().map(|(_, number)| number).sum();
            let kinds = finished.iter().map(|(status, number)| format!("{} {}", count(*number), sanitize(status)));
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            writeln!(out, "{}", text::finished(all, &kinds))?;
        }
        if self.needs_person > 0 {
            writeln!(out, "{}", text::need_a_person(self.needs_person))?;
        }
        if self.old > 0 {
            let told = if keep_age { text::older_and_leaving(self.old) } else { text::older_than_kept(self.old) };
            writeln!(out, "{told}")?;
        }
        Ok(())
    }
}

/// Returns whether the next retention run would remove such a failure, if its age counted from its recording.
fn is_old(row: &Row, retention: &Retention, now: WallTime) -> bool {
    let age = row.created_at.map(|at| now.since(at)).unwrap_or_default();
    let exhausted = row.retry_count > retention.exhausted_retries && age > retention.exhausted_age;
    exhausted || age > retention.max_age
}

/// Shows some of the unreadable rows; returns the command's error.
fn told_unreadable(session: &Session, rows: &Rows) -> io::Result<Result<(), Failure>> {
    let mut out = io::stdout().lock();
    for (number, why) in rows.unreadable.iter().take(if session.json { usize::MAX } else { MOST_SHOWN }) {
        let told = text::wrong(rows.unit(), *number, &spoken_by_agent(why));
        if session.json {
            writeln!(out, "{}", json!({"ok": false, "error": {"code": "bad_json", "message": told}}))?;
        } else {
            writeln!(out, "{told}")?;
        }
    }
    Ok(verdict(rows, rows.unreadable.len(), &mut out)?.map_or(Ok(()), Err))
}

/// Prints the number of unreadable rows and what to do about them.
fn verdict(rows: &Rows, bad: usize, out: &mut impl Write) -> io::Result<Option<Failure>> {
    let advice = rows.advice();
    if bad == 0 {
        let advice = advice.filter(|_| rows.rows.is_empty());
        return Ok(advice.map(|advice| Failure::Failed(text::nothing(&advice))));
    }
    if bad > MOST_SHOWN {
        writeln!(out, "{}", choose::more((bad - MOST_SHOWN) as u64))?;
    }
    let advice = advice.map_or_else(String::new, |advice| format!(". {advice}"));
    Ok(Some(Failure::Failed(text::unreadable(bad as u64, rows.unit()) + &advice)))
}

/// Reports which lines could be imported.
fn look(rows: &Rows) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut wrong: Vec<&(u64, String)> = rows.unreadable.iter().chain(&rows.unfit).collect();
    wrong.sort_by_key(|(number, _)| *number);
    for (number, why) in wrong.iter().take(MOST_SHOWN) {
        writeln!(out, "{}", text::wrong(rows.unit(), *number, &spoken_by_agent(why)))?;
    }
    let failure = verdict(rows, wrong.len(), &mut out)?;
    let good = rows.rows.len() - rows.unfit.len();
    writeln!(out, "{}", text::could(good as u64, wrong.len() as u64, rows.unit()))?;
    failure.map_or(Ok(()), Err)
}
