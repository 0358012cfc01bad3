//! Questions to the agent, and the names of failures.

use std::fmt::Display;

crate::texts! {
    /// The file is wrong, and the agent runs.
    pub(crate) fn invalid_configuration() {
        en: "the configuration is invalid (see: resyncd config check); the agent keeps using an earlier one",
        es: "la configuración no es válida (vea: resyncd config check); el agente sigue usando una anterior",
    }
    /// The agent is silent, and the store answers.
    pub(crate) fn from_the_database() {
        en: "this is read from the database itself",
        es: "esto se lee directamente de la base de datos",
    }
    /// A reply makes no sense.
    pub(crate) fn not_json(error: impl Display) {
        en: "the agent's reply is not valid JSON: {error}",
        es: "la respuesta del agente no es JSON válido: {error}",
    }
    /// An error without a message.
    pub(crate) fn no_reason() { en: "the agent gave no reason", es: "el agente no dio ningún motivo" }
    /// An operation failed after it had changed some.
    pub(crate) fn changed_before(count: u64, why: &str) {
        en: "{why}. Before that, 1 failure was changed" | "{why}. Before that, {count} failures were changed",
        es: "{why}. Antes se cambió 1 incidencia" | "{why}. Antes se cambiaron {count} incidencias",
    }
    /// A name means nothing.
    pub(crate) fn none_live(name: &str) {
        en: "no live failure {name}",
        es: "no hay ninguna incidencia {name} en la cola",
    }
    /// A name means no failure and no entity.
    pub(crate) fn none_live_nor_entity(name: &str) {
        en: "no live failure {name}, and no entity of this id has one",
        es: "no hay ninguna incidencia {name} en la cola, ni de una entidad con ese id",
    }
    /// A number means no failure, and is the id of an entity.
    pub(crate) fn is_an_entity(name: &str, failures: &str) {
        en: "no live failure {name}; an entity has this id, name its failure:\n{failures}",
        es: "no hay ninguna incidencia {name} en la cola; una entidad tiene ese id; indique su incidencia:\n{failures}",
    }
    /// An entity has more than one.
    pub(crate) fn several_of_entity(name: &str, failures: &str) {
        en: "{name} has several live failures, name one:\n{failures}",
        es: "{name} tiene varias incidencias en la cola; indique una:\n{failures}",
    }
    /// Digits are a number, and an id.
    pub(crate) fn number_or_id(name: &str, failures: &str) {
        en: "{name} may be a number or the id of an imported failure (#{name} or id:{name}), name one:\n{failures}",
        es: "{name} puede ser un número o el id de una incidencia importada (#{name} o id:{name}); indique \
             una:\n{failures}",
    }
    /// The beginning of an id is not enough.
    pub(crate) fn several_ids(name: &str, failures: &str) {
        en: "{name} is the beginning of several ids, name one:\n{failures}",
        es: "{name} es el comienzo de varios ids; indique uno:\n{failures}",
    }
    /// Root could not become the owner of the state directory.
    pub(crate) fn acting_as_owner(dir: impl Display, error: impl Display) {
        en: "acting as the owner of {dir}: {error}",
        es: "al actuar como propietario de {dir}: {error}",
    }
}
