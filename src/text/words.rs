//! Words that several commands share: states, classes, what to do about them, what the cashier reads.

crate::texts! {
    /// In place of an error, of a failure that was handed over and that no attempt has failed for good.
    pub(crate) fn not_sent_yet() { en: "not sent yet", es: "sin enviar todavía" }
    /// The same, after attempts that did not count.
    pub(crate) fn not_accepted_yet(attempts: u64) {
        en: "not accepted yet, 1 attempt" | "not accepted yet, {attempts} attempts",
        es: "sin aceptar todavía, 1 intento" | "sin aceptar todavía, {attempts} intentos",
    }
    /// The state of a failure, as a table shows it.
    pub(crate) fn state_name(state: &str) {
        "due" => { en: "due", es: "lista" }
        "scheduled" => { en: "scheduled", es: "programada" }
        "blocked" => { en: "blocked", es: "bloqueada" }
        "in_flight" => { en: "in_flight", es: "en curso" }
        "held" => { en: "held", es: "retenida" }
        "critical" => { en: "critical", es: "crítica" }
        _ => { en: "", es: "" }
    }
    /// The statuses that are counted: `pending 3`.
    pub(crate) fn status_name(status: &str) {
        "pending" => { en: "pending", es: "en espera" }
        "critical" => { en: "critical", es: "críticas" }
        "held" => { en: "held", es: "retenidas" }
        _ => { en: "", es: "" }
    }
    /// The meaning of a failure's state.
    pub(crate) fn state(state: &str) {
        "due" => { en: "ready to be sent", es: "se enviará cuando llegue su turno" }
        "scheduled" => { en: "waiting for its next attempt", es: "en espera del próximo intento" }
        "blocked" => {
            en: "waiting for an earlier change with the same order key",
            es: "en espera de un cambio anterior con la misma clave de orden",
        }
        "in_flight" => { en: "being sent right now", es: "se está enviando en este momento" }
        "held" => { en: "on hold", es: "se retuvo y no se envía hasta que se libere" }
        "critical" => { en: "needs a person", es: "requiere intervención" }
        _ => { en: "", es: "" }
    }
    /// An action of an operator, as a history shows it. Empty: it is shown by its code.
    pub(crate) fn operation(code: &str) {
        "retry" => { en: "retry", es: "reenvío" }
        "hold" => { en: "hold", es: "retención" }
        "release" => { en: "release", es: "liberación" }
        "discard" => { en: "discard", es: "descarte" }
        "edit" => { en: "edit", es: "corrección" }
        "flush" => { en: "flush", es: "envío inmediato" }
        "pause" => { en: "pause", es: "pausa" }
        "resume" => { en: "resume", es: "reanudación" }
        "cleanup" => { en: "cleanup", es: "limpieza" }
        "import" => { en: "import", es: "importación" }
        "replay" => { en: "replay", es: "repetición" }
        "reload" => { en: "reload", es: "recarga" }
        _ => { en: "", es: "" }
    }
    /// What triggered an attempt. Empty: it is shown by its code.
    pub(crate) fn trigger(code: &str) {
        "auto" => { en: "auto", es: "auto" }
        "manual" => { en: "manual", es: "manual" }
        "probe" => { en: "probe", es: "sondeo" }
        "verify" => { en: "verify", es: "verificación" }
        _ => { en: "", es: "" }
    }
    /// Whether an attempt used up a retry, as a table shows it.
    pub(crate) fn counted(code: &str) {
        "yes" => { en: "yes", es: "sí" }
        "provisional" => { en: "provisional", es: "provisional" }
        _ => { en: "no", es: "no" }
    }
    /// What to do about a critical failure, by the class of its last counted attempt; a command follows.
    pub(crate) fn next_step(class: &str) {
        "refused" => {
            en: "The head office rejects it as it is. Ask them to correct the data, then:",
            es: "La central la rechaza tal como está. Pídale que corrija los datos y después:",
        }
        "failed" => {
            en: "The head office failed to process it several times. Ask them to investigate, then:",
            es: "La central no pudo procesarla en varios intentos. Pídale que revise el error y después:",
        }
        "misconfigured" => {
            en: "The head office denies access to this one, though it accepts others. Have the permissions fixed, \
                 then:",
            es: "La central deniega el acceso a esta, aunque acepta otras. Pídale que corrija los permisos y después:",
        }
        "damaged" => {
            en: "A part of it was damaged on the disk, or changed by another program; it is not sent automatically. \
                 The \
                 row as it was found is in the quarantine directory (resyncd alerts names the file). If the payload is \
                 right as it is:",
            es: "Una parte se dañó en el disco o la modificó otro programa; no se envía automáticamente. La fila, \
                 tal como \
                 se encontró, está en el directorio de cuarentena (resyncd alerts indica el archivo). Si el \
                 contenido es \
                 correcto:",
        }
        "busy" | "throttled" | "unsure" => {
            en: "The head office accepts others, but never this one. Ask them to investigate, then:",
            es: "La central acepta otras, pero nunca esta. Pídale que revise el error y después:",
        }
        _ => { en: "When the cause is removed:", es: "Cuando se haya resuelto la causa:" }
    }
    /// The meaning of a class of attempts, and what to do about it.
    pub(crate) fn advice(class: &str) {
        "unreachable" => {
            en: "The head office could not be reached; this uses up no retry. Check connection, name lookup and \
                 certificate: resyncd doctor.",
            es: "No se pudo contactar con la central; no consume reintentos. Compruebe la conexión, la resolución de \
                 nombres y el certificado: resyncd doctor.",
        }
        "throttled" => {
            en: "The head office asked for fewer requests; this uses up no retry. If it lasts: set max_rate, or have \
                 the \
                 limit there raised.",
            es: "La central pidió reducir las peticiones; no consume reintentos. Si continúa, configure max_rate o pida que \
                 aumenten allí el límite.",
        }
        "busy" => {
            en: "The head office was temporarily unavailable; this uses up no retry while others fail too. If it \
                 lasts: \
                 tell the head office.",
            es: "La central no estuvo disponible temporalmente; no consume reintentos mientras fallen también otras. \
                 Si \
                 continúa, avise a la central.",
        }
        "unsure" => {
            en: "It may have arrived: the response was lost, or proves nothing. It is sent again with the same key.",
            es: "Es posible que haya llegado: la respuesta se perdió o no es concluyente. Se vuelve a enviar con la \
                 misma \
                 clave.",
        }
        "misconfigured" => {
            en: "The head office accepts nothing with these settings: check credentials, certificate and clock with \
                 resyncd doctor.",
            es: "La central no acepta nada con esta configuración: compruebe las credenciales, el certificado y el \
                 reloj \
                 con resyncd doctor.",
        }
        "refused" => {
            en: "The head office rejects it as it is. Correct it there, or with resyncd edit; then: resyncd retry.",
            es: "La central la rechaza tal como está. Corrija los datos allí o con resyncd edit; después: resyncd \
                 retry.",
        }
        "failed" => {
            en: "The head office fails to process it, and each attempt uses up a retry. Ask them to investigate; then: \
                 resyncd retry.",
            es: "La central no logra procesarla y cada intento consume un reintento. Pídale que revise el error; después: \
                 resyncd retry.",
        }
        _ => { en: "", es: "" }
    }
    /// The state of an upstream.
    pub(crate) fn upstream(state: &str) {
        "online" => { en: "online", es: "en línea" }
        "offline" => { en: "no connection", es: "sin conexión" }
        "blocked" => { en: "rejects all requests", es: "rechaza todas las peticiones" }
        "failing" => { en: "fails on every request", es: "falla en todas las peticiones" }
        "paused" => { en: "paused", es: "en pausa" }
        "throttled" => { en: "asked to slow down", es: "pidió reducir el ritmo" }
        "waiting" => { en: "waiting before the next attempt", es: "en espera antes del próximo intento" }
        "logging_in" => { en: "logging in", es: "iniciando sesión" }
        "unknown" => { en: "not contacted yet", es: "aún sin contactar" }
        _ => { en: "", es: "" }
    }
    /// `status`, `top`: the agent is not running.
    pub(crate) fn not_running() {
        en: "The agent is not running: failures are kept, nothing is sent.",
        es: "El agente no está en marcha: las incidencias se conservan, pero no se envía nada.",
    }
    /// `status`, `top`: no upstream is configured.
    pub(crate) fn no_upstream() {
        en: "No upstream is configured: failures are recorded, nothing is sent.",
        es: "No hay ninguna central configurada: las incidencias se registran, pero no se envía nada.",
    }
    /// Undelivered removals of one day, and how to list them; a part of a sentence.
    pub(crate) fn archived_on(count: u64, date: &str) {
        en: "1 archived undelivered on {date} (resyncd history --removed)" |
            "{count} archived undelivered on {date} (resyncd history --removed)",
        es: "1 archivada sin entregar el {date} (resyncd history --removed)" |
            "{count} archivadas sin entregar el {date} (resyncd history --removed)",
    }
    /// The same, of several days.
    pub(crate) fn archived_until(count: u64, date: &str) {
        en: "1 archived undelivered by {date} (resyncd history --removed)" |
            "{count} archived undelivered by {date} (resyncd history --removed)",
        es: "1 archivada sin entregar hasta el {date} (resyncd history --removed)" |
            "{count} archivadas sin entregar hasta el {date} (resyncd history --removed)",
    }
    /// The same, where no more were counted.
    pub(crate) fn archived_or_more(count: u64, date: &str) {
        en: "1 or more archived undelivered by {date} (resyncd history --removed)" |
            "{count} or more archived undelivered by {date} (resyncd history --removed)",
        es: "1 o más archivadas sin entregar hasta el {date} (resyncd history --removed)" |
            "{count} o más archivadas sin entregar hasta el {date} (resyncd history --removed)",
    }
}

