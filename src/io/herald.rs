//! Tells of alerts and gives signs of life, each way on a thread of its own, so that one that hangs holds
//! up neither the others nor the loop (`spec/05`). What goes wrong here is logged and harms nothing.
//!
//! - *The state file*, `alert.json` by rename: what is so now, for a hook outside the agent's sandbox.
//! - *The program*, once a notice, with the notice on its standard input.
//! - *The URL*, posted to when there is a notice: what is so at that moment. While that fails it is tried
//!   again, spread over the time, always with what is so then; there is no backlog.
//! - *The heartbeat*, posted when it comes; one that fails is not made up for.
//!
//! A thread starts when there is something for it, and ends with its sender.

use super::http::Exchange;
use super::program::{self, End};
use super::resolve::CachingResolver;
use super::secrets::Secrets;
use super::system;
use crate::agent::Telling;
use crate::config::{Config, Upstream};
use crate::limits::{COMMAND_PATIENCE, cut};
use crate::policy::class::Ending;
use crate::wire::delivery::{BodyPart, HeaderValue, HttpRequest, credentials};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use ureq::http::Uri;

/// What these threads need of memory; TLS is on the heap.
const STACK: usize = 256 << 10;
/// Notices that may wait for the program: more than there are kinds.
const WAITING_NOTICES: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Herald {
    file: Slot,
    url: Option<Slot>,
    heartbeat: Option<Slot>,
    program: Option<SyncSender<Vec<u8>>>,
    /// The beginning of a heartbeat: whose it is.
    whose: String,
}

impl Herald {
    /// As the configuration says.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let file = config.agent.state_dir.join("alert.json");
        let post = |url: &Option<String>, name, again| {
            let post = Post::to(url.as_ref()?, config);
            Some(Slot::new(name, move |latest, bell| post.serve(name, again, &latest, &bell)))
        };
        let quoted = |text: &str| Value::from(text).to_string();
        let store_id = config.agent.store_id.as_deref().map_or_else(|| "null".to_owned(), quoted);
        let words = config.alerts.command.clone();
        Self {
            file: Slot::new("alert-file", move |latest, bell| keep_file(&file, &latest, &bell)),
            url: post(&config.alerts.url, "alerts-url", true),
            heartbeat: post(&config.heartbeat.url, "heartbeat", false),
            program: (!words.is_empty()).then(|| tell_program(words)).flatten(),
            whose: format!("{{\"terminal_id\":{},\"store_id\":{store_id},", quoted(&config.agent.terminal_id)),
        }
    }

    /// Tells it in every way that is configured.
    pub fn tell(&mut self, telling: Telling) {
        let Telling { reply, present, notices } = telling;
        self.file.put(reply, true);
        if let Some(url) = &mut self.url {
            url.put(present, !notices.is_empty());
        }
        let Some(program) = &self.program else { return };
        for notice in notices {
            if let Err(TrySendError::Full(_)) = program.try_send(notice) {
                log::warn!("event=alert_command_behind message=\"a notice was left out\"");
            }
        }
    }

    /// Gives a sign of life: the reply to `health`, and whose it is.
    pub fn beat(&mut self, health: &[u8]) {
        if let (Some(heartbeat), Some((b'{', fields))) = (&mut self.heartbeat, health.split_first()) {
            heartbeat.put([self.whose.as_bytes(), fields].concat(), true);
        }
    }
}

/// The newest text for a thread, and a bell that says that there is one.
struct Slot {
    latest: Latest,
    bell: SyncSender<()>,
    thread: Option<Start>,
}

type Latest = Arc<Mutex<Vec<u8>>>;
type Start = Box<dyn FnOnce() -> io::Result<()> + Send>;

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

impl Slot {
    fn new(name: &'static str, work: impl FnOnce(Latest, Receiver<()>) + Send + 'static) -> Self {
        let (bell, rings) = sync_channel(1);
        let latest = Latest::default();
        let shared = Arc::clone(&latest);
        let start = move || {
            let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
            thread.spawn(move || work(shared, rings)).map(drop)
        };
        Self { latest, bell, thread: Some(Box::new(start)) }
    }

    fn put(&mut self, text: Vec<u8>, ring: bool) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = text;
        if !ring {
            return;
        }
        if let Some(start) = self.thread.take()
            && let Err(error) = start()
        {
            log::error!("event=no_herald error={:?}", error.to_string());
        }
        // A bell that rings already is as good.
        let _ = self.bell.try_send(());
    }
}

fn newest(latest: &Latest) -> Vec<u8> {
    latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

// ---- the state file

fn keep_file(file: &Path, latest: &Latest, bell: &Receiver<()>) {
    while bell.recv().is_ok() {
        if let Err(error) = replace(file, &newest(latest)) {
            log::warn!("event=alert_file_not_written path={file:?} error={:?}", error.to_string());
        }
    }
}

/// Whoever reads it finds the old text or the new one, also after a power cut.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let beside: PathBuf = file.with_extension("json.new");
    let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    new.write_all(text)?;
    new.sync_all()?;
    fs::rename(&beside, file)
}

