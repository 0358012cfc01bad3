//! What people read on a terminal of 80 columns, in both languages, on failures and upstreams in every state.

use crate::command_line::{out, resyncd_with, told};
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now};
use serde_json::json;

const SCREENS: [&[&str]; 18] = [
    &[],
    &["status"],
    &["list"],
    &["critical"],
    &["alerts"],
    &["show", "1"],
    &["show", "2"],
    &["show", "3"],
    &["show", "4"],
    &["show", "5"],
    &["show", "nothing-has-this-id"],
    &["history", "--since", "1h"],
    &["history", "--delivered"],
    &["history", "--removed"],
    &["stats"],
    &["doctor"],
    &["check", "--closing", "--wait", "0s"],
    &["report", "--text"],
];

/// What a command shows on a terminal of 80 columns.
fn shown(agent: &Agent, args: &[&str], language: &str) -> String {
    let output = resyncd_with(agent, args, "", &[("RESYNCD_LANG", language), ("COLUMNS", "80")]);
    out(&output) + &told(&output)
}

/// A line is too long unless it ends in a single long word, such as a path, is a part of a file, which is shown unchanged
/// (an excerpt beside its number, or the configuration in a report), or is for a monitoring system, which reads one line.
fn too_long(line: &str, args: &[&str]) -> bool {
    let last = line.trim_start().split("  ").last().unwrap_or_default().trim();
    let excerpt = line.starts_with("  ") && line.contains(" | ");
    let of_file = args.first() == Some(&"report") && line.starts_with("    ");
    line.chars().count() > 80 && last.contains(' ') && !excerpt && !of_file && !line.starts_with("RESYNCD ")
}

#[track_caller]
fn all_fit(agent: &Agent, screens: &[&[&str]]) {
    for language in ["en", "es"] {
        for args in screens {
            let text = shown(agent, args, language);
            for line in text.lines() {
                assert!(!too_long(line, args), "{args:?} in {language}: too long:\n{line}\nin:\n{text}");
            }
        }
    }
}

/// A head office that rejects, fails, and accepts, by the entity.
fn moody() -> Upstream {
    Upstream::start(|request| match request.entity() {
        entity if entity.starts_with("bad") => Answer::json(
            422,
            "{\"message\":\"article 4711 in line 3 of the receipt is unknown to the catalogue of this store\"}",
        ),
        entity if entity.starts_with("late") => Answer::status(503).with("Retry-After", "3600"),
        _ => Answer::status(200),
    })
}

#[test]
fn every_screen_fits_80_columns_in_both_languages() {
    let upstream = moody();
    let agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::to(upstream.url()) });
    let bad = id_of(&agent.call(&record_now("bad-1")));
    agent.wait_critical(&bad);
    id_of(&agent.call(&record("bad-1", &json!({"action": "UPDATE"}))));
    let held = id_of(&agent.call(&record("s-3", &json!({"error": "HTTP 500: Internal Server Error"}))));
    id_of(&agent.call(&record("s-4", &json!({"error": "HTTP 500: Internal Server Error"}))));
    let sent = id_of(&agent.call(&record_now("s-5")));
    agent.wait_gone(&sent);
    let put_on_hold = agent
        .ask(&json!({"op": "hold", "ids": [held], "reason": "the customer comes back for it tomorrow", "by": "anna"}));
    assert_eq!(put_on_hold["ok"], true, "{put_on_hold}");
    let late = id_of(&agent.call(&record_now("late-6")));
    agent.wait_for_failure(&late, "the upstream deferring it", |failure| failure["retry_after"].is_object());
    all_fit(&agent, &SCREENS);
    let pause =
        agent.ask(&json!({"op": "pause", "reason": "the head office is being updated until noon", "by": "anna"}));
    assert_eq!(pause["ok"], true, "{pause}");
    all_fit(&agent, &SCREENS);
}

#[test]
fn screens_of_an_outage_fit_and_speak_spanish() {
    let mut upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::impatient(upstream.url()));
    upstream.down();
    id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("offline");
    all_fit(&agent, &SCREENS);
    for (args, expected) in [
        (&["status"][..], "sin conexión desde "),
        (&["status"], "(conexión rechazada)"),
        (&["show", "1"], "conexión rechazada"),
        (&["doctor"], "conexión rechazada. ¿Está conectado el cable?"),
    ] {
        let text = shown(&agent, args, "es").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(expected) && !text.contains("Connection refused"), "{args:?}: {text}");
    }
    agent.stop();
    all_fit(&agent, &SCREENS);
}

