//! Times as operators type them: `24h` ago, `06:12` today, `2026-11-24 06:12`, all by the local clock; or complete,
//! with a zone.

use super::Failure;
use crate::config::value::duration;
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::text::times as text;
use time::UtcOffset;

/// The start or the end of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// `--since`
    Start,
    /// `--until`
    End,
}

/// Converts a time to the protocol's format.
pub fn instant(name: &str, given: &str, edge: Edge) -> Result<String, Failure> {
    let wrong = || Failure::Usage(text::not_a_time(name, given));
    read(given, edge, wall(), &offset_at).map(WallTime::rfc3339).ok_or_else(wrong)
}

fn read(given: &str, edge: Edge, now: WallTime, offset: &dyn Fn(WallTime) -> UtcOffset) -> Option<WallTime> {
    let given = given.trim();
    if let Ok(ago) = duration(given) {
        return Some(now.before(ago));
    }
    let today = now.calendar().to_offset(offset(now)).date();
    let whole = match given.len() {
        5 | 8 if given.contains(':') => {
            format!("{:04}-{:02}-{:02} {given}", today.year(), u8::from(today.month()), today.day())
        }
        // A date as the end of a span includes the whole day.
        10 if edge == Edge::End => {
            let day = WallTime::parse(given)?.after(std::time::Duration::from_secs(24 * 3600));
            return Some(shifted(day, offset));
        }
        _ => given.to_owned(),
    };
    let whole = if whole.len() == 16 { format!("{whole}:00") } else { whole };
    let zoned = whole.get(11..).is_some_and(|clock| clock.contains(['Z', 'z', '+', '-']));
    let at = WallTime::parse(&whole)?;
    Some(if zoned { at } else { shifted(at, offset) })
}

/// The local clock's offset from UTC at a time.
fn offset_at(at: WallTime) -> UtcOffset {
    UtcOffset::local_offset_at(at.calendar()).unwrap_or(UtcOffset::UTC)
}

/// Converts a local time that was parsed as UTC, by the local offset at that time. An hour that a clock change skips is
/// read as the hour before it; of a repeated hour the second is taken.
fn shifted(at: WallTime, offset: &dyn Fn(WallTime) -> UtcOffset) -> WallTime {
    let less = |offset: UtcOffset| WallTime::from_millis(at.as_millis() - i64::from(offset.whole_seconds()) * 1000);
    less(offset(less(offset(at))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(given: &str, edge: Edge) -> Option<String> {
        let now = WallTime::parse("2026-11-24T12:00:00Z").expect("a time");
        // Madrid: an hour ahead, two from the last Sunday of March to the last one of October.
        let summer = WallTime::parse("2026-03-29T01:00:00Z").expect("a time")
            ..WallTime::parse("2026-10-25T01:00:00Z").expect("a time");
        let offset =
            |at: WallTime| UtcOffset::from_hms(if summer.contains(&at) { 2 } else { 1 }, 0, 0).expect("an offset");
        read(given, edge, now, &offset).map(WallTime::rfc3339)
    }

    #[test]
    fn times_are_local_unless_they_say_their_zone() {
        for (given, start) in [
            ("24h", "2026-11-23T12:00:00.000Z"),
            ("06:12", "2026-11-24T05:12:00.000Z"),
            ("06:12:34", "2026-11-24T05:12:34.000Z"),
            ("2026-11-24", "2026-11-23T23:00:00.000Z"),
            ("2026-11-24 06:12", "2026-11-24T05:12:00.000Z"),
            ("2026-07-14 06:12", "2026-07-14T04:12:00.000Z"),
            ("2026-07-14", "2026-07-13T22:00:00.000Z"),
            ("2026-03-29 01:59", "2026-03-29T00:59:00.000Z"),
            ("2026-03-29 03:00", "2026-03-29T01:00:00.000Z"),
            ("2026-10-25 03:00", "2026-10-25T02:00:00.000Z"),
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
