//! The disk of the simulation: a machine in memory under SQLite (`tests/vfs`), with the faults that
//! the seed has switched on, about half of their kinds.
//!
//! A kill leaves the page cache, a power cut only what was synced. Both may come between any two of
//! the disk's operations, also within a COMMIT; then nobody outside knows whether the round has
//! happened, until the file is open again. The same is true of a commit that fails: its fsync may
//! have written everything. What is in doubt stays so until the file tells.
//!
//! While the agent has its file closed, because it could not be opened anew, nobody else looks into it:
//! the page cache shows what no disk has.

use crate::people::Wish;
use crate::vfs::fault::{Fault, Plan};
use crate::vfs::image::Draft;
use crate::vfs::machine::{Machine, on};
use crate::vfs::medium::Op;
use crate::world::{Happening, MINUTE, Waiting, World};
use fastrand::Rng;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

/// Of so many rounds the agent dies in one, at any operation of the disk.
const DEADLY_ROUNDS: u32 = 150;

/// The round in which the agent died.
#[derive(Debug)]
struct Undecided {
    /// What the file held before it, if it had come to its commit.
    before: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    kinds: Vec<Fault>,
    power_cuts: bool,
    deadly_rounds: bool,
    faulty: bool,
    /// Submissions that were answered with `storage` at some time.
    pub(crate) doubts: BTreeSet<usize>,
    /// Deeds of people are in doubt since the audit had so many lines, and files were opened so often.
    since: Option<(i64, u64)>,
    undecided: Option<Undecided>,
}

impl Disk {
    /// A new machine, with the faults of this seed.
    pub(crate) fn new(dir: PathBuf, random: &mut Rng) -> Self {
        crate::vfs::install();
        let own = random.fork();
        on(|machine| {
            *machine = Machine::new(dir);
            machine.random = Some(own);
        });
        Self {
            kinds: Fault::ALL.into_iter().filter(|_| random.bool()).collect(),
            power_cuts: random.bool(),
            deadly_rounds: random.bool(),
            faulty: false,
            doubts: BTreeSet::new(),
            since: None,
            undecided: None,
        }
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty
    }

    /// No fault from now on; was there one?
    pub(crate) fn repair(&mut self) -> bool {
        on(|machine| machine.plan = None);
        std::mem::take(&mut self.faulty)
    }

    /// With some deaths of the agent the power goes too: what was not synced is there or not.
    pub(crate) fn power_goes(&self, random: &mut Rng) -> bool {
        let goes = self.power_cuts && random.bool();
        if goes {
            on(|machine| {
                let image = Rc::new(Draft::draw(&machine.medium, random).build());
                machine.happens(Op::PowerCut(image.clone()));
                machine.boot(&image);
            });
        }
        goes
    }
}

impl World {
    /// From one of the next operations on something fails, for some times or until it is repaired.
    pub(crate) fn disk_faults(&mut self) {
        if self.life.is_none() || self.commits_broken || self.disk.faulty {
            return;
        }
        let Some(fault) = self.random.choice(self.disk.kinds.iter().copied()) else { return };
        // Once only: at the second the agent gives up the history of what it delivers.
        let once = matches!(fault, Fault::Full | Fault::Short);
        let times = if once { 1 } else { self.random.choice([1, 2, 3, u64::MAX]).expect("one") };
        let soon = self.random.u64(0..60);
        on(|machine| machine.plan = Some(Plan { fault, from: machine.operations + soon, times }));
        self.close_table();
        self.disk.faulty = true;
        self.troubled_until = i64::MAX;
        self.trace.add(|| format!("{fault:?} after {soon} operations, {times} times"));
        self.plan_within(MINUTE, Happening::DiskWorks);
    }

