//! The scenarios: the faults of the upstreams, the times of the records, and their number.
//!
//! Names and times are those of the model from which the rules were derived, so that results can be
//! compared.

use crate::till::{Person, Till};
use crate::world::{HOUR, Kind, MINUTE, Mode, SECOND};

/// A till with its events, when its upstream last recovered, and when to stop.
pub(crate) struct Plot {
    pub(crate) till: Till,
    pub(crate) well_ms: u64,
    pub(crate) end_ms: u64,
}

/// Builds the same plot for the same seed.
pub(crate) type Build = Box<dyn Fn(u64) -> Plot + Send + Sync>;

fn random(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed.wrapping_mul(31).wrapping_add(5))
}

fn kind_route(kind: Kind) -> u32 {
    u32::from(kind != Kind::Good)
}

/// Whether the application's own attempt got a response.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Own {
    No,
    Sometimes,
}

/// One long fault, failures recorded in its first half hour, and (`after`) others when it is over.
pub(crate) fn outage(mode: Mode, keys: u32, lasts: u64, after: bool, own: Own, strict: bool) -> Build {
    let per_key = if strict || mode == Mode::Status(400) { 1 } else { 2 };
    Box::new(move |seed| {
        let mut random = random(seed);
        let start = 10 * MINUTE;
        let (well_ms, end_ms) = (start + lasts, start + lasts + 12 * HOUR);
        let phases = vec![(0, Mode::Good), (start, mode), (well_ms, Mode::Good)];
        let mut till = Till::new(seed, vec![phases], if strict { &[0] } else { &[] });
        let mut records = Vec::new();
        for key in 0..keys {
            for n in 0..per_key {
                let at = start + SECOND + random.u64(0..30 * MINUTE) + n * SECOND;
                records.push((at, key, own == Own::Sometimes && random.bool()));
            }
        }
        records.sort_unstable();
        for (at, key, answered) in records {
            till.record(at, key, key % 2, Kind::Good, 0, answered);
        }
        if after {
            for n in 0..20 {
                let at = well_ms + 20 * MINUTE + n * 30 * MINUTE;
                till.record(at, 1000 + n as u32, 0, Kind::Good, 0, false);
            }
        }
        Plot { till, well_ms, end_ms }
    })
}

/// Poisoned failures among healthy ones (one every `every`), or alone.
pub(crate) fn poison(kind: Kind, count: u32, every: u64, hours: u64, healthy_first: u32, strict: bool) -> Build {
    Box::new(move |seed| {
        let mut random = random(seed);
        let end_ms = hours * HOUR;
        let mut till = Till::new(seed, vec![vec![(0, Mode::Good)]], if strict { &[0] } else { &[] });
        let mut records = Vec::new();
        records.extend((0..count).map(|key| (SECOND + random.u64(0..20 * MINUTE), key, kind)));
        records.extend((0..healthy_first).map(|n| (SECOND + random.u64(0..20 * MINUTE), 100 + n, Kind::Good)));
        let (mut at, mut key) = (every, 500);
        while every > 0 && at + 2 * HOUR < end_ms {
            records.push((at + random.u64(0..every / 2), key, Kind::Good));
            (at, key) = (at + every, key + 1);
        }
        record_all(&mut till, records);
        Plot { till, well_ms: 0, end_ms }
    })
}

/// One route of two is permanently broken: its failures are all poisoned.
pub(crate) fn broken_route(status: u16, count: u32, every: u64, hours: u64) -> Build {
    let kind = if status == 401 { Kind::Status(401) } else { Kind::Status(500) };
    Box::new(move |seed| {
        let mut random = random(seed);
        let end_ms = hours * HOUR;
        let mut till = Till::new(seed, vec![vec![(0, Mode::Route(1, status))]], &[]);
        let mut records = Vec::new();
        records.extend((0..count).map(|key| (SECOND + random.u64(0..10 * MINUTE), key, kind)));
        let (mut at, mut key) = (15 * MINUTE, 1000);
        while at + 3 * HOUR < end_ms {
            records.push((at + random.u64(0..every), key, Kind::Good));
            (at, key) = (at + every, key + 1);
        }
        record_all(&mut till, records);
        Plot { till, well_ms: 0, end_ms }
    })
}

