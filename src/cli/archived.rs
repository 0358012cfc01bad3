//! Reads delivered failures from the archive. Only the positions of the selected lines are kept in memory.
//!
//! A failure has several lines if it was delivered more than once, or if the commit after a line failed. The line with the
//! most attempts counts, whatever the clock was; of equal ones, the last. An incomplete line, which a power cut leaves, is
//! skipped.

use super::Failure;
use super::offline::as_owner;
use crate::config::upstream::Ordering;
use crate::config::{Config, route};
use crate::moment::WallTime;
use crate::store::archive::{delivered_files, open_delivered};
use crate::text::replay as text;
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// A filter; an absent field matches everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Meant {
    /// Delivered then or later.
    pub(super) since: Option<WallTime>,
    /// Delivered before.
    pub(super) until: Option<WallTime>,
    /// Exactly this failure.
    pub(super) id: Option<String>,
    /// Exactly this number.
    pub(super) seq: Option<i64>,
    /// Exactly this type.
    pub(super) entity_type: Option<String>,
    /// Exactly this entity.
    pub(super) entity_id: Option<String>,
    /// Exactly this action.
    pub(super) action: Option<String>,
    /// To this upstream.
    pub(super) upstream: Option<String>,
}

/// Where the line of a failure is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Equal for failures that have to keep an order among them.
    pub(super) sequence: u64,
    /// When it was delivered.
    pub(super) left_at: WallTime,
    /// Bytes of the line.
    pub(super) length: usize,
    /// It was delivered more than once.
    pub(super) again: bool,
    attempts: u32,
    /// False: it is kept only because an older line of the same failure may match.
    is_meant: bool,
    database: usize,
    seq: i64,
    file: usize,
    start: u64,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Archived {
    files: Vec<File>,
    /// One sequence after the other, each in its old order.
    pub(super) found: Vec<Place>,
    /// Whole lines that cannot be read.
    pub(super) unreadable: u64,
    /// Is there any file?
    pub(super) any: bool,
    /// When the archive's first delivery was.
    pub(super) begins: Option<WallTime>,
}

/// The fields that are compared with the filter.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    seq: i64,
    #[serde(borrow)]
    entity_type: Cow<'a, str>,
    #[serde(borrow)]
    entity_id: Cow<'a, str>,
    order_key: Option<String>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    upstream: Option<String>,
    #[serde(borrow)]
    left_at: Cow<'a, str>,
    instance: Option<String>,
    attempts: Option<u32>,
}

/// A line that could not be written at once is in the file of a later day than that of its delivery.
const SLACK: Duration = Duration::from_secs(24 * 3600);

impl Archived {
    /// Looks through the archive of a state directory, as its owner.
    pub(super) fn look(config: &Config, meant: &Meant) -> Result<Self, Failure> {
        let _as_owner = as_owner(config)?;
        let dir = &config.agent.state_dir;
        let fails = |error: io::Error| Failure::Failed(text::reading(dir.join("archive").display(), error));
        let all = delivered_files(dir, None).map_err(fails)?;
        let begins = all.first().and_then(|first| day_of(first));
        let some = delivered_files(dir, meant.since.map(|since| since.before(SLACK))).map_err(fails)?;
        let mut archived = Self { files: Vec::new(), found: Vec::new(), unreadable: 0, any: !all.is_empty(), begins };
        let mut reading = Reading::of(config);
        for path in some {
            let file = match open_delivered(&path) {
                // The clean-up has deleted it just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(fails)?,
            };
            archived.read(file, meant, &mut reading).map_err(fails)?;
        }
        archived.found = reading.sequences();
        Ok(archived)
    }

