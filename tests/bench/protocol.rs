//! The requests for each server, and how its replies are counted. Every request carries the same
//! body, so that servers are compared by their work and not by their input.
//!
//! A request is built once; for each record only its ten digits change.

use memchr::memchr;

/// The server that receives the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// resyncd, `record`.
    Agent,
    /// redis-server, `XADD`.
    Redis,
    /// beanstalkd, `put`.
    Beanstalkd,
}

impl Kind {
    /// All servers that are compared, in the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::Agent, Self::Redis, Self::Beanstalkd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Agent => "resyncd",
            Self::Redis => "redis",
            Self::Beanstalkd => "beanstalkd",
        }
    }
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// No response from the upstream: it waits for contact. Each record is its own entity.
    OwnEntity,
    /// It is due at once.
    Now,
}

/// Bytes of a record's body, the same for all.
pub(crate) const BODY: usize = 600;
/// Digits of a record's number.
const DIGITS: usize = 10;

/// A request with a place for the record's number.
pub(crate) struct Requests {
    kind: Kind,
    text: Vec<u8>,
    /// The position of the number.
    at: usize,
    /// How many records in a row have the same number.
    each: u64,
}

impl Requests {
    pub(crate) fn new(kind: Kind, body: Body) -> Self {
        let body = body_text(body);
        let text = match kind {
            Kind::Agent => format!("{body}\n"),
            Kind::Redis => {
                format!("*5\r\n$4\r\nXADD\r\n$7\r\nrecords\r\n$1\r\n*\r\n$1\r\nr\r\n${}\r\n{body}\r\n", body.len())
            }
            Kind::Beanstalkd => format!("put 0 0 60 {}\r\n{body}\r\n", body.len()),
        };
        let at = text.find(&"#".repeat(DIGITS)).expect("a body has a place for its number");
        Self { kind, text: text.into_bytes(), at, each: 1 }
    }

    /// As many records in a row belong to one entity.
    pub(crate) fn each(self, each: u64) -> Self {
        Self { each: each.max(1), ..self }
    }

    /// Appends the request of this number.
    pub(crate) fn put(&self, out: &mut Vec<u8>, number: u64) {
        let start = out.len() + self.at;
        out.extend_from_slice(&self.text);
        let mut rest = number / self.each;
        for place in (start..start + DIGITS).rev() {
            // A digit fits any type.
            out[place] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
    }

    pub(crate) fn replies(&self) -> Replies {
        Replies { kind: self.kind, rest: Vec::new() }
    }
}

/// The payload of every record, as JSON.
pub(crate) fn payload() -> String {
    let body = body_text(Body::OwnEntity);
    let (_, payload) = body.split_once(r#""payload":"#).expect("a body has a payload");
    payload[..payload.len() - 1].to_owned()
}

fn body_text(body: Body) -> String {
    let retry = match body {
        Body::OwnEntity => "",
        Body::Now => r#""retry":"now","#,
    };
    let number = "#".repeat(DIGITS);
    let before = format!(
        r#"{{"op":"record","entity_type":"SALE","entity_id":"s-{number}","action":"CREATE","error":"network timeout",{retry}"payload":{{"text":""#
    );
    let after = r#""}}"#;
    let filler = BODY - before.len() - after.len();
    format!("{before}{}{after}", "abcdefghij klmnopqrst ".repeat(30).split_at(filler).0)
}

/// Counts replies in a server's output, and rejects any that does not acknowledge a record.
pub(crate) struct Replies {
    kind: Kind,
    /// The beginning of a line whose end has not arrived yet.
    rest: Vec<u8>,
}

impl Replies {
    /// How many replies are complete with these bytes.
    pub(crate) fn count(&mut self, fresh: &[u8]) -> Result<usize, String> {
        let mut count = 0;
        let mut left = fresh;
        while let Some(end) = memchr(b'\n', left) {
            let (line, next) = left.split_at(end + 1);
            count += if self.rest.is_empty() {
                one(self.kind, line)?
            } else {
                self.rest.extend_from_slice(line);
                let whole = std::mem::take(&mut self.rest);
                one(self.kind, &whole)?
            };
            left = next;
        }
        self.rest.extend_from_slice(left);
        Ok(count)
    }
}

/// How many replies end with this line.
fn one(kind: Kind, line: &[u8]) -> Result<usize, String> {
    let acknowledged = match kind {
        Kind::Agent => line.starts_with(br#"{"ok":true"#),
        Kind::Beanstalkd => line.starts_with(b"INSERTED "),
        // The length of the next part, then the entry's id.
        Kind::Redis if line.starts_with(b"$") => return Ok(0),
        Kind::Redis => line.first().is_some_and(u8::is_ascii_digit),
    };
    if acknowledged { Ok(1) } else { Err(format!("{} said {}", kind.name(), String::from_utf8_lossy(line).trim_end())) }
}
