//! Idempotency keys of applications: the same key identifies the same failure, also after its removal.

use super::canonical::canonical;
use super::cells::{text, text_or_null};
use super::{Store, StoreError};
use crate::ids::{FailureId, Seq, revision_of};
use crate::moment::WallTime;
use crate::record::{Disposition, PayloadKind};
use ring::digest::{Context, SHA256};
use rusqlite::{OptionalExtension, Row, params};

/// SHA-256 of a record's content: entity type, entity id, action, payload; not the error.
pub type Digest = [u8; 32];

/// The digest of a content, each part with its length, so that different contents differ. Payloads that are the same
/// JSON value, or texts of the same one, are the same content: an application that serialises its sale again may order
/// or space it differently.
#[must_use]
pub fn digest(entity_type: &str, entity_id: &str, action: &str, payload: Option<(&str, PayloadKind)>) -> Digest {
    let mut context = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    [entity_type, entity_id, action].iter().for_each(|text| part(text.as_bytes()));
    if let Some((text, kind)) = payload {
        part(kind.as_str().as_bytes());
        let may_be_json = match kind {
            PayloadKind::Json => true,
            PayloadKind::Text => text.trim_start().starts_with(['{', '[']),
            PayloadKind::Bytes => false,
        };
        if let Some(value) = may_be_json.then(|| canonical(text)).flatten() {
            part(b"value");
            part(&value);
        } else {
            part(text.as_bytes());
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A known key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenKey {
    /// The failure recorded under it.
    pub failure: FailureId,
    /// The digest of that failure's content.
    pub content: Digest,
    /// How the failure was removed; `None` while it is live.
    pub outcome: Option<String>,
}

impl Store {
    /// Looks up a key that the same user has used before.
    pub fn key_seen(&self, uid: u32, key: &str) -> Result<Option<SeenKey>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT failure_id, sha256, outcome FROM idempotency_keys WHERE source_uid = ?1 AND key = ?2",
        )?;
        let read = |row: &Row| {
            Ok(SeenKey { failure: FailureId::new(text(row, 0)?), content: row.get(1)?, outcome: text_or_null(row, 2)? })
        };
        Ok(statement.query_row(params![uid, key], read).optional()?)
    }

    /// The failure other than `own` that is sent under this key or may have been, and is live or remembered; `None`: the
    /// key is free. The upstream would take a second failure for a repetition of that one, and drop it.
    ///
    /// A key is not free if any user has recorded other content than `content` under it (`None`: any content), or if
    /// it is the id of a failure, or the key of an edit of one. The same content may be recorded by two users: to the
    /// upstream that is one request.
    pub fn key_of_another(
        &self,
        key: &str,
        content: Option<&Digest>,
        own: Option<&FailureId>,
    ) -> Result<Option<FailureId>, StoreError> {
        let own = own.map(FailureId::as_str);
        let recorded = "SELECT failure_id FROM idempotency_keys \
                        WHERE key = ?1 AND sha256 IS NOT ?2 AND failure_id IS NOT ?3 LIMIT 1";
        let mut recorded = self.connection.prepare_cached(recorded)?;
        let read = |row: &Row| self.odd.read_elsewhere(text(row, 0));
        if let Some(other) = recorded.query_row(params![key, content, own], read).optional()?.flatten() {
            return Ok(Some(FailureId::new(other)));
        }
        let is_failure = "SELECT EXISTS (SELECT 1 FROM sync_failures WHERE id = ?1) \
                          OR EXISTS (SELECT 1 FROM sync_attempts WHERE failure_id = ?1)";
        let mut is_failure = self.connection.prepare_cached(is_failure)?;
        for id in [Some(key), revision_of(key).map(|(id, _)| id)].into_iter().flatten() {
            if own != Some(id) && is_failure.query_row([id], |row| row.get(0))? {
                return Ok(Some(FailureId::new(id)));
            }
        }
        Ok(None)
    }

    /// Stores a key with the failure that is recorded under it.
    pub fn keep_key(&mut self, uid: u32, key: &str, failure: &FailureId, content: &Digest) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO idempotency_keys (source_uid, key, failure_id, sha256) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![uid, key, failure.as_str(), content])?;
        self.wrote(1, key.len());
        Ok(())
    }

    /// Stores a key with a failure that is imported under it.
    pub fn take_key_back(
        &mut self,
        uid: u32,
        key: &str,
        failure: &FailureId,
        content: &Digest,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE idempotency_keys SET failure_id = ?3, sha256 = ?4, outcome = NULL, left_at = NULL, left_by = NULL \
                 WHERE source_uid = ?1 AND key = ?2",
            )?
            .execute(params![uid, key, failure.as_str(), content])?;
        Ok(())
    }

    /// The failure that was recorded under a key has left, and is live again with the same content.
    pub fn key_lives_again(&mut self, uid: u32, key: &str, failure: &FailureId) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE idempotency_keys SET outcome = NULL, left_at = NULL, left_by = NULL \
                 WHERE source_uid = ?1 AND key = ?2 AND failure_id = ?3",
            )?
            .execute(params![uid, key, failure.as_str()])?;
        Ok(())
    }

    /// Updates a key when the failure recorded under it is removed. An edit may have given the failure another key since.
    pub(super) fn key_left(
        &mut self,
        uid: u32,
        key: &str,
        (failure, id): (Seq, &FailureId),
        how: Disposition,
        at: WallTime,
    ) -> Result<(), StoreError> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE idempotency_keys SET outcome = ?3, left_at = ?4 WHERE source_uid = ?1 \
                 AND key = coalesce((SELECT recorded_key FROM sync_failures WHERE rowid = ?5), ?2) AND failure_id = ?6",
            )?
            .execute(params![uid, key, how.as_str(), at.sql(), failure.0, id.as_str()])?;
        self.wrote(changed, key.len());
        Ok(())
    }
}
