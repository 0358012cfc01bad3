//! Made-up screens, as text. Times of day are masked, because the machine may be in any time zone.

use super::*;
use crate::cli::top::keys::Key;
use crate::cli::top::poller::News;
use crate::figures::ByStatus;
use crate::figures::snapshot::{Alert, Snapshot};
use crate::figures::told::{PointView, SeriesReply, TallyView};
use crate::text::Language;

fn now() -> WallTime {
    at("2026-11-24T06:30:00Z").expect("a time")
}

fn at(text: &str) -> Option<WallTime> {
    WallTime::parse(text)
}

fn failure(seq: i64, status: &str, error: &str) -> Failure {
    Failure {
        id: format!("id-{seq}"),
        seq,
        entity_type: "SALE".into(),
        entity_id: format!("s-{seq}"),
        action: "CREATE".into(),
        status: status.into(),
        state: if status == "pending" { "due" } else { status }.into(),
        retry_count: 1,
        created_at: at("2026-11-24T05:42:00.000Z"),
        error: error.into(),
        ..Failure::default()
    }
}

fn bad_day() -> Seen {
    let upstream = |name: &str, state: &str, next: Option<&str>, reason: Option<&str>| Upstream {
        name: name.into(),
        state: state.into(),
        since: at("2026-11-24T06:10:00.000Z"),
        next_try_at: next.and_then(at),
        reason: reason.map(str::to_owned),
        latency_ms: Some(41),
        ..Upstream::default()
    };
    let critical = failure(7, "critical", "HTTP 422: unknown SKU");
    let blocking = Blocking {
        seq: 7,
        entity_type: "SALE".into(),
        entity_id: "s-7".into(),
        status: "critical".into(),
        waiting: 1050,
        ..Blocking::default()
    };
    let alike = Alike {
        tries: 3,
        class: "refused".into(),
        error: "HTTP 422: unknown SKU".into(),
        last_at: "2026-11-24T06:29:00.000Z".into(),
        seq: 7,
        ..Alike::default()
    };
    let point = |n: u64| PointView {
        at: format!("2026-11-24T06:{:02}:00.000Z", n * 5 % 60),
        pending: n,
        all: TallyView { recorded: 20, delivered: 9, failed: 1, refused: 1, ..TallyView::default() },
        ..PointView::default()
    };
    let mut snapshot = Snapshot { running: true, ..Snapshot::default() };
    snapshot.health.live = ByStatus { pending: 1234, critical: 1, held: 2 };
    snapshot.health.oldest_created_at = at("2026-11-24T05:42:00.000Z");
    snapshot.health.last_delivery_at = at("2026-11-24T06:28:00.000Z");
    snapshot.health.upstreams = vec![
        upstream("erp", "online", None, None),
        upstream("hq", "offline", Some("2026-11-24T06:30:11.001Z"), Some("name lookup fails")),
    ];
    snapshot.critical.failures = vec![critical.clone()];
    (snapshot.digest.blocking, snapshot.digest.errors) = (vec![blocking], vec![alike]);
    snapshot.day = SeriesReply { step_seconds: 300, points: (0..54).map(point).collect() };
    Seen {
        terminal: "till-07".into(),
        snapshot,
        failures: [critical].into_iter().chain((8..40).map(|number| failure(number, "pending", "timed out"))).collect(),
        matching: Some(1237),
    }
}

fn screen(watch: &Watch, size: (usize, usize)) -> Vec<String> {
    draw(watch, now(), watch.seen_at, size).text()
}

fn has(screen: &[String], line: &str) -> bool {
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    screen.iter().any(|one| squeezed(one).contains(line))
}

