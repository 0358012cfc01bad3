//! `stats`.

crate::texts! {
    /// What the numbers count, in the order recorded, delivered, discarded, cleaned up.
    pub(crate) fn outcomes() {
        en: ["recorded", "delivered", "discarded", "cleaned"],
        es: ["registradas", "entregadas", "descartadas", "archivadas"],
    }
    /// Above the numbers.
    pub(crate) fn since(at: &str) { en: "Since {at}:", es: "A partir de {at}:" }
    /// The table would be empty.
    pub(crate) fn none_left() {
        en: "Nothing that was recorded since then is still here.",
        es: "No queda nada de lo registrado desde entonces.",
    }
    /// Above the table.
    pub(crate) fn still_here() {
        en: "Still here, of what was recorded since then:",
        es: "De lo registrado desde entonces, sigue aquí:",
    }
    /// Headings of the table.
    pub(crate) fn headings() {
        en: ["TYPE", "ACTION", "FAILURES", "RETRIES (MEAN)", "(MOST)"],
        es: ["TIPO", "ACCIÓN", "INCIDENCIAS", "REINTENTOS (MEDIA)", "(MÁX.)"],
    }
}
