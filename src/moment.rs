//! Two clocks that must never be mixed up.
//!
//! A terminal's wall clock jumps: a flat battery, a wrong time zone, a technician. So due times and ages are
//! calculated in *agent time* ([`AgentTime`]), which only goes forward, and the *wall time* ([`WallTime`]) is for
//! display and for the wire. They are different types, and neither is ever converted into the other.
//!
//! This module does not read any clock. `now` is always an argument ([`Moment`]); the daemon's clock is read in one
//! place, `io::clock`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// Milliseconds that the agent has lived, over all its runs.
///
/// Signed, because imported failures may be older than the agent itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentTime(i64);

impl AgentTime {
    /// The beginning of the agent's life.
    pub const ZERO: Self = Self(0);

    /// Reads the stored form.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// The stored form.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `wait`; saturates instead of overflowing.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// This time minus `wait`.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(millis(wait)))
    }

    /// The time since `earlier`; zero if that is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Whole milliseconds of a [`Duration`], rounded up, so that a deadline is never too early.
fn millis(wait: Duration) -> i64 {
    let up = wait.saturating_add(Duration::from_nanos(999_999));
    i64::try_from(up.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970-01-01 UTC by the terminal's clock, which may be wrong by years.
///
/// Limited to the years 0000 to 9999, so that every value can be formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct WallTime(i64);

impl WallTime {
    const FIRST_MS: i64 = -62_167_219_200_000; // 0000-01-01T00:00:00Z
    const LAST_MS: i64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z

    /// A clock's time, clamped to the years that can be formatted.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        if ms < Self::FIRST_MS {
            Self(Self::FIRST_MS)
        } else if ms > Self::LAST_MS {
            Self(Self::LAST_MS)
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `wait`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(wait)))
    }

    /// This time minus `wait`.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(millis(wait)))
    }

    /// The time since `earlier`; zero if that is in the future, as after a correction of the clock.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// SQLite's format with milliseconds: `2026-11-24 06:12:34.123`.
    #[must_use]
    pub fn sql(self) -> String {
        self.text(b' ', "")
    }

    /// The wire format: `2026-11-24T06:12:34.123Z` (RFC 3339).
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.text(b'T', "Z")
    }

    /// Every record has three times, so each digit is written in place: `format!` takes fifteen times as long.
    fn text(self, between: u8, end: &str) -> String {
        let at = self.calendar();
        let mut text = *b"0000-00-00 00:00:00.000";
        text[10] = between;
        let mut put = |place: Range<usize>, number: u32| {
            let mut rest = number;
            for digit in text[place].iter_mut().rev() {
                *digit += u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
        };
        put(0..4, at.year().unsigned_abs());
        put(5..7, u8::from(at.month()).into());
        put(8..10, at.day().into());
        put(11..13, at.hour().into());
        put(14..16, at.minute().into());
        put(17..19, at.second().into());
        put(20..23, at.millisecond().into());
        [std::str::from_utf8(&text).expect("digits are ASCII"), end].concat()
    }

    /// The calendar date and time, in UTC.
    #[must_use]
    pub fn calendar(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .expect("the constructor keeps the time within the years 0 to 9999")
    }

    /// Parses the output of [`sql`](Self::sql) or [`rfc3339`](Self::rfc3339), or a time that an operator typed; a
    /// date alone is its first moment. `None` if it is not a valid time.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Below, an offset is completed at a byte position.
        let text = Some(text.trim()).filter(|text| text.is_ascii())?;
        let mut full = text.replacen(' ', "T", 1);
        if full.len() == "2026-11-24".len() {
            full.push_str("T00:00:00");
        }
        let clock = full.get(11..)?;
        match clock.rfind(['+', '-']) {
            // Hours, or hours and minutes without a colon, as databases write an offset.
            Some(sign) => match clock.len() - sign - 1 {
                2 => full.push_str(":00"),
                4 if !clock[sign..].contains(':') => full.insert(full.len() - 2, ':'),
                _ => {}
            },
            None if !Self::has_zone(&full) => full.push('Z'),
            None => {}
        }
        let at = OffsetDateTime::parse(&full, &Rfc3339).ok()?;
        Self::from_calendar(at)
    }

    /// Returns whether a time's text has an offset. Without one, [`parse`](Self::parse) assumes UTC.
    #[must_use]
    pub fn has_zone(text: &str) -> bool {
        text.trim().get(11..).is_some_and(|clock| clock.contains(['Z', 'z', '+', '-']))
    }

    /// Parses an HTTP date in each of its three forms (RFC 9110, 5.6.7), for instance in `Retry-After`.
    #[must_use]
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let text = text.trim();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (day, month, year, clock) = match words[..] {
            // RFC 850: `Sunday, 06-Nov-94 08:49:37 GMT`
            [_, date, clock, "GMT" | "UTC"] => {
                let mut parts = date.split('-');
                (parts.next()?, parts.next()?, full_year(parts.next()?)?, clock)
            }
            // asctime: `Sun Nov  6 08:49:37 1994`
            [_, month, day, clock, year] if year.len() == 4 => (day, month, year.to_owned(), clock),
            _ => return Self::from_calendar(OffsetDateTime::parse(text, &Rfc2822).ok()?),
        };
        let same = format!("{day:0>2} {month} {year} {clock} GMT");
        Self::from_calendar(OffsetDateTime::parse(&same, &Rfc2822).ok()?)
    }

    fn from_calendar(at: OffsetDateTime) -> Option<Self> {
        let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
        Some(Self::from_millis(i64::try_from(ms).ok()?))
    }
}

