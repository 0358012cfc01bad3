//! Clock times within sentences. A time begins with its date where it is not today's.

/// `at 06:12:34`, `at 2026-11-24 06:12:34`; what follows the time stays.
pub(crate) fn at(clock: &str) -> String {
    match dated(clock) {
        None => crate::say!(en: "at {clock}", es: "a las {clock}"),
        Some((date, time)) => crate::say!(en: "at {date} {time}", es: "el {date} a las {time}"),
    }
}

/// The beginning of a span that lasts.
pub(crate) fn since(clock: &str) -> String {
    match dated(clock) {
        None => crate::say!(en: "since {clock}", es: "desde las {clock}"),
        Some((date, time)) => crate::say!(en: "since {date} {time}", es: "desde el {date} a las {time}"),
    }
}

/// The end of a span.
pub(crate) fn until(clock: &str) -> String {
    match dated(clock) {
        None => crate::say!(en: "until {clock}", es: "hasta las {clock}"),
        Some((date, time)) => crate::say!(en: "until {date} {time}", es: "hasta el {date} a las {time}"),
    }
}

/// The date and the rest of a time that has a date.
fn dated(clock: &str) -> Option<(&str, &str)> {
    clock.split_once(' ').filter(|(date, _)| date.contains('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Language;

    #[test]
    fn a_time_of_another_day_names_the_day() {
        let both = |clock: &str| (at(clock), Language::Spanish.during(|| at(clock)));
        assert_eq!(both("06:12:34, 2 min ago"), ("at 06:12:34, 2 min ago".into(), "a las 06:12:34, 2 min ago".into()));
        assert_eq!(
            both("2026-11-24 06:12:34"),
            ("at 2026-11-24 06:12:34".into(), "el 2026-11-24 a las 06:12:34".into())
        );
        assert_eq!(Language::Spanish.during(|| since("06:12:34")), "desde las 06:12:34");
        assert_eq!(Language::Spanish.during(|| until("2026-11-24 06:12:34")), "hasta el 2026-11-24 a las 06:12:34");
    }
}