    /// What the file holds, where that decides whether the coming round has happened. It may be deadly.
    pub(crate) fn before_the_round(&mut self) -> Option<String> {
        // Whether a retry by name was taken is only known from its answer.
        let by_name = |waits: &Waiting| matches!(waits, Waiting::Wish(Wish::Retry { .. }));
        let plain = !self.waiting.values().flatten().any(|(_, waits)| by_name(waits));
        let deadly = plain && !self.calm && self.disk.deadly_rounds && self.random.u32(0..DEADLY_ROUNDS) == 0;
        if (!deadly && !self.is_troubled()) || !self.is_file_open() {
            return None;
        }
        let before = self.with_table(|_, table| table.everything());
        if deadly {
            let soon = self.random.u64(1..40);
            on(|machine| machine.dies_at = Some(machine.operations + soon));
        }
        Some(before)
    }

    /// A round has ended whose commit may have failed.
    pub(crate) fn ended_in_trouble(&mut self, before: Option<String>) {
        if !self.is_file_open() {
            self.model.all_refused();
            return;
        }
        self.resolve_doubts_once_opened();
        let table = self.take_table();
        let broken = before.is_none_or(|before| before == table.everything());
        self.model.committed(&table, &self.upstream, broken);
        self.keep_table(table);
    }

    /// May the disk itself have failed lately?
    pub(crate) fn is_troubled(&self) -> bool {
        self.disk.faulty || (self.time <= self.troubled_until && !self.commits_broken)
    }

    /// The agent has it open, or there is no agent.
    pub(crate) fn is_file_open(&mut self) -> bool {
        if self.is_troubled() {
            self.close_table();
        }
        self.life.is_none() || on(|machine| machine.is_open("sync_failures.db"))
    }

    /// It has died there.
    pub(crate) fn died_in_the_round(&mut self, before: Option<String>) {
        self.rounds += 1;
        self.trace.add(|| "died in the round".to_owned());
        self.kill();
        self.disk.undecided = Some(Undecided { before });
    }

    /// It was killed between two rounds. What failed before that may have happened all the same.
    pub(crate) fn killed_between_rounds(&mut self, troubled: bool) {
        if troubled {
            self.disk.undecided = Some(Undecided { before: None });
        } else {
            self.model.killed();
        }
    }

    /// The file is open again: has the last round happened?
    pub(crate) fn decide_last_round(&mut self) {
        self.resolve_doubts();
        let Some(Undecided { before }) = self.disk.undecided.take() else { return };
        let table = self.take_table();
        let broken = before.is_none_or(|before| before == table.everything());
        self.trace.add(|| format!("the last round has {}happened", if broken { "not " } else { "" }));
        self.model.committed(&table, &self.upstream, broken);
        self.keep_table(table);
        self.model.killed();
    }

    /// A person's wish was answered with `storage`; what was refused before anything was written is
    /// no question.
    pub(crate) fn in_doubt(&mut self, wish: &Wish, reply: &Value) {
        let refused = reply["error"]["message"].as_str().is_some_and(|text| text.contains("being opened again"));
        if let (Wish::Retry { seqs, reset }, false) = (wish, refused) {
            self.model.retry_in_doubt(seqs, *reset);
        }
    }

    /// While the disk is in trouble: what a failed commit has written may show now.
    pub(crate) fn see_what_came_to_light(&mut self) {
        if self.life.is_none() || !self.is_file_open() {
            return;
        }
        if self.time > self.troubled_until {
            self.model.forget_doubts();
            self.disk.since = None;
            return;
        }
        self.resolve_doubts_once_opened();
        if self.disk.since.is_none() && self.model.doubts() {
            let audited = self.with_table(|_, table| table.audited());
            self.disk.since = Some((audited, on(|machine| machine.evictions)));
        }
        self.adopt();
    }

    /// The agent has opened the file anew since there are doubts: now it tells.
    fn resolve_doubts_once_opened(&mut self) {
        if self.disk.since.is_some_and(|(_, before)| on(|machine| machine.evictions) > before) {
            self.resolve_doubts();
        }
    }

    fn resolve_doubts(&mut self) {
        let Some((audited, _)) = self.disk.since.take() else { return };
        let table = self.take_table();
        self.model.doubts_resolved(audited, &table);
        self.keep_table(table);
    }
}