/// Two modes take turns; some failures at the beginning, one more every `every`, some afterwards.
pub(crate) fn flapping((bad, bad_for): (Mode, u64), (other, other_for): (Mode, u64), keys: u32, every: u64) -> Build {
    Box::new(move |seed| {
        let mut random = random(seed);
        let start = 10 * MINUTE;
        let (well_ms, end_ms) = (start + 4 * HOUR, start + 16 * HOUR);
        let mut phases = vec![(0, Mode::Good)];
        let mut at = start;
        while at < well_ms {
            phases.push((at, bad));
            at += bad_for * 3 / 4 + random.u64(0..bad_for / 2);
            phases.push((at.min(well_ms), other));
            at += other_for * 3 / 4 + random.u64(0..other_for / 2);
        }
        phases.push((well_ms, Mode::Good));
        let mut till = Till::new(seed, vec![phases], &[]);
        let mut records: Vec<(u64, u32)> = (0..keys).map(|key| (start + random.u64(0..10 * MINUTE), key)).collect();
        let (mut at, mut key) = (start, 5000);
        while at < well_ms {
            records.push((at, key));
            (at, key) = (at + every, key + 1);
        }
        records.sort_unstable();
        for (at, key) in records {
            till.record(at, key, key % 2, Kind::Good, 0, false);
        }
        for n in 0..12 {
            till.record(well_ms + 20 * MINUTE + n * 30 * MINUTE, 9000 + n as u32, 0, Kind::Good, 0, false);
        }
        Plot { till, well_ms, end_ms }
    })
}

/// A poisoned failure recorded after a long outage, when the share of unclear responses is high.
pub(crate) fn poison_after(kind: Kind, mode: Mode, every: u64) -> Build {
    Box::new(move |seed| {
        let mut random = random(seed);
        let start = 10 * MINUTE;
        let well_ms = start + 4 * HOUR;
        let end_ms = well_ms + 60 * HOUR;
        let phases = vec![(0, Mode::Good), (start, mode), (well_ms, Mode::Good)];
        let mut till = Till::new(seed, vec![phases], &[]);
        let mut records: Vec<_> = (0..60).map(|key| (start + random.u64(0..4 * HOUR), key, Kind::Good)).collect();
        records.push((well_ms + 10 * MINUTE, 400, kind));
        let (mut at, mut key) = (well_ms + 12 * MINUTE, 500);
        while at + 3 * HOUR < end_ms {
            records.push((at + random.u64(0..every / 2), key, Kind::Good));
            (at, key) = (at + every, key + 1);
        }
        record_all(&mut till, records);
        Plot { till, well_ms, end_ms }
    })
}

/// Half an hour of short faults under load, then a long one.
pub(crate) fn blips(mode: Mode, keys: u32) -> Build {
    Box::new(move |seed| {
        let mut random = random(seed);
        let start = 40 * MINUTE;
        let (well_ms, end_ms) = (start + 4 * HOUR, start + 10 * HOUR);
        let mut phases = vec![(0, Mode::Good)];
        let mut at = 10 * MINUTE;
        while at < start {
            phases.push((at, mode));
            at += 3 * SECOND + random.u64(0..10 * SECOND);
            phases.push((at.min(start), Mode::Good));
            at += 3 * SECOND + random.u64(0..15 * SECOND);
        }
        phases.retain(|(from, _)| *from < start);
        phases.extend([(start, mode), (well_ms, Mode::Good)]);
        let mut till = Till::new(seed, vec![phases], &[]);
        let mut records: Vec<_> =
            (0..keys).map(|key| (start - 2 * MINUTE + random.u64(0..125 * SECOND), key, Kind::Good)).collect();
        records.extend((0..120).map(|n| (10 * MINUTE + random.u64(0..30 * MINUTE), 100 + n, Kind::Good)));
        records.extend((0..8).map(|n| (well_ms + 20 * MINUTE + n * 30 * MINUTE, 9000 + n as u32, Kind::Good)));
        record_all(&mut till, records);
        Plot { till, well_ms, end_ms }
    })
}

/// Two upstreams share order keys; one of them fails for two hours.
pub(crate) fn two_upstreams() -> Build {
    Box::new(|seed| {
        let mut random = random(seed);
        let start = 10 * MINUTE;
        let (well_ms, end_ms) = (start + 2 * HOUR, start + 12 * HOUR);
        let phases = vec![(0, Mode::Good), (start, Mode::Status(500)), (well_ms, Mode::Good)];
        let mut till = Till::new(seed, vec![phases, vec![(0, Mode::Good)]], &[]);
        let mut records: Vec<_> = (0..60).map(|n| (start + random.u64(0..HOUR), n % 15, random.usize(0..2))).collect();
        records.sort_unstable();
        for (at, key, upstream) in records {
            till.record(at, key, 0, Kind::Good, upstream, false);
        }
        for n in 0..8 {
            till.record(
                well_ms + 20 * MINUTE + n * 30 * MINUTE,
                9000 + n as u32,
                0,
                Kind::Good,
                (n % 2) as usize,
                false,
            );
        }
        Plot { till, well_ms, end_ms }
    })
}

