//! How much a round can have written, without asking SQLite. SQLite compiles `PRAGMA page_count` and
//! `PRAGMA wal_checkpoint(NOOP)` each time, which takes a tenth of the time of a record that comes alone. So pages are
//! counted when rows that were written since the last count may have filled what was allocated in advance, and the log
//! is asked for its length when it may have become long.
//!
//! Only the statements that record a failure or an outcome report what they write ([`Store::wrote`](super::Store)).
//! SQLite counts all changed rows, so a round with any other statement is found out, and is one of unknown size.

/// Pages that a row of any table may add, without those that its texts fill: each of its b-trees, and their parents,
/// may be split in three.
const PAGES_OF_A_ROW: u64 = 32;
/// Bytes that the log has before each page.
pub(super) const FRAME_HEADER: u64 = 24;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    /// SQLite's count of changed rows when the round was opened.
    changes: u64,
    /// Rows of the round of which the size is known, and at most how many bytes they take.
    rows: u64,
    bytes: u64,
    /// The round has done something whose size is not known.
    is_unknown: bool,
    /// Its pages were counted before its commit.
    is_counted: bool,
    /// Bytes of the file that are allocated, and at most how many of them its pages take.
    allocated: u64,
    taken: u64,
    /// At most how many bytes the log has; `None`: not known.
    log: Option<u64>,
}

impl Written {
    /// A round begins.
    pub(super) fn begin(&mut self, changes: u64) {
        (self.changes, self.rows, self.bytes) = (changes, 0, 0);
        (self.is_unknown, self.is_counted) = (false, false);
    }

    pub(super) fn rows(&mut self, rows: usize, texts: usize, page_size: u32) {
        let rows = rows as u64;
        self.rows += rows;
        self.bytes += rows * PAGES_OF_A_ROW * (u64::from(page_size) + FRAME_HEADER) + 2 * texts as u64;
    }

    pub(super) fn unknown(&mut self) {
        self.is_unknown = true;
    }

    /// The most that the open round adds to the file and to the log; `None`: not known.
    pub(super) fn bytes_at_most(&self, changes: u64) -> Option<u64> {
        let all_known = !self.is_unknown && changes.checked_sub(self.changes) == Some(self.rows);
        all_known.then_some(self.bytes)
    }

    /// Has it room in what is allocated?
    pub(super) fn fits(&self, most: u64) -> bool {
        self.taken.saturating_add(most) <= self.allocated
    }

    /// The pages were counted, those of the open round included.
    pub(super) fn counted(&mut self, allocated: u64, taken: u64) {
        (self.allocated, self.taken, self.is_counted) = (allocated, taken, true);
    }

    /// Another program has written: the next round asks for everything.
    pub(super) fn forget(&mut self) {
        (self.allocated, self.log) = (0, None);
    }

    /// Another program's checkpoint may have given some of it back; 0: the file does not exist.
    pub(super) fn allocated_at_most(&mut self, length: u64) {
        if length > 0 {
            self.allocated = self.allocated.min(length);
        }
    }

    /// The round was committed, and has written so much at most.
    pub(super) fn commits(&mut self, most: Option<u64>) {
        if !self.is_counted {
            self.taken = self.taken.saturating_add(most.unwrap_or(u64::MAX));
        }
        self.log = most.and_then(|most| self.log_at_most(most));
    }

    /// The most bytes that the log has after so many more.
    pub(super) fn log_at_most(&self, more: u64) -> Option<u64> {
        self.log.map(|log| log.saturating_add(more))
    }

    /// The log was asked: it has so many bytes.
    pub(super) fn log_is(&mut self, bytes: Option<u64>) {
        self.log = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::moment::{AgentTime, Moment, WallTime};
    use crate::store::{Store, StoreSettings};

    const PAGE: u32 = 2048;

    #[test]
    fn a_round_with_a_statement_that_says_nothing_is_of_unknown_size() {
        let mut written = Written::default();
        written.begin(100);
        written.rows(2, 600, PAGE);
        let known = written.bytes_at_most(102);
        assert_eq!(known, Some(2 * 32 * (2048 + 24) + 1200));
        assert_eq!(written.bytes_at_most(103), None);
        written.unknown();
        assert_eq!(written.bytes_at_most(102), None);
    }

    #[test]
    fn pages_are_counted_when_what_is_allocated_may_be_used_up() {
        let mut written = Written::default();
        assert!(!written.fits(1), "nothing is known of a file that was just opened");
        written.counted(1_000_000, 800_000);
        written.commits(Some(50_000));
        assert!(written.fits(200_000), "the count has the round's pages");
        written.begin(0);
        written.commits(Some(150_000));
        assert!(written.fits(50_000) && !written.fits(50_001));
        written.allocated_at_most(840_000);
        assert!(!written.fits(1), "another program's checkpoint has cut the file");
        written.counted(2_000_000, 800_000);
        written.forget();
        assert!(!written.fits(1) && written.log_at_most(0).is_none());
    }

    #[test]
    fn a_log_of_unknown_length_is_asked() {
        let mut written = Written::default();
        written.commits(Some(10));
        assert_eq!(written.log_at_most(0), None);
        written.log_is(Some(100));
        written.commits(Some(10));
        assert_eq!(written.log_at_most(5), Some(115));
        written.commits(None);
        assert_eq!(written.log_at_most(0), None);
    }

    /// The bounds hold for real rows: after each commit the file's pages are at most what was allocated for them.
    #[test]
    fn rows_take_no_more_than_was_allocated() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let mut store = Store::open(settings.clone(), WallTime::from_millis(0)).expect("a store");
        let mut counts = 0;
        for n in 0..300_u32 {
            let now = Moment { agent: AgentTime::from_millis(n.into()), wall: WallTime::from_millis(n.into()) };
            let text = "x".repeat(usize::try_from(n).expect("small") * 37 % 9000);
            store.begin().expect("a round");
            store.keep_upstream(&format!("upstream-{n}"), &text, "key", now.wall).expect("a row");
            store.commit(now).expect("a commit");
            counts += usize::from(store.written.is_counted);
            let pages = store.number("PRAGMA page_count").expect("a count");
            let length = std::fs::metadata(settings.file()).expect("a file").len();
            assert!(u64::try_from(pages).expect("pages") * u64::from(store.page_size) <= length, "round {n}");
        }
        assert!((1..150).contains(&counts), "pages were counted in {counts} of 300 rounds");
    }
}
