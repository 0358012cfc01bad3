//! `Retry-After`: seconds, dates and garbage, with any clock; never longer than an hour.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resyncd::limits::MAX_RETRY_AFTER;
use resyncd::moment::WallTime;
use resyncd::policy::class::retry_after;

fuzz_target!(|input: (i64, &str)| {
    let (now, text) = input;
    // Within the range of HTTP dates.
    let now = WallTime::from_millis(now % 253_402_300_799_000);
    if let Some(wait) = retry_after(text, now) {
        assert!(wait <= MAX_RETRY_AFTER, "{text:?}: {wait:?}");
    }
    if let Some(date) = WallTime::parse_http_date(text) {
        assert!(retry_after(text, date).is_none_or(|wait| wait.is_zero()), "{text:?} is now");
    }
});
