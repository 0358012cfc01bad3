//! `try`.

use crate::record::Class;

crate::texts! {
    /// No valid request can be built from the failure.
    pub(crate) fn unbuildable(why: &str) {
        en: "no valid request can be built from it: {why}",
        es: "no se puede construir una petición válida: {why}",
    }
    /// The response would not count as a delivery.
    pub(crate) fn delivery_failed(class: &str) {
        en: "it would not be delivered: {class}",
        es: "no se entregaría: {class}",
    }
    /// There are routes, and none of them matches.
    pub(crate) fn no_route(entity_type: &str, action: &str) {
        en: "no route matches {entity_type} {action}: it would be stored and need a person",
        es: "ninguna ruta corresponde a {entity_type} {action}: se guardaría y requeriría intervención",
    }
    /// There is nowhere to send it.
    pub(crate) fn no_upstream() {
        en: "no upstream is configured: it would be stored until there is one",
        es: "no hay ninguna central configurada: se guardaría hasta que la haya",
    }
    /// Where it goes, without routes.
    pub(crate) fn to_as_envelope(upstream: &str) {
        en: "To {upstream}, as an envelope (there are no routes):",
        es: "Destino: {upstream}, en el formato envelope (no hay rutas):",
    }
    /// Where it goes, by a route.
    pub(crate) fn to_by_route(upstream: &str) {
        en: "To {upstream}, by the first route that matches:",
        es: "Destino: {upstream}, por la primera ruta que coincide:",
    }
    /// Headers that only a login brings.
    pub(crate) fn login_adds() { en: "(and what the login adds)", es: "(y lo que añada el inicio de sesión)" }
    /// A secret, by the name of its file.
    pub(crate) fn secret_of(file: &str) { en: "*** from {file}", es: "*** de {file}" }
    /// No request was made.
    pub(crate) fn nothing_sent() { en: "Nothing was sent.", es: "No se envió nada." }
    /// A request was made.
    pub(crate) fn no_response() {
        en: "It was sent, and no response came.",
        es: "Se envió y no hubo respuesta.",
    }
    /// The target of a redirect, below the response.
    pub(crate) fn redirects_to(target: &str) {
        en: "        redirects to {target}",
        es: "           redirige a {target}",
    }
    /// The class of the response; `meaning` is a text of [`meaning`].
    pub(crate) fn class(class: &str, meaning: &str) {
        en: "Class:  {class}: {meaning}",
        es: "Clase:     {class}: {meaning}",
    }
    /// Why it has this class.
    pub(crate) fn why(error: &str) { en: "Why:    {error}", es: "Motivo:    {error}" }
    /// The answer rule that matched.
    pub(crate) fn rule_matched(number: usize, all: usize, is: &str) {
        en: "Rule:   {number} of {all} matched (is = \"{is}\")",
        es: "Regla:     coincide la {number} de {all} (is = \"{is}\")",
    }
    /// The answer rule that matched does not count.
    pub(crate) fn rule_overruled(number: usize, all: usize, is: &str) {
        en: "Rule:   {number} of {all} matched (is = \"{is}\"), but the response is not the upstream's own",
        es: "Regla:     coincide la {number} de {all} (is = \"{is}\"), pero la respuesta no es del propio destino",
    }
    /// No answer rule matched.
    pub(crate) fn no_rule_matched(all: usize) {
        en: "Rule:   none of {all} matched",
        es: "Regla:     ninguna de {all} coincide",
    }
    /// An answer rule that could not be evaluated.
    pub(crate) fn rule_unread(number: usize, why: &str) {
        en: "        rule {number} cannot be evaluated: {why}",
        es: "           la regla {number} no se puede evaluar: {why}",
    }
    /// What a class would mean for the failure.
    pub(crate) fn meaning(class: Class) {
        Class::Delivered => { en: "it would be delivered", es: "se entregaría" }
        Class::Unreachable => {
            en: "a fault of the connection; it would use no retry",
            es: "un problema de la conexión; no consumiría reintentos",
        }
        Class::Throttled | Class::Busy => {
            en: "the upstream's load; it would use no retry, unless the upstream accepts others and never this one",
            es: "sobrecarga de la central; no consumiría reintentos, salvo que la central acepte otras y nunca \
                 esta",
        }
        Class::Unsure => {
            en: "it may have arrived; it would be sent again under the same key",
            es: "es posible que haya llegado; se volvería a enviar con la misma clave",
        }
        Class::Misconfigured => {
            en: "the upstream is configured wrongly; nothing would be sent until that is corrected",
            es: "la central está mal configurada; no se enviaría nada hasta que se corrija",
        }
        Class::Refused => { en: "it would need a person at once", es: "requeriría intervención de inmediato" }
        Class::Failed => { en: "it would use a retry", es: "consumiría un reintento" }
    }
}

/// The response: its status, its type, and the bytes of its body that were read.
pub(crate) fn response(status: u16, content_type: Option<&str>, size: usize, cut_off: bool) -> String {
    let kind = content_type.map_or_else(String::new, |kind| format!(", {kind}"));
    if cut_off {
        crate::say!(
            en: "Answer: HTTP {status}{kind}, {size} bytes of body or more",
            es: "Respuesta: HTTP {status}{kind}, cuerpo de {size} bytes o más",
        )
    } else {
        crate::say!(
            en: "Answer: HTTP {status}{kind}, {size} bytes of body",
            es: "Respuesta: HTTP {status}{kind}, cuerpo de {size} bytes",
        )
    }
}
