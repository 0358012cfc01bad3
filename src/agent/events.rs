//! The agent's inputs and outputs: its whole interface to the outside.

use super::alerting::Notification;
use super::facts::Facts;
use crate::config::Config;
use crate::config::problem::Problem;
use crate::ids::Seq;
use crate::moment::{AgentTime, WallTime};
use crate::policy::answer_rules::{AttemptSummary, Reading};
use crate::policy::body::{Body, pointed};
use crate::policy::class::Class;
use crate::policy::ending::Ending;
use crate::policy::probe::ProbeEnd;
use crate::question::{self, View};
use crate::store::StoreError;
use crate::wire::delivery::HttpRequest;
use crate::wire::fields::Code;
use crate::wire::request::Socket;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// A client, as the driver names it; replies are addressed by the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl ClientId {
    /// The agent itself, for its own queries.
    pub const AGENT: Self = Self(u64::MAX);
    /// No client: the answer is posted as the heartbeat.
    pub const HEARTBEAT: Self = Self(u64::MAX - 1);
}

/// The process at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The user id, proved by the socket.
    pub uid: u32,
    /// The process id at the time of the connection.
    pub pid: u32,
    /// The user's name; looked up only for connections whose operations are audited.
    pub name: Option<String>,
}

/// An input of the agent.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client sent a line.
    Line {
        /// The client.
        client: ClientId,
        /// The socket of its connection.
        socket: Socket,
        /// The process at the other end.
        peer: &'a Peer,
        /// The line without its newline.
        line: &'a [u8],
    },
    /// A request has ended.
    AttemptEnded {
        /// The failure.
        seq: Seq,
        /// All steps of the attempt, in order; the last decides.
        steps: Vec<Step>,
    },
    /// A prefetched request has started in the slot of one that has ended. Reported before that end.
    Begun {
        /// The failure.
        seq: Seq,
        /// When its request started.
        at: AgentTime,
    },
    /// Prefetched requests were returned unsent.
    Unsent(Vec<Seq>),
    /// A probe has ended.
    Probed {
        /// The upstream's index.
        upstream: usize,
        /// Its result.
        end: ProbeEnd,
        /// The upstream's clock, if the response carried it.
        date: Option<WallTime>,
    },
    /// A login has started or ended; nothing else is sent to the upstream meanwhile.
    LoggingIn {
        /// The upstream's index.
        upstream: usize,
        /// True at the start, false at the end.
        is: bool,
    },
    /// The reader has selected failures for a bulk operation.
    Selected {
        /// The client of the operation.
        client: ClientId,
        /// The next numbers, fewer than requested at the end of the selection; or the reader's error.
        found: Result<Vec<Seq>, StoreError>,
    },
    /// The reader's mean of counted attempts over live failures.
    MeanRetries(f64),
    /// A reader found the file damaged.
    Damaged(StoreError),
    /// The counts of the table differ from those of the agent's row.
    Miscounted,
    /// Free bytes of the file system.
    DiskFree(u64),
    /// Bytes of SQLite's WAL.
    LogSize(u64),
    /// The kernel reported that a link, an address or a route changed.
    LinkChanged,
    /// The wall clock made a step.
    ClockStepped,
    /// Sockets whose files were deleted, so that clients cannot connect; empty if there are none.
    Sockets(Vec<String>),
    /// The replies of the last round have been handed to the clients' connections.
    Answered {
        /// Time from the reading of the round's requests until then.
        took: Duration,
        /// Number of error replies by code.
        rejected: BTreeMap<Code, u64>,
    },
    /// The configuration files were read, because a client or a signal requested it.
    Reread {
        /// The client that is waiting for a reply.
        asker: Option<Asker>,
        /// The configuration, or all its problems.
        found: Result<Box<Config>, Vec<Problem>>,
    },
    /// Start no more work.
    Stop,
}

