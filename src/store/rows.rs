//! Converts a row of `sync_failures` to a [`Failure`]; and the lookups that both the writer and the reader use, as
//! functions of a connection.
//!
//! **Numbers.** A failure's number is its `rowid`; the column `seq`, for display, has the same value. Both are always
//! written together ([`numbers`](super::numbers) checks whether other programs did so too). Statements select the
//! rowid, which every index contains, so that the row is not read for it.

use super::attempts::last_response;
use super::cells::{Cell, OddRows, is_odd, text, text_or_null};
use super::checksum::{self, Checked, Checksum};
use crate::ids::{FailureId, FailureName, Seq};
use crate::moment::AgentTime;
use crate::record::{Content, Failure, OrderKey, PayloadKind, Status};
use rusqlite::types::{ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params_from_iter};

/// Result of looking up a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<T> {
    /// No live failure has the name.
    Nothing,
    /// It identifies this failure.
    One(T),
    /// It is a prefix of several ids.
    Several(Vec<FailureId>),
}

/// A failure with the data that `get` shows.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureDetail {
    /// The failure.
    pub failure: Failure,
    /// The head of its order key, if that is another failure.
    pub head: Option<FailureId>,
    /// The excerpt of the last response.
    pub response: Option<String>,
}

macro_rules! columns {
    () => {
        "id, rowid, entity_type, entity_id, action, error, payload, payload_kind, retry_count, last_retry_at, created_at, \
         updated_at, status, next_retry_at, due_at, recorded_at, upstream, order_key, idempotency_key, http_status, \
         error_class, source_uid, source_pid, terminal_id, store_id, head, uncounted, attempts, unsure, retry_state, \
         content_checksum"
    };
}
pub(super) use columns;

/// The same without the payload, which may be large, for decisions that do not depend on it. The content is not
/// compared with the recorded hash ([`UNREADABLE`](checksum::UNREADABLE) alone is selected), so nothing is sent from such
/// a row.
macro_rules! light_columns {
    () => {
        "id, rowid, entity_type, entity_id, action, error, NULL, NULL, retry_count, last_retry_at, created_at, \
         updated_at, status, next_retry_at, due_at, recorded_at, upstream, order_key, idempotency_key, http_status, \
         error_class, source_uid, source_pid, terminal_id, store_id, head, uncounted, attempts, unsure, retry_state, \
         CASE content_checksum WHEN 0 THEN 0 END"
    };
}
pub(super) use light_columns;

/// The live failure with this number, id, or prefix of an id.
pub(super) fn look(
    connection: &Connection,
    name: &FailureName,
    odd: &OddRows,
) -> rusqlite::Result<Found<Box<FailureDetail>>> {
    let seq = match number_of(connection, name)? {
        Found::One(seq) => seq,
        Found::Nothing => return Ok(Found::Nothing),
        Found::Several(ids) => return Ok(Found::Several(ids)),
    };
    let Some(failure) = by_seq(connection, seq, odd)? else { return Ok(Found::Nothing) };
    let head = if failure.head { None } else { head_of(connection, &failure.order())? };
    let response = last_response(connection, &failure.id, failure.seq)?;
    Ok(Found::One(Box::new(FailureDetail { failure, head, response })))
}

/// The number of the live failure with this number, id, or prefix of an id. Reads the index only, so that a thousand
/// names of large failures are cheap.
pub(super) fn number_of(connection: &Connection, name: &FailureName) -> rusqlite::Result<Found<Seq>> {
    let exact = |id: &str| {
        let mut statement = connection.prepare_cached("SELECT rowid FROM sync_failures WHERE id = ?1")?;
        statement.query_row([id], |row| row.get(0).map(Seq)).optional()
    };
    let found = match name {
        FailureName::Number(seq) => {
            let mut statement = connection.prepare_cached("SELECT rowid FROM sync_failures WHERE rowid = ?1")?;
            statement.query_row([seq.0], |row| row.get(0).map(Seq)).optional()?
        }
        FailureName::Id(id) => exact(id)?,
        FailureName::Beginning(text) => match exact(text)? {
            None if text.len() >= FailureName::SHORTEST_PREFIX => match &ids_from(connection, text)?[..] {
                [] => None,
                [one] => exact(one.as_str())?,
                several => return Ok(Found::Several(several.to_vec())),
            },
            found => found,
        },
    };
    Ok(found.map_or(Found::Nothing, Found::One))
}

