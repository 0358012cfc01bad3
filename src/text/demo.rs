//! `demo`.

crate::texts! {
    /// The first heading.
    pub(crate) fn unreachable() {
        en: "1. The head office cannot be reached. Ten synchronisations fail and are recorded.",
        es: "1. No se puede contactar con la central. Diez sincronizaciones fallan y se registran.",
    }
    /// The second heading.
    pub(crate) fn power_fails() {
        en: "2. The power fails: the agent is killed with -9, and started again.",
        es: "2. Se corta la luz: se termina el agente con kill -9 y se inicia de nuevo.",
    }
    /// The third heading.
    pub(crate) fn connection_breaks() {
        en: "3. The connection comes back, and breaks again while failures are being sent.",
        es: "3. La conexión vuelve y se corta otra vez en pleno envío.",
    }
    /// The fourth heading.
    pub(crate) fn connection_stays() {
        en: "4. The connection is back for good. One response is lost on the way; one failure is refused.",
        es: "4. La conexión vuelve definitivamente. Una respuesta se pierde por el camino; la central rechaza una \
             incidencia.",
    }
    /// The fifth heading.
    pub(crate) fn a_person_corrects() {
        en: "5. A person looks at what is stuck, and corrects it.",
        es: "5. Una persona revisa lo que está atascado y lo corrige.",
    }
    /// The last heading.
    pub(crate) fn received() { en: "What the head office received", es: "Lo que recibió la central" }
    /// The result.
    pub(crate) fn result() {
        en: "Each one took effect once, in order for each entity, under one key in all attempts. What a person \
             corrected was sent under a new one.",
        es: "Cada incidencia surtió efecto una sola vez, en el orden de su entidad y con una misma clave en todos los \
             intentos. Lo que corrigió una persona se envió con una clave nueva.",
    }
    /// The reason that the person gives.
    pub(crate) fn reason() { en: "it was SKU 4712", es: "era el SKU 4712" }
    /// The request whose response was lost.
    pub(crate) fn response_lost(entity: &str, action: &str, key: &str) {
        en: "(Head office: {entity} {action} under {key}: accepted, the response was lost.)",
        es: "(La central: {entity} {action} con la clave {key}: aceptada; la respuesta se perdió.)",
    }
    /// The request after it.
    pub(crate) fn known_by_key(entity: &str, action: &str, key: &str) {
        en: "(Head office: {entity} {action} under {key}: known by its key, nothing is done twice.)",
        es: "(La central: {entity} {action} con la clave {key}: ya conocida por su clave; no se procesa dos veces.)",
    }
    /// The table of requests: accepted, and the response was lost. At most 22 columns.
    pub(crate) fn lost_on_the_way() { en: "201, lost on the way", es: "201, se perdió" }
    /// The table of requests: a key that was known. At most 22 columns.
    pub(crate) fn known_already() { en: "201, known already", es: "201, ya conocida" }
    /// Before the agent's log, if the demo fails.
    pub(crate) fn log(log: &str) { en: "The agent's log:\n{log}", es: "Log del agente:\n{log}" }
    /// `--keep`
    pub(crate) fn kept(dir: &str, pid: u32) {
        en: "\nThe agent keeps running (its head office ends with this demo). Reach it with:\n\n  \
             export RESYNCD_CONFIG={dir}/resyncd.toml\n\nand end it with:\n\n  kill {pid}; rm -r {dir}",
        es: "\nEl agente sigue en marcha (su central termina con esta demostración). Para usarlo:\n\n  \
             export RESYNCD_CONFIG={dir}/resyncd.toml\n\ny para terminarlo:\n\n  kill {pid}; rm -r {dir}",
    }

    // Conditions, named as in the errors below.

    /// A condition.
    pub(crate) fn the_agent_answers() { en: "the agent answers", es: "el agente responde" }
    /// A condition.
    pub(crate) fn head_office_is_away() {
        en: "the agent detects that the head office does not answer",
        es: "el agente detecta que la central no responde",
    }
    /// A condition.
    pub(crate) fn all_ten_are_there() { en: "all ten are still there", es: "siguen estando las diez" }
    /// A condition.
    pub(crate) fn connection_has_broken() {
        en: "the connection has broken again",
        es: "la conexión se ha cortado otra vez",
    }
    /// A condition.
    pub(crate) fn only_the_stuck_one_is_left() {
        en: "only what is stuck is left",
        es: "solo queda lo que está atascado",
    }
    /// A condition.
    pub(crate) fn everything_is_sent() { en: "everything has been sent", es: "se ha enviado todo" }

    // Errors.

    /// A condition was waited for in vain.
    pub(crate) fn did_not_happen(condition: &str, health: &str) {
        en: "this did not happen: {condition}. The agent's last reply: {health}",
        es: "esto no ocurrió: {condition}. Última respuesta del agente: {health}",
    }
    /// A condition does not hold.
    pub(crate) fn is_not_so(condition: &str, health: &str) {
        en: "this is not so: {condition}. The agent's reply: {health}",
        es: "esto no es así: {condition}. Respuesta del agente: {health}",
    }
    /// A command failed.
    pub(crate) fn command_ended(command: &str, status: &str) {
        en: "resyncd {command} ended with {status}",
        es: "resyncd {command} terminó con {status}",
    }
    /// The agent failed.
    pub(crate) fn agent_ended(status: &str) {
        en: "the agent ended with {status}",
        es: "el agente terminó con {status}",
    }
    /// The head office did not accept all.
    pub(crate) fn accepted_of(accepted: usize, all: u64) {
        en: "the head office accepted {accepted} of {all}",
        es: "la central aceptó {accepted} de {all}",
    }
    /// An entity's actions, in another order.
    pub(crate) fn arrived_as(entity: &str, actions: &str, expected: &str) {
        en: "{entity} arrived as {actions}, not as {expected}",
        es: "{entity} llegó como {actions}, no como {expected}",
    }
    /// The lost response had another effect.
    pub(crate) fn not_repeated_once(requests: &str) {
        en: "after the lost response, the same key was not sent once more: {requests}",
        es: "después de la respuesta perdida, no se volvió a enviar una vez la misma clave: {requests}",
    }
    /// The correction had another effect.
    pub(crate) fn not_corrected_once(requests: &str) {
        en: "the refused failure was not sent once, corrected and under a new key: {requests}",
        es: "la incidencia rechazada no se envió una vez, corregida y con una clave nueva: {requests}",
    }
}
