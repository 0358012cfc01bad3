//! `replay`: sends delivered failures again, because the upstream has lost them: it restored a backup.
//!
//! The lines of the archive are passed to the agent sequence by sequence: all of an order key, or of an upstream with strict
//! order, in their original order. A request has one sequence or a part of it, and the next part is sent when the reply to
//! the first is there; the agent holds the last failure of a part until then. Requests of different sequences are sent
//! together.
//!
//! Before anything is sent, the command is printed that goes on after an interruption of any kind.

use super::Failure;
use super::archived::{Archived, Meant, Place};
use super::args::{Global, Which};
use super::choose::confirm;
use super::gone::option;
use super::render::{clock, spoken_by_agent, text};
use super::session::{Session, claimed};
use super::stream::RequestStream;
use super::times::{Edge, instant};
use crate::io::clock::{since_boot, wall};
use crate::limits::MAX_REPLAYED;
use crate::moment::WallTime;
use crate::text::{choose, moments, record, replay as words};
use crate::wire::request::Socket;
use clap::Args;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Failures that are shown before the confirmation, and of those that were refused.
const SHOWN: usize = 5;
/// Lines and bytes that are sent at once.
const PIECE: (usize, usize) = (256, 512 << 10);
/// Bytes of a request beside its lines.
const FRAME: usize = 8 << 10;
/// The next lines among which a piece is chosen.
const WINDOW: usize = 1024;
/// How long it waits for requests of the same orders to end, since anything was replayed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it tries again meanwhile.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// `replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Delivered from then on: 24h (ago), 06:12, 2026-11-24
    #[arg(long, value_name = "TIME")]
    pub since: String,
    /// Delivered before then: the time of the restore
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Which of them.
    #[command(flatten)]
    pub which: Which,
    /// Only say what would be sent again
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who, for the audit [default: whom sudo names]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: &ReplayArgs) -> Result<(), Failure> {
    let (session, started) = (Session::new(global)?, wall());
    if args.reason.as_deref().unwrap_or_default().trim().is_empty() && !args.dry_run {
        return Err(Failure::Usage(words::say_why().into()));
    }
    let at = |name: &str, given: &str, edge| instant(name, given, edge).map(|text| WallTime::parse(&text));
    let since = at("since", &args.since, Edge::Start)?;
    let meant = Meant {
        since,
        until: args.until.as_deref().map(|until| at("until", until, Edge::End)).transpose()?.flatten(),
        id: None,
        seq: None,
        entity_type: args.which.entity_type.clone(),
        entity_id: args.which.entity.clone(),
        action: args.which.action.clone(),
        upstream: args.which.upstream.clone(),
    };
    let archived = Archived::look(&session.config, &meant)?;
    if !archived.any {
        return Err(Failure::Failed(nothing_kept(&session)));
    }
    warn(&session, &archived, since);
    if archived.found.is_empty() {
        if !session.json && !session.quiet {
            writeln!(io::stdout().lock(), "{}", words::none_matches())?;
        }
        return Ok(());
    }
    if !args.dry_run && !args.yes {
        let shown = shown(&session, &archived)?;
        confirm(false, &words::question(&shown))?;
    }
    let mut reel = Reel::new(&session, &archived, args, next_run(global, args, &meant, &archived, started));
    if !args.dry_run && !session.quiet {
        let told = format!("resyncd: {}\n", words::after_an_interruption(&reel.next_run));
        // Standard error may be closed; there is nowhere left to say so.
        let _ = io::stderr().write_all(told.as_bytes());
    }
    let sent = reel.run().map_err(|failure| reel.interrupted(failure));
    reel.look_again(&meant)?;
    if !session.json && !session.quiet {
        reel.sum(&mut io::stdout().lock())?;
    }
    sent.and_then(|()| reel.verdict())
}

