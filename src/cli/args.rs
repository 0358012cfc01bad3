//! Defines the command line as typed. The commands interpret it.

use super::payload::PayloadType;
use crate::text::Language;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration file [/etc/resyncd/resyncd.toml]
    #[arg(long, global = true, value_name = "FILE", env = "RESYNCD_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
    /// The agent's socket for applications
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The agent's socket for root and its own user
    #[arg(long, global = true, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Suppress progress output
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Colours: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub color: ColorWhen,
    /// Language: en or es [default: the locale's]
    #[arg(long, global = true, value_name = "LANG", value_parser = languages(), hide_possible_values = true)]
    pub lang: Option<Language>,
}

fn languages() -> impl TypedValueParser<Value = Language> {
    PossibleValuesParser::new(Language::NAMED.map(|(name, _)| name))
        .map(|name| Language::parse(&name).expect("only known names are accepted"))
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    // On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    // Always.
    Always,
    // Never.
    Never,
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
    pub error: Option<OsString>,
    /// HTTP status of the application's own attempt; 0 if there was no response
    #[arg(long, value_name = "N")]
    pub http_status: Option<u16>,
    /// What was to be sent; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub payload_file: Option<PathBuf>,
    /// What the file holds [default: json if it is JSON, text if it is UTF-8]
    #[arg(long, value_name = "TYPE", requires = "payload_file")]
    pub payload_type: Option<PayloadType>,
    /// Idempotency key: the same key again is the same failure
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Failures with the same order key are delivered in order
    #[arg(long, value_name = "KEY")]
    pub order_key: Option<String>,
    /// Send it now; there was no attempt yet
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
    /// What the file holds [default: json if it is JSON, text if it is UTF-8]
    #[arg(long, value_name = "TYPE", requires = "payload_file")]
    pub payload_type: Option<PayloadType>,
    /// Idempotency key; default: a new id
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Send the request and show how the response would be classified
    #[arg(long)]
    pub send: bool,
    /// Print the request as a curl command
    #[arg(long)]
    pub curl: bool,
}

/// Selects failures.
#[derive(Clone, Debug, Default, Args)]
pub struct Filters {
    /// pending, held or critical
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// What they are, and where they go.
    #[command(flatten)]
    pub which: Which,
    /// Class of the last counted attempt
    #[arg(long, value_name = "CLASS")]
    pub error_class: Option<String>,
    /// Recorded at or after this time
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Recorded before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// Selects failures, live or delivered, by what they are and where they go.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
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
}

/// `list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Selects the failures.
    #[command(flatten)]
    pub filters: Filters,
    /// Order key, where one was given
    #[arg(long, value_name = "KEY")]
    pub order_key: Option<String>,
    /// Maximum number of failures
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Continue after the last page
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
    /// Number, id, its beginning, or an entity id with one live failure; `id:7` is the id 7
    pub id: String,
    /// With its payload
    #[arg(long)]
    pub payload: bool,
}

/// `retry`
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Selection, operator and reason.
    #[command(flatten)]
    pub bulk: BulkArgs,
    /// With a fresh budget of retries
    #[arg(long)]
    pub reset: bool,
}

/// Arguments of every operation on many failures.
#[derive(Debug, Args)]
pub struct BulkArgs {
    /// Numbers, ids or their beginnings; `id:7` is the id 7; `-` reads them from standard input
    pub ids: Vec<String>,
    /// Filters, instead of ids.
    #[command(flatten)]
    pub filters: Filters,
    /// All of them
    #[arg(long)]
    pub all: bool,
    /// Only show how many failures match
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