    fn read(&mut self, file: File, meant: &Meant, reading: &mut Reading) -> io::Result<()> {
        let prefix = meant.id.as_ref().map(|id| format!("{{\"id\":{},", Value::from(id.as_str())));
        let mut input = BufReader::with_capacity(1 << 20, &file);
        let (mut start, mut bytes) = (0_u64, Vec::new());
        loop {
            bytes.clear();
            let length = input.read_until(b'\n', &mut bytes)?;
            if length == 0 || bytes.last() != Some(&b'\n') {
                break;
            }
            let begins = start;
            start += length as u64;
            if prefix.as_ref().is_some_and(|prefix| !bytes.starts_with(prefix.as_bytes())) {
                continue;
            }
            let line = serde_json::from_slice::<Line>(&bytes).ok();
            let line = line.and_then(|line| Some((WallTime::parse(&line.left_at)?, line)));
            let Some((left_at, line)) = line else {
                self.unreadable += 1;
                continue;
            };
            let (database, strict) = (reading.database(&line), reading.strict(&line));
            let (attempts, is_meant) = (line.attempts.unwrap_or(1), meant.has(left_at, &line));
            let known = reading.by_id.get_mut(line.id.as_ref());
            // One that is not meant and cannot be newer than another need not be remembered.
            if known.is_none() && !is_meant && attempts <= 1 {
                continue;
            }
            let again = known.as_ref().is_some_and(|known| known.attempts != attempts || known.again);
            let (sequence, seq, file) = (order_of(&line), line.seq, self.files.len());
            reading.joined.extend(strict.map(|upstream| (sequence, upstream)));
            let place =
                Place { sequence, left_at, length, again, attempts, is_meant, database, seq, file, start: begins };
            match known {
                Some(known) if known.attempts > attempts => known.again = again,
                Some(known) => *known = place,
                None => drop(reading.by_id.insert(line.id.into_owned(), place)),
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// Of these lines, those of failures that a later look shows to have been delivered again.
    pub(super) fn delivered_again(&self, later: &Self, lines: impl Iterator<Item = usize>) -> HashSet<usize> {
        let key = |place: &Place| (place.database, place.seq);
        let newest: HashMap<(usize, i64), u32> = later.found.iter().map(|place| (key(place), place.attempts)).collect();
        let again = |place: &Place| newest.get(&key(place)).is_some_and(|attempts| *attempts > place.attempts);
        lines.filter(|line| self.found.get(*line).is_some_and(again)).collect()
    }

    /// A line of the archive, verbatim, without its line end.
    pub(super) fn line(&self, place: &Place) -> io::Result<Vec<u8>> {
        let mut line = vec![0; place.length];
        self.files[place.file].read_exact_at(&mut line, place.start)?;
        line.truncate(line.trim_ascii_end().len());
        Ok(line)
    }

    /// A delivery in the form of an attempt of `history`, for those whose attempts are not kept any more.
    pub(super) fn entry(&self, place: &Place) -> Result<Value, Failure> {
        let line = self.value(place)?;
        let mut entry = json!({"kind": "attempt", "at": line["left_at"], "failure_id": line["id"], "class": "delivered",
            "attempt": place.attempts, "archived": true});
        for name in ["seq", "entity_type", "entity_id", "action", "upstream"] {
            entry[name] = line[name].clone();
        }
        Ok(entry)
    }

    /// The same, read.
    pub(super) fn value(&self, place: &Place) -> Result<Value, Failure> {
        serde_json::from_slice(&self.line(place)?).map_err(|error| Failure::Failed(error.to_string()))
    }
}

/// What is known while the files are read.
struct Reading<'c> {
    config: &'c Config,
    /// Databases whose numbers were read, in the order in which they came.
    databases: Vec<Option<String>>,
    by_id: HashMap<String, Place>,
    /// Order keys that share a sequence, because they go to an upstream with strict order.
    joined: HashSet<(u64, u64)>,
}

impl<'c> Reading<'c> {
    fn of(config: &'c Config) -> Self {
        Self { config, databases: Vec::new(), by_id: HashMap::new(), joined: HashSet::new() }
    }

    fn database(&mut self, line: &Line) -> usize {
        self.databases.iter().position(|known| *known == line.instance).unwrap_or_else(|| {
            self.databases.push(line.instance.clone());
            self.databases.len() - 1
        })
    }

    /// The upstream that a failure goes to now, if that keeps one order for all.
    fn strict(&self, line: &Line) -> Option<u64> {
        let Config { routes, upstreams, .. } = self.config;
        let upstream = match route::first(routes, &line.entity_type, &line.action) {
            Some(route) => upstreams.iter().find(|upstream| upstream.name == route.upstream),
            None => upstreams.first().filter(|_| routes.is_empty()),
        };
        upstream
            .filter(|upstream| upstream.ordering == Ordering::Strict)
            .map(|upstream| hash(&("strict", &upstream.name)))
    }

    /// One sequence after the other, each in the order of recording; the sequence of the first failure comes first.
    fn sequences(self) -> Vec<Place> {
        let mut found: Vec<Place> = self.by_id.into_values().filter(|place| place.is_meant).collect();
        // Numbers are the order of recording within a database; another one came before or after it.
        found.sort_unstable_by_key(|place| (place.database, place.seq));
        let mut joined = Joined::default();
        self.joined.into_iter().for_each(|(one, other)| joined.join(one, other));
        let mut first = HashMap::new();
        for (n, place) in found.iter_mut().enumerate() {
            place.sequence = joined.root(place.sequence);
            first.entry(place.sequence).or_insert(n);
        }
        found.sort_by_key(|place| first.get(&place.sequence).copied());
        found
    }
}

/// Sets that are joined two by two.
#[derive(Default)]
struct Joined(HashMap<u64, u64>);

impl Joined {
    fn root(&self, mut one: u64) -> u64 {
        while let Some(parent) = self.0.get(&one) {
            one = *parent;
        }
        one
    }

    fn join(&mut self, one: u64, other: u64) {
        let (one, other) = (self.root(one), self.root(other));
        if one != other {
            self.0.insert(one, other);
        }
    }
}

impl Meant {
    fn has(&self, left_at: WallTime, line: &Line) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        self.since.is_none_or(|since| left_at >= since)
            && self.until.is_none_or(|until| left_at < until)
            && is(&self.id, Some(&line.id))
            && self.seq.is_none_or(|seq| seq == line.seq)
            && is(&self.entity_type, Some(&line.entity_type))
            && is(&self.entity_id, Some(&line.entity_id))
            && is(&self.action, Some(&line.action))
            && is(&self.upstream, line.upstream.as_deref())
    }
}

fn order_of(line: &Line) -> u64 {
    match &line.order_key {
        Some(key) => hash(&key),
        None => hash(&(&line.entity_type, &line.entity_id)),
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The day that a file's name tells.
fn day_of(path: &Path) -> Option<WallTime> {
    let name = path.file_name()?.to_str()?;
    WallTime::parse(name.strip_prefix("delivered-")?.strip_suffix(".jsonl")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Overrides};
    use std::fs;

    fn line(id: &str, seq: i64, attempts: u32, instance: &str, left_at: &str) -> String {
        let line = json!({"id": id, "seq": seq, "entity_type": "SALE", "entity_id": "s-1", "action": "CREATE",
            "upstream": "hq", "left_at": left_at, "attempts": attempts, "instance": instance});
        format!("{line}\n")
    }

    /// The ids and numbers of attempts that are found.
    fn found(files: &[(&str, String)], since: Option<&str>) -> (Vec<(String, u64)>, u64) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("archive")).expect("a directory");
        for (day, text) in files {
            fs::write(dir.path().join(format!("archive/delivered-{day}.jsonl")), text).expect("a file");
        }
        let config = Config::load(None, &Overrides::default(), &Environment::default());
        let mut config = config.expect("nothing is required");
        config.agent.state_dir = dir.path().to_owned();
        let meant = Meant { since: since.and_then(WallTime::parse), ..Meant::default() };
        let archived = Archived::look(&config, &meant).expect("a look");
        let told = |place: &Place| {
            let line = archived.value(place).expect("a line");
            (line["id"].as_str().expect("an id").to_owned(), line["attempts"].as_u64().expect("a number"))
        };
        (archived.found.iter().map(told).collect(), archived.unreadable)
    }

    #[test]
    fn of_several_lines_the_one_with_the_most_attempts_counts_and_numbers_are_the_order() {
        // The clock was ten years behind when `b` was delivered for the second time.
        let past = line("b", 2, 2, "x", "2016-11-24T06:00:00Z");
        let day = line("b", 2, 1, "x", "2026-11-24T06:00:00Z") + &line("a", 1, 1, "x", "2026-11-24T06:00:01Z");
        let later = line("c", 1, 1, "y", "2026-11-25T06:00:00Z")
            + "{\"no\": \"line of ours\"}\n"
            + &line("d", 3, 1, "x", "2026-11-25T06:00:01Z")
            + "{\"id\":\"torn";
        let files = [("2016-11-24", past), ("2026-11-24", day), ("2026-11-25", later)];
        let ids = |all: &[(&str, u64)]| all.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(found(&files, None), (ids(&[("a", 1), ("b", 2), ("d", 1), ("c", 1)]), 1));
        // A line that is meant gives way to a newer one that is not.
        let twice = [("2026-11-24", line("b", 2, 2, "x", "2026-11-24T06:00:00Z"))];
        let again = line("b", 2, 1, "x", "2026-11-24T08:00:00Z");
        let both = [("2026-11-24", twice[0].1.clone() + &again)];
        assert_eq!(found(&both, Some("2026-11-24T07:00:00Z")), (Vec::new(), 0));
    }
}
