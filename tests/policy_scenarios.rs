//! The delivery policy in the scenarios from which its rules were derived.
//!
//! A small discrete-event simulation around the *shipped* policy: virtual time, failures in memory,
//! an upstream with modes. Every scenario runs with several seeds, undisturbed and with forty
//! crashes; the bounds below hold for the first forty seeds. `SEEDS=40` runs those, `ONLY=text`
//! only the scenarios whose name contains it, `TRACE=seed` prints every attempt of one seed
//! (`--nocapture` shows the numbers).

// Times and counts of a simulation fit any of these types.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
// A test may unwrap.
#![allow(clippy::unwrap_used)]

#[path = "policy_scenarios/measure.rs"]
mod measure;
#[path = "policy_scenarios/scenario.rs"]
mod scenario;
#[path = "policy_scenarios/till.rs"]
mod till;
#[path = "policy_scenarios/world.rs"]
mod world;

use measure::{HEADER, Measure, measure};
use scenario::{
    Build, Own, Weather, blips, broken_route, constant, flapping, outage, poison, poison_after, two_upstreams, weather,
};
use world::{HOUR, Kind, MINUTE, Mode, SECOND};

/// The bounds of a scenario over all seeds. The defaults: no healthy failure is ever charged or
/// critical, every poisoned one ends critical, and the rest is delivered soon.
struct Case {
    name: String,
    build: Build,
    charged: usize,
    ever_critical: usize,
    end_critical: usize,
    loose: usize,
    poison_tries: u32,
    poison_ms: u64,
    recovery_ms: u64,
    delay_ms: u64,
    bad_a_minute: usize,
    bad_an_hour: usize,
}

impl Case {
    fn new(name: impl Into<String>, build: Build) -> Self {
        Self {
            name: name.into(),
            build,
            charged: 0,
            ever_critical: 0,
            end_critical: 0,
            loose: 0,
            poison_tries: 0,
            poison_ms: 0,
            recovery_ms: 6 * MINUTE,
            delay_ms: 3 * SECOND,
            // At full speed, about ten errors count as sporadic before they mean an overload.
            bad_a_minute: 24,
            bad_an_hour: 120,
        }
    }

    fn charged(mut self, charged: usize, ever_critical: usize) -> Self {
        (self.charged, self.ever_critical) = (charged, ever_critical);
        self
    }

    /// Poisoned failures end critical after at most this many attempts and within this time.
    fn poison(mut self, tries: u32, within: u64) -> Self {
        (self.poison_tries, self.poison_ms) = (tries, within);
        self
    }

    fn recovers(mut self, within: u64) -> Self {
        self.recovery_ms = within;
        self
    }

    fn delays(mut self, delay: u64) -> Self {
        self.delay_ms = delay;
        self
    }

    fn bad(mut self, a_minute: usize, an_hour: usize) -> Self {
        (self.bad_a_minute, self.bad_an_hour) = (a_minute, an_hour);
        self
    }

    fn check(&self) {
        let seeds = std::env::var("SEEDS").map_or(3, |text| text.parse().expect("a number"));
        for with_crashes in [false, true] {
            let name = format!("{}{}", self.name, if with_crashes { " +crashes" } else { "" });
            let found = measure(&self.build, seeds, with_crashes);
            println!("{}", found.row(&name));
            self.hold(&found, &name, if with_crashes { 5 * MINUTE } else { 0 });
        }
    }

    /// `slack`: retries that may be needed because a crash loses requests in flight.
    fn hold(&self, found: &Measure, name: &str, slack: u64) {
        assert!(found.violations.is_empty(), "{name}: {:?}", found.violations);
        let counts = [
            ("stuck", found.stuck, 0),
            ("charged", found.charged, self.charged),
            ("ever critical", found.ever_critical, self.ever_critical),
            ("critical at the end", found.end_critical, self.end_critical),
            ("poisoned and not critical", found.loose, self.loose),
            ("tries of a poisoned one", found.poison_tries as usize, self.poison_tries as usize),
            ("bad requests a minute", found.bad_a_minute, self.bad_a_minute),
            ("bad requests an hour", found.bad_an_hour, self.bad_an_hour),
            ("probes a minute", found.probes_a_minute, 60),
        ];
        for (what, is, at_most) in counts {
            assert!(is <= at_most, "{name}: {what}: {is}, at most {at_most}\n{found:?}");
        }
        let times = [
            ("until critical", found.poison_ms, self.poison_ms),
            ("recovery", found.recovery_ms, self.recovery_ms),
            ("delay", found.delay_ms, self.delay_ms),
        ];
        for (what, is, at_most) in times {
            assert!(is <= at_most + slack, "{name}: {what}: {is} ms, at most {at_most}\n{found:?}");
        }
    }
}

