//! The simulated head office: how it treats each request, by its mood.
//!
//! The result is decided when the request is sent: whether and when it reaches the application, the
//! response and its time, and what that *means* ([`Meaning`]). The meaning is defined by the
//! simulation, never by the product's classification, so that the model can compare the two.

use fastrand::Rng;
use resyncd::agent::Dispatch;
use resyncd::moment::WallTime;
use resyncd::policy::ending::Answer;
use resyncd::policy::ending::ConnectError;
use resyncd::policy::ending::Ending;
use resyncd::policy::ending::InterruptKind;
use resyncd::wire::delivery::{BodyPart, HeaderValue, HttpRequest};
use std::collections::{BTreeMap, BTreeSet};

/// What the end of an attempt says about the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The upstream has it, and said so.
    Accepted,
    /// The upstream will never accept it.
    Refused,
    /// The upstream did not accept it.
    Failed,
    /// It says something about the connection only.
    Line,
}

/// The result of one request.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    /// The application takes it after this many milliseconds, whatever the sender receives.
    pub(crate) taken_after: Option<i64>,
    pub(crate) ending: Ending,
    pub(crate) ends_after: i64,
    pub(crate) meaning: Meaning,
    /// The seconds of a numeric `Retry-After`.
    pub(crate) retry_after: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    Slow,
    NoConnection,
    NoName,
    Blackhole,
    WrongCertificate,
    /// Every request gets this status.
    Says(u16),
    /// With or without a `Retry-After`.
    Unavailable,
    TooMany,
    /// It takes requests, and half of the responses are lost.
    LosesAnswers,
    /// A network's login page instead of a response.
    Portal,
    /// Requests under way get a late 500; no new ones are received.
    Dying,
    /// Each request meets another mood.
    Mixed,
}

const MOODS: [Mood; 18] = [
    Mood::Good,
    Mood::Good,
    Mood::Good,
    Mood::Slow,
    Mood::NoConnection,
    Mood::NoName,
    Mood::Blackhole,
    Mood::WrongCertificate,
    Mood::Says(500),
    Mood::Says(502),
    Mood::Says(401),
    Mood::Unavailable,
    Mood::TooMany,
    Mood::LosesAnswers,
    Mood::Portal,
    Mood::Dying,
    Mood::Mixed,
    Mood::Mixed,
];

/// How the application responds to an entity that it dislikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poison {
    /// Usually a rejection, sometimes a server error.
    Refused,
    Breaks,
}

/// The simulated head office.
#[derive(Debug)]
pub(crate) struct Upstream {
    mood: Mood,
    poisoned: BTreeMap<String, Poison>,
    /// The ids of the failures that the application has taken.
    taken: BTreeSet<String>,
    /// The failure that each key belongs to.
    keys: BTreeMap<String, String>,
}

impl Upstream {
    /// A good upstream that permanently dislikes some of these entities.
    pub(crate) fn new(entities: &[String], random: &mut Rng) -> Self {
        let mut poisoned = BTreeMap::new();
        for entity in entities {
            match random.u8(0..12) {
                0 => drop(poisoned.insert(entity.clone(), Poison::Refused)),
                1 => drop(poisoned.insert(entity.clone(), Poison::Breaks)),
                _ => {}
            }
        }
        Self { mood: Mood::Good, poisoned, taken: BTreeSet::new(), keys: BTreeMap::new() }
    }

    /// Changes its mood. Returns the new mood's name, for the trace.
    pub(crate) fn change_mood(&mut self, random: &mut Rng) -> String {
        self.mood = random.choice(MOODS).expect("there are moods");
        format!("{:?}", self.mood)
    }

    /// Makes it good from now on.
    pub(crate) fn become_good(&mut self) {
        self.mood = Mood::Good;
    }

    pub(crate) fn is_poisoned(&self, entity_id: &str) -> bool {
        self.poisoned.contains_key(entity_id)
    }

    pub(crate) fn has(&self, failure: &str) -> bool {
        self.taken.contains(failure)
    }

    /// A request reaches the application. One key never identifies two failures.
    pub(crate) fn take(&mut self, failure: &str, key: &str) {
        let known = self.keys.entry(key.to_owned()).or_insert_with(|| failure.to_owned());
        promise!(known == failure, "one key", "key {key} came with {known} and with {failure}");
        self.taken.insert(failure.to_owned());
    }

    /// The result of a request.
    pub(crate) fn fate(&self, dispatch: &Dispatch, wall: WallTime, random: &mut Rng) -> Fate {
        let entity = header(dispatch, "Resync-Entity-Id");
        let mood = self.mood_now(random);
        line_fate(mood, wall, random).unwrap_or_else(|| self.application(mood, &entity, wall, random))
    }

    /// The result of a probe and its duration in milliseconds.
    pub(crate) fn probe(&self, wall: WallTime, random: &mut Rng) -> (Ending, i64) {
        let mood = match self.mood_now(random) {
            Mood::Dying => Mood::NoConnection,
            mood => mood,
        };
        if let Some(fate) = line_fate(mood, wall, random) {
            return (fate.ending, fate.ends_after);
        }
        let took = if mood == Mood::Slow { random.i64(2_000..12_000) } else { random.i64(15..300) };
        let status = if random.bool() { 200 } else { 405 };
        (Ending::Answered(Answer { status, date: Some(wall), ..Answer::default() }), took)
    }

    fn mood_now(&self, random: &mut Rng) -> Mood {
        match self.mood {
            Mood::Mixed => random.choice(MOODS).filter(|mood| *mood != Mood::Mixed).unwrap_or(Mood::Good),
            mood => mood,
        }
    }

