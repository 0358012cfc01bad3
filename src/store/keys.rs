//! The keys that applications gave: the same key again is the same failure, also after it left.

use super::{Store, StoreError};
use crate::ids::{FailureId, Seq};
use crate::moment::WallTime;
use crate::record::{Leaving, PayloadKind};
use ring::digest::{Context, SHA256};
use rusqlite::{OptionalExtension, params};

/// SHA-256 of what a record says: entity type, entity id, action, payload; not the error.
pub type Digest = [u8; 32];

/// The digest of a content, each part with its length, so that no two contents are alike.
#[must_use]
pub fn digest(entity_type: &str, entity_id: &str, action: &str, payload: Option<(&str, PayloadKind)>) -> Digest {
    let mut context = Context::new(&SHA256);
    let mut part = |text: &str| {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    };
    part(entity_type);
    part(entity_id);
    part(action);
    if let Some((text, kind)) = payload {
        part(kind.as_str());
        part(text);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A key that was seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenKey {
    /// The failure that was recorded under it.
    pub failure: FailureId,
    /// What that one said.
    pub content: Digest,
    /// How it left; `None` while it is live.
    pub outcome: Option<String>,
}

impl Store {
    /// Was this key given before, by the same user?
    pub fn key_seen(&self, uid: u32, key: &str) -> Result<Option<SeenKey>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT failure_id, sha256, outcome FROM idempotency_keys WHERE source_uid = ?1 AND key = ?2",
        )?;
        let seen = statement.query_row(params![uid, key], |row| {
            Ok(SeenKey {
                failure: FailureId::new(row.get::<_, String>(0)?),
                content: row.get(1)?,
                outcome: row.get(2)?,
            })
        });
        Ok(seen.optional()?)
    }

    /// Keeps a key with the failure that is recorded under it.
    pub fn keep_key(&mut self, uid: u32, key: &str, failure: &FailureId, content: &Digest) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO idempotency_keys (source_uid, key, failure_id, sha256) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![uid, key, failure.as_str(), content])?;
        Ok(())
    }

    /// Keeps a key with a failure that comes back under it.
    pub fn take_key_back(
        &mut self,
        uid: u32,
        key: &str,
        failure: &FailureId,
        content: &Digest,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE idempotency_keys SET failure_id = ?3, sha256 = ?4, outcome = NULL, left_at = NULL \
                 WHERE source_uid = ?1 AND key = ?2",
            )?
            .execute(params![uid, key, failure.as_str(), content])?;
        Ok(())
    }

    /// The failure recorded under a key leaves; an edit may have given it another key meanwhile.
    pub(super) fn key_left(
        &mut self,
        uid: u32,
        key: &str,
        failure: Seq,
        how: Leaving,
        at: WallTime,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE idempotency_keys SET outcome = ?3, left_at = ?4 WHERE source_uid = ?1 \
                 AND key = coalesce((SELECT recorded_key FROM sync_failures WHERE rowid = ?5), ?2)",
            )?
            .execute(params![uid, key, how.as_str(), at.sql(), failure.0])?;
        Ok(())
    }
}