/// An action that the driver must perform.
#[derive(Debug)]
pub enum Effect {
    /// Send a reply line to a client.
    Reply {
        /// The client.
        client: ClientId,
        /// The line with its newline.
        line: Vec<u8>,
    },
    /// Send notifications of alerts.
    Tell(Box<Notification>),
    /// Pass a query to the reader.
    Ask(Box<ReaderRequest>),
    /// Send a request, or prefetch it ([`Dispatch::ahead`]).
    Send(Box<Dispatch>),
    /// Send some of an upstream's prefetched requests now.
    Advance {
        /// The upstream's index.
        upstream: usize,
        /// Maximum number to send.
        most: usize,
    },
    /// Return an upstream's prefetched requests.
    Recall {
        /// The upstream's index.
        upstream: usize,
    },
    /// Probe whether an upstream is reachable.
    Probe {
        /// The upstream's index.
        upstream: usize,
    },
    /// An operator resumed an upstream: retry a refused login without further delay.
    LogInAgain {
        /// The upstream's index.
        upstream: usize,
    },
    /// Read the configuration files and report the result as [`Event::Reread`].
    Reread(Asker),
    /// Another configuration is in force.
    Reconfigured {
        /// The whole configuration.
        config: Box<Config>,
        /// Indices of the upstreams whose configuration has changed and whose senders must be replaced.
        renewed: Vec<usize>,
    },
}

/// A client that waits for its reply beyond the round.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The client.
    pub client: ClientId,
    /// The request's reference, echoed in the reply.
    pub reference: Option<Box<RawValue>>,
}

/// A query for the reader.
#[derive(Clone, Debug)]
pub struct ReaderRequest {
    /// The client that receives the answer.
    pub client: ClientId,
    /// The query.
    pub question: question::Question,
    /// The fields that the client may see.
    pub view: View,
    /// The request's reference, echoed in the reply.
    pub reference: Option<Box<RawValue>>,
    /// Facts that are only in the agent's memory.
    pub facts: Facts,
}

/// A request for a sender.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The failure.
    pub seq: Seq,
    /// The upstream's index.
    pub upstream: usize,
    /// The request is prefetched: it may only start in the slot of an accepted one.
    pub ahead: bool,
    /// The query to send first if an earlier attempt may have arrived.
    pub verify: Option<Question>,
    /// The request.
    pub request: HttpRequest,
}

/// A query whether a failure has already arrived.
#[derive(Clone, Debug)]
pub struct Question {
    /// The HTTP request of the query.
    pub request: HttpRequest,
    /// JSON pointer into the response; the failure has arrived if it leads to anything but null.
    pub found: String,
}

impl Question {
    /// Interprets the response. A response that the upstream's rules or its adapter classify as an error gives no
    /// result, and neither does one that cannot be parsed.
    #[must_use]
    pub fn finding(&self, ending: &Ending, reading: &Reading) -> Finding {
        let Ending::Answered(answer) = ending else { return Finding::Inconclusive };
        let body = Body::of(answer);
        match answer.status {
            404 => Finding::NotThere,
            200..=299 if says_no(&reading.hear(&body)) => Finding::Inconclusive,
            200..=299 => match body.json() {
                Ok(json) if pointed(json, &self.found).into_iter().any(is_there) => Finding::There,
                Ok(json) if is_error(json, &self.found) => Finding::Inconclusive,
                Ok(_) => Finding::NotThere,
                Err(_) => Finding::Inconclusive,
            },
            _ => Finding::Inconclusive,
        }
    }
}

/// A rule that cannot be evaluated may be one that says no.
fn says_no(heard: &AttemptSummary) -> bool {
    !heard.unread.is_empty() || heard.word.as_ref().is_some_and(|own| own.class != Class::Delivered)
}

/// Returns whether a value shows that the failure is there. `{"exists":false}`, `{"total":0}` and an empty list do not: the
/// failure would leave as delivered, although the upstream does not have it.
fn is_there(found: &Value) -> bool {
    match found {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
    }
}

