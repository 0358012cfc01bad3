//! Payment card numbers where none should be: in a payload, in an error text.
//!
//! A number counts when it has 13 to 19 digits, together or in groups with single blanks or hyphens
//! between, begins as a card of that length does, and passes Luhn's check. That alone would take one
//! in ten of all long numbers that begin with a 4 for a card, so what surely is something else is left
//! out: digits that go on as letters or as another number (ids, hashes, fractions, phone numbers),
//! and article numbers (EAN-13), of which shops are full.
//!
//! It stands in the way of every record. The look goes over a text in steps of four bytes, because
//! at least one group of a card's digits has four: where there are no digits, that is all it does.

/// Does the text hold what looks like a card number? What it is is deliberately not told.
#[must_use]
pub fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = LEAST_GROUP - 1;
    let mut done = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += LEAST_GROUP;
            continue;
        }
        let run = run_around(bytes, at, done);
        if run.holds_card(bytes) {
            return true;
        }
        done = run.end;
        at = run.end + LEAST_GROUP;
    }
    false
}

const LEAST_GROUP: usize = 4;
const MOST_DIGITS: usize = 19;

/// How cards are printed, in groups.
const PRINTED: [&[usize]; 5] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 3, 3, 3], &[4, 4, 4, 4, 3]];
/// From so many digits on, any grouping will do; less is a phone number rather than a card.
const LEAST_IN_ODD_GROUPS: usize = 15;

/// First digits from … to …, and the lengths of such cards from … to ….
const BRANDS: [(u32, u32, usize, usize); 17] = [
    (4, 4, 13, 13),
    (4, 4, 16, 16),
    (4, 4, 18, 19),
    (51, 55, 16, 16),
    (2221, 2720, 16, 16),
    (34, 34, 15, 15),
    (37, 37, 15, 15),
    (300, 305, 14, 14),
    (36, 36, 14, 19),
    (38, 39, 14, 14),
    (3528, 3589, 16, 19),
    (6011, 6011, 16, 19),
    (644, 659, 16, 19),
    (62, 62, 16, 19),
    (60, 60, 16, 16),
    (2200, 2204, 16, 19),
    (81, 82, 16, 19),
];
/// Maestro, whose cards may have any length.
const MAESTRO: [u32; 9] = [5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763];

/// Digits with single blanks or hyphens between them.
struct Run {
    start: usize,
    end: usize,
}

/// The run that a digit stands in, not before `done`.
fn run_around(bytes: &[u8], at: usize, done: usize) -> Run {
    let joins = |before: usize, gap: usize, after: usize| {
        bytes[before].is_ascii_digit() && matches!(bytes[gap], b' ' | b'-') && bytes[after].is_ascii_digit()
    };
    let mut start = at;
    while start > done {
        let digit = bytes[start - 1].is_ascii_digit();
        if digit {
            start -= 1;
        } else if start >= done + 2 && joins(start - 2, start - 1, start) {
            start -= 2;
        } else {
            break;
        }
    }
    let mut end = at + 1;
    while end < bytes.len() {
        if bytes[end].is_ascii_digit() {
            end += 1;
        } else if end + 1 < bytes.len() && joins(end - 1, end, end + 1) {
            end += 2;
        } else {
            break;
        }
    }
    Run { start, end }
}

impl Run {
    fn holds_card(&self, bytes: &[u8]) -> bool {
        if self.end - self.start < 13 {
            return false;
        }
        let text = &bytes[self.start..self.end];
        let groups: Vec<&[u8]> = text.split(|byte| !byte.is_ascii_digit()).collect();
        // What goes on as something else belongs to the outer groups only.
        let first = usize::from(continues_before(bytes, self.start));
        let last = groups.len() - usize::from(continues_behind(bytes, self.end)).min(groups.len());
        let Some(whole) = groups.get(first..last).filter(|whole| !whole.is_empty()) else { return false };
        let digits: usize = whole.iter().map(|group| group.len()).sum();
        let odd = (LEAST_IN_ODD_GROUPS..=MOST_DIGITS).contains(&digits) && whole.len() == groups.len();
        let printed = |groups: &[&[u8]]| {
            let fits = |sizes: &&[usize]| groups.iter().map(|group| group.len()).eq(sizes.iter().copied());
            groups.len() == 1 || PRINTED.iter().any(fits)
        };
        let windows = (1..=5).flat_map(|count| whole.windows(count));
        (odd && is_card(whole)) || windows.filter(|groups| printed(groups)).any(is_card)
    }
}

/// A letter, a digit's point or sign before it makes it a part of something else. The letter of an
/// escape (`\n`) does not.
fn continues_before(bytes: &[u8], start: usize) -> bool {
    let before = |back: usize| start.checked_sub(back).map_or(b' ', |at| bytes[at]);
    match before(1) {
        b'.' | b',' => before(2).is_ascii_digit(),
        b'+' | b'_' => true,
        b'n' | b't' | b'r' | b'b' | b'f' => before(2) != b'\\',
        other => other.is_ascii_alphanumeric(),
    }
}

