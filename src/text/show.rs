//! `show`.

crate::texts! {
    /// The title of a failure.
    pub(crate) fn title(failure: &str, seq: &str, id: &str) {
        en: "{failure}   no. {seq}   {id}",
        es: "{failure}   n.º {seq}   {id}",
    }
    /// The label of a line, at most 10 characters.
    pub(crate) fn label(line: &str) {
        "recorded" => { en: "Recorded", es: "Registrada" }
        "error" => { en: "Error", es: "Error" }
        "retries" => { en: "Retries", es: "Reintentos" }
        "upstream" => { en: "Upstream", es: "Central" }
        "key" => { en: "Key", es: "Clave" }
        "order_key" => { en: "Order key", es: "Orden" }
        "next" => { en: "Next", es: "Siguiente" }
        _ => { en: "Blocks", es: "Bloquea" }
    }
    /// The state of a failure on hold; `deed` says when and who.
    pub(crate) fn put_on_hold(deed: &str) { en: "put on hold {deed}", es: "se retuvo {deed}" }
    /// When and where it was recorded.
    pub(crate) fn recorded(ago: &str, terminal: &str) { en: "{ago} on {terminal}", es: "{ago}, en {terminal}" }
    /// How many retries were used up.
    pub(crate) fn retries(count: u64) { en: "1 used" | "{count} used", es: "1 consumido" | "{count} consumidos" }
    /// How many attempts were made, counted or not.
    pub(crate) fn attempts(count: u64) {
        en: "1 attempt" | "{count} attempts",
        es: "1 intento" | "{count} intentos",
    }
    /// It has no upstream because no route matches.
    pub(crate) fn no_route() {
        en: "none: no route in the configuration matches it",
        es: "ninguna: no le corresponde ninguna ruta de la configuración",
    }
    /// It has no upstream because there is none.
    pub(crate) fn no_upstream() {
        en: "none is configured; it is kept until there is one",
        es: "no hay ninguna configurada; se conserva hasta que la haya",
    }
    /// The next lines of a list that was cut.
    pub(crate) fn in_all(numbers: &str, count: usize) {
        en: "{numbers}, … ({count} in all)",
        es: "{numbers}, … ({count} en total)",
    }
    /// The same, where no more were counted.
    pub(crate) fn or_more(numbers: &str, count: usize) {
        en: "{numbers}, … ({count} or more)",
        es: "{numbers}, … ({count} o más)",
    }
    /// A failure of a replay of which later ones are still missing: its state.
    pub(crate) fn part_of_a_replay() {
        en: "what followed it is still to be replayed, and newer ones wait behind it",
        es: "falta volver a enviar lo que le seguía, y las más nuevas esperan detrás de ella",
    }
    /// The same: what happens next.
    pub(crate) fn when_the_replay_continues() {
        en: "as soon as the replay continues: run the command that it printed.",
        es: "en cuanto continúe el reenvío: ejecute el comando que mostró.",
    }
    /// The same: the other way.
    pub(crate) fn to_release_alone(seq: &str) {
        en: "Or, without the rest: resyncd release {seq}",
        es: "O, sin el resto: resyncd release {seq}",
    }
    /// Its only attempt has no stored end.
    pub(crate) fn cut_off() {
        en: "Its only attempt was cut off: whether it arrived is not known.",
        es: "Su único intento se interrumpió: no se sabe si llegó.",
    }
    /// It has no attempt.
    pub(crate) fn not_attempted() { en: "It has not been attempted yet.", es: "Todavía no se ha intentado enviarla." }
    /// It is being sent, and no attempt has ended.
    pub(crate) fn first_attempt_under_way() {
        en: "Its first attempt is under way; the result is shown here when it has ended.",
        es: "Su primer intento está en curso; el resultado aparecerá aquí cuando termine.",
    }
    /// The archive has its delivery, and its history was deleted.
    pub(crate) fn attempts_forgotten(count: u64) {
        en: "Its attempt is no longer in the history." | "Its {count} attempts are no longer in the history.",
        es: "Su intento ya no está en el historial." | "Sus {count} intentos ya no están en el historial.",
    }
    /// An imported failure: its retries were counted elsewhere.
    pub(crate) fn attempted_elsewhere() {
        en: "It has not been attempted here yet. Its retries were used before it was imported.",
        es: "Aquí todavía no se ha intentado enviarla. Sus reintentos se consumieron antes de importarla.",
    }
    /// The table has only the newest entries.
    pub(crate) fn last_entries(count: usize, name: &str) {
        en: "The last {count} entries; all: resyncd history {name}",
        es: "Las últimas {count} entradas; todas: resyncd history {name}",
    }
    /// `--payload`
    pub(crate) fn payload() { en: "Payload", es: "Contenido" }
    /// `--payload`, of bytes.
    pub(crate) fn payload_bytes() { en: "Payload (bytes, in base64)", es: "Contenido (bytes, en base64)" }
    /// There is no payload.
    pub(crate) fn none() { en: "(none)", es: "(ninguno)" }
    /// `--payload`: the response.
    pub(crate) fn last_response() { en: "Last response", es: "Última respuesta" }
    /// It left, and its history does not say how.
    pub(crate) fn no_longer_waiting() { en: "is no longer waiting", es: "ya no está en espera" }
}

