//! Requests and probes to one upstream, on threads: one for each request in flight, kept for the next one, and one
//! for probes.

use super::clock::{Clock, since_boot, wall};
use super::course;
use super::http::Exchange;
use super::inbox::Outbox;
use super::login::Session;
use super::queue::{Following, Queue, Waiting};
use super::resolve::CachingResolver;
use super::secrets::Secrets;
use crate::agent::{Dispatch, Event, Finding, Step, StepKind};
use crate::config::Upstream;
use crate::config::upstream::{Probe, ProbeMethod};
use crate::ids::Seq;
use crate::policy::answer_rules::Reading;
use crate::policy::body::is_typed_html;
use crate::policy::class::{Class, classify};
use crate::policy::ending::Answer;
use crate::policy::ending::ConnectError;
use crate::policy::ending::Ending;
use crate::policy::ending::InterruptKind;
use crate::policy::ending::Target;
use crate::policy::probe::ProbeEnd;
use crate::wire::delivery::HttpRequest;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A report of a thread to the agent.
#[derive(Debug)]
pub struct Report {
    /// Index of the upstream.
    pub upstream: usize,
    /// Identifies the sender pool, because reloads replace pools.
    pub serial: u64,
    /// What has happened.
    pub event: Event<'static>,
}

/// Maximum prefetched requests for each one that may be in flight: on a local network, half of them end during the
/// commit of as many outcomes, and the other half while the agent claims more.
pub const MAX_PREFETCH_PER_SLOT: usize = 32;

/// Stack size of a sender thread: TLS and the client's buffers are on the heap.
const STACK: usize = 256 << 10;

/// The sender threads of one upstream.
#[derive(Debug)]
pub struct SenderPool<T> {
    index: usize,
    serial: u64,
    upstream: Upstream,
    messenger: Arc<DeliveryWorker>,
    prober: Arc<Exchange>,
    queue: Arc<Queue<Dispatch>>,
    clock: Clock,
    outbox: Outbox<T>,
    wrap: fn(Report) -> T,
    threads: usize,
    busy: usize,
}

impl<T: Send + 'static> SenderPool<T> {
    /// Creates the pool; threads start on demand. `serial`: a number that no pool had before.
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
            messenger: Arc::new(DeliveryWorker::new(upstream, resolver.clone())),
            prober: Arc::new(Exchange::for_probes(upstream, resolver)),
            queue: Arc::new(Queue::new()),
            clock,
            outbox,
            wrap,
            threads: 0,
            busy: 0,
        }
    }

    /// Sends a request, or queues it as prefetched; its end is reported.
    pub fn send(&mut self, dispatch: Dispatch) {
        if dispatch.ahead {
            self.queue.with(|waiting| waiting.hold(dispatch));
        } else if self.assign(1) {
            self.queue.with(|waiting| waiting.push(dispatch));
        } else {
            let ending = Ending::NotSent(ConnectError::NoConnection, "no thread could be started".into());
            let step = Step { kind: StepKind::Deliver, ending, took: Duration::ZERO };
            let event = Event::AttemptEnded { seq: dispatch.seq, steps: vec![step] };
            self.outbox.send((self.wrap)(Report { upstream: self.index, serial: self.serial, event }));
        }
    }

    /// Releases at most `most` prefetched requests; returns which.
    pub fn advance(&mut self, most: usize) -> Vec<Seq> {
        let mut seqs = Vec::new();
        // Requests are only prefetched while others are in flight, so threads exist.
        self.queue.with(|waiting| waiting.advance(most, |dispatch| seqs.push(dispatch.seq)));
        self.assign(seqs.len());
        seqs
    }

    /// Takes back all prefetched requests.
    #[must_use]
    pub fn recall(&self) -> Vec<Seq> {
        let back = self.queue.with(Waiting::recall);
        back.into_iter().map(|dispatch| dispatch.seq).collect()
    }

    /// Makes sure of threads for this many more requests; false if there is no thread at all.
    fn assign(&mut self, more: usize) -> bool {
        self.busy += more;
        while self.busy > self.threads {
            if !self.spawn_sender() {
                return self.threads > 0;
            }
        }
        true
    }

    /// Returns whether it is a report of this pool, not of an earlier one.
    #[must_use]
    pub fn sent(&self, report: &Report) -> bool {
        self.serial == report.serial
    }

    /// Updates the pool from a report of one of its threads.
    pub fn heard(&mut self, event: &Event) {
        match event {
            Event::AttemptEnded { .. } => self.busy = self.busy.saturating_sub(1),
            Event::Begun { .. } => self.busy += 1,
            _ => {}
        }
    }

    fn spawn_sender(&mut self) -> bool {
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
                    if messenger.was_accepted(&steps) { follow(&queue, &clock) } else { (None, refund(&queue)) };
                let end = Event::AttemptEnded { seq: dispatch.seq, steps };
                outbox.send_all(before.into_iter().chain([end]).map(told));
                next = following.or_else(|| queue.take());
            }
        });
        if let Err(error) = &hired {
            log::error!("event=sender_thread_failed upstream={} error={:?}", self.upstream.name, error.to_string());
        }
        self.threads += usize::from(hired.is_ok());
        hired.is_ok()
    }

    /// An operator resumed the upstream or reloaded the configuration: the next request that needs a session logs
    /// in, even after a rejected login.
    pub fn log_in_again(&self) {
        if let Some(session) = &self.messenger.session {
            session.try_again();
        }
    }

    /// Sends a probe; the agent has at most one in flight.
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
            let ending = guarded(|| ask(&prober, &probe, &messenger.secrets));
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

