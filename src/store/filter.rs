//! Converts a [`Filter`] to SQL: a condition, and its bound values.

use crate::moment::WallTime;
use crate::question::Filter;
use crate::record::Status;

/// A condition with its values, in the order of its question marks.
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<String>,
}

/// The condition of a filter; always true for an empty one.
pub(super) fn condition(filter: &Filter) -> Condition {
    let mut all = Condition { sql: String::from("1"), values: Vec::new() };
    let status = match filter.status {
        // Worded like the partial index of critical and held failures, so that SQLite can use it.
        Some(Status::Held | Status::Critical) => {
            all.sql.push_str(" AND status <> 'pending'");
            filter.status
        }
        other => other,
    };
    let terms = [
        (" AND status = ?", status.map(|status| status.as_str().to_owned())),
        (" AND entity_type = ?", filter.entity_type.clone()),
        (" AND entity_id = ?", filter.entity_id.clone()),
        (" AND order_key = ?", filter.order_key.clone()),
        (" AND action = ?", filter.action.clone()),
        (" AND upstream = ?", filter.upstream.clone()),
        (" AND error_class = ?", filter.error_class.clone()),
        (" AND created_at >= ?", filter.since.map(WallTime::sql)),
        (" AND created_at < ?", filter.until.map(WallTime::sql)),
    ];
    for (sql, value) in terms {
        if let Some(value) = value {
            all.sql.push_str(sql);
            all.values.push(value);
        }
    }
    all
}
