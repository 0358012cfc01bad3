//! Writes an edit: new content, perhaps a new key, number and place in the order; and its audit row, with the old
//! payload.

use super::audit::Actor;
use super::checksum::Checked;
use super::failures::{RetryColumns, Successor};
use super::rows::stored_payload;
use super::{Store, StoreError, checksum};
use crate::ids::{FailureId, Seq};
use crate::moment::{Moment, WallTime};
use crate::record::{Failure, PayloadKind};
use ring::digest;
use rusqlite::params;
use std::fmt::Write as _;

/// A failure after its edit.
#[derive(Clone, Debug)]
pub struct Edited<'a> {
    /// Type of the entity.
    pub entity_type: &'a str,
    /// Id of the entity.
    pub entity_id: &'a str,
    /// What is done with the entity.
    pub action: &'a str,
    /// The payload to send.
    pub payload: Option<(&'a str, PayloadKind)>,
    /// The key to send; `None`: the failure's id.
    pub key: Option<&'a str>,
    /// Name of the upstream.
    pub upstream: Option<&'a str>,
    /// Class of the last counted attempt, or `no_route`.
    pub error_class: Option<&'a str>,
    /// The failure may have arrived under this key.
    pub unsure: bool,
    /// The entity has changed, so the failure goes behind all that were recorded before.
    pub new_seq: bool,
    /// Whether it waits for no other failure (`ordering = "none"`).
    pub free: bool,
    /// Does its upstream keep one order for all (`ordering = "strict"`)?
    pub strict: bool,
}

impl Store {
    /// Writes the edit; the failure starts over, due now. Returns its number, and the next failure of the order that it
    /// leaves.
    pub fn edit(
        &mut self,
        failure: &Failure,
        now: Moment,
        retry_columns: &RetryColumns,
        edited: &Edited,
    ) -> Result<(Seq, Option<Successor>), StoreError> {
        self.update_retry_state(failure.seq, now, retry_columns)?;
        let seq = if edited.new_seq { self.ledger.take_seq() } else { failure.seq };
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET entity_type = ?2, entity_id = ?3, action = ?4, payload = ?5, payload_kind = ?6, \
                 recorded_key = CASE WHEN idempotency_key IS ?7 THEN recorded_key ELSE coalesce(recorded_key, idempotency_key) END, \
                 idempotency_key = ?7, upstream = ?8, error_class = ?9, unsure = ?10, rowid = ?11, seq = ?11, \
                 content_checksum = ?12, strict = ?13 WHERE rowid = ?1",
            )?
            .execute(params![
                failure.seq.0,
                edited.entity_type,
                edited.entity_id,
                edited.action,
                edited.payload.map(|(text, kind)| stored_payload(text, kind)),
                edited.payload.map(|(_, kind)| kind.as_str()),
                edited.key,
                edited.upstream,
                edited.error_class,
                edited.unsure,
                seq.0,
                checksum::of(&Checked {
                    id: failure.id.as_str(),
                    key: edited.key,
                    names: [edited.entity_type, edited.entity_id, edited.action],
                    payload: edited.payload,
                }),
                edited.strict,
            ])?;
        let order = self.by_seq(seq)?.map_or_else(|| failure.order(), |now| now.order());
        let head = edited.free || self.head_of(&order)?.as_ref() == Some(&failure.id);
        self.connection
            .prepare_cached("UPDATE sync_failures SET head = ?2 WHERE rowid = ?1")?
            .execute(params![seq.0, head])?;
        Ok((seq, self.successor(&failure.order())?))
    }

    /// Audits an edit with the old content; `changes` are those other than the payload. Called before the edit is
    /// written.
    pub fn audit_edit(
        &mut self,
        at: WallTime,
        actor: &Actor,
        (failure, edited): (&Failure, &Edited),
        reason: Option<&str>,
        changes: Option<&str>,
    ) -> Result<(), StoreError> {
        self.audit(at, actor, "edit", Some(&failure.id), reason)?;
        let old = failure.payload.as_ref().map(|(text, kind)| (text.as_str(), *kind));
        let sha256_of = |payload: Option<(&str, PayloadKind)>| payload.map(|(text, kind)| sha256(&kind.bytes_of(text)));
        let kept = old.map(|(text, kind)| stored_payload(text, kind));
        self.connection
            .prepare_cached(
                "UPDATE audit_log SET sha256_before = ?1, sha256_after = ?2, old_payload = ?3, changes = ?4 \
                 WHERE id = last_insert_rowid()",
            )?
            .execute(params![sha256_of(old), sha256_of(edited.payload), kept, changes])?;
        Ok(())
    }

    /// Returns whether a failure was attempted, and each attempt that reached the upstream was answered by a response
    /// that says that the failure was not accepted. A gateway's time-out says nothing of the kind. After an import or a replay that is not known: it may have been
    /// accepted elsewhere, or before.
    pub fn all_were_answered(&self, failure: &FailureId) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT COUNT(*) > 0 AND SUM(class IN ('unsure', 'delivered', 'busy')) = 0 AND NOT EXISTS (SELECT 1 FROM audit_log \
             WHERE failure_id = ?1 AND operation IN ('import', 'replay')) FROM sync_attempts \
             WHERE failure_id = ?1 AND (class IN ('unsure', 'refused', 'failed', 'delivered') \
             OR (class = 'busy' AND http_status IN (504, 524)))",
        )?;
        let all = statement.query_row([failure.as_str()], |row| row.get::<_, Option<bool>>(0))?;
        Ok(all.unwrap_or(false))
    }
}

/// The SHA-256 of a payload, as operators compare it.
fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
