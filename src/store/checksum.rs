//! The checksum of what an attempt sends: a failure's content, and the key that it is sent under. It is stored with the
//! row and compared before every attempt, so that content that the disk damaged, or that another program changed, is not
//! sent, and nothing is sent under a key that another program wrote.
//!
//! It detects accidents: whoever can write to the database could store a matching checksum as well. So it has 64 bits
//! and takes one multiplication for eight bytes, where SHA-256 takes a tenth of the time of a record on a processor
//! without instructions for it. Each step is a bijection of the state, so a change within eight aligned bytes always
//! changes the checksum; any other change goes unnoticed once in 2^64.
//!
//! The values are stored, so the function must not change.

use crate::record::PayloadKind;

/// As the column holds it.
pub type Checksum = i64;

/// Marks content of which a part could not be read: no content has this checksum.
pub const UNREADABLE: Checksum = 0;

/// What is checked of a failure.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    /// The failure's id, which is its key where the application gave none.
    pub id: &'a str,
    /// The idempotency key, which is never empty.
    pub key: Option<&'a str>,
    /// Entity type, entity id and action.
    pub names: [&'a str; 3],
    /// The payload, as text.
    pub payload: Option<(&'a str, PayloadKind)>,
}

/// The checksum of all parts, each with its length, so that a byte that moves from one to the next makes a difference.
#[must_use]
pub fn of(checked: &Checked) -> Checksum {
    let mut sum = Sum::default();
    [checked.id, checked.key.unwrap_or_default()].iter().for_each(|text| sum.part(text.as_bytes()));
    checked.names.iter().for_each(|text| sum.part(text.as_bytes()));
    if let Some((text, kind)) = checked.payload {
        sum.part(kind.as_str().as_bytes());
        sum.part(text.as_bytes());
    }
    match sum.state.cast_signed() {
        UNREADABLE => 1,
        sum => sum,
    }
}

#[derive(Default)]
struct Sum {
    state: u64,
}

impl Sum {
    fn part(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    fn word(&mut self, word: u64) {
        /// 2^64 divided by the golden ratio; odd, so that multiplying by it is a bijection.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.state ^ word).wrapping_add(1).wrapping_mul(FACTOR);
        self.state = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const NAMES: [&str; 3] = ["SALE", "s-1", "CREATE"];
    const EMPTY: Checked = Checked { id: "f-1", key: None, names: NAMES, payload: None };

    fn with(payload: &str) -> Checksum {
        of(&Checked { payload: Some((payload, PayloadKind::Json)), ..EMPTY })
    }

    #[test]
    fn stored_checksums_stay_valid() {
        assert_eq!(with("{\"total\":12.50,\"lines\":[1,2,3]}"), -5_259_678_337_979_273_503);
        assert_eq!(of(&EMPTY), 668_810_176_897_578_027);
    }

    /// Each byte changed in each bit, a sector of zeros, two words exchanged, a byte that moves to the next part.
    #[test]
    fn damage_changes_the_checksum() {
        let payload: String =
            (0..600).map(|n| char::from(b'a' + u8::try_from(n * n % 23).expect("a letter"))).collect();
        let mut seen = BTreeSet::from([with(&payload)]);
        let mut damaged = 1;
        let mut differs = |text: &[u8]| {
            damaged += 1;
            seen.insert(with(std::str::from_utf8(text).expect("ASCII"))) && seen.len() == damaged
        };
        for at in 0..payload.len() {
            for bit in 0..7 {
                let mut bytes = payload.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                assert!(differs(&bytes), "bit {bit} of byte {at}");
            }
        }
        for from in [0, 8, 88] {
            let mut bytes = payload.clone().into_bytes();
            bytes[from..from + 512].fill(0);
            assert!(differs(&bytes), "zeros from {from}");
        }
        let mut exchanged = payload.clone().into_bytes();
        exchanged.swap(3, 4);
        assert!(differs(&exchanged));
        let mut words = payload.clone().into_bytes();
        words[..16].rotate_left(8);
        assert!(differs(&words));
        for shorter in [&payload[..599], &payload[..592], ""] {
            assert!(differs(shorter.as_bytes()));
        }
        assert_ne!(of(&EMPTY), of(&Checked { names: ["SALE", "s-", "1CREATE"], ..EMPTY }));
        assert_ne!(of(&Checked { payload: Some(("1", PayloadKind::Text)), ..EMPTY }), with("1"));
        let keyed = Checked { key: Some("f-1"), ..EMPTY };
        assert_ne!(of(&EMPTY), of(&keyed));
        assert_ne!(of(&keyed), of(&Checked { key: Some("f-2"), ..EMPTY }));
        assert_ne!(of(&EMPTY), of(&Checked { id: "f-2", ..EMPTY }));
        assert_ne!(with("\0"), with("\0\0"));
    }
}