/// Expands a year with two digits. By RFC 9110, a date more than 50 years in the future is one in the past.
fn full_year(text: &str) -> Option<String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.len() {
        2 if digits => Some(format!("{}{text}", if text < "77" { "20" } else { "19" })),
        4 if digits => Some(text.to_owned()),
        _ => None,
    }
}

impl From<i64> for WallTime {
    fn from(ms: i64) -> Self {
        Self::from_millis(ms)
    }
}

impl From<WallTime> for i64 {
    fn from(at: WallTime) -> Self {
        at.as_millis()
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// The current time on both clocks. Every decision of the agent gets one as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For decisions.
    pub agent: AgentTime,
    /// For display.
    pub wall: WallTime,
}

/// Maximum time that is counted for a stopped agent: a clock that was set ten years ahead while the terminal was
/// off must not make every failure old at once.
pub const LONGEST_ABSENCE: Duration = Duration::from_secs(3 * 24 * 3600);

/// Agent time at start: the stored one, plus the difference of the wall clock, clamped to 0 … 3 days.
#[must_use]
pub fn resume(stored: Moment, wall: WallTime) -> AgentTime {
    stored.agent.after(wall.since(stored.wall).min(LONGEST_ABSENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_time() {
        let at = WallTime::from_millis(1_795_500_754_123);
        assert_eq!(at.sql(), "2026-11-24 06:12:34.123");
        assert_eq!(at.rfc3339(), "2026-11-24T06:12:34.123Z");
        for text in ["2026-11-24 06:12:34.123", "2026-11-24T06:12:34.123Z", "2026-11-24T07:12:34.123+01:00"] {
            assert_eq!(WallTime::parse(text), Some(at), "{text}");
        }
        for text in [
            "2026-11-24 07:12:34.123+01",
            "2026-11-24 07:12:34.123456+0100",
            "2026-11-24T01:12:34.1234567-05:00",
            "2026-11-24 11:57:34.123+05:45",
        ] {
            assert_eq!(WallTime::parse(text), Some(at), "{text}");
        }
        for text in ["2026-11-24 06:12:34+1", "2026-11-24 06:12:34+", "2026-11-24 06:12:34+é1", "2026-11-2é 06:12:34"]
        {
            assert_eq!(WallTime::parse(text), None, "{text}");
        }
        assert_eq!(WallTime::parse("2026-11-24").map(WallTime::sql).as_deref(), Some("2026-11-24 00:00:00.000"));
        assert_eq!(WallTime::parse("yesterday"), None);
        for offset in ["-32\u{332c}", "+0\u{e9}0", "-\u{e9}\u{e9}", "+\u{332c}"] {
            assert_eq!(WallTime::parse(&format!("2026-11-24T06:12:34.1{offset}")), None, "{offset}");
        }
        assert_eq!(WallTime::parse(""), None);
    }

    #[test]
    fn times_before_1970_and_beyond_the_calendar_have_a_text() {
        assert_eq!(WallTime::from_millis(-1).sql(), "1969-12-31 23:59:59.999");
        assert_eq!(WallTime::from_millis(i64::MIN).sql(), "0000-01-01 00:00:00.000");
        assert_eq!(WallTime::from_millis(i64::MAX).sql(), "9999-12-31 23:59:59.999");
    }

    #[test]
    fn http_dates() {
        let at = WallTime::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("the example of RFC 9110");
        assert_eq!(at.rfc3339(), "1994-11-06T08:49:37.000Z");
        for other in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun Nov 06 08:49:37 1994"] {
            assert_eq!(WallTime::parse_http_date(other), Some(at), "{other}");
        }
        let later = WallTime::parse_http_date("Tuesday, 24-Nov-26 06:01:30 GMT").expect("a date of RFC 850");
        assert_eq!(later.rfc3339(), "2026-11-24T06:01:30.000Z");
        for garbage in
            ["in a while", "", "Sun Nov 6 1994", "Sunday, 06-Nov-9 08:49:37 GMT", "a b c d e f", "x, 1-2-3 4 GMT"]
        {
            assert_eq!(WallTime::parse_http_date(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn agent_time_at_start_is_clamped() {
        let day = 86_400_000;
        let stored = Moment { agent: AgentTime::from_millis(1000), wall: WallTime::from_millis(100 * day) };
        let after = |ms| resume(stored, WallTime::from_millis(ms)).as_millis();
        assert_eq!(after(100 * day + 500), 1500, "the usual case");
        assert_eq!(after(0), 1000, "a clock that went back adds nothing");
        assert_eq!(after(5000 * day), 1000 + 3 * day, "a clock that jumped ahead adds three days");
    }

    #[test]
    fn deadlines_are_rounded_up() {
        assert_eq!(AgentTime::ZERO.after(Duration::from_micros(1)).as_millis(), 1);
        assert_eq!(AgentTime::ZERO.after(Duration::MAX).as_millis(), i64::MAX);
    }
}
