//! What an edit does to a row: new content, perhaps a new key, number and place in the order; and its
//! line in the audit, with the old payload.

use super::audit::Actor;
use super::failures::{Filed, Successor};
use super::{Store, StoreError};
use crate::ids::{FailureId, Seq};
use crate::moment::{Moment, WallTime};
use crate::record::{Failure, PayloadKind};
use ring::digest;
use rusqlite::{OptionalExtension, params};
use std::fmt::Write as _;

/// A failure as an edit makes it.
#[derive(Clone, Debug)]
pub struct Edited<'a> {
    /// Whose failure it is.
    pub entity_type: &'a str,
    /// See there.
    pub entity_id: &'a str,
    /// What is done with the entity.
    pub action: &'a str,
    /// What is sent.
    pub payload: Option<(&'a str, PayloadKind)>,
    /// The key under which it goes out; `None`: its id.
    pub key: Option<&'a str>,
    /// Where it goes.
    pub upstream: Option<&'a str>,
    /// Class of its last counted try, or why it goes nowhere.
    pub error_class: Option<&'a str>,
    /// May it have arrived under this key?
    pub unsure: bool,
    /// It is of another entity now, and goes behind all that were recorded before.
    pub new_seq: bool,
    /// Does nothing have to leave before it (`ordering = "none"`)?
    pub free: bool,
}

impl Store {
    /// Makes a failure what an edit says, with a fresh start in the policy's eyes, due now. Its number,
    /// and who is first in the order that it leaves, come back.
    pub fn edit(
        &mut self,
        failure: &Failure,
        now: Moment,
        filed: &Filed,
        edited: &Edited,
    ) -> Result<(Seq, Option<Successor>), StoreError> {
        self.refile(failure.seq, now, filed)?;
        let seq = if edited.new_seq { self.ledger.take_seq() } else { failure.seq };
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET entity_type = ?2, entity_id = ?3, action = ?4, payload = ?5, payload_kind = ?6, \
                 recorded_key = CASE WHEN idempotency_key IS ?7 THEN recorded_key ELSE coalesce(recorded_key, idempotency_key) END, \
                 idempotency_key = ?7, upstream = ?8, error_class = ?9, unsure = ?10, rowid = ?11, seq = ?11 WHERE rowid = ?1",
            )?
            .execute(params![
                failure.seq.0,
                edited.entity_type,
                edited.entity_id,
                edited.action,
                edited.payload.map(|(text, _)| text),
                edited.payload.map(|(_, kind)| kind.as_str()),
                edited.key,
                edited.upstream,
                edited.error_class,
                edited.unsure,
                seq.0,
            ])?;
        let order = self.by_seq(seq)?.map_or_else(|| failure.order(), |now| now.order());
        let head = edited.free || self.head_of(&order)?.as_ref() == Some(&failure.id);
        self.connection
            .prepare_cached("UPDATE sync_failures SET head = ?2 WHERE rowid = ?1")?
            .execute(params![seq.0, head])?;
        Ok((seq, self.successor(&failure.order())?))
    }

    /// Keeps an edit, with what was there before; `changes` are those beside the payload. Said before
    /// the edit is done.
    pub fn audit_edit(
        &mut self,
        at: WallTime,
        actor: &Actor,
        (failure, edited): (&Failure, &Edited),
        reason: Option<&str>,
        changes: Option<&str>,
    ) -> Result<(), StoreError> {
        self.audit(at, actor, "edit", Some(&failure.id), reason)?;
        let old = failure.payload.as_ref().map(|(text, _)| text.as_str());
        let new = edited.payload.map(|(text, _)| text);
        self.connection
            .prepare_cached(
                "UPDATE audit_log SET sha256_before = ?1, sha256_after = ?2, old_payload = ?3, changes = ?4 \
                 WHERE id = last_insert_rowid()",
            )?
            .execute(params![old.map(sha256), new.map(sha256), old, changes])?;
        Ok(())
    }

    /// Of the tries of a failure that say whether it has arrived, the last one's class.
    pub fn last_telling_class(&self, failure: &FailureId) -> Result<Option<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT class FROM sync_attempts WHERE failure_id = ?1 AND class IN ('unsure', 'refused', 'failed') \
             ORDER BY id DESC LIMIT 1",
        )?;
        Ok(statement.query_row([failure.as_str()], |row| row.get(0)).optional()?)
    }
}

/// The SHA-256 of a text, as people compare it.
fn sha256(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
