//! The disk of the simulation: an in-memory machine under SQLite (`tests/vfs`), with about half of
//! the kinds of faults, as selected by the seed.
//!
//! A kill preserves the page cache, a power cut only what was synced. Both may come between any two
//! disk operations, also within a COMMIT; then it is unknown whether the round was written until
//! the file is open again. The same holds for a failed commit, whose fsync may have written
//! everything. Such a round stays undecided until the file is read.
//!
//! While the agent has closed the file because it could not be reopened, no check reads it: the
//! page cache shows contents that are on no disk.

use crate::people::Wish;
use crate::vfs::fault::{Fault, Plan};
use crate::vfs::image::Draft;
use crate::vfs::machine::{Machine, on};
use crate::vfs::medium::Op;
use crate::world::{HOUR, Happening, MINUTE, Waiting, World};
use fastrand::Rng;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

/// The agent dies in one of this many rounds, at a random disk operation.
const DEADLY_ROUNDS: u32 = 150;

/// The round in which the agent died.
#[derive(Debug)]
struct Undecided {
    /// The contents of the file before it, if the round reached its commit.
    before: Option<String>,
}

/// The simulated disk and the doubts that its faults leave.
#[derive(Debug)]
pub(crate) struct Disk {
    kinds: Vec<Fault>,
    power_cuts: bool,
    deadly_rounds: bool,
    faulty: bool,
    /// Whether another program has filled the disk.
    pub(crate) filled: bool,
    /// Since when outcomes have been waiting to be written.
    waiting_since: Option<i64>,
    /// Submissions that were ever answered with `storage`.
    pub(crate) doubts: BTreeSet<usize>,
    /// Number of audit lines and of file openings when the current doubts about operators' actions began.
    since: Option<(i64, u64)>,
    undecided: Option<Undecided>,
}

impl Disk {
    /// A new machine with the faults of this seed.
    pub(crate) fn new(dir: PathBuf, random: &mut Rng) -> Self {
        crate::vfs::install();
        let own = random.fork();
        on(|machine| {
            *machine = Machine::new(dir);
            machine.random = Some(own);
            machine.reserves = random.bool();
        });
        Self {
            kinds: Fault::ALL.into_iter().filter(|_| random.bool()).collect(),
            power_cuts: random.bool(),
            deadly_rounds: random.bool(),
            faulty: false,
            filled: false,
            waiting_since: None,
            doubts: BTreeSet::new(),
            since: None,
            undecided: None,
        }
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty
    }

    /// Ends all faults. Returns whether there was one.
    pub(crate) fn repair(&mut self) -> bool {
        on(|machine| (machine.plan, machine.full) = (None, false));
        std::mem::take(&mut self.faulty)
    }

    /// Removes the other program's files. Returns whether there were any.
    pub(crate) fn empties(&mut self) -> bool {
        on(|machine| machine.full = false);
        std::mem::take(&mut self.filled)
    }

    /// Some deaths of the agent are power cuts, in which anything unsynced may be lost.
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
    /// One of the next operations begins to fail, a few times or until the disk is repaired.
    pub(crate) fn disk_faults(&mut self) {
        if self.life.is_none() || self.commits_broken || self.disk.faulty {
            return;
        }
        let Some(fault) = self.random.choice(self.disk.kinds.iter().copied()) else { return };
        // Once only: at the second failure the agent no longer writes the history of deliveries.
        let once = matches!(fault, Fault::Full | Fault::Short);
        let times = if once { 1 } else { self.random.choice([1, 2, 3, u64::MAX]).expect("one") };
        let soon = self.random.u64(0..60);
        on(|machine| machine.plan = Some(Plan { fault, from: machine.operations + soon, times }));
        self.close_table();
        self.nobody_reads();
        self.disk.faulty = true;
        self.troubled_until = i64::MAX;
        self.trace.add(|| format!("{fault:?} after {soon} operations, {times} times"));
        self.plan_within(MINUTE, Happening::DiskWorks);
    }