#[test]
fn everything_stands_on_the_smallest_common_terminal() {
    let watch = Watch::new(bad_day(), Duration::ZERO);
    let screen = screen(&watch, (80, 24));
    for line in [
        "resyncd top till-07",
        "1 NEEDS A PERSON, 1,234 waiting, 2 held (oldest 48 min). Nothing is lost.",
        "Next: resyncd show 7 SALE s-7: 422: unknown SKU",
        "UPSTREAM STATE SINCE NEXT WHY",
        "20 min ago in 0:12 name lookup fails",
        "20 min ago - 41 ms",
        "now pending 1,234 critical 1 held 2 last delivery 2 min ago",
        "oldest waits 48 min: no. 8 SALE s-8 CREATE",
        "pending ▂▂▂▂▃▃▃▃▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇████ most 53 in 4 h",
        "a minute recorded 4.0 delivered 1.8 failed 0.4 (over 10 min)",
        "alerts none",
        "blocks 1 no. 7 SALE s-7, critical: 1,050 wait behind it",
        "errors 1 3 × refused, last 1 min ago (no. 7) HTTP 422: unknown SKU",
        "the first 33 of 1,237 failures",
        "> 7 SALE s-7 CREATE critical 1 48 min - HTTP 422: unknown SKU",
        "arrows choose Enter show r send again h hold / filter ? help q quit",
    ] {
        assert!(has(&screen, line), "{line} is missing:\n{}", screen.join("\n"));
    }
    let place = |word: &str| screen.iter().position(|line| line.starts_with(word)).expect("it is there");
    assert!(place("hq") < place("erp"), "what is shut stands first");
}

#[test]
fn the_same_screen_is_spanish() {
    let watch = Watch::new(bad_day(), Duration::ZERO);
    let screen = Language::Spanish.during(|| screen(&watch, (80, 24)));
    for line in [
        "1 REQUIERE INTERVENCIÓN, 1.234 en espera, 2 retenidas (hasta 48 min).",
        "Siguiente paso: resyncd show 7 SALE s-7: 422: unknown SKU",
        "CENTRAL ESTADO DESDE PRÓXIMO MOTIVO",
        "hace 20 min en 0:12 name lookup fails",
        "ahora en espera 1.234 críticas 1 retenidas 2 entregado hace 2 min",
        "antigua espera desde hace 48 min: n.º 8 SALE s-8 CREATE",
        "máx. 53 en 4 h",
        "por min registradas 4,0 entregadas 1,8 fallidas 0,4 (en 10 min)",
        "alertas nada",
        "bloquea 1 n.º 7 SALE s-7, crítica: 1.050 esperan detrás",
        "errores 1 3 × refused, último hace 1 min (n.º 7) HTTP 422: unknown SKU",
        "las primeras 33 de 1.237 incidencias",
        "> 7 SALE s-7 CREATE crítica",
        "flechas elegir Enter ver r reenviar h retener / filtrar ? ayuda q salir",
    ] {
        assert!(has(&screen, line), "{line} is missing:\n{}", screen.join("\n"));
    }
}

#[test]
fn what_is_chosen_is_shown_on_every_size() {
    let mut watch = Watch::new(bad_day(), Duration::ZERO);
    watch.press(Key::End, (80, 24));
    for (width, height) in (1..130).step_by(7).flat_map(|width| (1..70).map(move |height| (width, height))) {
        let screen = screen(&watch, (width, height));
        assert_eq!(screen.len(), height);
        if width >= 80 && height >= 24 {
            assert!(has(&screen, "> 39 SALE s-39"), "{width} × {height}:\n{}", screen.join("\n"));
        }
    }
}

#[test]
fn silence_is_told_and_what_was_seen_stays() {
    let mut watch = Watch::new(bad_day(), Duration::ZERO);
    watch.hears(News::Silent("no agent answers at /run/admin.sock".into()), Duration::ZERO, 80);
    let screen = draw(&watch, now(), Duration::from_secs(75), (80, 24)).text();
    assert!(has(&screen, "NO ANSWER for 1 min: no agent answers"), "{}", screen.join("\n"));
    assert!(has(&screen, "1 NEEDS A PERSON"));
    watch.hears(News::Seen(Box::new(bad_day())), Duration::ZERO, 80);
    let old = draw(&watch, now(), Duration::from_secs(30), (80, 24)).text();
    assert!(has(&old, "as it was 30 s ago") && !has(&old, "NO ANSWER"));
}

