//! `top`: the live screen, from 80 × 24 on.

use super::Count;

crate::texts! {
    /// The agent does not answer.
    pub(crate) fn no_answer(span: &str, why: &str) {
        en: "NO ANSWER for {span}: {why}",
        es: "SIN RESPUESTA desde hace {span}: {why}",
    }
    /// The data is old.
    pub(crate) fn as_it_was(span: &str) { en: "as it was {span} ago", es: "datos de hace {span}" }
    /// The columns of the upstreams.
    pub(crate) fn upstream_headings() {
        en: ["UPSTREAM", "STATE", "SINCE", "NEXT", "WHY"],
        es: ["CENTRAL", "ESTADO", "DESDE", "PRÓXIMO", "MOTIVO"],
    }
    /// More upstreams than fit.
    pub(crate) fn more_upstreams(count: usize) {
        en: "and {count} more: resyncd status",
        es: "y {count} más: resyncd status",
    }
    /// A countdown.
    pub(crate) fn countdown(left: &str) { en: "in {left}", es: "en {left}" }
    /// The label of a line, at most 9 characters.
    pub(crate) fn label(line: &str) {
        "now" => { en: "now", es: "ahora" }
        "oldest" => { en: "oldest", es: "antigua" }
        "pending" => { en: "pending", es: "en espera" }
        _ => { en: "a minute", es: "por min" }
    }
    /// The label of a section, which may have a number behind it: at most 7 characters.
    pub(crate) fn section(name: &str) {
        "alerts" => { en: "alerts", es: "alertas" }
        "blocks" => { en: "blocks", es: "bloquea" }
        _ => { en: "errors", es: "errores" }
    }
    /// A section without entries.
    pub(crate) fn none() { en: "none", es: "nada" }
    /// The counts, and when something was delivered.
    pub(crate) fn figures(counts: &str, delivered: &str) {
        en: "{counts}   last delivery {delivered}",
        es: "{counts}   entregado {delivered}",
    }
    /// The oldest pending failure.
    pub(crate) fn waits(age: &str, seq: i64, failure: &str) {
        en: "waits {age}: no. {seq} {failure}",
        es: "espera desde hace {age}: n.º {seq} {failure}",
    }
    /// The highest backlog.
    pub(crate) fn most(most: Count, span: &str) { en: "   most {most} in {span}", es: "   máx. {most} en {span}" }
    /// The rates per minute.
    pub(crate) fn rates(recorded: &str, delivered: &str, failed: &str, span: &str) {
        en: "recorded {recorded}   delivered {delivered}   failed {failed}   (over {span})",
        es: "registradas {recorded}   entregadas {delivered}   fallidas {failed}   (en {span})",
    }
    /// An active alert. `of` is empty or its subject, `since` begins with its preposition.
    pub(crate) fn alert(kind: &str, of: &str, since: &str, message: &str) {
        en: "{kind}{of} {since}: {message}",
        es: "{kind}{of} {since}: {message}",
    }
    /// A failure that others wait for.
    pub(crate) fn blocks(waiting: u64, seq: i64, what: &str) {
        en: "no. {seq} {what}: 1 waits behind it" | "no. {seq} {what}: {waiting} wait behind it",
        es: "n.º {seq} {what}: 1 espera detrás" | "n.º {seq} {what}: {waiting} esperan detrás",
    }
    /// Attempts that ended alike.
    pub(crate) fn alike(attempts: Count, class: &str, last: &str, seq: i64, error: &str) {
        en: "{attempts} × {class}, last {last} ago (no. {seq}) {error}",
        es: "{attempts} × {class}, último hace {last} (n.º {seq}) {error}",
    }
    /// The class of all others.
    pub(crate) fn others() { en: "others", es: "otros" }
    /// No failure matches.
    pub(crate) fn no_failures() { en: "no failures", es: "ninguna incidencia" }
    /// All are shown.
    pub(crate) fn failures(count: u64) {
        en: "1 failure" | "{count} failures",
        es: "1 incidencia" | "{count} incidencias",
    }
    /// The first ones are shown.
    pub(crate) fn first_failures(shown: Count, all: Count) {
        en: "the first {shown} of {all} failures",
        es: "las primeras {shown} de {all} incidencias",
    }
    /// A search found them.
    pub(crate) fn failures_found(count: u64) {
        en: "1 failure found" | "{count} failures found",
        es: "1 incidencia encontrada" | "{count} incidencias encontradas",
    }
    /// The filter behind the number.
    pub(crate) fn filter(typed: &str) {
        en: "   filter: {typed}   (Esc shows all)",
        es: "   filtro: {typed}   (Esc: todas)",
    }
    /// Asks before an operation.
    pub(crate) fn ask(deed: &str, seq: i64, failure: &str) {
        "retry" => {
            en: "Send no. {seq} {failure} again now? Enter: yes, Esc: no",
            es: "¿Volver a enviar ahora la n.º {seq} {failure}? Enter: sí, Esc: no",
        }
        "hold" => {
            en: "Put no. {seq} {failure} on hold? Enter: yes, Esc: no",
            es: "¿Retener la n.º {seq} {failure}? Enter: sí, Esc: no",
        }
        "release" => {
            en: "Release no. {seq} {failure}? Enter: yes, Esc: no",
            es: "¿Liberar la n.º {seq} {failure}? Enter: sí, Esc: no",
        }
        _ => {
            en: "Discard no. {seq} {failure}? Enter: yes, Esc: no",
            es: "¿Descartar la n.º {seq} {failure}? Enter: sí, Esc: no",
        }
    }
    /// Asks for the reason.
    pub(crate) fn reason(typed: &str) {
        en: "Reason, for the audit: {typed}_",
        es: "Motivo, para la auditoría: {typed}_",
    }
    /// The list is empty.
    pub(crate) fn none_selected() {
        en: "No failure is selected, or it is no longer shown.",
        es: "No hay ninguna incidencia seleccionada o ya no se muestra.",
    }
    /// The thread that queries has ended.
    pub(crate) fn broken_off() {
        en: "the part that queries the agent has failed; start top again",
        es: "la parte que consulta al agente ha fallado; vuelva a iniciar top",
    }
    /// The agent never ran.
    pub(crate) fn was_not_running() {
        en: "the agent was not running. Start it: systemctl start resyncd, or: resyncd run",
        es: "el agente no estaba en marcha. Para iniciarlo: systemctl start resyncd, o bien: resyncd run",
    }
    /// Input or output is no terminal.
    pub(crate) fn needs_a_terminal() {
        en: "top needs a terminal for its screen and its keys. To look once: resyncd status; for a program: resyncd \
             status --json, or resyncd metrics",
        es: "top necesita un terminal para la pantalla y las teclas. Para una sola consulta: resyncd status; para un \
             programa: resyncd status --json o resyncd metrics",
    }
    /// `TERM=dumb`
    pub(crate) fn dumb_terminal() {
        en: "this terminal cannot show a screen (TERM=dumb). To look once: resyncd status; for a program: resyncd \
             status --json, or resyncd metrics",
        es: "este terminal no puede mostrar una pantalla (TERM=dumb). Para una sola consulta: resyncd status; para un \
             programa: resyncd status --json o resyncd metrics",
    }
}

