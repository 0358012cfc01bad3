//! The terminal itself: where the agent keeps its files, how much room there is, what it is called.

use super::Finding;
use super::access::AgentSeen;
use crate::access::standing;
use crate::config::Config;
use crate::io::system::{disk_free, user_name};
use crate::limits::bytes;
use crate::store::StoreSettings;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The state directory, what is in it, and the room around it.
pub(super) fn state(config: &Config, seen: &AgentSeen) -> Vec<Finding> {
    let settings = StoreSettings::of(config);
    let mut found = vec![directory(&settings.dir, &settings.file(), seen)];
    if let Ok(free) = disk_free(&settings.dir) {
        found.push(room(&settings.dir, free, config.limits.min_free_disk));
    }
    found
}

fn directory(dir: &Path, database: &Path, seen: &AgentSeen) -> Finding {
    const CHECK: &str = "state";
    let shown = dir.display();
    let meta = match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => return Finding::ill(CHECK, format!("{shown} is no directory. Move it away; the agent makes one")),
        Err(error) => {
            let how = standing(dir, error.kind());
            return Finding::ill(CHECK, format!("{shown}: {error}{how}. The agent makes it when it starts"));
        }
    };
    let (owner, mode) = (meta.uid(), meta.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        return Finding::ill(
            CHECK,
            format!("{shown} has mode {mode:04o}: others can read payloads there. chmod 700 {shown}"),
        );
    }
    if let Some((uid, _)) = seen.user.as_ref().filter(|(uid, _)| *uid != owner && *uid != 0) {
        return Finding::ill(
            CHECK,
            format!("{shown} belongs to {}, the agent runs as {}. chown -R {uid} {shown}", named(owner), named(*uid)),
        );
    }
    match fs::metadata(database) {
        Ok(file) if file.uid() != owner => Finding::ill(
            CHECK,
            format!(
                "{} belongs to {}, its directory to {}. chown -R {owner} {shown}",
                database.display(),
                named(file.uid()),
                named(owner)
            ),
        ),
        Ok(_) => Finding::well(CHECK, format!("{shown} belongs to {}, mode {mode:04o}", named(owner))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Finding::ill(
            CHECK,
            format!("{shown} holds no database: no agent has run with it. systemctl start resyncd, or: resyncd run"),
        ),
        Err(error) => Finding::ill(CHECK, format!("{shown} cannot be looked into: {error}. Use sudo")),
    }
}

fn named(uid: u32) -> String {
    user_name(uid).unwrap_or_else(|| format!("uid {uid}"))
}

fn room(dir: &Path, free: u64, least: u64) -> Finding {
    const CHECK: &str = "disk";
    let (shown, has) = (dir.display(), bytes(free));
    if free < least {
        let remedy = "nothing is recorded until there is more (limits.min_free_disk). Make room";
        Finding::ill(CHECK, format!("{has} are free under {shown}: {remedy}: du -xh / | sort -h | tail"))
    } else if free < least.saturating_mul(2) {
        let at = bytes(least);
        Finding::ill(CHECK, format!("{has} are free under {shown}; at {at} recording stops. Make room soon"))
    } else {
        Finding::well(CHECK, format!("{has} are free under {shown}"))
    }
}

/// What the terminal is called, and how many descriptors the agent may have.
pub(super) fn terminal(config: &Config, seen: &AgentSeen) -> Vec<Finding> {
    let mut found = vec![name(&config.agent.terminal_id)];
    found.extend(descriptors(config, seen));
    found
}

/// Names that an image or an installer gives: if this terminal has one, others have it too.
const OF_A_FACTORY: [&str; 32] = [
    "alpine",
    "android",
    "arch",
    "archlinux",
    "armbian",
    "beaglebone",
    "centos",
    "changeme",
    "debian",
    "default",
    "fedora",
    "golden",
    "host",
    "image",
    "kiosk",
    "linux",
    "localhost",
    "master",
    "mint",
    "opensuse",
    "orangepi",
    "pc",
    "pos",
    "raspberrypi",
    "raspbian",
    "rpi",
    "template",
    "terminal",
    "test",
    "till",
    "ubuntu",
    "unknown",
];

fn name(terminal_id: &str) -> Finding {
    const CHECK: &str = "terminal_id";
    let host = terminal_id.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if host.is_empty() || host == "(none)" || OF_A_FACTORY.contains(&host.as_str()) {
        let remedy = "the head office could not tell them apart. Set terminal_id in [agent], or the host's name";
        return Finding::ill(CHECK, format!("{terminal_id:?} is a name that cloned terminals share: {remedy}"));
    }
    Finding::well(CHECK, terminal_id)
}

/// Enough for all clients, the requests under way, and what the agent needs for itself.
fn descriptors(config: &Config, seen: &AgentSeen) -> Option<Finding> {
    const CHECK: &str = "descriptors";
    const OWN: usize = 64;
    let limits = fs::read_to_string(format!("/proc/{}/limits", seen.pid?)).ok()?;
    let most = soft_limit(&limits)?;
    let sending: usize = config.upstreams.iter().map(|upstream| upstream.concurrency + 1).sum();
    let wanted = config.limits.max_connections + sending + OWN;
    Some(if u64::try_from(wanted).is_ok_and(|wanted| wanted <= most) {
        Finding::well(CHECK, format!("the agent may open {most}, it needs at most {wanted}"))
    } else {
        Finding::ill(
            CHECK,
            format!(
                "the agent may open {most} and may need {wanted}. LimitNOFILE={wanted} in its unit, or a smaller limits.max_connections"
            ),
        )
    })
}

/// `Max open files`, as `/proc/PID/limits` has it. The agent has raised the soft one as far as it may.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{name, room, soft_limit};
    use std::path::Path;

    #[test]
    fn names_of_an_image_are_found_whatever_their_domain_and_case() {
        for id in ["localhost", "localhost.localdomain", "Debian", "raspberrypi", "", "(none)"] {
            assert!(!name(id).ok, "{id}");
        }
        for id in ["till-07", "store42-till1", "debian-07"] {
            assert!(name(id).ok, "{id}");
        }
    }

    #[test]
    fn room_is_low_before_it_is_too_little() {
        let said = |free| room(Path::new("/x"), free, 100);
        assert!(said(200).ok && !said(199).ok && said(199).message.contains("soon"));
        assert!(!said(99).ok && said(99).message.contains("nothing is recorded"));
    }

    #[test]
    fn the_kernels_limits_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             1                    2                    processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit(""), None);
    }
}
