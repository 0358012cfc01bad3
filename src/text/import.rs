//! `import`: the rows of its input, and what became of them.

use super::Count;
use std::fmt::Display;

/// How the rows of an input are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Each is a line.
    Line,
    /// Each is one of an array or a table.
    Row,
}

crate::texts! {
    /// The confirmation of `--force`.
    pub(crate) fn will(count: u64) {
        en: "1 failure will be imported, void ones of the archive too."
          | "{count} failures will be imported, void ones of the archive too.",
        es: "Se importará 1 incidencia, también si está anulada en el archivo."
          | "Se importarán {count} incidencias, también las anuladas del archivo.",
    }
    /// One place of the input, and what is wrong there.
    pub(crate) fn wrong(unit: Unit, number: u64, why: &str) {
        Unit::Line => { en: "line {number}: {why}", es: "línea {number}: {why}" }
        Unit::Row => { en: "row {number}: {why}", es: "fila {number}: {why}" }
    }
    /// The agent refused a row.
    pub(crate) fn refused(unit: Unit, number: u64, why: &str) {
        Unit::Line => { en: "line {number}: refused: {why}", es: "línea {number}: rechazada: {why}" }
        Unit::Row => { en: "row {number}: refused: {why}", es: "fila {number}: rechazada: {why}" }
    }
    /// Refused rows that are not shown.
    pub(crate) fn more_refused(count: u64) {
        en: "… and 1 more was refused." | "… and {count} more were refused.",
        es: "… y 1 más fue rechazada." | "… y {count} más fueron rechazadas.",
    }
    /// The number of rows that were imported, and of those that the agent had.
    pub(crate) fn imported(imported: Count, present: Count) {
        en: "{imported} imported, {present} were here already.",
        es: "Importadas: {imported}; ya estaban aquí: {present}.",
    }
    /// Rows that were left out. `kinds` has their numbers by status.
    pub(crate) fn finished(count: u64, kinds: &str) {
        en: "1 already finished by its status, and left out: {kinds}."
          | "{count} already finished by their status, and left out: {kinds}.",
        es: "1 ya estaba terminada según su estado y se omitió: {kinds}."
          | "{count} ya estaban terminadas según su estado y se omitieron: {kinds}.",
    }
    /// Some are critical or on hold.
    pub(crate) fn need_a_person(count: u64) {
        en: "1 of them needs a person: resyncd critical" | "{count} of them need a person: resyncd critical",
        es: "1 de ellas requiere intervención: resyncd critical"
          | "{count} de ellas requieren intervención: resyncd critical",
    }
    /// Retention would have removed some at once; their age counts from now on.
    pub(crate) fn older_than_kept(count: u64) {
        en: "1 is older than [retention] keeps; it stays for that long from now on."
          | "{count} are older than [retention] keeps; they stay for that long from now on.",
        es: "1 es más antigua de lo que conserva [retention]; el plazo se cuenta desde ahora."
          | "{count} son más antiguas de lo que conserva [retention]; el plazo se cuenta desde ahora.",
    }
    /// The same with `--keep-age`.
    pub(crate) fn older_and_leaving(count: u64) {
        en: "1 is older than [retention] keeps, and goes to the archive with the next clean-up."
          | "{count} are older than [retention] keeps, and go to the archive with the next clean-up.",
        es: "1 es más antigua de lo que conserva [retention] y se archivará en la próxima limpieza."
          | "{count} son más antiguas de lo que conserva [retention] y se archivarán en la próxima limpieza.",
    }
    /// Nothing can be read; what to do about it.
    pub(crate) fn nothing(advice: &str) {
        en: "nothing can be imported. {advice}",
        es: "no se puede importar nada. {advice}",
    }
    /// What an input seems to be, by a code of the format.
    pub(crate) fn seems(format: &str) {
        "utf-16" => {
            en: "The input seems to be text in UTF-16; save it as UTF-8.",
            es: "La entrada parece ser texto en UTF-16; guárdela como UTF-8.",
        }
        "zip" => {
            en: "The input seems to be a spreadsheet or an archive.",
            es: "La entrada parece ser una hoja de cálculo o un archivo comprimido.",
        }
        "gzip" => {
            en: "The input seems to be compressed (gzip -d).",
            es: "La entrada parece estar comprimida (gzip -d).",
        }
        "postgresql" => {
            en: "The input seems to be a dump of PostgreSQL.",
            es: "La entrada parece ser un volcado de PostgreSQL.",
        }
        "sqlite" => {
            en: "The input seems to be a database of SQLite; another terminal's rows come by: resyncd export.",
            es: "La entrada parece ser una base de datos de SQLite; las filas de otro terminal se obtienen con: \
                 resyncd export.",
        }
        "sql" => {
            en: "The input seems to be SQL (a dump).",
            es: "La entrada parece ser SQL (un volcado).",
        }
        "csv" => {
            en: "The input seems to be CSV; its heading must have the names of the columns.",
            es: "La entrada parece ser CSV; su encabezado debe tener los nombres de las columnas.",
        }
        _ => {
            en: "The input seems to be neither JSON nor CSV with a heading.",
            es: "La entrada no parece ser JSON ni CSV con encabezado.",
        }
    }
    /// How to export rows so that they can be read; `seems` is a sentence.
    pub(crate) fn how_to_export(seems: &str, command: &str) {
        en: "{seems} Export the rows like this, each as a line of JSON:\n  {command}",
        es: "{seems} Exporte las filas de este modo, cada una como una línea de JSON:\n  {command}",
    }
    /// An array that ends too early.
    pub(crate) fn broken_array(error: impl Display) {
        en: "the array ends here without being closed: {error}",
        es: "la lista termina aquí sin cerrarse: {error}",
    }
    /// A record of CSV that does not fit its heading.
    pub(crate) fn cells(cells: usize, names: usize) {
        en: "it has {cells} cells, and the heading {names}",
        es: "tiene {cells} celdas y el encabezado, {names}",
    }
    /// A cell that is not text.
    pub(crate) fn not_utf8(column: &str) { en: "{column} is not UTF-8", es: "{column} no es UTF-8" }
}

