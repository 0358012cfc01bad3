//! What to do about an upstream that accepts nothing.

crate::texts! {
    /// HTTP 407.
    pub(crate) fn proxy_credentials(name: &str) {
        en: "The proxy wants credentials: set proxy_auth_file in [upstream.{name}], then: resyncd reload",
        es: "El proxy pide credenciales: defina proxy_auth_file en [upstream.{name}]; después: resyncd reload",
    }
    /// HTTP 403, and no credentials are configured.
    pub(crate) fn not_admitted(name: &str) {
        en: "Ask the head office whether it admits this terminal's address; then: resyncd resume {name}",
        es: "Pregunte en la central si admite la dirección de este terminal; después: resyncd resume {name}",
    }
    /// HTTP 403, with the file of the credentials.
    pub(crate) fn not_admitted_with(name: &str, file: &str) {
        en: "Ask the head office whether it admits this terminal's address or the credentials in {file}; then: \
             resyncd resume {name}",
        es: "Pregunte en la central si admite la dirección de este terminal o las credenciales de {file}; después: \
             resyncd resume {name}",
    }
    /// HTTP 404, 405, 410.
    pub(crate) fn wrong_address(name: &str) {
        en: "Is the address right? Correct url in [upstream.{name}] or path in [[route]], then: resyncd reload. \
             What is sent where: resyncd try --type TYPE --entity ID --action ACTION",
        es: "¿Es correcta la dirección? Corrija url en [upstream.{name}] o path en [[route]]; después: resyncd reload. \
             Para ver qué se envía y adónde: resyncd try --type TYPE --entity ID --action ACTION",
    }
    /// HTTP 3xx.
    pub(crate) fn redirected(name: &str) {
        en: "Redirects are not followed: set url in [upstream.{name}] to where failures are to go, then: resyncd reload",
        es: "No se siguen redirecciones: ponga en url de [upstream.{name}] la dirección de destino; después: \
             resyncd reload",
    }
    /// Every other answer.
    pub(crate) fn tell_head_office(name: &str) {
        en: "Tell the head office; once it is repaired: resyncd resume {name}",
        es: "Avise a la central; cuando esté reparado: resyncd resume {name}",
    }
    /// HTTP 401, and no credentials are configured.
    pub(crate) fn no_credentials(name: &str) {
        en: "It asks for credentials, and none are configured: set token_file or basic_file in [upstream.{name}], then: \
             resyncd reload",
        es: "Pide credenciales y no hay ninguna configurada: defina token_file o basic_file en [upstream.{name}]; \
             después: resyncd reload",
    }
    /// HTTP 401, with the files of the credentials.
    pub(crate) fn replace_credentials(name: &str, files: &str) {
        en: "Replace the credentials in {files}; then: resyncd resume {name}",
        es: "Reemplace las credenciales de {files}; después: resyncd resume {name}",
    }
}
