//! The files that a configuration names: `config check` and `doctor`.

use std::fmt::Display;

crate::texts! {
    /// The agent's user may not open it.
    pub(crate) fn not_for_the_agent(file: impl Display, user: &str, group: &str) {
        en: "the agent's user {user} cannot read {file}. chgrp {group} {file} && chmod 640 {file}, and let {user} into \
             its directory",
        es: "el usuario del agente, {user}, no puede leer {file}. Ejecute: chgrp {group} {file} && chmod 640 {file}, y \
             dé a {user} acceso a su directorio",
    }
    /// It is missing.
    pub(crate) fn missing(file: impl Display) {
        en: "{file} does not exist. Create it, or correct the key",
        es: "{file} no existe. Créelo o corrija la configuración",
    }
    /// It cannot be opened, for another reason.
    pub(crate) fn unreadable(file: impl Display, error: impl Display) {
        en: "{file} cannot be read: {error}",
        es: "no se puede leer {file}: {error}",
    }
    /// A secret that is open to all.
    pub(crate) fn open_to_all(file: impl Display, mode: &str) {
        en: "{file} can be read by every user (mode {mode}). chmod 640 {file}",
        es: "cualquier usuario puede leer {file} (modo {mode}). Ejecute: chmod 640 {file}",
    }
    /// The alerts' command.
    pub(crate) fn not_a_program(file: impl Display) {
        en: "{file} is not a program that this user may run. chmod 755 {file}",
        es: "{file} no es un programa que este usuario pueda ejecutar. Ejecute: chmod 755 {file}",
    }
    /// The alerts' command is missing.
    pub(crate) fn no_program(file: impl Display, error: impl Display) {
        en: "{file}: {error}. Install it, or correct the key",
        es: "{file}: {error}. Instálelo o corrija la configuración",
    }
    /// A directory stands where a file belongs.
    pub(crate) fn names_a_file(path: impl Display) {
        en: "{path} is a directory. Name a file in it",
        es: "{path} es un directorio. Indique un archivo",
    }
    /// A file stands where a directory belongs.
    pub(crate) fn not_a_directory(dir: impl Display) {
        en: "{dir} is not a directory",
        es: "{dir} no es un directorio",
    }
    /// The agent's user may not write into it.
    pub(crate) fn not_writable_by_the_agent(user: &str, dir: impl Display, error: impl Display) {
        en: "the agent's user {user} cannot write to {dir}: {error}. Let it write there, or correct the key",
        es: "el usuario del agente, {user}, no puede escribir en {dir}: {error}. Dele permiso o corrija la configuración",
    }
    /// This user may not write into it.
    pub(crate) fn not_writable(dir: impl Display, error: impl Display) {
        en: "this user cannot write to {dir}: {error}. Let it write there, or correct the key",
        es: "este usuario no puede escribir en {dir}: {error}. Dele permiso o corrija la configuración",
    }
    /// The directory is missing.
    pub(crate) fn no_directory(dir: impl Display, error: impl Display) {
        en: "{dir}: {error}. mkdir -p {dir}, and let the agent's user write there",
        es: "{dir}: {error}. Ejecute: mkdir -p {dir}, y permita que el usuario del agente escriba allí",
    }
    /// What is wrong with the text of a secret, by a code.
    pub(crate) fn content(code: Wrong, file: impl Display) {
        Wrong::Empty => { en: "{file} is empty", es: "{file} está vacío" }
        Wrong::SeveralLines => {
            en: "{file} holds more than one line",
            es: "{file} contiene más de una línea",
        }
        Wrong::Bearer => {
            en: "{file} begins with \"Bearer \". Remove that word: the agent adds it",
            es: "{file} empieza por \"Bearer \". Quite esa palabra: la añade el agente",
        }
        Wrong::WholeHeader => {
            en: "{file} holds a whole header line. It should hold the token alone",
            es: "{file} contiene una línea de cabecera completa. Debe contener solo el token",
        }
        Wrong::Quoted => {
            en: "{file} holds the token in quotation marks. Remove them: they would be sent",
            es: "{file} contiene el token entre comillas. Quítelas: se enviarían",
        }
        Wrong::Blanks => {
            en: "{file} holds blanks. It should hold the token alone",
            es: "{file} contiene espacios. Debe contener solo el token",
        }
        Wrong::NoHeader => {
            en: "{file} holds characters that a header cannot carry. Save it as plain ASCII, without a byte order mark",
            es: "{file} contiene caracteres que una cabecera no admite. Guárdelo como ASCII puro, sin marca de orden de \
                 bytes",
        }
        Wrong::Encoded => {
            en: "{file} begins with \"Basic \". It should hold user:password, not encoded",
            es: "{file} empieza por \"Basic \". Debe contener usuario:contraseña, sin codificar",
        }
        Wrong::NoPair => {
            en: "{file} does not hold user:password",
            es: "{file} no contiene usuario:contraseña",
        }
    }
}

/// What can be wrong with the text of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Nothing in it.
    Empty,
    /// Only one may be.
    SeveralLines,
    /// A token with the word before it.
    Bearer,
    /// A token with the header's name.
    WholeHeader,
    /// A token in quotation marks.
    Quoted,
    /// A token of several words.
    Blanks,
    /// Characters beyond visible ASCII.
    NoHeader,
    /// A user and password in base64.
    Encoded,
    /// No user and password.
    NoPair,
}
