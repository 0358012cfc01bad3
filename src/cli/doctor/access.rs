//! Who may speak to the agent, and does it answer?

use super::Finding;
use crate::cli::client::{Client, Door, NoAgent};
use crate::config::Config;
use crate::io::system::user_name;
use crate::limits::CHECK_PATIENCE;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// The running agent, as far as it can be seen.
#[derive(Debug, Default)]
pub(super) struct AgentSeen {
    /// Its process.
    pub(super) pid: Option<u32>,
    /// Its user and groups.
    pub(super) user: Option<(u32, Vec<u32>)>,
}

/// The process that holds the state directory.
pub(super) fn agent(config: &Config) -> AgentSeen {
    let text = fs::read_to_string(config.agent.state_dir.join("lock")).unwrap_or_default();
    let pid = text.trim().parse().ok().filter(|pid: &u32| Path::new(&format!("/proc/{pid}")).exists());
    AgentSeen { pid, user: pid.and_then(user_of) }
}

/// The user and the groups of a process, as the kernel tells them.
fn user_of(pid: u32) -> Option<(u32, Vec<u32>)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect())
    };
    // Real, effective, saved, of the file system: the second decides.
    let uid = *numbers("Uid:")?.get(1)?;
    let mut groups = numbers("Groups:")?;
    groups.push(*numbers("Gid:")?.get(1)?);
    Some((uid, groups))
}

/// Are the sockets there, and does the agent answer behind them?
pub(super) fn sockets(config: &Config, seen: &AgentSeen) -> Vec<Finding> {
    let agent = &config.agent;
    let both =
        [("app socket", &agent.socket, Door::App, 0o007), ("admin socket", &agent.admin_socket, Door::Admin, 0o077)];
    both.into_iter().map(|(check, path, door, closed)| socket(check, path, door, closed, seen)).collect()
}

