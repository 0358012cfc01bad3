//! The audit's table: operator actions.

use super::{Store, StoreError};
use crate::ids::FailureId;
use crate::moment::WallTime;
use rusqlite::params;

/// The user who acted: what the socket proves, and what is only claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// User id of the peer.
    pub uid: Option<u32>,
    /// Name of that user.
    pub name: Option<String>,
    /// The person or program that the peer claims to act for.
    pub claimed_by: Option<String>,
}

impl Store {
    /// Stores one action, a row for each failure. The row contains the failure's entity because it outlives the
    /// failure, so the audit of a removal is stored before the removal.
    pub fn audit(
        &mut self,
        at: WallTime,
        actor: &Actor,
        operation: &str,
        failure: Option<&FailureId>,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO audit_log (at, actor_uid, actor_name, claimed_by, operation, failure_id, reason, \
                 seq, entity_type, entity_id, action) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, seq, entity_type, entity_id, action \
                 FROM (SELECT 1) LEFT JOIN sync_failures ON sync_failures.id = ?6",
            )?
            .execute(params![
                at.sql(),
                actor.uid,
                actor.name,
                actor.claimed_by,
                operation,
                failure.map(FailureId::as_str),
                reason
            ])?;
        // An edit may store a large payload. Operator actions are rare, so the recount is cheap.
        self.spare = 0;
        Ok(())
    }
}
