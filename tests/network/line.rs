//! A line between a till and its office: two network namespaces joined by a virtual cable. It does
//! not touch the machine's own network, so the addresses are the same in every test, and concurrent
//! tests differ only in the names of their namespaces.
//!
//! ```text
//!   till: 192.0.2.1 ── line ─────────── line ── 192.0.2.2 :office
//!         default route by 192.0.2.2            198.51.100.1, behind it
//! ```

use crate::support::{Answer, Plan, Upstream, upstream::Request, wait_until};
use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::{Write as _, stderr};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The office on the cable itself: reached without a route.
pub(crate) const NEAR: &str = "192.0.2.2";
/// The office behind its end of the cable: reached by the default route.
pub(crate) const FAR: &str = "198.51.100.1";
/// Restores the default route.
pub(crate) const ROUTE: &str = "route add default via 192.0.2.2";
/// The upstream's port in the office.
const PORT: u16 = 8080;

/// A network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    name: String,
}

/// Two namespaces and the cable between them, removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) till: Place,
    pub(crate) office: Place,
}

impl Line {
    /// A working line; `None`, with a message, where this machine does not support one.
    pub(crate) fn lay() -> Option<Self> {
        let laid = Self::try_to_lay();
        let Err(why) = laid else { return laid.ok() };
        assert!(std::env::var("RESYNCD_NEED_NETWORK").as_deref() != Ok("1"), "no network to test in: {why}");
        let test = thread::current().name().unwrap_or("a test").to_owned();
        // `eprintln!` is captured in a test that passes.
        let _ = writeln!(stderr(), "\n*** NOT TESTED: {test}: no network to test in: {why} ***\n");
        None
    }

    fn try_to_lay() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !geteuid().is_root() {
            return Err("only root can make network namespaces".to_owned());
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = |role| Place { name: format!("resyncd-{}-{number}-{role}", std::process::id()) };
        let line = Self { till: place("till"), office: place("office") };
        let (till, office) = (&line.till, &line.office);
        for place in [till, office] {
            run(&format!("ip netns add {}", place.name), "")?;
        }
        run(&format!("ip link add line netns {} type veth peer name line netns {}", till.name, office.name), "")?;
        till.try_ip("addr add 192.0.2.1/30 dev line")?;
        office.try_ip("addr add 192.0.2.2/30 dev line")?;
        office.try_ip("addr add 198.51.100.1/32 dev lo")?;
        for place in [till, office] {
            // Without IPv6 addresses, which would appear seconds later and look like a change to the agent.
            place.try_ip("link set line addrgenmode none")?;
            place.try_ip("link set lo up")?;
            place.try_ip("link set line up")?;
        }
        till.try_ip(ROUTE)?;
        for place in [till, office] {
            wait_until("the line being up", || {
                place.try_ip("-oneline link show line").is_ok_and(|shown| shown.contains(" state UP "))
            });
        }
        // Faults need this rule; better to fail now.
        till.try_filter("numgen random mod 100 < 20 drop", "")?;
        till.try_filter("", "")?;
        Ok(line)
    }

    /// An upstream in the office.
    pub(crate) fn upstream(&self, decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Upstream {
        let listener = self.office.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)));
        Upstream::behind(listener.expect("the port is free"), decide)
    }

    /// An agent at the till that delivers to the office under this name or address; `upstream`
    /// holds further lines of its configuration.
    pub(crate) fn plan(&self, host: &str, upstream: &'static str) -> Plan {
        let through = ["ip", "netns", "exec", &self.till.name].map(str::to_owned).into();
        Plan { upstream, through, ..Plan::to(format!("http://{host}:{PORT}/sync")) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for place in [&self.till, &self.office] {
            // The namespace may never have been created; a panic may already be under way.
            let _ = run(&format!("ip netns del {}", place.name), "");
            let _ = fs::remove_dir_all(place.etc());
        }
    }
}

impl Place {
    /// Changes a link, an address or a route of this namespace, with arguments of `ip`.
    #[track_caller]
    pub(crate) fn ip(&self, words: &str) {
        self.try_ip(words).expect("a change that can be made");
    }

    fn try_ip(&self, words: &str) -> Result<String, String> {
        run(&format!("ip -n {} {words}", self.name), "")
    }

    /// Replaces the nftables rules for incoming and outgoing packets.
    #[track_caller]
    pub(crate) fn filter(&self, comes: &str, leaves: &str) {
        self.try_filter(comes, leaves).expect("rules that nft takes");
    }

    fn try_filter(&self, comes: &str, leaves: &str) -> Result<(), String> {
        let rules = format!(
            "table inet fault {{}}\ndelete table inet fault\ntable inet fault {{\n\
             chain comes {{ type filter hook input priority 0;\n{comes}\n}}\n\
             chain leaves {{ type filter hook output priority 0;\n{leaves}\n}}\n}}\n"
        );
        run(&format!("ip netns exec {} nft -f -", self.name), &rules).map(drop)
    }

    /// Lets everything pass again.
    #[track_caller]
    pub(crate) fn pass(&self) {
        self.filter("", "");
    }

    /// Runs `work` in this namespace; a socket that it opens stays there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(PathBuf::from("/run/netns").join(&self.name)).expect("the namespace is there");
        let enter = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).expect("root may enter a namespace");
            work()
        };
        thread::scope(|scope| scope.spawn(enter).join()).expect("the work does not panic")
    }

    /// Sets a file of `/etc` for programs started in this namespace.
    pub(crate) fn configure(&self, file: &str, text: &str) {
        fs::create_dir_all(self.etc()).expect("a directory of this test");
        fs::write(self.etc().join(file), text).expect("a file of this test");
    }

    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

/// Runs a command to its end with this standard input. Returns its output, or why it failed.
fn run(line: &str, input: &str) -> Result<String, String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a command has a name"));
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{line}: {error}"))?;
    // A command that exits without reading explains it on standard error.
    let _ = child.stdin.take().expect("it was asked for").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| format!("{line}: {error}"))?;
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(format!("{line}: {}", text(&output.stderr))) }
}

/// Reports a duration for readers.
pub(crate) fn figure(what: &str, took: Duration) {
    let _ = writeln!(stderr(), "network: {what} {:.2}", took.as_secs_f64());
}
