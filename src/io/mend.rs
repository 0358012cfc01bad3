//! Converts responses as servers write them to the form that the HTTP client's parser accepts.
//!
//! Old and home-made servers fold header lines, put a blank before the colon, write names in Latin-1, end the lines
//! of a chunked body with a bare line feed, or send hundreds of headers. Other clients accept all of that. Here it
//! is repaired before the parser sees it, and unused headers are dropped. Anything unintelligible is passed on
//! unchanged, so that the parser reports it.

use crate::limits::MAX_HEADERS;

/// The headers that are used: by the parser for the framing, by the agent for the rest.
const WANTED: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "location",
    "resync-error",
    "resync-outcome",
    "retry-after",
    "set-cookie",
    "transfer-encoding",
    "upgrade",
];

/// Maximum bytes of a line in a chunked body.
const LONGEST_CHUNK_LINE: usize = 4 << 10;

/// The position of the next byte in a response.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    /// In the head, which is held back until it is complete.
    #[default]
    Head,
    /// In the line with a chunk's size.
    Size,
    /// In a chunk, with this many bytes remaining.
    Chunk(u64),
    /// After a chunk, before the end of its line.
    ChunkEnd,
    /// In the trailers.
    Trailer,
    /// Where nothing is repaired: in a body with a length, after a body, in anything that is not HTTP.
    Plain,
}

/// Repairs the responses of one connection, one after the other.
#[derive(Debug, Default)]
pub struct Mender {
    place: Place,
    /// An incomplete head or line.
    held: Vec<u8>,
}

impl Mender {
    /// The next byte begins a response.
    pub fn begin(&mut self) {
        (self.place, self.held) = (Place::Head, Vec::new());
    }

    /// The connection has ended: returns what was held back, for the parser to judge.
    pub fn end(&mut self) -> Vec<u8> {
        self.place = Place::Plain;
        std::mem::take(&mut self.held)
    }

    /// Reads received bytes, and appends the repaired ones to `out`.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Plain => {
                    out.extend_from_slice(bytes);
                    &[]
                }
                Place::Chunk(left) => self.chunk(left, bytes, out),
                Place::Head => self.head_line(bytes, out),
                Place::Size | Place::ChunkEnd | Place::Trailer => self.body_line(bytes, out),
            };
        }
    }

    fn chunk<'b>(&mut self, left: u64, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        out.extend_from_slice(&bytes[..take]);
        let left = left - take as u64;
        self.place = if left == 0 { Place::ChunkEnd } else { Place::Chunk(left) };
        &bytes[take..]
    }

    /// Holds back the bytes of a line until its end; returns the rest, and whether the end was found.
    fn hold<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], bool) {
        let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
        if self.held.is_empty() {
            // Most heads come in one piece.
            self.held.reserve(bytes.len());
        }
        self.held.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        (&bytes[end.unwrap_or(bytes.len())..], end.is_some())
    }

    /// Passes this and all further bytes on unchanged.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        self.place = Place::Plain;
        out.append(&mut self.held);
    }

    fn head_line<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let before = self.held.len();
        let (rest, ended) = self.hold(bytes);
        let start = self.held.trim_ascii_start();
        let is_http = start.starts_with(&b"HTTP/"[..start.len().min(5)]);
        if !is_http || self.held.len() > MAX_HEADERS {
            self.give_up(out);
        } else if ended
            && !start.is_empty()
            && self.held[before..].trim_ascii().is_empty()
            && self.ends_with_blank_line()
        {
            self.head(out);
        }
        rest
    }

    fn ends_with_blank_line(&self) -> bool {
        self.held.ends_with(b"\n\r\n") || self.held.ends_with(b"\n\n")
    }

    /// Converts a complete head.
    fn head(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let mut lines =
            held.trim_ascii().split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(1).unwrap_or_default();
        // An interim response is dropped. 101 is not one of them, because another protocol follows it.
        if status.len() == 3 && status[0] == b'1' && status != b"101" {
            return;
        }
        out.extend_from_slice(status_line);
        out.extend_from_slice(b"\r\n");
        let mut chunked = false;
        for (name, value) in headers(lines) {
            chunked |=
                name == "transfer-encoding" && String::from_utf8_lossy(&value).to_ascii_lowercase().contains("chunked");
            for part in [name.as_bytes(), b": ", &value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
        let framed = chunked && !status_line.starts_with(b"HTTP/1.0");
        self.place = if framed { Place::Size } else { Place::Plain };
    }

    fn body_line<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let (rest, ended) = self.hold(bytes);
        if self.held.len() > LONGEST_CHUNK_LINE {
            self.give_up(out);
        }
        if !ended || self.place == Place::Plain {
            return rest;
        }
        let line = self.held.trim_ascii();
        match self.place {
            Place::Size => match chunk_size(line) {
                Some(size) => {
                    out.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                    self.place = if size == 0 { Place::Trailer } else { Place::Chunk(size) };
                }
                None => self.give_up(out),
            },
            Place::ChunkEnd if line.is_empty() => {
                out.extend_from_slice(b"\r\n");
                self.place = Place::Size;
            }
            Place::Trailer if line.is_empty() => {
                out.extend_from_slice(b"\r\n");
                self.place = Place::Plain;
            }
            Place::Trailer => {}
            _ => self.give_up(out),
        }
        self.held.clear();
        rest
    }
}

