//! `export`: live failures as JSON lines, in the order of their numbers, for a backup, another
//! terminal, or a program.
//!
//! It asks page by page and writes each as it comes, so it needs the same memory for ten failures
//! and for a million, and holds up nobody. What is recorded meanwhile comes last.

use super::Failure;
use super::args::{Filters, Global};
use super::list::filter;
use super::session::Session;
use crate::limits::MAX_PAGE;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};

/// `export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Which; without any: all.
    #[command(flatten)]
    pub filters: Filters,
    /// Order key, where one was given
    #[arg(long, value_name = "KEY")]
    pub order_key: Option<String>,
}

/// A page of `list`, each failure as the agent wrote it.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    failures: Vec<&'a RawValue>,
    next: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: &ExportArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = filter(&args.filters);
    for (name, value) in [("op", json!("list")), ("payload", json!(true)), ("total", json!(false))] {
        request.insert(name.to_owned(), value);
    }
    request.insert("limit".into(), json!(MAX_PAGE));
    if let Some(key) = &args.order_key {
        request.insert("order_key".into(), json!(key));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        let reply = session.ask(&Value::Object(request.clone()))?.line;
        let page: Page = serde_json::from_slice(&reply)
            .map_err(|error| Failure::Failed(format!("the agent's page cannot be read: {error}")))?;
        for failure in page.failures {
            writeln!(out, "{}", failure.get())?;
        }
        out.flush()?;
        match page.next {
            Some(next) => drop(request.insert("after".into(), json!(next))),
            None => return Ok(()),
        }
    }
}
