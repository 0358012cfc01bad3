//! The kinds of alerts, by the names that operators and programs see.

/// A kind of alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Many failures were recorded recently.
    ManyFailures,
    /// One entity fails repeatedly.
    EntityFailing,
    /// Live failures have many counted attempts on average.
    HighRetries,
    /// Some failures need an operator.
    CriticalFailures,
    /// An upstream has been unreachable, or has accepted nothing, for a long time.
    UpstreamOffline,
    /// The configuration for an upstream is wrong: it rejects all requests.
    UpstreamBlocked,
    /// An upstream has failed on every request for some minutes.
    UpstreamFailing,
    /// Bodies are too large for the link and the timeout.
    UploadTimeout,
    /// An operator paused an upstream, and failures wait for it.
    UpstreamPaused,
    /// Free disk space is low.
    DiskLow,
    /// The quota of failures or bytes is reached.
    DatabaseFull,
    /// The oldest history was deleted early to make room for live failures.
    HistoryShortened,
    /// Failures were delivered and could not be added to the archive, which `retention.delivered` asks for.
    DeliveredNotArchived,
    /// A damaged database was quarantined.
    DatabaseCorrupt,
    /// The database was deleted or replaced under the running agent.
    DatabaseReplaced,
    /// Another program has written to the database.
    DatabaseForeignWrite,
    /// SQLite's WAL does not shrink.
    WalLarge,
    /// The upstream's clock and the terminal's differ.
    ClockWrong,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::ManyFailures,
        Self::EntityFailing,
        Self::HighRetries,
        Self::CriticalFailures,
        Self::UpstreamOffline,
        Self::UpstreamBlocked,
        Self::UpstreamFailing,
        Self::UploadTimeout,
        Self::UpstreamPaused,
        Self::DiskLow,
        Self::DatabaseFull,
        Self::HistoryShortened,
        Self::DeliveredNotArchived,
        Self::DatabaseCorrupt,
        Self::DatabaseReplaced,
        Self::DatabaseForeignWrite,
        Self::WalLarge,
        Self::ClockWrong,
    ];

    /// The name that is stored and shown.
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
            Self::UploadTimeout => "upload_timeout",
            Self::UpstreamPaused => "upstream_paused",
            Self::DiskLow => "disk_low",
            Self::DatabaseFull => "database_full",
            Self::HistoryShortened => "history_shortened",
            Self::DeliveredNotArchived => "delivered_not_archived",
            Self::DatabaseCorrupt => "database_corrupt",
            Self::DatabaseReplaced => "database_replaced",
            Self::DatabaseForeignWrite => "database_foreign_write",
            Self::WalLarge => "wal_large",
            Self::ClockWrong => "clock_wrong",
        }
    }

    /// Parses what [`as_str`](Self::as_str) returns.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns whether `health` is critical while an alert of this kind is active.
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
            | Self::UploadTimeout
            | Self::UpstreamPaused
            | Self::HistoryShortened
            | Self::DeliveredNotArchived
            | Self::WalLarge
            | Self::ClockWrong => false,
        }
    }

    /// Returns whether it reports an event rather than a condition: an event stays active for a day.
    #[must_use]
    pub fn is_happening(self) -> bool {
        matches!(
            self,
            Self::HistoryShortened
                | Self::DeliveredNotArchived
                | Self::DatabaseCorrupt
                | Self::DatabaseReplaced
                | Self::DatabaseForeignWrite
        )
    }
}
