//! Looks for damage in the background, once after every start, on a thread that ends with it.
//!
//! Not the reader's thread, because a question must not wait for it. The file is opened for each
//! table and closed behind it; when the writer has to open the file anew, it ends the look at this
//! table, which is repeated later.

use super::inbox::Outbox;
use crate::store::check::Finding;
use crate::store::door::Door;
use crate::store::open::OpenError;
use crate::store::reader::Reader;
use crate::store::{StoreError, StoreSettings};
use std::io;
use std::thread;
use std::time::Duration;

/// The first clients are answered before the disk is read for this.
const AT_FIRST: Duration = Duration::from_millis(500);

/// How long the writer is given to open the file anew.
const AFTER_INTERRUPTION: Duration = Duration::from_secs(1);

/// Starts the thread. It sends at most one message: that there is damage.
pub fn start<T: Send + 'static>(
    settings: StoreSettings,
    door: Door,
    outbox: Outbox<T>,
    wrap: fn(StoreError) -> T,
) -> io::Result<()> {
    let name = thread::Builder::new().name("checker".into());
    name.spawn(move || {
        thread::sleep(AT_FIRST);
        log::debug!("event=checking");
        match look(&settings, &door) {
            Ok(None) => log::debug!("event=checked"),
            Ok(Some(damage)) => {
                log::error!("event=damage_found error={:?}", damage.to_string());
                outbox.send(wrap(damage));
            }
            Err(error) => log::warn!("event=not_checked error={error:?}"),
        }
    })?;
    Ok(())
}

/// The first damage, if there is any.
fn look(settings: &StoreSettings, door: &Door) -> Result<Option<StoreError>, String> {
    let tables = match inside(settings, door, Reader::tables)? {
        Err(error @ StoreError::Damaged(_)) => return Ok(Some(error)),
        tables => tables.map_err(|error| error.to_string())?,
    };
    for table in tables {
        loop {
            match inside(settings, door, |reader| reader.check(&table))?.map_err(|error| error.to_string())? {
                Finding::Sound => break,
                Finding::Damaged(damage) => return Ok(Some(damage)),
                Finding::Interrupted => thread::sleep(AFTER_INTERRUPTION),
            }
        }
    }
    Ok(None)
}

fn inside<T>(
    settings: &StoreSettings,
    door: &Door,
    work: impl FnOnce(&Reader) -> Result<T, StoreError>,
) -> Result<Result<T, StoreError>, String> {
    let _inside = door.enter();
    let reader = match Reader::open(settings) {
        Err(OpenError::Damaged { why, .. }) => return Ok(Err(StoreError::damaged(&why))),
        reader => reader.map_err(|error| error.to_string())?,
    };
    door.may_interrupt(reader.interrupt());
    Ok(work(&reader))
}
