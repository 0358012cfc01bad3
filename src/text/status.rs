//! `status`, its short form, and the lines about upstreams that other commands share.

crate::texts! {
    /// The verdict: nothing needs a person. `held` and `oldest` are empty or texts of their own.
    pub(crate) fn waiting(count: u64, held: &str, oldest: &str, losses: &str) {
        en: "1 WAITING{held}{oldest}. {losses}" | "{count} WAITING{held}{oldest}. {losses}",
        es: "1 EN ESPERA{held}{oldest}. {losses}" | "{count} EN ESPERA{held}{oldest}. {losses}",
    }
    /// The verdict: some need a person.
    pub(crate) fn need_a_person(count: u64, waiting: Count, held: &str, oldest: &str, losses: &str) {
        en: "1 NEEDS A PERSON, {waiting} waiting{held}{oldest}. {losses}" |
            "{count} NEED A PERSON, {waiting} waiting{held}{oldest}. {losses}",
        es: "1 REQUIERE INTERVENCIÓN, {waiting} en espera{held}{oldest}. {losses}" |
            "{count} REQUIEREN INTERVENCIÓN, {waiting} en espera{held}{oldest}. {losses}",
    }
    /// An item of the verdict.
    pub(crate) fn held(count: u64) { en: ", 1 held" | ", {count} held", es: ", 1 retenida" | ", {count} retenidas" }
    /// The age of the oldest failure, behind the verdict's items.
    pub(crate) fn oldest(span: &str) { en: " (oldest {span})", es: " (hasta {span})" }
    /// No database was damaged or replaced.
    pub(crate) fn nothing_is_lost() { en: "Nothing is lost.", es: "Sin pérdidas." }
    /// What a damaged or replaced database took with it.
    pub(crate) fn lost(count: u64) {
        en: "1 LOST with a damaged or changed database." | "{count} LOST with a damaged or changed database.",
        es: "1 PERDIDA con una base de datos dañada o modificada." |
            "{count} PERDIDAS con una base de datos dañada o modificada.",
    }
    /// The verdict: nothing waits.
    pub(crate) fn all_sent(last: &str) { en: "ALL SENT. {last}", es: "TODO ENVIADO. {last}" }
    /// The same, with undelivered removals.
    pub(crate) fn all_sent_but(archived: &str, last: &str) {
        en: "ALL SENT, {archived}. {last}",
        es: "TODO ENVIADO, {archived}. {last}",
    }
    /// When something was delivered last.
    pub(crate) fn last_delivery(span: &str) { en: "Last delivery {span} ago.", es: "Última entrega hace {span}." }
    /// Nothing was delivered yet.
    pub(crate) fn nothing_was_sent() { en: "Nothing was sent yet.", es: "Aún no se ha enviado nada." }
    /// The verdict of a new installation.
    pub(crate) fn nothing_to_send() { en: "Nothing to send yet.", es: "Aún no hay nada que enviar." }
    /// Every record is refused; the state of the queue follows.
    pub(crate) fn not_recording(why: &str) { en: "NOT RECORDING: {why}.", es: "NO SE REGISTRA NADA: {why}." }
    /// The verdict without an upstream.
    pub(crate) fn not_sending() {
        en: "NOT SENDING: no upstream is configured.",
        es: "NO SE ENVÍA: no hay ninguna central configurada.",
    }
    /// An upstream that is online although its last request failed. `latency` and `reason` are empty or parts.
    pub(crate) fn online_but(name: &str, latency: &str, reason: &str) {
        en: "{name}: online{latency}; the last request failed{reason}.",
        es: "{name}: en línea{latency}; la última petición falló{reason}.",
    }
    /// An upstream that an operator paused; `deed` says when and who.
    pub(crate) fn paused(name: &str, deed: &str) { en: "{name}: paused {deed}.", es: "{name}: puesta en pausa {deed}." }
    /// When the next attempt is.
    pub(crate) fn next_attempt(span: &str) { en: " Next attempt in {span}.", es: " Próximo intento dentro de {span}." }
    /// How to end a pause.
    pub(crate) fn how_to_resume(name: &str) {
        en: " To resume: resyncd resume {name}",
        es: " Para reanudar: resyncd resume {name}",
    }
    /// Where advice is.
    pub(crate) fn what_to_do() { en: " What to do: sudo resyncd doctor", es: " Qué hacer: sudo resyncd doctor" }
}

use super::Count;

