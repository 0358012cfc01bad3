//! `config check`.

use std::fmt::Display;

crate::texts! {
    /// Files that cannot be opened here.
    pub(crate) fn passed_on(names: &str) {
        en: "not checked, because systemd passes them to the running service only: {names}",
        es: "sin comprobar, porque systemd solo los entrega al servicio en ejecución: {names}",
    }
    /// A file of the directory `resyncd.d` with another ending.
    pub(crate) fn not_read(file: impl Display) {
        en: "{file} is not read: only files named *.toml are",
        es: "{file} no se lee: solo se leen los archivos *.toml",
    }
    /// A route that an earlier one hides, by their files and lines.
    pub(crate) fn hidden_route(place: &str, earlier: &str) {
        en: "{place}: this route is never used, because the one at {earlier} comes before it and takes all of its failures",
        es: "{place}: esta ruta no se usa nunca, porque la de {earlier} está antes y recoge todas sus incidencias",
    }
    /// The result.
    pub(crate) fn valid() { en: "The configuration is valid.", es: "La configuración es válida." }
    /// There is no upstream.
    pub(crate) fn no_upstream() {
        en: "No upstream is configured: failures are recorded, nothing is delivered.",
        es: "No hay ninguna central configurada: las incidencias se registran, pero no se entrega nada.",
    }
    /// There is one upstream, and no route.
    pub(crate) fn one_upstream(name: &str, url: impl Display) {
        en: "Everything is delivered to {name}, {url}.",
        es: "Todo se entrega a {name}, {url}.",
    }
    /// There are several upstreams, or routes.
    pub(crate) fn upstreams_and_routes(upstreams: usize, routes: usize) {
        en: "Upstreams: {upstreams}. Routes: {routes}.",
        es: "Centrales: {upstreams}. Rutas: {routes}.",
    }
    /// `max_payload` above `max_line`.
    pub(crate) fn payload_above_line(payload: &str, line: &str) {
        en: "[limits] max_payload: {payload} do not fit into a request line, which may have {line} (max_line). Raise \
             max_line above it",
        es: "[limits] max_payload: {payload} no caben en una línea de petición, que admite {line} (max_line). Aumente \
             max_line por encima de ese valor",
    }
    /// The state directory would not survive a restart.
    pub(crate) fn state_in_memory(dir: impl Display) {
        en: "[agent] state_dir: {dir} is on a file system in memory, and all failures are lost at a restart of the \
             machine. Name a directory on a disk",
        es: "[agent] state_dir: {dir} está en un sistema de archivos en memoria, y al reiniciar el equipo se pierden \
             todas las incidencias. Indique un directorio en disco",
    }
}
