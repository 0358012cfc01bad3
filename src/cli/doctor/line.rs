//! The way to the upstreams: name, connection, certificate, answer, credentials, and their clock.

use super::Finding;
use super::access::AgentSeen;
use crate::config::upstream::Authorization;
use crate::config::{Config, Upstream};
use crate::io::clock::{since_boot, wall};
use crate::io::http::Exchange;
use crate::io::resolve::CachingResolver;
use crate::io::secrets::Secrets;
use crate::io::sender;
use crate::moment::WallTime;
use crate::policy::class::{Answer, BreakFault, Ending, LineFault, Target};
use crate::policy::probe::ProbeEnd;
use crate::store::StoreSettings;
use crate::store::reader::Reader;
use crate::wire::delivery::{HttpRequest, credentials};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CHECK: &str = "upstream";
/// A person waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each upstream, asked as the agent asks.
pub(super) fn upstreams(config: &Config, seen: &AgentSeen) -> Vec<Finding> {
    if config.upstreams.is_empty() {
        let remedy = "Set url in [upstream.NAME], or: resyncd run --upstream https://…";
        return vec![Finding::ill(CHECK, format!("none is configured: nothing will be delivered. {remedy}"))];
    }
    let stored = Reader::open(&StoreSettings::of(config)).ok().and_then(|reader| reader.upstreams().ok());
    let deaf = |name: &str| stored.iter().flatten().any(|(known, state)| known == name && state.is_deaf());
    config.upstreams.iter().flat_map(|upstream| one(upstream, deaf(&upstream.name), seen)).collect()
}

fn one(upstream: &Upstream, deaf: bool, seen: &AgentSeen) -> Vec<Finding> {
    let upstream = &Upstream { timeout: upstream.timeout.min(PATIENCE), ..upstream.clone() };
    let mut found: Vec<Finding> = files(upstream).filter_map(|file| closed_file(file, seen)).collect();
    let (ending, took) = probe(upstream);
    found.push(reached(upstream, &ending, took));
    if deaf {
        found.push(Finding::ill(
            CHECK,
            format!(
                "{} accepts failures, but answers no probe at {}. Set probe_url to something that it answers",
                upstream.name, upstream.probe.url
            ),
        ));
    }
    let Ending::Answered(answer) = &ending else { return found };
    found.extend(clock(&upstream.name, answer, wall()));
    found.extend(let_in(upstream));
    found
}

/// As the agent probes: without credentials, which may be for another machine than `probe_url`.
fn probe(upstream: &Upstream) -> (Ending, Duration) {
    let (method, url) = (upstream.probe.method.as_str(), upstream.probe.url.clone());
    let request = HttpRequest { method, url, headers: Vec::new(), body: Vec::new() };
    let begun = since_boot();
    let ending = Exchange::for_probes(upstream, CachingResolver::default()).send(&request, &Secrets::default(), &[]);
    (ending, since_boot().saturating_sub(begun))
}

fn reached(upstream: &Upstream, ending: &Ending, took: Duration) -> Finding {
    let (name, url) = (&upstream.name, &upstream.probe.url);
    let target = Target::of(url);
    let https = target.https;
    let end = ProbeEnd::of(ending.clone(), took, &target, wall());
    let remedy = match (ending, end) {
        (_, ProbeEnd::Answered { status, took }) => {
            let certificate = if https { ", its certificate is valid" } else { "" };
            let ms = took.as_millis();
            return Finding::well(CHECK, format!("{name}: {url} answers in {ms} ms (HTTP {status}){certificate}"));
        }
        (_, ProbeEnd::Page { status, .. }) => format!(
            "answers with a web page (HTTP {status}). If that is a login page of the network, log in there; \
             if it is its own, set probe_url to something else"
        ),
        (Ending::NotSent(fault, why), _) => format!("{why}. {}", mend(*fault, upstream)),
        (Ending::Broken(BreakFault::Timeout, _), _) => {
            "took the connection and answered nothing. Ask the head office; a proxy or firewall between?".to_owned()
        }
        (Ending::Broken(BreakFault::Reset, why), _) => {
            format!("broke the connection off ({why}). Is it HTTP, on this port?")
        }
        (Ending::Unbuildable(why), _) => why.clone(),
        (Ending::Answered(_), ProbeEnd::Silence { reason }) => {
            format!("{reason}. Log in to the network, if that is it")
        }
    };
    Finding::ill(CHECK, format!("{name}: {url}: {remedy}"))
}

fn mend(fault: LineFault, upstream: &Upstream) -> String {
    let name = &upstream.name;
    match fault {
        LineFault::Lookup => {
            "Is the cable in? Is the name right? Else the name server: cat /etc/resolv.conf".to_owned()
        }
        LineFault::NoConnection | LineFault::ConnectTimeout => {
            "Is the cable in? Are host and port right? Else a firewall, or the head office is down".to_owned()
        }
        LineFault::Certificate => {
            format!("Is it really the head office? If it has its own authority: ca_file in [upstream.{name}]")
        }
        LineFault::CertificateTime => {
            "Compare this terminal's clock (timedatectl); if it is right, the head office must renew it".to_owned()
        }
        LineFault::Credentials => format!("Look at the files of [upstream.{name}]"),
    }
}