/// Returns whether the response reports an error in place of a result: GraphQL and JSON-RPC do so with 200. A query that
/// failed does not show that the failure is not there.
fn is_error(json: &Value, found: &str) -> bool {
    let has_result = found.split('/').nth(1).and_then(|first| json.get(first)).is_some_and(|result| !result.is_null());
    let reported = |name: &str| json.get(name).is_some_and(is_there);
    !has_result && (reported("error") || reported("errors"))
}

/// The result of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The failure has arrived.
    There,
    /// It has not arrived.
    NotThere,
    /// The query failed or was inconclusive.
    Inconclusive,
}

/// One step of an attempt.
#[derive(Clone, Debug)]
pub struct Step {
    /// What the step did.
    pub kind: StepKind,
    /// How it ended.
    pub ending: Ending,
    /// Its duration.
    pub took: Duration,
}

/// The kind of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// The query whether the failure has arrived, with its result.
    Verify(Finding),
    /// The failure's own request.
    Deliver,
}

/// Whether the driver may hand in the client's next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Go,
    /// Yes, but the reply reads a whole row, so only few such requests belong into one round.
    Look,
    /// Not before this request is answered, so that replies keep the order of requests.
    Wait,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Overrides};
    use crate::policy::ending::Answer;

    fn found(pointer: &str, status: u16, body: &str) -> Finding {
        let rules = "[[upstream.hq.answer]]\ncontains = \"está bloqueado\"\nis = \"failed\"";
        let text = format!("[upstream.hq]\nurl = \"https://hq.example/sync\"\n{rules}");
        let config = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
        let config = config.unwrap_or_else(|problems| panic!("{}", problems[0]));
        let reading = Reading { upstream: &config.upstreams[0], route: None, id: "", key: "" };
        let question = Question { request: HttpRequest::bare("GET", "https://hq.example/find"), found: pointer.into() };
        question.finding(&Ending::Answered(Answer { status, body: body.into(), ..Answer::default() }), &reading)
    }

    /// What is not shown to be absent must not be sent a second time.
    #[test]
    fn a_query_that_failed_does_not_show_that_the_failure_is_not_there() {
        for (pointer, body) in [
            ("/result/0", r#"{"jsonrpc":"2.0","error":{"code":100,"message":"session expired"}}"#),
            ("/data/order/id", r#"{"data":null,"errors":[{"message":"database is locked"}]}"#),
            ("/id", r#"{"error":"database is locked"}"#),
            ("/id", "<html>maintenance</html>"),
            ("/id", ""),
            ("/value/0", r#"{"message":"está bloqueado"}"#),
            ("/value/0", "{\"value\":[],\"x\":\"an\u{303}o\"}"),
        ] {
            assert_eq!(found(pointer, 200, body), Finding::Inconclusive, "{pointer} {body}");
        }
        for (pointer, body) in [
            ("/value/0", r#"{"value":[]}"#),
            ("/data/order/id", r#"{"data":{"order":null},"errors":[{"message":"no such order"}]}"#),
            ("/id", "null"),
            ("/0", "[]"),
            ("/id", r#"{"error":null,"errors":[],"x":{"error":0}}"#),
            ("/exists", r#"{"exists":false}"#),
            ("/total", r#"{"total":0}"#),
            ("/value", r#"{"value":[]}"#),
            ("/order", r#"{"order":{}}"#),
            ("/id", r#"{"id":""}"#),
        ] {
            assert_eq!(found(pointer, 200, body), Finding::NotThere, "{pointer} {body}");
        }
        for (pointer, body) in [
            ("/value/0", r#"{"value":[{"id":7}]}"#),
            ("/exists", r#"{"exists":true}"#),
            ("/total", r#"{"total":1.5}"#),
            ("/id", r#"{"id":"0"}"#),
        ] {
            assert_eq!(found(pointer, 200, body), Finding::There, "{pointer} {body}");
        }
        assert_eq!(found("/id", 404, "no such order"), Finding::NotThere);
        assert_eq!(found("/id", 500, r#"{"id":7}"#), Finding::Inconclusive);
    }
}
