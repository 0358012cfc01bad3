//! The world around one agent: time, and everything that happens in it.
//!
//! There is one queue of events by virtual time, and one random generator. The world moves from the
//! next event or deadline of the agent to the following one, so an idle hour costs nothing. At each
//! step the agent may be killed, and the power may fail with it; it restarts later over what is
//! left. The disk is in [`crate::disk`].
//!
//! The agent's inputs and effects are in [`crate::round`].

use crate::disk::Disk;
use crate::model::Model;
use crate::people::Wish;
use crate::table::{Table, break_commits};
use crate::tills::Tills;
use crate::trace::Trace;
use crate::upstream::{Fate, Upstream};
use fastrand::Rng;
use resyncd::agent::{Agent, ClientId, Dispatch, ReaderRequest};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::io::queue::Waiting as Held;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::StoreSettings;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[path = "lives.rs"]
mod lives;
#[path = "replays.rs"]
mod replays;

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
const YEARS_10: i64 = 3652 * DAY;
/// 2026-11-24, the time of a correct clock.
const WALL: i64 = 1_795_500_000_000;
/// Limit on consecutive rounds without an event; upkeep is done in small chunks.
const MOST_IDLE_ROUNDS: u32 = 1000;
/// A week with faults has a few thousand rounds; an agent that wakes needlessly has more.
const MOST_ROUNDS: u64 = 30_000;
/// How long after a fault the agent may still report a database failure.
const RECOVERY: i64 = MINUTE;

/// An event at its time.
#[derive(Debug)]
pub(crate) enum Happening {
    TillsRecord,
    /// Out of turn, for instance during a probe.
    OneMoreSale,
    SomebodyAsks,
    OneMoreWish,
    /// The next part of a replay.
    ReplayGoesOn {
        order: String,
    },
    MoodChanges,
    MoodTurns,
    ClockSteps,
    DiskFills,
    DiskFails,
    /// The disk itself fails, in one of the ways of this seed.
    DiskFaults,
    /// Another program fills the disk.
    DiskIsFilled,
    DiskWorks,
    /// Another program begins or ends a read of the file.
    SomebodyReads,
    Stop,
    Start,
    /// The upstream's application takes a request, whoever sent it.
    Taken {
        failure: String,
        key: String,
    },
    AttemptEnded {
        life: u32,
        seq: i64,
        fate: Box<Fate>,
    },
    Probed {
        life: u32,
        end: ProbeEnd,
    },
    /// The reader starts on a query.
    Question {
        life: u32,
        inquiry: Box<ReaderRequest>,
    },
}

impl Happening {
    /// Whether it comes before other events of the same time.
    fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::DiskFails | Self::DiskFaults | Self::DiskIsFilled | Self::DiskWorks)
    }

    pub(crate) fn some_fault(random: &mut Rng) -> Self {
        if random.bool() { Self::DiskFails } else { Self::DiskFaults }
    }
}

/// What a client waits for.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    Record(usize),
    Wish(Wish),
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) agent: Agent,
    pub(crate) number: u32,
    /// When each kind of alert was last notified, in agent time.
    pub(crate) told: BTreeMap<String, i64>,
    /// Requests that the senders have prefetched.
    pub(crate) held: Held<Dispatch>,
    /// Agent time and world time at its start.
    began: (AgentTime, i64),
}

