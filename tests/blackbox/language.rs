//! English and Spanish: what chooses the language of a command, and of what the agent says on its own.

use crate::command_line::{out, resyncd_with, told};
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now, wait_for};
use serde_json::json;

const ENGLISH: &str = "Nothing needs a person.\n";
const SPANISH: &str = "Nada requiere intervención.\n";

/// Arguments, environment, and what is printed.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[test]
fn a_command_speaks_the_language_that_was_asked_for() {
    let agent = Agent::start(&Plan::default());
    let cases: [Case; 7] = [
        (&["critical"], &[], ENGLISH),
        (&["critical"], &[("LC_ALL", "es_CO.UTF-8")], SPANISH),
        (&["critical"], &[("LC_ALL", ""), ("LC_MESSAGES", "es_ES.UTF-8"), ("LANG", "C")], SPANISH),
        (&["critical"], &[("LC_ALL", "POSIX"), ("LANG", "es_ES.UTF-8")], ENGLISH),
        (&["critical"], &[("RESYNCD_LANG", "es")], SPANISH),
        (&["critical", "--lang", "en"], &[("RESYNCD_LANG", "es")], ENGLISH),
        (&["--lang", "es", "critical"], &[("RESYNCD_LANG", "en")], SPANISH),
    ];
    for (args, env, expected) in cases {
        assert_eq!(out(&resyncd_with(&agent, args, "", env)), expected, "{args:?} {env:?}");
    }
}

#[test]
fn an_unknown_language_is_wrong_usage_that_names_the_known_ones() {
    let agent = Agent::start(&Plan::default());
    let flag = resyncd_with(&agent, &["critical", "--lang", "fr"], "", &[]);
    assert_eq!(flag.status.code(), Some(2));
    assert!(told(&flag).contains("'fr' for '--lang <LANG>'") && told(&flag).contains("[possible values: en, es]"));
    let variable = resyncd_with(&agent, &["critical"], "", &[("RESYNCD_LANG", "fr")]);
    assert_eq!(variable.status.code(), Some(2));
    assert_eq!(told(&variable), "resyncd: RESYNCD_LANG: expected en or es, found \"fr\"\n");
    let check = resyncd_with(&agent, &["check"], "", &[("RESYNCD_LANG", "fr")]);
    assert_eq!(check.status.code(), Some(3), "for a monitoring system 2 would be critical");
    assert!(out(&check).starts_with("RESYNCD UNKNOWN - RESYNCD_LANG: expected en or es"), "{}", out(&check));
    let flag_first = resyncd_with(&agent, &["critical", "--lang", "es"], "", &[("RESYNCD_LANG", "fr")]);
    assert_eq!(out(&flag_first), SPANISH);
}

/// What `status`, `list`, `show`, `history` and `check --closing` say about a refused sale.
#[test]
fn a_technician_reads_spanish() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_critical(&id);
    let reads = |args: &[&str]| out(&resyncd_with(&agent, args, "", &[("RESYNCD_LANG", "es"), ("COLUMNS", "120")]));
    for (args, expected) in [
        (
            &["status"][..],
            &["1 REQUIERE INTERVENCIÓN, 0 en espera", "hq: en línea", "Siguiente paso: resyncd show 1"][..],
        ),
        (&["status"], &["críticas       1", "última entrega ninguna todavía", "base de datos  "]),
        (&["list"], &["N.º  ENTIDAD", "crítica"]),
        (&["show", "1"], &["SALE s-1 CREATE   n.º 1", "crítica: requiere intervención.", "Reintentos 1 consumido"]),
        (&["show", "1"], &["Siguiente  La central la rechaza tal como está.", "intento 1 (auto)", "  sí  "]),
        (&["show", "1"], &["Último intento: hq la rechaza tal como está; volver a enviarla no sirve."]),
        (&["history", "1"], &["CUÁNDO", "RESPUESTA", "intento 1 (auto)"]),
        (&["history", "--delivered"], &["No se ha entregado nada."]),
        (
            &["check", "--closing", "--wait", "0s"],
            &["1 registro requiere soporte; esperar no servirá. Si apaga, no se pierde nada"],
        ),
    ] {
        let text = reads(args);
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in what {args:?} says:\n{text}");
        }
    }
}

