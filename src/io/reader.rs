//! Long queries, on a thread with a read-only connection of its own.
//!
//! The connection is opened and closed for each query, so that no reader holds the file while the agent has to
//! reopen it, and no forgotten snapshot keeps the WAL from shrinking.
//!
//! Administrators' queries come first. If several clients wait with the same query, it is answered once for all of
//! them. The queue needs no bound of its own: a connection has one query at a time, and those of closed connections
//! are dropped.

use super::inbox::Outbox;
use crate::agent::questions::{Answer, answer};
use crate::agent::{ClientId, ReaderRequest};
use crate::question::{Question, View};
use crate::store::reader::Reader;
use crate::store::reader_gate::Door;
use crate::store::{StoreError, StoreSettings};
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What the reader sends back.
pub type Reply = (Box<ReaderRequest>, Answer);

/// The queue of queries. The thread ends with this value.
#[derive(Debug)]
pub struct ReaderThread {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

/// One query, with the requests of all clients that wait for it.
type Asked = Vec<Box<ReaderRequest>>;

/// Queries that have not been started.
#[derive(Debug, Default)]
struct Waiting {
    administrators: VecDeque<Box<ReaderRequest>>,
    applications: VecDeque<Box<ReaderRequest>>,
    closed: bool,
}

impl Waiting {
    fn push(&mut self, inquiry: Box<ReaderRequest>) {
        let own = inquiry.client == ClientId::AGENT || inquiry.client == ClientId::HEARTBEAT;
        let queue = if own || inquiry.view == View::Admin { &mut self.administrators } else { &mut self.applications };
        queue.push_back(inquiry);
    }

    /// The next query, with all requests for the same; the most recent one is last.
    fn take(&mut self) -> Option<Asked> {
        let first = self.administrators.pop_front().or_else(|| self.applications.pop_front())?;
        if !is_the_same_for_all(&first.question) {
            return Some(vec![first]);
        }
        let (question, view) = (first.question.clone(), first.view);
        let mut all = vec![first];
        for queue in [&mut self.administrators, &mut self.applications] {
            let (same, others) =
                std::mem::take(queue).into_iter().partition(|one| one.question == question && one.view == view);
            *queue = others;
            let mut same: VecDeque<Box<ReaderRequest>> = same;
            all.extend(same.drain(..));
        }
        Some(all)
    }

