//! Messages of alerts, which the agent stores and sends in its own language.

use super::Count;

// Conditions.
crate::phrases! { CONDITIONS;
    /// `many_failures`
    pub(crate) fn many_failures(limit: u64, window: &str) {
        en: "more than 1 failure was recorded within {window}" | "more than {limit} failures were recorded within \
             {window}",
        es: "se registró más de 1 incidencia en {window}" | "se registraron más de {limit} incidencias en {window}",
    }
    /// `high_retries`
    pub(crate) fn high_retries(mean: &str) {
        en: "live failures have used {mean} retries on average",
        es: "las incidencias pendientes han consumido {mean} reintentos en promedio",
    }
    /// `entity_failing`
    pub(crate) fn entity_failing(entity: &str, limit: u64, window: &str) {
        en: "{entity}: more than {limit} failures or counted attempts within {window}",
        es: "{entity}: más de {limit} incidencias o intentos contados en {window}",
    }
    /// `critical_failures`
    pub(crate) fn critical_failures(count: u64) {
        en: "1 failure needs a person" | "{count} failures need a person",
        es: "1 incidencia requiere intervención" | "{count} incidencias requieren intervención",
    }
    /// The same, where no more were counted.
    pub(crate) fn critical_failures_or_more(count: Count) {
        en: "{count} failures or more need a person",
        es: "{count} incidencias o más requieren intervención",
    }
    /// `upstream_offline`
    pub(crate) fn upstream_offline(upstream: &str, span: &str, reason: &str) {
        en: "{upstream} has accepted nothing for {span} or longer: {reason}",
        es: "{upstream} no ha aceptado nada desde hace {span} o más: {reason}",
    }
    /// `upstream_offline` without a known reason.
    pub(crate) fn upstream_offline_unexplained(upstream: &str, span: &str) {
        en: "{upstream} has accepted nothing for {span} or longer",
        es: "{upstream} no ha aceptado nada desde hace {span} o más",
    }
    /// `upstream_blocked`
    pub(crate) fn upstream_blocked(upstream: &str, reason: &str) {
        en: "{upstream} accepts nothing with the current settings: {reason}",
        es: "{upstream} no acepta nada con la configuración actual: {reason}",
    }
    /// `upstream_failing`
    pub(crate) fn upstream_failing(upstream: &str, reason: &str) {
        en: "{upstream} fails on every request: {reason}",
        es: "{upstream} falla en todas las peticiones: {reason}",
    }
    /// `upload_timeout`
    pub(crate) fn upload_timeout(upstream: &str, reason: &str) {
        en: "{upstream}: {reason}. Set it higher in [upstream.{upstream}]",
        es: "{upstream}: {reason}. Auméntelo en [upstream.{upstream}]",
    }
    /// `upstream_paused`
    pub(crate) fn upstream_paused(upstream: &str, span: &str) {
        en: "{upstream} was paused {span} ago or longer, and failures wait for it: resyncd resume {upstream}",
        es: "{upstream} está en pausa desde hace {span} o más y hay incidencias en espera: resyncd resume {upstream}",
    }
    /// `clock_wrong`
    pub(crate) fn clock_wrong(upstream: &str, difference: &str) {
        en: "the terminal's clock and that of {upstream} differ by {difference}",
        es: "el reloj del terminal y el de {upstream} difieren en {difference}",
    }
    /// `disk_low`
    pub(crate) fn disk_low(free: &str, least: &str) {
        en: "{free} are free on the disk; below {least} nothing is recorded",
        es: "quedan {free} libres en el disco; por debajo de {least} no se registra nada",
    }
    /// `wal_large`
    pub(crate) fn wal_large(size: &str) {
        en: "the database's WAL has grown to {size}: another program keeps a read transaction open; end that program",
        es: "el archivo WAL de la base de datos ha crecido hasta {size}: otro programa mantiene abierta una lectura; \
             ciérrelo",
    }
    /// `database_full`: the number of failures.
    pub(crate) fn too_many(limit: u64) {
        en: "1 failure is waiting, the most that limits.max_failures allows" |
            "{limit} failures are waiting, the most that limits.max_failures allows",
        es: "hay 1 incidencia en espera, el máximo que permite limits.max_failures" |
            "hay {limit} incidencias en espera, el máximo que permite limits.max_failures",
    }
    /// `database_full`: its size.
    pub(crate) fn database_full(size: &str) {
        en: "the database has reached {size}, the most that limits.max_database allows",
        es: "la base de datos ha alcanzado {size}, el máximo que permite limits.max_database",
    }
    /// The alert that represents all that are not named.
    pub(crate) fn others(limit: usize, kind: &str) {
        en: "more than {limit} at once; the others are not named ({kind})",
        es: "más de {limit} a la vez; las demás no se nombran ({kind})",
    }
}

