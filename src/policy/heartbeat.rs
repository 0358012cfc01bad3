//! When the next heartbeat is due: at an offset derived from the terminal id, so that the terminals of a chain
//! spread over the whole period, and each keeps its offset across restarts.

use crate::moment::{AgentTime, Moment};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The next heartbeat after `now`; `every` is a whole number of milliseconds.
#[must_use]
pub fn next(now: Moment, every: Duration, terminal_id: &str) -> AgentTime {
    let period = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut hasher = DefaultHasher::new();
    terminal_id.hash(&mut hasher);
    let offset = i64::try_from(hasher.finish() >> 1).unwrap_or(0) % period;
    let phase = now.wall.as_millis().rem_euclid(period);
    let wait = match (offset - phase).rem_euclid(period) {
        0 => period,
        wait => wait,
    };
    now.agent.after(Duration::from_millis(wait.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::WallTime;

    #[test]
    fn a_chain_spreads_over_the_period_and_each_keeps_its_place() {
        let every = Duration::from_secs(300);
        let at =
            |ms: i64| Moment { agent: AgentTime::from_millis(ms), wall: WallTime::from_millis(1_795_500_000_000 + ms) };
        let mut tenths = [0; 10];
        for n in 0..1000 {
            let name = format!("till-{n}");
            let first = next(at(0), every, &name).as_millis();
            assert!((1..=300_000).contains(&first));
            assert_eq!(next(at(first - 1), every, &name).as_millis(), first, "a restart keeps the place");
            assert_eq!(next(at(first), every, &name).as_millis(), first + 300_000);
            tenths[usize::try_from((first - 1) / 30_000).expect("a tenth")] += 1;
        }
        assert!(tenths.iter().all(|count| (60..150).contains(count)), "{tenths:?}");
    }
}