/// The size of a chunk, without its extensions.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok()
}

/// The headers in [`WANTED`], with folded lines joined; names in lower case.
fn headers<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Vec<(&'static str, Vec<u8>)> {
    let mut found: Vec<(&str, Vec<u8>)> = Vec::with_capacity(WANTED.len());
    let mut wanted = false;
    for line in lines {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some((_, value)) = found.last_mut().filter(|_| wanted) {
                value.push(b' ');
                value.extend(line.trim_ascii().iter().map(|byte| visible(*byte)));
            }
            continue;
        }
        // A line without a colon is not a header.
        let colon = memchr::memchr(b':', line).unwrap_or(0);
        let name = line[..colon].trim_ascii_end();
        let name = WANTED.into_iter().find(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name));
        wanted = name.is_some();
        if let Some(name) = name {
            found.push((name, line[colon + 1..].trim_ascii().iter().map(|byte| visible(*byte)).collect()));
        }
    }
    found
}

/// The parser rejects a whole response because of one control character.
fn visible(byte: u8) -> u8 {
    if byte.is_ascii_control() && byte != b'\t' { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::Mender;

    /// The result must not depend on how the response is divided.
    #[track_caller]
    fn mended(response: &[u8]) -> String {
        let of_pieces = |size: usize| {
            let (mut mender, mut out) = (Mender::default(), Vec::new());
            response.chunks(size).for_each(|piece| mender.feed(piece, &mut out));
            out.extend(mender.end());
            out
        };
        let whole = of_pieces(response.len());
        for size in 1..response.len() {
            assert_eq!(of_pieces(size), whole, "in pieces of {size}");
        }
        String::from_utf8_lossy(&whole).into_owned()
    }

    #[test]
    fn headers_that_other_clients_take_are_taken() {
        let odd = b"HTTP/1.1 200 OK\r\nContent-Type : text/plain;\r\n  charset=x\r\nno colon here\r\nX-\xe4: 1\r\nX-Y: 2\r\n\tfolded\r\n\
                    Content-Length:2\r\n\r\nOK";
        assert_eq!(
            mended(odd),
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=x\r\ncontent-length: 2\r\n\r\nOK"
        );
        let bare = b"HTTP/1.0 204 No\nDate: x\n\n";
        assert_eq!(mended(bare), "HTTP/1.0 204 No\r\ndate: x\r\n\r\n");
    }

    #[test]
    fn interim_responses_are_left_out_and_a_change_of_protocol_is_not() {
        let early =
            b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
        assert_eq!(mended(early), "HTTP/1.1 204 No\r\n\r\n");
        assert_eq!(mended(b"HTTP/1.1 101 Switching\r\n\r\nxyz"), "HTTP/1.1 101 Switching\r\n\r\nxyz");
    }

    #[test]
    fn chunks_with_any_line_end_extension_or_trailer() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let with = |body: &str| mended(format!("{head}{body}").as_bytes());
        let plain = format!("{head}3\r\na\nb\r\n0\r\n\r\n");
        assert_eq!(with("3\na\nb\n0\n\n"), plain);
        assert_eq!(with("003;name=\"a long extension of a chunk\"\r\na\nb\r\n0\r\nX-Sum: 1\r\n\r\n"), plain);
        assert_eq!(with("3\r\na\nbXX\r\n"), format!("{head}3\r\na\nbXX\r\n"), "for the parser to refuse");
        assert_eq!(with("zz\r\na"), format!("{head}zz\r\na"));
        assert_eq!(with("2\r\nab"), format!("{head}2\r\nab"), "broken off");
    }

    #[test]
    fn what_is_no_http_is_passed_on() {
        for garbage in ["SSH-2.0-OpenSSH_9.6\r\n", "\0\u{ff}\0\r\n\r\n", "HTTP", "HTTP/1.1 200 O"] {
            assert_eq!(mended(garbage.as_bytes()), garbage);
        }
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "X: 1\r\n".repeat(4000));
        let (mut mender, mut out) = (Mender::default(), Vec::new());
        mender.feed(endless.as_bytes(), &mut out);
        assert!(out.len() > super::MAX_HEADERS && endless.starts_with(std::str::from_utf8(&out).expect("text")));
    }

    #[test]
    fn hundreds_of_headers_are_no_obstacle() {
        let many: String = (0..400).map(|n| format!("X-{n}: 1\r\n")).collect();
        let text = format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n");
        assert_eq!(mended(text.as_bytes()), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}
