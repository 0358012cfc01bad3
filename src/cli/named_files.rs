//! The files that a configuration names, looked at before the agent needs them: are they there, can the agent's user
//! read them, and do they hold what belongs into them. `config check` and `doctor` tell the same.
//!
//! Where root runs the command, the files are opened with the ids of the agent's user: root could read them all.

use crate::config::Config;
use crate::config::route::Body;
use crate::config::template::Template;
use crate::config::upstream::{Authorization, Upstream};
use crate::io::owner::AsOwner;
use crate::io::secrets::{Secrets, located};
use crate::io::system::user_name;
use crate::io::tls;
use crate::text::files::{self as text, Wrong};
use rustix::fs::{Access, AtFlags, CWD, access, accessat};
use rustix::process::geteuid;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The user as whom files are opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    uid: u32,
    groups: Vec<u32>,
}

/// What is wrong with one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The key that names it: `[upstream.hq] token_file`.
    pub(super) key: String,
    /// What is wrong, and what to do.
    pub(super) message: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) faults: Vec<Fault>,
    /// Files that were opened and are as they should be.
    pub(super) well: usize,
    /// Credentials of systemd, which only the running service has.
    pub(super) passed_on: Vec<String>,
}

impl Reader {
    /// A user by its number, with its groups, the main one first.
    pub(super) fn new(uid: u32, groups: Vec<u32>) -> Self {
        Self { uid, groups }
    }

    /// Whoever runs this; where that is root, the agent's user: the owner of the state directory, else the packaged
    /// service's. `None`: root itself.
    pub(super) fn of(config: &Config) -> Option<Self> {
        const PACKAGED: &str = "resyncd";
        if !geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        match fs::metadata(&config.agent.state_dir) {
            Ok(meta) if meta.uid() == 0 => None,
            Ok(meta) => Some(Self { uid: meta.uid(), groups: groups_of(meta.uid(), meta.gid(), &users, &groups) }),
            Err(_) => {
                let fields: Vec<&str> = users.lines().find(|line| line.starts_with("resyncd:"))?.split(':').collect();
                let number = |n: usize| fields.get(n).and_then(|field| field.parse::<u32>().ok());
                debug_assert_eq!(fields.first(), Some(&PACKAGED));
                let (uid, gid) = (number(2)?, number(3)?);
                Some(Self { uid, groups: groups_of(uid, gid, &users, &groups) })
            }
        }
    }

    fn name(&self) -> String {
        user_name(self.uid).unwrap_or_else(|| format!("uid {}", self.uid))
    }
}

/// A user's main group, and those that list it.
fn groups_of(uid: u32, gid: u32, users: &str, groups: &str) -> Vec<u32> {
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    let lists = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let gid: u32 = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| Some(member) == name).then_some(gid)
    };
    let mut all = vec![gid];
    all.extend(groups.lines().filter_map(lists).filter(|group| *group != gid));
    all
}

/// Looks at all of them.
pub(super) fn examine(config: &Config, reader: Option<&Reader>) -> io::Result<Found> {
    let _as_user = reader.map(|reader| AsOwner::user(reader.uid, &reader.groups)).transpose()?;
    let mut looking = Looking { reader, found: Found::default() };
    for upstream in &config.upstreams {
        looking.upstream(upstream);
    }
    let mut secrets = BTreeSet::new();
    for route in &config.routes {
        if let Body::Template(template) = &route.body {
            secrets.extend(template.secrets());
        }
        let asked = route.verify.as_ref().and_then(|verify| verify.template.as_ref());
        secrets.extend(asked.into_iter().flat_map(Template::secrets));
    }
    for name in secrets {
        looking.secret("[[route]] template: {secret:…}", Path::new(name), not_empty);
    }
    if let Some(program) = config.alerts.command.first() {
        looking.program("[alerts] command", Path::new(program));
    }
    if let Some(file) = &config.metrics.textfile {
        looking.directory("[metrics] textfile", file);
    }
    Ok(looking.found)
}

struct Looking<'r> {
    reader: Option<&'r Reader>,
    found: Found,
}

