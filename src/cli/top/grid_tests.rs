//! A small terminal interprets the output and checks that the changes produce the new screen.

use super::*;

const ALL: TerminalCaps = TerminalCaps { colors: true, unicode: true };
const PLAIN: Look = Look { tone: Tone::Plain, reversed: false };

/// Interprets only the commands that a grid writes.
struct Paper {
    width: usize,
    cells: Vec<char>,
    cursor: (usize, usize),
}

impl Paper {
    fn new(width: usize, height: usize) -> Self {
        Self { width, cells: vec!['#'; width * height], cursor: (0, 0) }
    }

    fn takes(&mut self, written: &str) {
        let mut rest = written;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            if c == '\x1b' {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("a command ends");
                let numbers: Vec<usize> = rest[1..end].split(';').filter_map(|number| number.parse().ok()).collect();
                match &rest[end..=end] {
                    "H" => self.cursor = (numbers[0] - 1, numbers[1] - 1),
                    "J" => self.cells.fill(' '),
                    "K" => {
                        let line = self.cursor.0 * self.width;
                        self.cells[line + self.cursor.1..line + self.width].fill(' ');
                    }
                    "m" => {}
                    other => panic!("{other:?} is no command that a grid may use"),
                }
                rest = &rest[end + 1..];
            } else if width(c) > 0 {
                let place = self.cursor.0 * self.width + self.cursor.1;
                self.cells[place] = c;
                (1..width(c)).for_each(|half| self.cells[place + half] = '\0');
                self.cursor.1 += width(c);
            }
        }
    }

    fn text(&self) -> Vec<String> {
        let line = |line: &[char]| line.iter().filter(|c| **c != '\0').collect::<String>().trim_end().to_owned();
        self.cells.chunks(self.width).map(line).collect()
    }
}

fn screen(lines: &[&str]) -> Grid {
    let mut grid = Grid::new(20, lines.len());
    for (row, line) in lines.iter().enumerate() {
        grid.put(0, row, line, PLAIN);
    }
    grid
}

#[test]
fn the_changes_turn_any_screen_into_any_other() {
    let lines = [
        "",
        "next try in 12 s",
        "next try in 9 s",
        "日本語 and more",
        "x日本語 and more",
        "a b c d e f g h i j",
        "      far right    y",
    ];
    for first in lines {
        for second in lines {
            let (before, now) = (screen(&[first, second]), screen(&[second, first]));
            let mut paper = Paper::new(20, 2);
            paper.takes(&before.changes(None, ALL));
            assert_eq!(paper.text(), before.text());
            paper.takes(&now.changes(Some(&before), ALL));
            assert_eq!(paper.text(), now.text(), "from {first:?} to {second:?}");
        }
    }
}

#[test]
fn what_stays_is_not_written_again() {
    let (before, now) = (screen(&["next try in 12 s", "the same"]), screen(&["next try in 11 s", "the same"]));
    assert_eq!(before.changes(Some(&before), ALL), "");
    assert_eq!(now.changes(Some(&before), ALL), "\x1b[1;14H1");
    let shorter = screen(&["next", "the same"]);
    assert_eq!(shorter.changes(Some(&before), ALL), "\x1b[1;6H\x1b[K");
}

#[test]
fn another_size_is_drawn_from_nothing() {
    let now = screen(&["a"]);
    let written = now.changes(Some(&Grid::new(19, 1)), ALL);
    assert!(written.starts_with("\x1b[0m\x1b[2J"), "{written:?}");
}

#[test]
fn a_text_that_is_cut_says_so_and_stays_in_its_room() {
    let mut grid = Grid::new(10, 1);
    assert_eq!(grid.put_within(2, 0, 5, "abcdefgh", PLAIN), 7);
    assert_eq!(grid.text(), ["  abcd…"]);
    assert_eq!(grid.put(0, 0, "0123456789", PLAIN), 10);
    assert_eq!(grid.text(), ["0123456789"]);
    grid.put(7, 0, "日本", PLAIN);
    assert_eq!(grid.text(), ["0123456日…"], "half of a wide character is never shown");
    assert_eq!((grid.put(10, 0, "x", PLAIN), grid.put(0, 1, "x", PLAIN)), (10, 0), "outside is nowhere");
}

#[test]
fn accents_stand_upon_their_letter_and_joiners_nowhere() {
    let mut grid = Grid::new(10, 1);
    assert_eq!(grid.put(0, 0, "n\u{303}o\u{200d}日\u{301}", PLAIN), 4);
    let written = grid.changes(None, ALL);
    assert!(written.ends_with("n\u{303}o日\u{301}"), "{written:?}");
}

#[test]
fn foreign_text_commands_no_terminal() {
    let mut grid = Grid::new(40, 1);
    grid.put(0, 0, "a\x1b[2J\u{9b}2J\u{202e}b\r\n", PLAIN);
    let written = grid.changes(Some(&Grid::new(40, 1)), ALL);
    assert_eq!(written.matches('\x1b').count(), 1, "the jump alone: {written:?}");
    assert!(written.contains("\\u{1b}[2J\\u{9b}2J\\u{202e}b"), "{written:?}");
}

#[test]
fn looks_are_written_when_they_change_and_never_without_colours() {
    let mut grid = Grid::new(10, 1);
    grid.put(0, 0, "ab", Look::of(Tone::Bad));
    grid.put(2, 0, "cd", Look::chosen());
    let before = Grid::new(10, 1);
    assert_eq!(grid.changes(Some(&before), ALL), "\x1b[1;1H\x1b[0;31;1mab\x1b[0;7mcd\x1b[0m");
    assert_eq!(grid.changes(Some(&before), TerminalCaps { colors: false, unicode: true }), "\x1b[1;1Habcd");
}

#[test]
fn a_terminal_that_knows_only_ascii_gets_only_that() {
    let mut grid = Grid::new(12, 1);
    grid.put(0, 0, "▁▄█ 日a…", PLAIN);
    let written = grid.changes(Some(&Grid::new(12, 1)), TerminalCaps { colors: false, unicode: false });
    assert_eq!(written, "\x1b[1;1H_=@ ??a~");
}