// Events.
crate::phrases! { EVENTS;
    /// `database_foreign_write`
    pub(crate) fn foreign_write() {
        en: "another program has written to the database; only the agent may",
        es: "otro programa ha escrito en la base de datos; solo puede hacerlo el agente",
    }
    /// The same, when failures are gone since.
    pub(crate) fn foreign_removal(count: u64) {
        en: "another program has written to the database, and 1 failure is gone; only the agent may write" |
            "another program has written to the database, and {count} failures are gone; only the agent may write",
        es: "otro programa ha escrito en la base de datos y falta 1 incidencia; solo puede escribir el agente" |
            "otro programa ha escrito en la base de datos y faltan {count} incidencias; solo puede escribir el agente",
    }
    /// `history_shortened`
    pub(crate) fn history_shortened(quota: &str) {
        en: "the oldest history was deleted early, because live failures need its space: limits.max_database is \
             {quota}",
        es: "se borró antes de tiempo el historial más antiguo, porque las incidencias pendientes necesitan su \
             espacio: limits.max_database \
             es {quota}",
    }
    /// `history_shortened`: a file of deliveries.
    pub(crate) fn archive_shortened(name: &str) {
        en: "archive/{name} was deleted early, because the disk is full: what it held cannot be replayed",
        es: "se borró antes de tiempo archive/{name}, porque el disco está lleno: su contenido no se puede volver a \
             enviar",
    }
    /// `delivered_not_archived`
    pub(crate) fn not_archived(count: u64, why: &str) {
        en: "1 delivered failure is not in the archive and cannot be replayed (event=not_archived in the log names \
             it): {why}" |
            "{count} delivered failures are not in the archive and cannot be replayed (event=not_archived in the log \
             names them): {why}",
        es: "1 incidencia entregada no está en el archivo y resyncd replay no puede recuperarla (el log la indica \
             con event=not_archived): {why}" |
            "{count} incidencias entregadas no están en el archivo y resyncd replay no puede recuperarlas (el log las \
             indica con event=not_archived): {why}",
    }
    /// `database_replaced`: another copy is in its place, with `there` failures.
    pub(crate) fn older_copy(live: u64, there: Count) {
        en: "the database is an older copy: 1 failure was waiting in the one that it replaces, {there} are in this \
             one" |
            "the database is an older copy: {live} failures were waiting in the one that it replaces, {there} are in \
             this one",
        es: "la base de datos es una copia anterior: en la reemplazada esperaba 1 incidencia, en esta hay {there}" |
            "la base de datos es una copia anterior: en la reemplazada esperaban {live} incidencias, en esta hay \
             {there}",
    }
    /// `database_replaced`: it is gone.
    pub(crate) fn vanished(live: u64) {
        en: "the database was deleted, emptied or replaced: 1 failure was waiting in it" |
            "the database was deleted, emptied or replaced: {live} failures were waiting in it",
        es: "la base de datos se borró, se vació o se reemplazó: contenía 1 incidencia en espera" |
            "la base de datos se borró, se vació o se reemplazó: contenía {live} incidencias en espera",
    }
    /// `database_replaced`: what it held was saved.
    pub(crate) fn replaced(salvaged: u64, place: &str, lost: Count) {
        en: "the database was deleted or replaced; what it held was moved to quarantine/{place}: 1 failure salvaged, \
             {lost} lost" |
            "the database was deleted or replaced; what it held was moved to quarantine/{place}: {salvaged} failures \
             salvaged, {lost} lost",
        es: "la base de datos se borró o se reemplazó; su contenido se movió a quarantine/{place}: incidencias \
             recuperadas: 1, perdidas: {lost}" |
            "la base de datos se borró o se reemplazó; su contenido se movió a quarantine/{place}: incidencias \
             recuperadas: {salvaged}, perdidas: {lost}",
    }
    /// `database_corrupt`: it was damaged.
    pub(crate) fn damaged(salvaged: u64, place: &str, lost: Count) {
        en: "the database was damaged and moved to quarantine/{place}: 1 failure salvaged, {lost} lost" |
            "the database was damaged and moved to quarantine/{place}: {salvaged} failures salvaged, {lost} lost",
        es: "la base de datos estaba dañada y se movió a quarantine/{place}: incidencias recuperadas: 1, perdidas: \
             {lost}" |
            "la base de datos estaba dañada y se movió a quarantine/{place}: incidencias recuperadas: {salvaged}, \
             perdidas: {lost}",
    }
    /// `database_corrupt`: some rows were damaged. `parts` are texts of their own.
    pub(crate) fn rows_damaged(place: &str, parts: &str) {
        en: "rows of the database were damaged and copied to quarantine/{place}: {parts}",
        es: "había filas dañadas en la base de datos y se copiaron a quarantine/{place}: {parts}",
    }
    /// A part of it: live failures.
    pub(crate) fn damaged_failures(salvaged: u64, lost: Count) {
        en: "1 failure needs a person, {lost} lost" | "{salvaged} failures need a person, {lost} lost",
        es: "1 incidencia requiere intervención, perdidas: {lost}" |
            "{salvaged} incidencias requieren intervención, perdidas: {lost}",
    }
    /// A part of it: anything else.
    pub(crate) fn damaged_others(count: u64) {
        en: "1 row of other tables" | "{count} rows of other tables",
        es: "1 fila de otras tablas" | "{count} filas de otras tablas",
    }
}
