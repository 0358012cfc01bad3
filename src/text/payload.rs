//! A payload from a file.

use std::fmt::Display;

/// Why a file is not the payload that it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Not UTF-8, from this byte on.
    NotUtf8(usize),
    /// Not the JSON that it was said to be.
    NotJson(String),
    /// Nothing in it.
    Empty,
    /// A mark that JSON must not have.
    ByteOrderMark,
    /// It begins like JSON, and is broken.
    BrokenJson(String),
}

crate::texts! {
    /// The file cannot be read.
    pub(crate) fn reading(file: impl Display, error: impl Display) {
        en: "reading the payload {file}: {error}",
        es: "al leer el contenido de {file}: {error}",
    }
    /// What is wrong with the file, and what to do.
    pub(crate) fn unfit(why: &Unfit, file: impl Display) {
        Unfit::NotUtf8(at) => {
            en: "the payload {file} is not UTF-8 (at byte {at}); to send its bytes unchanged: --payload-type bytes",
            es: "el contenido de {file} no es UTF-8 (en el byte {at}); para enviar sus bytes sin cambios: \
                 --payload-type bytes",
        }
        Unfit::NotJson(error) => {
            en: "the payload {file} is not valid JSON: {error}",
            es: "el contenido de {file} no es JSON válido: {error}",
        }
        Unfit::Empty => {
            en: "the payload {file} is empty; to send it unchanged: --payload-type text",
            es: "el contenido de {file} está vacío; para enviarlo sin cambios: --payload-type text",
        }
        Unfit::ByteOrderMark => {
            en: "the payload {file} begins with a byte order mark, which JSON does not allow; to send it unchanged: \
                 --payload-type text",
            es: "el contenido de {file} empieza con una marca de orden de bytes, que JSON no permite; para enviarlo sin \
                 cambios: --payload-type text",
        }
        Unfit::BrokenJson(error) => {
            en: "the payload {file} looks like JSON and is not valid: {error}; to send it unchanged: --payload-type text",
            es: "el contenido de {file} parece JSON, pero no es válido: {error}; para enviarlo sin cambios: \
                 --payload-type text",
        }
    }
}
