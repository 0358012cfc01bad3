//! The outermost layer of a connection, through which the HTTP client's data passes in the clear.
//!
//! It records the progress of a request ([`course`]), repairs odd responses ([`mend`](super::mend)), writes
//! absolute URLs for a proxy that requires them, and detects unrequested data: a connection with such data is not
//! used again, because it would be taken for the next response.

#![expect(clippy::disallowed_methods, reason = "time-outs of one exchange have no other use")]

use super::course::{self, Stage};
use super::mend::Mender;
use std::io::{self, ErrorKind};
use std::time::Instant;
use ureq::Error;
use ureq::unversioned::transport::time::Duration as After;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// Records that a connection is being established.
#[derive(Debug)]
pub struct Before;

impl Connector<()> for Before {
    type Out = ();

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<()>, Error> {
        course::reached(Stage::Connecting);
        Ok(None)
    }
}

/// Adds the outermost layer to a new connection.
#[derive(Debug)]
pub struct Outermost {
    /// Connections use a proxy's tunnel; the connection to the proxy itself gets no such layer.
    pub tunnelled: bool,
    /// Requests go to a proxy that requires absolute URLs, with this header line of credentials, which may be empty.
    pub absolute: Option<String>,
}

impl<T: Transport> Connector<T> for Outermost {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, made: Option<T>) -> Result<Option<Self::Out>, Error> {
        let Some(inner) = made else { return Ok(None) };
        if self.tunnelled && details.config.proxy().is_none() {
            return Ok(Some(Box::new(inner)));
        }
        course::reached(Stage::Connected);
        let authority = details.uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let absolute = self
            .absolute
            .as_ref()
            .map(|credentials| Absolute { prefix: format!("http://{authority}"), credentials: credentials.clone() });
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Box::new(Layer {
            inner: Box::new(inner),
            buffers,
            mender: Mender::default(),
            ready: Vec::new(),
            handed: 0,
            answering: true,
            cut_short: false,
            absolute,
        })))
    }
}

#[derive(Debug)]
struct Absolute {
    prefix: String,
    credentials: String,
}

#[derive(Debug)]
struct Layer {
    inner: Box<dyn Transport>,
    buffers: LazyBuffers,
    mender: Mender,
    /// Repaired bytes; the client has consumed the first `handed` of them.
    ready: Vec<u8>,
    handed: usize,
    /// The last data was a response, or there was none: the next write begins a new request.
    answering: bool,
    /// The other side answered and ended the connection while the request was being written.
    cut_short: bool,
    absolute: Option<Absolute>,
}