    /// Another program fills a disk on which space can be reserved inside files: no file can grow.
    pub(crate) fn disk_is_filled(&mut self) {
        let reserves = on(|machine| machine.reserves);
        if !reserves || self.calm || self.life.is_none() || self.commits_broken || self.disk.faulty {
            return;
        }
        self.trace.add(|| "another program fills the disk".to_owned());
        // Removes the preallocated space and the free pages.
        crate::table::without_slack(&self.settings.file());
        on(|machine| machine.full = true);
        (self.disk.filled, self.disk_low, self.model.history_may_be_gone) = (true, true, true);
        self.tell_free_space();
        self.close_table();
        self.troubled_until = i64::MAX;
        self.plan(HOUR, Happening::DiskWorks);
        for _ in 0..20 {
            self.plan_within(HOUR, Happening::OneMoreWish);
        }
    }

    /// Delivery continues on a full disk, so outcomes must be written within a minute.
    pub(crate) fn outcomes_are_written(&mut self) {
        if self.model.unwritten_outcomes() == 0 || !self.disk.filled {
            self.disk.waiting_since = None;
            return;
        }
        let since = *self.disk.waiting_since.get_or_insert(self.time);
        let waited = self.time - since;
        promise!(waited < MINUTE, "progress", "on a full disk ends of requests have not been written for {waited} ms");
    }

    /// The space left on a full disk is reserved for outcomes: once outcomes use it, other writes get none.
    pub(crate) fn reserve_is_for_outcomes(&mut self, wish: &Wish) {
        let changes = matches!(
            wish,
            Wish::Retry { .. } | Wish::RetryMatching { .. } | Wish::DiscardMatching | Wish::Discard { .. }
        ) || matches!(wish, Wish::Release | Wish::Flush | Wish::Edit { .. } | Wish::Replay { .. })
            || matches!(wish, Wish::ReplayPart { .. });
        if self.disk.filled && changes && self.is_file_open() {
            let left = self.with_table(|_, table| table.reserve());
            promise!(left > 0, "disk", "{wish:?} was done in the room that is reserved for outcomes");
        }
    }

    /// The contents of the file, where they decide whether the next round was written. That round may be deadly.
    pub(crate) fn before_the_round(&mut self) -> Option<String> {
        // Whether a retry by id was applied is known only from its reply.
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

    /// Ends a round whose commit may have failed.
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

    /// Whether the disk itself may have failed recently.
    pub(crate) fn is_troubled(&self) -> bool {
        self.disk.faulty || (self.time <= self.troubled_until && !self.commits_broken)
    }

    /// Whether the agent has the file open, or there is no agent.
    pub(crate) fn is_file_open(&mut self) -> bool {
        if self.is_troubled() {
            self.close_table();
        }
        self.life.is_none() || on(|machine| machine.is_open("sync_failures.db"))
    }

    /// The agent died within the round.
    pub(crate) fn died_in_the_round(&mut self, before: Option<String>) {
        self.rounds += 1;
        self.trace.add(|| "died in the round".to_owned());
        self.kill();
        self.disk.undecided = Some(Undecided { before });
    }

    /// The agent was killed between two rounds. An earlier failed write may have succeeded anyway.
    pub(crate) fn killed_between_rounds(&mut self, troubled: bool) {
        if troubled {
            self.disk.undecided = Some(Undecided { before: None });
        } else {
            self.model.killed();
        }
    }

    /// The file is open again: decides whether the last round was written.
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

    /// An operator's request was answered with `storage`, so it may have been applied, unless it
    /// was refused before anything was written.
    pub(crate) fn in_doubt(&mut self, wish: &Wish, reply: &Value) {
        let refused = reply["error"]["message"].as_str().is_some_and(|text| text.contains("being opened again"));
        if let (Wish::Retry { seqs, reset }, false) = (wish, refused) {
            self.model.retry_in_doubt(seqs, *reset);
        }
    }

    /// While the disk is failing, the effects of a failed commit may become visible.
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

    /// Decides the doubts once the agent has reopened the file since they began.
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