/// The same mode for a day.
pub(crate) fn constant(mode: Mode, healthy: u32, poisoned: Option<Kind>) -> Build {
    Box::new(move |seed| {
        let mut random = random(seed);
        let mut till = Till::new(seed, vec![vec![(0, mode)]], &[]);
        if let Some(kind) = poisoned {
            till.record(500, 0, 1, kind, 0, false);
        }
        let mut at = SECOND;
        for key in 0..healthy {
            at += random.u64(0..20 * MINUTE);
            till.record(at, 10 + key, 0, Kind::Good, 0, false);
        }
        Plot { till, well_ms: 0, end_ms: 24 * HOUR }
    })
}

/// The kinds of events in a [`weather`].
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Weather {
    /// Operators interfere.
    pub(crate) people: bool,
    /// Single routes break as well.
    pub(crate) routes: bool,
    /// There are poisoned failures.
    pub(crate) poison: bool,
}

/// Eight hours of random events, on two upstreams that share order keys; then all faults end.
pub(crate) fn weather(weather: Weather) -> Build {
    Box::new(move |seed| {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(7919).wrapping_add(13));
        let well_ms = 8 * HOUR;
        let end_ms = well_ms + 30 * HOUR;
        let strict: &[usize] = if seed % 5 == 0 { &[1] } else { &[] };
        let phases = (0..2).map(|_| modes(&mut random, well_ms, weather.routes)).collect();
        let mut till = Till::new(seed, phases, strict);
        let kinds =
            [Kind::Status(500), Kind::Status(502), Kind::Timeout, Kind::Status(401), Kind::Status(422), Kind::Reset];
        let mut records = Vec::new();
        for n in 0..80_u32 {
            let poisoned = weather.poison && n < 4 && strict.is_empty();
            let kind = if poisoned { kinds[random.usize(0..kinds.len())] } else { Kind::Good };
            let key = if kind == Kind::Good { n % 25 } else { 5000 + n };
            let (at, route, upstream) = (random.u64(0..well_ms), random.u32(0..2), random.usize(0..2));
            records.push((at, key, route, kind, upstream, random.u32(0..3) == 0));
        }
        records.extend((0..40_u32).map(|n| {
            let at = well_ms + 10 * MINUTE + u64::from(n) * 30 * MINUTE;
            (at, 9000 + n, 0, Kind::Good, (n % 2) as usize, false)
        }));
        records.sort_by_key(|record| record.0);
        for (at, key, route, kind, upstream, answered) in records {
            till.record(at, key, route, kind, upstream, answered);
        }
        if weather.people {
            people(&mut till, &mut random, well_ms);
        }
        Plot { till, well_ms, end_ms }
    })
}

fn modes(random: &mut fastrand::Rng, until: u64, routes: bool) -> Vec<(u64, Mode)> {
    let mut all = vec![
        Mode::Good,
        Mode::Good,
        Mode::Good,
        Mode::Down,
        Mode::HungDown,
        Mode::Portal,
        Mode::Status(502),
        Mode::RetryAfter(600),
        Mode::Hung,
        Mode::Status(500),
        Mode::Status(404),
        Mode::Status(401),
        Mode::DeafToProbes,
        Mode::Share(90, 429),
        Mode::Share(40, 502),
        Mode::Share(30, 500),
        Mode::Lost(20),
        Mode::Slow(10 * SECOND),
    ];
    if routes {
        all.extend([Mode::Route(1, 401), Mode::Route(1, 404)]);
    }
    let mut phases = vec![(0, Mode::Good)];
    let mut at = 0;
    while at < until {
        let longest = if random.u32(0..3) == 0 { 2 * HOUR } else { 5 * MINUTE };
        at += SECOND + random.u64(0..longest);
        phases.push((at.min(until - 1), all[random.usize(0..all.len())]));
    }
    phases.push((until, Mode::Good));
    phases
}

fn people(till: &mut Till, random: &mut fastrand::Rng, until: u64) {
    for _ in 0..40 {
        let failure = random.usize(0..80);
        let person = match random.u32(0..6) {
            0 => Person::Retry(failure),
            1 => Person::Reset(failure),
            2 => Person::Hold(failure),
            3 => Person::Release(failure),
            4 => Person::Discard(failure),
            _ => Person::Resume(failure % 2),
        };
        till.person(random.u64(0..until), person);
    }
    for failure in 0..80 {
        till.person(until + MINUTE, Person::Release(failure));
    }
}

fn record_all(till: &mut Till, mut records: Vec<(u64, u32, Kind)>) {
    records.sort_by_key(|record| record.0);
    for (at, key, kind) in records {
        till.record(at, key, kind_route(kind), kind, 0, false);
    }
}

/// Forty crashes at any time, each up to ten seconds long.
pub(crate) fn crashes(plot: &mut Plot, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_add(77));
    for _ in 0..40 {
        plot.till.crash(random.u64(0..plot.end_ms), 1000 + random.u64(0..9000));
    }
}
