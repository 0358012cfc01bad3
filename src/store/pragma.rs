//! Sizes of pages and of the WAL, and how a PRAGMA is run.

use rusqlite::Connection;

/// Page size of a new file, in bytes. A record changes a few places in as many pages, and each page is written
/// completely. 1024 was slower.
pub(super) const PAGE_SIZE: u32 = 2048;
/// Bytes of pages in the WAL that trigger a checkpoint. Small, so that a full disk leaves space to reuse and clients
/// wait only briefly; large enough that a frequently changed page is written once. Twice this size writes 2 % less, but
/// doubles the wait.
const CHECKPOINT_BYTES: u32 = 2_048_000;
/// The same while the disk may be full before it is next checked: what the WAL holds beyond the file must fit into half
/// of the ballast.
const CAREFUL_CHECKPOINT_BYTES: u32 = 512 << 10;
/// Bytes that the WAL keeps after a checkpoint; a WAL that grew during a long read is truncated to this length.
pub(super) const LOG_ROOM: u64 = 2 * CHECKPOINT_BYTES as u64;
/// Number of WAL pages that trigger a checkpoint: fewer if `careful`.
pub(super) fn checkpoint_pages(page_size: u32, careful: bool) -> u32 {
    let bytes = if careful { CAREFUL_CHECKPOINT_BYTES } else { CHECKPOINT_BYTES };
    bytes / page_size
}

/// Runs a PRAGMA and steps it to its end, because only the last step reports whether it worked.
pub(super) fn drain(connection: &Connection, pragma: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(pragma)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
