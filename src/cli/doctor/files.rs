//! The files that the configuration names, and what about it works against itself.

use super::Finding;
use super::access::AgentSeen;
use crate::cli::config::contradictions;
use crate::cli::named_files::{Reader, examine};
use crate::config::Config;
use crate::text::doctor as text;
use crate::text::doctor::Check;

/// Each of them that is not as it should be.
pub(super) fn named(config: &Config, seen: &AgentSeen) -> Vec<Finding> {
    const CHECK: Check = Check::Files;
    let running = seen.user.clone().filter(|(uid, _)| *uid != 0);
    let reader = match running {
        Some((uid, groups)) if rustix::process::geteuid().is_root() => Some(Reader::new(uid, groups)),
        _ => Reader::of(config),
    };
    let wrong = contradictions(config).into_iter();
    let mut found: Vec<Finding> = wrong.map(|why| Finding::ill(Check::Settings, why)).collect();
    found.extend(match examine(config, reader.as_ref()) {
        Err(error) => vec![Finding::ill(CHECK, text::files_unchecked(&error.to_string()))],
        Ok(found) => {
            let ill = found.faults.iter().map(|fault| Finding::ill(CHECK, format!("{}: {}", fault.key, fault.message)));
            let read = || Finding::well(CHECK, text::files_read(found.well as u64));
            ill.chain((found.faults.is_empty() && found.well > 0).then(read)).collect()
        }
    });
    found
}
