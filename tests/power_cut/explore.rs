//! Derives crash images at every operation of a trace and compares each with the promises at that time.
//!
//! An image equivalent to an earlier one (differing only where SQLite never reads the log) is not
//! opened again, except for a sample: its contents are remembered by its checksum, and compared
//! with the promises of the new moment.

use crate::power_cut::contents::{Contents, look, wake};
use crate::power_cut::course::Trace;
use crate::power_cut::promise::Promises;
use crate::vfs::image::{Draft, Walks};
use crate::vfs::machine::{Machine, on};
use crate::vfs::medium::{Image, Medium, Op, mix};
use fastrand::Rng;
use resyncd::agent::{Agent, ClientId, Effect, Event, Peer};
use resyncd::config::Config;
use resyncd::moment::{Moment, WallTime};
use resyncd::store::StoreSettings;
use resyncd::wire::request::Socket;
use serde_json::Value;
use std::collections::HashMap;
use std::rc::Rc;

type Found = Result<Rc<Contents>, String>;

/// One in this many recognised images is opened anyway.
const LOOKED_AT_AGAIN: u64 = 50;
/// On one in this many new images, the agent starts and is queried.
const LIVED_IN: u64 = 16;
/// The time at which the images boot.
const WALL: WallTime = WallTime::from_millis(1_795_600_000_000);

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) traces: u64,
    pub(crate) operations: u64,
    pub(crate) faults: u64,
    /// States derived.
    pub(crate) states: u64,
    /// Distinct images among them, each opened.
    pub(crate) opened: u64,
    /// Recognised images that were opened anyway.
    pub(crate) looked_at_again: u64,
    /// Distinct images on which an agent ran.
    pub(crate) lived_in: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: Self) {
        self.traces += other.traces;
        self.operations += other.operations;
        self.faults += other.faults;
        self.states += other.states;
        self.opened += other.opened;
        self.looked_at_again += other.looked_at_again;
        self.lived_in += other.lived_in;
    }
}

/// A broken promise and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) seed: u64,
    pub(crate) operation: usize,
    pub(crate) what: String,
}

/// The exploration of one trace.
pub(crate) struct Explorer<'a> {
    trace: &'a Trace,
    config: &'a Config,
    settings: &'a StoreSettings,
    promises: Promises<'a>,
    known_facts: usize,
    /// The contents of each image, by its checksum.
    seen: HashMap<u64, Found>,
    contents: HashMap<Contents, Rc<Contents>>,
    /// Contents that were compared with the current promises.
    held: HashMap<*const Contents, Result<(), String>>,
    walks: Walks,
    figures: Figures,
}

impl<'a> Explorer<'a> {
    /// Derives this many states at every operation.
    pub(crate) fn run(
        trace: &'a Trace,
        draws: u64,
        config: &'a Config,
        settings: &'a StoreSettings,
    ) -> Result<Figures, Broken> {
        let figures =
            Figures { traces: 1, operations: trace.ops.len() as u64, faults: trace.struck, ..Figures::default() };
        let mut explorer = Self {
            trace,
            config,
            settings,
            promises: Promises::new(&trace.submissions, trace.was_full),
            known_facts: 0,
            seen: HashMap::new(),
            contents: HashMap::new(),
            held: HashMap::new(),
            walks: Walks::default(),
            figures,
        };
        let mut medium = Medium::of(&trace.begins_with);
        for (n, op) in trace.ops.iter().enumerate() {
            let broken = |what| Broken { seed: trace.seed, operation: n, what };
            medium.step(op);
            if let Op::Mark(known) = op {
                explorer.learn(*known).map_err(broken)?;
            }
            explorer.power_cuts(n, &medium, draws).map_err(broken)?;
        }
        Ok(explorer.figures)
    }

    fn learn(&mut self, known: usize) -> Result<(), String> {
        let new = self.known_facts..known;
        self.known_facts = known;
        self.held.clear();
        self.trace.facts[new].iter().try_for_each(|fact| self.promises.learn(fact))
    }

    /// Cuts the power here, in `draws` ways.
    fn power_cuts(&mut self, n: usize, medium: &Medium, draws: u64) -> Result<(), String> {
        for draw in 0..draws {
            let mut random = Rng::with_seed(mix(self.trace.seed ^ mix(n as u64 ^ mix(draw))));
            let draft = Draft::draw(medium, &mut random);
            self.figures.states += 1;
            let sum = draft.sum(&mut self.walks);
            let again = random.u64(0..LOOKED_AT_AGAIN) == 0;
            let found = match self.seen.get(&sum).cloned() {
                Some(found) if again => self.look_again(&draft.build(), found),
                Some(found) => found,
                None => self.look(sum, &draft.build()),
            };
            self.hold(&found?).map_err(|what| format!("draw {draw}: {what}"))?;
        }
        Ok(())
    }

    fn look(&mut self, sum: u64, image: &Image) -> Found {
        self.figures.opened += 1;
        let found = look(image, self.settings, WALL).map(|contents| match self.contents.get(&contents) {
            Some(same) => same.clone(),
            None => self.contents.entry(contents.clone()).or_insert(Rc::new(contents)).clone(),
        });
        self.seen.insert(sum, found.clone());
        if let (true, Ok(contents)) = (sum.is_multiple_of(LIVED_IN), &found) {
            self.hold(contents)?;
            self.live_in(image)?;
        }
        found
    }

    /// Checks that a recognised image has the same contents.
    fn look_again(&mut self, image: &Image, found: Found) -> Found {
        self.figures.looked_at_again += 1;
        match (look(image, self.settings, WALL), &found) {
            (Ok(contents), Ok(before)) if contents == **before => found,
            (Err(what), _) => Err(what),
            (contents, before) => Err(format!("the image was taken for one with {before:?}, and has {contents:?}")),
        }
    }

    fn hold(&mut self, contents: &Rc<Contents>) -> Result<(), String> {
        let promises = &self.promises;
        self.held.entry(Rc::as_ptr(contents)).or_insert_with(|| promises.check(contents)).clone()
    }

    /// Starts the agent on an image; a client that repeats an acknowledged record gets the reply for a known record.
    fn live_in(&mut self, image: &Image) -> Result<(), String> {
        self.figures.lived_in += 1;
        let store = wake(image, self.settings, WALL)?;
        let now = Moment { agent: store.ledger().resumed(WALL), wall: WALL };
        let mut agent = Agent::start(store, self.config, 1, now)
            .map_err(|error| format!("integrity: it does not start: {error}"))?;
        agent.tick(now);
        agent.finish_round(now);
        let mut ids = Vec::new();
        for (submission, id) in self.promises.repeatable() {
            let (client, peer) = (ClientId(ids.len() as u64), Peer { uid: submission.uid, pid: 9, name: None });
            let line = submission.line.as_bytes();
            agent.handle(now, Event::Line { client, socket: Socket::App, peer: &peer, line });
            ids.push(id);
        }
        agent.tick(now);
        for effect in agent.finish_round(now) {
            let Effect::Reply { client: ClientId(n), line } = effect else { continue };
            let reply: Value = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
            let id = usize::try_from(n).ok().and_then(|n| ids.get(n)).copied().unwrap_or_default();
            let same = reply["ok"] == true && reply["duplicate"] == true && reply["id"] == id;
            if !same {
                return Err(format!("durability: {id} is repeated, and the answer is {reply}"));
            }
        }
        on(Machine::kill);
        Ok(())
    }
}
