//! `report`.

use super::Count;

crate::texts! {
    // The command.

    /// No output was named.
    pub(crate) fn no_output() {
        en: "name the output: resyncd report -o report.html, or --text",
        es: "indique la salida: resyncd report -o informe.html, o bien --text",
    }
    /// The file was written, without payloads.
    pub(crate) fn written(bytes: u64, file: &str) {
        en: "{file}: 1 byte. It holds no payloads." | "{file}: {bytes} bytes. It holds no payloads.",
        es: "{file}: 1 byte. No incluye contenidos." | "{file}: {bytes} bytes. No incluye contenidos.",
    }
    /// The file was written, with payloads.
    pub(crate) fn written_with_payloads(bytes: u64, file: &str) {
        en: "{file}: 1 byte. It holds payloads: keep it safe."
            | "{file}: {bytes} bytes. It holds payloads: keep it safe.",
        es: "{file}: 1 byte. Incluye contenidos: guárdelo en un lugar seguro."
            | "{file}: {bytes} bytes. Incluye contenidos: guárdelo en un lugar seguro.",
    }
    /// The file could not be written.
    pub(crate) fn not_written(file: &str, error: &str) {
        en: "writing the report to {file}: {error}",
        es: "al escribir el informe en {file}: {error}",
    }

    // The page.

    /// The title.
    pub(crate) fn title(terminal: &str) { en: "resyncd on {terminal}", es: "resyncd en {terminal}" }
    /// The title, with the store.
    pub(crate) fn title_with_store(terminal: &str, store: &str) {
        en: "resyncd on {terminal}, store {store}",
        es: "resyncd en {terminal}, tienda {store}",
    }
    /// Below the title.
    pub(crate) fn about(now: &str, offset: &str) {
        en: "{now}. Times are the terminal's, UTC{offset}.",
        es: "{now}. Las horas son las del terminal, UTC{offset}.",
    }
    /// For a screen reader: the box with the verdict.
    pub(crate) fn summary() { en: "Summary", es: "Resumen" }
    /// For a screen reader: the links to the sections.
    pub(crate) fn sections() { en: "Sections", es: "Secciones" }
    /// The data of a plot.
    pub(crate) fn as_a_table() { en: "As a table", es: "En forma de tabla" }
    /// The title of a section, by its id.
    pub(crate) fn section(id: &str) {
        "numbers" => { en: "Numbers", es: "Cifras" }
        "trends" => { en: "Backlog and deliveries", es: "Cola y entregas" }
        "outages" => { en: "Outages", es: "Interrupciones" }
        "waits" => { en: "Time to delivery", es: "Tiempo hasta la entrega" }
        "person" => { en: "Needs a person", es: "Requieren intervención" }
        "blocked" => { en: "Blocked entities", es: "Entidades bloqueadas" }
        "errors" => { en: "Errors and what to do", es: "Errores y qué hacer" }
        "kinds" => { en: "By type and action", es: "Por tipo y acción" }
        "alerts" => { en: "Alerts", es: "Alertas" }
        "deeds" => { en: "What people did", es: "Qué hicieron los operadores" }
        "configuration" => { en: "Configuration", es: "Configuración" }
        "versions" => { en: "Versions", es: "Versiones" }
        _ => { en: "", es: "" }
    }

    // Numbers.

    /// The names of the current figures, at most 14 columns each.
    pub(crate) fn figures() {
        en: ["pending", "critical", "held", "oldest", "last delivery", "database", "disk free", "clock"],
        es: [
            "en espera", "críticas", "retenidas", "más antigua", "última entrega", "base de datos", "disco libre",
            "reloj",
        ],
    }
    /// The names of the figures of a day, at most 14 columns each.
    pub(crate) fn figures_of_the_day() {
        en: ["recorded", "delivered", "discarded", "cleaned up"],
        es: ["registradas", "entregadas", "descartadas", "archivadas"],
    }
    /// An age.
    pub(crate) fn ago(span: &str) { en: "{span} ago", es: "hace {span}" }
    /// A figure that could not be determined.
    pub(crate) fn unknown() { en: "unknown", es: "desconocido" }
    /// Before the reasons of a state of health.
    pub(crate) fn health(state: &str) {
        "ok" => { en: "Health is ok:", es: "Estado correcto:" }
        "degraded" => { en: "Health is degraded:", es: "Estado degradado:" }
        _ => { en: "Health is critical:", es: "Estado crítico:" }
    }
    /// Before the figures of a day.
    pub(crate) fn in_the_last_day() { en: "In the last 24 hours", es: "En las últimas 24 horas" }
    /// What a section covers.
    pub(crate) fn over_the_month() { en: "Over the last 30 days.", es: "De los últimos 30 días." }
    /// What a section covers, if there are too many attempts.
    pub(crate) fn over_the_newest(count: u64, since: &str) {
        en: "Over the newest attempt, since {since}." | "Over the newest {count} attempts, since {since}.",
        es: "Del intento más reciente, desde {since}." | "De los {count} intentos más recientes, desde {since}.",
    }

    // Critical and held failures.

    /// There is none.
    pub(crate) fn no_failure() { en: "Nothing.", es: "Ninguna." }
    /// Before the list of those without a history here.
    pub(crate) fn more_critical() { en: "More that need a person", es: "Otras que requieren intervención" }
    /// Not all of them are listed.
    pub(crate) fn newest_critical(all: u64, shown: u64) {
        en: "1 needs a person. All: resyncd critical"
            | "{all} need a person; these are the newest {shown}. All: resyncd critical",
        es: "1 requiere intervención. Todas: resyncd critical"
            | "{all} requieren intervención; estas son las {shown} más recientes. Todas: resyncd critical",
    }
    /// Before the list of held failures.
    pub(crate) fn on_hold() { en: "On hold", es: "Retenidas" }
    /// In place of an upstream's name.
    pub(crate) fn no_upstream() { en: "no upstream", es: "sin central" }
    /// A failure without a payload.
    pub(crate) fn no_payload() { en: "no payload", es: "sin contenido" }
    /// A payload that is not shown.
    pub(crate) fn payload_left_out(kind: &str) {
        en: "payload: {kind}, left out of this report",
        es: "contenido: {kind}, omitido en este informe",
    }
    /// A payload that is shown.
    pub(crate) fn payload(kind: &str) { en: "payload: {kind}", es: "contenido: {kind}" }
    /// What is known of a failure.
    pub(crate) fn recorded(at: &str, retries: &str, upstream: &str, payload: &str) {
        en: "Recorded {at}; {retries}; {upstream}; {payload}.",
        es: "Registrada: {at}; {retries}; {upstream}; {payload}.",
    }
    /// Of it, how many retries are used up.
    pub(crate) fn retries(count: u64) {
        en: "1 retry counted" | "{count} retries counted",
        es: "1 reintento contado" | "{count} reintentos contados",
    }
    /// Not all entries of its history are listed.
    pub(crate) fn last_entries(shown: usize, seq: i64) {
        en: "The last {shown} entries of its history; all: resyncd history {seq}",
        es: "Las últimas {shown} entradas de su historial; todas: resyncd history {seq}",
    }
    /// Headings of a history.
    pub(crate) fn history_headings() {
        en: ["when", "what", "status", "class", "counted", "response or reason"],
        es: ["cuándo", "qué", "código", "clase", "contado", "respuesta o motivo"],
    }
    /// Title of a payload.
    pub(crate) fn payload_title() { en: "Payload", es: "Contenido" }
    /// Title of a response.
    pub(crate) fn response_title() { en: "The last response", es: "La última respuesta" }
    /// An operation in a history.
    pub(crate) fn operation(operation: &str, who: &str) { en: "{operation} by {who}", es: "{operation}, por {who}" }
    /// A user who gave another name.
    pub(crate) fn claims(user: &str, claimed: &str) {
        en: "{user} (says: {claimed})",
        es: "{user} (dice ser {claimed})",
    }
    /// Headings of a list of failures.
    pub(crate) fn failure_headings() {
        en: ["no.", "what", "class", "error"],
        es: ["n.º", "qué", "clase", "error"],
    }

    // Blocked entities.

    /// There is none.
    pub(crate) fn nothing_blocked() {
        en: "Nothing waits behind a failure that needs a person.",
        es: "Ninguna incidencia espera detrás de otra que requiera intervención.",
    }
    /// How many there are.
    pub(crate) fn blocked(waiting: u64, heads: Count) {
        en: "1 failure waits behind {heads} of those that need a person. It keeps its order, and is sent when the one \
             before it is done."
            | "{waiting} failures wait behind {heads} of those that need a person. They keep their order, and are sent \
               when the one before them is done.",
        es: "1 incidencia espera detrás de {heads} de las que requieren intervención. Conserva su orden y se envía \
             cuando se resuelve la anterior."
            | "{waiting} incidencias esperan detrás de {heads} de las que requieren intervención. Conservan su orden y \
               se envían cuando se resuelve la anterior.",
    }
    /// Their headings.
    pub(crate) fn blocked_headings() {
        en: ["no.", "what", "status", "recorded", "wait behind it"],
        es: ["n.º", "qué", "estado", "registrada", "esperan detrás"],
    }

    // Attempts.

    /// There is no error.
    pub(crate) fn no_error() { en: "No attempt has failed.", es: "No ha fallado ningún intento." }
    /// Those that are in no row of their own.
    pub(crate) fn others() { en: "others", es: "otros" }
    /// Headings of the errors.
    pub(crate) fn error_headings() {
        en: ["class", "error, its numbers as in the newest", "attempts", "counted", "last", "upstream"],
        es: ["clase", "error, con los números del más reciente", "intentos", "contados", "último", "central"],
    }
    /// Before the classes.
    pub(crate) fn classes() { en: "The classes", es: "Las clases" }
    /// Headings of the classes.
    pub(crate) fn class_headings() {
        en: ["class", "what it is, and what to do"],
        es: ["clase", "qué significa y qué hacer"],
    }
    /// There is no attempt.
    pub(crate) fn no_attempt() { en: "There was no attempt.", es: "No hubo ningún intento." }
    /// Headings by type and action.
    pub(crate) fn kind_headings() {
        en: ["type", "action", "failed attempts", "refused", "delivered", "live, of the last 24 h"],
        es: ["tipo", "acción", "intentos fallidos", "rechazadas", "entregadas", "en cola, de las últimas 24 h"],
    }

    // The other sections.

    /// There is no alert.
    pub(crate) fn no_alert() {
        en: "None, now or in the last 24 hours.",
        es: "Ninguna, ni ahora ni en las últimas 24 horas.",
    }
    /// An alert that has ended.
    pub(crate) fn ended(at: &str) { en: "ended {at}", es: "terminó: {at}" }
    /// In place of an upstream's or an entity's name.
    pub(crate) fn this_terminal() { en: "this terminal", es: "este terminal" }
    /// Headings of the alerts.
    pub(crate) fn alert_headings() {
        en: ["alert", "of", "state", "what"],
        es: ["alerta", "de", "estado", "qué"],
    }
    /// There is no operation.
    pub(crate) fn no_operation() { en: "Nothing in the last 30 days.", es: "Nada en los últimos 30 días." }
    /// What an operation concerned.
    pub(crate) fn failures(count: u64) {
        en: "1 failure" | "{count} failures",
        es: "1 incidencia" | "{count} incidencias",
    }
    /// Headings of the operations.
    pub(crate) fn operation_headings() {
        en: ["when", "what", "who", "to what", "reason"],
        es: ["cuándo", "qué", "quién", "sobre qué", "motivo"],
    }
    /// Not all operations are listed.
    pub(crate) fn newest_operations(shown: usize) { en: "The newest {shown}.", es: "Las {shown} más recientes." }
    /// The folded configuration.
    pub(crate) fn whole_configuration() { en: "All of it", es: "Completa" }
    /// Before the configuration.
    pub(crate) fn configuration() {
        en: "Every value in force and where it comes from. Secrets are masked.",
        es: "Todos los valores vigentes y de dónde procede cada uno. Los secretos están ocultos.",
    }
    /// In place of the configuration.
    pub(crate) fn configuration_wrong(errors: &str) {
        en: "The files are wrong, and an earlier configuration is in force:\n{errors}",
        es: "Los archivos contienen errores y sigue vigente una configuración anterior:\n{errors}",
    }
    /// Headings of the versions.
    pub(crate) fn version_headings() { en: ["of", "version"], es: ["de", "versión"] }
    /// Of what the versions are.
    pub(crate) fn version_names() {
        en: ["resyncd", "SQLite", "schema", "system"],
        es: ["resyncd", "SQLite", "esquema", "sistema"],
    }
    /// Of what a version is.
    pub(crate) fn running_agent() { en: "the running agent", es: "el agente en marcha" }

    // Plots.

    /// The legend: an upstream was unreachable.
    pub(crate) fn no_connection() { en: "no connection", es: "sin conexión" }
    /// The legend: an upstream was reachable, and nothing was sent to it.
    pub(crate) fn shut() { en: "blocked, failing or paused", es: "rechaza, falla o está en pausa" }
    /// Title of a plot, by its id.
    pub(crate) fn plot(id: &str) {
        "backlog-day" => { en: "Backlog, the last 24 hours", es: "Cola, últimas 24 horas" }
        "backlog-month" => { en: "Backlog, the last 30 days", es: "Cola, últimos 30 días" }
        "attempts-day" => {
            en: "Deliveries and failed attempts, the last 24 hours",
            es: "Entregas e intentos fallidos, últimas 24 horas",
        }
        "attempts-month" => {
            en: "Deliveries and failed attempts, the last 30 days",
            es: "Entregas e intentos fallidos, últimos 30 días",
        }
        "waits" => { en: "Time from recording to delivery", es: "Tiempo desde el registro hasta la entrega" }
        _ => { en: "", es: "" }
    }
    /// The backlog's highest number.
    pub(crate) fn peak(most: u64, at: &str) {
        en: "At most 1 was pending, at {at}." | "At most {most} were pending, at {at}.",
        es: "Hubo como máximo 1 en espera (el {at})." | "Hubo como máximo {most} en espera (el {at}).",
    }
    /// There was no backlog.
    pub(crate) fn no_backlog() { en: "Nothing was pending.", es: "No hubo nada en espera." }
    /// The backlog at the end.
    pub(crate) fn backlog_now(pending: Count, critical: Count, held: Count) {
        en: "Now: {pending} pending, {critical} critical, {held} held.",
        es: "Ahora: en espera, {pending}; críticas, {critical}; retenidas, {held}.",
    }
    /// Lines of the backlog.
    pub(crate) fn backlog_lines() {
        en: ["pending", "critical", "held"],
        es: ["en espera", "críticas", "retenidas"],
    }
    /// Headings of the backlog.
    pub(crate) fn backlog_headings() {
        en: ["when", "pending", "critical", "held"],
        es: ["cuándo", "en espera", "críticas", "retenidas"],
    }
    /// Sums of the attempts.
    pub(crate) fn attempts(recorded: Count, delivered: Count, refused: Count, failed: Count) {
        en: "{recorded} recorded, {delivered} delivered, {refused} refused; {failed} other attempts did not deliver.",
        es: "Registradas, {recorded}; entregadas, {delivered}; rechazadas, {refused}; otros intentos sin entrega, \
             {failed}.",
    }
    /// Bars upwards.
    pub(crate) fn delivered() { en: "delivered", es: "entregadas" }
    /// Bars downwards.
    pub(crate) fn failed_attempts() {
        en: "attempts that failed or were refused",
        es: "intentos fallidos o rechazados",
    }
    /// Headings of the attempts.
    pub(crate) fn attempt_headings() {
        en: ["when", "recorded", "delivered", "failed", "refused", "min without connection", "min not sending"],
        es: ["cuándo", "registradas", "entregadas", "fallidos", "rechazadas", "min sin conexión", "min sin envío"],
    }
    /// There was no outage.
    pub(crate) fn no_outage() { en: "None in the last 30 days.", es: "Ninguna en los últimos 30 días." }
    /// Number and total of the outages.
    pub(crate) fn outages(count: u64, total: &str, step: &str) {
        en: "1 in the last 30 days, {total} in all. Times are exact to {step}; several within {step} are shown as one."
            | "{count} in the last 30 days, {total} in all. Times are exact to {step}; several within {step} are shown \
               as one.",
        es: "1 en los últimos 30 días, {total} en total. Las horas tienen una precisión de {step}; varias en \
             {step} se muestran como una."
            | "{count} en los últimos 30 días, {total} en total. Las horas tienen una precisión de {step}; varias \
               en {step} se muestran como una.",
    }
    /// An outage that has not ended.
    pub(crate) fn until_now(lasted: &str) { en: "{lasted}, until now", es: "{lasted}, hasta ahora" }
    /// Headings of the outages.
    pub(crate) fn outage_headings() {
        en: ["from about", "upstream", "what", "lasted"],
        es: ["desde (aprox.)", "central", "qué", "duración"],
    }
    /// Not all outages are listed.
    pub(crate) fn newest_outages(shown: usize) { en: "The newest {shown}:", es: "Las {shown} más recientes:" }
    /// Without a delivery.
    pub(crate) fn no_delivery() { en: "Nothing was delivered.", es: "No se entregó nada." }
    /// The first part of the distribution.
    pub(crate) fn up_to(bound: &str) { en: "up to {bound}", es: "hasta {bound}" }
    /// A part of the distribution behind the first.
    pub(crate) fn to(bound: &str) { en: "to {bound}", es: "hasta {bound}" }
    /// The last part of the distribution.
    pub(crate) fn over(bound: &str) { en: "over {bound}", es: "más de {bound}" }
    /// What the distribution shows.
    pub(crate) fn deliveries(count: u64) {
        en: "1 delivery, from the recording to the upstream's acceptance."
            | "{count} deliveries, from the recording to the upstream's acceptance.",
        es: "1 entrega, desde el registro hasta que la central la aceptó."
            | "{count} entregas, desde el registro hasta que la central las aceptó.",
    }
    /// The median of the distribution; it is at most this.
    pub(crate) fn half_up_to(bound: &str) {
        en: "Half of them took up to {bound}.",
        es: "La mitad tardó hasta {bound}.",
    }
    /// The median of the distribution, if it is in the last part.
    pub(crate) fn half_over(bound: &str) {
        en: "Half of them took over {bound}.",
        es: "La mitad tardó más de {bound}.",
    }
    /// The longest wait.
    pub(crate) fn longest(span: &str) { en: "The longest took {span}.", es: "La más larga tardó {span}." }
    /// Headings of the distribution.
    pub(crate) fn wait_headings() { en: ["took", "deliveries"], es: ["tardó", "entregas"] }
}

#[cfg(test)]
mod tests {
    use super::{figures, figures_of_the_day};
    use crate::text::Language;

    #[test]
    fn figures_are_aligned_in_every_language() {
        for (_, language) in Language::NAMED {
            let names = language.during(|| [&figures()[..], &figures_of_the_day()[..]].concat());
            assert!(names.iter().all(|name| (1..=14).contains(&name.chars().count())), "{names:?}");
        }
    }
}
