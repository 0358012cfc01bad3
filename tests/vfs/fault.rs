//! What goes wrong with a disk, when, and what its programs are told.

/// An operation on a file that did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Io,
    Full,
    Busy,
    Missing,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Any operation fails; what was to be synced stays pending.
    Io,
    /// There is no room for what is written.
    Full,
    /// Half of it is written, then there is no room.
    Short,
    /// An fsync fails, and what it did not write is called clean.
    SyncLost,
    /// The same, but some of it has arrived.
    SyncPartly,
    /// An fsync fails although everything has arrived: a COMMIT that failed has happened.
    SyncReached,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::Io, Self::Full, Self::Short, Self::SyncLost, Self::SyncPartly, Self::SyncReached];

    pub(crate) fn strikes(self, deed: Deed) -> bool {
        match self {
            Self::Io => true,
            Self::Full => matches!(deed, Deed::Write | Deed::Create),
            Self::Short => deed == Deed::Write,
            Self::SyncLost | Self::SyncPartly | Self::SyncReached => deed == Deed::Sync,
        }
    }
}

/// What a program does to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Create,
    Write,
    Truncate,
    Delete,
    Sync,
    SyncNames,
}

/// A fault that will come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// From this operation on.
    pub(crate) from: u64,
    /// So many times.
    pub(crate) times: u64,
}
