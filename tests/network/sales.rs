//! Failures that a till records, and what must hold for them in the end, whatever the network did.

use crate::support::{Agent, Upstream, id_of, record, wait_for, wait_up_to};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Failures in the order in which they were recorded.
#[derive(Debug, Default)]
pub(crate) struct Sales {
    /// Their ids, by entity.
    ids: BTreeMap<String, Vec<String>>,
}

impl Sales {
    /// Records `count` failures of `entities` entities in turn, due immediately.
    #[track_caller]
    pub(crate) fn record_now(agent: &Agent, count: usize, entities: usize) -> Self {
        Self::record(agent, count, entities, "now")
    }

    /// As above, due when the upstream is reachable.
    #[track_caller]
    pub(crate) fn record_offline(agent: &Agent, count: usize, entities: usize) -> Self {
        Self::record(agent, count, entities, "auto")
    }

    #[track_caller]
    fn record(agent: &Agent, count: usize, entities: usize, retry: &str) -> Self {
        let (mut app, mut sales) = (agent.app(), Self::default());
        for n in 0..count {
            let entity = format!("s-{}", n % entities);
            let reply = app.call(&record(&entity, &json!({"retry": retry, "payload": {"n": n}})));
            sales.ids.entry(entity).or_default().push(id_of(&reply));
        }
        sales
    }

    fn count(&self) -> usize {
        self.ids.values().map(Vec::len).sum()
    }

    /// Waits until all have left, and checks the promises: nothing lost, in order for each entity,
    /// every attempt with the same key and bytes, and nothing counted at any time.
    #[track_caller]
    pub(crate) fn assert_delivered(&self, agent: &Agent, upstream: &Upstream, patience: Duration) {
        wait_up_to(patience, "all failures being delivered", || {
            assert_untouched(agent);
            (agent.cell("SELECT COUNT(*) FROM sync_failures") == 0).then_some(())
        });
        assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE counted <> 0"), 0, "the line cost a retry");
        assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class = 'delivered'"), self.count());
        let arrived = upstream.deliveries();
        for (entity, ids) in &self.ids {
            let (mut seen, mut first) = (BTreeSet::new(), Vec::new());
            for request in arrived.iter().filter(|request| request.entity() == entity) {
                if seen.insert(request.id()) {
                    first.push(request.id());
                }
            }
            assert_eq!(&first, ids, "{entity} in order, without a gap");
        }
        for request in &arrived {
            assert_eq!(request.key(), request.id(), "the id is the key, on every attempt");
            let same = arrived.iter().find(|other| other.id() == request.id()).expect("itself at least");
            assert_eq!(request.text(), same.text(), "the same bytes on every attempt");
        }
    }
}

/// Checks that failures still in the table are as they were recorded.
#[track_caller]
pub(crate) fn assert_untouched(agent: &Agent) {
    let touched = "SELECT COUNT(*) FROM sync_failures \
                   WHERE retry_count <> 0 OR status <> 'pending' OR last_retry_at IS NOT NULL";
    assert_eq!(agent.cell(touched), 0, "the line cost a retry");
}

/// The classes of all completed attempts, in order.
pub(crate) fn classes(agent: &Agent) -> Vec<Value> {
    agent.column("SELECT class FROM sync_attempts ORDER BY id")
}

/// Waits for the first delivery after `before` requests. Returns how long after `begun` it came.
#[track_caller]
pub(crate) fn first_delivery(upstream: &Upstream, before: usize, begun: Instant, patience: Duration) -> Duration {
    let first = wait_up_to(patience, "the first delivery", || {
        upstream.requests().into_iter().skip(before).find(|request| request.method != "HEAD")
    });
    first.at.saturating_duration_since(begun)
}

/// Stops the agent and ages its files as if the till had been switched off for this many hours.
#[track_caller]
pub(crate) fn switch_off_for(agent: &mut Agent, hours: u32) {
    // The contact must be on disk.
    wait_for("contact with the upstream", || (!agent.column("SELECT state FROM upstreams").is_empty()).then_some(()));
    assert!(agent.stop().success(), "the agent stops");
    let database = Connection::open(agent.database()).expect("the file is free");
    let changed = database.execute("UPDATE agent SET wall_time = wall_time - ?1", [hours * 3_600_000]);
    assert_eq!(changed.expect("the agent's own row can be written"), 1);
}
