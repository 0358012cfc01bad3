//! The connection to the agent: why there is none, and what to run.

use std::fmt::Display;

crate::texts! {
    /// Another program listens at the socket.
    pub(crate) fn another_program(path: impl Display) {
        en: "another program is listening at {path}. Stop it, or configure another path",
        es: "otro programa está escuchando en {path}. Deténgalo o configure otra ruta",
    }
    /// The connection broke, for this reason.
    pub(crate) fn did_not_answer(path: impl Display, why: &str) {
        en: "the agent at {path} did not answer: {why}",
        es: "el agente en {path} no respondió: {why}",
    }
    /// A reason of [`did_not_answer`].
    pub(crate) fn no_reply_within(seconds: u64) {
        en: "no reply within {seconds} s",
        es: "no hubo respuesta en {seconds} s",
    }
    /// A reason of [`did_not_answer`].
    pub(crate) fn closed() { en: "it closed the connection", es: "cerró la conexión" }
    /// Progress of a long request.
    pub(crate) fn working(seconds: u64) {
        en: "The agent is working on it, {seconds} s",
        es: "El agente sigue trabajando en ello, {seconds} s",
    }
    /// The applications' socket.
    pub(crate) fn forbidden(path: impl Display) {
        en: "no permission for {path}: run the command with sudo; an application's own user needs the socket's group \
             (usermod -aG resyncd USER, then restart the application)",
        es: "no hay permiso para {path}: ejecute el comando con sudo; el usuario propio de una aplicación necesita el \
             grupo del socket (usermod -aG resyncd USUARIO; después, reinicie la aplicación)",
    }
    /// The operators' socket.
    pub(crate) fn forbidden_admin(path: impl Display) {
        en: "no permission for {path}: run the command with sudo",
        es: "no hay permiso para {path}: ejecute el comando con sudo",
    }
    /// systemd accepts connections for a service that is down. `unit` is its state and its last messages.
    pub(crate) fn silent_without_service(path: impl Display, seconds: u64, unit: &str) {
        en: "no agent answered at {path} within {seconds} s: systemd holds its socket, and resyncd.service is {unit}\n\
             Next: resyncd config check; then: systemctl restart resyncd",
        es: "ningún agente respondió en {path} en {seconds} s: systemd mantiene su socket; estado de resyncd.service: {unit}\n\
             Siguiente paso: resyncd config check; después: systemctl restart resyncd",
    }
    /// The service runs and does not answer.
    pub(crate) fn silent_service(path: impl Display, seconds: u64, unit: &str) {
        en: "no agent answered at {path} within {seconds} s; resyncd.service is {unit}\n\
             Next: journalctl -u resyncd; if it stays silent: systemctl restart resyncd",
        es: "ningún agente respondió en {path} en {seconds} s; estado de resyncd.service: {unit}\n\
             Siguiente paso: journalctl -u resyncd; si sigue sin responder: systemctl restart resyncd",
    }
    /// An agent that is not the packaged service does not answer.
    pub(crate) fn silent(path: impl Display, seconds: u64) {
        en: "no agent answered at {path} within {seconds} s. Its log says why; if it stays silent, restart it",
        es: "ningún agente respondió en {path} en {seconds} s. Su log indica el motivo; si sigue sin responder, \
             reinícielo",
    }
    /// The service runs, and its socket is gone.
    pub(crate) fn socket_removed(path: impl Display, error: impl Display) {
        en: "no agent answers at {path} ({error}), and resyncd.service runs: its socket was removed. \
             Next: systemctl restart resyncd.socket resyncd-admin.socket",
        es: "ningún agente responde en {path} ({error}), aunque resyncd.service está en marcha: se eliminó su socket. \
             Siguiente paso: systemctl restart resyncd.socket resyncd-admin.socket",
    }
    /// The service has failed.
    pub(crate) fn service_failed(path: impl Display, error: impl Display, unit: &str) {
        en: "no agent answers at {path} ({error}): resyncd.service is {unit}\n\
             Next: resyncd config check; then: systemctl restart resyncd.socket resyncd",
        es: "ningún agente responde en {path} ({error}); estado de resyncd.service: {unit}\n\
             Siguiente paso: resyncd config check; después: systemctl restart resyncd.socket resyncd",
    }
    /// Nothing is known of an agent.
    pub(crate) fn not_running(path: impl Display, error: impl Display) {
        en: "no agent answers at {path} ({error}). Start it: systemctl start resyncd, or: resyncd run",
        es: "ningún agente responde en {path} ({error}). Para iniciarlo: systemctl start resyncd, o bien: resyncd run",
    }
    // `status`, where the database is read in the agent's place.

    /// The service runs, and does not reply.
    pub(crate) fn service_hangs(unit: &str) {
        en: "The agent does not reply; resyncd.service is {unit}",
        es: "El agente no responde; resyncd.service está {unit}",
    }
    /// The same: what to do.
    pub(crate) fn next_restart_service() {
        en: "Next: journalctl -u resyncd; if it stays silent: systemctl restart resyncd",
        es: "Siguiente paso: journalctl -u resyncd; si sigue sin responder: systemctl restart resyncd",
    }
    /// The service runs, and its sockets are gone.
    pub(crate) fn sockets_removed() {
        en: "The agent runs, but nobody can connect to it: its sockets were removed.",
        es: "El agente está en marcha, pero nadie puede conectarse: se eliminaron sus sockets.",
    }
    /// The same: what to do.
    pub(crate) fn next_restart_sockets() {
        en: "Next: systemctl restart resyncd.socket resyncd-admin.socket",
        es: "Siguiente paso: systemctl restart resyncd.socket resyncd-admin.socket",
    }
    /// The service is down and was not stopped.
    pub(crate) fn service_does_not_start(unit: &str) {
        en: "The agent does not start: failures are kept, nothing is sent. resyncd.service is {unit}",
        es: "El agente no arranca: las incidencias se conservan, pero no se envía nada. resyncd.service está {unit}",
    }
    /// The same: what to do.
    pub(crate) fn next_check_and_start() {
        en: "Next: resyncd config check; then: systemctl restart resyncd",
        es: "Siguiente paso: resyncd config check; después: systemctl restart resyncd",
    }
    /// A process has the database, and does not reply at the configured sockets.
    pub(crate) fn process_does_not_answer(pid: u32) {
        en: "The agent runs as process {pid}, but does not reply: it is starting, hangs, or has other sockets.",
        es: "El agente está en marcha como proceso {pid}, pero no responde: está arrancando, se ha quedado bloqueado o \
             usa otros sockets.",
    }
    /// The same: what to do.
    pub(crate) fn next_restart_process(pid: u32) {
        en: "Next: read its log; if it hangs: kill -9 {pid}, then start it again",
        es: "Siguiente paso: lea su log; si está bloqueado: kill -9 {pid}, y vuelva a iniciarlo",
    }
    /// A unit's state and its last messages, one a line.
    pub(crate) fn unit_and_messages(state: &str, messages: &str) {
        en: "{state}; its last messages:\n  {messages}",
        es: "{state}; sus últimos mensajes:\n  {messages}",
    }
}