/// What the upstream's clock says more than ours; its dates have whole seconds.
fn clock(name: &str, answer: &Answer, now: WallTime) -> Option<Finding> {
    /// From here on the agent calls it wrong too (`spec/03`, `clock_wrong`).
    const WRONG: Duration = Duration::from_secs(300);
    let theirs = answer.date?;
    let (ahead, behind) = (now.since(theirs), theirs.since(now));
    let off = ahead.max(behind);
    let seconds = off.as_secs();
    Some(if off > WRONG {
        let way = if ahead > behind { "ahead of" } else { "behind" };
        let remedy = "timedatectl set-ntp true, or set it by hand";
        Finding::ill("clock", format!("this terminal's is {seconds} s {way} that of {name}. {remedy}"))
    } else {
        Finding::well("clock", format!("within {} s of that of {name}", seconds + 1))
    })
}

/// Are we let in? Asked where failures go, with everything that goes with one, and nothing in it.
fn let_in(upstream: &Upstream) -> Option<Finding> {
    const CHECK: &str = "credentials";
    let held = &upstream.credentials;
    let has_some = held.authorization != Authorization::None
        || held.login.is_some()
        || !held.header_files.is_empty()
        || upstream.connection.client_cert.is_some();
    if !has_some {
        return None;
    }
    let (method, url) = (upstream.probe.method.as_str(), upstream.url.clone());
    let request = HttpRequest { method, url, headers: credentials(upstream), body: Vec::new() };
    let name = &upstream.name;
    Some(match sender::send_once(upstream, &request) {
        Ending::Answered(answer) if matches!(answer.status, 401 | 403 | 407) => Finding::ill(
            CHECK,
            format!(
                "{name} does not let us in (HTTP {}). Renew what [upstream.{name}] names: {}",
                answer.status,
                named(upstream)
            ),
        ),
        Ending::Answered(answer) => {
            Finding::well(CHECK, format!("{name} takes ours, as far as a {method} tells (HTTP {})", answer.status))
        }
        Ending::NotSent(fault, why) => Finding::ill(CHECK, format!("{name}: {why}. {}", mend(fault, upstream))),
        Ending::Broken(_, why) | Ending::Unbuildable(why) => Finding::ill(CHECK, format!("{name}: {why}")),
    })
}

/// Files that belong to an upstream; what is in them is not shown.
fn files(upstream: &Upstream) -> impl Iterator<Item = &Path> {
    let held = &upstream.credentials;
    let own = match &held.authorization {
        Authorization::None => None,
        Authorization::Token(file) | Authorization::Basic(file) => Some(file),
    };
    let headers = held.header_files.iter().map(|(_, file)| file);
    let login = held.login.iter().map(|login| &login.body_file);
    let connection = &upstream.connection;
    let pair = connection.client_cert.iter().flat_map(|(cert, key)| [cert, key]);
    own.into_iter().chain(headers).chain(login).chain(&connection.ca_file).chain(pair).map(PathBuf::as_path)
}

fn named(upstream: &Upstream) -> String {
    let files: Vec<String> = files(upstream).map(|file| file.display().to_string()).collect();
    files.join(", ")
}

/// A file that the agent's user may not read, though whoever runs this may.
fn closed_file(file: &Path, seen: &AgentSeen) -> Option<Finding> {
    let (uid, groups) = seen.user.as_ref().filter(|(uid, _)| *uid != 0)?;
    // A bare name is a credential: systemd gives it to the agent, whoever the file belongs to.
    let meta = fs::metadata(file).ok().filter(|_| file.is_absolute())?;
    let readable = if meta.uid() == *uid {
        0o400
    } else if groups.contains(&meta.gid()) {
        0o040
    } else {
        0o004
    };
    let mode = meta.permissions().mode() & 0o777;
    let shown = file.display();
    (mode & readable == 0).then(|| {
        Finding::ill(
            "credentials",
            format!("the agent's user cannot read {shown} (mode {mode:04o}). chown {uid} {shown}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_from_five_minutes_on_in_either_direction() {
        let now = WallTime::from_millis(1_795_500_754_123);
        let found = |theirs: WallTime| {
            let answer = Answer { date: Some(theirs), ..Answer::default() };
            clock("hq", &answer, now).expect("there is a date")
        };
        assert!(found(now).ok && found(now.before(Duration::from_secs(299))).ok);
        let (late, early) = (found(now.after(Duration::from_secs(900))), found(now.before(Duration::from_secs(900))));
        assert!(!late.ok && late.message.contains("900 s behind that of hq"), "{}", late.message);
        assert!(!early.ok && early.message.contains("ahead of"), "{}", early.message);
        assert!(clock("hq", &Answer::default(), now).is_none());
    }

    #[test]
    fn a_file_that_only_root_may_read_is_found_before_the_agent_meets_it() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).expect("its mode");
        let gid = fs::metadata(file.path()).expect("its owner").gid();
        let as_user = |groups| AgentSeen { pid: None, user: Some((64_999, groups)) };
        assert!(closed_file(file.path(), &as_user(vec![64_999])).is_some());
        assert!(closed_file(file.path(), &as_user(vec![gid])).is_none());
        assert!(closed_file(file.path(), &AgentSeen::default()).is_none(), "nobody is known who could not");
    }
}