/// The command that goes on after this run. What this run brought back is delivered again in the meantime; `--until` leaves
/// that out, so that the next run gets to what is left. Failures that were delivered by a clock that was ahead are before
/// that time too.
fn next_run(global: &Global, args: &ReplayArgs, meant: &Meant, archived: &Archived, started: WallTime) -> String {
    let latest = archived.found.iter().map(|place| place.left_at.as_millis().saturating_add(1)).max();
    let until = meant.until.unwrap_or(WallTime::from_millis(started.as_millis().max(latest.unwrap_or(0))));
    let since = meant.since.map_or_else(|| args.since.clone(), WallTime::rfc3339);
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let mut command = "resyncd replay".to_owned();
    for (name, value) in [
        ("since", Some(since)),
        ("until", Some(until.rfc3339())),
        ("type", args.which.entity_type.clone()),
        ("entity", args.which.entity.clone()),
        ("action", args.which.action.clone()),
        ("upstream", args.which.upstream.clone()),
        ("reason", args.reason.clone()),
        ("by", args.by.clone()),
        ("config", path(&global.config)),
        ("socket", path(&global.socket)),
        ("admin-socket", path(&global.admin_socket)),
    ] {
        if let Some(value) = value {
            command.push(' ');
            command.push_str(&option(name, &value));
        }
    }
    for (name, given) in [("--dry-run", args.dry_run), ("--yes", args.yes)] {
        if given {
            command.push(' ');
            command.push_str(name);
        }
    }
    command
}

/// Why there is no archive of deliveries.
fn nothing_kept(session: &Session) -> String {
    let dir = session.config.agent.state_dir.join("archive");
    if session.config.retention.delivered.is_zero() {
        return words::not_kept().to_owned();
    }
    words::nothing_kept_yet(dir.display())
}

/// What a person should know of the archive before anything is sent.
fn warn(session: &Session, archived: &Archived, since: Option<WallTime>) {
    if session.quiet {
        return;
    }
    let mut told = String::new();
    if let (Some(since), Some(begins)) = (since, archived.begins)
        && since < begins
    {
        let day = begins.rfc3339();
        let day = day.get(..10).unwrap_or(&day);
        // Writing to a String cannot fail.
        let _ = writeln!(told, "resyncd: {}", words::begins_later(day));
    }
    if archived.unreadable > 0 {
        let _ = writeln!(told, "resyncd: {}", words::unreadable(archived.unreadable));
    }
    // Standard error may be closed; there is nowhere left to say so.
    let _ = io::stderr().write_all(told.as_bytes());
}

/// How many they are, and that with some of them.
fn shown(session: &Session, archived: &Archived) -> Result<String, Failure> {
    let (now, total) = (wall(), archived.found.len());
    let mut shown = words::matches(total as u64) + "\n";
    for place in archived.found.iter().take(SHOWN) {
        let line = archived.value(place)?;
        let [kind, entity, action, upstream] =
            ["entity_type", "entity_id", "action", "upstream"].map(|name| text(&line, name));
        let (object, at) = (format!("{kind} {entity} {action}"), moments::at(&clock(place.left_at, now)));
        let row = words::delivery(&line["seq"], &object, &upstream, &at);
        shown.push_str(&session.screen.fit(&format!("  {row}")));
        shown.push('\n');
    }
    if total > SHOWN {
        // Writing to a String cannot fail.
        let _ = writeln!(shown, "  {}", choose::and_more((total - SHOWN) as u64));
    }
    let again = archived.found.iter().filter(|place| place.again).count();
    if again > 0 {
        let _ = writeln!(shown, "{}", words::replayed_before(again as u64));
    }
    Ok(shown)
}

/// The lines to be passed to the agent, and the results so far.
struct Reel<'s> {
    session: &'s Session,
    archived: &'s Archived,
    dry_run: bool,
    /// The rest of each request, without its opening brace.
    rest: String,
    /// The command that goes on with what is left.
    next_run: String,
    /// Positions in [`Archived::found`].
    queue: VecDeque<usize>,
    /// Sequences of which a later failure is being sent.
    busy: HashSet<u64>,
    /// The failure that is held at the end of each part of a sequence.
    held_back: HashMap<u64, String>,
    replayed: u64,
    live: u64,
    /// Delivered again since the archive was read: an earlier run had brought them back.
    delivered: u64,
    held: u64,
    lost: u64,
    behind: u64,
    /// Lines that were refused, and why.
    refused: Vec<(usize, String)>,
    /// Why nothing more can be replayed now.
    stopped: Option<String>,
}

/// The next lines of a sequence.
struct Part {
    sequence: u64,
    lines: Vec<usize>,
}