// ---- the program

fn tell_program(words: Vec<String>) -> Option<SyncSender<Vec<u8>>> {
    let (program, notices) = sync_channel::<Vec<u8>>(WAITING_NOTICES);
    let thread = thread::Builder::new().name("alert-command".into()).stack_size(STACK);
    let started = thread.spawn(move || {
        while let Ok(notice) = notices.recv() {
            let name = words.first().map_or("", String::as_str);
            match program::run(&words, &notice, COMMAND_PATIENCE) {
                End::Well => log::debug!("event=alert_command_ended program={name:?}"),
                End::Badly(how) => log::warn!("event=alert_command_failed program={name:?} error={how:?}"),
                End::Killed => log::warn!(
                    "event=alert_command_failed program={name:?} error=\"killed after {} s\"",
                    COMMAND_PATIENCE.as_secs()
                ),
                End::Never(error) => {
                    log::warn!("event=alert_command_failed program={name:?} error={:?}", error.to_string());
                }
            }
        }
    });
    started.inspect_err(|error| log::error!("event=no_herald error={:?}", error.to_string())).is_ok().then_some(program)
}

// ---- what is posted

/// A way to a URL: as the upstream at the same place is reached, with its authorities, its proxy and what
/// it knows the terminal by; else plainly.
#[derive(Debug)]
struct Post {
    exchange: Exchange,
    request: HttpRequest,
}

impl Post {
    fn to(url: &str, config: &Config) -> Self {
        let there = config.upstreams.iter().find(|upstream| same_place(&upstream.url, url));
        let upstream = there.map_or_else(
            || Upstream::with_url("alerts", url),
            |upstream| Upstream { url: url.to_owned(), concurrency: 0, ..upstream.clone() },
        );
        let text = |name: &str, value: &str| (name.to_owned(), HeaderValue::Text(value.to_owned()));
        let mut headers = vec![text("Content-Type", "application/json")];
        headers.extend(credentials(&upstream));
        let request = HttpRequest { method: "POST", url: url.to_owned(), headers, body: Vec::new() };
        Self { exchange: Exchange::for_deliveries(&upstream, CachingResolver::default()), request }
    }

    /// Posts the newest text whenever the bell rings; what fails is tried `again` until it does not.
    fn serve(&self, name: &str, again: bool, latest: &Latest, bell: &Receiver<()>) {
        let mut random = fastrand::Rng::with_seed(system::seed().unwrap_or_default());
        let mut failures = 0_u32;
        while bell.recv().is_ok() {
            while let Err(why) = self.send(newest(latest)) {
                // One line when it begins, not one every few minutes.
                if failures == 0 {
                    log::warn!("event=not_posted to={name} error={:?}", cut(&why, 200));
                }
                failures = failures.saturating_add(1);
                if !again {
                    break;
                }
                thread::sleep(pause(failures, &mut random));
                // Whatever came meanwhile is in what is posted next.
                let _ = bell.try_recv();
            }
        }
    }

    fn send(&self, body: Vec<u8>) -> Result<(), String> {
        let request = HttpRequest { body: vec![BodyPart::Bytes(body)], ..self.request.clone() };
        match self.exchange.send(&request, &Secrets::default(), &[]) {
            Ending::Answered(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ending::Answered(answer) => Err(format!("HTTP {}", answer.status)),
            Ending::NotSent(_, why) | Ending::Broken(_, why) | Ending::Unbuildable(why) => Err(why),
        }
    }
}

/// How long to wait after so many failures: a chain whose line comes back does not post all at once.
fn pause(failures: u32, random: &mut fastrand::Rng) -> Duration {
    const FIRST: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(300);
    let base = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST);
    base.mul_f64(0.5 + random.f64())
}

/// Scheme, host and port are the same: what is secret there is no secret here.
fn same_place(one: &str, other: &str) -> bool {
    let place = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_owned();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, uri.host()?.to_ascii_lowercase(), port))
    };
    place(one).is_some() && place(one) == place(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_the_same_place_only() {
        assert!(same_place("https://hq.example/sync", "https://HQ.example:443/alerts?x=1"));
        for other in ["http://hq.example/sync", "https://hq.example:8443/", "https://hq.example.org/", "nonsense"] {
            assert!(!same_place("https://hq.example/sync", other), "{other}");
        }
        assert!(!same_place("nonsense", "nonsense"));
    }

    #[test]
    fn a_chain_spreads_its_posts() {
        let mut random = fastrand::Rng::with_seed(1);
        for (failures, least, most) in [(1, 1, 3), (4, 8, 24), (40, 150, 450)] {
            let wait = pause(failures, &mut random);
            assert!(wait >= Duration::from_secs(least) && wait <= Duration::from_secs(most), "{failures}: {wait:?}");
        }
    }
}