/// Programs read the output of `--json`.
#[test]
fn json_is_english() {
    let agent = Agent::start(&Plan::default());
    let spoken = |lang: &str| {
        let output = resyncd_with(&agent, &["show", "nothing-has-this-id", "--json", "--lang", lang], "", &[]);
        (output.status.code(), out(&output), told(&output))
    };
    assert_eq!(spoken("es"), spoken("en"));
}

#[test]
fn the_agent_has_a_language_of_its_own() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let english = "1 failure needs a person";
    let spanish = "1 incidencia requiere intervención";
    for (key, locale, expected) in [
        ("", "C.UTF-8", english),
        ("", "es_ES.UTF-8", spanish),
        ("language = \"auto\"", "es_ES.UTF-8", spanish),
        ("language = \"en\"", "es_ES.UTF-8", english),
        ("language = \"es\"", "C.UTF-8", spanish),
    ] {
        let mut agent = Agent::prepare(&Plan { agent: key, ..Plan::to(upstream.url()) });
        agent.up_with(&[("LC_ALL", locale)]);
        id_of(&agent.call(&record_now("s-1")));
        let message = wait_for("the alert", || {
            let alerts = agent.ask(&json!({"op": "alerts"}));
            alerts["alerts"].as_array()?.iter().find_map(|alert| Some(alert["message"].as_str()?.to_owned()))
        });
        assert_eq!(message, expected, "{key} {locale}");
    }
}

/// Results, questions and errors of the commands that change something or ask for it.
#[test]
fn operators_are_answered_in_spanish() {
    let mut agent = Agent::start(&Plan::default());
    for entity in ["s-1", "s-2", "s-3"] {
        id_of(&agent.call(&record(entity, &json!({}))));
    }
    let say = |agent: &Agent, args: &[&str]| {
        let output = resyncd_with(agent, args, "{broken\n", &[("RESYNCD_LANG", "es")]);
        out(&output) + &told(&output)
    };
    for (args, expected) in [
        (&["hold", "1", "--by", "anna"][..], "SALE s-1 CREATE, n.º 1: retenida; para deshacerlo: resyncd release.\n"),
        (&["release", "1"], "SALE s-1 CREATE, n.º 1: liberada; se enviará cuando llegue su turno.\n"),
        (&["hold", "2", "3"], "Retenidas: 2 de 2; para deshacerlo: resyncd release.\n"),
        (&["discard", "--all", "--reason", "x"], "resyncd: 3 incidencias coinciden.\n"),
        (&["discard", "2", "--reason", "x"], "SALE s-2 CREATE, n.º 2: descartada; queda una copia en el archivo.\n"),
        (
            &["discard", "2", "--reason", "x"],
            "resyncd: no hay ninguna incidencia 2 en la cola\nSALE s-2 CREATE, n.º 2, fue descartada a las ",
        ),
        (&["retry", "nada"], "resyncd: no hay ninguna incidencia nada en la cola, ni de una entidad con ese id\n"),
        (&["retry"], "resyncd: indique cuáles: ids, filtros como --status critical, o --all\n"),
        (&["edit", "1", "--set-action", "UPDATE", "--reason", "x", "--yes"], "La incidencia n.º 1 se ha modificado. "),
        (&["cleanup", "--yes"], "Se archivaron 0 incidencias antiguas; se eliminó el historial antiguo.\n"),
        (&["import", "-"], "línea 1: "),
        (&["import", "-", "--dry-run"], "línea 1: "),
        (&["alerts"], "No hay alertas activas, ni las hubo en las últimas 24 horas.\n"),
        (&["stats"], "A partir de "),
        (&["config", "check", "--syntax"], "La configuración es válida.\n"),
        (&["reload"], "No hay ningún cambio.\n"),
    ] {
        let said = say(&agent, args);
        assert!(said.starts_with(expected) || said.contains(&format!("\n{expected}")), "{args:?}: {said}");
    }
    agent.stop();
    let said = say(&agent, &["retry", "1"]);
    assert!(said.starts_with("resyncd: ningún agente responde en "), "{said}");
}
