//! The filter typed after `/`: which failures the live screen shows.
//!
//! `name=value` filters like the option `--name` of `list`, and so does a status alone; the agent applies these to all
//! its failures. Other words are searched in the displayed text of a failure, among the first thousand of each status.

use crate::cli::args::Filters;
use crate::cli::choose;
use crate::cli::render::sanitize;
use crate::figures::ByStatus;
use crate::figures::snapshot::Failure;
use crate::limits::{DEFAULT_PAGE, MAX_PAGE};
use crate::text::top as text;
use serde_json::{Map, Value, json};

/// Number of rows fetched for each status without a word to search for.
const ROWS: usize = 4 * DEFAULT_PAGE;
const STATUSES: [&str; 3] = ["critical", "held", "pending"];

/// A parsed filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RowFilter {
    /// The original text.
    pub(super) typed: String,
    /// The agent's part, with the protocol's names.
    fields: Map<String, Value>,
    /// The words to search for in the rows, in lower case.
    words: Vec<String>,
}

impl RowFilter {
    /// Parses the text; an error lists what is possible.
    pub(super) fn parse(typed: &str) -> Result<Self, String> {
        let mut filters = Filters::default();
        let mut words = Vec::new();
        for word in typed.split_whitespace() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) if !value.is_empty() => (name, value),
                None if STATUSES.contains(&word) => ("status", word),
                None => {
                    words.push(word.to_lowercase());
                    continue;
                }
                Some(_) => return Err(text::no_value(word)),
            };
            let field = match name {
                "status" if !STATUSES.contains(&value) => {
                    return Err(text::statuses(&STATUSES.join(", ")));
                }
                "status" => &mut filters.status,
                "type" => &mut filters.which.entity_type,
                "entity" => &mut filters.which.entity,
                "action" => &mut filters.which.action,
                "upstream" => &mut filters.which.upstream,
                "class" | "error-class" => &mut filters.error_class,
                "since" => &mut filters.since,
                "until" => &mut filters.until,
                _ => return Err(text::unknown_name(name)),
            };
            *field = Some(value.to_owned());
        }
        let fields = choose::filter(&filters).map_err(|failure| failure.to_string())?;
        Ok(Self { typed: typed.trim().to_owned(), fields, words })
    }

    /// Returns whether the filter matches everything.
    pub(super) fn is_open(&self) -> bool {
        self.fields.is_empty() && self.words.is_empty()
    }

    /// The queries that return the rows, critical and held ones first; none for a status without failures.
    pub(super) fn questions(&self, live: ByStatus) -> Vec<Value> {
        let is_any = |status: &str| live.named().iter().any(|(name, number)| *name == status && *number > 0);
        let asked = |status: &&str| {
            is_any(status) && self.fields.get("status").is_none_or(|only| only.as_str() == Some(*status))
        };
        let limit = if self.words.is_empty() { ROWS } else { MAX_PAGE };
        let question = |status: &str| {
            let mut question = Value::Object(self.fields.clone());
            question["op"] = json!("list");
            question["status"] = json!(status);
            question["limit"] = json!(limit);
            // The newest critical ones, as `critical` shows them; of the others the next.
            question["order"] = json!(if status == "critical" { "desc" } else { "asc" });
            question
        };
        STATUSES.into_iter().filter(asked).map(question).collect()
    }

    /// Returns whether the failure contains every word.
    pub(super) fn lets(&self, failure: &Failure) -> bool {
        let Failure { id, entity_type, entity_id, action, state, error, .. } = failure;
        let known = [&failure.order_key, &failure.error_class, &failure.upstream].into_iter().flatten();
        let shown = [id, entity_type, entity_id, action, state, error].into_iter().chain(known);
        let shown: Vec<String> = shown.map(|part| sanitize(part).to_lowercase()).collect();
        let number = failure.seq.to_string();
        self.words.iter().all(|word| shown.iter().any(|part| part.contains(word)) || *word == number)
    }

    /// Returns whether there are words, so that some matches may not be found.
    pub(super) fn looks_at_rows(&self) -> bool {
        !self.words.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(seq: i64) -> Failure {
        Failure { seq, ..Failure::default() }
    }

    #[test]
    fn names_and_statuses_are_the_agents_and_words_are_looked_for() {
        let sieve = RowFilter::parse(" type=SALE critical  Sku 4711 ").expect("a filter");
        let questions = sieve.questions(ByStatus { pending: 1, held: 1, critical: 1 });
        assert_eq!(questions.len(), 1, "only the status that was typed");
        assert_eq!(
            questions[0],
            json!({"op": "list", "entity_type": "SALE", "status": "critical", "limit": 1000, "order": "desc"})
        );
        let refused = Failure { entity_id: "s-4711".into(), error: "HTTP 422: unknown SKU".into(), ..numbered(12) };
        assert!(sieve.lets(&refused));
        assert!(!sieve.lets(&Failure { error: "timed out".into(), ..numbered(4711) }));
        assert!(RowFilter::parse("12").expect("a filter").lets(&refused), "a number names a failure");
        assert!(!RowFilter::parse("2").expect("a filter").lets(&numbered(12)), "a whole one");
        let ordered = Failure { order_key: Some("Till-3".into()), ..numbered(1) };
        assert!(RowFilter::parse("till-3").expect("a filter").lets(&ordered), "what may be missing is looked at too");
    }

    #[test]
    fn what_there_is_nothing_of_is_not_asked_for() {
        let open = RowFilter::parse("").expect("a filter");
        assert!(open.is_open() && open.lets(&numbered(1)));
        let asked = open.questions(ByStatus { pending: 1, held: 0, critical: 1 });
        let statuses: Vec<&str> = asked.iter().filter_map(|question| question["status"].as_str()).collect();
        assert_eq!(statuses, ["critical", "pending"]);
    }

    #[test]
    fn a_wrong_filter_says_what_would_be_right() {
        for (typed, says) in [
            ("kind=SALE", "type entity action"),
            ("status=lost", "critical, held, pending"),
            ("type=", "no value"),
            ("since=yesterday", "expected a time"),
        ] {
            let said = RowFilter::parse(typed).expect_err(typed);
            assert!(said.contains(says), "{typed}: {said}");
        }
    }
}
