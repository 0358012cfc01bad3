//! A real agent: the binary, in its own directory, with its own configuration.

use super::{Client, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use tempfile::TempDir;

/// How an agent is started. Omitted fields have the shipped default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The upstream's URL; without one nothing is delivered.
    pub(crate) url: Option<String>,
    /// Further lines of `[agent]`.
    pub(crate) agent: &'static str,
    /// `retry.backoff`
    pub(crate) backoff: &'static [&'static str],
    /// Further lines of `[retry]`.
    pub(crate) retry: &'static str,
    /// Further lines of `[upstream.hq]`.
    pub(crate) upstream: &'static str,
    /// The lines of `[limits]`.
    pub(crate) limits: &'static str,
    /// Complete further tables: routes, logins, answer rules, other upstreams.
    pub(crate) more: String,
    /// A command that starts the agent elsewhere and replaces itself by it, such as `ip netns exec NAME`.
    pub(crate) through: Vec<String>,
}

impl Plan {
    /// Delivers to this URL.
    pub(crate) fn to(url: String) -> Self {
        Self { url: Some(url), ..Self::default() }
    }

    /// As `to`, and without backoff.
    pub(crate) fn impatient(url: String) -> Self {
        Self { backoff: &["0s"], ..Self::to(url) }
    }

    /// As `impatient`, with further tables.
    pub(crate) fn with(url: String, more: impl Into<String>) -> Self {
        Self { more: more.into(), ..Self::impatient(url) }
    }

    /// Only these tables define upstreams and routes; without backoff.
    pub(crate) fn of(more: impl Into<String>) -> Self {
        Self { more: more.into(), backoff: &["0s"], ..Self::default() }
    }
}

/// A daemon, from its first start to the end of the test, through all its restarts.
#[derive(Debug)]
pub(crate) struct Agent {
    dir: TempDir,
    through: Vec<String>,
    child: Option<Child>,
}

impl Agent {
    /// Starts an agent and waits until it replies.
    #[track_caller]
    pub(crate) fn start(plan: &Plan) -> Self {
        let mut agent = Self::prepare(plan);
        agent.up();
        agent
    }

