//! A row of `sync_failures` as a [`Failure`], and the look-ups that both the writer and the reader
//! make, as functions of a connection.
//!
//! **Numbers.** A failure's number is its row's own, `rowid`; the column `seq`, for people, is the same.
//! Whoever writes one writes both ([`numbers`](super::numbers) looks whether others did). Statements ask
//! for the rowid, which every index ends with and which is read without the row.

use super::attempts::last_response;
use crate::ids::{FailureId, FailureName, Seq};
use crate::moment::AgentTime;
use crate::record::{Failure, OrderKey, PayloadKind, Status};
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params_from_iter};
use std::borrow::Cow;

/// What a name means.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// No live failure.
    Nothing,
    /// This one.
    One(Box<Looked>),
    /// The beginning of several ids.
    Several(Vec<FailureId>),
}

/// A failure, and what a person asks of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// The failure.
    pub failure: Failure,
    /// The head of its order key, when that is another one.
    pub head: Option<FailureId>,
    /// The last answer's excerpt.
    pub response: Option<String>,
}

macro_rules! columns {
    () => {
        "id, rowid, entity_type, entity_id, action, error, payload, payload_kind, retry_count, last_retry_at, created_at, \
         updated_at, status, next_retry_at, due_at, recorded_at, upstream, order_key, idempotency_key, http_status, \
         error_class, source_uid, source_pid, terminal_id, store_id, head, uncounted, attempts, unsure, dossier"
    };
}
pub(super) use columns;

/// A connection, and how its file knows the number of a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered<'a> {
    pub(super) connection: &'a Connection,
    /// A file of before schema 4, which only a reader meets: it has `seq` in an index, and any rowid.
    pub(super) by_seq: bool,
}

impl<'a> Numbered<'a> {
    /// The file of a [`Store`](super::Store).
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, by_seq: false }
    }

    /// A statement in which `rowid` means the number of a failure, and nothing else.
    pub(super) fn prepare(self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        let sql = if self.by_seq { Cow::from(sql.replace("rowid", "seq")) } else { Cow::from(sql) };
        self.connection.prepare_cached(&sql)
    }
}

/// The live failure with this number, id, or beginning of an id.
pub(super) fn look(file: Numbered, name: &FailureName) -> rusqlite::Result<Found> {
    let found = match name {
        FailureName::Number(seq) => by_seq(file, *seq)?,
        FailureName::Text(text) => match by_id(file, text)? {
            None if text.len() >= FailureName::SHORTEST_PREFIX => match &ids_from(file.connection, text)?[..] {
                [] => None,
                [one] => by_id(file, one.as_str())?,
                several => return Ok(Found::Several(several.to_vec())),
            },
            found => found,
        },
    };
    let Some(failure) = found else { return Ok(Found::Nothing) };
    let head = if failure.head { None } else { head_of(file, &failure.order())? };
    let response = last_response(file.connection, &failure.id)?;
    Ok(Found::One(Box::new(Looked { failure, head, response })))
}

const BY_SEQ: &str = concat!("SELECT ", columns!(), " FROM sync_failures WHERE rowid = ?1");

pub(super) fn by_seq(file: Numbered, seq: Seq) -> rusqlite::Result<Option<Failure>> {
    file.prepare(BY_SEQ)?.query_row([seq.0], failure).optional()
}

pub(super) fn by_seqs(file: Numbered, seqs: &[Seq], most: usize) -> rusqlite::Result<Vec<Failure>> {
    let mut statement = file.prepare(BY_SEQ)?;
    let (mut found, mut bytes) = (Vec::with_capacity(seqs.len()), 0);
    for seq in seqs {
        let Some(failure) = statement.query_row([seq.0], failure).optional()? else { continue };
        bytes += failure.payload.as_ref().map_or(0, |(text, _)| text.len());
        found.push(failure);
        if bytes >= most {
            break;
        }
    }
    Ok(found)
}

pub(super) fn by_id(file: Numbered, id: &str) -> rusqlite::Result<Option<Failure>> {
    let mut statement = file.prepare(concat!("SELECT ", columns!(), " FROM sync_failures WHERE id = ?1"))?;
    statement.query_row([id], failure).optional()
}

/// Ids that begin with this text; not more than a person would read.
fn ids_from(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<FailureId>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM sync_failures WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 10")?;
    let above = format!("{prefix}\u{10ffff}");
    let ids = statement.query_map([prefix, &above], |row| row.get::<_, String>(0).map(FailureId::new))?;
    ids.collect()
}

pub(super) fn head_of(file: Numbered, order: &OrderKey) -> rusqlite::Result<Option<FailureId>> {
    first_of(file, "id", order, |row| row.get::<_, String>(0).map(FailureId::new))
}

/// The oldest live failure of an order key, of which these columns are read.
pub(super) fn first_of<T>(
    file: Numbered,
    columns: &str,
    order: &OrderKey,
    read: impl FnOnce(&Row) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    let (condition, values) = order_condition(order);
    file.prepare(&format!("SELECT {columns} FROM sync_failures WHERE {condition} ORDER BY rowid LIMIT 1"))?
        .query_row(params_from_iter(values), read)
        .optional()
}

/// The condition that holds for all failures of an order key, and its values.
pub(super) fn order_condition(order: &OrderKey) -> (&'static str, Vec<&str>) {
    match order {
        OrderKey::Given(key) => ("order_key = ?", vec![key]),
        OrderKey::Entity(kind, which) => ("entity_type = ? AND entity_id = ? AND order_key IS NULL", vec![kind, which]),
    }
}

pub(super) fn as_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A row in the order of [`columns`].
pub(super) fn failure(row: &Row) -> rusqlite::Result<Failure> {
    let unknown = |column, text: String| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Text,
            format!("{text:?} is no value of this column").into(),
        )
    };
    let status: String = row.get(12)?;
    let payload = match (row.get::<_, Option<String>>(6)?, row.get::<_, Option<String>>(7)?) {
        (None, _) => None,
        (Some(text), kind) => {
            let kind = kind.unwrap_or_else(|| PayloadKind::Text.as_str().to_owned());
            Some((text, PayloadKind::parse(&kind).ok_or_else(|| unknown(7, kind))?))
        }
    };
    Ok(Failure {
        id: FailureId::new(row.get::<_, String>(0)?),
        seq: Seq(row.get(1)?),
        entity_type: row.get(2)?,
        entity_id: row.get(3)?,
        action: row.get(4)?,
        error: row.get(5)?,
        payload,
        retry_count: row.get(8)?,
        last_retry_at: row.get(9)?,
        created_at: row.get(10)?,
        updated_at: row.get(11)?,
        status: Status::parse(&status).ok_or_else(|| unknown(12, status))?,
        next_retry_at: row.get(13)?,
        due_at: row.get::<_, Option<i64>>(14)?.map(AgentTime::from_millis),
        recorded_at: AgentTime::from_millis(row.get(15)?),
        upstream: row.get(16)?,
        order_key: row.get(17)?,
        idempotency_key: row.get(18)?,
        http_status: row.get(19)?,
        error_class: row.get(20)?,
        source_uid: row.get(21)?,
        source_pid: row.get(22)?,
        terminal_id: row.get(23)?,
        store_id: row.get(24)?,
        head: row.get(25)?,
        uncounted: row.get(26)?,
        attempts: row.get(27)?,
        unsure: row.get(28)?,
        dossier: row.get(29)?,
    })
}