fn check(cases: impl IntoIterator<Item = Case>) {
    let only = std::env::var("ONLY").unwrap_or_default();
    println!("{HEADER}");
    cases.into_iter().filter(|case| case.name.contains(&only)).for_each(|case| case.check());
}

const KEYS: [u32; 4] = [1, 2, 3, 50];

/// Four hours of every mode that does not respond about the failure itself.
#[test]
fn an_outage_costs_nothing() {
    let modes = [
        ("down", Mode::Down),
        ("hung and no probe", Mode::HungDown),
        ("portal", Mode::Portal),
        ("502", Mode::Status(502)),
        ("hung, probes answered", Mode::Hung),
        ("401", Mode::Status(401)),
        ("90 % 429", Mode::Share(90, 429)),
        ("30 % answers lost", Mode::Lost(30)),
        ("slow, 25 s", Mode::Slow(25 * SECOND)),
    ];
    check(modes.into_iter().flat_map(|(what, mode)| {
        KEYS.map(|keys| {
            Case::new(format!("outage/{what}/{keys} keys"), outage(mode, keys, 4 * HOUR, true, Own::Sometimes, false))
        })
    }));
    check([1, 2, 3].map(|keys| {
        let build = outage(Mode::Hung, keys, 4 * HOUR, false, Own::No, false);
        Case::new(format!("outage/hung, nothing after/{keys} keys"), build)
    }));
}

/// An upstream that asks for an hour gets it, also beyond the end of its fault.
#[test]
fn retry_after_is_obeyed() {
    check(KEYS.map(|keys| {
        let build = outage(Mode::RetryAfter(3600), keys, 4 * HOUR, true, Own::Sometimes, false);
        Case::new(format!("outage/Retry-After 1 h/{keys} keys"), build).recovers(62 * MINUTE).delays(62 * MINUTE)
    }));
}

/// 500, or 404 after a bad deploy: with two order keys the fault is attributed to the upstream.
#[test]
fn four_hours_of_500_cost_nobody_anything_who_is_not_alone() {
    let cases = [500, 404].into_iter().flat_map(|status| {
        [2, 3, 50].map(|keys| {
            let build = outage(Mode::Status(status), keys, 4 * HOUR, true, Own::Sometimes, false);
            Case::new(format!("outage/{status}/{keys} keys"), build)
        })
    });
    check(cases);
    check([2, 3].map(|keys| {
        let build = outage(Mode::Status(500), keys, 4 * HOUR, false, Own::No, false);
        Case::new(format!("outage/500, nothing after/{keys} keys"), build)
    }));
    check([Case::new("two upstreams, shared keys", two_upstreams())]);
}

/// The fault of a lone failure cannot be distinguished from the upstream's: it is charged, and gets
/// its extra attempt when the upstream recovers.
#[test]
fn a_quiet_till_with_a_single_failure_gets_its_try() {
    check([
        Case::new("alone/500", outage(Mode::Status(500), 1, 4 * HOUR, true, Own::Sometimes, false))
            .charged(1, 1)
            .recovers(30 * MINUTE),
        Case::new("alone/404", outage(Mode::Status(404), 1, 4 * HOUR, true, Own::Sometimes, false))
            .charged(1, 1)
            .recovers(30 * MINUTE),
        Case::new("alone/500, nothing after", outage(Mode::Status(500), 1, 4 * HOUR, false, Own::No, false))
            .charged(1, 1)
            .recovers(2 * HOUR),
        // Too short to attribute the fault: each failure waits for its backoff.
        Case::new("20 min of 500/1 key", outage(Mode::Status(500), 1, 20 * MINUTE, true, Own::No, false))
            .charged(2, 0)
            .recovers(37 * MINUTE)
            .delays(37 * MINUTE),
        Case::new("20 min of 500/2 keys", outage(Mode::Status(500), 2, 20 * MINUTE, true, Own::No, false))
            .charged(2, 0)
            .recovers(37 * MINUTE)
            .delays(7 * MINUTE),
    ]);
}

#[test]
fn strict_order() {
    let mut poisoned = Case::new("strict/500 poisoned", poison(Kind::Status(500), 1, 30 * MINUTE, 24, 5, true));
    // Its head never becomes critical: the upstream is reported as failing instead.
    poisoned.loose = 1;
    check([
        Case::new("strict/500", outage(Mode::Status(500), 20, 4 * HOUR, true, Own::No, true)),
        Case::new("strict/hung", outage(Mode::Hung, 20, 4 * HOUR, true, Own::No, true)),
        poisoned.delays(15 * SECOND),
    ]);
}

/// A rejection counts at once and is final; ten in a row stop the sending, and canaries find the end.
#[test]
fn an_upstream_that_refuses_everything_is_stopped() {
    let mut case = Case::new("everything refused", outage(Mode::Status(400), 50, 20 * MINUTE, true, Own::No, false));
    (case.charged, case.ever_critical, case.end_critical) = (30, 30, 30);
    check([case.delays(3 * MINUTE)]);
}

