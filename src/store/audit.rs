//! What people did.

use super::{Store, StoreError};
use crate::ids::FailureId;
use crate::moment::WallTime;
use rusqlite::params;

/// Who did it: what the socket proves, and what is only claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The peer's user.
    pub uid: Option<u32>,
    /// Its name.
    pub name: Option<String>,
    /// Whom the peer says it acts for.
    pub claimed_by: Option<String>,
}

impl Store {
    /// Keeps one deed; one row a failure, with what that is, for the audit outlives it. So a deed that
    /// takes it away is kept before it has gone.
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
        // An edit may have brought a large payload; and what people do is rare.
        self.spare = 0;
        Ok(())
    }
}
