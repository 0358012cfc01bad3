//! `export`: live failures as JSON lines, in the order of their numbers, for a backup, another terminal, or a program.
//!
//! It reads page by page and writes each as it comes, so its memory does not depend on the number of failures, and it
//! blocks no other client. Failures recorded meanwhile come last.

use super::Failure;
use super::args::{Filters, Global};
use super::choose::filter;
use super::session::Session;
use crate::limits::MAX_PAGE;
use crate::text::record as text;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};

/// `export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Selects the failures; without filters, all.
    #[command(flatten)]
    pub filters: Filters,
    /// Order key, where one was given
    #[arg(long, value_name = "KEY")]
    pub order_key: Option<String>,
}

/// A page of `list`, with each failure's text unchanged.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    failures: Vec<&'a RawValue>,
    next: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: &ExportArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = filter(&args.filters)?;
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
        let page: Page =
            serde_json::from_slice(&reply).map_err(|error| Failure::Failed(text::unreadable_page(error)))?;
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