impl Looking<'_> {
    fn upstream(&mut self, upstream: &Upstream) {
        let key = |name: &str| format!("[upstream.{}] {name}", upstream.name);
        let held = &upstream.credentials;
        match &held.authorization {
            Authorization::None => {}
            Authorization::Token(file) => self.secret(&key("token_file"), file, token),
            Authorization::Basic(file) => self.secret(&key("basic_file"), file, pair),
        }
        for (name, file) in &held.header_files {
            self.secret(&key(&format!("header_files.{name}")), file, header);
        }
        if let Some(login) = &held.login {
            self.secret(&format!("[upstream.{}.login] body_file", upstream.name), &login.body_file, not_empty);
        }
        let connection = &upstream.connection;
        if let Some(file) = &connection.proxy_auth {
            self.secret(&key("proxy_auth_file"), file, pair);
        }
        let before = self.found.faults.len() + self.found.passed_on.len();
        if let Some(file) = &connection.ca_file {
            self.opened(&key("ca_file"), file);
        }
        if let Some((certificate, private)) = &connection.client_cert {
            self.opened(&key("client_cert"), certificate);
            self.opened(&key("client_key"), private);
        }
        if self.found.faults.len() + self.found.passed_on.len() == before
            && let Some(why) = tls::fault(upstream)
        {
            self.fault(&format!("[upstream.{}]", upstream.name), why);
        }
    }

    fn fault(&mut self, key: &str, message: String) {
        self.found.faults.push(Fault { key: key.to_owned(), message });
    }

    /// A file that can be opened; `false` where a fault was reported, or it cannot be known here.
    fn opened(&mut self, key: &str, file: &Path) -> bool {
        let path = located(file);
        match File::open(&path) {
            Ok(_) => {
                self.found.well += 1;
                true
            }
            // The service manager makes these for the service, and takes them away with it.
            Err(_) if !file.is_absolute() => {
                self.found.passed_on.push(file.display().to_string());
                false
            }
            Err(error) => {
                let message = self.unopened(&path, &error);
                self.fault(key, message);
                false
            }
        }
    }

    fn unopened(&self, path: &Path, error: &io::Error) -> String {
        let shown = path.display();
        match (error.kind(), self.reader) {
            (io::ErrorKind::PermissionDenied, Some(reader)) => {
                let group = reader.groups.first().copied().unwrap_or(reader.uid);
                let (name, group) = (reader.name(), group_name(group));
                text::not_for_the_agent(shown, &name, &group)
            }
            (io::ErrorKind::NotFound, _) => text::missing(shown),
            _ => text::unreadable(shown, error),
        }
    }

    /// A file that holds a secret, with what has to be true of its text.
    fn secret(&mut self, key: &str, file: &Path, wrong: fn(&str) -> Option<Wrong>) {
        if !self.opened(key, file) {
            return;
        }
        let path = located(file);
        let shown = path.display();
        match Secrets::default().file(file) {
            Err(why) => self.fault(key, why),
            Ok(text) => {
                if let Some(why) = wrong(&text) {
                    self.found.well -= 1;
                    return self.fault(key, text::content(why, shown));
                }
                if let Some(mode) = open_to_all(&path).filter(|_| file.is_absolute()) {
                    self.found.well -= 1;
                    self.fault(key, text::open_to_all(shown, &format!("{mode:04o}")));
                }
            }
        }
    }

    fn program(&mut self, key: &str, path: &Path) {
        let shown = path.display();
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() && access(path, Access::EXEC_OK).is_ok() => self.found.well += 1,
            Ok(_) => self.fault(key, text::not_a_program(shown)),
            Err(error) => self.fault(key, text::no_program(shown, error)),
        }
    }

    /// The directory of a file that the agent writes.
    fn directory(&mut self, key: &str, file: &Path) {
        let dir = file.parent().unwrap_or(Path::new("/"));
        let shown = dir.display();
        match fs::metadata(dir) {
            _ if file.is_dir() => self.fault(key, text::names_a_file(file.display())),
            Ok(meta) if meta.is_dir() => match unwritable(dir, file) {
                None => self.found.well += 1,
                Some(error) => {
                    let fault = match self.reader {
                        Some(reader) => text::not_writable_by_the_agent(&reader.name(), shown, error),
                        None => text::not_writable(shown, error),
                    };
                    self.fault(key, fault);
                }
            },
            Ok(_) => self.fault(key, text::not_a_directory(shown)),
            Err(error) => self.fault(key, text::no_directory(shown, error)),
        }
    }
}

