//! Requests and probes to one upstream, on threads: one for each request in flight, kept for the
//! next one, and one for probes.

use super::clock::since_boot;
use super::http::Client;
use super::inbox::Outbox;
use crate::agent::{Dispatch, Event};
use crate::config::Upstream;
use crate::ids::Seq;
use crate::moment::WallTime;
use crate::policy::class::{BreakFault, Ending, Target};
use crate::policy::probe::ProbeEnd;
use crate::wire::envelope::HttpRequest;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What a thread reports.
#[derive(Debug)]
pub enum Report {
    /// A request has ended.
    Tried {
        /// To which upstream.
        upstream: usize,
        /// Of which failure.
        seq: Seq,
        /// How.
        ending: Ending,
        /// How long it took.
        took: Duration,
    },
    /// A probe has ended.
    Probed {
        /// Of which upstream.
        upstream: usize,
        /// How.
        end: ProbeEnd,
        /// The upstream's clock.
        date: Option<WallTime>,
    },
}

impl Report {
    /// As the agent takes it.
    #[must_use]
    pub fn event(self) -> Event<'static> {
        match self {
            Self::Tried { seq, ending, took, .. } => Event::Tried { seq, ending, took },
            Self::Probed { upstream, end, date } => Event::Probed { upstream, end, date },
        }
    }
}

/// The threads of one upstream.
#[derive(Debug)]
pub struct Senders<T> {
    index: usize,
    upstream: Upstream,
    client: Client,
    prober: Client,
    work: Sender<(Seq, HttpRequest)>,
    waiting: Arc<Mutex<Receiver<(Seq, HttpRequest)>>>,
    outbox: Outbox<T>,
    wrap: fn(Report) -> T,
    threads: usize,
    busy: usize,
}

/// What a sender's thread needs of memory: TLS and the client's buffers are on the heap.
const STACK: usize = 256 << 10;

impl<T: Send + 'static> Senders<T> {
    /// Threads start when there is work for them.
    #[must_use]
    pub fn new(index: usize, upstream: &Upstream, outbox: Outbox<T>, wrap: fn(Report) -> T) -> Self {
        let (work, waiting) = channel();
        Self {
            index,
            upstream: upstream.clone(),
            client: Client::for_deliveries(upstream),
            prober: Client::for_probes(upstream),
            work,
            waiting: Arc::new(Mutex::new(waiting)),
            outbox,
            wrap,
            threads: 0,
            busy: 0,
        }
    }

    /// Sends a request; its end comes as a report.
    pub fn send(&mut self, dispatch: Dispatch) {
        self.busy += 1;
        if self.busy > self.threads && !self.hire() && self.threads == 0 {
            let ending =
                Ending::NotSent(crate::policy::class::LineFault::NoConnection, "no thread could be started".into());
            let report = Report::Tried { upstream: self.index, seq: dispatch.seq, ending, took: Duration::ZERO };
            self.outbox.send((self.wrap)(report));
            return;
        }
        // The receiver lives as long as this does.
        let _ = self.work.send((dispatch.seq, dispatch.request));
    }

    /// A report of one of these threads has come.
    pub fn done(&mut self) {
        self.busy = self.busy.saturating_sub(1);
    }

    fn hire(&mut self) -> bool {
        let (client, waiting, outbox) = (self.client.clone(), Arc::clone(&self.waiting), self.outbox.clone());
        let (index, wrap) = (self.index, self.wrap);
        let thread = thread::Builder::new().name(format!("sender-{}", self.upstream.name)).stack_size(STACK);
        let hired = thread.spawn(move || {
            loop {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((seq, request)) = next else { return };
                let begun = since_boot();
                let ending = guarded(|| client.send(request));
                let took = since_boot().saturating_sub(begun);
                outbox.send(wrap(Report::Tried { upstream: index, seq, ending, took }));
            }
        });
        if let Err(error) = &hired {
            log::error!("event=no_sender upstream={} error={:?}", self.upstream.name, error.to_string());
        }
        self.threads += usize::from(hired.is_ok());
        hired.is_ok()
    }

    /// Asks the upstream whether it is there; the agent has one such question at a time.
    pub fn probe(&self) {
        let (prober, upstream, outbox) = (self.prober.clone(), self.upstream.clone(), self.outbox.clone());
        let (index, wrap) = (self.index, self.wrap);
        let silent = |reason: String| Report::Probed { upstream: index, end: ProbeEnd::Silence { reason }, date: None };
        let thread = thread::Builder::new().name(format!("probe-{}", self.upstream.name)).stack_size(STACK);
        let started = thread.spawn(move || {
            let begun = since_boot();
            let ending = guarded(|| prober.ask(upstream.probe_method.as_str(), &upstream.probe_url));
            let took = since_boot().saturating_sub(begun);
            let date = if let Ending::Answered(answer) = &ending { answer.date } else { None };
            let end = ProbeEnd::of(ending, took, &Target::of(&upstream.probe_url));
            outbox.send(wrap(Report::Probed { upstream: index, end, date }));
        });
        if let Err(error) = started {
            self.outbox.send((self.wrap)(silent(format!("no thread could be started: {error}"))));
        }
    }
}

/// A bug in one exchange must not leave its failure in flight for ever.
fn guarded(work: impl FnOnce() -> Ending) -> Ending {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Ending::Broken(BreakFault::Reset, "the sender stopped on a bug; see the log".into()))
}
