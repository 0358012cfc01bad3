//! Numbers, durations and sizes, as both languages write them.

use super::Language;
use crate::limits;
use std::fmt;
use std::time::Duration;

/// A number of things, with its thousands separated: `1,234,567`, in Spanish `1.234.567`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match Language::current() {
            Language::English => ',',
            Language::Spanish => '.',
        };
        let digits = self.0.to_string();
        let mut text = String::new();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                text.push(separator);
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A number with `places` decimals: `1.5`, in Spanish `1,5`.
#[must_use]
pub fn decimal(number: f64, places: usize) -> String {
    let text = format!("{number:.places$}");
    match Language::current() {
        Language::English => text,
        Language::Spanish => text.replace('.', ","),
    }
}

/// A duration in its largest suitable unit: `48 min`, `3 h`, `2 d`.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..5400 => format!("{} min", seconds / 60),
        5400..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A size in bytes in its largest suitable unit: `1.3 MiB`, in Spanish `1,3 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let text = limits::bytes(bytes);
    match Language::current() {
        Language::English => text,
        Language::Spanish => text.replace('.', ","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_each_language_does() {
        let written = || [0, 999, 1000, 1_234_567].map(|number| Count(number).to_string());
        assert_eq!(Language::English.during(written), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(Language::Spanish.during(written), ["0", "999", "1.000", "1.234.567"]);
        assert_eq!(format!("{:<6}|{:>6}", Count(1000), Count(7)), "1,000 |     7");
        assert_eq!(Language::Spanish.during(|| [decimal(1.25, 1), size(1_468_006)]), ["1,2", "1,3 MiB"]);
    }

    #[test]
    fn durations_have_their_largest_suitable_unit() {
        assert_eq!(span(Duration::from_secs(59)), "59 s");
        assert_eq!(span(Duration::from_secs(48 * 60)), "48 min");
        assert_eq!(span(Duration::from_secs(7200)), "2 h");
    }
}