/// A sale that the back end cannot process ends as critical, alone or with others like it, and
/// delays no other failure for long.
#[test]
fn what_is_poisoned_ends_critical_among_healthy_ones() {
    let kinds = [
        ("500", Kind::Status(500), 10, 90 * MINUTE, 3 * MINUTE, (24, 40)),
        ("502", Kind::Status(502), 90, 6 * HOUR, 6 * MINUTE, (24, 120)),
        ("timeout", Kind::Timeout, 75, 8 * HOUR, 9 * MINUTE, (24, 120)),
        ("reset", Kind::Reset, 90, 6 * HOUR, 6 * MINUTE, (24, 120)),
        ("401", Kind::Status(401), 40, 90 * MINUTE, 3 * MINUTE, (24, 120)),
        ("429", Kind::Status(429), 1000, 28 * HOUR, 6 * MINUTE, (24, 120)),
        // Two failures that ask for an hour before any acceptance look like a fault of the upstream.
        ("Retry-After 1 h", Kind::RetryAfter(3600), 50, 46 * HOUR, 4 * HOUR, (24, 120)),
        ("422", Kind::Status(422), 1, 20 * SECOND, 3 * SECOND, (24, 120)),
    ];
    check(kinds.into_iter().flat_map(|(what, kind, tries, within, delay, (a_minute, an_hour))| {
        [1, 2, 3, 5].map(|count| {
            Case::new(format!("poison/{what} x{count}"), poison(kind, count, 10 * MINUTE, 48, 20, false))
                .poison(tries, within)
                .delays(delay)
                .bad(a_minute, an_hour)
        })
    }));
}

/// The same on a till that delivers something every three hours.
#[test]
fn what_is_poisoned_ends_critical_on_a_quiet_till() {
    let kinds = [
        ("500", Kind::Status(500), 70, 12 * HOUR),
        ("502", Kind::Status(502), 500, 40 * HOUR),
        ("timeout", Kind::Timeout, 350, 40 * HOUR),
        ("reset", Kind::Reset, 500, 40 * HOUR),
        ("401", Kind::Status(401), 320, 12 * HOUR),
        ("429", Kind::Status(429), 1000, 56 * HOUR),
        ("Retry-After 1 h", Kind::RetryAfter(3600), 70, 100 * HOUR),
        ("422", Kind::Status(422), 1, 20 * SECOND),
    ];
    check(kinds.map(|(what, kind, tries, within)| {
        let delay = if what.starts_with("Retry") { 75 * MINUTE } else { 3 * MINUTE };
        Case::new(format!("poison/{what} x5, good each 3 h"), poison(kind, 5, 3 * HOUR, 120, 0, false))
            .poison(tries, within)
            .delays(delay)
            .bad(24, 120)
    }));
}

/// Where nothing is ever accepted there is no contrast: the failures wait and are not charged.
#[test]
fn what_is_poisoned_and_alone_is_not_held_against_it_without_proof() {
    let kinds = [
        ("500", Kind::Status(500), [0, 4]),
        ("502", Kind::Status(502), [1, 4]),
        ("timeout", Kind::Timeout, [1, 4]),
        ("reset", Kind::Reset, [1, 4]),
        ("401", Kind::Status(401), [1, 4]),
        ("429", Kind::Status(429), [1, 4]),
        ("Retry-After 1 h", Kind::RetryAfter(3600), [1, 4]),
        ("422", Kind::Status(422), [0, 0]),
    ];
    check(kinds.into_iter().flat_map(|(what, kind, loose)| {
        [(1, loose[0]), (4, loose[1])].map(|(count, loose)| {
            let build = poison(kind, count, 0, 48, 0, false);
            let case = Case::new(format!("poison/{what} x{count}, nothing else"), build).poison(4, HOUR);
            Case { loose, ..case }
        })
    }));
}

/// A hundred failures of a route that is permanently broken, and healthy ones of another.
#[test]
fn a_broken_route_ends_critical_and_the_others_go_on() {
    check([
        Case::new("route/401", broken_route(401, 100, 10 * MINUTE, 48))
            .poison(75, 26 * HOUR)
            .delays(4 * MINUTE)
            .bad(60, 220),
        Case::new("route/404", broken_route(404, 100, 10 * MINUTE, 48))
            .poison(15, 12 * HOUR)
            .delays(3 * MINUTE)
            .bad(100, 300),
        Case::new("route/404, good each 2 min", broken_route(404, 100, 2 * MINUTE, 24))
            .poison(13, 4 * HOUR)
            .delays(3 * MINUTE)
            .bad(110, 420),
    ]);
}

