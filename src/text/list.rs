//! `list` and `critical`.

crate::texts! {
    /// The columns of a failure.
    pub(crate) fn headings() {
        en: ["NR", "ENTITY", "ACTION", "STATE", "RETRIES", "AGE", "NEXT", "ERROR"],
        es: ["N.º", "ENTIDAD", "ACCIÓN", "ESTADO", "REINTENTOS", "HACE", "PRÓXIMO", "ERROR"],
    }
    /// The next attempt.
    pub(crate) fn in_span(span: &str) { en: "in {span}", es: "en {span}" }
    /// The next attempt is when the upstream can be reached again.
    pub(crate) fn on_reconnection() { en: "on reconnection", es: "al reconectar" }
    /// `list --payload` without `--json`.
    pub(crate) fn payload_needs_json() {
        en: "--payload requires --json; to read the payload of one failure: resyncd show NUMBER --payload",
        es: "--payload requiere --json; para leer el contenido de una incidencia: resyncd show NÚMERO --payload",
    }
    /// `critical`: there is none.
    pub(crate) fn nothing_needs_a_person() { en: "Nothing needs a person.", es: "Nada requiere intervención." }
    /// Nothing matches the filter.
    pub(crate) fn nothing_matches() { en: "Nothing waiting matches.", es: "Ninguna incidencia en espera coincide." }
    /// The same, with undelivered removals.
    pub(crate) fn nothing_matches_but(archived: &str) {
        en: "Nothing waiting matches. {archived}.",
        es: "Ninguna incidencia en espera coincide. {archived}.",
    }
    /// The error of a failure on hold; `deed` says when and who.
    pub(crate) fn on_hold(deed: &str, error: &str) { en: "on hold {deed}. {error}", es: "retenida {deed}. {error}" }
    /// The same, of one that was handed over and has no error.
    pub(crate) fn on_hold_unsent(deed: &str) { en: "on hold {deed}", es: "retenida {deed}" }
    /// There are more pages.
    pub(crate) fn more(shown: Count, total: Count, after: &str) {
        en: "{shown} of {total}. To continue: --after {after}",
        es: "{shown} de {total}. Para continuar: --after {after}",
    }
}

use super::Count;
