//! `record`, and streams of lines to the agent.

use std::fmt::Display;

crate::texts! {
    /// The agent refused the failure; `code` is the protocol's.
    pub(crate) fn not_recorded(code: &str, why: &str) {
        en: "not recorded ({code}): {why}",
        es: "no se registró ({code}): {why}",
    }
    /// A reply without a reason.
    pub(crate) fn no_answer() { en: "no answer", es: "sin respuesta" }
    /// Progress of a stream.
    pub(crate) fn progress(done: impl Display, refused: impl Display) {
        en: "{done} lines, {refused} refused",
        es: "{done} líneas, {refused} rechazadas",
    }
    /// The error of a stream.
    pub(crate) fn some_refused(done: impl Display, refused: impl Display) {
        en: "{refused} of {done} lines were refused",
        es: "líneas rechazadas: {refused} de {done}",
    }
    /// `export`: a reply of the agent makes no sense.
    pub(crate) fn unreadable_page(error: impl Display) {
        en: "the agent's page cannot be read: {error}",
        es: "no se puede leer la página que envió el agente: {error}",
    }
}
