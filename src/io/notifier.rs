//! Sends alert notifications and heartbeats. Each channel has its own thread, so a hanging one delays neither the
//! others nor the loop. Errors are only logged.
//!
//! - *The state file*, `alert.json`, replaced by rename: the current alerts, for a hook outside the agent's
//!   sandbox.
//! - *The command*, run once per notice, with the notice on its standard input.
//! - *The URL*, posted to for each notice, with the current alerts. After an error it is retried at growing random
//!   intervals, always with the alerts of that time; there is no backlog.
//! - *The heartbeat*, posted when it is due; a failed one is not repeated.
//!
//! A thread starts when it first has something to send, and ends with its sender. A reload creates new senders;
//! what the old ones have not posted yet is posted by the new ones, to the new URL.

use super::clock::since_boot;
use super::command::{self, End};
use super::http::Exchange;
use super::resolve::CachingResolver;
use super::secrets::Secrets;
use super::system;
use crate::agent::Notification;
use crate::config::{Config, Upstream};
use crate::limits::{COMMAND_TIMEOUT, cut};
use crate::policy::ending::Ending;
use crate::wire::delivery::{BodyPart, HeaderValue, HttpRequest, credentials};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use ureq::http::Uri;

/// Stack size of these threads; TLS is on the heap.
const STACK: usize = 256 << 10;
/// Maximum notices queued for the command: more than there are kinds.
const WAITING_NOTICES: usize = 64;

/// The notification channels.
#[derive(Debug)]
pub struct Notifier {
    file: Slot,
    url: Option<Slot>,
    heartbeat: Option<Slot>,
    program: Option<SyncSender<Vec<u8>>>,
    /// The beginning of a heartbeat, which identifies the terminal.
    whose: String,
}

impl Notifier {
    /// Creates the channels that are configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let file = config.agent.state_dir.join("alert.json");
        let post = |url: &Option<String>, name, again| {
            let post = Post::to(url.as_ref()?, config);
            Some(Slot::new(name, move |shared, bell| post.serve(name, again, &shared, &bell)))
        };
        let quoted = |text: &str| Value::from(text).to_string();
        let store_id = config.agent.store_id.as_deref().map_or_else(|| "null".to_owned(), quoted);
        let words = config.alerts.command.clone();
        Self {
            file: Slot::new("alert-file", move |shared, bell| keep_file(&file, &shared, &bell)),
            url: post(&config.alerts.url, "alerts-url", true),
            heartbeat: post(&config.heartbeat.url, "heartbeat", false),
            program: (!words.is_empty()).then(|| tell_program(words)).flatten(),
            whose: format!("{{\"terminal_id\":{},\"store_id\":{store_id},", quoted(&config.agent.terminal_id)),
        }
    }

    /// Applies another configuration.
    pub fn renew(&mut self, config: &Config) {
        let Self { file, url, .. } = std::mem::replace(self, Self::new(config));
        // The path of the state file is unchanged, and two threads must not write it.
        self.file = file;
        if let (Some(old), Some(url)) = (url, &mut self.url) {
            let Latest { text, owed, .. } = old.take();
            url.put(text, owed);
        }
    }

    /// Sends a notification through every configured channel.
    pub fn tell(&mut self, telling: Notification) {
        let Notification { reply, present, notices } = telling;
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

    /// Sends a heartbeat: the reply to `health`, with the terminal's identity.
    pub fn beat(&mut self, health: &[u8]) {
        if let (Some(heartbeat), Some((b'{', fields))) = (&mut self.heartbeat, health.split_first()) {
            heartbeat.put([self.whose.as_bytes(), fields].concat(), true);
        }
    }
}

/// A channel that holds only the newest text for a thread.
struct Slot {
    shared: Shared,
    bell: SyncSender<()>,
    thread: Option<Start>,
}

/// What the thread has to send.
#[derive(Clone, Debug, Default)]
struct Latest {
    text: Vec<u8>,
    /// It was submitted, and has not been sent since.
    owed: bool,
    /// The sender is gone, so this thread has to end.
    gone: bool,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Latest>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text to send now; `None` if the thread has to end.
    fn newest(&self) -> Option<Vec<u8>> {
        let latest = self.lock();
        (!latest.gone).then(|| latest.text.clone())
    }

    /// Records that this text was sent.
    fn told(&self, text: &[u8]) {
        let mut latest = self.lock();
        if latest.text == text {
            latest.owed = false;
        }
    }
}

type Start = Box<dyn FnOnce() -> io::Result<()> + Send>;

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

impl Slot {
    fn new(name: &'static str, work: impl FnOnce(Shared, Receiver<()>) + Send + 'static) -> Self {
        let (bell, rings) = sync_channel(1);
        let shared = Shared::default();
        let theirs = shared.clone();
        let start = move || {
            let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
            thread.spawn(move || work(theirs, rings)).map(drop)
        };
        Self { shared, bell, thread: Some(Box::new(start)) }
    }

