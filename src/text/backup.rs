//! `backup`.

use std::fmt::Display;

crate::texts! {
    /// There is nothing to copy.
    pub(crate) fn no_database(file: impl Display) {
        en: "there is no database at {file} yet",
        es: "todavía no hay ninguna base de datos en {file}",
    }
    /// The copy is complete and in its place.
    pub(crate) fn done(count: u64, file: impl Display, size: &str) {
        en: "{file}: 1 live failure, {size}, examined. It holds payloads: keep it safe."
          | "{file}: {count} live failures, {size}, examined. It holds payloads: keep it safe.",
        es: "{file}: 1 incidencia en cola, {size}; copia verificada. Incluye contenidos: guárdela en un lugar seguro."
          | "{file}: {count} incidencias en cola, {size}; copia verificada. Incluye contenidos: guárdela en un lugar seguro.",
    }
    /// The copy would overwrite the original.
    pub(crate) fn is_the_database(file: impl Display) {
        en: "{file} is the database itself",
        es: "{file} es la propia base de datos",
    }
    /// The name belongs to a directory or a device.
    pub(crate) fn not_a_file(file: impl Display) {
        en: "{file} exists and is not a regular file; choose another name",
        es: "{file} ya existe y no es un archivo normal; elija otro nombre",
    }
    /// The name belongs to another file.
    pub(crate) fn exists(file: impl Display) {
        en: "{file} exists already; choose another name, or use --force to replace it",
        es: "{file} ya existe; elija otro nombre o use --force para reemplazarlo",
    }
    /// The file of an unfinished copy exists.
    pub(crate) fn unfinished(part: impl Display) {
        en: "{part} exists: another backup is running, or one was interrupted; in that case remove the file",
        es: "{part} ya existe: hay otra copia de seguridad en curso o se interrumpió una; en ese caso, elimine el archivo",
    }
    /// The copy's file cannot be created; `how` says whose the directory is.
    pub(crate) fn creating(part: impl Display, error: impl Display, how: &str) {
        en: "creating {part}: {error}{how}",
        es: "al crear {part}: {error}{how}",
    }
    /// Copying failed.
    pub(crate) fn copying(part: impl Display, error: impl Display) {
        en: "copying to {part}: {error}",
        es: "al copiar en {part}: {error}",
    }
    /// The copy is not a sound database.
    pub(crate) fn examining(part: impl Display, error: impl Display) {
        en: "examining {part}: {error}",
        es: "al verificar {part}: {error}",
    }
    /// The copy could not be synced or renamed.
    pub(crate) fn syncing(file: impl Display, error: impl Display) {
        en: "writing {file} to disk: {error}",
        es: "al escribir {file} en el disco: {error}",
    }
}
