//! The command line as it is typed. What it means is in the commands.

use super::backup::BackupArgs;
use super::check::CheckArgs;
use super::cleanup::CleanupArgs;
use super::config::ConfigCommand;
use super::discard::DiscardArgs;
use super::edit::EditArgs;
use super::export::ExportArgs;
use super::history::HistoryArgs;
use super::reload::ReloadArgs;
use super::statistics::StatsArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Keeps failed synchronisations on disk and delivers them when the line is back.
#[derive(Debug, Parser)]
#[command(name = "resyncd", version, about, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// Without one, the status in three lines.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The same with one command, and no help of its own.
#[derive(Debug, Parser)]
#[command(name = "resyncd", disable_help_subcommand = true, disable_help_flag = true)]
struct Daemon {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Only,
}

#[derive(Debug, Subcommand)]
enum Only {
    Run(RunArgs),
}

impl Cli {
    /// What was typed. A start of the daemon is read without a description of thirty other commands, which
    /// would be touched for nothing and stay in its memory; the whole one decides where that does not do.
    pub fn read(typed: &[OsString]) -> Result<Self, clap::Error> {
        if typed.iter().any(|word| word == "run")
            && let Ok(Daemon { global, command: Only::Run(run) }) = Daemon::try_parse_from(typed)
        {
            return Ok(Self { global, command: Some(Command::Run(run)) });
        }
        Self::try_parse_from(typed)
    }
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Configuration file [default: /etc/resyncd/resyncd.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "RESYNCD_CONFIG")]
    pub config: Option<PathBuf>,
    /// The agent's socket for applications
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The agent's socket for root and its own user
    #[arg(long, global = true, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// One JSON object a line, with the protocol's names
    #[arg(long, global = true)]
    pub json: bool,
    /// Only answers and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent, in the foreground
    Run(RunArgs),
    /// Show the whole story in a temporary directory, in about 15 seconds
    Demo(DemoArgs),
    /// Record a failure, or `-`: requests as JSON lines from standard input
    Record(RecordArgs),
    /// Show what would be sent for a failure, and with --send how the answer is understood
    Try(TryArgs),
    /// What is waiting, what is stuck, what to do next
    Status,
    /// The same as a live screen, with the failures; shows one, sends it again, holds it
    Top,
    /// How it stands and what happened in a month, as one page for a ticket
    Report(super::report::ReportArgs),
    /// What is wrong now, and what was in the last 24 hours
    Alerts,
    /// Failures that are not delivered
    List(ListArgs),
    /// Bring failures in: export or archive lines, or rows of the server-side table
    Import(super::import::ImportArgs),
    /// One failure: why it is where it is, and all tries
    Show(ShowArgs),
    /// A consistent copy of the database, beside a running agent too
    Backup(BackupArgs),
    /// Health for a monitoring system (Nagios plugin); --closing: may the till be closed?
    Check(CheckArgs),
    /// Look at the installation: each thing is well, or what to do
    Doctor,
    /// Figures for a monitoring system, as Prometheus reads them
    Metrics,
    /// Those that need a person, newest first
    Critical,
    /// What was tried and done: of a failure, an entity, or since a time
    History(HistoryArgs),
    /// How many of what kind, and what became of them
    Stats(StatsArgs),
    /// Put a failure right: its payload, or what it is about
    Edit(EditArgs),
    /// Send failures again now
    Retry(RetryArgs),
    /// Stop failures from being sent until they are released
    Hold(BulkArgs),
    /// Send what was held when its turn comes
    Release(BulkArgs),
    /// Give failures up for good; they are archived
    Discard(DiscardArgs),
    /// Have old failures that need a person leave for the archive, now instead of within the hour
    Cleanup(CleanupArgs),
    /// Try now what is pending; passes no gate
    #[command(visible_alias = "send-now")]
    Flush(UpstreamArgs),
    /// Stop sending, to one upstream or all
    Pause(UpstreamArgs),
    /// End a pause and try at once
    Resume(UpstreamArgs),
    /// Write failures that are not delivered as JSON lines
    Export(ExportArgs),
    /// Print completions for a shell
    Completions(super::manual::CompletionsArgs),
    /// Write the manual pages into a directory
    Man(super::manual::ManArgs),
    /// Take over a changed configuration without a restart
    Reload(ReloadArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `run`
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Where the database is
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Deliver everything to this URL
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// error, warn, info, debug
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the agent running and print how to reach it
    #[arg(long)]
    pub keep: bool,
}