impl<'s> Reel<'s> {
    fn new(session: &'s Session, archived: &'s Archived, args: &ReplayArgs, next_run: String) -> Self {
        let by = claimed(args.by.as_deref());
        let rest = json!({"dry_run": args.dry_run, "reason": args.reason, "by": by}).to_string();
        Self {
            session,
            archived,
            dry_run: args.dry_run,
            rest: rest[1..].to_owned(),
            next_run,
            queue: (0..archived.found.len()).collect(),
            busy: HashSet::new(),
            held_back: HashMap::new(),
            replayed: 0,
            live: 0,
            delivered: 0,
            held: 0,
            lost: 0,
            behind: 0,
            refused: Vec::new(),
            stopped: None,
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        let mut courier = RequestStream::new(self.session, Socket::Admin);
        let progress = !self.session.quiet && io::stderr().is_terminal() && !io::stdout().is_terminal();
        let mut progressed = since_boot();
        while !self.queue.is_empty() && self.stopped.is_none() {
            let done = self.done();
            let (parts, waits) = self.next_parts();
            if parts.is_empty() {
                self.put_back(waits);
                if since_boot().saturating_sub(progressed) > PATIENCE {
                    self.stopped = Some(words::always_busy().to_owned());
                    break;
                }
                thread::sleep(TRY_AGAIN);
                self.busy.clear();
                continue;
            }
            self.deliver(&mut courier, &parts, waits)?;
            if self.done() > done {
                progressed = since_boot();
            }
            if let Some(why) = courier.lost.take() {
                return Err(why);
            }
            if progress {
                eprint!("\r{}", words::progress(self.done(), self.archived.found.len()));
            }
        }
        if progress {
            eprintln!();
        }
        Ok(())
    }

    fn done(&self) -> usize {
        self.archived.found.len() - self.queue.len()
    }

    /// Passes these to the agent. What has to be sent later is in the queue again, with those that wait already.
    fn deliver(&mut self, courier: &mut RequestStream, parts: &[Part], mut waits: Vec<usize>) -> Result<(), Failure> {
        let requests = parts.iter().map(|part| self.request(part)).collect::<io::Result<Vec<_>>>();
        let replies = requests.map_err(Failure::from).and_then(|requests| courier.deliver(&requests));
        let replies = match replies {
            Ok(replies) => replies,
            Err(failure) => {
                waits.extend(parts.iter().flat_map(|part| &part.lines));
                self.put_back(waits);
                return Err(failure);
            }
        };
        let mut out = io::stdout().lock();
        for (part, reply) in parts.iter().zip(&replies) {
            let mut reply: Value = serde_json::from_slice(reply).unwrap_or_default();
            match reply["held"].as_str() {
                Some(id) => drop(self.held_back.insert(part.sequence, id.to_owned())),
                None if reply["ok"] == true => drop(self.held_back.remove(&part.sequence)),
                None => {}
            }
            let whole = json!({"result": "refused", "error": reply["error"].take()});
            let rows = reply["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
            for (n, line) in part.lines.iter().enumerate() {
                if !self.take(&mut out, *line, rows.get(n).unwrap_or(&whole))? {
                    waits.push(*line);
                }
            }
        }
        out.flush()?;
        self.put_back(waits);
        Ok(())
    }

    /// The next lines that may be sent together, and those before them that wait.
    fn next_parts(&mut self) -> (Vec<Part>, Vec<usize>) {
        let room = self.session.config.limits.max_line.saturating_sub(FRAME).min(PIECE.1);
        let (mut parts, mut waits) = (Vec::<Part>::new(), Vec::new());
        let (mut lines, mut bytes) = (0, 0);
        while let Some(n) = self.queue.front().copied().filter(|_| lines < PIECE.0 && lines + waits.len() < WINDOW) {
            let Place { sequence, length, .. } = self.archived.found[n];
            if self.busy.contains(&sequence) {
                waits.extend(self.queue.pop_front());
                continue;
            }
            bytes += length + 1;
            let same = parts.last_mut().filter(|part| part.sequence == sequence);
            if (lines > 0 && bytes > room) || same.as_ref().is_some_and(|part| part.lines.len() == MAX_REPLAYED) {
                break;
            }
            match same {
                Some(part) => part.lines.push(n),
                None => parts.push(Part { sequence, lines: vec![n] }),
            }
            lines += 1;
            self.queue.pop_front();
        }
        (parts, waits)
    }

    /// Puts lines back that were before all others of the queue.
    fn put_back(&mut self, mut lines: Vec<usize>) {
        lines.sort_unstable();
        lines.into_iter().rev().for_each(|line| self.queue.push_front(line));
    }

    fn request(&self, part: &Part) -> io::Result<Vec<u8>> {
        let rows = part.lines.iter().map(|n| self.archived.line(&self.archived.found[*n]));
        let rows = rows.collect::<io::Result<Vec<_>>>()?.join(&b","[..]);
        let next = part.lines.last().and_then(|last| self.archived.found.get(last + 1));
        let more = next.is_some_and(|next| next.sequence == part.sequence);
        let place = json!({"op": "replay", "more": more, "after": self.held_back.get(&part.sequence)}).to_string();
        let place = place.trim_end_matches('}').as_bytes();
        Ok([place, b",\"rows\":[", &rows, b"],", self.rest.as_bytes()].concat())
    }

    /// What an earlier run had brought back may have been delivered after the archive was read, and was refused then.
    fn look_again(&mut self, meant: &Meant) -> Result<(), Failure> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let later = Archived::look(&self.session.config, &Meant { until: None, ..meant.clone() })?;
        let again = self.archived.delivered_again(&later, self.refused.iter().map(|(line, _)| *line));
        self.delivered += again.len() as u64;
        self.refused.retain(|(line, _)| !again.contains(line));
        Ok(())
    }

    /// What became of a line; `false`: it has to wait.
    fn take(&mut self, out: &mut impl Write, line: usize, row: &Value) -> io::Result<bool> {
        let place = &self.archived.found[line];
        let code = row["error"]["code"].as_str().unwrap_or_default();
        if code == "busy" && !self.dry_run {
            self.busy.insert(place.sequence);
            return Ok(false);
        }
        if self.session.json {
            writeln!(out, "{row}")?;
        }
        match (row["result"].as_str(), code) {
            (Some("live"), _) => self.live += 1,
            (Some("replayed"), _) | (_, "busy") => {
                self.replayed += 1;
                let waits = self.held_back.get(&place.sequence).is_some_and(|id| row["id"] == id.as_str());
                self.held += u64::from(row["status"] == "held" && !waits);
                self.lost += u64::from(row["status"] == "critical");
                self.behind += u64::from(row["behind"] == true);
            }
            // The next ones would get the same, and must not overtake this one.
            (Some("later"), _) | (_, "full" | "disk_full" | "storage" | "shutting_down") => {
                self.stopped
                    .get_or_insert_with(|| spoken_by_agent(row["error"]["message"].as_str().unwrap_or_default()));
                return Ok(false);
            }
            _ => {
                let why = spoken_by_agent(row["error"]["message"].as_str().unwrap_or(record::no_answer()));
                self.refused.push((line, why));
            }
        }
        Ok(true)
    }

    fn sum(&self, out: &mut impl Write) -> io::Result<()> {
        for (line, why) in self.refused.iter().take(SHOWN) {
            let line = self.archived.value(&self.archived.found[*line]);
            let number = line.map_or_else(|_| "?".to_owned(), |line| line["seq"].to_string());
            writeln!(out, "{}", words::refused(number, why))?;
        }
        if self.refused.len() > SHOWN {
            writeln!(out, "{}", choose::more((self.refused.len() - SHOWN) as u64))?;
        }
        let said = if self.dry_run { words::would_be_sent(self.replayed) } else { words::sent(self.replayed) };
        write!(out, "{said}")?;
        if self.live > 0 {
            write!(out, " {}", words::live(self.live))?;
        }
        if self.delivered > 0 {
            write!(out, " {}", words::delivered(self.delivered))?;
        }
        if self.dry_run {
            write!(out, " {}", choose::nothing_changed())?;
        }
        writeln!(out)?;
        if self.behind > 0 {
            writeln!(out, "{}", words::renumbered(self.behind))?;
        }
        if self.held > 0 {
            writeln!(out, "{}", words::held(self.held))?;
        }
        if self.lost > 0 {
            writeln!(out, "{}", words::lost(self.lost))?;
        }
        Ok(())
    }

    /// Why it stopped, what is left, and how to go on.
    fn unfinished(&self, why: &impl Display) -> String {
        let left = words::unfinished(self.queue.len() as u64, why);
        let held = match self.held_back.len() as u64 {
            0 => String::new(),
            count => format!(" {}", words::held_back(count)),
        };
        format!("{left}{held} {}", words::go_on(&self.next_run))
    }

    /// The failure that ended the run, and how to go on.
    fn interrupted(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Unreachable(why) => Failure::Unreachable(self.unfinished(&why)),
            Failure::Failed(why) => Failure::Failed(self.unfinished(&why)),
            other => other,
        }
    }

    fn verdict(&self) -> Result<(), Failure> {
        if let Some(why) = &self.stopped {
            return Err(Failure::Failed(self.unfinished(why)));
        }
        match self.refused.len() as u64 {
            0 => Ok(()),
            refused => Err(Failure::Failed(words::some_refused(refused))),
        }
    }
}