    /// Directory and configuration of an agent that does not run yet.
    pub(crate) fn prepare(plan: &Plan) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let agent = Self { dir, through: plan.through.clone(), child: None };
        agent.configure(plan);
        agent
    }

    /// Writes its configuration, which applies from the next start.
    pub(crate) fn configure(&self, plan: &Plan) {
        let [state, app, admin] =
            [self.state_dir(), self.app_path(), self.admin_path()].map(|p| p.display().to_string());
        let mut text = format!(
            "[agent]\nterminal_id = \"till-07\"\nstore_id = \"0042\"\nlog = \"debug\"\n\
             state_dir = {state:?}\nsocket = {app:?}\nadmin_socket = {admin:?}\n{}\n[retry]\n{}\n",
            plan.agent, plan.retry
        );
        if !plan.backoff.is_empty() {
            writeln!(text, "backoff = {:?}", plan.backoff).expect("a String takes everything");
        }
        if let Some(url) = &plan.url {
            write!(text, "[upstream.hq]\nurl = {url:?}\n{}\n", plan.upstream).expect("a String takes everything");
        }
        write!(text, "[limits]\n{}\n{}\n", plan.limits, plan.more).expect("a String takes everything");
        fs::write(self.config_path(), text).expect("the configuration is written");
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.state_dir().join("sync_failures.db")
    }

    pub(crate) fn app_path(&self) -> PathBuf {
        self.dir.path().join("app.sock")
    }

    pub(crate) fn admin_path(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    fn config_path(&self) -> PathBuf {
        self.dir.path().join("resyncd.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("stderr.log")
    }

    /// Its output on standard error, over all its runs.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the agent runs").id()
    }

    /// Spawns the daemon with this configuration and further arguments.
    fn spawn(&self, more: &[&str], env: &[(&str, &str)]) -> Child {
        let mut words = self.through.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_resyncd")]);
        let mut command = Command::new(words.next().expect("the binary at least"));
        command.args(words);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "RESYNCD_LANG"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8");
        command.envs(env.iter().copied());
        self.spawn_as(command, more)
    }

    fn spawn_as(&self, mut command: Command, more: &[&str]) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a file for the log");
        for name in ["STATE_DIR", "SOCKET", "ADMIN_SOCKET", "UPSTREAM", "LOG", "CONFIG"] {
            command.env_remove(format!("RESYNCD_{name}"));
        }
        command.env_remove("JOURNAL_STREAM").current_dir(self.dir.path());
        command.arg("run").arg("--config").arg(self.config_path()).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("the binary starts")
    }

    /// Starts it, and waits until it replies.
    #[track_caller]
    pub(crate) fn up(&mut self) {
        self.up_with(&[]);
    }

    /// As `up`, with these variables in its environment.
    #[track_caller]
    pub(crate) fn up_with(&mut self, env: &[(&str, &str)]) {
        assert!(self.child.is_none(), "it runs already");
        self.child = Some(self.spawn(&[], env));
        let hello = json!({"op": "hello"});
        wait_for("the agent's hello on both sockets", || {
            let ended = self.child.as_mut().expect("it was started").try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "the agent ended with {ended:?} instead of starting:\n{}", self.log());
            let answers = |path| Client::try_connect(path).is_some_and(|mut client| client.call(&hello)["ok"] == true);
            (answers(self.app_path()) && answers(self.admin_path())).then_some(())
        });
    }

    /// Starts it, and kills it in its `nth` such system call. Returns `false` when it replies after
    /// fewer calls. Needs strace.
    #[track_caller]
    pub(crate) fn is_killed_in_start(&self, call: &str, nth: usize) -> bool {
        let mut strace = Command::new("strace");
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={nth}"));
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, env!("CARGO_BIN_EXE_resyncd")]);
        let mut child = self.spawn_as(strace, &[]);
        let hello = json!({"op": "hello"});
        wait_for("a hello, or the end", || {
            if child.try_wait().expect("a child can be asked").is_some() {
                return Some(true);
            }
            let answers = Client::try_connect(self.app_path()).is_some_and(|mut app| app.try_call(&hello).is_some());
            answers.then(|| {
                // Killing the tracer would not kill the agent, whose process number is in its lock file.
                let pid = fs::read_to_string(self.state_dir().join("lock")).expect("a lock");
                let pid = Pid::from_raw(pid.trim().parse().expect("a process number")).expect("not zero");
                kill_process(pid, Signal::KILL).expect("a process can be killed");
                child.wait().expect("the tracer ends with it");
                false
            })
        })
    }

    /// Runs it until it exits. Returns its exit status, and its output.
    #[track_caller]
    pub(crate) fn run_to_its_end(&mut self, more: &[&str]) -> (Option<i32>, String) {
        let before = self.log().len();
        self.child = Some(self.spawn(more, &[]));
        let status = self.wait_for_exit();
        (status.code(), self.log()[before..].to_owned())
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("the agent runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process number");
        kill_process(Pid::from_raw(pid).expect("not zero"), signal).expect("a child can be signalled");
    }

    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        // `child` keeps it until it has ended, so that one that does not end is killed with the test.
        let child = self.child.as_mut().expect("the agent runs");
        let status = wait_for("the end of the agent", || child.try_wait().expect("a child can be asked"));
        self.child = None;
        status
    }

    /// Sends SIGTERM. Returns the exit status.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_exit()
    }

    /// Kills it without warning, and starts it again in the same directory.
    #[track_caller]
    pub(crate) fn restart_after_kill(&mut self) {
        self.kill9();
        self.up();
    }

    /// A client of the app socket.
    #[track_caller]
    pub(crate) fn app(&self) -> Client {
        Client::connect(self.app_path())
    }

    /// A client of the admin socket.
    #[track_caller]
    pub(crate) fn admin(&self) -> Client {
        Client::connect(self.admin_path())
    }

    /// One request on the app socket.
    #[track_caller]
    pub(crate) fn call(&self, request: &Value) -> Value {
        self.app().call(request)
    }

    /// One request on the admin socket.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Value) -> Value {
        self.admin().call(request)
    }

    /// A live failure as the admin socket shows it; `None` when it has left.
    #[track_caller]
    pub(crate) fn failure(&self, id: &str) -> Option<Value> {
        let reply = self.ask(&json!({"op": "get", "id": id}));
        if reply["ok"] == true {
            return Some(reply["failure"].clone());
        }
        assert_eq!(reply["error"]["code"], "not_found", "{reply}");
        None
    }

    /// Waits until a condition of a live failure holds.
    #[track_caller]
    pub(crate) fn wait_for_failure(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || self.failure(id).filter(|failure| holds(failure)))
    }

    /// Waits until a failure needs an operator.
    #[track_caller]
    pub(crate) fn wait_critical(&self, id: &str) -> Value {
        self.wait_for_failure(id, "the failure becoming critical", |failure| failure["status"] == "critical")
    }

    /// Waits until a failure has left the table.
    #[track_caller]
    pub(crate) fn wait_gone(&self, id: &str) {
        wait_for("the failure leaving the table", || self.failure(id).is_none().then_some(()));
    }

    /// Waits until the upstream is in this state, and returns it as `health` shows it.
    #[track_caller]
    pub(crate) fn wait_upstream(&self, state: &str) -> Value {
        wait_for(&format!("the upstream being {state}"), || {
            let upstream = self.call(&json!({"op": "health"}))["upstreams"][0].clone();
            (upstream["state"] == state).then_some(upstream)
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have exited already; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(40).collect::<Vec<_>>();
            eprintln!("--- the agent's last words");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
