//! `check`. The words that a monitoring system reads (`OK`, `WARNING`, the names of the figures) are the same in both
//! languages.

use super::Count;

crate::texts! {
    /// Nothing waits.
    pub(crate) fn all_sent() { en: "all sent", es: "todo enviado" }
    /// Nothing waits; `removed` names undelivered failures that were removed.
    pub(crate) fn all_sent_but(removed: &str) { en: "all sent, {removed}", es: "todo enviado, {removed}" }
    /// Failures wait, and nothing is wrong.
    pub(crate) fn on_their_way(count: u64) {
        en: "1 waiting, on its way" | "{count} waiting, on their way",
        es: "1 en espera, se enviará automáticamente" | "{count} en espera, se enviarán automáticamente",
    }
    /// The agent's reply cannot be read.
    pub(crate) fn no_json(error: &str) {
        en: "the agent's answer is not valid JSON: {error}",
        es: "la respuesta del agente no es JSON válido: {error}",
    }
    /// The agent's state is none of those that this version knows.
    pub(crate) fn unknown_state(state: &str) {
        en: "this version does not know the agent's state {state:?}. Do agent and program differ in version?",
        es: "esta versión no conoce el estado {state:?} del agente. ¿Son de versiones distintas el agente y el \
             programa?",
    }
}

/// Something is wrong.
pub(crate) fn reasons(reasons: &str, waiting: u64) -> String {
    let waiting = Count(waiting);
    crate::say!(en: "{reasons}; {waiting} waiting", es: "{reasons}; {waiting} en espera")
}
