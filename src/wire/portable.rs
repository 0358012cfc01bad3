//! A failure as one line that can be carried away: the export line, and the archive line of one that
//! left undelivered (`spec/07`). `import` reads both back.
//!
//! An export line is what `list` shows to root, with the payload. An archive line says beside it how
//! and when it left, and who did it.

use super::reply::FailureView;
use crate::ids::FailureId;
use crate::moment::WallTime;
use crate::question::View;
use crate::record::{Failure, Leaving};
use serde::Serialize;

/// What an archive line adds.
#[derive(Clone, Copy, Debug)]
pub struct Departure<'a> {
    /// When it left.
    pub at: WallTime,
    /// How.
    pub how: Leaving,
    /// The user who did it; `None`: the agent itself.
    pub actor_uid: Option<u32>,
    /// Its name.
    pub actor_name: Option<&'a str>,
    /// Whom it says it acted for: not proven.
    pub claimed_by: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
}

/// A live failure in its derived state, and the head that blocks it; with the line's end.
#[must_use]
pub fn export_line(failure: &Failure, state: &str, blocked_by: Option<&FailureId>) -> Vec<u8> {
    ended(&whole(failure, state, blocked_by))
}

/// The same of a failure that leaves.
#[must_use]
pub fn archive_line(
    failure: &Failure,
    state: &str,
    blocked_by: Option<&FailureId>,
    departure: &Departure<'_>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Archived<'a> {
        #[serde(flatten)]
        failure: FailureView<'a>,
        left_at: String,
        outcome: &'a str,
        actor_uid: Option<u32>,
        actor_name: Option<&'a str>,
        claimed_by: Option<&'a str>,
        reason: Option<&'a str>,
    }
    ended(&Archived {
        failure: whole(failure, state, blocked_by),
        left_at: departure.at.rfc3339(),
        outcome: departure.how.as_str(),
        actor_uid: departure.actor_uid,
        actor_name: departure.actor_name,
        claimed_by: departure.claimed_by,
        reason: departure.reason,
    })
}

fn whole<'a>(failure: &'a Failure, state: &'a str, blocked_by: Option<&'a FailureId>) -> FailureView<'a> {
    FailureView::new(failure, state, blocked_by, View::Admin).with_payload(failure)
}

fn ended(line: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).expect("a struct of numbers and texts has its JSON");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PayloadKind;
    use crate::wire::envelope::tests::failure;

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).expect("JSON is UTF-8")
    }

    #[test]
    fn an_export_line_is_one_line_with_the_payload_as_a_string() {
        let failure = failure(Some(("{\"total\": 12.50,\n \"big\":12345678901234567890}", PayloadKind::Json)));
        let line = text(export_line(&failure, "due", None));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.starts_with(r#"{"id":"019a","seq":7,"entity_type":"SALE","entity_id":"s 1\r\nX: y","#), "{line}");
        assert!(line.contains(r#""payload":"{\"total\": 12.50,\n \"big\":12345678901234567890}""#), "{line}");
        for field in ["payload_kind\":\"json", "status\":\"pending", "state\":\"due", "source_uid\":", "source_pid\":"]
        {
            assert!(line.contains(&format!("\"{field}")), "{field} in {line}");
        }
        assert!(!line.contains("\"ok\"") && !line.contains("left_at"), "{line}");
    }

    #[test]
    fn an_archive_line_goes_on_where_the_export_line_ends() {
        let failure = failure(None);
        let departure = Departure {
            at: WallTime::from_millis(1_795_500_754_123),
            how: Leaving::Discarded,
            actor_uid: Some(0),
            actor_name: Some("root"),
            claimed_by: Some("anna"),
            reason: Some("entered twice"),
        };
        let export = text(export_line(&failure, "critical", None));
        let line = text(archive_line(&failure, "critical", None, &departure));
        let rest = line.strip_prefix(export.trim_end_matches("}\n")).expect("the same beginning");
        assert_eq!(
            rest,
            ",\"left_at\":\"2026-11-24T06:12:34.123Z\",\"outcome\":\"discarded\",\"actor_uid\":0,\"actor_name\":\"root\",\
             \"claimed_by\":\"anna\",\"reason\":\"entered twice\"}\n"
        );
    }
}
