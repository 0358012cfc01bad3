//! `replay`, and whether a delivered failure can be sent again.

use std::fmt::Display;

crate::texts! {
    /// No reason was given.
    pub(crate) fn say_why() {
        en: "say why, for the audit: --reason \"head office restored a backup\"",
        es: "indique el motivo para la auditoría: --reason \"la central restauró una copia de seguridad\"",
    }
    /// Nothing matches the filters.
    pub(crate) fn none_matches() {
        en: "No delivered failure matches; nothing was changed.",
        es: "Ninguna incidencia entregada coincide; no se cambió nada.",
    }
    /// The confirmation, below what matches.
    pub(crate) fn question(shown: &str) {
        en: "{shown}Send them again, under the keys that they had?",
        es: "{shown}¿Volver a enviarlas con las claves que tenían?",
    }
    /// The configuration keeps no deliveries.
    pub(crate) fn not_kept() {
        en: "nothing that was delivered can be sent again, because it is not kept. To keep it from now on: \
             [retention] delivered = \"7d\", then: resyncd reload",
        es: "no se puede volver a enviar nada de lo entregado, porque no se conserva. Para conservarlo desde ahora: \
             [retention] delivered = \"7d\"; después: resyncd reload",
    }
    /// There are no deliveries in the archive yet.
    pub(crate) fn nothing_kept_yet(dir: impl Display) {
        en: "nothing was delivered since [retention] delivered is set: there is no file in {dir}",
        es: "no se ha entregado nada desde que se definió [retention] delivered: no hay ningún archivo en {dir}",
    }
    /// The span that was asked for begins before the archive.
    pub(crate) fn begins_later(day: &str) {
        en: "the archive begins on {day} (UTC); what was delivered before is not in it",
        es: "el archivo de entregas empieza el {day} (UTC); lo entregado antes no está en él",
    }
    /// Damaged lines.
    pub(crate) fn unreadable(count: u64) {
        en: "1 line of the archive cannot be read" | "{count} lines of the archive cannot be read",
        es: "1 línea del archivo de entregas no se puede leer" | "{count} líneas del archivo de entregas no se pueden leer",
    }
    /// The archive cannot be opened.
    pub(crate) fn reading(dir: impl Display, error: impl Display) {
        en: "reading the archive in {dir}: {error}",
        es: "al leer el archivo de entregas en {dir}: {error}",
    }
    /// The number of matching deliveries.
    pub(crate) fn matches(count: u64) {
        en: "1 delivered failure matches." | "{count} delivered failures match.",
        es: "1 incidencia entregada coincide." | "{count} incidencias entregadas coinciden.",
    }
    /// One of them; `object` is its entity and action, `at` begins with a preposition.
    pub(crate) fn delivery(seq: impl Display, object: &str, upstream: &str, at: &str) {
        en: "{seq}  {object}, delivered to {upstream} {at}",
        es: "{seq}  {object}, entregada a {upstream} {at}",
    }
    /// Those that were replayed before.
    pub(crate) fn replayed_before(count: u64) {
        en: "1 of them was sent again before, and delivered." | "{count} of them were sent again before, and delivered.",
        es: "1 de ellas ya se había vuelto a enviar y se entregó."
          | "{count} de ellas ya se habían vuelto a enviar y se entregaron.",
    }
    /// Why it stops early.
    pub(crate) fn always_busy() {
        en: "later failures of the same entities are being sent all the time",
        es: "continuamente se envían incidencias posteriores de las mismas entidades",
    }
    /// Progress.
    pub(crate) fn progress(done: usize, all: usize) { en: "{done} of {all}", es: "{done} de {all}" }
    /// One that the agent refused.
    pub(crate) fn refused(seq: impl Display, why: &str) {
        en: "Not sent again, no. {seq}: {why}",
        es: "No se volvió a enviar la n.º {seq}: {why}",
    }
    /// The result.
    pub(crate) fn sent(count: u64) {
        en: "1 is sent again, under the key that it had." | "{count} are sent again, under the keys that they had.",
        es: "1 se vuelve a enviar con la clave que tenía." | "{count} se vuelven a enviar con las claves que tenían.",
    }
    /// The result of `--dry-run`.
    pub(crate) fn would_be_sent(count: u64) {
        en: "1 would be sent again, under the key that it had."
          | "{count} would be sent again, under the keys that they had.",
        es: "1 se volvería a enviar con la clave que tenía."
          | "{count} se volverían a enviar con las claves que tenían.",
    }
    /// Some are in the queue already.
    pub(crate) fn live(count: u64) {
        en: "1 is live already and stays as it is." | "{count} are live already and stay as they are.",
        es: "1 ya está en la cola y queda como está." | "{count} ya están en la cola y quedan como están.",
    }
    /// The numbers are of another database.
    pub(crate) fn renumbered(count: u64) {
        en: "1 gets a new number, behind what is live: its own is that of an earlier database."
          | "{count} get new numbers, behind what is live: theirs are those of an earlier database.",
        es: "1 recibe un número nuevo, detrás de lo que está en la cola: el suyo es de una base de datos anterior."
          | "{count} reciben números nuevos, detrás de lo que está en la cola: los suyos son de una base de datos anterior.",
    }
    /// Their route holds what may have arrived.
    pub(crate) fn held(count: u64) {
        en: "1 is on hold, because its route has on_unsure = \"hold\". Look at it: resyncd list --status held"
          | "{count} are on hold, because their route has on_unsure = \"hold\". Look at them: resyncd list --status held",
        es: "1 queda retenida, porque su ruta tiene on_unsure = \"hold\". Para verla: resyncd list --status held"
          | "{count} quedan retenidas, porque su ruta tiene on_unsure = \"hold\". Para verlas: resyncd list --status held",
    }
    /// No route is for them.
    pub(crate) fn lost(count: u64) {
        en: "1 has no route now and needs a person: resyncd critical"
          | "{count} have no route now and need a person: resyncd critical",
        es: "1 ya no tiene ruta y requiere intervención: resyncd critical"
          | "{count} ya no tienen ruta y requieren intervención: resyncd critical",
    }
    /// They were replayed by an earlier run, and delivered since.
    pub(crate) fn delivered(count: u64) {
        en: "1 was sent again before, and delivered meanwhile."
          | "{count} were sent again before, and delivered meanwhile.",
        es: "1 ya se había vuelto a enviar y entretanto se entregó."
          | "{count} ya se habían vuelto a enviar y entretanto se entregaron.",
    }
    /// What is left, after the reason.
    pub(crate) fn unfinished(count: u64, why: impl Display) {
        en: "{why}. 1 was not sent again." | "{why}. {count} were not sent again.",
        es: "{why}. 1 no se volvió a enviar." | "{why}. {count} no se volvieron a enviar.",
    }
    /// Failures of which later ones are still missing.
    pub(crate) fn held_back(count: u64) {
        en: "1 failure is held until what follows it is back, and newer ones wait behind it."
          | "{count} failures are held until what follows them is back, and newer ones wait behind them.",
        es: "1 incidencia queda retenida hasta que vuelva lo que le sigue; las más nuevas esperan detrás de ella."
          | "{count} incidencias quedan retenidas hasta que vuelva lo que les sigue; las más nuevas esperan detrás de ellas.",
    }
    /// The command that continues.
    pub(crate) fn go_on(command: &str) {
        en: "To continue later, run:\n{command}",
        es: "Para continuar más tarde, ejecute:\n{command}",
    }
    /// The same command, printed before the first failure is sent again.
    pub(crate) fn after_an_interruption(command: &str) {
        en: "to go on after an interruption, run:\n{command}",
        es: "para continuar tras una interrupción, ejecute:\n{command}",
    }
    /// The error of the command.
    pub(crate) fn some_refused(count: u64) {
        en: "1 was refused" | "{count} were refused",
        es: "1 fue rechazada" | "{count} fueron rechazadas",
    }
    /// The archive could not be read for a failure that was delivered.
    pub(crate) fn not_known(why: impl Display) {
        en: "Whether it can be sent again is not known: {why}.",
        es: "No se sabe si se puede volver a enviar: {why}.",
    }
    /// How to replay a failure and what followed of its entity.
    pub(crate) fn how(entity_type: &str, entity: &str, command: &str) {
        en: "If the head office has lost it, send it and what followed of {entity_type} {entity} again: {command}",
        es: "Si la central la perdió, vuelva a enviarla junto con lo posterior de {entity_type} {entity}: {command}",
    }
    /// A delivered failure that is not kept.
    pub(crate) fn never_kept() {
        en: "It cannot be sent again: what was delivered is not kept here ([retention] delivered is \"0d\").",
        es: "No se puede volver a enviar: aquí no se conserva lo entregado ([retention] delivered es \"0d\").",
    }
    /// A delivered failure that is no longer kept.
    pub(crate) fn no_longer_kept(span: &str) {
        en: "It cannot be sent again: it is not in the archive, which keeps what was delivered for {span} ([retention] \
             delivered).",
        es: "No se puede volver a enviar: no está en el archivo de entregas, que conserva lo entregado durante {span} ([retention] \
             delivered).",
    }
}
