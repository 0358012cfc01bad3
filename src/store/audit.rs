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
    /// Keeps one deed; one row a failure.
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
                "INSERT INTO audit_log (at, actor_uid, actor_name, claimed_by, operation, failure_id, reason) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
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
        Ok(())
    }
}