/// Why this thread cannot make a file in a directory and give it this name; nothing is written. In a directory with the
/// sticky bit, only its owner may replace the file of another user.
fn unwritable(dir: &Path, file: &Path) -> Option<io::Error> {
    if let Err(error) = accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        return Some(error.into());
    }
    let (dir, there) = (fs::metadata(dir).ok()?, fs::symlink_metadata(file).ok()?);
    let me = geteuid().as_raw();
    let sticky = dir.permissions().mode() & 0o1000 != 0;
    let may_replace = me == 0 || me == dir.uid() || me == there.uid();
    (sticky && !may_replace).then(|| io::Error::other("another user's file of that name is there"))
}

/// The mode of a file that every user can read, because nothing on the way to it is closed to them either.
fn open_to_all(path: &Path) -> Option<u32> {
    let mode = |path: &Path| fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777).ok();
    let of_file = mode(path).filter(|mode| mode & 0o004 != 0)?;
    let way = path.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty());
    way.map(mode).all(|mode| mode.is_some_and(|mode| mode & 0o001 != 0)).then_some(of_file)
}

fn group_name(gid: u32) -> String {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let named = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(gid)).then(|| fields[0].to_owned())
    };
    groups.lines().find_map(named).unwrap_or_else(|| gid.to_string())
}

fn not_empty(text: &str) -> Option<Wrong> {
    text.trim().is_empty().then_some(Wrong::Empty)
}

fn header(text: &str) -> Option<Wrong> {
    one_line(text).or_else(|| (!text.trim().bytes().all(|b| (0x20..=0x7e).contains(&b))).then_some(Wrong::NoHeader))
}

fn one_line(text: &str) -> Option<Wrong> {
    not_empty(text).or_else(|| text.trim().contains(['\n', '\r']).then_some(Wrong::SeveralLines))
}

/// What a bearer token is not.
fn token(text: &str) -> Option<Wrong> {
    let begins = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    header(text).or_else(|| match text.trim() {
        _ if begins("Bearer ") => Some(Wrong::Bearer),
        _ if begins("Authorization:") => Some(Wrong::WholeHeader),
        quoted if quoted.starts_with(['"', '\'']) && quoted.ends_with(['"', '\'']) => Some(Wrong::Quoted),
        word if word.contains(char::is_whitespace) => Some(Wrong::Blanks),
        _ => None,
    })
}

fn pair(text: &str) -> Option<Wrong> {
    one_line(text).or_else(|| {
        let begins = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("Basic "));
        match text.split_once(':') {
            _ if begins => Some(Wrong::Encoded),
            Some((user, _)) if !user.is_empty() => None,
            _ => Some(Wrong::NoPair),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_nothing_else() {
        for right in ["abc", "ey.J_-x", "abc\n"] {
            assert_eq!(token(right), None, "{right}");
        }
        for (wrong, part) in [
            ("", Wrong::Empty),
            (" \n", Wrong::Empty),
            ("Bearer abc", Wrong::Bearer),
            ("bearer abc", Wrong::Bearer),
            ("\"abc\"", Wrong::Quoted),
            ("Authorization: Bearer abc", Wrong::WholeHeader),
            ("abc\ndef", Wrong::SeveralLines),
            ("abc def", Wrong::Blanks),
            ("\u{feff}abc", Wrong::NoHeader),
            ("a\0bc", Wrong::NoHeader),
            ("caf\u{e9}", Wrong::NoHeader),
        ] {
            assert_eq!(token(wrong), Some(part), "{wrong}");
        }
        assert_eq!((pair("anna:x:y"), pair("anna").is_some(), pair("Basic YTpi").is_some()), (None, true, true));
    }

    #[test]
    fn a_users_groups_are_the_main_one_and_those_that_list_it() {
        let users = "root:x:0:0::/root:/bin/sh\nresyncd:x:990:991::/:/bin/false\n";
        let groups = "root:x:0:\nresyncd:x:991:pos\nssl-cert:x:105:postgres,resyncd\n";
        assert_eq!(groups_of(990, 991, users, groups), [991, 105]);
    }
}