#[test]
fn a_stopped_agent_and_a_missing_upstream_are_told_in_words() {
    let mut seen = bad_day();
    seen.snapshot.running = false;
    assert!(has(&screen(&Watch::new(seen.clone(), Duration::ZERO), (80, 24)), "The agent is not running"));
    seen.snapshot.running = true;
    seen.snapshot.health.upstreams.clear();
    assert!(has(&screen(&Watch::new(seen, Duration::ZERO), (80, 24)), "No upstream is configured"));
}

#[test]
fn what_is_typed_stands_below() {
    let mut watch = Watch::new(bad_day(), Duration::ZERO);
    for key in [Key::Char('r'), Key::Char('x')] {
        watch.press(key, (80, 24));
    }
    let lines = screen(&watch, (80, 24));
    assert_eq!(lines[22], "Send no. 7 SALE s-7 CREATE again now? Enter: yes, Esc: no");
    assert_eq!(lines[23], "Reason, for the audit: x_");
}

#[test]
fn hostile_text_commands_nothing_wherever_it_stands() {
    let hostile = "\x1b]0;owned\x07\u{9b}2J\u{202e}evil\nline";
    let mut seen = bad_day();
    seen.terminal = hostile.into();
    let text = || hostile.to_owned();
    let (entity_type, entity_id, action, state) = (text(), text(), text(), text());
    seen.failures = vec![Failure { entity_type, entity_id, action, state, ..failure(1, "pending", hostile) }];
    seen.snapshot.critical.failures = seen.failures.clone();
    let upstream = &mut seen.snapshot.health.upstreams[1];
    (upstream.name, upstream.reason) = (text(), Some(text()));
    seen.snapshot.alerts.alerts =
        vec![Alert { kind: text(), subject: Some(text()), message: text(), ..Alert::default() }];
    seen.snapshot.digest.errors[0].error = text();
    seen.snapshot.digest.blocking[0].entity_id = text();
    let mut watch = Watch::new(seen, Duration::ZERO);
    watch.hears(News::Silent(hostile.into()), Duration::ZERO, 200);
    watch.hears(News::Said(hostile.into()), Duration::ZERO, 200);
    for keys in [&[][..], &[Key::Char('r')], &[Key::Escape, Key::Enter]] {
        for key in keys {
            watch.press(*key, (200, 60));
        }
        watch.hears(News::Page { id: hostile.into(), lines: vec![hostile.into()] }, Duration::ZERO, 200);
        let grid = draw(&watch, now(), Duration::ZERO, (200, 60));
        let written = grid.changes(None, super::super::grid::TerminalCaps { colors: false, unicode: true });
        let foreign = |c: &char| c.is_control() && *c != '\x1b' || *c == '\u{202e}';
        assert_eq!(written.chars().find(foreign), None);
        let commands = written.split('\x1b').skip(1).all(|rest| rest.starts_with('['));
        assert!(commands, "{written:?}");
    }
}

#[test]
fn long_lines_are_wrapped_at_blanks_and_nothing_is_lost() {
    assert_eq!(wrapped("one two three", 8), ["one two ", "three"]);
    assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    assert_eq!(wrapped("日本語日本語", 5), ["日本", "語日", "本語"]);
    assert_eq!(wrapped("", 5), [""]);
    let words = "a bb ccc dddd eeeee ffffff ggggggg";
    for room in 1..40 {
        let all: String = wrapped(words, room).concat().replace(' ', "");
        assert_eq!(all, words.replace(' ', ""), "in {room}");
    }
}

#[test]
fn sections_share_what_room_there_is() {
    assert_eq!(shares([1, 5, 9], 3), [1, 1, 1]);
    assert_eq!(shares([1, 5, 9], 8), [1, 4, 3]);
    assert_eq!(shares([1, 1, 1], 99), [1, 1, 1]);
    assert_eq!(shares([4, 4], 0), [0, 0]);
}

#[test]
fn a_help_and_its_keys_fit_on_the_smallest_common_terminal() {
    for language in [Language::English, Language::Spanish] {
        language.during(|| {
            assert!(text::help().lines().all(|line| columns(line) <= 80), "{language:?}");
            assert!(text::help().lines().count() <= 21, "{language:?}");
            assert!(columns(text::keys()) <= 80 && columns(text::page_keys()) <= 80, "{language:?}");
        });
    }
}
