//! Checks who may connect to the agent, and whether it answers.

use super::Finding;
use crate::cli::client::{Client, NoAgent};
use crate::cli::unreachable;
use crate::config::Config;
use crate::io::system::user_name;
use crate::text::doctor as text;
use crate::text::doctor::Check;
use crate::wire::request::Socket;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;

/// The running agent, as far as it can be determined.
#[derive(Debug, Default)]
pub(super) struct AgentSeen {
    /// Its process id.
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

/// The user and the groups of a process, from the kernel.
fn user_of(pid: u32) -> Option<(u32, Vec<u32>)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect())
    };
    // Real, effective, saved, file system: the effective id decides.
    let uid = *numbers("Uid:")?.get(1)?;
    let mut groups = numbers("Groups:")?;
    groups.push(*numbers("Gid:")?.get(1)?);
    Some((uid, groups))
}

/// Checks that the sockets exist and the agent answers on them.
pub(super) fn sockets(config: &Config, seen: &AgentSeen) -> Vec<Finding> {
    let agent = &config.agent;
    let both = [
        (Check::AppSocket, &agent.socket, Socket::App, 0o007),
        (Check::AdminSocket, &agent.admin_socket, Socket::Admin, 0o077),
    ];
    // Both in parallel, because each may have to wait for an agent that does not answer.
    thread::scope(|scope| {
        let asked =
            both.map(|(check, path, which, closed)| scope.spawn(move || socket(check, path, which, closed, seen)));
        asked.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

fn socket(check: Check, path: &Path, which: Socket, closed_to: u32, seen: &AgentSeen) -> Finding {
    let shown = path.display().to_string();
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(missing) => {
            let message = match seen.pid {
                None => text::socket_missing(&shown),
                // systemd holds the packaged sockets, and has to make them again.
                Some(_) if unreachable::service_runs(path) => unreachable::not_running(path, &missing),
                Some(pid) => text::socket_missing_beside_agent(&shown, pid),
            };
            return Finding::ill(check, message);
        }
    };
    if !meta.file_type().is_socket() {
        return Finding::ill(check, text::no_socket(&shown));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & closed_to != 0 {
        let right = 0o777 & !closed_to & 0o666;
        return Finding::ill(check, text::socket_open(&shown, mode, right));
    }
    match hello(path, which) {
        Ok(version) if version == env!("CARGO_PKG_VERSION") => {
            Finding::well(check, text::socket_answers(&shown, &version, mode))
        }
        Ok(version) => Finding::ill(check, text::other_version(&version, env!("CARGO_PKG_VERSION"))),
        Err(why) => Finding::ill(check, why),
    }
}

/// The version of the program that answers.
fn hello(path: &Path, which: Socket) -> Result<String, String> {
    let mut client = Client::connect(path, which).map_err(NoAgent::into_text)?;
    let line = client.call(&json!({"op": "hello"})).map_err(|failure| failure.to_string())?;
    let reply: Value = serde_json::from_slice(&line).unwrap_or_default();
    match (reply["name"].as_str(), reply["version"].as_str()) {
        (Some("resyncd"), Some(version)) => Ok(version.to_owned()),
        _ => Err(text::other_program(&path.display().to_string())),
    }
}

/// Checks that applications may use their socket: for the user who called sudo, otherwise for the current user.
pub(super) fn group(config: &Config) -> Vec<Finding> {
    const CHECK: Check = Check::Group;
    // A missing socket was reported already.
    let Ok(meta) = fs::metadata(&config.agent.socket) else { return Vec::new() };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = Group::find(meta.gid(), &groups, &users);
    let name = &group.name;
    let sudoer = std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty() && user != "root");
    let we = rustix::process::geteuid().as_raw();
    vec![match (sudoer, we) {
        (Some(user), _) if group.has(&user) => Finding::well(CHECK, text::in_group(&user, name)),
        (Some(user), _) => Finding::ill(CHECK, text::not_in_group(&user, name)),
        (None, 0) if meta.gid() == 0 => Finding::well(CHECK, text::socket_of_root()),
        (None, 0) if group.members.is_empty() => Finding::ill(CHECK, text::group_empty(name)),
        (None, 0) => Finding::well(CHECK, text::group_members(name, &group.members.join(", "))),
        (None, we) if we == meta.uid() => Finding::well(CHECK, text::socket_of_user()),
        (None, we) => {
            let user = user_name(we).unwrap_or_else(|| we.to_string());
            let ours = rustix::process::getgroups().unwrap_or_default();
            let gid = meta.gid();
            if ours.iter().any(|group| group.as_raw() == gid) || rustix::process::getegid().as_raw() == gid {
                Finding::well(CHECK, text::in_group(&user, name))
            } else if group.has(&user) {
                Finding::ill(CHECK, text::in_group_since_login(&user, name))
            } else {
                Finding::ill(CHECK, text::not_in_group(&user, name))
            }
        }
    }]
}

/// A group and its members.
struct Group {
    name: String,
    members: Vec<String>,
}

impl Group {
    /// Reads `/etc/group` and `/etc/passwd`: a user's primary group is listed only with the user.
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
        // The agent's own user often has the group's name, and records nothing.
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