fn socket(check: &'static str, path: &Path, door: Door, closed_to: u32, seen: &AgentSeen) -> Finding {
    let shown = path.display();
    let Ok(meta) = fs::metadata(path) else {
        let process = seen.pid.map_or_else(|| "no agent runs".to_owned(), |pid| format!("process {pid} runs"));
        let remedy = "Start it: systemctl start resyncd; if it runs, it was told another path (resyncd config show)";
        return Finding::ill(check, format!("{shown} is not there, or not to be seen; {process}. {remedy}"));
    };
    if !meta.file_type().is_socket() {
        return Finding::ill(check, format!("{shown} is no socket. Move it away and restart the agent"));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & closed_to != 0 {
        let right = 0o777 & !closed_to & 0o666;
        return Finding::ill(
            check,
            format!("{shown} has mode {mode:04o}, which lets too many in. chmod {right:o} {shown}"),
        );
    }
    match hello(path, door) {
        Ok(version) if version == env!("CARGO_PKG_VERSION") => {
            Finding::well(check, format!("{shown} answers, version {version}, mode {mode:04o}"))
        }
        Ok(version) => Finding::ill(
            check,
            format!(
                "the agent is {version}, this program is {}. Restart the agent: systemctl restart resyncd",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        Err(why) => Finding::ill(check, why),
    }
}

/// The version of whoever answers.
fn hello(path: &Path, door: Door) -> Result<String, String> {
    let why = |no| match no {
        NoAgent::NotRunning(why) | NoAgent::Forbidden(why) => why,
    };
    let mut client = Client::connect(path, door).map_err(why)?;
    client.patience(CHECK_PATIENCE).map_err(|failure| failure.to_string())?;
    let line = client.call(&json!({"op": "hello"})).map_err(|failure| failure.to_string())?;
    let reply: Value = serde_json::from_slice(&line).unwrap_or_default();
    match (reply["name"].as_str(), reply["version"].as_str()) {
        (Some("resyncd"), Some(version)) => Ok(version.to_owned()),
        _ => Err(format!("somebody else answers at {}: that is no resyncd", path.display())),
    }
}

/// May applications use their socket? Whoever called sudo is asked for, else whoever runs this.
pub(super) fn group(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "group";
    // Without a socket there is nothing to say here; that it is missing was said.
    let Ok(meta) = fs::metadata(&config.agent.socket) else { return Vec::new() };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = Group::find(meta.gid(), &groups, &users);
    let name = &group.name;
    let sudoer = std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty() && user != "root");
    let we = rustix::process::geteuid().as_raw();
    vec![match (sudoer, we) {
        (Some(user), _) if group.has(&user) => Finding::well(CHECK, format!("{user} is in the group {name}")),
        (Some(user), _) => Finding::ill(CHECK, not_in(&user, name)),
        (None, 0) if meta.gid() == 0 => {
            Finding::well(CHECK, "the app socket is root's: only root's programs can record")
        }
        (None, 0) if group.members.is_empty() => Finding::ill(
            CHECK,
            format!(
                "nobody is in the group {name}, so only root can record. usermod -aG {name} USER; then USER logs in again, and its programs are restarted"
            ),
        ),
        (None, 0) => Finding::well(CHECK, format!("in the group {name}: {}", group.members.join(", "))),
        (None, we) if we == meta.uid() => Finding::well(CHECK, "the app socket is this user's own"),
        (None, we) => {
            let user = user_name(we).unwrap_or_else(|| we.to_string());
            let ours = rustix::process::getgroups().unwrap_or_default();
            let gid = meta.gid();
            if ours.iter().any(|group| group.as_raw() == gid) || rustix::process::getegid().as_raw() == gid {
                Finding::well(CHECK, format!("{user} is in the group {name}"))
            } else if group.has(&user) {
                Finding::ill(
                    CHECK,
                    format!(
                        "{user} is in the group {name} now, and was not at its log-in. Log in again, and restart the application"
                    ),
                )
            } else {
                Finding::ill(CHECK, not_in(&user, name))
            }
        }
    }]
}

fn not_in(user: &str, group: &str) -> String {
    format!(
        "{user} is not in the group {group} and cannot record. sudo usermod -aG {group} {user}; then log in again, and restart the application"
    )
}

/// A group and everyone in it.
struct Group {
    name: String,
    members: Vec<String>,
}

impl Group {
    /// From `/etc/group` and `/etc/passwd`: a user's first group stands with the user only.
    fn find(gid: u32, groups: &str, users: &str) -> Self {
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let number = |field: Option<&String>| field.and_then(|text| text.parse::<u32>().ok());
        let line = groups.lines().map(fields).find(|fields| number(fields.get(2)) == Some(gid));
        let listed = line.as_ref().and_then(|fields| fields.get(3)).map(String::as_str).unwrap_or_default();
        let mut members: Vec<String> = listed.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let own = users.lines().map(fields).filter(|fields| number(fields.get(3)) == Some(gid));
        members.extend(own.filter_map(|fields| fields.first().cloned()));
        members.sort();
        members.dedup();
        let name = line.and_then(|fields| fields.first().cloned()).unwrap_or_else(|| gid.to_string());
        // The agent's own user is often called like the group, and records nothing.
        members.retain(|member| *member != name);
        Self { name, members }
    }

    fn has(&self, user: &str) -> bool {
        self.members.iter().any(|member| member == user)
    }
}

#[cfg(test)]
mod tests {
    use super::Group;

    #[test]
    fn a_groups_members_are_those_listed_and_those_whose_own_group_it_is() {
        let groups = "root:x:0:\nresyncd:x:990:pos,till\n";
        let users = "root:x:0:0::/root:/bin/sh\nresyncd:x:990:990::/:/bin/false\nkiosk:x:1001:990::/:/bin/sh\n";
        let group = Group::find(990, groups, users);
        assert_eq!(
            (group.name.as_str(), &group.members[..]),
            ("resyncd", &["kiosk", "pos", "till"].map(String::from)[..])
        );
        assert_eq!(Group::find(7, groups, users).name, "7");
    }
}
