//! Requests and probes to one upstream, on threads: one for each request in flight, kept for the
//! next one, and one for probes.

use super::clock::{Clock, since_boot, wall};
use super::http::Exchange;
use super::inbox::Outbox;
use super::login::{NoSession, Session};
use super::queue::{Following, Queue, Waiting};
use super::resolve::CachingResolver;
use super::secrets::Secrets;
use crate::agent::{Dispatch, Event, Finding, Step, StepKind};
use crate::config::Upstream;
use crate::ids::Seq;
use crate::policy::class::{BreakFault, Class, Ending, LineFault, Target, classify};
use crate::policy::probe::ProbeEnd;
use crate::policy::reading::Reading;
use crate::wire::delivery::HttpRequest;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What a thread has to say to the agent.
#[derive(Debug)]
pub struct Report {
    /// To whose threads it belongs.
    pub upstream: usize,
    /// To which of them, when there were others before.
    pub serial: u64,
    /// What has happened.
    pub event: Event<'static>,
}

/// Requests that are held ready for each that may be under way, at most: half of them are done on a local
/// network while a commit of as many outcomes runs, and the other half while the agent claims anew.
pub const HELD_READY: usize = 32;

/// What a sender's thread needs of memory: TLS and the client's buffers are on the heap.
const STACK: usize = 256 << 10;

/// The threads of one upstream.
#[derive(Debug)]
pub struct Senders<T> {
    index: usize,
    serial: u64,
    upstream: Upstream,
    messenger: Arc<Messenger>,
    prober: Arc<Exchange>,
    queue: Arc<Queue<Dispatch>>,
    clock: Clock,
    outbox: Outbox<T>,
    wrap: fn(Report) -> T,
    threads: usize,
    busy: usize,
}

