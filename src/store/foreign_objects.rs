//! Triggers and indexes of other programs on the agent's tables. They run inside the agent's own statements: a trigger
//! can drop a row that is then acknowledged, and an index can refuse it. So they are removed, and the log keeps their
//! text. Indexes that can only make reading faster stay.

use super::{StoreSettings, migrations};
use rusqlite::Connection;

/// A trigger or an index.
#[derive(Debug)]
pub(super) struct ForeignObject {
    kind: String,
    name: String,
    table: String,
    sql: String,
}

/// Triggers, and indexes that can refuse a row: because they are unique, or because they, their condition or their order
/// compute something.
pub(super) fn found(connection: &Connection, settings: &StoreSettings) -> rusqlite::Result<Vec<ForeignObject>> {
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND (type = 'trigger' OR type = 'index' \
               AND (EXISTS (SELECT 1 FROM pragma_index_list(tbl_name) AS list WHERE list.name = sqlite_schema.name \
               AND (list.\"unique\" OR list.partial)) \
               OR EXISTS (SELECT 1 FROM pragma_index_xinfo(sqlite_schema.name) AS part WHERE cid = -2 \
               OR upper(coll) NOT IN ('BINARY', 'NOCASE', 'RTRIM') \
               OR EXISTS (SELECT 1 FROM pragma_table_xinfo(tbl_name) AS own WHERE own.cid = part.cid AND hidden > 1))))";
    let mut statement = connection.prepare_cached(sql)?;
    let object = |row: &rusqlite::Row| {
        Ok(ForeignObject { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    };
    let all: Vec<ForeignObject> = statement.query_map([], object)?.collect::<Result<_, _>>()?;
    let is_foreign = |object: &ForeignObject| {
        let ours = object.kind == "index" && migrations::define_index(&object.name);
        let stays = object.kind == "trigger" && settings.keep_triggers;
        !ours && !stays && migrations::define_table(&object.table)
    };
    Ok(all.into_iter().filter(is_foreign).collect())
}

/// Removes them, in the caller's transaction; returns whether there were any.
pub(super) fn remove(connection: &Connection, settings: &StoreSettings) -> rusqlite::Result<bool> {
    let objects = found(connection, settings)?;
    for ForeignObject { kind, name, table, sql } in &objects {
        connection.execute_batch(&format!("DROP {kind} \"{}\"", name.replace('"', "\"\"")))?;
        log::warn!("event=foreign_object_removed type={kind} name={name:?} table={table} sql={sql:?}");
    }
    Ok(!objects.is_empty())
}