// When it is sent, and what to do.
crate::texts! {
    /// The agent is not running.
    pub(crate) fn when_started() {
        en: "when the agent runs: systemctl start resyncd, or: resyncd run",
        es: "cuando el agente esté en marcha: systemctl start resyncd, o bien: resyncd run",
    }
    /// The state of the upstream is unknown.
    pub(crate) fn when_accepting(upstream: &str) {
        en: "as soon as {upstream} accepts requests",
        es: "en cuanto {upstream} acepte peticiones",
    }
    /// By the state of the upstream; `line` is about it.
    pub(crate) fn when(state: &str, upstream: &str, line: &str) {
        "paused" => {
            en: "when {upstream} is resumed: resyncd resume {upstream}. {line}",
            es: "cuando se reanude {upstream}: resyncd resume {upstream}. {line}",
        }
        "offline" => {
            en: "when {upstream} can be reached again. {line}",
            es: "cuando se recupere la conexión con {upstream}. {line}",
        }
        "blocked" => {
            en: "when {upstream} accepts requests again. {line} What to do: sudo resyncd doctor",
            es: "cuando {upstream} vuelva a aceptar peticiones. {line} Qué hacer: sudo resyncd doctor",
        }
        _ => {
            en: "as soon as {upstream} accepts requests. {line}",
            es: "en cuanto {upstream} acepte peticiones. {line}",
        }
    }
    /// There is no upstream.
    pub(crate) fn when_configured() {
        en: "when an upstream is configured: url in [upstream.hq], then: resyncd reload",
        es: "cuando haya una central configurada: url en [upstream.hq]; después: resyncd reload",
    }
    /// No route matches.
    pub(crate) fn add_a_route() {
        en: "add a route for it to the configuration, then: resyncd reload. It is then sent automatically",
        es: "añada a la configuración una ruta para ella; después: resyncd reload. Entonces se envía automáticamente",
    }
    /// Another way than the first.
    pub(crate) fn or_edit(seq: &str) {
        en: "Or correct it here: resyncd edit {seq} --reason …",
        es: "O corríjala aquí: resyncd edit {seq} --reason …",
    }
    /// It waits for another failure that is not known any more.
    pub(crate) fn after_the_one_before() {
        en: "as soon as the one before it is delivered or removed",
        es: "en cuanto se entregue o se retire la anterior",
    }
    /// It waits for another failure, by the status of that.
    pub(crate) fn after(status: &str, number: &str) {
        "critical" => {
            en: "after no. {number}, which needs a person: resyncd show {number}",
            es: "después de la n.º {number}, que requiere intervención: resyncd show {number}",
        }
        "held" => {
            en: "after no. {number}, which is on hold: resyncd release {number}",
            es: "después de la n.º {number}, que está retenida: resyncd release {number}",
        }
        _ => {
            en: "after no. {number}: resyncd show {number}",
            es: "después de la n.º {number}: resyncd show {number}",
        }
    }
    /// The upstream asked for a later time.
    pub(crate) fn asked_to_wait(asked: &str, seq: &str) {
        en: "later: {asked}. To send it anyway: resyncd retry {seq}",
        es: "más tarde: {asked}. Para enviarla de todos modos: resyncd retry {seq}",
    }
    /// It has a time.
    pub(crate) fn at_a_time(ago: &str) {
        en: "{ago}, or when the connection is back after an outage",
        es: "{ago}, o cuando se recupere la conexión tras un corte",
    }
    /// It waits for the upstream.
    pub(crate) fn when_answering(upstream: &str) {
        en: "when {upstream} answers again; the agent keeps checking",
        es: "cuando {upstream} vuelva a responder; el agente sigue comprobándolo",
    }
    /// It is on hold.
    pub(crate) fn to_release(seq: &str) {
        en: "to send it: resyncd release {seq}",
        es: "para enviarla: resyncd release {seq}",
    }
}