const BY_SEQ: &str = concat!("SELECT ", columns!(), " FROM sync_failures WHERE rowid = ?1");

pub(super) fn by_seq(connection: &Connection, seq: Seq, odd: &OddRows) -> rusqlite::Result<Option<Failure>> {
    connection.prepare_cached(BY_SEQ)?.query_row([seq.0], |row| noted_failure(row, odd)).optional()
}

pub(super) fn light_by_seq(connection: &Connection, seq: Seq, odd: &OddRows) -> rusqlite::Result<Option<Failure>> {
    const LIGHT: &str = concat!("SELECT ", light_columns!(), " FROM sync_failures WHERE rowid = ?1");
    connection.prepare_cached(LIGHT)?.query_row([seq.0], |row| noted_failure(row, odd)).optional()
}

/// The failures to send. Unreadable rows and altered content are skipped and noted.
pub(super) fn by_seqs(
    connection: &Connection,
    seqs: &[Seq],
    most: usize,
    odd: &OddRows,
) -> rusqlite::Result<Vec<Failure>> {
    let mut statement = connection.prepare_cached(BY_SEQ)?;
    let (mut found, mut bytes) = (Vec::with_capacity(seqs.len()), 0);
    for seq in seqs {
        let read = readable(statement.query([seq.0])?, odd)?;
        let Some(failure) = read.into_iter().next() else { continue };
        if failure.content != Content::Sound {
            odd.note(seq.0);
            continue;
        }
        bytes += failure.payload.as_ref().map_or(0, |(text, _)| text.len());
        found.push(failure);
        if bytes >= most {
            break;
        }
    }
    Ok(found)
}

pub(super) fn by_id(connection: &Connection, id: &str, odd: &OddRows) -> rusqlite::Result<Option<Failure>> {
    let mut statement =
        connection.prepare_cached(concat!("SELECT ", columns!(), " FROM sync_failures WHERE id = ?1"))?;
    statement.query_row([id], |row| noted_failure(row, odd)).optional()
}

/// Ids with this prefix; no more than an error message should list.
fn ids_from(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<FailureId>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM sync_failures WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 10")?;
    let above = format!("{prefix}\u{10ffff}");
    let ids = statement.query_map([prefix, &above], id_of)?;
    ids.collect()
}

pub(super) fn head_of(connection: &Connection, order: &OrderKey) -> rusqlite::Result<Option<FailureId>> {
    first_of(connection, "id", order, id_of)
}

/// The readable part of an id in the first column, which is only displayed.
pub(super) fn id_of(row: &Row) -> rusqlite::Result<FailureId> {
    Ok(FailureId::new(Cell::of(row.get_ref(0)?).lossy().unwrap_or_default()))
}

/// The oldest live failure of an order key; reads these columns.
pub(super) fn first_of<T>(
    connection: &Connection,
    columns: &str,
    order: &OrderKey,
    read: impl FnOnce(&Row) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    let (condition, values) = order_condition(order);
    connection
        .prepare_cached(&format!("SELECT {columns} FROM sync_failures WHERE {condition} ORDER BY rowid LIMIT 1"))?
        .query_row(params_from_iter(values), read)
        .optional()
}

/// The condition that selects all failures of an order key, and its values.
pub(super) fn order_condition(order: &OrderKey) -> (&'static str, Vec<&str>) {
    match order {
        OrderKey::Given(key) => ("order_key = ?", vec![key]),
        OrderKey::Entity(kind, which) => ("entity_type = ? AND entity_id = ? AND order_key IS NULL", vec![kind, which]),
    }
}

pub(super) fn as_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A row in the order of [`columns`]; if it cannot be read, its rowid is noted.
pub(super) fn noted_failure(row: &Row, odd: &OddRows) -> rusqlite::Result<Failure> {
    failure(row).inspect_err(|error| {
        if let (true, Ok(rowid)) = (is_odd(error), row.get(ROWID)) {
            odd.note(rowid);
        }
    })
}

/// Readable rows in the order of [`columns`]; unreadable ones are noted.
pub(super) fn readable(mut rows: Rows, odd: &OddRows) -> rusqlite::Result<Vec<Failure>> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(odd.read(row, ROWID, failure(row))?);
    }
    Ok(found)
}

