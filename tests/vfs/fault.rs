//! The kinds of disk faults, their times, and the errors that programs receive.

/// The error of a failed file operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Io,
    Full,
    Busy,
    Missing,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Any operation fails; data that was to be synced stays pending.
    Io,
    /// There is no space for the written data.
    Full,
    /// Half of the data is written, then the space is used up.
    Short,
    /// An fsync fails, and the kernel marks the unwritten data as clean.
    SyncLost,
    /// The same, but some of the data was written.
    SyncPartly,
    /// An fsync fails although all data was written: the failed COMMIT has taken effect.
    SyncReached,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::Io, Self::Full, Self::Short, Self::SyncLost, Self::SyncPartly, Self::SyncReached];

    pub(crate) fn strikes(self, deed: BulkAction) -> bool {
        match self {
            Self::Io => true,
            Self::Full => matches!(deed, BulkAction::Write | BulkAction::Create),
            Self::Short => deed == BulkAction::Write,
            Self::SyncLost | Self::SyncPartly | Self::SyncReached => deed == BulkAction::Sync,
        }
    }
}

/// A program's operation on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkAction {
    Create,
    Write,
    Truncate,
    Delete,
    Sync,
    SyncNames,
}

/// A planned fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// The first operation that fails.
    pub(crate) from: u64,
    /// How many operations fail.
    pub(crate) times: u64,
}