// The filter.
crate::texts! {
    /// `type=`
    pub(crate) fn no_value(word: &str) { en: "{word} has no value", es: "{word} no tiene valor" }
    /// `status=lost`
    pub(crate) fn statuses(all: &str) { en: "status is one of {all}", es: "status es uno de {all}" }
    /// `kind=SALE`
    pub(crate) fn unknown_name(name: &str) {
        en: "{name}= is none of type entity action upstream class status since until",
        es: "{name}= no es ninguno de type entity action upstream class status since until",
    }
}

// The keys: one line of at most 80 columns each; the help has at most 21.
crate::texts! {
    /// The list's keys.
    pub(crate) fn keys() {
        en: "arrows choose  Enter show  r send again  h hold  / filter  ? help  q quit",
        es: "flechas elegir  Enter ver  r reenviar  h retener  / filtrar  ? ayuda  q salir",
    }
    /// The keys of a failure's page.
    pub(crate) fn page_keys() {
        en: "arrows scroll  r send again  h hold, release  Esc back  q quit",
        es: "flechas desplazar  r reenviar  h retener, liberar  Esc volver  q salir",
    }
    /// The help's keys.
    pub(crate) fn help_keys() { en: "any key: back", es: "cualquier tecla: volver" }
    /// All keys.
    pub(crate) fn help() {
        en: "\
Up Down PgUp PgDn Home End   choose a failure, or scroll its page
Enter                        show all that is known of the chosen failure
r                            send it again now (as: resyncd retry)
h                            put it on hold, or release it
/                            show only some; Esc: show all again
Ctrl-L                       redraw the screen
q  Ctrl-C                    quit

r and h ask for confirmation and a reason. Enter confirms, Esc cancels; who and
why are kept in the audit, as with the commands.

A filter is a status (critical, held, pending), name=value with the names
type, entity, action, upstream, class, status, since (2h, 06:12), until,
or any other words, which are searched in what is shown of a failure.

Pending failures are sent automatically. Critical ones need a person. Held
ones were stopped by an operator. Closing this screen loses nothing.",
        es: "\
↑ ↓ RePág AvPág Inicio Fin   elegir una incidencia o desplazar su página
Enter                        ver todo lo que se sabe de la incidencia elegida
r                            volver a enviarla ahora (como: resyncd retry)
h                            retenerla o liberarla
/                            mostrar solo algunas; Esc: volver a mostrar todas
Ctrl-L                       redibujar la pantalla
q  Ctrl-C                    salir

r y h piden confirmación y un motivo. Enter confirma, Esc cancela; quién y por
qué quedan en la auditoría, igual que con los comandos.

Un filtro es un estado (critical: crítica, held: retenida, pending: en espera),
nombre=valor con los nombres type, entity, action, upstream, class, status,
since (2h, 06:12), until, u otras palabras, que se buscan en lo que se muestra.

Las que están en espera se envían automáticamente. Las críticas requieren
intervención. Las retenidas las detuvo un operador. Al cerrar no se pierde nada.",
    }
}