/// The request that follows an accepted one; for a prefetched one also the event to report before that end.
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

/// After an end that is not an acceptance, prefetched requests must not be sent.
fn refund(queue: &Queue<Dispatch>) -> Option<Event<'static>> {
    let back = queue.with(Waiting::recall);
    (!back.is_empty()).then(|| Event::Unsent(back.iter().map(|dispatch| dispatch.seq).collect()))
}

impl<T> Drop for SenderPool<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Sends one request without a pool, with a login if necessary; for `try`.
#[must_use]
pub fn send_once(upstream: &Upstream, request: &HttpRequest) -> Ending {
    let messenger = DeliveryWorker::new(upstream, CachingResolver::default());
    guarded(|| messenger.send(request, &|_| ()))
}

/// Delivers requests to an upstream: verifies first if requested, and logs in if necessary.
#[derive(Debug)]
struct DeliveryWorker {
    upstream: Upstream,
    target: Target,
    exchange: Exchange,
    secrets: Secrets,
    session: Option<Session>,
}

impl DeliveryWorker {
    fn new(upstream: &Upstream, resolver: CachingResolver) -> Self {
        Self {
            exchange: Exchange::for_deliveries(upstream, resolver),
            secrets: Secrets::default(),
            session: upstream.credentials.login.clone().map(Session::new),
            target: Target::of(&upstream.url),
            upstream: upstream.clone(),
        }
    }

    /// Verifies if requested, and delivers unless the failure was found. Calls `logging_in` when a login begins and
    /// when it has ended.
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

    /// Returns whether the failure was accepted, as far as a sender can judge. A false negative only delays other
    /// requests until the agent has decided.
    fn was_accepted(&self, steps: &[Step]) -> bool {
        let Some(Step { kind: StepKind::Deliver, ending, .. }) = steps.last() else { return false };
        classify(ending, &self.target, &self.reading(), wall()).class == Class::Delivered
    }

    /// The upstream's answer rules, independent of any request.
    fn reading(&self) -> Reading<'_> {
        Reading { upstream: &self.upstream, route: None, id: "", key: "" }
    }

    fn timed(&self, request: &HttpRequest, logging_in: &dyn Fn(bool)) -> (Ending, Duration) {
        let begun = since_boot();
        let ending = guarded(|| self.send(request, logging_in));
        (ending, since_boot().saturating_sub(begun))
    }

    /// Sends one request; if the session has ended, logs in once and repeats the request.
    fn send(&self, request: &HttpRequest, logging_in: &dyn Fn(bool)) -> Ending {
        let Some(session) = &self.session else { return self.exchange.send(request, &self.secrets, &[]) };
        let mut ended = None;
        loop {
            let ticket = match session.ticket(&self.exchange, &self.secrets, ended, logging_in) {
                Ok(ticket) => ticket,
                Err(ending) => return *ending,
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

/// Probes an upstream as configured.
///
/// A response to `HEAD` has no body, PHP labels every response as a web page, and a captive portal may name no
/// type. Over plain http, where a network could have responded in place of the upstream, the body decides.
pub fn ask(prober: &Exchange, probe: &Probe, secrets: &Secrets) -> Ending {
    let ending = prober.send(&HttpRequest::bare(probe.method.as_str(), &probe.url), secrets, &[]);
    let untyped = |answer: &Answer| answer.content_type.as_deref().is_none_or(|kind| kind.trim().is_empty());
    let in_doubt = |answer: &Answer| {
        let hidden = answer.status == 200 && answer.length != Some(0) && untyped(answer);
        answer.status / 100 == 2 && answer.body.is_empty() && (is_typed_html(answer) || hidden)
    };
    match &ending {
        Ending::Answered(answer)
            if probe.method == ProbeMethod::Head && !Target::of(&probe.url).https && in_doubt(answer) =>
        {
            match prober.send(&HttpRequest::bare("GET", &probe.url), secrets, &[]) {
                // An empty body is not a web page: the type is the server's default.
                Ending::Answered(page) if page.body.is_empty() => {
                    Ending::Answered(Answer { content_type: None, ..page })
                }
                Ending::Answered(page) => Ending::Answered(page),
                _ => ending,
            }
        }
        _ => ending,
    }
}

/// A bug in one exchange must not leave its failure in flight for ever. A request that was not written has not
/// arrived.
fn guarded(work: impl FnOnce() -> Ending) -> Ending {
    course::begin();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let words = "the sender stopped on a bug; see the log".to_owned();
        if course::now().written == 0 {
            Ending::NotSent(ConnectError::Bug, words)
        } else {
            Ending::Broken(InterruptKind::Reset, words)
        }
    })
}