/// Like [`readable`], for a query with this limit; also the last number, if there may be more rows.
pub(super) fn part(mut rows: Rows, limit: usize, odd: &OddRows) -> rusqlite::Result<(Vec<Failure>, Option<Seq>)> {
    let (mut found, mut read, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        read += 1;
        last = Some(Seq(row.get(ROWID)?));
        found.extend(odd.read(row, ROWID, failure(row))?);
    }
    Ok((found, last.filter(|_| read == limit)))
}

/// Index of the column with the rowid.
pub(super) const ROWID: usize = 1;

/// Index of the column with the time of recording.
pub(super) const CREATED_AT: usize = 10;

/// A payload as its column stores it.
pub(super) fn stored_payload(kept: &str, kind: PayloadKind) -> ToSqlOutput<'_> {
    match kind {
        PayloadKind::Json | PayloadKind::Text => ToSqlOutput::from(kept),
        PayloadKind::Bytes => ToSqlOutput::from(kind.bytes_of(kept).into_owned()),
    }
}

/// Whether what is to be sent is what was recorded.
fn content_of(stored: Option<Checksum>, checked: &Checked) -> Content {
    match stored {
        None => Content::Sound,
        Some(checksum::UNREADABLE) => Content::Unreadable,
        Some(stored) if stored == checksum::of(checked) => Content::Sound,
        Some(_) => Content::Altered,
    }
}

/// A row in the order of [`columns`].
fn failure(row: &Row) -> rusqlite::Result<Failure> {
    let unknown = |column, text: String| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Text,
            format!("{text:?} is no value of this column").into(),
        )
    };
    let status = text(row, 12)?;
    let payload = match (row.get_ref(6)?, text_or_null(row, 7)?) {
        (ValueRef::Null, _) => None,
        (ValueRef::Blob(bytes) | ValueRef::Text(bytes), Some(kind)) if kind == PayloadKind::Bytes.as_str() => {
            let (encoded, kind) = PayloadKind::of_bytes(bytes);
            Some((encoded.into_owned(), kind))
        }
        (_, kind) => {
            let kind = kind.unwrap_or_else(|| PayloadKind::Text.as_str().to_owned());
            Some((text(row, 6)?, PayloadKind::parse(&kind).ok_or_else(|| unknown(7, kind))?))
        }
    };
    let (entity_type, entity_id, action) = (text(row, 2)?, text(row, 3)?, text(row, 4)?);
    let id = text(row, 0)?;
    let idempotency_key = match text_or_null(row, 18)? {
        Some(empty) if empty.is_empty() => return Err(unknown(18, empty)),
        key => key,
    };
    let checked = Checked {
        id: &id,
        key: idempotency_key.as_deref(),
        names: [&entity_type, &entity_id, &action],
        payload: payload.as_ref().map(|(text, kind)| (text.as_str(), *kind)),
    };
    let content = content_of(row.get(30)?, &checked);
    Ok(Failure {
        seq: Seq(row.get(ROWID)?),
        content,
        id: FailureId::new(id),
        entity_type,
        entity_id,
        action,
        error: text(row, 5)?,
        payload,
        retry_count: row.get(8)?,
        last_retry_at: text_or_null(row, 9)?,
        created_at: text(row, CREATED_AT)?,
        updated_at: text(row, 11)?,
        status: Status::parse(&status).ok_or_else(|| unknown(12, status))?,
        next_retry_at: text_or_null(row, 13)?,
        due_at: row.get::<_, Option<i64>>(14)?.map(AgentTime::from_millis),
        recorded_at: AgentTime::from_millis(row.get(15)?),
        upstream: text_or_null(row, 16)?,
        order_key: text_or_null(row, 17)?,
        idempotency_key,
        http_status: row.get(19)?,
        error_class: text_or_null(row, 20)?,
        source_uid: row.get(21)?,
        source_pid: row.get(22)?,
        terminal_id: text(row, 23)?,
        store_id: text_or_null(row, 24)?,
        head: row.get(25)?,
        uncounted: row.get(26)?,
        attempts: row.get(27)?,
        unsure: row.get(28)?,
        retry_state: text_or_null(row, 29)?,
    })
}
