//! Where the demo plays: a temporary directory, an agent process in it, and the commands as a
//! person would type them.

#![expect(clippy::disallowed_methods, reason = "its patience has no other use")]

use crate::cli::Failure;
use crate::cli::client::{Client, Door};
use serde_json::{Value, json};
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub(super) struct Stage {
    program: PathBuf,
    dir: PathBuf,
    agent: Option<Child>,
}

/// How long anything of the story may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(25);

impl Stage {
    /// Makes the directory and the configuration.
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

    /// A heading of the story.
    pub(super) fn chapter(&self, text: &str) -> io::Result<()> {
        self.say(&format!("\n── {text}\n"))
    }

    /// A line of the story.
    #[expect(clippy::unused_self, reason = "the stage is where things are said")]
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// A file in the stage's directory.
    pub(super) fn file(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.dir.join(name), text)
    }

    /// Starts the agent and waits until it answers.
    pub(super) fn start_agent(&mut self) -> Result<(), Failure> {
        self.say("$ resyncd run &")?;
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = self.command();
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.agent = Some(command.spawn()?);
        self.until("the agent answers", |_| true)
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

    /// Runs a command of the product, printed as it is typed.
    pub(super) fn resyncd(&self, args: &[&str]) -> Result<(), Failure> {
        self.run(args, None)
    }

    /// The same, reading a file of the stage.
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
            Err(Failure::Failed(format!("resyncd {} ended with {status}", args.join(" "))))
        }
    }

    /// The program with the stage's configuration, and nothing of the caller's own.
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
        command.env("RESYNCD_CONFIG", self.dir.join("resyncd.toml")).current_dir(&self.dir);
        command
    }

    /// Waits until the agent's health is as told.
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
        Err(Failure::Failed(format!("this did not happen: {what}. The agent's last word: {last}")))
    }

    /// It is so, now.
    pub(super) fn expect(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<(), Failure> {
        match self.health() {
            Some(health) if is_so(&health) => Ok(()),
            other => Err(Failure::Failed(format!("this is not so: {what}. The agent says: {other:?}"))),
        }
    }

    fn health(&self) -> Option<Value> {
        let mut client = Client::connect(&self.dir.join("resyncd.sock"), Door::App).ok()?;
        serde_json::from_slice(&client.call(&json!({"op": "health"})).ok()?).ok()
    }

    /// What the agent wrote.
    #[must_use]
    pub(super) fn log(&self) -> Option<String> {
        fs::read_to_string(self.dir.join("log")).ok()
    }

    /// Leaves the agent running and says how to reach it.
    pub(super) fn keep(mut self) -> Result<(), Failure> {
        let dir = self.dir.display();
        self.say(&format!(
            "\nThe agent goes on (its head office is gone with this demo). Reach it with:\n\n  export RESYNCD_CONFIG={dir}/resyncd.toml\n\n\
             and end it with:\n\n  kill {}; rm -r {dir}",
            self.agent.as_ref().map_or(0, Child::id)
        ))?;
        self.agent = None;
        self.dir = PathBuf::new();
        Ok(())
    }

    /// Ends the agent in order and removes everything.
    pub(super) fn clear(mut self) -> Result<(), Failure> {
        if let Some(mut agent) = self.agent.take() {
            let pid = i32::try_from(agent.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(io::Error::from)?;
            }
            let status = agent.wait()?;
            if !status.success() {
                return Err(Failure::Failed(format!("the agent ended with {status}")));
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            // The story broke off; nothing of it is to stay.
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if !self.dir.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