/// The world, with its single source of time and randomness.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Rng,
    /// Milliseconds since the beginning; the terminal's clock may differ.
    pub(crate) time: i64,
    clock_error: i64,
    pub(crate) queue: BTreeMap<(i64, u64), Happening>,
    queued: u64,
    pub(crate) life: Option<Life>,
    lives: u32,
    pub(crate) upstream: Upstream,
    pub(crate) tills: Tills,
    pub(crate) model: Model,
    pub(crate) waiting: BTreeMap<ClientId, VecDeque<(u64, Waiting)>>,
    pub(crate) asked: u64,
    pub(crate) disk_low: bool,
    pub(crate) commits_broken: bool,
    pub(crate) disk: Disk,
    /// Until then the agent may report a database failure.
    pub(crate) troubled_until: i64,
    /// When the agent was last told how much of the disk is free.
    pub(crate) told_free_at: i64,
    pub(crate) stopping: bool,
    /// No more faults.
    pub(crate) calm: bool,
    idle_rounds: u32,
    pub(crate) rounds: u64,
    pub(crate) config: Config,
    pub(crate) settings: StoreSettings,
    table: Option<Table>,
    /// Another program that reads from the file.
    reader: Option<Table>,
    pub(crate) trace: Trace,
    _dir: TempDir,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut random = Rng::with_seed(seed);
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a directory");
        let config = configure(dir.path().to_owned(), &mut random);
        let disk = Disk::new(dir.path().to_owned(), &mut random);
        let entities: Vec<String> = (0..random.usize(3..12)).map(|n| format!("e-{}", n * n)).collect();
        let mut world = Self {
            time: 0,
            clock_error: 0,
            queue: BTreeMap::new(),
            queued: 0,
            life: None,
            lives: 0,
            upstream: Upstream::new(&entities, &mut random),
            tills: Tills::new(&entities),
            model: Model::default(),
            waiting: BTreeMap::new(),
            asked: 0,
            disk_low: false,
            commits_broken: false,
            disk,
            troubled_until: 0,
            told_free_at: 0,
            stopping: false,
            calm: false,
            idle_rounds: 0,
            rounds: 0,
            settings: StoreSettings { disk: crate::vfs::under(), keep_triggers: true, ..StoreSettings::of(&config) },
            config,
            table: None,
            reader: None,
            trace,
            _dir: dir,
            random,
        };
        world.plan(0, Happening::Start);
        for first in [Happening::TillsRecord, Happening::SomebodyAsks, Happening::MoodChanges] {
            world.plan_within(HOUR, first);
        }
        let bad = [Happening::ClockSteps, Happening::DiskFills, Happening::DiskFaults, Happening::DiskIsFilled];
        for fault in bad.into_iter().chain([Happening::SomebodyReads, Happening::Stop]) {
            world.plan_within(DAY, fault);
        }
        world
    }

    /// Lives for this span, with all faults possible.
    pub(crate) fn live_for(&mut self, span: i64) {
        let end = self.time + span;
        while self.next_time().is_some_and(|next| next < end) {
            self.step();
        }
    }

    /// Ends all faults and runs until the agent has nothing more to do, at most for `most`.
    pub(crate) fn calm_for(&mut self, most: i64) {
        self.calm = true;
        self.upstream.become_good();
        self.repair_disk();
        self.queue.retain(|_, happening| {
            matches!(happening, Happening::Taken { .. } | Happening::AttemptEnded { .. } | Happening::Probed { .. })
                || matches!(happening, Happening::Question { .. })
        });
        if self.life.is_none() {
            self.plan(0, Happening::Start);
        }
        let end = self.time + most;
        while self.next_time().is_some_and(|next| next < end) {
            self.step();
        }
        promise!(self.life.is_some(), "progress", "the agent has not come back");
        self.with_table(Model::compare_all);
    }

    /// Lives on for more than a day, so that no alert of the faulty time is left, and keeps
    /// selling: what the upstream accepts proves which records are at fault. After that nothing may
    /// be planned, because an idle agent does not wake; the exception is that only poisoned
    /// failures are left, when nothing can prove that the upstream is not at fault.
    pub(crate) fn settle_down(&mut self) {
        for _ in 0..60 {
            self.sell();
            self.calm_for(10 * MINUTE);
        }
        self.calm_for(30 * HOUR);
        let idle = self.only_cleans_up() || self.model.only_needs_persons(&self.upstream);
        promise!(idle, "progress", "after good hours something is still planned: {:?}", self.life);
    }

    // ---- time

    pub(crate) fn now(&self) -> Moment {
        let (agent, began) = self.life.as_ref().map_or((0, 0), |life| (life.began.0.as_millis(), life.began.1));
        Moment { agent: AgentTime::from_millis(agent + self.time - began), wall: self.wall() }
    }

    pub(crate) fn wall(&self) -> WallTime {
        WallTime::from_millis(WALL + self.time + self.clock_error)
    }

    pub(crate) fn next_time(&self) -> Option<i64> {
        let planned = self.queue.first_key_value().map(|((at, _), _)| *at);
        let deadline = self.life.as_ref().and_then(|life| {
            let at = life.agent.next_deadline()?.as_millis();
            Some(at - life.began.0.as_millis() + life.began.1)
        });
        planned.into_iter().chain(deadline).min().map(|at| at.max(self.time))
    }

    pub(crate) fn plan(&mut self, after: i64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.time + after, self.queued), happening);
    }

    /// Plans the event at a random time within `most`, more often early than late.
    pub(crate) fn plan_within(&mut self, most: i64, happening: Happening) -> i64 {
        let share = self.random.f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "of virtual milliseconds")]
        let after = (share * share * most as f64) as i64;
        self.plan(after, happening);
        after
    }

    /// Once in `often` calls, plans an event while a response is awaited for `after`.
    pub(crate) fn meanwhile(&mut self, often: u32, after: i64, happening: Happening) {
        if self.random.u32(0..often) == 0 {
            let within = self.random.i64(0..=after);
            self.plan(within, happening);
        }
    }

    // ---- a step

    fn step(&mut self) {
        self.see_what_came_to_light();
        let before = self.time;
        self.time = self.next_time().expect("the caller checked that there is one");
        let something_comes = self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= self.time);
        if something_comes && self.random.u8(0..5) == 0 {
            self.time += self.random.i64(0..60); // The loop was busy; several events arrive together.
        }
        self.trace.time = self.time;
        let later = self.queue.split_off(&(self.time + 1, 0));
        let due: Vec<Happening> = std::mem::replace(&mut self.queue, later).into_values().collect();
        self.idle_rounds = if due.is_empty() && self.time == before { self.idle_rounds + 1 } else { 0 };
        promise!(
            self.idle_rounds <= MOST_IDLE_ROUNDS,
            "progress",
            "the agent's deadline does not move: {:?}",
            self.life
        );
        promise!(self.rounds <= MOST_ROUNDS, "progress", "the agent wakes for nothing: {:?}", self.life);
        let (disk, others): (Vec<_>, Vec<_>) = due.into_iter().partition(Happening::is_of_the_disk);
        disk.into_iter().for_each(|happening| self.world_happens(happening));
        for happening in others {
            self.kill_perhaps(300);
            self.happens(happening);
        }
        self.kill_perhaps(300);
        self.round();
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::AttemptEnded { .. } | Happening::Probed { .. } | Happening::Question { .. } => {
                self.hand_in(happening);
            }
            Happening::TillsRecord => {
                self.record_some();
                let most = if self.random.bool() { 5 * MINUTE } else { 90 * MINUTE };
                let after = self.plan_within(most, Happening::TillsRecord);
                if self.random.u8(0..50) == 0 {
                    let fault = Happening::some_fault(&mut self.random);
                    self.plan(after, fault); // Just when they come.
                }
            }
            Happening::OneMoreSale => self.record_some(),
            Happening::OneMoreWish => self.ask_something(),
            Happening::ReplayGoesOn { order } => self.replay_part(&order),
            Happening::SomebodyAsks => {
                self.ask_something();
                self.plan_within(3 * HOUR, Happening::SomebodyAsks);
            }
            other => self.world_happens(other),
        }
    }

    /// Events that the agent is not notified of.
    fn world_happens(&mut self, happening: Happening) {
        match happening {
            Happening::MoodChanges | Happening::MoodTurns => {
                let mood = self.upstream.change_mood(&mut self.random);
                self.trace.add(|| format!("mood {mood}"));
                if matches!(happening, Happening::MoodChanges) {
                    self.plan_within(3 * HOUR, happening);
                }
            }
            Happening::ClockSteps => {
                let step = self.random.choice([-YEARS_10, YEARS_10, -HOUR, HOUR, -60 * YEARS_10 / 10]).expect("one");
                self.clock_error = if self.random.bool() { step } else { 0 };
                self.trace.add(|| format!("clock is {step} ms wrong"));
                self.plan_within(2 * DAY, Happening::ClockSteps);
            }
            Happening::DiskFaults => {
                self.disk_faults();
                self.plan_within(2 * DAY, Happening::DiskFaults);
            }
            Happening::DiskIsFilled => {
                self.disk_is_filled();
                self.plan_within(DAY, Happening::DiskIsFilled);
            }
            Happening::SomebodyReads => {
                // While another program reads, the log cannot be restarted.
                self.reader = (self.reader.is_none() && self.life.is_some() && !self.is_troubled())
                    .then(|| Table::reading(&self.settings.file()));
                let reads = self.reader.is_some();
                self.trace.add(|| format!("another program {} reading", if reads { "begins" } else { "ends" }));
                self.plan_within(HOUR, Happening::SomebodyReads);
            }
            Happening::DiskFails if self.life.is_some() && !self.commits_broken && !self.disk.is_faulty() => {
                self.table = None;
                break_commits(&self.settings.file(), true);
                self.commits_broken = true;
                self.troubled_until = i64::MAX;
                self.trace.add(|| "commits fail".to_owned());
                self.plan_within(MINUTE, Happening::DiskWorks);
            }
            Happening::DiskWorks => self.repair_disk(),
            Happening::DiskFills => {
                self.disk_low = !self.disk_low;
                self.tell_free_space();
                let most = if self.disk_low { HOUR } else { 2 * DAY };
                self.plan_within(most, Happening::DiskFills);
            }
            Happening::Stop => {
                self.stop();
                self.plan_within(2 * DAY, Happening::Stop);
            }
            Happening::Start if self.life.is_none() => self.start(),
            Happening::Taken { failure, key } => self.upstream.take(&failure, &key),
            _ => {}
        }
    }

    pub(crate) fn repair_disk(&mut self) {
        if self.disk.empties() {
            self.troubled_until = self.time + RECOVERY;
            self.disk_low = false;
            self.tell_free_space();
            self.trace.add(|| "there is room again".to_owned());
        }
        if self.disk.repair() {
            self.troubled_until = self.time + RECOVERY;
            self.trace.add(|| "the disk works".to_owned());
        }
        if std::mem::take(&mut self.commits_broken) {
            break_commits(&self.settings.file(), false);
            self.troubled_until = self.time + RECOVERY;
            self.trace.add(|| "commits work".to_owned());
        }
        if self.calm && std::mem::take(&mut self.disk_low) {
            self.tell_free_space();
        }
    }

    /// Reads the file. While it may have to be reopened, no other connection keeps it open.
    pub(crate) fn with_table<T>(&mut self, look: impl FnOnce(&Model, &Table) -> T) -> T {
        let table = self.take_table();
        let seen = look(&self.model, &table);
        self.keep_table(table);
        seen
    }

    pub(crate) fn close_table(&mut self) {
        self.table = None;
    }

    /// Ends the other program's read, because the machine is gone or the disk fails.
    pub(crate) fn nobody_reads(&mut self) {
        self.reader = None;
    }

    pub(crate) fn take_table(&mut self) -> Table {
        let table = self.table.take().unwrap_or_else(|| Table::open(&self.settings.file()));
        self.model.see_edits(&table);
        table
    }

    pub(crate) fn keep_table(&mut self, table: Table) {
        if self.time > self.troubled_until {
            self.table = Some(table);
        }
    }

    /// The final integrity check of the file.
    pub(crate) fn integrity(&mut self) -> String {
        self.with_table(|_, table| table.integrity())
    }
}

fn configure(dir: PathBuf, random: &mut Rng) -> Config {
    let scheme = if random.bool() { "http" } else { "https" };
    let most = if random.u8(0..4) == 0 { "\n[limits]\nmax_failures = 40\n" } else { "" };
    // In some lives, failures that need an operator leave within the day.
    let max_age = if random.bool() { "max_age = \"12h\"\n" } else { "" };
    let delivered = if random.bool() { "delivered = \"3650d\"\n" } else { "" };
    let retention = format!("[retention]\n{max_age}{delivered}");
    let text = format!(
        "[agent]\nterminal_id = \"till-07\"\n[upstream.hq]\nurl = \"{scheme}://hq.example/sync\"\ninsecure = true\n{most}{retention}"
    );
    let around = Environment { root: true, ..Environment::default() };
    let config = Config::load(Some(("simulation", &text)), &Overrides::default(), &around);
    let mut config = config.expect("a good configuration");
    config.agent.state_dir = dir;
    config
}
