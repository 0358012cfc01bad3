//! Kills, power cuts and restarts of the agent over what is left on the disk.

use super::{DAY, HOUR, Happening, Held, Life, MINUTE, SECOND, Waiting, World};
use crate::model::{Known, Model};
use crate::tills::Told;
use crate::vfs::machine::{Machine, on};
use resyncd::agent::Agent;
use resyncd::moment::Moment;
use resyncd::store::Store;
use std::collections::BTreeMap;

impl World {
    /// Kills the agent once in `often` calls. Returns whether it is dead, from this call or before.
    pub(crate) fn kill_perhaps(&mut self, often: u32) -> bool {
        if self.life.is_some() && !self.calm && self.random.u32(0..often) == 0 {
            let troubled = self.time <= self.troubled_until;
            self.kill();
            self.killed_between_rounds(troubled);
        }
        self.life.is_none()
    }

    /// The agent dies now, or has died within its round; the power may fail with it.
    pub(crate) fn kill(&mut self) {
        self.trace.add(|| "killed".to_owned());
        self.table = None;
        self.reader = None;
        on(Machine::kill);
        drop(self.life.take());
        on(Machine::revive);
        if self.disk.power_goes(&mut self.random) {
            self.trace.add(|| "power cut".to_owned());
        }
        self.buried();
        let down = [SECOND, SECOND, MINUTE, MINUTE, MINUTE, HOUR, HOUR, 8 * HOUR, 8 * HOUR, 5 * DAY];
        let most = self.random.choice(down).expect("a time");
        self.plan_within(most, Happening::Start);
    }

    /// Forgets the dead agent: undelivered effects are lost.
    pub(crate) fn buried(&mut self) {
        self.table = None;
        self.reader = None;
        self.stopping = false;
        for (_, waits) in std::mem::take(&mut self.waiting).into_values().flatten() {
            if let Waiting::Record(n) = waits {
                self.tills.lost(n);
            }
        }
        self.repair_disk();
        // Some of its requests that are under way still arrive.
        let random = &mut self.random;
        self.queue.retain(|_, happening| !matches!(happening, Happening::Taken { .. }) || random.bool());
    }

    pub(super) fn start(&mut self) {
        let wall = self.wall();
        let store = Store::open(self.settings.clone(), wall).expect("the store opens after every kill");
        self.decide_last_round();
        let agent_time = store.ledger().resumed(wall);
        promise!(agent_time >= store.ledger().at.agent, "clock", "agent time went back");
        let now = Moment { agent: agent_time, wall };
        let mut agent = Agent::start(store, &self.config, self.random.u64(..), now).expect("the agent starts");
        agent.keep_watch(now);
        // The terminal has few failures, so small chunks give a bulk operation several of them.
        agent.goes_in_parts_of(self.random.choice([2, 3, 500]).expect("a number"));
        agent.set_prefetch(self.random.choice([0, 1, 16]).expect("a number"));
        self.lives += 1;
        self.life = Some(Life {
            agent,
            number: self.lives,
            told: BTreeMap::new(),
            held: Held::default(),
            began: (agent_time, self.time),
        });
        self.trace.add(|| format!("started at agent time {} wall {wall}", agent_time.as_millis()));
        self.tell_free_space();
        self.adopt();
        self.see_departures();
        self.with_table(Model::compare_all);
    }

    /// Learns from the file which failures were recorded without an acknowledgement.
    pub(crate) fn adopt(&mut self) {
        for row in self.with_table(|_, table| table.rows()) {
            if self.model.known.contains_key(&row.seq) {
                continue;
            }
            let found = self.tills.by_payload(row.payload.as_deref());
            let submission = found.map(|n| &mut self.tills.submissions[n]);
            let Some(submission) = submission.filter(|it| it.told == Told::Nothing && it.faulty.is_none()) else {
                panic!("refused means absent: no client can have recorded {row:?}, or it was rejected: {found:?}");
            };
            submission.told = Told::Recorded(row.seq);
            let key = submission.key.as_deref();
            let known = Known::new(&row.id, &submission.order, &submission.raw, key, &submission.entity_id);
            self.model.learn(row.seq, known);
            self.trace.add(|| format!("recorded, without a reply: {}", row.seq));
        }
    }
}