// `check --closing`: what the cashier reads.
crate::texts! {
    /// Nothing waits.
    pub(crate) fn closing_all_sent() {
        en: "ALL SENT. You can switch off; nothing is lost.",
        es: "TODO ENVIADO. Puede apagar; no se pierde nada.",
    }
    /// Nothing waits; undelivered removals are named.
    pub(crate) fn closing_all_sent_but(archived: &str) {
        en: "ALL SENT, {archived}. You can switch off; nothing is lost.",
        es: "TODO ENVIADO, {archived}. Puede apagar; no se pierde nada.",
    }
    /// Sales in a cashier's words.
    pub(crate) fn sales(count: u64) { en: "1 sale" | "{count} sales", es: "1 venta" | "{count} ventas" }
    /// Returns.
    pub(crate) fn returns(count: u64) {
        en: "1 return" | "{count} returns",
        es: "1 devolución" | "{count} devoluciones",
    }
    /// Invoices.
    pub(crate) fn invoices(count: u64) { en: "1 invoice" | "{count} invoices", es: "1 factura" | "{count} facturas" }
    /// Payments.
    pub(crate) fn payments(count: u64) { en: "1 payment" | "{count} payments", es: "1 pago" | "{count} pagos" }
    /// Anything else, or several types.
    pub(crate) fn entries(count: u64) { en: "1 entry" | "{count} entries", es: "1 registro" | "{count} registros" }
    /// Waiting may help.
    pub(crate) fn still_to_send(things: &str) {
        en: "{things} still to be sent; leave the till on.",
        es: "{things} por enviar; deje la caja encendida.",
    }
    /// What waits besides what needs support.
    pub(crate) fn also_to_send(things: &str) { en: "{things} still to be sent.", es: "{things} por enviar." }
    /// Waiting will not help.
    pub(crate) fn needs_support(count: u64) {
        en: "1 entry needs support; waiting will not help." | "{count} entries need support; waiting will not help.",
        es: "1 registro requiere soporte; esperar no servirá." | "{count} registros requieren soporte; esperar no servirá.",
    }
    /// Followers of what needs support.
    pub(crate) fn waits_behind(count: u64) {
        en: "1 more waits behind it." | "{count} more wait behind.",
        es: "Detrás espera 1 más." | "Detrás esperan {count} más.",
    }
    /// Why sending may take long, by the state of an upstream.
    pub(crate) fn in_the_way(state: &str, upstream: &str) {
        "paused" => { en: "Sending to {upstream} is paused.", es: "El envío a {upstream} está en pausa." }
        "offline" => { en: "There is no connection to {upstream}.", es: "No hay conexión con {upstream}." }
        "blocked" => {
            en: "{upstream} rejects all requests; tell support.",
            es: "{upstream} rechaza todas las peticiones; avise a soporte.",
        }
        _ => { en: "{upstream} currently has a fault.", es: "{upstream} tiene un problema en este momento." }
    }
    /// The last sentence wherever something is left.
    pub(crate) fn switching_off_loses_nothing() {
        en: "Switching off loses nothing: everything is kept, and sent when the till is on again.",
        es: "Si apaga, no se pierde nada: todo se conserva y se envía cuando la caja vuelva a encenderse.",
    }
}
