//! Who stopped something, when and why; and how a failure left. Clauses, for after a verb.

use super::moments;
use std::fmt::Display;

crate::texts! {
    /// A user without a name or number.
    pub(crate) fn unknown_user() { en: "an unknown user", es: "un usuario desconocido" }
    /// The person who is said to have acted, and the account.
    pub(crate) fn claimed(name: &str, user: &str) { en: "{name} (as {user})", es: "{name} (como {user})" }
    /// It reached the upstream.
    pub(crate) fn delivered(upstream: &str) { en: "delivered to {upstream}", es: "entregada a {upstream}" }
    /// An operator removed it.
    pub(crate) fn discarded() { en: "discarded", es: "descartada" }
    /// Retention removed it.
    pub(crate) fn cleaned_up() {
        en: "moved to the archive by [retention]",
        es: "archivada por [retention]",
    }
    /// A failure that has left. `how` is one of the above, perhaps with its time.
    pub(crate) fn was(entity_type: &str, entity: &str, action: &str, seq: impl Display, how: &str, id: &str) {
        en: "{entity_type} {entity} {action}, no. {seq}, was {how}; its history: resyncd history {id}",
        es: "{entity_type} {entity} {action}, n.º {seq}, fue {how}; su historial: resyncd history {id}",
    }
}

/// `at 10:33:22 by anna: the price is wrong`; without a time or a reason they are left out.
pub(crate) fn clause(clock: Option<&str>, who: &str, reason: &str) -> String {
    let by = crate::say!(en: "by {who}", es: "por {who}");
    let by = clock.map_or_else(|| by.clone(), |clock| format!("{} {by}", moments::at(clock)));
    if reason.is_empty() { by } else { format!("{by}: {reason}") }
}