impl Layer {
    fn pass(&mut self, bytes: &[u8], timeout: NextTimeout, begun: Instant) -> Result<(), Error> {
        for piece in bytes.chunks(self.inner.buffers().output().len().max(1)) {
            course::writing(piece.len());
            self.inner.buffers().output()[..piece.len()].copy_from_slice(piece);
            if let Err(error) = self.inner.transmit_output(piece.len(), left(timeout, begun)?) {
                self.early_answer(error)?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Many servers answer a request that is too large without reading all of it, and end the connection: what they
    /// have said is read, and the rest of the request is dropped. Without an answer the error remains.
    fn early_answer(&mut self, error: Error) -> Result<(), Error> {
        let ended = |error: &io::Error| matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
        if !matches!(&error, Error::Io(io) if ended(io)) {
            return Err(error);
        }
        let timeout = NextTimeout { after: After::from_secs(1), ..NextTimeout::default() };
        if !matches!(self.inner.await_input(timeout), Ok(true)) {
            return Err(error);
        }
        self.cut_short = true;
        course::cut_short();
        self.take_input();
        Ok(())
    }

    /// Repairs what has arrived.
    fn take_input(&mut self) {
        let raw = self.inner.buffers().input().to_vec();
        if !raw.is_empty() {
            self.answering = true;
            course::answered();
            self.inner.buffers().input_consume(raw.len());
            self.mender.feed(&raw, &mut self.ready);
        }
    }

    /// Why a request must not be written now: data has arrived that cannot be its response.
    fn unasked(&mut self) -> Option<Error> {
        let foreign =
            || Error::Io(io::Error::new(ErrorKind::ConnectionAborted, "the server sent data before the request"));
        if !self.ready.is_empty() || !self.buffers.input().is_empty() || !self.inner.buffers().input().is_empty() {
            return Some(foreign());
        }
        if !self.inner.is_tls() {
            return (!self.inner.is_open()).then(|| {
                Error::Io(io::Error::new(
                    ErrorKind::ConnectionAborted,
                    "the connection was closed, or the server sent data without a request",
                ))
            });
        }
        // The data may belong to TLS itself, such as a session ticket. Only TLS can tell.
        let timeout = NextTimeout { after: After::from_secs(1), ..NextTimeout::default() };
        match course::only_look(|| self.inner.await_input(timeout)) {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(error),
            Ok(_) => Some(foreign()),
        }
    }

    /// Copies repaired bytes to the client's buffer, as far as they fit.
    fn hand_over(&mut self) {
        let room = self.buffers.input_append_buf();
        let waiting = &self.ready[self.handed..];
        let count = room.len().min(waiting.len());
        room[..count].copy_from_slice(&waiting[..count]);
        self.handed += count;
        if self.handed == self.ready.len() {
            (self.ready, self.handed) = (Vec::new(), 0);
        }
        self.buffers.input_appended(count);
    }
}

/// The request line with an absolute URL, followed by the proxy's credentials.
fn with_whole_address(head: &[u8], Absolute { prefix, credentials }: &Absolute) -> Option<Vec<u8>> {
    let method_ends = memchr::memchr(b' ', head)? + 1;
    let line_ends = memchr::memchr(b'\n', head)? + 1;
    (method_ends < line_ends).then(|| {
        let (method, path) = (&head[..method_ends], &head[method_ends..line_ends]);
        [method, prefix.as_bytes(), path, credentials.as_bytes(), &head[line_ends..]].concat()
    })
}

fn left(timeout: NextTimeout, begun: Instant) -> Result<NextTimeout, Error> {
    if timeout.after.is_not_happening() {
        return Ok(timeout);
    }
    let left = timeout.after.saturating_sub(begun.elapsed());
    if left.is_zero() {
        Err(Error::Timeout(timeout.reason))
    } else {
        Ok(NextTimeout { after: After::Exact(left), ..timeout })
    }
}

impl Transport for Layer {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let begun = Instant::now();
        if self.cut_short {
            return Ok(());
        }
        let mut bytes = self.buffers.output()[..amount].to_vec();
        if std::mem::take(&mut self.answering) {
            if let Some(error) = self.unasked() {
                return Err(error);
            }
            self.mender.begin();
            if let Some(absolute) = &self.absolute {
                bytes = with_whole_address(&bytes, absolute).unwrap_or(bytes);
            }
        }
        self.pass(&bytes, timeout, begun)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let begun = Instant::now();
        while self.ready.is_empty() {
            let more = self.inner.await_input(left(timeout, begun)?)?;
            if !more {
                self.ready = self.mender.end();
            }
            self.take_input();
            if !more && self.ready.is_empty() {
                return Ok(false);
            }
        }
        self.hand_over();
        Ok(true)
    }

    fn is_open(&mut self) -> bool {
        !self.cut_short && self.unasked().is_none()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::{Absolute, with_whole_address};

    #[test]
    fn a_proxy_gets_the_whole_address_and_its_credentials() {
        let absolute =
            Absolute { prefix: "http://hq:8080".into(), credentials: "Proxy-Authorization: Basic eA==\r\n".into() };
        let head = b"POST /a?b HTTP/1.1\r\nhost: hq:8080\r\n\r\n{}";
        let whole = with_whole_address(head, &absolute).expect("a request");
        assert_eq!(
            String::from_utf8_lossy(&whole),
            "POST http://hq:8080/a?b HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\nhost: hq:8080\r\n\r\n{}"
        );
    }
}
