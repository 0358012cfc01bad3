//! Two clocks that must never be mixed up.
//!
//! A terminal's wall clock jumps: a flat battery, a wrong time zone, a technician. So what is due
//! and how old something is are decided in *agent time* ([`AgentTime`]), which only goes forward,
//! and the *wall time* ([`WallTime`]) is for people and for the wire. They are different types;
//! nothing converts one into the other.
//!
//! This module does not read any clock. `now` is always an argument ([`Moment`]); the daemon's
//! clock is read in one place, `io::clock`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// Milliseconds that the agent has lived, over all its starts (`spec/01`, agent time).
///
/// Imported failures may be older than the agent itself, hence signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentTime(i64);

impl AgentTime {
    /// The agent's first moment.
    pub const ZERO: Self = Self(0);

    /// A time as it is stored.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// As it is stored.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time and `wait` more; stays at the end of time instead of overflowing.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// This time less `wait`.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(millis(wait)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A [`Duration`] in whole milliseconds, rounded up, so that a deadline never comes too early.
fn millis(wait: Duration) -> i64 {
    let up = wait.saturating_add(Duration::from_nanos(999_999));
    i64::try_from(up.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970-01-01 UTC by the terminal's clock, which may be wrong by years.
///
/// Bounded to the years 0000 to 9999, so that every value has its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct WallTime(i64);

impl WallTime {
    const FIRST_MS: i64 = -62_167_219_200_000; // 0000-01-01T00:00:00Z
    const LAST_MS: i64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z

    /// A time from a clock, brought into the years that have a text.
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

    /// This time and `wait` more.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(wait)))
    }

    /// This time less `wait`.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(millis(wait)))
    }

    /// How long ago `earlier` was; zero when it lies ahead, as it may when the clock was wrong.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As SQLite writes times, with milliseconds: `2026-11-24 06:12:34.123` (`spec/01`).
    #[must_use]
    pub fn sql(self) -> String {
        self.text(b' ', "")
    }

    /// As it goes over the wire: `2026-11-24T06:12:34.123Z` (RFC 3339).
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.text(b'T', "Z")
    }

    /// Every record has three of them: digit by digit into its place, for `format!` takes fifteen times as long.
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

    /// The calendar's view of it, in UTC.
    #[must_use]
    pub fn calendar(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .expect("the constructor keeps the time within the years 0 to 9999")
    }

    /// Reads what [`sql`](Self::sql), [`rfc3339`](Self::rfc3339) or a person wrote; a date alone is
    /// its first moment. `None` when it is no time.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut full = text.trim().replacen(' ', "T", 1);
        if full.len() == "2026-11-24".len() {
            full.push_str("T00:00:00");
        }
        let clock = full.get(11..)?;
        if !clock.contains(['Z', 'z', '+', '-']) {
            full.push('Z');
        }
        let at = OffsetDateTime::parse(&full, &Rfc3339).ok()?;
        Self::from_calendar(at)
    }

    /// Reads an HTTP date (RFC 9110, 5.6.7), for instance of a `Retry-After`.
    #[must_use]
    pub fn parse_http_date(text: &str) -> Option<Self> {
        Self::from_calendar(OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?)
    }

    fn from_calendar(at: OffsetDateTime) -> Option<Self> {
        let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
        Some(Self::from_millis(i64::try_from(ms).ok()?))
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

/// Now, on both clocks. Every decision of the agent gets one as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Decides.
    pub agent: AgentTime,
    /// Is shown.
    pub wall: WallTime,
}

/// The longest time that a stopped agent is taken to have been away (`spec/01`): a clock that was
/// set ten years ahead while the terminal was off must not make everything old at once.
pub const LONGEST_ABSENCE: Duration = Duration::from_secs(3 * 24 * 3600);

/// Agent time at start: the stored one, and the wall clock's difference clamped to 0 … 3 days.
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
        assert_eq!(WallTime::parse("2026-11-24").map(WallTime::sql).as_deref(), Some("2026-11-24 00:00:00.000"));
        assert_eq!(WallTime::parse("yesterday"), None);
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
        assert_eq!(WallTime::parse_http_date("in a while"), None);
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
