//! Decodes the records in one page of a b-tree, each as far as possible.
//!
//! Whether the page can be reached from the root of its tree does not matter: a page whose parent is damaged still has
//! its records. A record is distinguished from garbage by its header, which must describe exactly as many bytes as the
//! record has.

use super::pages::{Pages, Purpose};
use crate::store::wal::number;
use rusqlite::types::Value;

/// Longer than any of our records; a greater length is garbage.
const LONGEST: usize = 64 << 20;

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Its rowid, in a table; `None` in an index.
    pub(super) rowid: Option<i64>,
    /// Its columns; `None` for a lost one.
    pub(super) values: Vec<Option<Value>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Table,
    Index,
    /// An entry of an index that also has a child page.
    InnerIndex,
}

/// The records of a page, in the order of its cells.
pub(super) fn records(pages: &Pages, page: u32) -> Vec<Record> {
    let purpose = pages.purpose(page);
    let Some(bytes) = pages.read(page).filter(|_| purpose != Purpose::NoRecords) else { return Vec::new() };
    let start = if page == 1 { 100 } else { 0 };
    let (kind, cells) = match bytes[start] {
        5 => return Vec::new(),
        2 => (Kind::InnerIndex, start + 12),
        10 => (Kind::Index, start + 8),
        13 => (Kind::Table, start + 8),
        // The type byte is damaged; the cells show the type.
        _ if purpose == Purpose::Records => (Kind::Table, start + 8),
        _ => return Vec::new(),
    };
    let count = usize::from(u16::from_be_bytes([bytes[start + 3], bytes[start + 4]])).min(bytes.len() / 4);
    let pointer = |n: usize| {
        let at = cells + 2 * n;
        Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])))
    };
    (0..count).filter_map(|n| record(pages, &bytes, pointer(n)?, kind)).collect()
}

fn record(pages: &Pages, page: &[u8], at: usize, kind: Kind) -> Option<Record> {
    let mut cell = page.get(at..)?;
    if kind == Kind::InnerIndex {
        cell = cell.get(4..)?;
    }
    let length = usize::try_from(varint(&mut cell)?).ok().filter(|length| (2..=LONGEST).contains(length))?;
    let rowid = if kind == Kind::Table { Some(varint(&mut cell)?) } else { None };
    let payload = payload(pages, page.len(), cell, length, kind);
    Some(Record { rowid, values: decode(&payload, length)? })
}

/// A record's bytes, up to the first missing page.
fn payload(pages: &Pages, size: usize, cell: &[u8], length: usize, kind: Kind) -> Vec<u8> {
    let here = here(size, length, kind == Kind::Table);
    if here == length {
        return cell[..length.min(cell.len())].to_vec();
    }
    let mut bytes = cell[..here.min(cell.len())].to_vec();
    let mut next = number(cell, here);
    // The length bounds the loop even if the chain is circular.
    while bytes.len() < length {
        let Some(page) = pages.read(next) else { break };
        bytes.extend_from_slice(&page[4..]);
        next = number(&page, 0);
    }
    bytes.truncate(length);
    bytes
}

/// Bytes of a record of `length` bytes that its page contains; the rest is in overflow pages.
fn here(size: usize, length: usize, table: bool) -> usize {
    let least = (size - 12) * 32 / 255 - 23;
    let most = if table { size - 35 } else { (size - 12) * 64 / 255 - 23 };
    if length <= most {
        return length;
    }
    let rest = least + (length - least) % (size - 4);
    if rest <= most { rest } else { least }
}

/// The columns of a record of `length` bytes, of which `bytes` are available; `None` if it is not valid.
fn decode(bytes: &[u8], length: usize) -> Option<Vec<Option<Value>>> {
    let mut rest = bytes;
    let header = usize::try_from(varint(&mut rest)?).ok()?;
    let mut types = bytes.get(bytes.len() - rest.len()..header)?;
    let (mut values, mut at) = (Vec::new(), header);
    while !types.is_empty() {
        let kind = varint(&mut types)?;
        let width = width(kind)?;
        values.push(bytes.get(at..at + width).map(|bytes| value(kind, bytes)));
        at += width;
    }
    (at == length && !values.is_empty()).then_some(values)
}

/// Number of bytes of a column of this type.
fn width(kind: i64) -> Option<usize> {
    match kind {
        0 | 8 | 9 => Some(0),
        1..=4 => usize::try_from(kind).ok(),
        5 => Some(6),
        6 | 7 => Some(8),
        12.. => usize::try_from((kind - 12) / 2).ok().filter(|width| *width <= LONGEST),
        _ => None,
    }
}

fn value(kind: i64, bytes: &[u8]) -> Value {
    match kind {
        0 => Value::Null,
        1..=6 => {
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
            let mut wide = [sign; 8];
            wide[8 - bytes.len()..].copy_from_slice(bytes);
            Value::Integer(i64::from_be_bytes(wide))
        }
        7 => {
            let mut wide = [0; 8];
            wide.copy_from_slice(bytes);
            Value::Real(f64::from_be_bytes(wide))
        }
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        text if text % 2 == 1 => match String::from_utf8(bytes.to_vec()) {
            Ok(text) => Value::Text(text),
            Err(_) => Value::Blob(bytes.to_vec()),
        },
        _ => Value::Blob(bytes.to_vec()),
    }
}

/// Reads a varint of one to nine bytes from the front of `bytes`.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut number: u64 = 0;
    for n in 0..9 {
        let byte = *bytes.get(n)?;
        if n == 8 {
            number = number << 8 | u64::from(byte);
        } else {
            number = number << 7 | u64::from(byte & 0x7f);
        }
        if n == 8 || byte & 0x80 == 0 {
            *bytes = &bytes[n + 1..];
            break;
        }
    }
    Some(number.cast_signed())
}
