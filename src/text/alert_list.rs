//! The command `alerts`.

use super::moments;

crate::texts! {
    /// None is active, and none was in the last 24 hours.
    pub(crate) fn none_at_all() {
        en: "No alerts, now or in the last 24 hours.",
        es: "No hay alertas activas, ni las hubo en las últimas 24 horas.",
    }
    /// Only ended ones follow.
    pub(crate) fn none_active() { en: "No alert is active.", es: "No hay alertas activas." }
    /// Headings of the table.
    pub(crate) fn headings() { en: ["ALERT", "OF", "STATE", "WHAT"], es: ["ALERTA", "DE", "ESTADO", "MENSAJE"] }
    /// An alert that is about no upstream or entity.
    pub(crate) fn this_terminal() { en: "this terminal", es: "este terminal" }
}

/// When an alert ended.
pub(crate) fn ended(at: &str) -> String {
    let when = moments::at(at);
    crate::say!(en: "ended {at}", es: "terminó {when}")
}