    fn put(&mut self, text: Vec<u8>, ring: bool) {
        let mut latest = self.shared.lock();
        latest.text = text;
        latest.owed |= ring;
        drop(latest);
        if !ring {
            return;
        }
        if let Some(start) = self.thread.take()
            && let Err(error) = start()
        {
            log::error!("event=notifier_thread_failed error={:?}", error.to_string());
        }
        // The thread is being woken already.
        let _ = self.bell.try_send(());
    }

    /// Takes back what the thread has not sent, and ends the thread.
    fn take(self) -> Latest {
        let mut latest = self.shared.lock();
        let taken = latest.clone();
        latest.gone = true;
        taken
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.lock().gone = true;
    }
}

// ---- the state file

fn keep_file(file: &Path, shared: &Shared, bell: &Receiver<()>) {
    while bell.recv().is_ok() {
        let text = shared.lock().text.clone();
        if let Err(error) = replace(file, &text) {
            log::warn!("event=alert_file_not_written path={file:?} error={:?}", error.to_string());
        }
    }
}

/// Replaces the file atomically: a reader finds the old text or the new one, also after a power cut.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let beside: PathBuf = file.with_extension("json.new");
    // An existing file is an old one, or another user's link to any place.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    new.write_all(text)?;
    new.sync_all()?;
    fs::rename(&beside, file)
}

// ---- the command

fn tell_program(words: Vec<String>) -> Option<SyncSender<Vec<u8>>> {
    let (program, notices) = sync_channel::<Vec<u8>>(WAITING_NOTICES);
    let thread = thread::Builder::new().name("alert-command".into()).stack_size(STACK);
    let started = thread.spawn(move || {
        while let Ok(notice) = notices.recv() {
            let name = words.first().map_or("", String::as_str);
            match command::run(&words, &notice, COMMAND_TIMEOUT) {
                End::Well => log::debug!("event=alert_command_ended program={name:?}"),
                End::Badly(how) => log::warn!("event=alert_command_failed program={name:?} error={how:?}"),
                End::Killed => log::warn!(
                    "event=alert_command_failed program={name:?} error=\"killed after {} s\"",
                    COMMAND_TIMEOUT.as_secs()
                ),
                End::Never(error) => {
                    log::warn!("event=alert_command_failed program={name:?} error={:?}", error.to_string());
                }
            }
        }
    });
    started
        .inspect_err(|error| log::error!("event=notifier_thread_failed error={:?}", error.to_string()))
        .is_ok()
        .then_some(program)
}

// ---- posts

/// Posts to a URL. If an upstream has the same origin, it uses that upstream's authorities, proxy and credentials.
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
        let request = HttpRequest { headers, ..HttpRequest::bare("POST", url) };
        Self { exchange: Exchange::for_deliveries(&upstream, CachingResolver::default()), request }
    }

    /// Posts the newest text whenever the thread is woken; with `again`, repeats until the post succeeds.
    fn serve(&self, name: &str, again: bool, shared: &Shared, bell: &Receiver<()>) {
        let mut random = fastrand::Rng::with_seed(system::seed().unwrap_or_default());
        let mut failures = 0_u32;
        while bell.recv().is_ok() {
            loop {
                let Some(text) = shared.newest() else { return };
                let Err(why) = self.send(text.clone()) else {
                    shared.told(&text);
                    failures = 0;
                    break;
                };
                // Logs the first failure only, not one every few minutes.
                if failures == 0 {
                    log::warn!("event=alert_post_failed to={name} error={:?}", cut(&why, 200));
                }
                failures = failures.saturating_add(1);
                if !again {
                    break;
                }
                // Later alerts are included in the next post.
                if has_ended(bell, pause(failures, &mut random)) {
                    return;
                }
            }
        }
    }

    fn send(&self, body: Vec<u8>) -> Result<(), String> {
        let request = HttpRequest { body: vec![BodyPart::Bytes(body)], ..self.request.clone() };
        match self.exchange.send(&request, &Secrets::default(), &[]) {
            Ending::Answered(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ending::Answered(answer) => Err(format!("HTTP {}", answer.status)),
            Ending::NotSent(_, why) | Ending::Broken(_, why) | Ending::InvalidRequest(why) => Err(why),
            Ending::LoginError(end) => Err(end.error),
        }
    }
}

/// Waits for this time, regardless of wake-ups. Returns true if the sender is gone, so that this thread has to end.
fn has_ended(bell: &Receiver<()>, time: Duration) -> bool {
    let end = since_boot().saturating_add(time);
    loop {
        let left = end.saturating_sub(since_boot());
        match bell.recv_timeout(left) {
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
            Ok(()) => {}
        }
    }
}

/// Delay after this number of failures; random, so that the terminals of a chain do not all post at once when the
/// connection is back.
fn pause(failures: u32, random: &mut fastrand::Rng) -> Duration {
    const FIRST: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(300);
    let base = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST);
    base.mul_f64(0.5 + random.f64())
}

/// Returns whether scheme, host and port are equal: then both may use the same credentials.
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