// The last line: what to do.
crate::texts! {
    /// The agent is not running.
    pub(crate) fn next_start() {
        en: "Next: systemctl start resyncd, or: resyncd run",
        es: "Siguiente paso: systemctl start resyncd, o bien: resyncd run",
    }
    /// The oldest failure that needs a person.
    pub(crate) fn next_show(seq: i64, failure: &str) {
        en: "Next: resyncd show {seq}   {failure}",
        es: "Siguiente paso: resyncd show {seq}   {failure}",
    }
    /// Failures were lost with a database.
    pub(crate) fn next_compare() {
        en: "Next: compare with the tills' own records. What happened: sudo resyncd doctor",
        es: "Siguiente paso: compare con los registros de las cajas. Qué ha pasado: sudo resyncd doctor",
    }
    /// Some need a person, and this user may not list them.
    pub(crate) fn next_critical() { en: "Next: sudo resyncd critical", es: "Siguiente paso: sudo resyncd critical" }
    /// An upstream is paused.
    pub(crate) fn next_resume(name: &str) {
        en: "Next: resyncd resume {name}",
        es: "Siguiente paso: resyncd resume {name}",
    }
    /// An upstream rejects everything.
    pub(crate) fn next_unblock(name: &str) {
        en: "Next: sudo resyncd doctor   (why {name} rejects all requests); then: resyncd resume {name}",
        es: "Siguiente paso: sudo resyncd doctor   (por qué {name} lo rechaza todo); después: resyncd resume {name}",
    }
    /// A grave alert, or another that asks for something.
    pub(crate) fn next_doctor_because(why: &str) {
        en: "Next: sudo resyncd doctor   ({why})",
        es: "Siguiente paso: sudo resyncd doctor   ({why})",
    }
    /// Every record is refused.
    pub(crate) fn next_record_again() {
        en: "Next: sudo resyncd doctor   (what to do so that failures are recorded again)",
        es: "Siguiente paso: sudo resyncd doctor   (qué hacer para que se vuelvan a registrar incidencias)",
    }
    /// A command that removes the cause.
    pub(crate) fn next_command(command: &str) { en: "Next: {command}", es: "Siguiente paso: {command}" }
    /// A reload found the configuration invalid.
    pub(crate) fn next_config_check() {
        en: "Next: resyncd config check   (the changed configuration is not in force); then: resyncd reload",
        es: "Siguiente paso: resyncd config check   (la configuración cambiada no está en vigor); después: resyncd reload",
    }
    /// No upstream is configured.
    pub(crate) fn next_configure() {
        en: "Next: set url in [upstream.hq] in /etc/resyncd/resyncd.toml, then: sudo resyncd reload",
        es: "Siguiente paso: configure url en [upstream.hq] de /etc/resyncd/resyncd.toml; después: sudo resyncd reload",
    }
    /// An upstream has a cause that only a person removes.
    pub(crate) fn next_doctor(name: &str) {
        en: "Next: sudo resyncd doctor   (what to do about {name})",
        es: "Siguiente paso: sudo resyncd doctor   (qué hacer con {name})",
    }
    /// The terminal's clock is wrong.
    pub(crate) fn next_set_clock(skew: &str) {
        en: "Next: sudo timedatectl set-ntp true   (the clock is {skew})",
        es: "Siguiente paso: sudo timedatectl set-ntp true   (el reloj está {skew})",
    }
    /// Some are on hold.
    pub(crate) fn next_release() {
        en: "Next: resyncd list --status held; to send one: resyncd release NUMBER",
        es: "Siguiente paso: resyncd list --status held; para enviar una: resyncd release NÚMERO",
    }
    /// Nothing.
    pub(crate) fn nothing_to_do() { en: "Nothing to do.", es: "No hay nada que hacer." }
}

// The rows of the screen.
crate::texts! {
    /// The label of a row, at most 14 characters.
    pub(crate) fn label(row: &str) {
        "oldest" => { en: "oldest", es: "más antigua" }
        "last delivery" => { en: "last delivery", es: "última entrega" }
        "database" => { en: "database", es: "base de datos" }
        "clock" => { en: "clock", es: "reloj" }
        _ => { en: "health", es: "estado" }
    }
    /// There is no oldest failure.
    pub(crate) fn none_waits() { en: "nothing is waiting", es: "ninguna en espera" }
    /// Without a delivery.
    pub(crate) fn none_yet() { en: "none yet", es: "ninguna todavía" }
    /// The size of the database, and the free disk space.
    pub(crate) fn sizes(database: &str, free: &str) {
        en: "{database}, disk free {free}",
        es: "{database}, libre en disco: {free}",
    }
    /// The free disk space is unknown.
    pub(crate) fn unknown() { en: "unknown", es: "desconocido" }
    /// The state of the agent's health.
    pub(crate) fn health(state: &str) {
        "ok" => { en: "ok", es: "correcto" }
        "degraded" => { en: "degraded", es: "degradado" }
        _ => { en: "critical", es: "crítico" }
    }
    /// The clock: nothing to compare with.
    pub(crate) fn clock_unknown() { en: "not compared yet", es: "aún sin comparar" }
    /// The clock agrees.
    pub(crate) fn clock_right() { en: "agrees with the upstream's", es: "coincide con el de la central" }
    /// The clock is slow.
    pub(crate) fn clock_behind(span: &str) {
        en: "{span} behind the upstream's",
        es: "{span} atrasado respecto al de la central",
    }
    /// The clock is fast.
    pub(crate) fn clock_ahead(span: &str) {
        en: "{span} ahead of the upstream's",
        es: "{span} adelantado respecto al de la central",
    }
}