impl<T: Send + 'static> Senders<T> {
    /// Threads start when there is work for them. `serial`: a number that no senders had before.
    #[must_use]
    pub fn new(
        index: usize,
        serial: u64,
        upstream: &Upstream,
        clock: Clock,
        (outbox, wrap): (Outbox<T>, fn(Report) -> T),
    ) -> Self {
        let resolver = CachingResolver::default();
        Self {
            index,
            serial,
            upstream: upstream.clone(),
            messenger: Arc::new(Messenger::new(upstream, resolver.clone())),
            prober: Arc::new(Exchange::for_probes(upstream, resolver)),
            queue: Arc::new(Queue::new()),
            clock,
            outbox,
            wrap,
            threads: 0,
            busy: 0,
        }
    }

    /// Sends a request, or holds it ready; its end comes as a report.
    pub fn send(&mut self, dispatch: Dispatch) {
        if dispatch.ahead {
            self.queue.with(|waiting| waiting.hold(dispatch));
        } else if self.occupy(1) {
            self.queue.with(|waiting| waiting.push(dispatch));
        } else {
            let ending = Ending::NotSent(LineFault::NoConnection, "no thread could be started".into());
            let step = Step { kind: StepKind::Deliver, ending, took: Duration::ZERO };
            let event = Event::Tried { seq: dispatch.seq, steps: vec![step] };
            self.outbox.send((self.wrap)(Report { upstream: self.index, serial: self.serial, event }));
        }
    }

    /// Sends of what is held ready at most `most`; which ones.
    pub fn advance(&mut self, most: usize) -> Vec<Seq> {
        let mut seqs = Vec::new();
        // Requests are held ready only behind others that are under way, so there are threads.
        self.queue.with(|waiting| waiting.advance(most, |dispatch| seqs.push(dispatch.seq)));
        self.occupy(seqs.len());
        seqs
    }

    /// Gives back what is held ready.
    #[must_use]
    pub fn recall(&self) -> Vec<Seq> {
        let back = self.queue.with(Waiting::recall);
        back.into_iter().map(|dispatch| dispatch.seq).collect()
    }

    /// There is work for so many more threads; false when there is no thread at all.
    fn occupy(&mut self, more: usize) -> bool {
        self.busy += more;
        while self.busy > self.threads {
            if !self.hire() {
                return self.threads > 0;
            }
        }
        true
    }

    /// Is it a report of these, not of threads that were here before?
    #[must_use]
    pub fn sent(&self, report: &Report) -> bool {
        self.serial == report.serial
    }

    /// A report of one of these threads has come.
    pub fn heard(&mut self, event: &Event) {
        match event {
            Event::Tried { .. } => self.busy = self.busy.saturating_sub(1),
            Event::Begun { .. } => self.busy += 1,
            _ => {}
        }
    }

    fn hire(&mut self) -> bool {
        let (index, serial, wrap) = (self.index, self.serial, self.wrap);
        let (outbox, clock) = (self.outbox.clone(), self.clock);
        let (messenger, queue) = (Arc::clone(&self.messenger), Arc::clone(&self.queue));
        let thread = thread::Builder::new().name(format!("sender-{}", self.upstream.name)).stack_size(STACK);
        let hired = thread.spawn(move || {
            let told = |event| wrap(Report { upstream: index, serial, event });
            let mut next = queue.take();
            while let Some(dispatch) = next {
                let logging_in = |is| outbox.send(told(Event::LoggingIn { upstream: index, is }));
                let steps = messenger.carry(&dispatch, &logging_in);
                let (following, before) =
                    if messenger.was_accepted(&steps) { follow(&queue, &clock) } else { (None, give_back(&queue)) };
                let end = Event::Tried { seq: dispatch.seq, steps };
                outbox.send_all(before.into_iter().chain([end]).map(told));
                next = following.or_else(|| queue.take());
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
        let (prober, messenger) = (Arc::clone(&self.prober), Arc::clone(&self.messenger));
        let (probe, outbox) = (self.upstream.probe.clone(), self.outbox.clone());
        let (index, serial, wrap) = (self.index, self.serial, self.wrap);
        let report = move |end, date| {
            wrap(Report { upstream: index, serial, event: Event::Probed { upstream: index, end, date } })
        };
        let thread = thread::Builder::new().name(format!("probe-{}", self.upstream.name)).stack_size(STACK);
        let started = thread.spawn(move || {
            let begun = since_boot();
            let request = HttpRequest {
                method: probe.method.as_str(),
                url: probe.url.clone(),
                headers: Vec::new(),
                body: Vec::new(),
            };
            let ending = guarded(|| prober.send(&request, &messenger.secrets, &[]));
            let took = since_boot().saturating_sub(begun);
            let date = if let Ending::Answered(answer) = &ending { answer.date } else { None };
            let end = ProbeEnd::of(ending, took, &Target::of(&probe.url), wall());
            outbox.send(report(end, date));
        });
        if let Err(error) = started {
            let reason = format!("no thread could be started: {error}");
            self.outbox.send(report(ProbeEnd::Silence { reason }, None));
        }
    }
}

/// What goes in the place of a request that was accepted, and what is told of that before its end is.
fn follow(queue: &Queue<Dispatch>, clock: &Clock) -> (Option<Dispatch>, Option<Event<'static>>) {
    match queue.with(Waiting::follow) {
        Following::Ready(next) => {
            let begun = Event::Begun { seq: next.seq, at: clock.now().agent };
            (Some(next), Some(begun))
        }
        Following::Turn(next) => (Some(next), None),
        Following::Nothing => (None, None),
    }
}

/// Nothing goes ahead of its turn after an end that is no acceptance.
fn give_back(queue: &Queue<Dispatch>) -> Option<Event<'static>> {
    let back = queue.with(Waiting::recall);
    (!back.is_empty()).then(|| Event::Unsent(back.iter().map(|dispatch| dispatch.seq).collect()))
}

impl<T> Drop for Senders<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Sends one request by itself, with everything that belongs to it; for `try`.
#[must_use]
pub fn send_once(upstream: &Upstream, request: &HttpRequest) -> Ending {
    Messenger::new(upstream, CachingResolver::default()).send(request, &|_| ())
}

/// Carries a request to an upstream: asks first where that is wanted, logs in where that is needed.
#[derive(Debug)]
struct Messenger {
    upstream: Upstream,
    target: Target,
    exchange: Exchange,
    secrets: Secrets,
    session: Option<Session>,
}

impl Messenger {
    fn new(upstream: &Upstream, resolver: CachingResolver) -> Self {
        Self {
            exchange: Exchange::for_deliveries(upstream, resolver),
            secrets: Secrets::default(),
            session: upstream.credentials.login.clone().map(Session::new),
            target: Target::of(&upstream.url),
            upstream: upstream.clone(),
        }
    }

    /// Verifies, if that is asked for, and delivers, unless it was found. Tells when a login begins
    /// and has ended.
    fn carry(&self, dispatch: &Dispatch, logging_in: &dyn Fn(bool)) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(question) = &dispatch.verify {
            let (ending, took) = self.timed(&question.request, logging_in);
            let finding = question.finding(&ending, &self.reading());
            steps.push(Step { kind: StepKind::Verify(finding), ending, took });
            if finding != Finding::NotThere {
                return steps;
            }
        }
        let (ending, took) = self.timed(&dispatch.request, logging_in);
        steps.push(Step { kind: StepKind::Deliver, ending, took });
        steps
    }

    /// Was the failure accepted, as far as a sender can tell? A no where the agent finds a yes only makes
    /// others wait for the agent's word.
    fn was_accepted(&self, steps: &[Step]) -> bool {
        let Some(Step { kind: StepKind::Deliver, ending, .. }) = steps.last() else { return false };
        classify(ending, &self.target, &self.reading(), wall()).class == Class::Delivered
    }

    /// How this upstream's own words are heard, whatever the request was.
    fn reading(&self) -> Reading<'_> {
        Reading { upstream: &self.upstream, route: None, id: "", key: "" }
    }

    fn timed(&self, request: &HttpRequest, logging_in: &dyn Fn(bool)) -> (Ending, Duration) {
        let begun = since_boot();
        let ending = guarded(|| self.send(request, logging_in));
        (ending, since_boot().saturating_sub(begun))
    }

    /// One request; where the session has ended, one login and the request again.
    fn send(&self, request: &HttpRequest, logging_in: &dyn Fn(bool)) -> Ending {
        let Some(session) = &self.session else { return self.exchange.send(request, &self.secrets, &[]) };
        let mut ended = None;
        loop {
            let ticket = match session.ticket(&self.exchange, &self.secrets, ended, logging_in) {
                Ok(ticket) => ticket,
                Err(NoSession::Line(ending)) => return *ending,
                Err(NoSession::Refused(why)) => return Ending::NotSent(LineFault::Credentials, why),
            };
            let ending = self.exchange.send(request, &self.secrets, &ticket.headers);
            match &ending {
                Ending::Answered(answer) if ended.is_none() && self.reading().login_ended(answer) => {
                    ended = Some(ticket.generation);
                }
                _ => return ending,
            }
        }
    }
}

/// A bug in one exchange must not leave its failure in flight for ever.
fn guarded(work: impl FnOnce() -> Ending) -> Ending {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Ending::Broken(BreakFault::Reset, "the sender stopped on a bug; see the log".into()))
}
