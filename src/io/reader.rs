//! Long questions, on a thread with a read-only connection of its own.
//!
//! The connection is opened for each question and closed behind it, so that no reader holds the
//! file while the agent has to open it anew, and no forgotten snapshot keeps the log from shrinking.

use super::inbox::Outbox;
use crate::agent::Inquiry;
use crate::agent::questions::{Answer, answer};
use crate::limits::MAX_QUESTIONS;
use crate::store::StoreSettings;
use crate::store::door::Door;
use crate::store::reader::Reader;
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// What the reader sends back.
pub type Reply = (Box<Inquiry>, Answer);

/// Where questions go.
#[derive(Debug)]
pub struct ReaderThread {
    questions: SyncSender<Box<Inquiry>>,
}

impl ReaderThread {
    /// Starts the thread.
    pub fn start<T: Send + 'static>(
        settings: StoreSettings,
        door: Door,
        outbox: Outbox<T>,
        wrap: fn(Reply) -> T,
    ) -> io::Result<Self> {
        let (questions, waiting) = sync_channel(MAX_QUESTIONS);
        let name = thread::Builder::new().name("reader".into());
        name.spawn(move || work(&settings, &door, &waiting, &outbox, wrap))?;
        Ok(Self { questions })
    }

    /// Asks; a question that finds no place comes back.
    pub fn ask(&self, inquiry: Box<Inquiry>) -> Result<(), Box<Inquiry>> {
        self.questions.try_send(inquiry).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(inquiry) | std::sync::mpsc::TrySendError::Disconnected(inquiry) => {
                inquiry
            }
        })
    }
}

fn work<T>(
    settings: &StoreSettings,
    door: &Door,
    waiting: &Receiver<Box<Inquiry>>,
    outbox: &Outbox<T>,
    wrap: fn(Reply) -> T,
) {
    while let Ok(inquiry) = waiting.recv() {
        let inside = door.enter();
        let answered = match Reader::open(settings) {
            Ok(reader) => answer(&reader, &inquiry),
            Err(error) => {
                let rejection = Rejection::new(Code::Storage, error.to_string());
                Answer::Line(reply::error(&rejection, inquiry.reference.as_deref()))
            }
        };
        drop(inside);
        outbox.send(wrap((inquiry, answered)));
    }
}