    /// The request reaches the application, which decides.
    fn application(&self, mood: Mood, entity: &str, wall: WallTime, random: &mut Rng) -> Fate {
        let after = if mood == Mood::Slow { random.i64(3_000..28_000) } else { random.i64(15..400) };
        match self.poisoned.get(entity) {
            Some(Poison::Refused) if random.u8(0..4) > 0 => {
                let status = random.choice([400, 413, 422]).expect("a status");
                answered(status, r#"{"message":"no such article"}"#, wall, after, Meaning::Refused)
            }
            Some(_) => answered(500, "stack trace", wall, after, Meaning::Failed),
            None if mood == Mood::LosesAnswers && random.bool() => {
                let (fault, ends_after) = if random.bool() {
                    (InterruptKind::Timeout, 30_000)
                } else {
                    (InterruptKind::Reset, after + random.i64(1..200))
                };
                Fate {
                    taken_after: (random.u8(0..4) > 0).then_some(after),
                    ending: Ending::Broken(fault, "the answer was lost".into()),
                    ends_after,
                    meaning: Meaning::Line,
                    retry_after: None,
                }
            }
            None => {
                let status = random.choice([200, 201, 204]).expect("a status");
                let fate = answered(status, r#"{"id":"x"}"#, wall, after, Meaning::Accepted);
                Fate { taken_after: Some(after / 2), ..fate }
            }
        }
    }
}

/// The result before the application, if this mood does not let the request through.
fn line_fate(mood: Mood, wall: WallTime, random: &mut Rng) -> Option<Fate> {
    let quick = random.i64(1..900);
    let not_sent = |fault, after| Fate {
        taken_after: None,
        ending: Ending::NotSent(fault, format!("{fault:?}")),
        ends_after: after,
        meaning: Meaning::Line,
        retry_after: None,
    };
    let says = |status, meaning| answered(status, "", wall, quick, meaning);
    Some(match mood {
        Mood::Good | Mood::Slow | Mood::LosesAnswers | Mood::Mixed => return None,
        Mood::NoConnection => not_sent(ConnectError::NoConnection, 3),
        Mood::NoName => not_sent(ConnectError::Lookup, quick),
        Mood::Blackhole => not_sent(ConnectError::ConnectTimeout, 5_000),
        Mood::WrongCertificate if quick % 2 == 0 => not_sent(ConnectError::CertificateTime, quick),
        Mood::WrongCertificate => not_sent(ConnectError::Certificate, quick),
        Mood::Dying => Fate { ends_after: 5_000 + quick * 20, ..says(500, Meaning::Failed) },
        Mood::Says(500) => {
            let status = random.choice([404, 500, 501]).expect("a status");
            says(status, Meaning::Failed)
        }
        Mood::Says(502) => says(random.choice([502, 503, 504]).expect("a status"), Meaning::Line),
        Mood::Says(status) => says(status, Meaning::Line),
        Mood::Unavailable => asks_to_wait(503, says(503, Meaning::Line), random),
        Mood::TooMany => asks_to_wait(429, says(429, Meaning::Line), random),
        Mood::Portal => portal(wall, quick, random),
    })
}

fn asks_to_wait(status: u16, mut fate: Fate, random: &mut Rng) -> Fate {
    let seconds = random.choice([1, 7, 30, 120, 3600, 90_000]).expect("a number");
    let (text, asked) = match random.u8(0..5) {
        0 => (None, None),
        1 => (Some("in a while".to_owned()), None),
        _ => (Some(seconds.to_string()), Some(seconds)),
    };
    if let Ending::Answered(answer) = &mut fate.ending {
        answer.status = status;
        answer.retry_after = text;
    }
    Fate { retry_after: asked, ..fate }
}

fn portal(wall: WallTime, after: i64, random: &mut Rng) -> Fate {
    let mut fate = answered(200, "<!DOCTYPE html><html>Log in</html>", wall, after, Meaning::Line);
    if let Ending::Answered(answer) = &mut fate.ending {
        match random.u8(0..4) {
            0 => answer.status = 511,
            1 => (answer.status, answer.location) = (302, Some("http://login.portal.example/".into())),
            2 => answer.content_type = None,
            _ => answer.content_type = Some("text/html; charset=utf-8".into()),
        }
    }
    fate
}

fn answered(status: u16, body: &str, wall: WallTime, after: i64, meaning: Meaning) -> Fate {
    let kind = if body.starts_with('{') { Some("application/json".to_owned()) } else { None };
    let answer =
        Answer { status, content_type: kind, date: Some(wall), body: body.as_bytes().to_vec(), ..Answer::default() };
    Fate { taken_after: None, ending: Ending::Answered(answer), ends_after: after, meaning, retry_after: None }
}

/// A header of a request; every request has the agent's own headers.
pub(crate) fn header(dispatch: &Dispatch, name: &str) -> String {
    let found = dispatch.request.headers.iter().find(|(given, _)| *given == name);
    match found {
        Some((_, HeaderValue::Text(text))) => text.clone(),
        other => panic!("a request with {other:?} as its {name}"),
    }
}

/// A request's body; no secrets are configured here.
pub(crate) fn body(request: &HttpRequest) -> String {
    let part = |part: &BodyPart| match part {
        BodyPart::Bytes(bytes) => String::from_utf8(bytes.clone()).expect("UTF-8"),
        BodyPart::Secret(name) => panic!("a secret {name}"),
    };
    request.body.iter().map(part).collect()
}
