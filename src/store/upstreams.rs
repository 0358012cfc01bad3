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

    /// All upstreams that a state is stored of, and by which ordering their heads are marked.
    pub fn upstream_names(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT name, ordering FROM upstreams")?;
        let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Forgets an upstream that is not configured any more and that no failure is bound for.
    pub fn forget_upstream(&mut self, name: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM upstreams WHERE name = ?1")?.execute([name])?;
        Ok(())
    }

    /// The routes by which failures got their upstreams, in one text.
    pub fn routes(&self) -> Result<String, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT routes FROM agent WHERE id = 1")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// Failures have their upstreams by these routes now.
    pub fn keep_routes(&mut self, routes: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached("UPDATE agent SET routes = ?1 WHERE id = 1")?.execute([routes])?;
        Ok(())
    }

    /// Heads are marked by this ordering now.
    pub fn ordered(&mut self, name: &str, ordering: &str) -> Result<(), StoreError> {
        let sql = "UPDATE upstreams SET ordering = ?2 WHERE name = ?1";
        self.connection.prepare_cached(sql)?.execute([name, ordering])?;
        Ok(())
    }

    /// Stores where an upstream stands, as JSON. A new one's heads are marked by this ordering.
    pub fn keep_upstream(&mut self, name: &str, state: &str, ordering: &str, at: WallTime) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO upstreams (name, state, ordering, updated_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
            )?
            .execute(params![name, state, ordering, at.sql()])?;
        Ok(())
    }
}
