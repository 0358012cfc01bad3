//! The thread that asks the agent: once a second, one question after the other, and what a person has
//! wished for in between.
//!
//! One thread and one connection, so that nothing can pile up: the next round begins when the last
//! one is answered, and not before a hundred times what that has taken (ten seconds at most), so that a
//! busy terminal spends about a hundredth of its time on being watched. Where nobody takes the
//! news, as on a line that has stopped, nothing more is asked.

use super::seen::Seen;
use super::sieve::Sieve;
use crate::cli::Failure;
use crate::cli::operate::{self, Many};
use crate::cli::render::Screen;
use crate::cli::session::Session;
use crate::cli::show;
use crate::figures::snapshot::{Failures, Part, Snapshot};
use crate::io::clock::{since_boot, wall};
use serde_json::json;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Between two rounds, at least; and at most, whatever a round has taken.
const EVERY: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(10);
/// The share of the time that questions may take.
const SHARE: u32 = 100;
/// Between two questions for what changes slowly, at least; the same share holds.
const SLOWLY: Duration = Duration::from_secs(5);
/// How long an answer may take before that is said.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far back errors are looked for.
const ERRORS_OF: Duration = Duration::from_secs(24 * 3600);

/// What a person wishes for.
#[derive(Debug)]
pub(super) enum Wish {
    /// To see these from now on.
    See(Sieve),
    /// All that is told of a failure, in so many columns.
    Page { id: String, columns: usize },
    /// Something done to it.
    Deed { id: String, what: Many, reason: Option<String> },
}

/// What comes back.
#[derive(Debug)]
pub(super) enum News {
    /// How it stands.
    Seen(Box<Seen>),
    /// Neither the agent nor its store has answered, and why.
    Silent(String),
    /// The page that was wished for.
    Page { id: String, lines: Vec<String> },
    /// What came of a deed, or why a wish could not be fulfilled.
    Said(String),
}

/// The near end of the thread.
#[derive(Debug)]
pub(super) struct Asking {
    wishes: Sender<Wish>,
    pub(super) news: Receiver<News>,
    /// Readable when there is news; at its end when the thread has gone.
    pub(super) bell: UnixStream,
}

impl Asking {
    /// Looks once, so that a command that cannot watch anything says so in the ordinary way, and then goes
    /// on looking on a thread.
    pub(super) fn start(mut session: Session) -> Result<(Self, Seen), Failure> {
        session.patience = Some(PATIENCE);
        let (wishes, orders) = channel();
        // One piece of news waits at most.
        let (send, news) = sync_channel(1);
        let (bell, rope) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let (sieve, snapshot) = (Sieve::default(), Snapshot::default());
        let mut asker = Asker { session, orders, news: send, rope, sieve, snapshot, slowly_at: Duration::ZERO };
        asker.look_slowly()?;
        let first = asker.look()?;
        thread::Builder::new().name("asking".into()).spawn(move || asker.work())?;
        Ok((Self { wishes, news, bell }, first))
    }

    /// Wishes for something. A thread that has gone is told by the bell.
    pub(super) fn wish(&self, wish: Wish) {
        let _ = self.wishes.send(wish);
    }
}

/// How long to do nothing, after what has begun then.
fn rest(begun: Duration, least: Duration) -> Duration {
    (since_boot().saturating_sub(begun) * SHARE).clamp(least, AT_MOST)
}

struct Asker {
    session: Session,
    orders: Receiver<Wish>,
    news: SyncSender<News>,
    rope: UnixStream,
    sieve: Sieve,
    snapshot: Snapshot,
    /// When what changes slowly is asked for again, since the machine started: alerts, the series, the
    /// history's digest.
    slowly_at: Duration,
}

impl Asker {
    /// Until nobody listens any more.
    fn work(mut self) {
        let mut wait = EVERY;
        loop {
            let news = match self.orders.recv_timeout(wait) {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => None,
                Ok(Wish::See(sieve)) => {
                    self.sieve = sieve;
                    None
                }
                Ok(Wish::Page { id, columns }) => Some(self.page(id, columns)),
                Ok(Wish::Deed { id, what, reason }) => {
                    self.slowly_at = Duration::ZERO;
                    let done = operate::one(&self.session, what, &id, reason.as_deref());
                    Some(News::Said(done.unwrap_or_else(|failure| failure.to_string())))
                }
            };
            if let Some(news) = news
                && !self.tell(news)
            {
                return;
            }
            let slowly = if since_boot() >= self.slowly_at { self.look_slowly() } else { Ok(()) };
            let begun = since_boot();
            let seen = match slowly.and_then(|()| self.look()) {
                Ok(seen) => News::Seen(Box::new(seen)),
                Err(failure) => News::Silent(failure.to_string()),
            };
            wait = rest(begun, EVERY);
            if !self.tell(seen) {
                return;
            }
        }
    }

    /// Tells the news and rings; `false` when nobody is there.
    fn tell(&mut self, news: News) -> bool {
        self.news.send(news).is_ok() && self.rope.write_all(b"!").is_ok()
    }

    /// One round of questions.
    fn look(&mut self) -> Result<Seen, Failure> {
        self.session.fill(&mut self.snapshot, Part::Health, &Part::Health.question(wall()))?;
        let live = self.snapshot.health.live;
        let (mut failures, mut matching) = (Vec::new(), Some(0));
        self.snapshot.critical = Failures::default();
        for question in self.sieve.questions(live) {
            let page = Failures::read(self.session.quietly(&question)?.value).map_err(Failure::Failed)?;
            if question["status"] == "critical" {
                self.snapshot.critical.failures = page.failures.iter().take(1).cloned().collect();
            }
            let total = page.total.unwrap_or_default();
            matching = matching.filter(|_| !self.sieve.looks_at_rows()).map(|sum| sum + total);
            failures.extend(page.failures.into_iter().filter(|row| self.sieve.lets(row)));
        }
        if self.snapshot.critical.failures.is_empty() && live.critical > 0 {
            let newest = json!({"op": "list", "status": "critical", "order": "desc", "limit": 1});
            self.session.fill(&mut self.snapshot, Part::Critical, &newest)?;
        }
        let terminal = self.session.config.agent.terminal_id.clone();
        Ok(Seen { terminal, snapshot: self.snapshot.clone(), failures, matching })
    }

    /// What is not asked for in every round.
    fn look_slowly(&mut self) -> Result<(), Failure> {
        let begun = since_boot();
        let digest = json!({"op": "digest", "since": wall().before(ERRORS_OF).rfc3339()});
        for (part, question) in [
            (Part::Alerts, Part::Alerts.question(wall())),
            (Part::Day, Part::Day.question(wall())),
            (Part::Digest, digest),
        ] {
            self.session.fill(&mut self.snapshot, part, &question)?;
        }
        self.snapshot.alerts.alerts.retain(|alert| alert.active);
        self.snapshot.digest.errors.sort_by(|a, b| b.last_at.cmp(&a.last_at));
        self.slowly_at = since_boot() + rest(begun, SLOWLY);
        Ok(())
    }

    fn page(&mut self, id: String, columns: usize) -> News {
        self.session.screen = Screen::unpainted(columns);
        let mut page = Vec::new();
        match show::page(&self.session, &mut page, &id) {
            Ok(()) => {
                let lines = String::from_utf8_lossy(&page).lines().map(str::to_owned).collect();
                News::Page { id, lines }
            }
            Err(failure) => News::Said(failure.to_string()),
        }
    }
}
