//! A failure as one portable line: the export line, and the archive line of one that left the table. `import` reads
//! export lines and the archive lines of undelivered failures, `replay` those of delivered ones.
//!
//! An export line is what `list` shows to root, with the payload. An archive line also states how and when the
//! failure left, and by whom it was removed or how it was delivered.

use super::reply::FailureView;
use crate::ids::FailureId;
use crate::moment::WallTime;
use crate::question::View;
use crate::record::{Disposition, Failure};
use serde::Serialize;

/// The additional fields of an archive line.
#[derive(Clone, Copy, Debug)]
pub struct RemovalRecord<'a> {
    /// Time of the removal.
    pub at: WallTime,
    /// How it was removed.
    pub how: Disposition,
    /// The user who did it; `None` for the agent itself.
    pub actor_uid: Option<u32>,
    /// Name of that user.
    pub actor_name: Option<&'a str>,
    /// The person that the user claimed to act for; not verified.
    pub claimed_by: Option<&'a str>,
    /// The reason.
    pub reason: Option<&'a str>,
}

/// The additional fields of the archive line of a delivered failure.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Time of the acceptance.
    pub at: WallTime,
    /// Number of the accepted attempt.
    pub attempts: u32,
    /// The database that assigned its number.
    pub instance: &'a str,
    /// The application's key, if an edit has replaced it.
    pub recorded_key: Option<&'a str>,
}

/// A live failure with its derived state, and the head that blocks it; with the line's end.
#[must_use]
pub fn export_line(failure: &Failure, state: &str, blocked_by: Option<&FailureId>) -> Vec<u8> {
    ended(&whole(failure, state, blocked_by))
}

/// The same for a failure that is removed.
#[must_use]
pub fn archive_line(
    failure: &Failure,
    state: &str,
    blocked_by: Option<&FailureId>,
    departure: &RemovalRecord<'_>,
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

/// The same of one that was delivered, with what a replay needs to make it again what it was.
#[must_use]
pub fn delivered_line(failure: &Failure, delivery: &Delivery<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Delivered<'a> {
        #[serde(flatten)]
        failure: FailureView<'a>,
        left_at: String,
        outcome: &'a str,
        attempts: u32,
        instance: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        recorded_key: Option<&'a str>,
    }
    let outcome = Disposition::Delivered.as_str();
    ended(&Delivered {
        failure: whole(failure, outcome, None),
        left_at: delivery.at.rfc3339(),
        outcome,
        attempts: delivery.attempts,
        instance: delivery.instance,
        recorded_key: delivery.recorded_key,
    })
}

fn whole<'a>(failure: &'a Failure, state: &'a str, blocked_by: Option<&'a FailureId>) -> FailureView<'a> {
    let view = FailureView::new(failure, state, blocked_by, View::Admin).with_payload(failure);
    FailureView { attempts: None, ..view }
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
        let departure = RemovalRecord {
            at: WallTime::from_millis(1_795_500_754_123),
            how: Disposition::Discarded,
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
