//! What goes into the agent and what comes out of it: the whole of its contact with the world.

use super::alerting::Telling;
use super::questions::Facts;
use crate::config::Config;
use crate::config::problem::Problem;
use crate::ids::Seq;
use crate::moment::{AgentTime, WallTime};
use crate::policy::class::{Class, Ending};
use crate::policy::probe::ProbeEnd;
use crate::policy::reading::Reading;
use crate::question::{self, View};
use crate::store::StoreError;
use crate::wire::delivery::HttpRequest;
use crate::wire::fields::Code;
use crate::wire::request::Socket;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// A client, as the driver names it; replies come back under the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl ClientId {
    /// Nobody: the agent asks for itself.
    pub const AGENT: Self = Self(u64::MAX);
    /// Nobody: the answer is the next sign of life.
    pub const HEARTBEAT: Self = Self(u64::MAX - 1);
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The user, as the socket proves it.
    pub uid: u32,
    /// The process that connected.
    pub pid: u32,
    /// The user's name, where it is known and asked for: of who may do what the audit keeps.
    pub name: Option<String>,
}

/// What happens to the agent.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client sent a line.
    Line {
        /// Who.
        client: ClientId,
        /// Through which socket.
        socket: Socket,
        /// Who that is.
        peer: &'a Peer,
        /// Without its end.
        line: &'a [u8],
    },
    /// A request has ended.
    Tried {
        /// Of which failure.
        seq: Seq,
        /// What was asked and sent, in order; the last decides.
        steps: Vec<Step>,
    },
    /// A request that was handed out ahead of its turn is under way, in the place of one that has ended;
    /// told before that end is.
    Begun {
        /// Of which failure.
        seq: Seq,
        /// Since when.
        at: AgentTime,
    },
    /// Requests that were handed out ahead of their turn are not sent.
    Unsent(Vec<Seq>),
    /// A probe has ended.
    Probed {
        /// Of which upstream.
        upstream: usize,
        /// How.
        end: ProbeEnd,
        /// The upstream's clock, where it told.
        date: Option<WallTime>,
    },
    /// A login begins, or has ended: nothing else is sent to the upstream meanwhile.
    LoggingIn {
        /// To which upstream.
        upstream: usize,
        /// Is it under way?
        is: bool,
    },
    /// The reader has found what a bulk operation means.
    Selected {
        /// For whom.
        client: ClientId,
        /// The next numbers, fewer than asked for at the end; or why it could not.
        found: Result<Vec<Seq>, StoreError>,
    },
    /// The reader has found how many counted tries live failures have on average.
    MeanRetries(f64),
    /// The file was found damaged by somebody who only reads it.
    Damaged(StoreError),
    /// The free space of the file system.
    DiskFree(u64),
    /// The size of SQLite's log.
    LogSize(u64),
    /// The kernel says that a link, an address or a route came or went.
    LinkChanged,
    /// The wall clock made a step.
    ClockStepped,
    /// What the last round answered is on its way to the clients.
    Answered {
        /// From the reading of the round's requests until then.
        took: Duration,
        /// How many of the replies were which errors.
        rejected: BTreeMap<Code, u64>,
    },
    /// The configuration's files were read, because a client or a signal asked for it.
    Reread {
        /// Who waits for a reply.
        asker: Option<Asker>,
        /// What they say, or all that is wrong with them.
        found: Result<Box<Config>, Vec<Problem>>,
    },
    /// No new work from now on.
    Stop,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Send a reply line to a client.
    Reply {
        /// To whom.
        client: ClientId,
        /// With its end.
        line: Vec<u8>,
    },
    /// Tell people of alerts.
    Tell(Box<Telling>),
    /// Have the reader answer.
    Ask(Box<Inquiry>),
    /// Send a request, or hold it ready ([`Dispatch::ahead`]).
    Send(Box<Dispatch>),
    /// Of the requests that are held ready for an upstream, send some now.
    Advance {
        /// Which.
        upstream: usize,
        /// At most so many.
        most: usize,
    },
    /// Give back the requests that are held ready for an upstream.
    Recall {
        /// Which.
        upstream: usize,
    },
    /// Ask an upstream whether it is there.
    Probe {
        /// Which.
        upstream: usize,
    },
    /// Read the configuration's files, and hand in what they say.
    Reread(Asker),
    /// Another configuration is in force.
    Reconfigured {
        /// The whole of it.
        config: Box<Config>,
        /// The upstreams whose senders are to be new: another configuration has this number.
        renewed: Vec<usize>,
    },
}

/// A client that waits for its reply beyond the round.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who.
    pub client: ClientId,
    /// What comes back in the reply.
    pub reference: Option<Box<RawValue>>,
}

/// A question for the reader.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// Who asks.
    pub client: ClientId,
    /// What.
    pub question: question::Question,
    /// How much it may see.
    pub view: View,
    /// What comes back in the reply.
    pub reference: Option<Box<RawValue>>,
    /// What only the agent knows.
    pub facts: Facts,
}

/// A request for a sender.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Of which failure.
    pub seq: Seq,
    /// To which upstream.
    pub upstream: usize,
    /// It is not its turn yet: it is held ready, to go in the place of one that is accepted.
    pub ahead: bool,
    /// What is asked first, when an earlier try may have arrived.
    pub verify: Option<Question>,
    /// The request.
    pub request: HttpRequest,
}

/// Has a failure arrived already?
#[derive(Clone, Debug)]
pub struct Question {
    /// The request that asks.
    pub request: HttpRequest,
    /// It has, when this pointer of the answer leads to anything but null.
    pub found: String,
}

impl Question {
    /// What the answer says. An answer that the upstream's rules or its adapter call a no is none.
    #[must_use]
    pub fn finding(&self, ending: &Ending, reading: &Reading) -> Finding {
        let Ending::Answered(answer) = ending else { return Finding::NoWord };
        let refuses = || reading.own_word(answer).is_some_and(|own| own.class != Class::Delivered);
        let json = || serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
        match answer.status {
            404 => Finding::NotThere,
            200..=299 if refuses() => Finding::NoWord,
            200..=299 => match json() {
                Some(json) if json.pointer(&self.found).is_some_and(|found| !found.is_null()) => Finding::There,
                Some(_) => Finding::NotThere,
                None => Finding::NoWord,
            },
            _ => Finding::NoWord,
        }
    }
}

/// What a question brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It has arrived.
    There,
    /// It has not.
    NotThere,
    /// It could not be asked.
    NoWord,
}

/// A part of a try.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it was.
    pub kind: StepKind,
    /// How it ended.
    pub ending: Ending,
    /// How long it took.
    pub took: Duration,
}

/// What a step of a try was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// The question whether it has arrived, and what that brought.
    Verify(Finding),
    /// The failure's own request.
    Deliver,
}

/// May the client's next line be handed in?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Go,
    /// Not before this one has been answered, so that replies keep the order of their requests.
    Wait,
}