fn continues_behind(bytes: &[u8], end: usize) -> bool {
    let behind = |on: usize| bytes.get(end + on).copied().unwrap_or(b' ');
    match behind(0) {
        b'.' | b',' => behind(1).is_ascii_digit(),
        other => other == b'_' || other.is_ascii_alphabetic(),
    }
}

fn is_card(groups: &[&[u8]]) -> bool {
    let digits = || groups.iter().flat_map(|group| group.iter()).map(|byte| u32::from(byte - b'0'));
    let count = digits().count();
    if !(13..=MOST_DIGITS).contains(&count) || !is_brand(digits(), count) || !luhn(digits(), count) {
        return false;
    }
    // Ordinary article numbers pass by chance.
    !(count == 13 && groups.len() == 1 && ean13(digits()))
}

fn is_brand(digits: impl Iterator<Item = u32>, count: usize) -> bool {
    let beginning = digits.take(4).fold(0, |number, digit| number * 10 + digit);
    let of_length = |first: u32| match first {
        0..10 => beginning / 1000,
        10..100 => beginning / 100,
        100..1000 => beginning / 10,
        _ => beginning,
    };
    let brand = BRANDS
        .iter()
        .any(|(from, to, least, most)| (*from..=*to).contains(&of_length(*from)) && (*least..=*most).contains(&count));
    brand || MAESTRO.contains(&beginning)
}

/// ISO/IEC 7812: every second digit from the right is doubled.
fn luhn(digits: impl Iterator<Item = u32>, count: usize) -> bool {
    let weighed = digits.enumerate().map(|(n, digit)| match (count - n).is_multiple_of(2) {
        true if digit > 4 => digit * 2 - 9,
        true => digit * 2,
        false => digit,
    });
    weighed.sum::<u32>().is_multiple_of(10)
}

/// GS1's check: every second digit counts three times.
fn ean13(digits: impl Iterator<Item = u32>) -> bool {
    digits
        .enumerate()
        .map(|(n, digit)| if n.is_multiple_of(2) { digit } else { digit * 3 })
        .sum::<u32>()
        .is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::is_in;

    /// The numbers that payment providers publish for tests.
    const CARDS: [&str; 16] = [
        "4111111111111111",
        "4012888888881881",
        "4222222222222",
        "5555555555554444",
        "5105105105105100",
        "2223003122003222",
        "378282246310005",
        "371449635398431",
        "30569309025904",
        "38520000023237",
        "36227206271667",
        "6011111111111117",
        "3530111333300000",
        "6200000000000005",
        "6759649826438453",
        "2200000000000053",
    ];

    #[test]
    fn cards_are_found_wherever_they_stand() {
        for card in CARDS {
            for around in [
                "*",
                "{\"card\":\"*\"}",
                "{\"card\":*}",
                "{\"total\":12.50,\"card\": * }",
                "HTTP 500: no such card *.",
                "<pan>*</pan>",
                "card-*",
                "a,*,b",
                "{\"note\":\"paid\\n*\\nthanks\"}",
                "x1 *",
            ] {
                for shift in ["", " ", "  ", "   "] {
                    let text = format!("{shift}{}", around.replace('*', card));
                    assert!(is_in(&text), "{text}");
                }
            }
        }
    }

    #[test]
    fn groups_are_found_too() {
        for text in [
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "paid with 5555 5555 5555 4444 12/27",
            "4111 1111 1111 1111 12 27",
            "{\"pan\":\"3782 822463 10005\"}",
            "3056-930902-5904",
            "4222 222 222 222",
            "41111111 11111111",
            "7 4111 1111 1111 1111",
        ] {
            assert!(is_in(text), "{text}");
        }
    }

    #[test]
    fn other_long_numbers_are_none() {
        for text in [
            "",
            "411",
            "4111111111111112",
            "411111111111",
            "{\"at\":1764000000000,\"id\":9007199254740993}",
            "{\"price\":19.4111111111111111,\"x\":0.5555555555554444,\"y\":4111111111111111.5}",
            "{\"y\":4111111111111111e2}",
            "4006381333931 5901234123457 4000417025005",
            "a4111111111111111",
            "4111111111111111f",
            "id_4111111111111111",
            "deadbeef4111111111111111cafe",
            "+49 30 1234567 89",
            "4111  1111  1111  1111",
            "4111/1111/1111/1111",
            "DE89 3704 0044 0532 0130 00",
            "41111111111111111111111111",
            "01a20e57-8106-7000-8793-0831a64dfe4d",
            "2026-11-24 06:12:34 2026-11-24T06:12:34.123Z",
            "0000000000000000",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }

    /// Article numbers of a country whose begin as a card does: some pass Luhn's check by chance.
    #[test]
    fn an_article_number_is_never_a_card() {
        for n in 0..20_000_u64 {
            let body = 400_000_000_000 + n * 9973;
            let digits: Vec<u64> = body.to_string().bytes().map(|byte| u64::from(byte - b'0')).collect();
            let sum: u64 =
                digits.iter().enumerate().map(|(n, digit)| if n % 2 == 0 { *digit } else { digit * 3 }).sum();
            let article = format!("{body}{}", (10 - sum % 10) % 10);
            assert!(!is_in(&article), "{article}");
        }
    }
}
