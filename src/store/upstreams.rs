//! Where each upstream stands, over a restart.

use super::{Store, StoreError};
use crate::moment::WallTime;
use crate::policy::upstream::Upstream;
use rusqlite::{OptionalExtension, params};

impl Store {
    /// What is stored of an upstream; `None` when it is new, or when an older version's state says
    /// nothing to this one: then it is met anew, which costs a probe.
    pub fn upstream(&self, name: &str) -> Result<Option<Upstream>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT state FROM upstreams WHERE name = ?1")?;
        let text: Option<String> = statement.query_row([name], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| {
            serde_json::from_str(&text)
                .inspect_err(|error| {
                    log::warn!("event=upstream_state_unreadable upstream={name} error={:?}", error.to_string());
                })
                .ok()
        }))
    }

    /// Names of all upstreams that a state is stored of.
    pub fn upstream_names(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT name FROM upstreams")?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Forgets an upstream that is not configured any more and that no failure is bound for.
    pub fn forget_upstream(&mut self, name: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM upstreams WHERE name = ?1")?.execute([name])?;
        Ok(())
    }

    /// Stores where an upstream stands, as JSON.
    pub fn keep_upstream(&mut self, name: &str, state: &str, at: WallTime) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO upstreams (name, state, updated_at) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
            )?
            .execute(params![name, state, at.sql()])?;
        Ok(())
    }
}
