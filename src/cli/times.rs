//! Times as people give them: `24h` ago, `06:12` today, `2026-11-24 06:12`, all by the local clock; or
//! whole, with a zone.

use super::Failure;
use crate::config::value::duration;
use crate::io::clock::wall;
use crate::moment::WallTime;
use time::UtcOffset;

/// Which end of a span a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// `--since`
    Start,
    /// `--until`
    End,
}

/// A time as the protocol has it.
pub fn instant(name: &str, given: &str, edge: Edge) -> Result<String, Failure> {
    let local = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let wrong = || {
        Failure::Usage(format!(
            "--{name} {given}: expected a time such as 24h (ago), 06:12, 2026-11-24, \"2026-11-24 06:12\" or 2026-11-24T06:12:34Z"
        ))
    };
    read(given, edge, wall(), local).map(WallTime::rfc3339).ok_or_else(wrong)
}

fn read(given: &str, edge: Edge, now: WallTime, local: UtcOffset) -> Option<WallTime> {
    let given = given.trim();
    if let Ok(ago) = duration(given) {
        return Some(now.before(ago));
    }
    let today = now.calendar().to_offset(local).date();
    let whole = match given.len() {
        5 | 8 if given.contains(':') => {
            format!("{:04}-{:02}-{:02} {given}", today.year(), u8::from(today.month()), today.day())
        }
        // A day as the end of a span is meant whole.
        10 if edge == Edge::End => {
            let day = WallTime::parse(given)?.after(std::time::Duration::from_secs(24 * 3600));
            return Some(shifted(day, local));
        }
        _ => given.to_owned(),
    };
    let whole = if whole.len() == 16 { format!("{whole}:00") } else { whole };
    let zoned = whole.get(11..).is_some_and(|clock| clock.contains(['Z', 'z', '+', '-']));
    let at = WallTime::parse(&whole)?;
    Some(if zoned { at } else { shifted(at, local) })
}

/// A local time that was read as if it were UTC.
fn shifted(at: WallTime, local: UtcOffset) -> WallTime {
    WallTime::from_millis(at.as_millis() - i64::from(local.whole_seconds()) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(given: &str, edge: Edge) -> Option<String> {
        let now = WallTime::parse("2026-11-24T12:00:00Z").expect("a time");
        let local = UtcOffset::from_hms(1, 0, 0).expect("an offset");
        read(given, edge, now, local).map(WallTime::rfc3339)
    }

    #[test]
    fn times_are_local_unless_they_say_their_zone() {
        for (given, start) in [
            ("24h", "2026-11-23T12:00:00.000Z"),
            ("06:12", "2026-11-24T05:12:00.000Z"),
            ("06:12:34", "2026-11-24T05:12:34.000Z"),
            ("2026-11-24", "2026-11-23T23:00:00.000Z"),
            ("2026-11-24 06:12", "2026-11-24T05:12:00.000Z"),
            ("2026-11-24T06:12:34Z", "2026-11-24T06:12:34.000Z"),
            ("2026-11-24T06:12:34+02:00", "2026-11-24T04:12:34.000Z"),
        ] {
            assert_eq!(told(given, Edge::Start).as_deref(), Some(start), "{given}");
        }
        assert_eq!(told("2026-11-24", Edge::End).as_deref(), Some("2026-11-24T23:00:00.000Z"), "the whole day");
        for wrong in ["yesterday", "", "25:00", "06", "2026-13-01"] {
            assert_eq!(told(wrong, Edge::Start), None, "{wrong}");
        }
    }
}
