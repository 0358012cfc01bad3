//! The events of a run, line by line: printed when one seed is replayed, compared when one is run
//! twice, and otherwise not even formatted.

/// The lines of one run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    kept: Option<Vec<String>>,
    printed: bool,
    /// The world's time, with which each line begins.
    pub(crate) time: i64,
}

impl Trace {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn kept() -> Self {
        Self { kept: Some(Vec::new()), ..Self::default() }
    }

    pub(crate) fn printed() -> Self {
        Self { printed: true, ..Self::default() }
    }

    pub(crate) fn add(&mut self, line: impl FnOnce() -> String) {
        if self.kept.is_none() && !self.printed {
            return;
        }
        let line =
            format!("{:>14.3} {}", std::time::Duration::from_millis(self.time.unsigned_abs()).as_secs_f64(), line());
        if self.printed {
            println!("{line}");
        }
        if let Some(kept) = &mut self.kept {
            kept.push(line);
        }
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}