#[test]
fn what_the_agent_refuses_is_read_in_the_readers_language() {
    let agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("s-1", &json!({}))));
    let says = |args: &[&str], language: &str| {
        let output = resyncd_with(&agent, args, "", &[("RESYNCD_LANG", language)]);
        out(&output) + &told(&output)
    };
    says(&["hold", "1"], "en");
    for (args, english, spanish) in [
        (&["hold", "1"][..], "failure 1 is held already", "la incidencia n.º 1 ya está retenida"),
        (&["retry", "1"], "failure 1 is held; release it", "la incidencia n.º 1 está retenida; libérela"),
        (&["pause", "nowhere"], "no upstream nowhere", "no existe la central nowhere"),
        (&["list"], "connect ETIMEDOUT", "connect ETIMEDOUT"),
        (&["history", "1"], "hold by ", "retención por "),
        (&["list", "--limit", "0"], "limit must be a whole number", "limit debe ser un número entero"),
    ] {
        let (in_english, in_spanish) = (says(args, "en"), says(args, "es"));
        assert!(in_english.contains(english), "{args:?}: {in_english}");
        assert!(in_spanish.contains(spanish), "{args:?}: {in_spanish}");
    }
    let reply = agent.ask(&json!({"op": "hold", "ids": [1]}));
    assert_eq!(reply["error"]["message"], "failure 1 is held already", "programs read one language");
}

#[test]
fn problems_of_a_configuration_are_read_in_spanish_and_fit() {
    let mut agent = Agent::start(&Plan::default());
    let file = agent.state_dir().with_file_name("resyncd.toml");
    let wrong = "[upstream.hq]\nurl = \"http://hq.example/\"\ntokn_file = \"/etc/resyncd/hq.token\"\ntimeout = 5\nordering = \"some\"\n[retry]\nmax_retries = 0\n[[route]]\nupstream = \"hq2\"\nbody = \"x\"\n[alerts]\ncommand = [\"page\"]\n[metrics\n";
    let good = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, wrong).expect("a file");
    all_fit(&agent, &[&["config", "check"]]);
    let without_excerpts = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains(" | "));
        lines.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let told = without_excerpts(&shown(&agent, &["config", "check"], "es"));
    for said in [
        "clave desconocida tokn_file en [upstream.hq]; ¿quería decir token_file?",
        "timeout: se esperaba un texto entre comillas y hay un número",
        "ordering: se esperaba uno de \"key\", \"strict\", \"none\" y hay \"some\"",
        "max_retries: se esperaba un número entero de 1 a 1000000",
        "no existe la central \"hq2\"; las conocidas: hq",
        "la primera palabra debe ser una ruta absoluta y es \"page\"",
        "por http sin cifrar, lo enviado a hq.example se puede leer",
        "tabla sin cerrar, se esperaba `]`",
    ] {
        assert!(told.contains(said), "{said:?} is not in: {told}");
    }
    for english in ["expected", "unknown", "found", "there is"] {
        assert!(!told.contains(english), "{english:?} is in: {told}");
    }
    std::fs::write(&file, good).expect("a file");
    agent.stop();
}

/// The log is English whatever the agent's language is; a command translates what an agent said in another one.
#[test]
fn the_log_of_a_spanish_agent_is_english() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let mut agent = Agent::prepare(&Plan { agent: "language = \"es\"", ..Plan::to(upstream.url()) });
    agent.up();
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_critical(&id);
    crate::support::wait_until("the alert in the log", || agent.log().contains("event=alert"));
    let log = agent.log();
    assert!(log.contains("message=\"1 failure needs a person\""), "{log}");
    assert!(!log.contains("incidencia"), "{log}");
    for (language, expected) in [("en", "1 failure needs a person"), ("es", "1 incidencia requiere intervención")] {
        let alerts = out(&resyncd_with(&agent, &["alerts"], "", &[("RESYNCD_LANG", language)]));
        assert!(alerts.contains(expected), "{alerts}");
    }
    agent.stop();
}
