//! The conditions of an upstream by name, as they are shown and as programs rely on them.

/// The state that is shown: the first condition that holds (`spec/07`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A person stopped it.
    Paused,
    /// Nobody answers.
    Offline,
    /// It asked for less.
    Throttled,
    /// The pause runs.
    Waiting,
    /// No contact yet in this run.
    Unknown,
}

impl Condition {
    /// As it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Offline => "offline",
            Self::Throttled => "throttled",
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
        }
    }
}
