//! The demo's environment: a temporary directory, an agent process in it, and the commands as an operator would type
//! them.

#![expect(clippy::disallowed_methods, reason = "its patience has no other use")]

use crate::cli::Failure;
use crate::cli::client::Client;
use crate::text::{Language, demo as text};
use crate::wire::request::Socket;
use serde_json::{Value, json};
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The directory and the agent of a running demo.
#[derive(Debug)]
pub(super) struct Stage {
    program: PathBuf,
    dir: PathBuf,
    agent: Option<Child>,
}

/// Time limit for each step.
const PATIENCE: Duration = Duration::from_secs(30);
/// Polling interval of conditions.
const LOOK: Duration = Duration::from_millis(25);

impl Stage {
    /// Creates the directory and the configuration.
    pub(super) fn set(url: &str) -> Result<Self, Failure> {
        let dir = env::temp_dir().join(format!("resyncd-demo-{}", std::process::id()));
        fs::create_dir(&dir)?;
        let stage = Self { program: env::current_exe()?, dir, agent: None };
        let dir = stage.dir.display();
        stage.file(
            "resyncd.toml",
            &format!(
                "[agent]\nterminal_id = \"till-07\"\nstore_id = \"0042\"\nstate_dir = \"{dir}/state\"\n\
                 socket = \"{dir}/resyncd.sock\"\nadmin_socket = \"{dir}/admin.sock\"\n\n\
                 [upstream.hq]\nurl = \"{url}\"\nmax_pause = \"2s\"   # a demo has no chain to spare\n"
            ),
        )?;
        Ok(stage)
    }

    /// Prints a heading.
    pub(super) fn chapter(&self, heading: &str) -> io::Result<()> {
        self.say(&format!("\n── {heading}\n"))
    }

    /// Prints a line.
    #[expect(clippy::unused_self, reason = "the stage is where things are said")]
    pub(super) fn say(&self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// Writes a file in the demo's directory.
    pub(super) fn file(&self, name: &str, content: &str) -> io::Result<()> {
        fs::write(self.dir.join(name), content)
    }

    /// Starts the agent and waits until it answers.
    pub(super) fn start_agent(&mut self) -> Result<(), Failure> {
        self.say("$ resyncd run &")?;
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = self.command();
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.agent = Some(command.spawn()?);
        self.until(text::the_agent_answers(), |_| true)
    }

    /// Kills the agent as a power cut would.
    pub(super) fn kill_agent(&mut self) -> Result<(), Failure> {
        if let Some(mut agent) = self.agent.take() {
            self.say(&format!("$ kill -9 {}", agent.id()))?;
            agent.kill()?;
            agent.wait()?;
        }
        Ok(())
    }

    /// Runs a resyncd command, printed as typed.
    pub(super) fn resyncd(&self, args: &[&str]) -> Result<(), Failure> {
        self.run(args, None)
    }

    /// The same, with a file of the demo as standard input.
    pub(super) fn resyncd_from(&self, file: &str, args: &[&str]) -> Result<(), Failure> {
        self.run(args, Some(file))
    }

    fn run(&self, args: &[&str], input: Option<&str>) -> Result<(), Failure> {
        let quoted = |arg: &&str| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() };
        let typed: Vec<String> = args.iter().map(quoted).collect();
        let from = input.map_or_else(String::new, |file| format!(" < {file}"));
        self.say(format!("$ resyncd {}{from}", typed.join(" ")).trim_end())?;
        let mut command = self.command();
        command.args(args);
        command.stdin(match input {
            Some(file) => Stdio::from(File::open(self.dir.join(file))?),
            None => Stdio::null(),
        });
        let status = command.status()?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::Failed(text::command_ended(&args.join(" "), &status.to_string())))
        }
    }

    /// The program with the demo's configuration, without the caller's environment.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for variable in [
            "RESYNCD_STATE_DIR",
            "RESYNCD_SOCKET",
            "RESYNCD_ADMIN_SOCKET",
            "RESYNCD_UPSTREAM",
            "RESYNCD_LOG",
            "JOURNAL_STREAM",
        ] {
            command.env_remove(variable);
        }
        command.env("RESYNCD_LANG", Language::current().as_str());
        command.env("RESYNCD_CONFIG", self.dir.join("resyncd.toml")).current_dir(&self.dir);
        command
    }

    /// Waits until a condition on the agent's health holds.
    pub(super) fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            if let Some(health) = self.health() {
                if is_so(&health) {
                    return Ok(());
                }
                last = health;
            }
            thread::sleep(LOOK);
        }
        Err(Failure::Failed(text::did_not_happen(what, &last.to_string())))
    }

    /// Checks that a condition on the agent's health holds now.
    pub(super) fn expect(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<(), Failure> {
        match self.health() {
            Some(health) if is_so(&health) => Ok(()),
            other => Err(Failure::Failed(text::is_not_so(what, &other.unwrap_or_default().to_string()))),
        }
    }

    fn health(&self) -> Option<Value> {
        let mut client = Client::connect(&self.dir.join("resyncd.sock"), Socket::App).ok()?;
        serde_json::from_slice(&client.call(&json!({"op": "health"})).ok()?).ok()
    }

    /// The agent's log.
    #[must_use]
    pub(super) fn log(&self) -> Option<String> {
        fs::read_to_string(self.dir.join("log")).ok()
    }

    /// Leaves the agent running and prints how to reach it.
    pub(super) fn keep(mut self) -> Result<(), Failure> {
        let pid = self.agent.as_ref().map_or(0, Child::id);
        self.say(&text::kept(&self.dir.display().to_string(), pid))?;
        self.agent = None;
        self.dir = PathBuf::new();
        Ok(())
    }

    /// Stops the agent and removes all files.
    pub(super) fn clear(mut self) -> Result<(), Failure> {
        if let Some(mut agent) = self.agent.take() {
            let pid = i32::try_from(agent.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(io::Error::from)?;
            }
            let status = agent.wait()?;
            if !status.success() {
                return Err(Failure::Failed(text::agent_ended(&status.to_string())));
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            // The demo failed; leave nothing behind.
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if !self.dir.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
