//! Integrity check in the background, once after every start, on a thread of its own; it also compares the agent's
//! row with the table.
//!
//! It does not use the reader's thread, because a query must not wait for it. The check yields:
//!
//! - It runs table by table, and opens and closes the file for each of them.
//! - While a table is checked, SQLite cannot reuse the WAL. So the check of a table is interrupted when the WAL
//!   reaches [`CHECK_LOG`], and repeated when the agent is less busy.
//! - It is also interrupted when the writer has to reopen the file.

use super::inbox::Outbox;
use super::system::file_size;
use crate::limits::CHECK_LOG;
use crate::store::check::Finding;
use crate::store::open_error::OpenError;
use crate::store::reader::Reader;
use crate::store::reader_gate::Door;
use crate::store::{StoreError, StoreSettings};
use rusqlite::InterruptHandle;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Delay before the disk is read for the check, so that the first clients are answered before.
const AT_FIRST: Duration = Duration::from_millis(500);

/// Delay before an interrupted table is checked again. It grows each time, so that the checks of a busy agent cost
/// little.
const AFTER_INTERRUPTION: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Interval of checks of the WAL's size: in this time a fast disk writes a tenth of the limit.
const LOG_LOOK: Duration = Duration::from_millis(100);

/// What the check reports to the loop.
#[derive(Debug)]
pub enum Found {
    /// The file is damaged; the check ends.
    Damage(StoreError),
    /// Another program has added or removed rows.
    Miscount,
}

/// Starts the thread.
pub fn start<T: Send + 'static>(
    settings: StoreSettings,
    door: Door,
    outbox: Outbox<T>,
    wrap: fn(Found) -> T,
) -> io::Result<()> {
    let name = thread::Builder::new().name("checker".into());
    name.spawn(move || {
        thread::sleep(AT_FIRST);
        log::debug!("event=checking");
        let miscount = || outbox.send(wrap(Found::Miscount));
        match look(&settings, &door, miscount) {
            Ok(None) => log::debug!("event=checked"),
            Ok(Some(damage)) => {
                log::error!("event=damage_found error={:?}", damage.to_string());
                outbox.send(wrap(Found::Damage(damage)));
            }
            Err(error) => log::warn!("event=integrity_check_failed error={error:?}"),
        }
    })?;
    Ok(())
}

/// Checks all tables; returns the first damage.
fn look(settings: &StoreSettings, door: &Door, miscount: impl FnOnce()) -> Result<Option<StoreError>, String> {
    let first = |reader: &Reader| Ok((reader.counts_agree()?, reader.tables()?));
    let (agree, tables) = match inside(settings, door, first)? {
        Err(error @ StoreError::Damaged(_)) => return Ok(Some(error)),
        found => found.map_err(|error| error.to_string())?,
    };
    if !agree {
        miscount();
    }
    for table in tables {
        let mut wait = AFTER_INTERRUPTION;
        loop {
            let checked = inside(settings, door, |reader| {
                yielding(reader, &settings.log_file(), CHECK_LOG, || reader.check(&table))
            });
            match checked?.map_err(|error| error.to_string())? {
                Finding::Sound => break,
                Finding::Damaged(damage) => return Ok(Some(damage)),
                Finding::Interrupted => {
                    log::debug!("event=check_interrupted table={table} wait_ms={}", wait.as_millis());
                    thread::sleep(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }
    Ok(None)
}

/// Runs `work`, and interrupts it when the WAL reaches `most` bytes.
fn yielding<T>(reader: &Reader, log_file: &Path, most: u64, work: impl FnOnce() -> T) -> T {
    let (ended, ends) = channel();
    let handle = reader.interrupt();
    thread::scope(|scope| {
        scope.spawn(move || interrupt_above(log_file, most, &handle, &ends));
        let done = work();
        drop(ended);
        done
    })
}

fn interrupt_above(log_file: &Path, most: u64, handle: &InterruptHandle, ends: &Receiver<()>) {
    loop {
        // The loop reports a WAL whose size cannot be read.
        if file_size(log_file).is_ok_and(|bytes| bytes >= most) {
            handle.interrupt();
        }
        if ends.recv_timeout(LOG_LOOK) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::moment::WallTime;
    use crate::store::Store;
    use rusqlite::Connection;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The check of a large table holds the WAL until it is interrupted, and then finds no damage.
    #[test]
    fn a_check_gives_way_when_the_log_grows_and_is_repeated() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let store = Store::open(settings.clone(), WallTime::from_millis(1_795_500_000_000)).expect("a store");
        let writer = Connection::open(settings.file()).expect("the file");
        let rows = "PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0; \
                    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                    INSERT INTO audit_log (at, operation, failure_id, reason) SELECT i, 'x', 'id-' || i, hex(zeroblob(100)) FROM n; \
                    PRAGMA wal_checkpoint(TRUNCATE)";
        writer.execute_batch(rows).expect("rows");
        let reader = Reader::open(&settings).expect("a reader");
        let log = settings.log_file();
        assert!(matches!(reader.check("audit_log"), Ok(Finding::Sound)));
        // Runs until the check has ended: the WAL grows while the table is checked repeatedly.
        let over = Arc::new(AtomicBool::new(false));
        let growing = thread::spawn({
            let over = Arc::clone(&over);
            move || {
                while !over.load(Ordering::Relaxed) {
                    writer
                        .execute("UPDATE audit_log SET reason = hex(randomblob(100)) WHERE id < 100", [])
                        .expect("a write");
                }
                writer
            }
        });
        let found = loop {
            let found = yielding(&reader, &log, 1 << 20, || reader.check("audit_log")).expect("a check");
            if matches!(found, Finding::Interrupted) {
                break found;
            }
        };
        over.store(true, Ordering::Relaxed);
        let writer = growing.join().expect("it ends");
        assert!(matches!(found, Finding::Interrupted));
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("the log is free");
        assert_eq!(file_size(&log).expect("a size"), 0);
        assert!(matches!(yielding(&reader, &log, 1 << 20, || reader.check("audit_log")), Ok(Finding::Sound)));
        drop(store);
    }
}
