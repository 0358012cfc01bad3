//! Keys as a terminal sends them: bytes, of which some begin with ESC.
//!
//! A slow connection may split a sequence, so ESC is a key of its own only if nothing follows for some time
//! ([`Keys::alone`]). Pasted text is marked as such: it can fill a line in, but never run a command.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A character that was typed.
    Char(char),
    /// A character that was pasted.
    Pasted(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl and this letter.
    Ctrl(char),
}

/// Maximum length of a sequence; a longer one is not a key.
const LONGEST: usize = 32;

/// Parses keys from bytes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pending: Vec<u8>,
    pasting: bool,
}

impl Keys {
    /// The keys that these bytes complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while let Some((key, length)) = self.next() {
            self.pending.drain(..length);
            keys.extend(key);
        }
        keys
    }

    /// Returns whether an incomplete sequence is waiting.
    pub(super) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Nothing has followed: returns ESC as a key, and drops any other incomplete sequence.
    pub(super) fn alone(&mut self) -> Option<Key> {
        let was = std::mem::take(&mut self.pending);
        (was == [0x1b]).then_some(Key::Escape)
    }

    /// The first key, if it is in use, and its bytes; `None` if more bytes are needed.
    fn next(&mut self) -> Option<(Option<Key>, usize)> {
        match *self.pending.first()? {
            0x1b => self.sequence(),
            byte @ (b'\r' | b'\n') => Some((self.unless_pasted(Key::Enter, char::from(byte)), 1)),
            0x7f | 0x08 => Some((self.unless_pasted(Key::Backspace, '\u{7f}'), 1)),
            byte @ 0..0x20 => Some((self.unless_pasted(Key::Ctrl(char::from(byte | 0x60)), char::from(byte)), 1)),
            byte => {
                let length = match byte {
                    0xf0.. => 4,
                    0xe0.. => 3,
                    0xc0.. => 2,
                    _ => 1,
                };
                let bytes = self.pending.get(..length)?;
                let c = std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next());
                let key = c.map(|c| if self.pasting { Key::Pasted(c) } else { Key::Char(c) });
                // Invalid UTF-8 is skipped byte by byte.
                Some((key, if c.is_some() { length } else { 1 }))
            }
        }
    }

    /// Ignores control characters of pasted text; a newline becomes a blank.
    fn unless_pasted(&self, key: Key, c: char) -> Option<Key> {
        match (self.pasting, c) {
            (false, _) => Some(key),
            (true, '\r' | '\n' | '\t') => Some(Key::Pasted(' ')),
            (true, _) => None,
        }
    }

    fn sequence(&mut self) -> Option<(Option<Key>, usize)> {
        match self.pending.get(1)? {
            b'[' => {}
            // The arrows of a keypad.
            b'O' => return Some((direction(*self.pending.get(2)?), 3)),
            // Alt and a key, or ESC and quickly another key, which is dropped.
            _ => return Some((Some(Key::Escape), 2)),
        }
        let last = self.pending[2..].iter().position(|byte| (0x40..=0x7e).contains(byte));
        let Some(last) = last else {
            return (self.pending.len() > LONGEST).then_some((None, self.pending.len()));
        };
        let (parameters, byte) = (&self.pending[2..2 + last], self.pending[2 + last]);
        let key = match (parameters, byte) {
            (b"200", b'~') => {
                self.pasting = true;
                None
            }
            (b"201", b'~') => {
                self.pasting = false;
                None
            }
            (b"1" | b"7", b'~') => Some(Key::Home),
            (b"4" | b"8", b'~') => Some(Key::End),
            (b"5", b'~') => Some(Key::PageUp),
            (b"6", b'~') => Some(Key::PageDown),
            (b"", byte) => direction(byte),
            _ => None,
        };
        Some((key, 3 + last))
    }
}

fn direction(byte: u8) -> Option<Key> {
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_however_their_bytes_arrive() {
        let typed = "aä日\x1b[A\x1bOB\x1b[5~\x1b[F\r\x7f\x03\x1b[1;5Cq".as_bytes();
        let expected = [
            Key::Char('a'),
            Key::Char('ä'),
            Key::Char('日'),
            Key::Up,
            Key::Down,
            Key::PageUp,
            Key::End,
            Key::Enter,
            Key::Backspace,
            Key::Ctrl('c'),
            Key::Char('q'),
        ];
        assert_eq!(Keys::default().read(typed), expected);
        for size in 1..5 {
            let mut keys = Keys::default();
            let read: Vec<Key> = typed.chunks(size).flat_map(|bytes| keys.read(bytes)).collect();
            assert_eq!(read, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn escape_is_a_key_when_nothing_follows() {
        let mut keys = Keys::default();
        assert_eq!(keys.read(b"\x1b"), []);
        assert!(keys.waits());
        assert_eq!(keys.alone(), Some(Key::Escape));
        assert_eq!((keys.waits(), keys.alone()), (false, None));
        keys.read(b"\x1b[");
        assert_eq!((keys.alone(), keys.read(b"q")), (None, vec![Key::Char('q')]), "half a sequence is nothing");
    }

    #[test]
    fn pasted_text_is_no_command() {
        let mut keys = Keys::default();
        let read = keys.read(b"\x1b[200~r\rq\x03\x1b[201~q");
        let pasted = [Key::Pasted('r'), Key::Pasted(' '), Key::Pasted('q'), Key::Char('q')];
        assert_eq!(read, pasted);
    }

    #[test]
    fn nonsense_is_passed_over_and_never_waited_for_without_end() {
        let mut keys = Keys::default();
        assert_eq!(keys.read(b"\xff\xc3(a"), [Key::Char('('), Key::Char('a')]);
        let endless = [&b"\x1b["[..], &[b'1'; 100]].concat();
        assert_eq!(keys.read(&endless).len(), 0);
        assert_eq!(keys.read(b"\x1b[Aq"), [Key::Up, Key::Char('q')]);
    }
}
