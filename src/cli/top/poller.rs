//! The thread that queries the agent: once a second, one query after the other, with the operator's requests in
//! between.
//!
//! One thread and one connection, so that nothing can pile up: the next round begins after the last one was answered,
//! and not before a hundred times its duration (at most ten seconds), so that a busy terminal spends about a hundredth
//! of its time on being watched. If the screen does not take the results, for example on a stalled connection, no
//! further query is sent.

use super::filter::RowFilter;
use super::seen::Seen;
use crate::cli::Failure;
use crate::cli::deeds;
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

/// Minimum time between two rounds, and its maximum however long a round took.
const EVERY: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(10);
/// Queries may take one part in this many of the time.
const SHARE: u32 = 100;
/// Minimum time between two queries for slowly changing data; the same share applies.
const SLOWLY: Duration = Duration::from_secs(5);
/// Period that is searched for errors.
const ERRORS_OF: Duration = Duration::from_secs(24 * 3600);

/// A request of the operator.
#[derive(Debug)]
pub(super) enum Wish {
    /// Apply this filter.
    See(RowFilter),
    /// Show a failure's page, formatted for this many columns.
    Page { id: String, columns: usize },
    /// Run an operation on a failure.
    BulkAction { id: String, what: Many, reason: Option<String> },
}

/// A result of the thread.
#[derive(Debug)]
pub(super) enum News {
    /// A new snapshot.
    Seen(Box<Seen>),
    /// Neither the agent nor its store answered, and why.
    Silent(String),
    /// The requested page.
    Page { id: String, lines: Vec<String> },
    /// The result of an operation, or why a request failed.
    Said(String),
}

/// The screen's end of the channel to the thread.
#[derive(Debug)]
pub(super) struct Asking {
    wishes: Sender<Wish>,
    pub(super) news: Receiver<News>,
    /// Readable when there is a result; at its end after the thread has ended.
    pub(super) bell: UnixStream,
}

impl Asking {
    /// Queries once, so that a command that cannot watch anything fails in the ordinary way, and then starts the
    /// thread.
    pub(super) fn start(session: Session) -> Result<(Self, Seen), Failure> {
        let (wishes, orders) = channel();
        // At most one result waits.
        let (send, news) = sync_channel(1);
        let (bell, rope) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let (sieve, snapshot) = (RowFilter::default(), Snapshot::default());
        let mut asker = Asker { session, orders, news: send, rope, sieve, snapshot, slowly_at: Duration::ZERO };
        asker.look_slowly()?;
        let first = asker.look()?;
        thread::Builder::new().name("asking".into()).spawn(move || asker.work())?;
        Ok((Self { wishes, news, bell }, first))
    }

    /// Sends a request. If the thread has ended, the bell reports that.
    pub(super) fn wish(&self, wish: Wish) {
        let _ = self.wishes.send(wish);
    }
}

/// The pause after work that began at `begun`.
fn rest(begun: Duration, least: Duration) -> Duration {
    (since_boot().saturating_sub(begun) * SHARE).clamp(least, AT_MOST)
}

struct Asker {
    session: Session,
    orders: Receiver<Wish>,
    news: SyncSender<News>,
    rope: UnixStream,
    sieve: RowFilter,
    snapshot: Snapshot,
    /// When slowly changing data is queried again, since boot: alerts, the series, the history's digest.
    slowly_at: Duration,
}

impl Asker {
    /// Runs until the screen's end is closed.
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
                Ok(Wish::BulkAction { id, what, reason }) => {
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

    /// Sends a result and wakes the screen; `false` if its end is closed.
    fn tell(&mut self, news: News) -> bool {
        self.news.send(news).is_ok() && self.rope.write_all(b"!").is_ok()
    }

    /// One round of queries.
    fn look(&mut self) -> Result<Seen, Failure> {
        self.session.fill(&mut self.snapshot, Part::Health, &Part::Health.question(wall()))?;
        let session = &self.session;
        deeds::name_pauses(&mut self.snapshot.health, &mut |request| {
            session.quietly(request).ok().map(|reply| reply.value)
        });
        let live = self.snapshot.health.live;
        let (mut failures, mut matching) = (Vec::new(), Some(0));
        self.snapshot.critical = Failures::default();
        for question in self.sieve.questions(live) {
            let page = Failures::read(self.session.quietly(&question)?.value).map_err(Failure::Failed)?;
            let total = page.total.unwrap_or_default();
            matching = matching.filter(|_| !self.sieve.looks_at_rows()).map(|sum| sum + total);
            failures.extend(page.failures.into_iter().filter(|row| self.sieve.lets(row)));
        }
        if live.critical > 0 {
            let oldest = json!({"op": "list", "status": "critical", "limit": 1});
            self.session.fill(&mut self.snapshot, Part::Critical, &oldest)?;
        }
        let terminal = self.session.config.agent.terminal_id.clone();
        Ok(Seen { terminal, snapshot: self.snapshot.clone(), failures, matching })
    }

    /// Queries that do not run in every round.
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
        self.session.screen = Screen::unpainted(columns, usize::MAX);
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