    fn forget(&mut self, client: ClientId) {
        // An operation continues although its client has disconnected.
        let forgotten = |one: &ReaderRequest| one.client == client && !is_of_an_operation(&one.question);
        for queue in [&mut self.administrators, &mut self.applications] {
            queue.retain(|one| !forgotten(one));
        }
    }
}

/// Returns whether the reply depends only on the time at which it is given.
fn is_the_same_for_all(question: &Question) -> bool {
    matches!(question, Question::Unsent | Question::Health | Question::Alerts)
}

fn is_of_an_operation(question: &Question) -> bool {
    matches!(question, Question::Select { .. } | Question::SelectBefore { .. } | Question::Rest(_))
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a query; `None` if there will be none.
    fn take(&self) -> Option<Asked> {
        let mut waiting = self.waiting();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(all) = waiting.take() {
                return Some(all);
            }
            waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl ReaderThread {
    /// Starts the thread.
    pub fn start<T: Send + 'static>(
        settings: StoreSettings,
        door: Door,
        outbox: Outbox<T>,
        wrap: fn(Reply) -> T,
    ) -> io::Result<Self> {
        let work = move |all| answer_all(all, |inquiry| look(&settings, inquiry));
        Self::start_with(door, outbox, wrap, work)
    }

    fn start_with<T: Send + 'static>(
        door: Door,
        outbox: Outbox<T>,
        wrap: fn(Reply) -> T,
        work: impl Fn(Asked) -> Vec<Reply> + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let questions = Arc::clone(&queue);
        let name = thread::Builder::new().name("reader".into());
        name.spawn(move || {
            while let Some(all) = questions.take() {
                let inside = door.enter();
                let replies = work(all);
                drop(inside);
                outbox.send_all(replies.into_iter().map(wrap));
            }
        })?;
        Ok(Self { queue })
    }

    /// Queues a query.
    pub fn ask(&self, inquiry: Box<ReaderRequest>) {
        self.queue.waiting().push(inquiry);
        self.queue.bell.notify_one();
    }

    /// Drops the queries of a client that has disconnected.
    pub fn forget(&self, client: ClientId) {
        self.queue.waiting().forget(client);
    }
}

impl Drop for ReaderThread {
    fn drop(&mut self) {
        self.queue.waiting().closed = true;
        self.queue.bell.notify_one();
    }
}

/// Answers one query.
fn look(settings: &StoreSettings, inquiry: &ReaderRequest) -> Answer {
    match Reader::open(settings) {
        Ok(reader) => answer(&reader, inquiry),
        Err(error) => failed(inquiry, &error.to_string()),
    }
}

/// Answers a query for one or more clients. A panic ends the query, not the thread.
fn answer_all(mut all: Asked, look: impl Fn(&ReaderRequest) -> Answer) -> Vec<Reply> {
    let Some(mut last) = all.pop() else { return Vec::new() };
    // If it is shared, each reply gets the reference of its own client.
    let reference = if all.is_empty() { None } else { last.reference.take() };
    let answered = catch_unwind(AssertUnwindSafe(|| look(&last)));
    let answered = answered.unwrap_or_else(|_| failed(&last, "the agent met a bug; its log says more"));
    if all.is_empty() {
        return vec![(last, answered)];
    }
    last.reference = reference;
    let (line, damage) = match answered {
        Answer::Line(line) => (line, None),
        Answer::Damaged(line, error) => (line, Some(error)),
        // Such a query is never shared.
        answered => return vec![(last, answered)],
    };
    all.push(last);
    let own = |inquiry: Box<ReaderRequest>| {
        let line = reply::referring(&line, inquiry.reference.as_deref());
        (inquiry, Answer::Line(line))
    };
    let mut replies: Vec<Reply> = all.into_iter().map(own).collect();
    if let (Some(error), Some((_, answer))) = (damage, replies.first_mut())
        && let Answer::Line(line) = answer
    {
        *answer = Answer::Damaged(std::mem::take(line), error);
    }
    replies
}

/// The reply to a query that failed.
fn failed(inquiry: &ReaderRequest, why: &str) -> Answer {
    if is_of_an_operation(&inquiry.question) {
        return Answer::Selected(Err(StoreError::failed(why)));
    }
    let rejection = Rejection::new(Code::Storage, why);
    Answer::Line(reply::error(&rejection, inquiry.reference.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::facts::Facts;
    use crate::ids::Seq;
    use crate::io::inbox::inbox;
    use crate::limits::Limits;
    use crate::moment::WallTime;
    use crate::question::Filter;
    use crate::store::Store;
    use serde_json::value::RawValue;

    fn asked(client: u64, view: View, question: Question) -> Box<ReaderRequest> {
        let reference = RawValue::from_string(client.to_string()).ok();
        Box::new(ReaderRequest { client: ClientId(client), question, view, reference, facts: Facts::default() })
    }

    fn clients(all: Option<Asked>) -> Vec<u64> {
        all.unwrap_or_default().iter().map(|inquiry| inquiry.client.0).collect()
    }

    #[test]
    fn administrators_come_first_and_the_same_question_is_answered_once() {
        let mut waiting = Waiting::default();
        for client in 1..=70 {
            waiting.push(asked(client, View::Application, Question::Unsent));
        }
        waiting.push(asked(71, View::Application, Question::Health));
        waiting.push(asked(72, View::Admin, Question::Metrics));
        waiting.push(asked(73, View::Admin, Question::Metrics));
        waiting.forget(ClientId(5));
        assert_eq!((clients(waiting.take()), clients(waiting.take())), (vec![72], vec![73]));
        assert_eq!(clients(waiting.take()), (1..=70).filter(|client| *client != 5).collect::<Vec<_>>());
        assert_eq!(clients(waiting.take()), [71]);
        assert!(waiting.take().is_none());
    }

    #[test]
    fn an_operation_is_carried_on_without_the_client_who_began_it() {
        let mut waiting = Waiting::default();
        let select = Question::Select { filter: Filter::default(), after: Seq(0), limit: 1 };
        waiting.push(asked(1, View::Admin, select));
        waiting.push(asked(2, View::Admin, Question::Health));
        waiting.forget(ClientId(1));
        waiting.forget(ClientId(2));
        assert_eq!(clients(waiting.take()), [1]);
        assert!(waiting.take().is_none());
    }

    #[test]
    fn each_gets_the_shared_answer_with_its_own_reference() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        Store::open(settings.clone(), WallTime::from_millis(0)).unwrap_or_else(|error| panic!("{error}"));
        let all = (7..=9).map(|client| asked(client, View::Application, Question::Unsent)).collect();
        let replies = answer_all(all, |inquiry| look(&settings, inquiry));
        assert_eq!(replies.len(), 3);
        for (inquiry, answer) in replies {
            let Answer::Line(line) = answer else { panic!("a line was expected") };
            let line = String::from_utf8(line).expect("text");
            let ends = format!(",\"ref\":{}}}\n", inquiry.client.0);
            assert!(line.starts_with("{\"ok\":true") && line.ends_with(&ends), "{line}");
        }
    }

    /// A query that panics is answered with an error, and the next one is answered.
    #[test]
    fn a_panic_ends_one_question_and_not_the_thread() {
        let (outbox, inbox) = inbox::<Reply>().expect("a queue");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        Store::open(settings.clone(), WallTime::from_millis(0)).unwrap_or_else(|error| panic!("{error}"));
        let reader = ReaderThread::start_with(
            Door::default(),
            outbox,
            |reply| reply,
            move |all| {
                answer_all(all, |inquiry| match inquiry.question {
                    Question::Metrics => panic!("a bug"),
                    _ => look(&settings, inquiry),
                })
            },
        );
        let reader = reader.expect("a thread");
        reader.ask(asked(1, View::Admin, Question::Metrics));
        reader.ask(asked(2, View::Admin, Question::Unsent));
        let mut replies = Vec::new();
        while replies.len() < 2 {
            replies.extend(inbox.take());
        }
        let text = |reply: &Reply| match &reply.1 {
            Answer::Line(line) => String::from_utf8_lossy(line).into_owned(),
            other => panic!("a line was expected: {other:?}"),
        };
        assert!(text(&replies[0]).contains("\"code\":\"storage\""), "{}", text(&replies[0]));
        assert!(text(&replies[0]).ends_with(",\"ref\":1}\n"));
        assert!(text(&replies[1]).starts_with("{\"ok\":true"), "{}", text(&replies[1]));
    }
}
