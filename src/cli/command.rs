//! The command line as a whole: every command, in the groups of `--help`.

use super::args::{
    BulkArgs, DemoArgs, Global, ListArgs, RecordArgs, RetryArgs, RunArgs, ShowArgs, TryArgs, UpstreamArgs,
};
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
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::fmt::Write as _;

/// Stores failed synchronisations and delivers them once the server is reachable again.
#[derive(Debug, Parser)]
#[command(name = "resyncd", version, about, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// Without a command, the status is shown in three lines.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The command line with one command, and no help of its own.
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
    /// Parses the command line. For `run` it uses a definition without the thirty other commands, so that their
    /// descriptions do not stay in the daemon's memory; if that does not suffice, the complete definition decides.
    pub fn read(typed: &[OsString]) -> Result<Self, clap::Error> {
        if typed.iter().any(|word| word == "run")
            && let Ok(Daemon { global, command: Only::Run(run) }) = Daemon::try_parse_from(typed)
        {
            return Ok(Self { global, command: Some(Command::Run(run)) });
        }
        let matches = grouped_help().try_get_matches_from(typed)?;
        Self::from_arg_matches(&matches)
    }
}

/// The commands as `--help` lists them: inspection first, then repair.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Look", &["status", "top", "list", "critical", "show", "history", "stats", "alerts", "report"]),
    ("Repair", &["retry", "edit", "hold", "release", "discard", "replay"]),
    ("Operate", &["check", "doctor", "pause", "resume", "flush", "reload", "cleanup", "metrics"]),
    ("Move", &["record", "export", "import", "backup"]),
    ("Set up", &["run", "demo", "try", "config", "completions", "man"]),
];

/// The command line with its commands in groups; clap itself lists them in one column.
fn grouped_help() -> clap::Command {
    let command = Cli::command();
    let mut groups = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(groups, "{title}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let _ = writeln!(groups, "  {name:<12} {}", about.map(ToString::to_string).unwrap_or_default());
        }
        groups.push('\n');
    }
    let start = "Start with: resyncd, resyncd list, resyncd show NUMBER, resyncd doctor";
    command.mut_subcommands(|subcommand| subcommand.hide(true)).help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{{all-args}}\n\n{start}"
    ))
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent, in the foreground
    Run(RunArgs),
    /// Run a self-contained demo in a temporary directory (about 15 s)
    Demo(DemoArgs),
    /// Record a failure, or `-`: JSON lines from standard input
    Record(RecordArgs),
    /// Show the request that would be sent; --send: and its result
    Try(TryArgs),
    /// Show what is waiting, what is stuck and what to do next
    Status,
    /// Watch status and failures live
    Top,
    /// Write a one-page report of the last month
    Report(super::report::ReportArgs),
    /// List active alerts and those of the last 24 hours
    Alerts,
    /// List failures that are not delivered
    List(ListArgs),
    /// Import export lines, archive lines or rows of the server table
    Import(super::import::ImportArgs),
    /// Send delivered failures again (head office restored a backup)
    Replay(super::replay::ReplayArgs),
    /// Show one failure, its state and all attempts
    Show(ShowArgs),
    /// Copy the database consistently, even while the agent runs
    Backup(BackupArgs),
    /// Report health (Nagios plugin); --closing: can the till be closed?
    Check(CheckArgs),
    /// Check the installation and suggest fixes
    Doctor,
    /// Print metrics in Prometheus text format
    Metrics,
    /// List failures that need a person, newest first
    Critical,
    /// Show the attempts and operator actions of a failure or period
    History(HistoryArgs),
    /// Count failures by type and outcome
    Stats(StatsArgs),
    /// Edit a failure's payload, entity or action
    Edit(EditArgs),
    /// Send failures again now
    Retry(RetryArgs),
    /// Put failures on hold until they are released
    Hold(BulkArgs),
    /// Release failures that are on hold
    Release(BulkArgs),
    /// Discard failures permanently (they are archived)
    Discard(DiscardArgs),
    /// Archive expired critical failures now
    Cleanup(CleanupArgs),
    /// Attempt all pending failures now; overrides no pause or limit
    #[command(visible_alias = "send-now")]
    Flush(UpstreamArgs),
    /// Stop sending, to one upstream or all
    Pause(UpstreamArgs),
    /// End a pause and send again at once
    Resume(UpstreamArgs),
    /// Write failures that are not delivered as JSON lines
    Export(ExportArgs),
    /// Print completions for a shell
    Completions(super::manual::CompletionsArgs),
    /// Write the manual pages into a directory
    Man(super::manual::ManArgs),
    /// Apply a changed configuration without a restart
    Reload(ReloadArgs),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
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

    #[test]
    fn every_command_is_in_one_group_of_the_help() {
        let command = Cli::command();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        grouped.sort_unstable();
        let mut all: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        all.sort_unstable();
        assert_eq!(grouped, all);
    }

    #[test]
    fn own_options_come_before_the_global_ones_in_80_columns() {
        let mut command = grouped_help().term_width(80);
        let help = command.render_help().to_string();
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        assert!(
            help.find("\nRepair:").expect("a group") < help.find("\nGlobal options:").expect("a heading"),
            "{help}"
        );
        let list = command.find_subcommand_mut("list").expect("a command");
        list.build();
        let help = list.render_help().to_string();
        assert!(help.find("--status").expect("its own") < help.find("--json").unwrap_or(usize::MAX), "{help}");
    }
}
