//! `reload`.

crate::texts! {
    /// The agent refused the configuration; `why` has a line for each error.
    pub(crate) fn refused(why: &str) {
        en: "the old configuration stays in force.\n{why}",
        es: "sigue vigente la configuración anterior.\n{why}",
    }
    /// The files say what they said before.
    pub(crate) fn no_change() { en: "Nothing has changed.", es: "No hay ningún cambio." }
    /// Sections that were changed.
    pub(crate) fn in_force(sections: &str) { en: "In force now: {sections}.", es: "Ya vigente: {sections}." }
    /// Sections that are read at a start only.
    pub(crate) fn needs_restart(sections: &str) {
        en: "Needs a restart: {sections}. Then: systemctl restart resyncd",
        es: "Requiere reiniciar el agente: {sections}. Para hacerlo: systemctl restart resyncd",
    }
}
