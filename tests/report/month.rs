//! A month of a terminal, with a fixed seed: daily business, outages of every kind, operators' actions,
//! and hostile input. It ends now, while the upstream is unreachable and an operator is needed.

use crate::terminal::{Terminal, answered, refused};
use fastrand::Rng;
use resyncd::moment::WallTime;
use resyncd::policy::ending::Ending;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60;
const MONTH: i64 = 30 * DAY;

/// The worst contents of an entity id, an error or a payload.
pub(crate) const HOSTILE: &str =
    "\"><script>alert('id')</script><img src=x onerror=alert(1)>\u{202e}${7*7}{{7*7}}&amp;</svg></style>";
/// … in an id, which may hold no control character.
const HOSTILE_ID: &str =
    "x\"><script>document.title=1</script><img src=https://evil.example/x onerror=document.title=1>\u{202e}";

/// Minutes of the month in which the upstream was unreachable.
const OFFLINE: [(i64, i64); 9] = [
    (2 * DAY + 610, 2 * DAY + 655),
    (5 * DAY + 1020, 5 * DAY + 1200),
    (9 * DAY + 480, 10 * DAY + 545),
    (13 * DAY + 700, 13 * DAY + 712),
    (16 * DAY + 900, 16 * DAY + 1085),
    (21 * DAY + 540, 21 * DAY + 780),
    (26 * DAY + 1000, 26 * DAY + 1045),
    (MONTH - 620, MONTH - 470),
    (MONTH - 34, MONTH),
];
/// … in which the credentials had expired, and in which it was overloaded.
const EXPIRED: (i64, i64) = (18 * DAY + 500, 18 * DAY + 800);
const OVERLOADED: (i64, i64) = (24 * DAY + 660, 24 * DAY + 740);

fn office(at_ms: i64, body: Option<&str>) -> Ending {
    let minute = at_ms / MINUTE;
    let within = |(from, to): (i64, i64)| (from..to).contains(&minute);
    if OFFLINE.into_iter().any(within) {
        return refused();
    }
    let Some(body) = body else { return answered(200, "") };
    match minute {
        _ if within(EXPIRED) => answered(401, r#"{"message":"token expired"}"#),
        _ if within(OVERLOADED) => answered(503, ""),
        _ if body.contains("hostile") => answered(422, &json!({"message": HOSTILE}).to_string()),
        _ if body.contains("unknown-sku") => {
            answered(422, &json!({"message": format!("unknown SKU {}", 4700 + minute % 50)}).to_string())
        }
        _ if body.contains("breaks-it") => answered(500, r#"{"message":"NullPointerException in InvoiceMapper:217"}"#),
        _ => answered(201, r#"{"id":"ok"}"#),
    }
}

/// Writes the month into a directory: the database of an agent that has stopped.
pub(crate) fn write(dir: &Path, now: WallTime) {
    let born = now.before(Duration::from_secs(30 * 24 * 3600));
    let mut rng = Rng::with_seed(8);
    let mut till = Till { terminal: Terminal::new(dir, born, office), sold: 0 };
    till.terminal.agent.keep_watch(till.terminal.now());
    let mut deeds = deeds();
    for minute in (0..MONTH).step_by(2) {
        till.terminal.at_ms = minute * MINUTE;
        let open = (480..1200).contains(&(minute % DAY)) || minute > MONTH - 40;
        let away = office(till.terminal.at_ms, None) == refused();
        // During an outage every sale is recorded, and otherwise only what the application's own attempt lost.
        let share = match (open, away) {
            (false, _) => 0.0,
            (true, true) => 0.45,
            (true, false) => 0.03,
        };
        if rng.f64() < share {
            till.sell(&mut rng, away);
        }
        till.strange(minute);
        while deeds.last().is_some_and(|(at, _)| *at <= minute) {
            let (_, request) = deeds.pop().expect("there is one");
            let reply = till.terminal.ask(&request);
            assert_eq!(reply["ok"], true, "{request}: {reply}");
        }
        till.terminal.pass(2);
    }
    till.terminal.stop();
}

/// The operators' actions, the last first.
fn deeds() -> Vec<(i64, Value)> {
    let mut deeds = vec![
        (3 * DAY + 700, json!({"op": "pause", "reason": "head office moves its database", "by": "mkl"})),
        (3 * DAY + 820, json!({"op": "resume", "reason": "moved"})),
        (8 * DAY + 600, json!({"op": "retry", "filter": {"status": "critical"}, "reason": "the SKUs are there now"})),
        (12 * DAY + 560, json!({"op": "discard", "filter": {"status": "critical"}, "reason": "entered twice"})),
        (18 * DAY + 802, json!({"op": "resume", "reason": "new token"})),
        (
            22 * DAY + 600,
            json!({"op": "retry", "filter": {"status": "critical"}, "reason": "InvoiceMapper is repaired"}),
        ),
        (MONTH - 308, json!({"op": "hold", "filter": {"entity_id": "wrong-till"}, "reason": HOSTILE})),
    ];
    deeds.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    deeds
}

struct Till {
    terminal: Terminal,
    sold: u32,
}

impl Till {
    fn record(&mut self, request: &Value) {
        let reply = self.terminal.ask(request);
        assert_eq!(reply["ok"], true, "{request}: {reply}");
    }

    fn sell(&mut self, rng: &mut Rng, away: bool) {
        self.sold += 1;
        let (kind, action) = match rng.u8(..10) {
            0..6 => ("SALE", "CREATE"),
            6 => ("RETURN", "CREATE"),
            7 => ("STOCK", "UPDATE"),
            8 => ("CUSTOMER", "UPDATE"),
            _ => ("PAYMENT", "CREATE"),
        };
        let error = if away { "connect ECONNREFUSED 10.0.4.1:443" } else { "HTTP 503: Service Unavailable" };
        self.record(&json!({
            "op": "record", "entity_type": kind, "entity_id": format!("{}-{:05}", kind.to_lowercase(), self.sold),
            "action": action, "error": error, "payload": {"total": rng.u32(100..9000)}
        }));
    }

    /// Unusual failures, each at its time.
    fn strange(&mut self, minute: i64) {
        let now = |kind: &str, entity: &str, action: &str, payload: &str| {
            json!({"op": "record", "entity_type": kind, "entity_id": entity, "action": action, "retry": "now",
                   "error": "not sent yet", "payload": {"note": payload}})
        };
        let days = [7, 11, 19, 25, 28];
        if days.iter().any(|day| minute == day * DAY + 660) {
            self.record(&now("RETURN", &format!("r-{minute}"), "CREATE", "unknown-sku"));
        }
        if [17, 20, 29].iter().any(|day| minute == day * DAY + 630) {
            self.record(&now("INVOICE", &format!("i-{minute}"), "CREATE", "breaks-it"));
        }
        if minute == MONTH - 1200 {
            self.record(&now("RETURN", HOSTILE_ID, "CREATE", "hostile"));
            for n in 0..12 {
                self.record(&now("RETURN", HOSTILE_ID, "UPDATE", &format!("behind it {n}")));
            }
        }
        if minute == MONTH - 310 {
            self.record(&json!({"op": "record", "entity_type": "SALE", "entity_id": "wrong-till", "action": "CREATE",
                                "error": "HTTP 409: another till", "payload": HOSTILE}));
        }
    }
}