#[test]
fn a_flapping_line_costs_nothing() {
    let modes = [("502", Mode::Status(502)), ("down", Mode::Down), ("hung", Mode::Hung)];
    check(modes.into_iter().flat_map(|(what, mode)| {
        [3, 50].into_iter().flat_map(move |keys| {
            [("minutes", 5 * MINUTE, 2 * MINUTE, 4 * MINUTE), ("seconds", 10 * SECOND, 10 * SECOND, 3 * MINUTE)].map(
                |(how, bad, good, every)| {
                    let build = flapping((mode, bad), (Mode::Good, good), keys, every);
                    Case::new(format!("flap/{what}, {how}/{keys} keys"), build)
                },
            )
        })
    }));
    check([
        Case::new("blips, then 502", blips(Mode::Status(502), 30)).bad(32, 260),
        Case::new("blips, then down", blips(Mode::Down, 30)),
    ]);
    check([30, 60, 90].map(|share| {
        let mode = Mode::Share(share, 502);
        Case::new(format!("brown-out/{share} % 502"), flapping((mode, HOUR), (mode, HOUR), 30, 3 * MINUTE))
    }));
}

/// Intermittent wrong responses about the failures charge some of them a retry, and leave none of
/// them critical.
#[test]
fn a_flapping_back_end_leaves_nobody_critical() {
    let flap = |what: &str, mode, keys, charged, critical| {
        [("minutes", 5 * MINUTE, 2 * MINUTE, 4 * MINUTE), ("seconds", 10 * SECOND, 10 * SECOND, 3 * MINUTE)].map(
            |(how, bad, good, every)| {
                let build = flapping((mode, bad), (Mode::Good, good), keys, every);
                Case::new(format!("flap/{what}, {how}/{keys} keys"), build)
                    .charged(charged, critical)
                    .recovers(40 * MINUTE)
                    .bad(24, 120)
            },
        )
    };
    for keys in [3, 50] {
        check(flap("500", Mode::Status(500), keys, 30, 3));
        check(flap("401", Mode::Status(401), keys, 10, 0));
    }
    check([30, 60, 90].map(|share| {
        let mode = Mode::Share(share, 500);
        Case::new(format!("brown-out/{share} % 500"), flapping((mode, HOUR), (mode, HOUR), 30, 3 * MINUTE))
            .charged(45, 5)
            .recovers(45 * MINUTE)
            .bad(45, 150)
    }));
}

/// When the share of unclear responses is high after an outage, a poisoned failure takes longer to
/// become critical, but it still does.
#[test]
fn what_is_poisoned_ends_critical_after_an_outage_too() {
    let kinds = [("502", Kind::Status(502)), ("timeout", Kind::Timeout), ("401", Kind::Status(401))];
    check(kinds.into_iter().flat_map(|(what, kind)| {
        [("502", Mode::Status(502)), ("401", Mode::Status(401))].into_iter().flat_map(move |(after, mode)| {
            [("10 min", 10 * MINUTE, 260, 7 * HOUR), ("1 h", HOUR, 1500, 26 * HOUR)].map(
                |(each, every, tries, within)| {
                    Case::new(format!("poison/{what} after {after}, good each {each}"), poison_after(kind, mode, every))
                        .poison(tries, within)
                        .delays(4 * MINUTE)
                },
            )
        })
    }));
}

/// An upstream that answers no probe costs a minute once, and then nothing.
#[test]
fn where_probes_go_unanswered_they_are_not_believed() {
    let build = |poisoned| constant(Mode::DeafToProbes, 20, poisoned);
    check([
        Case::new("no probe/healthy", build(None)).delays(95 * SECOND),
        Case::new("no probe/and 502", build(Some(Kind::Status(502)))).poison(130, 4 * HOUR).delays(4 * MINUTE),
        Case::new("no probe/and 500", build(Some(Kind::Status(500)))).poison(25, 75 * MINUTE).delays(4 * MINUTE),
        Case::new("no probe/and timeout", build(Some(Kind::Timeout))).poison(90, 4 * HOUR).delays(9 * MINUTE),
    ]);
}

/// Random faults for eight hours, on two upstreams with shared order keys.
#[test]
fn any_weather_passes() {
    let case = |name: &str, people, routes, poison| {
        Case::new(name, weather(Weather { people, routes, poison }))
            .charged(25, 12)
            .poison(1300, 26 * HOUR)
            .recovers(45 * MINUTE)
            .delays(7 * MINUTE)
            .bad(24, 170)
    };
    // Contrast and counting exist for a route that is broken for hours while others work.
    let routes = Case { end_critical: 8, loose: 0, ..case("weather/with routes", false, true, true) };
    check([
        case("weather/plain", false, false, false),
        case("weather/poisoned", false, false, true),
        routes,
        case("weather/people", true, true, true),
    ]);
}
