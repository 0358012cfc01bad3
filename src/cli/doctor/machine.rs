//! Checks the terminal itself: the agent's files, disk space, and its name.

use super::Finding;
use super::access::AgentSeen;
use crate::access::standing;
use crate::config::Config;
use crate::io::owner::AsOwner;
use crate::io::system::{disk_free, user_name};
use crate::store::StoreSettings;
use crate::store::open::may_write;
use crate::text::Count;
use crate::text::doctor as text;
use crate::text::doctor::Check;
use crate::text::numbers::size;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Checks the state directory, its content, and the disk space.
pub(super) fn state(config: &Config, seen: &AgentSeen) -> Vec<Finding> {
    let settings = StoreSettings::of(config);
    let mut found = vec![directory(&settings.dir, &settings.file(), config, seen)];
    if let Ok(free) = disk_free(&settings.dir) {
        found.push(room(&settings.dir, free, config.limits.min_free_disk));
    }
    found
}

fn directory(dir: &Path, database: &Path, config: &Config, seen: &AgentSeen) -> Finding {
    const CHECK: Check = Check::State;
    let shown = &dir.display().to_string();
    let meta = match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => return Finding::ill(CHECK, text::no_directory(shown)),
        Err(error) => {
            let how = standing(dir, error.kind());
            return Finding::ill(CHECK, text::directory_missing(shown, &format!("{error}{how}")));
        }
    };
    let (owner, mode) = (meta.uid(), meta.permissions().mode() & 0o777);
    let wrong = mode & 0o077 != 0 || seen.user.as_ref().is_some_and(|(uid, _)| *uid != owner && *uid != 0);
    if wrong && !is_for_the_agent_alone(dir) {
        return Finding::ill(CHECK, text::directory_shared(shown));
    }
    if mode & 0o077 != 0 {
        return Finding::ill(CHECK, text::directory_open(shown, mode));
    }
    if let Some((uid, _)) = seen.user.as_ref().filter(|(uid, _)| *uid != owner && *uid != 0) {
        return Finding::ill(CHECK, text::directory_of_other(shown, &named(owner), &named(*uid), &account(*uid)));
    }
    match fs::metadata(database) {
        Ok(file) if file.uid() != owner => {
            let (database, remedy) = (database.display().to_string(), format!("chown -R {} {shown}", account(owner)));
            Finding::ill(CHECK, text::database_of_other(&database, &named(file.uid()), &named(owner), &remedy))
        }
        Ok(_) => match written(dir, config) {
            Err(why) => Finding::ill(CHECK, why),
            Ok(()) => Finding::well(CHECK, text::directory_well(shown, &named(owner), mode)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Finding::ill(CHECK, text::no_database(shown)),
        Err(error) => Finding::ill(CHECK, text::directory_closed(shown, &error.to_string())),
    }
}

/// Whether owner and mode of the directory may be changed: in `/var/lib` or a home this would harm other programs.
fn is_for_the_agent_alone(dir: &Path) -> bool {
    let is_ours = dir.join("lock").exists() || dir.join("sync_failures.db").exists();
    is_ours || fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Tries to write like the agent; as root, as the directory's owner.
fn written(dir: &Path, config: &Config) -> Result<(), String> {
    let settings = StoreSettings::of(config);
    let _as_owner =
        AsOwner::of(dir).map_err(|why| text::not_its_owner(&dir.display().to_string(), &why.to_string()))?;
    may_write(&settings).map_err(|why| why.to_string())?;
    let probe = dir.join(format!("doctor-{}", std::process::id()));
    let made = fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    made.and_then(|_| fs::remove_file(&probe)).map_err(|why| {
        let how = standing(&probe, why.kind());
        text::not_written(&probe.display().to_string(), &format!("{why}{how}"))
    })
}

/// As `chown` takes it.
fn account(uid: u32) -> String {
    user_name(uid).unwrap_or_else(|| uid.to_string())
}

fn named(uid: u32) -> String {
    user_name(uid).unwrap_or_else(|| format!("uid {uid}"))
}

fn room(dir: &Path, free: u64, least: u64) -> Finding {
    const CHECK: Check = Check::Disk;
    let (shown, has) = (dir.display().to_string(), size(free));
    if free < least {
        Finding::ill(CHECK, text::disk_full(&has, &shown))
    } else if free < least.saturating_mul(2) {
        Finding::ill(CHECK, text::disk_low(&has, &shown, &size(least)))
    } else {
        Finding::well(CHECK, text::disk_free(&has, &shown))
    }
}

/// Checks the terminal's name and the agent's limit of descriptors.
pub(super) fn terminal(config: &Config, seen: &AgentSeen) -> Vec<Finding> {
    let mut found = vec![name(&config.agent.terminal_id)];
    found.extend(descriptors(config, seen));
    found
}

/// Default names of images and installers, which are probably not unique.
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
    const CHECK: Check = Check::TerminalId;
    let host = terminal_id.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if host.is_empty() || host == "(none)" || OF_A_FACTORY.contains(&host.as_str()) {
        return Finding::ill(CHECK, text::common_name(terminal_id));
    }
    Finding::well(CHECK, terminal_id)
}

/// Checks that the limit suffices for all clients, requests in flight, and the agent's own files.
fn descriptors(config: &Config, seen: &AgentSeen) -> Option<Finding> {
    const CHECK: Check = Check::Descriptors;
    const OWN: usize = 64;
    let limits = fs::read_to_string(format!("/proc/{}/limits", seen.pid?)).ok()?;
    let most = soft_limit(&limits)?;
    let sending: usize = config.upstreams.iter().map(|upstream| upstream.concurrency + 1).sum();
    let wanted = config.limits.max_connections + sending + OWN;
    Some(if u64::try_from(wanted).is_ok_and(|wanted| wanted <= most) {
        Finding::well(CHECK, text::descriptors_suffice(most, Count(wanted as u64)))
    } else {
        Finding::ill(CHECK, text::descriptors_lack(most, wanted))
    })
}

/// `Max open files` of `/proc/PID/limits`. The agent has raised the soft limit as far as it may.
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
