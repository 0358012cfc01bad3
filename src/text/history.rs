//! `history`, and its table in `show`.

use std::fmt::Display;

crate::texts! {
    /// The columns of one failure's entries.
    pub(crate) fn headings() {
        en: ["WHEN", "WHAT", "STATUS", "CLASS", "COUNTED", "ANSWER"],
        es: ["CUÁNDO", "QUÉ", "CÓDIGO", "CLASE", "CUENTA", "RESPUESTA"],
    }
    /// Columns that follow the first one where the entries are of several failures.
    pub(crate) fn headings_of_failures() { en: ["NR", "ENTITY"], es: ["N.º", "ENTIDAD"] }
    /// The columns of `--delivered`.
    pub(crate) fn headings_of_deliveries() {
        en: ["DELIVERED", "NR", "TO", "STATUS", "ATTEMPT", "ENTITY"],
        es: ["ENTREGADA", "N.º", "DESTINO", "CÓDIGO", "INTENTO", "ENTIDAD"],
    }
    /// An action of an operator.
    pub(crate) fn operation(operation: &str, who: &str) { en: "{operation} by {who}", es: "{operation} por {who}" }
    /// The same, with the name that was given with the command.
    pub(crate) fn operation_claimed(operation: &str, who: &str, claimed: &str) {
        en: "{operation} by {who} (says: {claimed})",
        es: "{operation} por {who} (indica: {claimed})",
    }
    /// An attempt.
    pub(crate) fn attempt(number: &str, trigger: &str, ms: &str) {
        en: "attempt {number} ({trigger}), {ms} ms",
        es: "intento {number} ({trigger}), {ms} ms",
    }
    /// An edit changed the payload.
    pub(crate) fn payload_changed() { en: "payload changed", es: "contenido modificado" }
    /// `--delivered`: the archive could not be read.
    pub(crate) fn no_older_deliveries(why: impl Display) {
        en: "older deliveries are not listed: {why}",
        es: "no se muestran las entregas anteriores: {why}",
    }
    /// `--removed`: there is nothing.
    pub(crate) fn nothing_removed() {
        en: "Nothing was removed undelivered.",
        es: "No se ha retirado nada sin entregar.",
    }
    /// `--delivered`: there is nothing.
    pub(crate) fn nothing_delivered() { en: "Nothing was delivered.", es: "No se ha entregado nada." }
    /// There is nothing.
    pub(crate) fn nothing() { en: "No attempts and no actions.", es: "No hay intentos ni acciones." }
}
