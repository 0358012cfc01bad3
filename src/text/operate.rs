//! `retry`, `hold`, `release`, `discard`, `flush`, `pause`, `resume`.

use super::{Count, moments};
use std::fmt::Display;

crate::texts! {
    /// The result for one failure, by the operation.
    pub(crate) fn done(op: &str, object: &str) {
        "retry" => { en: "{object}: queued for retry.", es: "{object}: en cola para volver a enviarse." }
        "hold" => {
            en: "{object}: put on hold; undo: resyncd release.",
            es: "{object}: retenida; para deshacerlo: resyncd release.",
        }
        "release" => {
            en: "{object}: released, sent when its turn comes.",
            es: "{object}: liberada; se enviará cuando llegue su turno.",
        }
        _ => {
            en: "{object}: discarded, a copy is in the archive.",
            es: "{object}: descartada; queda una copia en el archivo.",
        }
    }
    /// The result for several.
    pub(crate) fn all_done(op: &str, changed: Count, matched: Count) {
        "retry" => { en: "{changed} of {matched} queued for retry.", es: "En cola para volver a enviarse: {changed} de {matched}." }
        "hold" => {
            en: "{changed} of {matched} put on hold; undo: resyncd release.",
            es: "Retenidas: {changed} de {matched}; para deshacerlo: resyncd release.",
        }
        "release" => {
            en: "{changed} of {matched} released, sent when their turn comes.",
            es: "Liberadas: {changed} de {matched}; se enviarán cuando llegue su turno.",
        }
        _ => {
            en: "{changed} of {matched} discarded, a copy is in the archive.",
            es: "Descartadas: {changed} de {matched}; queda una copia en el archivo.",
        }
    }
    /// Those that the operation does not apply to.
    pub(crate) fn skipped(count: u64) {
        en: "1 skipped (in flight, or not applicable)." | "{count} skipped (in flight, or not applicable).",
        es: "1 omitida (se está enviando o no procede)." | "{count} omitidas (se están enviando o no procede).",
    }
    /// The confirmation, below what matches.
    pub(crate) fn question(op: &str, shown: &str) {
        "retry" => { en: "{shown}Send them again?", es: "{shown}¿Volver a enviarlas?" }
        "hold" => { en: "{shown}Put them on hold?", es: "{shown}¿Retenerlas?" }
        "release" => { en: "{shown}Release them?", es: "{shown}¿Liberarlas?" }
        _ => {
            en: "{shown}Discard them for good? A copy stays in the archive.",
            es: "{shown}¿Descartarlas definitivamente? Queda una copia en el archivo.",
        }
    }
    /// The confirmation for one failure.
    pub(crate) fn discard_it(object: &str) {
        en: "{object}: discard it for good? A copy stays in the archive.",
        es: "{object}: ¿descartarla definitivamente? Queda una copia en el archivo.",
    }
    /// The filters match failures, and the operation applies to none of them.
    pub(crate) fn none_applies(op: &str, matched: u64) {
        "retry" => {
            en: "{matched} matched: all of them are held or in flight, or cannot be sent as they are. Nothing was changed. \
                 Held ones: resyncd release",
            es: "Coincidencias: {matched}. Todas están retenidas, se están enviando o no se pueden enviar como están. No \
                 se cambió nada. Las retenidas: resyncd release",
        }
        "hold" => {
            en: "{matched} matched: none of them waits to be sent. Nothing was changed.",
            es: "Coincidencias: {matched}. Ninguna espera ser enviada. No se cambió nada.",
        }
        "release" => {
            en: "{matched} matched: none of them is held. Nothing was changed.",
            es: "Coincidencias: {matched}. Ninguna está retenida. No se cambió nada.",
        }
        _ => {
            en: "{matched} matched: all of them are in flight. Nothing was changed; try again in a moment.",
            es: "Coincidencias: {matched}. Todas se están enviando. No se cambió nada; inténtelo de nuevo en un momento.",
        }
    }
    /// The filters match nothing.
    pub(crate) fn none_matches() {
        en: "No failure matches; nothing was changed.",
        es: "Ninguna incidencia coincide; no se cambió nada.",
    }
    /// `discard` without a reason.
    pub(crate) fn say_why() {
        en: "say why, for the audit: --reason \"entered twice\"",
        es: "indique el motivo para la auditoría: --reason \"registrada dos veces\"",
    }
    /// Failures that were put on hold with a discarded one; `shown` begins their list, `numbers` are for the commands.
    pub(crate) fn followers(count: u64, shown: &str, numbers: &str) {
        en: "On hold, because it comes behind: 1 ({shown}). Send it anyway: resyncd release {numbers}; \
             or discard it as well: resyncd discard {numbers}"
          | "On hold, because they come behind it: {count} ({shown}). Send them without it: resyncd release {numbers}; \
             or discard them as well: resyncd discard {numbers}",
        es: "Retenida, porque va detrás: 1 ({shown}). Para enviarla igualmente: resyncd release {numbers}; para \
             descartarla también: resyncd discard {numbers}"
          | "Retenidas, porque van detrás: {count} ({shown}). Para enviarlas igualmente: resyncd release {numbers}; para \
             descartarlas también: resyncd discard {numbers}",
    }
    /// Failures behind those that are to be discarded, by what happens to them. `numbers` begins their list.
    pub(crate) fn left_behind(fate: &str, numbers: &str) {
        "held" => {
            en: "Behind it, put on hold then: no. {numbers}.",
            es: "Detrás, quedarán retenidas: n.º {numbers}.",
        }
        _ => {
            en: "Behind it, sent without it: no. {numbers}.",
            es: "Detrás, se enviarán sin ella: n.º {numbers}.",
        }
    }
    /// A failure that was released or queued waits for an earlier one that is not sent, by the status of that.
    pub(crate) fn goes_after(status: &str, seq: impl Display, head: impl Display) {
        "held" => {
            en: "No. {seq} goes after no. {head}, which is on hold: resyncd release {head}",
            es: "La n.º {seq} va después de la n.º {head}, que está retenida: resyncd release {head}",
        }
        _ => {
            en: "No. {seq} goes after no. {head}, which needs a person: resyncd show {head}",
            es: "La n.º {seq} va después de la n.º {head}, que requiere intervención: resyncd show {head}",
        }
    }
    /// A failure that is sent again as it was when it was refused.
    pub(crate) fn refused_before(error: &str, seq: impl Display) {
        en: "It was refused before: {error}. If nothing was corrected at the head office, it is refused again; to \
             correct it here: resyncd edit {seq} --reason …",
        es: "Ya fue rechazada: {error}. Si en la central no se corrigió nada, se rechazará de nuevo; para corregirla \
             aquí: resyncd edit {seq} --reason …",
    }
    /// What the refused failure waits behind, by the status of that one. `told` is the agent's reason.
    pub(crate) fn behind(status: &str, told: &str, seq: impl Display) {
        "held" => {
            en: "{told}; it waits behind no. {seq}, which is on hold: resyncd release {seq}",
            es: "{told}; espera detrás de la n.º {seq}, que está retenida: resyncd release {seq}",
        }
        "critical" => {
            en: "{told}; it waits behind no. {seq}, which needs a person: resyncd show {seq}",
            es: "{told}; espera detrás de la n.º {seq}, que requiere intervención: resyncd show {seq}",
        }
        _ => {
            en: "{told}; it waits behind no. {seq}, which goes first",
            es: "{told}; espera detrás de la n.º {seq}, que va antes",
        }
    }
    /// The result of `flush`.
    pub(crate) fn flushed(waiting: Count, due: Count) {
        en: "{waiting} waiting, {due} of them due now.",
        es: "En espera: {waiting}; listas para enviarse ahora: {due}.",
    }
    /// Failures that `flush` leaves alone; `asked` is [`retry_after`].
    pub(crate) fn left_waiting(count: u64, asked: &str) {
        en: "1 left waiting: {asked}. To send it anyway: resyncd retry NUMBER"
          | "{count} left waiting: {asked}. To send one anyway: resyncd retry NUMBER",
        es: "1 sigue en espera: {asked}. Para enviarla de todos modos: resyncd retry NÚMERO"
          | "{count} siguen en espera: {asked}. Para enviar una de todos modos: resyncd retry NÚMERO",
    }
    /// `flush` with the name of a failure.
    pub(crate) fn flush_is_for_upstreams(name: &str) {
        en: "flush takes an upstream. To send one failure again: resyncd retry {name}",
        es: "flush se aplica a una central. Para volver a enviar una incidencia: resyncd retry {name}",
    }
    /// `pause` or `resume` with the name of a failure.
    pub(crate) fn gate_is_for_upstreams(op: &str, command: &str, name: &str) {
        en: "{op} takes an upstream. For one failure: resyncd {command} {name}",
        es: "{op} se aplica a una central. Para una sola incidencia: resyncd {command} {name}",
    }
    /// There is nothing to pause.
    pub(crate) fn no_upstream() { en: "No upstream is configured.", es: "No hay ninguna central configurada." }
    /// The result of `pause`.
    pub(crate) fn paused(names: &str) {
        en: "Paused: {names}. Recording goes on. Undo: resyncd resume",
        es: "En pausa: {names}. El registro continúa. Para deshacerlo: resyncd resume",
    }
    /// The result of `resume`.
    pub(crate) fn resumed(names: &str) { en: "Resumed: {names}.", es: "Envío reanudado: {names}." }
    /// The result of `resume` for others.
    pub(crate) fn not_paused(names: &str) {
        en: "Not paused: {names}. What waits is sent now, unless the upstream set a later time.",
        es: "Sin pausa: {names}. Lo pendiente se envía ahora, salvo lo que la central aplazó.",
    }
}

/// Why failures wait that the upstream has deferred, in its own words.
pub(crate) fn retry_after(upstream: &str, until: &str, words: &str) -> String {
    let until = moments::until(until);
    crate::say!(en: "{upstream} asked for that {until} ({words})", es: "{upstream} pidió esperar {until} ({words})")
}
