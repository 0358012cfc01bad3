//! The cost of claiming and delivering by backlog, in this process and on the agent's own store:
//! ten thousand to three million failures, all due, none due, all behind one head.
//!
//! It prints one line per cell, which `bench` puts into its table: key, title, unit, figure, goal, and
//! how many cores others used. `shapes ROWS…` measures with that many failures.
//! `shapes claim TIMES` claims that often and prints nothing, for a count of its instructions.

// Counts and times of a measurement fit any of these types.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
// It shares the machine's figures with `bench`, and does not need all of them.
#[allow(dead_code)]
mod machine;

use machine::Watch;
use resyncd::ids::{IdSource, Seq};
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::class::Class;
use resyncd::record::{ClientAttempt, Disposition, Failure, NewFailure, PayloadKind, Status, Trigger};
use resyncd::store::attempts::Attempt;
use resyncd::store::failures::InsertFields;
use resyncd::store::{Store, StoreSettings};
use std::borrow::Cow;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

type Done<T> = Result<T, Box<dyn Error>>;

const UPSTREAM: &str = "office";
/// When everything becomes due; an earlier claim finds nothing.
const DUE: AgentTime = AgentTime::from_millis(1_000_000);
/// Failures per claim.
const BATCH: usize = 10;
/// Outcomes per transaction.
const GROUP: usize = 64;
/// Cores that others may use without spoiling a figure, as in `bench`.
const TOLERATED: f64 = 0.12;

/// The order keys of the failures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Each is its own entity, and hence a head.
    OwnEntities,
    /// All belong to one entity: one is a head, and the rest wait behind it.
    OneHead,
}

fn main() -> Done<()> {
    // Cargo passes --bench to every benchmark.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let parent = PathBuf::from(env::var_os("BENCH_DIR").unwrap_or_else(|| "/var/tmp".into()));
    let dir = parent.join(format!("resyncd-shapes.{}", std::process::id()));
    let measured = match arguments.first().map(String::as_str) {
        Some("claim") => claim_only(&dir, arguments.get(1).ok_or("shapes claim TIMES")?.parse()?),
        _ => arguments
            .iter()
            .map(|rows| Ok(rows.parse()?))
            .collect::<Done<Vec<u64>>>()
            .and_then(|sizes| all_shapes(&dir, &sizes)),
    };
    // The system's own clean-up removes the rest.
    let _ = fs::remove_dir_all(&dir);
    measured
}

fn claim_only(dir: &Path, times: usize) -> Done<()> {
    let mut stock = Stock::open(dir, Shape::OwnEntities)?;
    stock.grow_to(1_000)?;
    for _ in 0..times {
        assert_eq!(stock.claim(now_due())?.len(), BATCH);
    }
    Ok(())
}

