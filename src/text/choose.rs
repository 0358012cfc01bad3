//! The selection of failures for an operation, and its confirmation.

use super::{Count, Language};
use std::fmt::Display;

crate::texts! {
    /// Nothing was selected.
    pub(crate) fn say_which() {
        en: "say which: ids, or filters such as --status critical, or --all",
        es: "indique cuáles: ids, filtros como --status critical, o --all",
    }
    /// Several ways of selecting were mixed.
    pub(crate) fn in_one_way() {
        en: "say which in one way only: by ids, by filters, or with --all",
        es: "indíquelas de una sola manera: por ids, por filtros o con --all",
    }
    /// A failure as an operator knows it.
    pub(crate) fn object(entity_type: &str, entity: &str, action: &str, seq: impl Display) {
        en: "{entity_type} {entity} {action}, no. {seq}",
        es: "{entity_type} {entity} {action}, n.º {seq}",
    }
    /// The number of selected failures.
    pub(crate) fn matches(count: u64) {
        en: "1 failure matches." | "{count} failures match.",
        es: "1 incidencia coincide." | "{count} incidencias coinciden.",
    }
    /// The same, where the operation leaves some alone.
    pub(crate) fn matches_but(count: u64, skipped: Count) {
        en: "1 failure matches." | "{count} failures match; {skipped} of them stay as they are, being in flight or in \
             another state.",
        es: "1 incidencia coincide." | "{count} incidencias coinciden; {skipped} de ellas quedan como están, porque se \
             están enviando o su estado es otro.",
    }
    /// Those of a list that are not shown.
    pub(crate) fn and_more(count: u64) { en: "and 1 more" | "and {count} more", es: "y 1 más" | "y {count} más" }
    /// Below a shortened list.
    pub(crate) fn more(count: u64) { en: "… and 1 more." | "… and {count} more.", es: "… y 1 más." | "… y {count} más." }
    /// A status of failures that were delivered.
    pub(crate) fn delivered_are_gone(status: &str) {
        en: "{status} failures are no longer here. What was sent: resyncd history --since 24h",
        es: "las incidencias con estado {status} ya no están aquí. Para ver lo enviado: resyncd history --since 24h",
    }
    /// A status of failures that were removed.
    pub(crate) fn removed_are_gone(status: &str) {
        en: "{status} failures are no longer here. What left: resyncd history --removed",
        es: "las incidencias con estado {status} ya no están aquí. Para ver lo retirado: resyncd history --removed",
    }
    /// Standard input is empty.
    pub(crate) fn no_id_on_standard_input() {
        en: "no id came on standard input",
        es: "no llegó ningún id por la entrada estándar",
    }
    /// An upstream was named instead of a failure.
    pub(crate) fn is_an_upstream(name: &str, command: &str) {
        en: "{name} is an upstream; you want: resyncd {command} {name}",
        es: "{name} es una central, no una incidencia; el comando es: resyncd {command} {name}",
    }
    /// A line of JSON without an id.
    pub(crate) fn not_a_failure(line: &str) {
        en: "a line of standard input is not a failure with an id: {line}",
        es: "una línea de la entrada estándar no es una incidencia con id: {line}",
    }
    /// `what` needs a confirmation, and there is no terminal.
    pub(crate) fn cannot_ask(what: &str) {
        en: "{what} This has to be confirmed, and standard input is not a terminal: add --yes, or --dry-run to look first",
        es: "{what} Hay que confirmarlo y la entrada estándar no es un terminal: añada --yes, o --dry-run para \
             comprobarlo antes",
    }
    /// The question of a confirmation.
    pub(crate) fn go_on(what: &str) { en: "{what} Go on? [y/N] ", es: "{what} ¿Continuar? [s/N] " }
    /// It was not confirmed.
    pub(crate) fn not_confirmed() { en: "nothing was changed", es: "no se cambió nada" }
    /// The end of a `--dry-run`.
    pub(crate) fn nothing_changed() { en: "Nothing was changed.", es: "No se cambió nada." }
}

/// Returns whether this answer to [`go_on`] confirms. The English letter is understood in every language.
pub(crate) fn confirms(answer: &str) -> bool {
    match answer {
        "y" | "Y" | "yes" => true,
        "s" | "S" | "si" | "sí" => Language::current() == Language::Spanish,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_confirms_in_the_language_of_the_question() {
        let answers = || ["y", "s", "sí", "n", ""].map(confirms);
        assert_eq!(answers(), [true, false, false, false, false]);
        assert_eq!(Language::Spanish.during(answers), [true, true, true, false, false]);
    }
}
