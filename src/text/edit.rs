//! `edit`, the editor, and the difference that is shown before.

use std::fmt::Display;

crate::texts! {
    /// The edit would change nothing.
    pub(crate) fn no_difference(seq: impl Display) {
        en: "nothing is different. To send it again as it is: resyncd retry {seq}",
        es: "no hay ningún cambio. Para volver a enviarla tal como está: resyncd retry {seq}",
    }
    /// The confirmation.
    pub(crate) fn will(seq: impl Display) {
        en: "This changes failure {seq}, and makes it due now.",
        es: "Se modificará la incidencia n.º {seq} y quedará lista para enviarse.",
    }
    /// A payload that was JSON would no longer be.
    pub(crate) fn no_longer_json() {
        en: "the old payload is JSON and the new one is not; if that is meant: --payload-type text or bytes",
        es: "el contenido anterior es JSON y el nuevo no; si es lo que quiere: --payload-type text o bytes",
    }
    /// An editor cannot open these.
    pub(crate) fn is_bytes() {
        en: "the payload is binary, so the new one has to come from a file: --payload-file",
        es: "el contenido es binario, así que el nuevo tiene que venir de un archivo: --payload-file",
    }
    /// What was typed is broken.
    pub(crate) fn broken_json(error: impl Display) {
        en: "the edited text is not valid JSON any more ({error}); nothing was changed",
        es: "el texto editado ya no es JSON válido ({error}); no se cambió nada",
    }
    /// The payload's type changes too.
    pub(crate) fn other_kind(old: &str, new: &str) {
        en: "Note: the old payload is of the type {old}, the new one {new}.",
        es: "Nota: el contenido anterior es de tipo {old}; el nuevo, de tipo {new}.",
    }
    /// Only invisible characters differ.
    pub(crate) fn only_blanks() {
        en: "(only line ends or blanks differ)",
        es: "(solo cambian los finales de línea o los espacios)",
    }
    /// Binary content: its length and its beginning.
    pub(crate) fn bytes(count: u64, start: &str) {
        en: "1 byte: {start}" | "{count} bytes: {start}",
        es: "1 byte: {start}" | "{count} bytes: {start}",
    }
    /// The result.
    pub(crate) fn done(seq: impl Display) {
        en: "Failure {seq} is changed.",
        es: "La incidencia n.º {seq} se ha modificado.",
    }
    /// It belongs to another entity now.
    pub(crate) fn renumbered(seq: impl Display) {
        en: "It is number {seq} now, behind all that were recorded before.",
        es: "Ahora es la n.º {seq}, detrás de todas las registradas antes.",
    }
    /// What happens next, by its status.
    pub(crate) fn next(status: &str, seq: impl Display) {
        "held" => {
            en: "It stays on hold; when it may be sent: resyncd release {seq}",
            es: "Sigue retenida; cuando se pueda enviar: resyncd release {seq}",
        }
        "critical" => {
            en: "No route of the configuration is for it, so no. {seq} still needs a person.",
            es: "Ninguna ruta de la configuración le corresponde, así que la n.º {seq} sigue requiriendo intervención.",
        }
        _ => {
            en: "It is due now, and will be sent when its turn comes.",
            es: "Está lista para enviarse y se enviará cuando llegue su turno.",
        }
    }
    /// It keeps its idempotency key.
    pub(crate) fn same_key(key: &str, seq: impl Display) {
        en: "An earlier attempt may have arrived, so it keeps its key {key}: an upstream that has it already will not \
             post it twice.\n\
             If it surely has not arrived: resyncd edit {seq} --new-key --reason …",
        es: "Es posible que un intento anterior haya llegado, por lo que conserva su clave {key}: si la central ya la \
             tiene, no la procesará dos veces.\n\
             Si es seguro que no llegó: resyncd edit {seq} --new-key --reason …",
    }
    /// It has a new idempotency key.
    pub(crate) fn new_key(key: &str) {
        en: "It will be sent under a new key: {key}",
        es: "Se enviará con una clave nueva: {key}",
    }
    /// The editor's temporary file cannot be used.
    pub(crate) fn editors_file(path: impl Display, error: impl Display) {
        en: "a file for the editor, {path}: {error}; use --payload-file instead",
        es: "el archivo para el editor, {path}: {error}; use --payload-file en su lugar",
    }
    /// The editor reports a failure.
    pub(crate) fn editor_failed(program: &str, status: impl Display) {
        en: "{program} ended with {status}; nothing was changed",
        es: "{program} terminó con {status}; no se cambió nada",
    }
    /// The editor does not exist.
    pub(crate) fn no_editor(program: &str, error: impl Display) {
        en: "starting {program}: {error}; set EDITOR",
        es: "al iniciar {program}: {error}; defina EDITOR",
    }
}
