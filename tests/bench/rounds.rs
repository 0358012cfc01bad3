//! Each round measures every server once, one after the other, and a figure is compared only within
//! its round, so that a machine that slows down is slower for all. A round in which other processes
//! used the cores is repeated; when that does not help, the cell is not quoted.

use crate::machine::Watch;
use crate::protocol::Kind;
use crate::report::{NAMES, Row, plain};
use crate::server::Programs;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Cores that others may use without spoiling a figure: the error of a sampled clock, and the
/// background work of an idle system.
pub(crate) const TOLERATED: f64 = 0.12;

/// What all cells have in common.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    /// The directory for all files of the run.
    pub(crate) dir: PathBuf,
    /// Only checks that it works: short, once or twice, and nothing of it is quoted.
    pub(crate) quick: bool,
    /// How long a round waits for an otherwise idle machine.
    pub(crate) patience: Duration,
    /// How many packages the agent is built from; it cannot know that itself.
    pub(crate) packages: Option<u32>,
}

/// Other processes used this many cores.
#[derive(Clone, Debug)]
pub(crate) struct Spoiled {
    cores: f64,
    quick: bool,
}

impl fmt::Display for Spoiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quick { f.write_str("a quick run") } else { write!(f, "others used {:.2} cores", self.cores) }
    }
}

impl Bench {
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    pub(crate) fn span(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 2000 })
    }

    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.quick { 50 } else { 300 })
    }

    /// An empty directory for a server.
    pub(crate) fn fresh(&self, kind: Kind) -> PathBuf {
        let dir = self.dir.join(kind.name());
        // It may not exist.
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    /// Prints what is being measured.
    pub(crate) fn say(what: &str) {
        eprintln!("· {what}");
    }

    /// Prints the result of a cell immediately, also where it may not be quoted, for a developer working on it.
    pub(crate) fn show(row: &Row) {
        let figure = |server| row.figure(server).map_or("-".to_owned(), plain);
        let spoiled = row.spoiled.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let figures: Vec<String> = (0..NAMES.len()).map(figure).collect();
        eprintln!("  {}{spoiled}", figures.join(" | "));
    }

    /// Waits, within limits, until no other process uses the cores.
    pub(crate) fn wait_for_quiet(&self) {
        let begun = Instant::now();
        while begun.elapsed() < self.patience {
            let watch = Watch::begin(&[]);
            sleep(Duration::from_millis(500));
            if watch.cores_of_others(&[]) <= TOLERATED {
                return;
            }
        }
    }

    /// Measures until enough of it was undisturbed; otherwise returns how much it was disturbed.
    pub(crate) fn undisturbed<T>(
        &mut self,
        what: &str,
        wanted: usize,
        mut once: impl FnMut(&mut Self) -> Result<(T, f64), String>,
    ) -> Result<(Vec<T>, Option<Spoiled>), String> {
        Self::say(what);
        let (mut good, mut bad): (Vec<T>, Vec<(f64, T)>) = (Vec::new(), Vec::new());
        let most = if self.quick { wanted } else { 2 * wanted + 2 };
        for _ in 0..most {
            if good.len() == wanted {
                break;
            }
            if !self.quick {
                self.wait_for_quiet();
            }
            match once(self)? {
                (measured, others) if others <= TOLERATED => good.push(measured),
                (measured, others) => bad.push((others, measured)),
            }
        }
        if good.len() == wanted {
            let spoiled = self.quick.then_some(Spoiled { cores: 0.0, quick: true });
            return Ok((good, spoiled));
        }
        // The least disturbed ones go into the figures for those who want to see why.
        bad.sort_by(|a, b| a.0.total_cmp(&b.0));
        let worst = bad.iter().take(wanted - good.len()).map(|(cores, _)| *cores).fold(0.0, f64::max);
        good.extend(bad.into_iter().take(wanted - good.len()).map(|(_, measured)| measured));
        Ok((good, Some(Spoiled { cores: worst, quick: self.quick })))
    }

    /// Measures as many servers, given by their places in `NAMES`, in turns; each round begins with another one.
    pub(crate) fn in_turns<T>(
        &mut self,
        what: &str,
        servers: usize,
        mut turn: impl FnMut(&mut Self, usize) -> Result<(T, f64), String>,
    ) -> Result<(Vec<Vec<T>>, Option<Spoiled>), String> {
        let mut round = 0;
        self.undisturbed(what, self.rounds(), |bench| {
            let mut found = Vec::with_capacity(servers);
            let mut others = 0.0_f64;
            for place in 0..servers {
                let server = (round + place) % servers;
                let (measured, disturbed) = turn(bench, server)?;
                found.push((server, measured));
                others = others.max(disturbed);
            }
            round += 1;
            found.sort_by_key(|(server, _)| *server);
            Ok((found.into_iter().map(|(_, measured)| measured).collect(), others))
        })
    }
}
