//! The upstreams' states, which survive a restart.

use super::cells::text;
use super::{Store, StoreError};
use crate::moment::WallTime;
use crate::policy::upstream::Upstream;
use rusqlite::{OptionalExtension, Row, params};

impl Store {
    /// The stored state of an upstream; `None` if it is new, or if this version cannot parse the state. Then the
    /// upstream starts without a state, which costs a probe.
    pub fn upstream(&self, name: &str) -> Result<Option<Upstream>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT state FROM upstreams WHERE name = ?1")?;
        let read = |row: &Row| self.odd.read_elsewhere(text(row, 0));
        let text: Option<String> = statement.query_row([name], read).optional()?.flatten();
        Ok(text.and_then(|text| {
            serde_json::from_str(&text)
                .inspect_err(|error| {
                    log::warn!("event=upstream_state_unreadable upstream={name} error={:?}", error.to_string());
                })
                .ok()
        }))
    }

    /// All upstreams with a stored state, and the ordering by which their heads are marked.
    pub fn upstream_names(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT name, ordering FROM upstreams")?;
        let mut rows = statement.query([])?;
        let mut names = Vec::new();
        while let Some(row) = rows.next()? {
            let read = || Ok((text(row, 0)?, text(row, 1)?));
            names.extend(self.odd.read_elsewhere(read())?);
        }
        Ok(names)
    }

    /// Deletes an upstream that is no longer configured and has no failures.
    pub fn forget_upstream(&mut self, name: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM upstreams WHERE name = ?1")?.execute([name])?;
        Ok(())
    }

    /// The routes by which failures got their upstreams, as one text.
    pub fn routes(&self) -> Result<String, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT routes FROM agent WHERE id = 1")?;
        let read = |row: &Row| self.odd.read_elsewhere(text(row, 0));
        Ok(statement.query_row([], read)?.unwrap_or_default())
    }

    /// Stores that all failures are routed by these routes.
    pub fn keep_routes(&mut self, routes: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached("UPDATE agent SET routes = ?1 WHERE id = 1")?.execute([routes])?;
        Ok(())
    }

    /// Stores that an upstream's heads are marked by this ordering.
    pub fn ordered(&mut self, name: &str, ordering: &str) -> Result<(), StoreError> {
        let sql = "UPDATE upstreams SET ordering = ?2 WHERE name = ?1";
        self.connection.prepare_cached(sql)?.execute([name, ordering])?;
        Ok(())
    }

    /// Stores an upstream's state, as JSON. The heads of a new one are marked by this ordering.
    pub fn keep_upstream(&mut self, name: &str, state: &str, ordering: &str, at: WallTime) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO upstreams (name, state, ordering, updated_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
            )?
            .execute(params![name, state, ordering, at.sql()])?;
        self.wrote(1, state.len());
        Ok(())
    }
}