/// `record`
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// `-`: one request a line from standard input, one reply line each
    #[arg(value_name = "-", value_parser = ["-"])]
    pub stream: Option<String>,
    /// Entity type: SALE, RETURN, …
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "stream")]
    pub entity_type: Option<String>,
    /// Entity id
    #[arg(long, value_name = "ID", required_unless_present = "stream")]
    pub entity: Option<String>,
    /// CREATE, UPDATE, DELETE, …
    #[arg(long, value_name = "ACTION", required_unless_present = "stream")]
    pub action: Option<String>,
    /// What went wrong; may be left out with --now
    #[arg(long, value_name = "TEXT")]
    pub error: Option<String>,
    /// The status that the application's own try got; 0 for no answer
    #[arg(long, value_name = "N")]
    pub http_status: Option<u16>,
    /// What was to be sent; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub payload_file: Option<PathBuf>,
    /// Idempotency key: the same key again is the same failure
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Failures with the same one are delivered in order
    #[arg(long, value_name = "KEY")]
    pub order_key: Option<String>,
    /// Send it now, there was no try yet
    #[arg(long)]
    pub now: bool,
}

/// `try`
#[derive(Debug, Args)]
pub struct TryArgs {
    /// Entity type: SALE, RETURN, …
    #[arg(long = "type", value_name = "TYPE")]
    pub entity_type: String,
    /// Entity id
    #[arg(long, value_name = "ID")]
    pub entity: String,
    /// CREATE, UPDATE, DELETE, …
    #[arg(long, value_name = "ACTION")]
    pub action: String,
    /// What is to be sent; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub payload_file: Option<PathBuf>,
    /// Idempotency key; default: a new id
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Really send it, and tell the answer and what it would mean
    #[arg(long)]
    pub send: bool,
    /// Print the request as a curl command
    #[arg(long)]
    pub curl: bool,
}

/// Which failures are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Filters {
    /// pending, held or critical
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Entity type
    #[arg(long = "type", value_name = "TYPE")]
    pub entity_type: Option<String>,
    /// Entity id
    #[arg(long, value_name = "ID")]
    pub entity: Option<String>,
    /// Action
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Upstream
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// Class of the last counted try
    #[arg(long, value_name = "CLASS")]
    pub error_class: Option<String>,
    /// Recorded then or later
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Recorded before
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// `list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub filters: Filters,
    /// Order key, where one was given
    #[arg(long, value_name = "KEY")]
    pub order_key: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Go on behind the last page
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// asc: oldest first, desc: newest first
    #[arg(long, value_name = "ORDER")]
    pub order: Option<String>,
    /// With payloads; only with --json
    #[arg(long)]
    pub payload: bool,
}

/// `show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Number, id, its beginning, or an entity id with one live failure
    pub id: String,
    /// With its payload
    #[arg(long)]
    pub payload: bool,
}

/// `retry`
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Which, who and why.
    #[command(flatten)]
    pub bulk: BulkArgs,
    /// With a fresh budget of retries
    #[arg(long)]
    pub reset: bool,
}

/// What every operation on many failures takes.
#[derive(Debug, Args)]
pub struct BulkArgs {
    /// Numbers or ids; `-` reads them from standard input
    pub ids: Vec<String>,
    /// Which, instead of ids.
    #[command(flatten)]
    pub filters: Filters,
    /// All of them
    #[arg(long)]
    pub all: bool,
    /// Only say how many
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who, for the audit
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `flush`, `pause`, `resume`
#[derive(Debug, Args)]
pub struct UpstreamArgs {
    /// Only this upstream
    pub upstream: Option<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who, for the audit
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_the_daemon_is_read_as_the_whole_command_line_reads_it() {
        let all = ["--socket", "s", "run", "--config", "c", "--state-dir", "d", "--upstream", "u", "--log", "l", "-q"];
        let lines: [&[&str]; 9] = [
            &["run"],
            &all,
            &["run", "--color", "never", "--json", "--admin-socket=a"],
            &["--config", "run", "status"],
            &["list", "--type", "run"],
            &["run", "--help"],
            &["run", "run"],
            &["run", "--nonsense"],
            &["--version", "run"],
        ];
        for line in lines {
            let typed: Vec<OsString> = ["resyncd"].iter().chain(line).map(OsString::from).collect();
            let said = |read: Result<Cli, clap::Error>| read.map_err(|wrong| wrong.to_string());
            let (read, whole) = (said(Cli::read(&typed)), said(Cli::try_parse_from(&typed)));
            assert_eq!(format!("{read:?}"), format!("{whole:?}"), "{line:?}");
        }
    }
}
