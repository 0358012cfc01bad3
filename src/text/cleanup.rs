//! `cleanup`.

crate::texts! {
    /// `--dry-run`: what would be archived.
    pub(crate) fn would(count: u64) {
        en: "1 is old enough; nothing was changed." | "{count} are old enough; nothing was changed.",
        es: "1 ya cumple el plazo; no se cambió nada."
          | "{count} ya cumplen el plazo; no se cambió nada.",
    }
    /// The confirmation.
    pub(crate) fn will(count: u64) {
        en: "1 old failure that needs a person will be archived without being delivered."
          | "{count} old failures that need a person will be archived without being delivered.",
        es: "Se archivará sin entregar 1 incidencia antigua que requiere intervención."
          | "Se archivarán sin entregar {count} incidencias antiguas que requieren intervención.",
    }
    /// The result.
    pub(crate) fn done(count: u64) {
        en: "1 old failure was archived; old history was deleted."
          | "{count} old failures were archived; old history was deleted.",
        es: "Se archivó 1 incidencia antigua; se eliminó el historial antiguo."
          | "Se archivaron {count} incidencias antiguas; se eliminó el historial antiguo.",
    }
}
