//! Detects payment card numbers in payloads and error texts, where they must not be.
//!
//! A number is reported if it has 13 to 19 digits, contiguous or in groups separated by single blanks or hyphens,
//! or by dots between groups as cards print them, begins like a card of that length, and passes Luhn's check. That
//! alone would report one in ten of all long numbers that begin with a 4, so anything that is certainly something
//! else is left out: digits that continue as hexadecimal ones or as another number (ids, hashes, fractions, phone
//! numbers), and article numbers (EAN-13), which are frequent in shops. Words directly before or after the digits
//! (`PAN4111…`, `…EUR`) do not matter, nor does the start of a magnetic stripe's track 1, `%B4111…^NAME^…`.
//!
//! Every record is checked, so the scan advances in steps of four bytes, because at least one group of a card's
//! digits has four: where there are no digits, it does nothing else.

/// Returns whether the text seems to contain a card number. The number is deliberately not returned.
#[must_use]
pub fn is_in(text: impl AsRef<[u8]>) -> bool {
    let bytes = text.as_ref();
    let mut at = LEAST_GROUP - 1;
    let mut done = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += LEAST_GROUP;
            continue;
        }
        let run = run_around(bytes, at, done);
        if run.holds_card(bytes) || run.begins_dotted_card(bytes) {
            return true;
        }
        done = run.end;
        at = run.end + LEAST_GROUP;
    }
    false
}

const LEAST_GROUP: usize = 4;
const MOST_DIGITS: usize = 19;

/// The groups in which cards print their numbers.
const PRINTED: [&[usize]; 5] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 3, 3, 3], &[4, 4, 4, 4, 3]];
/// From this number of digits on any grouping is accepted; a shorter number is more likely a phone number.
const LEAST_IN_ODD_GROUPS: usize = 15;

/// Range of the first digits, and range of the lengths of such cards.
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

/// Digits separated by single blanks or hyphens.
struct Run {
    start: usize,
    end: usize,
}

/// The run that contains a digit, not before `done`.
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
        // Adjacent characters only affect the outer groups.
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

    /// Returns whether the run is the first group of a card whose groups are separated by dots.
    fn begins_dotted_card(&self, bytes: &[u8]) -> bool {
        if self.end - self.start != LEAST_GROUP || bytes.get(self.end) != Some(&b'.') {
            return false;
        }
        if continues_before(bytes, self.start) {
            return false;
        }
        let mut groups: Vec<&[u8]> = Vec::new();
        let mut at = self.start;
        let end = loop {
            let digits = bytes[at..].iter().take(MOST_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
            groups.push(&bytes[at..at + digits]);
            at += digits;
            if groups.len() > PRINTED[0].len() + 1 || digits == 0 {
                return false;
            }
            match bytes.get(at..at + 2) {
                Some([b'.', next]) if next.is_ascii_digit() => at += 1,
                _ => break at,
            }
        };
        let fits = |sizes: &&[usize]| groups.iter().map(|group| group.len()).eq(sizes.iter().copied());
        !continues_behind(bytes, end) && PRINTED.iter().any(fits) && is_card(&groups)
    }
}

/// Returns whether the number is part of something else, because of a decimal point, a sign, an underscore, or
/// possibly hexadecimal letters before it. A word does not count, and neither does the letter of an escape (`\n`)
/// or the format code of track 1.
fn continues_before(bytes: &[u8], start: usize) -> bool {
    let before = |back: usize| start.checked_sub(back).map_or(b' ', |at| bytes[at]);
    match before(1) {
        b'.' | b',' => before(2).is_ascii_digit(),
        b'+' | b'_' => true,
        b'b' | b'f' if before(2) == b'\\' => false,
        b'B' if before(2) == b'%' => false,
        _ => are_hexadecimal(bytes[..start].iter().rev()),
    }
}

fn continues_behind(bytes: &[u8], end: usize) -> bool {
    let behind = |on: usize| bytes.get(end + on).copied().unwrap_or(b' ');
    match behind(0) {
        b'.' | b',' => behind(1).is_ascii_digit(),
        b'_' => true,
        _ => are_hexadecimal(bytes[end..].iter()),
    }
}

/// Returns whether there are letters and all of them are hexadecimal digits. Words longer than the limit are not
/// checked.
fn are_hexadecimal<'b>(letters: impl Iterator<Item = &'b u8>) -> bool {
    const LONGEST: usize = 64;
    let mut any = false;
    for letter in letters.take(LONGEST).take_while(|byte| byte.is_ascii_alphabetic()) {
        any = true;
        if !letter.is_ascii_hexdigit() {
            return false;
        }
    }
    any
}

fn is_card(groups: &[&[u8]]) -> bool {
    let digits = || groups.iter().flat_map(|group| group.iter()).map(|byte| u32::from(byte - b'0'));
    let count = digits().count();
    if !(13..=MOST_DIGITS).contains(&count) || !is_brand(digits(), count) || !luhn(digits(), count) {
        return false;
    }
    // Some article numbers pass the check by chance.
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
                "%B*^DOE/JOHN^29121010000000000000",
                ";*=29121010000000000000?",
                "PAN*",
                "pan:*EUR",
                "*EUR",
                "*Visa",
                "{\"note\":\"\\bcard\\n*\\f*\"}",
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
            "4111.1111.1111.1111",
            "card 4111.1111.1111.1111.",
            "PAN4111.1111.1111.1111EUR",
            "3782.822463.10005, exp 12.27",
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
            "4111.1111.1111.1111.1111.1111",
            "1.4111.1111.1111.1111",
            "4111.1111.1111.1112",
            "4111.1111.1111",
            "B4111111111111111",
            "DE89 3704 0044 0532 0130 00",
            "41111111111111111111111111",
            "01a20e57-8106-7000-8793-0831a64dfe4d",
            "2026-11-24 06:12:34 2026-11-24T06:12:34.123Z",
            "0000000000000000",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }

    /// Article numbers of a country whose prefix is that of a card: some pass Luhn's check by chance.
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
