//! The steps of the schema, as refinery's runner wants them.
//!
//! `refinery::embed_migrations!` would read version and name out of a file's name, by a regular expression
//! that is compiled anew at each start: half a megabyte of the program for three names. Here they are
//! written down. So are refinery's checksums (of name, version and text), which stand in each database
//! beside the step: a file that was changed after it landed is seen by the test below.

use refinery::{Migration, Runner};
use serde_json::json;

/// One file under `migrations/`.
struct Step {
    version: i32,
    name: &'static str,
    checksum: u64,
    sql: &'static str,
}

const STEPS: [Step; 4] = [
    Step {
        version: 1,
        name: "sync_failures",
        checksum: 10_845_726_529_332_302_220,
        sql: include_str!("../../migrations/V1__sync_failures.sql"),
    },
    Step {
        version: 2,
        name: "technician",
        checksum: 10_660_754_432_521_220_140,
        sql: include_str!("../../migrations/V2__technician.sql"),
    },
    Step {
        version: 3,
        name: "series",
        checksum: 787_216_433_397_568_029,
        sql: include_str!("../../migrations/V3__series.sql"),
    },
    Step {
        version: 4,
        name: "numbers",
        checksum: 14_386_734_567_805_669_151,
        sql: include_str!("../../migrations/V4__numbers.sql"),
    },
];

impl Step {
    fn migration(&self) -> Migration {
        let Self { version, name, checksum, sql } = self;
        let parts = json!({
            "state": "Unapplied", "prefix": "Versioned", "version": version, "name": name, "checksum": checksum,
            "sql": sql, "applied_on": null,
        });
        serde_json::from_value(parts).expect("a migration has these parts")
    }
}

/// Brings a file up to date.
pub(super) fn runner() -> Runner {
    let steps: Vec<Migration> = STEPS.iter().map(Step::migration).collect();
    // A migration and the row that says it is done are one transaction: between two, a power cut left
    // tables that the next start could not make again.
    Runner::new(&steps).set_grouped(true)
}

/// The newest schema version that this program knows.
#[must_use]
pub fn newest_version() -> i64 {
    STEPS.iter().map(|step| i64::from(step.version)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_files_and_bear_refinerys_checksums() {
        let mut files = refinery::load_sql_migrations("migrations").expect("the files");
        files.sort();
        let runner = runner();
        let told = |step: &Migration| (step.to_string(), step.checksum(), step.sql().map(str::to_owned));
        let steps: Vec<_> = runner.get_migrations().iter().map(told).collect();
        assert_eq!(steps, files.iter().map(told).collect::<Vec<_>>());
    }
}