/// Times that may be hours off; `first` is the place of the first of them.
pub(crate) fn times_without_zone(number: u64, unit: Unit, first: u64) -> String {
    let count = Count(number);
    match (unit, number) {
        (Unit::Line, 1) => crate::say!(
            en: "line {first} has a created_at without a time zone; it was read as UTC. If it is a local time, export it \
                 with its zone (timestamptz).",
            es: "la línea {first} tiene un created_at sin zona horaria; se leyó como UTC. Si es hora local, expórtela con \
                 su zona (timestamptz).",
        ),
        (Unit::Row, 1) => crate::say!(
            en: "row {first} has a created_at without a time zone; it was read as UTC. If it is a local time, export it \
                 with its zone (timestamptz).",
            es: "la fila {first} tiene un created_at sin zona horaria; se leyó como UTC. Si es hora local, expórtela con \
                 su zona (timestamptz).",
        ),
        (Unit::Line, _) => crate::say!(
            en: "{count} lines have a created_at without a time zone, the first is line {first}; they were read as UTC. \
                 If they are local times, export them with their zone (timestamptz).",
            es: "{count} líneas tienen un created_at sin zona horaria, la primera es la línea {first}; se leyeron como \
                 UTC. Si son horas locales, expórtelas con su zona (timestamptz).",
        ),
        (Unit::Row, _) => crate::say!(
            en: "{count} rows have a created_at without a time zone, the first is row {first}; they were read as UTC. \
                 If they are local times, export them with their zone (timestamptz).",
            es: "{count} filas tienen un created_at sin zona horaria, la primera es la fila {first}; se leyeron como \
                 UTC. Si son horas locales, expórtelas con su zona (timestamptz).",
        ),
    }
}

/// The error where some of the input cannot be read.
pub(crate) fn unreadable(number: u64, unit: Unit) -> String {
    let count = Count(number);
    match (unit, number) {
        (Unit::Line, 1) => crate::say!(en: "1 line cannot be read", es: "1 línea no se puede leer"),
        (Unit::Row, 1) => crate::say!(en: "1 row cannot be read", es: "1 fila no se puede leer"),
        (Unit::Line, _) => crate::say!(en: "{count} lines cannot be read", es: "{count} líneas no se pueden leer"),
        (Unit::Row, _) => crate::say!(en: "{count} rows cannot be read", es: "{count} filas no se pueden leer"),
    }
}

/// The result of `--dry-run`.
pub(crate) fn could(good: u64, bad: u64, unit: Unit) -> String {
    let (count, bad) = (Count(good), Count(bad));
    match (unit, good) {
        (Unit::Line, 1) => crate::say!(
            en: "1 line can be imported, {bad} cannot; nothing was changed.",
            es: "Se puede importar 1 línea; no se pueden importar: {bad}. No se cambió nada.",
        ),
        (Unit::Row, 1) => crate::say!(
            en: "1 row can be imported, {bad} cannot; nothing was changed.",
            es: "Se puede importar 1 fila; no se pueden importar: {bad}. No se cambió nada.",
        ),
        (Unit::Line, _) => crate::say!(
            en: "{count} lines can be imported, {bad} cannot; nothing was changed.",
            es: "Se pueden importar {count} líneas; no se pueden importar: {bad}. No se cambió nada.",
        ),
        (Unit::Row, _) => crate::say!(
            en: "{count} rows can be imported, {bad} cannot; nothing was changed.",
            es: "Se pueden importar {count} filas; no se pueden importar: {bad}. No se cambió nada.",
        ),
    }
}
