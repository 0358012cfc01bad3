//! Each phrase fits its own text alone, is still said somewhere, and leaves the words of others alone.

use super::*;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

fn spanish(text: &str) -> String {
    Language::Spanish.during(|| of_agent(text).into_owned())
}

#[test]
fn what_the_agent_says_is_shown_in_spanish() {
    for (english, expected) in [
        ("failure 2 is held already", "la incidencia n.º 2 ya está retenida"),
        (
            "name lookup fails: Name or service not known",
            "la resolución de nombres falla: nombre o servicio desconocido",
        ),
        ("Connection refused", "conexión rechazada"),
        ("1,234 failures are waiting, limits.max_failures", "hay 1.234 incidencias en espera (limits.max_failures)"),
        (
            "the upstream's certificate expired on 2026-11-24 06:12 UTC; this terminal's clock says 2026-11-30T12:00:00Z",
            "el certificado de la central caducó el 2026-11-24 06:12 UTC; el reloj de este terminal marca \
             2026-11-30T12:00:00Z",
        ),
        ("HTTP 302: redirects to http://x/", "HTTP 302: redirige a http://x/"),
        (
            "hq accepts nothing with the current settings: HTTP 302: redirects to http://x/",
            "hq no acepta nada con la configuración actual: HTTP 302: redirige a http://x/",
        ),
        ("critical_failures: 3 failures need a person", "critical_failures: 3 incidencias requieren intervención"),
        (
            "upstream_offline: hq has accepted nothing for 15 min or longer: Connection refused",
            "upstream_offline: hq no ha aceptado nada desde hace 15 min o más: conexión rechazada",
        ),
        (
            "a.toml:3:1: unknown key tokn in [upstream.hq]; did you mean token_file?\n  3 | tokn = 1\n    | ^^^^",
            "a.toml:3:1: clave desconocida tokn en [upstream.hq]; ¿quería decir token_file?\n  3 | tokn = 1\n    | ^^^^",
        ),
        ("a.toml:1:5: unclosed array, expected `]`", "a.toml:1:5: lista sin cerrar, se esperaba `]`"),
        (
            "c:1:2: insecure: expected true or false, found the text \"a; b\"; write insecure = true",
            "c:1:2: insecure: se esperaba true o false y hay el texto \"a; b\"; escriba insecure = true",
        ),
        (
            "c:1:2: no_proxy: expected a list of texts in quotes, found the text \"; write x\"",
            "c:1:2: no_proxy: se esperaba una lista de textos entre comillas y hay el texto \"; write x\"",
        ),
        (
            "opening /x/lock: Permission denied (os error 13) (/x belongs to uid 0, gid 0, mode 0700; this process runs as \
             uid 5). Run this as root (sudo), or name a directory of this user's own: install -d -o 5 -m 0700 DIRECTORY",
            "al abrir /x/lock: permiso denegado (/x pertenece a uid 0, gid 0, modo 0700; este proceso usa uid 5). Ejecute \
             esto como root (sudo) o indique un directorio propio de este usuario: install -d -o 5 -m 0700 DIRECTORIO",
        ),
        (
            "al leer a.json: No such file or directory (os error 2)",
            "al leer a.json: no existe el archivo o el directorio",
        ),
    ] {
        assert_eq!(spanish(english), expected);
    }
}

#[test]
fn foreign_words_stay_as_they_are() {
    for text in
        ["HTTP 422: SKU 4711 unknown", "", "unexpected: expected nothing", "value", "failure 2 is odd", "a: b: c"]
    {
        assert_eq!((spanish(text).as_str(), of_agent(text).as_ref()), (text, text));
    }
    // What the agent might say as well.
    for text in ["HTTP 422: price is missing", "HTTP 503: database offline", "HTTP 422: a number"] {
        let shown = Language::Spanish.during(|| of_attempt(text).into_owned());
        assert_eq!(shown, text);
        let within = format!("hq fails on every request: {text}");
        let kept = format!("hq falla en todas las peticiones: {text}");
        assert_eq!(spanish(&within), kept);
        assert_eq!(spanish(&format!("upstream_failing: {within}")), format!("upstream_failing: {kept}"));
    }
}

#[test]
fn an_agent_in_spanish_is_read_in_english() {
    assert_eq!(of_alert("3 incidencias requieren intervención"), "3 failures need a person");
    assert_eq!(
        of_alert("hq no ha aceptado nada desde hace 15 min o más"),
        "hq has accepted nothing for 15 min or longer"
    );
}

/// A template with a value in each place.
fn filled(template: &str) -> String {
    pieces(template).iter().fold(String::new(), |mut text, piece| {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Place(name) => write!(text, "«{name}»").expect("a String takes all"),
        }
        text
    })
}

#[test]
fn every_phrase_has_the_same_places_in_both_languages_and_is_found() {
    let mut taken = Vec::new();
    let phrases = Source::Agent.phrases().into_iter().map(|(list, _)| list);
    for (english, spanish_template) in phrases.chain(Source::Agent.parts().iter().copied()).flatten() {
        let places = |template: &str| {
            let named = pieces(template).into_iter().filter_map(|piece| match piece {
                Piece::Place(name) if name != "number" => Some(name.to_owned()),
                _ => None,
            });
            named.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(places(english), places(spanish_template), "{english}");
        if english.contains("{known}") {
            continue;
        }
        let found = Language::Spanish.during(|| Source::Agent.part(&filled(english))).unwrap_or_default();
        if found != filled(spanish_template) {
            taken.push((english, found));
        }
    }
    assert!(taken.is_empty(), "other phrases take these: {taken:#?}");
}

/// A phrase that nothing says any more shows that its sentence was changed elsewhere.
#[test]
fn every_phrase_is_said_in_the_sources() {
    let mut sources = String::new();
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("the sources are readable");
            left.extend(
                entries.map(|entry| entry.expect("an entry").path()).filter(|path| !path.ends_with("text/phrases")),
            );
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            sources.push_str(&fs::read_to_string(&path).expect("a source is UTF-8"));
        }
    }
    let joined: Vec<&str> =
        sources.split("\\\n").enumerate().map(|(n, line)| if n == 0 { line } else { line.trim_start() }).collect();
    let said = joined.concat().replace("\\\"", "\"").replace("{{", "{").replace("}}", "}");
    let own = [protocol::PHRASES, network::PHRASES, configuration::PHRASES, system::PHRASES];
    let parts = [protocol::PARTS, network::PARTS, configuration::PARTS, configuration::HINTS, system::PARTS];
    for (english, _) in own.into_iter().chain(parts).flatten() {
        for piece in pieces(english) {
            if let Piece::Literal(literal) = piece
                && literal.trim_matches([' ', ':', ';', ',', '.']).len() > 4
            {
                assert!(
                    said.contains(literal.trim_matches([' ', ':', ';', ',', '.'])),
                    "nothing says {literal:?} of {english:?}"
                );
            }
        }
    }
}
