//! JSON forms of alerts: the `alerts` reply, which is also the content of the state file; the notice that a command
//! gets; the current state that is posted.

use crate::moment::WallTime;
use crate::policy::alert::{Alert, Notice};
use serde::Serialize;

/// The reply to `alerts`.
#[derive(Clone, Debug, Serialize)]
pub struct AlertsReply<'a> {
    pub alerts: Vec<AlertView<'a>>,
}

impl<'a> AlertsReply<'a> {
    /// The given alerts, active ones first, each group newest first.
    #[must_use]
    pub fn of(alerts: &'a [Alert]) -> Self {
        let mut alerts: Vec<&Alert> = alerts.iter().collect();
        alerts.sort_by_key(|alert| (!alert.active, std::cmp::Reverse((alert.changed_at, alert.since))));
        Self { alerts: alerts.into_iter().map(AlertView::of).collect() }
    }
}

/// An alert as shown.
#[derive(Clone, Debug, Serialize)]
pub struct AlertView<'a> {
    pub kind: &'static str,
    pub subject: Option<&'a str>,
    pub active: bool,
    pub since: String,
    pub cleared_at: Option<String>,
    pub message: &'a str,
}

impl<'a> AlertView<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            kind: alert.kind.as_str(),
            subject: Some(alert.subject.as_str()).filter(|subject| !subject.is_empty()),
            active: alert.active,
            since: alert.since.rfc3339(),
            cleared_at: alert.cleared_at.map(WallTime::rfc3339),
            message: &alert.message,
        }
    }
}

/// The terminal of the alerts, for receivers with many terminals.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sender<'a> {
    pub terminal_id: &'a str,
    pub store_id: Option<&'a str>,
    pub version: &'static str,
}

/// A notice as JSON: the changes of one kind.
#[must_use]
pub fn notice(sender: Sender, at: WallTime, notice: &Notice) -> Vec<u8> {
    told(sender, at, Some(notice.kind.as_str()), notice.alerts.iter().map(AlertView::of).collect())
}

/// The current state as JSON: active alerts, and recently ended ones.
#[must_use]
pub fn present(sender: Sender, at: WallTime, alerts: &[Alert]) -> Vec<u8> {
    told(sender, at, None, AlertsReply::of(alerts).alerts)
}

fn told(sender: Sender, at: WallTime, kind: Option<&str>, alerts: Vec<AlertView>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Told<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<&'a str>,
        at: String,
        #[serde(flatten)]
        sender: Sender<'a>,
        alerts: Vec<AlertView<'a>>,
    }
    let told = Told { kind, at: at.rfc3339(), sender, alerts };
    let mut text = serde_json::to_vec(&told).expect("texts and truths have their JSON");
    text.push(b'\n');
    text
}