fn all_shapes(dir: &Path, sizes: &[u64]) -> Done<()> {
    let mut stock = Stock::open(&dir.join("state"), Shape::OwnEntities)?;
    for group in [1, GROUP] {
        stock.record(group)?;
    }
    drop(stock);
    fs::remove_dir_all(dir)?;
    for shape in [Shape::OwnEntities, Shape::OneHead] {
        let mut stock = Stock::open(&dir.join("state"), shape)?;
        for rows in sizes {
            stock.grow_to(*rows)?;
            stock.measure(*rows)?;
        }
        drop(stock);
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

fn now_due() -> Moment {
    moment(DUE.after(Duration::from_secs(1)))
}

fn moment(agent: AgentTime) -> Moment {
    Moment { agent, wall: WallTime::from_millis(1_795_500_000_000 + agent.as_millis()) }
}

/// A store that is being filled.
struct Stock {
    store: Store,
    shape: Shape,
    ids: IdSource,
    /// Failures ever inserted.
    inserted: u64,
    payload: String,
}

impl Stock {
    fn open(dir: &Path, shape: Shape) -> Done<Self> {
        let limits =
            Limits { max_failures: u64::MAX, max_database: 1 << 40, min_free_disk: 1 << 30, ..Limits::default() };
        let store = Store::open(StoreSettings::new(dir, &limits), now_due().wall)?;
        Ok(Self {
            store,
            shape,
            ids: IdSource::new(1),
            inserted: 0,
            payload: format!("{{\"text\":\"{}\"}}", "x".repeat(430)),
        })
    }

    fn grow_to(&mut self, rows: u64) -> Done<()> {
        let now = moment(AgentTime::ZERO);
        while self.store.ledger().live < rows {
            self.store.begin()?;
            for _ in 0..(rows - self.store.ledger().live).min(1_000) {
                self.insert(now)?;
            }
            self.store.commit(now)?;
        }
        Ok(())
    }

    fn insert(&mut self, now: Moment) -> Done<()> {
        let entity = if self.shape == Shape::OneHead { 0 } else { self.inserted };
        let new = NewFailure {
            entity_type: Cow::Borrowed("SALE"),
            entity_id: Cow::Owned(format!("s-{entity:010}")),
            action: Cow::Borrowed("CREATE"),
            error: Cow::Borrowed("network timeout"),
            payload: Some((Cow::Borrowed(&self.payload), PayloadKind::Json)),
            http_status: None,
            idempotency_key: None,
            order_key: None,
            client_attempt: ClientAttempt::Answered,
            tried: true,
        };
        let id = self.ids.next(moment(AgentTime::from_millis(self.inserted as i64 / 100)).wall);
        let placed = InsertFields {
            id: &id,
            status: Status::Pending,
            error_class: None,
            unsure: false,
            free: false,
            strict: false,
            upstream: Some(UPSTREAM),
            due_at: Some(DUE),
            next_retry_at: Some(moment(DUE).wall),
            source: (0, 1),
            terminal_id: "till-07",
            store_id: None,
            number: None,
        };
        self.store.insert(now, &new, &placed)?;
        self.inserted += 1;
        Ok(())
    }

    /// What the agent reads when it looks for due failures (`agent::dispatch`).
    fn claim(&self, now: Moment) -> Done<Vec<Failure>> {
        self.store.begin_read()?;
        let newest = self.store.ledger().newest_seq();
        let mut found = self.store.due(UPSTREAM, now.agent, BATCH)?;
        found.extend(self.store.due_after_contact(UPSTREAM, newest, now.agent, BATCH)?);
        let failures = self.rows(&found)?;
        self.store.end_read()?;
        Ok(failures)
    }

    /// The failures that are due.
    fn heads(&self, now: Moment, limit: usize) -> Done<Vec<Failure>> {
        self.rows(&self.store.due(UPSTREAM, now.agent, limit)?)
    }

    fn rows(&self, found: &[(Seq, AgentTime)]) -> Done<Vec<Failure>> {
        let seqs: Vec<Seq> = found.iter().map(|(seq, _)| *seq).collect();
        Ok(self.store.by_seqs(&seqs, usize::MAX)?)
    }

    /// Measures a record in the store alone, with `group` records per commit: no agent on this store can be faster.
    fn record(&mut self, group: usize) -> Done<()> {
        const SPAN: Duration = Duration::from_secs(2);
        let (figure, others) = self.least_disturbed(|stock| {
            let (begun, mut records) = (Instant::now(), 0);
            while begun.elapsed() < SPAN {
                stock.store.begin()?;
                for _ in 0..group {
                    stock.insert(now_due())?;
                }
                stock.store.commit(now_due())?;
                records += group;
            }
            Ok(begun.elapsed().as_secs_f64() * 1e6 / records as f64)
        })?;
        println!("record.{group}\ta record in the store alone, {group} a commit\tµs\t{figure:.2}\t\t{others:.2}");
        Ok(())
    }

    fn measure(&mut self, rows: u64) -> Done<()> {
        let (name, due) = match self.shape {
            Shape::OwnEntities => ("all due", BATCH),
            Shape::OneHead => ("behind one head", 1),
        };
        let claims = |stock: &mut Self, now: Moment, wanted: usize| -> Done<f64> {
            let begun = Instant::now();
            let found = stock.claim(now)?.len();
            let took = begun.elapsed();
            assert_eq!(found, wanted, "a claim finds what is due");
            Ok(took.as_secs_f64() * 1e6)
        };
        self.cell("claim", rows, name, "≤ 10", |stock| claims(stock, now_due(), due))?;
        if self.shape == Shape::OwnEntities {
            self.cell("claim", rows, "none due", "≤ 10", |stock| claims(stock, moment(AgentTime::ZERO), 0))?;
        }
        self.cell("deliver", rows, name, "≤ 600", Self::deliver)?;
        self.grow_to(rows)
    }

    /// Measures again when others used the cores. Returns the figure, and how many cores they used at best.
    fn least_disturbed(&mut self, mut measure: impl FnMut(&mut Self) -> Done<f64>) -> Done<(f64, f64)> {
        let (mut figure, mut others) = (0.0, f64::MAX);
        for _ in 0..4 {
            let watch = Watch::begin(&[]);
            let found = measure(self)?;
            let used = watch.cores_of_others(&[]);
            if used < others {
                (figure, others) = (found, used);
            }
            if others <= TOLERATED {
                break;
            }
        }
        Ok((figure, others))
    }

    /// The median of many.
    fn cell(
        &mut self,
        what: &str,
        rows: u64,
        name: &str,
        goal: &str,
        mut once: impl FnMut(&mut Self) -> Done<f64>,
    ) -> Done<()> {
        let (most, span) =
            if what == "claim" { (20_000, Duration::from_secs(1)) } else { (100, Duration::from_secs(60)) };
        // Of ten thousand, at most half may be delivered.
        let most = most.min(if what == "deliver" { (rows as usize / GROUP / 2).max(1) } else { most });
        let (figure, others) = self.least_disturbed(|stock| {
            stock.grow_to(rows)?; // Replaces what the time before removed.
            let (begun, mut times) = (Instant::now(), Vec::new());
            while times.len() < most && begun.elapsed() < span {
                times.push(once(stock)?);
            }
            times.sort_by(f64::total_cmp);
            Ok(times[times.len() / 2])
        })?;
        let verb = if what == "claim" { "claim the next 10".to_owned() } else { format!("deliver {GROUP}") };
        let size = match rows {
            1_000_000.. => format!("{} M", rows / 1_000_000),
            1_000.. => format!("{} k", rows / 1_000),
            _ => rows.to_string(),
        };
        println!(
            "{what}.{rows}.{}\t{verb}: {size}, {name}\tµs\t{figure:.2}\t{goal}\t{others:.2}",
            name.replace(' ', "_")
        );
        Ok(())
    }

    /// One transaction: `GROUP` outcomes with their history, each with the next of its order promoted.
    fn deliver(&mut self) -> Done<f64> {
        let now = now_due();
        let mut next = if self.shape == Shape::OwnEntities { self.heads(now, GROUP)? } else { self.heads(now, 1)? };
        let mut took = Duration::ZERO;
        let mut begun = Instant::now();
        self.store.begin()?;
        for place in 0..GROUP {
            let failure = next.pop().ok_or("nothing is due any more")?;
            self.store.keep_attempt(&accepted(&failure, now))?;
            let successor = self.store.remove(&failure, Disposition::Delivered, now.wall)?;
            if let Some(successor) = successor.filter(|it| !it.head) {
                self.store.promote(successor.seq, successor.due_at)?;
                // The next one is claimed in another round; here it costs nothing.
                took += begun.elapsed();
                if place + 1 < GROUP {
                    next = self.heads(now, 1)?;
                }
                begun = Instant::now();
            }
        }
        self.store.commit(now)?;
        took += begun.elapsed();
        Ok(took.as_secs_f64() * 1e6)
    }
}

fn accepted(failure: &Failure, now: Moment) -> Attempt<'_> {
    Attempt {
        failure,
        trigger: Trigger::Auto,
        upstream: UPSTREAM,
        started_at: now.wall,
        took: Duration::from_millis(3),
        http_status: Some(200),
        class: Class::Delivered,
        error: None,
        response: Some("{\"ok\":true}"),
        counted: false,
        provisional: false,
        why: "accepted",
    }
}
