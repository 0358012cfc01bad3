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

/// A mistake in nearly every line.
const WRONG_CONFIGURATION: &str = r#"
[upstream.hq]
url = "http://hq.example/"
tokn_file = "/etc/resyncd/hq.token"
batch = 3
timeout = 5
total_timeout = "90 weeks"
connect_timeout = "1h"
ordering = "some"
insecure = "true"
no_proxy = "localhost"
client_cert = "/etc/resyncd/hq.pem"
max_rate = "10"
proxy = "proxy:3128"
[upstream.hq.headers]
X-Shop = "Café"
[upstream.second]
url = "https://fd00::1/sync"
[upstream.third]
url = "https://hq.example/a b"
[[upstream.third.answer]]
status = 409
[retry]
max_retries = 0
backoff = "5m"
jitter = 2
batch = 010
[[route]]
upstream = "hq2"
body = "x"
[[route]]
path = "/{shop}"
[[route]]
upstream = "hq"
body = "template"
template = '{"id":"{entity_id}"}'
[alerts]
command = ["page"]
many_failures = 10
entity_failing = { count = "3" }
[agent]
terminal_id = 12
language = yes
log = "loud"
[alert]
url = "https://hq.example/"
[limits]
max_payload = "64KB"
max_age "5m"
store_id: 7
max_failures = 0,2
[metrics
"#;

/// What is said about each of them.
const WRONG_CONFIGURATION_IN_SPANISH: &[&str] = &[
    "url: por http sin cifrar, lo enviado a hq.example se puede leer y modificar por el camino; use https, o ponga insecure = true si la red es de confianza",
    "clave desconocida tokn_file en [upstream.hq]; ¿quería decir token_file?",
    "clave desconocida batch en [upstream.hq]; va en [retry]",
    r#"timeout: se esperaba una duración como "250ms", "30s", "5m", "12h" o "7d" y hay "5"; ¿quería decir "5s"?"#,
    r#"total_timeout: se esperaba una duración como "250ms", "30s", "5m", "12h" o "7d" y hay "90 weeks""#,
    r#"connect_timeout: se esperaba un valor de "100ms" a "10m" y hay "1h""#,
    r#"ordering: se esperaba uno de "key", "strict", "none" y hay "some"; ¿quería decir "none"?"#,
    r#"insecure: se esperaba true o false y hay el texto "true"; escriba insecure = true"#,
    r#"no_proxy: se esperaba una lista de textos entre comillas y hay el texto "localhost"; escriba no_proxy = ["localhost"]"#,
    "client_cert y client_key van juntos: defina ambos",
    r#"max_rate: se esperaba un ritmo como "10/s" o "30/m" y hay "10"; ¿quería decir "10/s"?"#,
    r#"proxy: se esperaba una URL como "http://proxy:3128" y hay "proxy:3128""#,
    "X-Shop: se esperaban caracteres ASCII visibles, porque una cabecera no admite otros",
    r#"url: una dirección IPv6 va entre corchetes, como "https://[fd00::1]:8443/sync""#,
    "url: una URL no contiene ' ': un espacio se escribe %20",
    "una regla de respuesta necesita is = uno de estos valores: delivered, unreachable, throttled, busy, unsure, misconfigured, refused, failed, login",
    "status: se esperaba una lista de códigos HTTP como [200, 409]; escriba status = [409]",
    "max_retries: se esperaba un número entero de 1 a 1000000 y hay el número 0",
    r#"backoff: se esperaba una lista como ["5m", "15m", "30m"]; escríbala entre corchetes"#,
    "jitter: se esperaba un número de 0 a 1 y hay el número 2",
    r#"un número no empieza por 0; escriba un texto entre comillas: "010""#,
    r#"upstream: no existe la central "hq2"; ¿quería decir "hq"?"#,
    r#"body: se esperaba "payload", "envelope", "template" con una plantilla, o "none""#,
    "una ruta necesita upstream = una de estas: hq, second, third",
    "path: marcador desconocido {shop}; se conocen: payload, entity_type, entity_id, action, id, key, created_at, terminal_id, store_id",
    r#"body = "template" necesita template = '…'"#,
    "template: {entity_id} sin filtro podría salirse de su lugar en JSON; escriba {entity_id:string}, sin comillas alrededor",
    r#"command: la primera palabra debe ser una ruta absoluta y es "page""#,
    r#"se esperaba una tabla [alerts.many_failures] y hay el número 10; escríbala como en many_failures = { count = 10, window = "1h" }"#,
    r#"count: se esperaba un número entero de 1 a 1000000 y hay el texto "3"; escriba count = 3"#,
    r#"terminal_id: se esperaba un texto entre comillas y hay el número 12; escriba terminal_id = "12""#,
    "se esperaba un valor; escriba true",
    r#"log: se esperaba "error", "warn", "info", "debug" o "trace" y hay "loud""#,
    "tabla desconocida [alert]; ¿quería decir [alerts]?",
    r#"max_payload: se esperaba un tamaño como "64KiB", "256MiB" o "1GiB" y hay "64KB"; ¿quería decir "64KiB"?"#,
    "se esperaba clave = valor, con una clave de letras, cifras, - y _",
    "entre clave y valor va un signo igual: escriba store_id = …",
    "texto inesperado después del valor; los decimales llevan punto, como 0.2",
    "falta el corchete que cierra el nombre de la tabla",
];

/// Mistakes that leave no others to report, or few, each with what is said about it.
const SINGLE_MISTAKES: &[(&str, &str)] = &[
    ("{\"a\": 1}", "parece JSON; el archivo es TOML, con tablas como [retry] y líneas como batch = 10"),
    ("; a comment\n", "un comentario empieza por #"),
    ("retry:\n", "una tabla empieza por su nombre entre corchetes: escriba [retry]"),
    ("[agent]\nlog = \"info\n", "faltan las comillas de cierre, o una barra invertida del texto no está duplicada"),
    ("[agent]\nlog = “info”\n", "un texto va entre comillas rectas: \"info\""),
    ("[agent]\nterminal_id = till 7 # main\n", "un texto va entre comillas: \"till 7\""),
    ("[agent]\nlog = info\n", "un texto va entre comillas: \"info\""),
    ("[agent]\nlog =\n", "falta un valor después del signo igual; para conservar el predeterminado, elimine la línea"),
    ("[retry]\njitter = 1\n[retry]\n", "[retry] ya está en"),
    ("[retry]\njitter = 1\n[retry]\n", "resyncd.toml:1; conserve solo una"),
    ("[agent]\rlog = 1\r", "terminan solo con un retorno de carro; guárdelo con finales de línea de Unix"),
    (
        "[upstream]\nurl = \"https://hq.example/\"\n",
        "una central tiene nombre: escriba [upstream.hq] encima de url, en lugar de [upstream]",
    ),
    ("[[route]]\n", "una ruta necesita una central: defina una, [upstream.hq] con url"),
    ("[[route]]\nupstream = \"x\"\n", "no existe la central \"x\"; defínala: [upstream.x] con url"),
    (
        "[upstream.a]\nurl = \"https://a/\"\n[upstream.b]\nurl = \"htps://b/\"\n",
        "una URL empieza por https:// o http:// y hay \"htps\"",
    ),
    (
        "[upstream.a]\nurl = \"https://a/\"\n[upstream.b]\nurl = \"https://b/\"\n",
        "con más de una central, las rutas eligen entre ellas: añada tablas [[route]], cada una con upstream = \"a\" o \
         \"b\", y con entity_type si no es para todas las incidencias",
    ),
    ("batsh = 1\n", "clave desconocida batsh; las tablas son [agent], [retry]"),
    ("[agent]\nurl = \"/a\"\n", "clave desconocida url en [agent]; va en una de [upstream.hq], "),
    ("[retry]\nzzz = 1\n", "clave desconocida zzz en [retry]; aquí se conocen: backoff, max_retries"),
    ("[agent]\nsocket = \"/a\"\nadmin_socket = \"/a\"\n", "admin_socket: la misma ruta que socket, /a"),
];

#[test]
fn problems_of_a_configuration_are_read_in_spanish_and_fit() {
    let mut agent = Agent::start(&Plan::default());
    let file = agent.state_dir().with_file_name("resyncd.toml");
    let good = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, WRONG_CONFIGURATION).expect("a file");
    all_fit(&agent, &[&["config", "check"]]);
    let without_excerpts = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains(" | "));
        lines.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let told = without_excerpts(&shown(&agent, &["config", "check"], "es"));
    for said in WRONG_CONFIGURATION_IN_SPANISH {
        assert!(told.contains(said), "{said:?} is not in: {told}");
    }
    for english in ["expected", "unknown", "found", "there is", "did you mean", "write ", "known", "number", "the "] {
        assert!(!told.contains(english), "{english:?} is in: {told}");
    }
    for (text, said) in SINGLE_MISTAKES {
        std::fs::write(&file, text).expect("a file");
        let told = without_excerpts(&shown(&agent, &["config", "check"], "es"));
        assert!(told.contains(said), "{said:?} is not in: {told}");
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
