//! Reasons of the agent's health, in the language of the agent.

crate::phrases! { REASONS;
    /// Critical failures.
    pub(crate) fn needs_a_person(count: u64) {
        en: "1 needs a person" | "{count} need a person",
        es: "1 requiere intervención" | "{count} requieren intervención",
    }
    /// Failures on hold.
    pub(crate) fn held(count: u64) {
        en: "1 held" | "{count} held",
        es: "1 retenida" | "{count} retenidas",
    }
    /// An upstream that accepts nothing, by its state.
    pub(crate) fn upstream(state: &str, name: &str) {
        "paused" => { en: "{name} paused", es: "{name} en pausa" }
        "offline" => { en: "{name} offline", es: "{name} sin conexión" }
        "blocked" => { en: "{name} blocked", es: "{name} rechaza todas las peticiones" }
        _ => { en: "{name} failing", es: "{name} falla en todas las peticiones" }
    }
    /// A socket that systemd made, and whose file was removed.
    pub(crate) fn socket_removed(path: &str, unit: &str) {
        en: "nobody can connect to {path}: its file was removed. systemd made it and has to make it again: systemctl \
             restart {unit}",
        es: "nadie puede conectarse a {path}: se eliminó su archivo. Lo creó systemd, que debe volver a crearlo: \
             systemctl restart {unit}",
    }
    /// A socket that cannot be created.
    pub(crate) fn socket_fails(path: &str, error: &str) {
        en: "nobody can connect to {path}: {error}",
        es: "nadie puede conectarse a {path}: {error}",
    }
    /// A reload that found errors.
    pub(crate) fn old_configuration(places: &str) {
        en: "the changed configuration is wrong ({places}) and the old one in force; see: resyncd config check",
        es: "la nueva configuración contiene errores ({places}) y sigue vigente la anterior; vea: resyncd config check",
    }
}
