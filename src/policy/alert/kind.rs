//! What people are told of, by the names that they and programs see (`spec/03`, Alerts).

/// A kind of alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Many failures were recorded of late.
    ManyFailures,
    /// One entity fails again and again.
    EntityFailing,
    /// Live failures have many counted tries on average.
    HighRetries,
    /// Some need a person.
    CriticalFailures,
    /// Nobody answers, or nothing is accepted, for long.
    UpstreamOffline,
    /// The way to an upstream is set up wrongly.
    UpstreamBlocked,
    /// An upstream fails whatever it is sent, for some minutes.
    UpstreamFailing,
    /// Little is free on the disk.
    DiskLow,
    /// The quota of failures or bytes is reached.
    DatabaseFull,
    /// A damaged database was quarantined.
    DatabaseCorrupt,
    /// The database was deleted or replaced under the running agent.
    DatabaseReplaced,
    /// Another program has written to the database.
    DatabaseForeignWrite,
    /// SQLite's log does not shrink.
    WalLarge,
    /// An upstream's clock and ours differ.
    ClockWrong,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ManyFailures,
        Self::EntityFailing,
        Self::HighRetries,
        Self::CriticalFailures,
        Self::UpstreamOffline,
        Self::UpstreamBlocked,
        Self::UpstreamFailing,
        Self::DiskLow,
        Self::DatabaseFull,
        Self::DatabaseCorrupt,
        Self::DatabaseReplaced,
        Self::DatabaseForeignWrite,
        Self::WalLarge,
        Self::ClockWrong,
    ];

    /// As it is shown and stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ManyFailures => "many_failures",
            Self::EntityFailing => "entity_failing",
            Self::HighRetries => "high_retries",
            Self::CriticalFailures => "critical_failures",
            Self::UpstreamOffline => "upstream_offline",
            Self::UpstreamBlocked => "upstream_blocked",
            Self::UpstreamFailing => "upstream_failing",
            Self::DiskLow => "disk_low",
            Self::DatabaseFull => "database_full",
            Self::DatabaseCorrupt => "database_corrupt",
            Self::DatabaseReplaced => "database_replaced",
            Self::DatabaseForeignWrite => "database_foreign_write",
            Self::WalLarge => "wal_large",
            Self::ClockWrong => "clock_wrong",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Is `health` critical while one of it is active (`spec/07`)?
    #[must_use]
    pub fn is_grave(self) -> bool {
        match self {
            Self::DiskLow
            | Self::DatabaseFull
            | Self::DatabaseCorrupt
            | Self::DatabaseReplaced
            | Self::DatabaseForeignWrite => true,
            Self::ManyFailures
            | Self::EntityFailing
            | Self::HighRetries
            | Self::CriticalFailures
            | Self::UpstreamOffline
            | Self::UpstreamBlocked
            | Self::UpstreamFailing
            | Self::WalLarge
            | Self::ClockWrong => false,
        }
    }

    /// Something that happened, rather than something that lasts: it stands for a day.
    #[must_use]
    pub fn is_happening(self) -> bool {
        matches!(self, Self::DatabaseCorrupt | Self::DatabaseReplaced | Self::DatabaseForeignWrite)
    }
}
