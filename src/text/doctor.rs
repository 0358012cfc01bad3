//! `doctor`.

use super::Count;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    State,
    Disk,
    AppSocket,
    AdminSocket,
    Group,
    TerminalId,
    Descriptors,
    Settings,
    Files,
    Upstream,
    Delivery,
    Clock,
    Credentials,
    OnHold,
    Alert,
}

#[cfg(test)]
impl Check {
    const ALL: [Self; 15] = [
        Self::State,
        Self::Disk,
        Self::AppSocket,
        Self::AdminSocket,
        Self::Group,
        Self::TerminalId,
        Self::Descriptors,
        Self::Settings,
        Self::Files,
        Self::Upstream,
        Self::Delivery,
        Self::Clock,
        Self::Credentials,
        Self::OnHold,
        Self::Alert,
    ];
}

crate::texts! {
    /// The name of a check, at most 12 columns. The English one is its name in JSON.
    pub(crate) fn check(check: Check) {
        Check::State => { en: "state", es: "estado" }
        Check::Disk => { en: "disk", es: "disco" }
        Check::AppSocket => { en: "app socket", es: "socket app" }
        Check::AdminSocket => { en: "admin socket", es: "socket admin" }
        Check::Group => { en: "group", es: "grupo" }
        Check::TerminalId => { en: "terminal_id", es: "terminal_id" }
        Check::Descriptors => { en: "descriptors", es: "descriptores" }
        Check::Settings => { en: "settings", es: "ajustes" }
        Check::Files => { en: "files", es: "archivos" }
        Check::Upstream => { en: "upstream", es: "central" }
        Check::Delivery => { en: "delivery", es: "entrega" }
        Check::Clock => { en: "clock", es: "reloj" }
        Check::Credentials => { en: "credentials", es: "credenciales" }
        Check::OnHold => { en: "on hold", es: "retenidas" }
        Check::Alert => { en: "alert", es: "alerta" }
    }
    /// Before a finding that is well, as wide as [`ill`].
    pub(crate) fn well() { en: "ok  ", es: "ok      " }
    /// Before a finding that is not well.
    pub(crate) fn ill() { en: "FIX ", es: "REVISAR " }
    /// Not everything is well.
    pub(crate) fn failed(ill: u64, all: u64) {
        en: "1 of {all} checks failed" | "{ill} of {all} checks failed",
        es: "1 de {all} comprobaciones ha fallado" | "{ill} de {all} comprobaciones han fallado",
    }
    /// What to do about an alert, by its kind. `dir` is the state directory.
    pub(crate) fn alert_remedy(kind: &str, dir: &str) {
        "database_full" => {
            en: "Have what waits delivered or discarded (resyncd list), or raise the limit in [limits] and restart the \
                 agent",
            es: "Haga que se entregue o se descarte lo pendiente (resyncd list), o aumente el límite en [limits] y \
                 reinicie el agente",
        }
        "database_corrupt" | "database_replaced" => {
            en: "Compare with the tills' own records; what was saved of the old one, if anything, is in {dir}/quarantine. This alert ends by \
                 itself after a day",
            es: "Compare con los registros de las cajas; lo que se conservó de la anterior, si lo hay, está en {dir}/quarantine. Esta alerta termina \
                 por sí sola al cabo de un día",
        }
        "database_foreign_write" | "wal_large" => {
            en: "Which program it is: sudo fuser -v {dir}/sync_failures.db",
            es: "Para saber qué programa es: sudo fuser -v {dir}/sync_failures.db",
        }
        "history_shortened" => {
            en: "Raise max_database in [limits] and restart the agent, if the history is needed",
            es: "Aumente max_database en [limits] y reinicie el agente, si necesita el historial",
        }
        _ => { en: "More: resyncd alerts", es: "Más: resyncd alerts" }
    }
    /// Failures on hold, and the oldest of them.
    pub(crate) fn on_hold(count: u64, seq: &str, entity: &str) {
        en: "1 on hold: no. {seq}, {entity}. To release it: resyncd release {seq}"
            | "{count} on hold; the oldest is no. {seq}, {entity}. To release it: resyncd release {seq}",
        es: "1 retenida: n.º {seq}, {entity}. Para liberarla: resyncd release {seq}"
            | "{count} retenidas; la más antigua es la n.º {seq}, {entity}. Para liberarla: resyncd release {seq}",
    }
    /// The same; `by` says when, by whom and why it was put on hold.
    pub(crate) fn on_hold_by(count: u64, seq: &str, entity: &str, by: &str) {
        en: "1 on hold: no. {seq}, {entity}, put on hold {by}. To release it: resyncd release {seq}"
            | "{count} on hold; the oldest is no. {seq}, {entity}, put on hold {by}. To release it: resyncd release \
               {seq}",
        es: "1 retenida: n.º {seq}, {entity}, retenida {by}. Para liberarla: resyncd release {seq}"
            | "{count} retenidas; la más antigua es la n.º {seq}, {entity}, retenida {by}. Para liberarla: \
               resyncd release {seq}",
    }

    // The sockets and their group.

    /// A socket is not there, and no agent was found.
    pub(crate) fn socket_missing(path: &str) {
        en: "{path} is not there, or this user cannot see it; no running agent was found. Start it: systemctl start \
             resyncd. If it is running, it uses another path: resyncd config show",
        es: "{path} no existe o este usuario no puede verlo; no se encontró ningún agente en marcha. Inícielo: \
             systemctl start resyncd. Si ya está en marcha, el agente usa otra ruta; véala con: \
             resyncd config show",
    }
    /// A socket is not there although the agent runs.
    pub(crate) fn socket_missing_beside_agent(path: &str, pid: u32) {
        en: "{path} is not there, or this user cannot see it, but the agent runs as process {pid}: it is starting, hangs, \
             or uses another path (resyncd config show). If it hangs: kill -9 {pid}, then start it again",
        es: "{path} no existe o este usuario no puede verlo, pero el agente está en marcha como proceso {pid}: está \
             arrancando, se ha quedado bloqueado o usa otra ruta (resyncd config show). Si está bloqueado: kill -9 \
             {pid}, y vuelva a iniciarlo",
    }
    /// Something else is at the path of a socket.
    pub(crate) fn no_socket(path: &str) {
        en: "{path} is not a socket. Move it away and restart the agent",
        es: "{path} no es un socket. Quítelo de ahí y reinicie el agente",
    }
    /// A socket that too many may use.
    pub(crate) fn socket_open(path: &str, mode: u32, right: u32) {
        en: "{path} has mode {mode:04o}, so that too many users can connect. chmod {right:o} {path}",
        es: "{path} tiene el modo {mode:04o}, con el que pueden conectarse demasiados usuarios. Ejecute: chmod {right:o} {path}",
    }
    /// A socket is well.
    pub(crate) fn socket_answers(path: &str, version: &str, mode: u32) {
        en: "{path} answers, version {version}, mode {mode:04o}",
        es: "{path} responde, versión {version}, modo {mode:04o}",
    }
    /// The agent has another version.
    pub(crate) fn other_version(agent: &str, program: &str) {
        en: "the agent is {agent}, this program is {program}. Restart the agent: systemctl restart resyncd",
        es: "el agente es {agent} y este programa, {program}. Reinicie el agente: systemctl restart resyncd",
    }
    /// What answers is not the agent.
    pub(crate) fn other_program(path: &str) {
        en: "another program answers at {path}, not resyncd",
        es: "en {path} responde otro programa y no resyncd",
    }
    /// The user may record.
    pub(crate) fn in_group(user: &str, group: &str) {
        en: "{user} is in the group {group}",
        es: "{user} pertenece al grupo {group}",
    }
    /// The user may not record.
    pub(crate) fn not_in_group(user: &str, group: &str) {
        en: "{user} is not in the group {group} and cannot record. sudo usermod -aG {group} {user}; then log in again, \
             and restart the application",
        es: "{user} no pertenece al grupo {group} y no puede registrar. Ejecute: sudo usermod -aG {group} {user}; después, \
             vuelva a iniciar sesión y reinicie la aplicación",
    }
    /// The session began before the user was added to the group.
    pub(crate) fn in_group_since_login(user: &str, group: &str) {
        en: "{user} is in the group {group} now, but was not when this session began. Log in again, and restart the \
             application",
        es: "{user} ya pertenece al grupo {group}, pero no pertenecía cuando empezó esta sesión. Vuelva a iniciar \
             sesión y reinicie la aplicación",
    }
    /// The group is root's.
    pub(crate) fn socket_of_root() {
        en: "the app socket belongs to root: only root's programs can record",
        es: "el socket de aplicaciones es de root: solo los programas de root pueden registrar",
    }
    /// The group has no member.
    pub(crate) fn group_empty(group: &str) {
        en: "the group {group} has no members, so only root can record. usermod -aG {group} USER; then USER logs in \
             again, and its programs are restarted",
        es: "nadie pertenece al grupo {group}, así que solo root puede registrar. Ejecute: usermod -aG {group} USUARIO; \
             después, USUARIO vuelve a iniciar sesión y se reinician sus programas",
    }
    /// Who may record.
    pub(crate) fn group_members(group: &str, members: &str) {
        en: "in the group {group}: {members}",
        es: "en el grupo {group}: {members}",
    }
    /// The socket's owner may record.
    pub(crate) fn socket_of_user() {
        en: "the app socket belongs to this user",
        es: "el socket de aplicaciones es de este usuario",
    }

    // Files that the configuration names.

    /// They could not be checked.
    pub(crate) fn files_unchecked(error: &str) {
        en: "they cannot be opened as the agent's user: {error}",
        es: "no se pueden abrir con el usuario del agente: {error}",
    }
    /// They are well.
    pub(crate) fn files_read(count: u64) {
        en: "the agent can read the file that the configuration names"
            | "the agent can read the {count} files that the configuration names",
        es: "el agente puede leer el archivo que indica la configuración"
            | "el agente puede leer los {count} archivos que indica la configuración",
    }

    // The state directory and the terminal.

    /// Something else is at its path.
    pub(crate) fn no_directory(path: &str) {
        en: "{path} is not a directory. Move it away; the agent creates the directory",
        es: "{path} no es un directorio. Quítelo de ahí; el agente crea el directorio",
    }
    /// It is not there, or cannot be seen.
    pub(crate) fn directory_missing(path: &str, error: &str) {
        en: "{path}: {error}. The agent creates it when it starts",
        es: "{path}: {error}. El agente lo crea al iniciarse",
    }
    /// Others can look into it.
    pub(crate) fn directory_open(path: &str, mode: u32) {
        en: "{path} has mode {mode:04o}: others can read payloads there. chmod 700 {path}",
        es: "{path} tiene el modo {mode:04o}: otros usuarios pueden leer ahí los contenidos. Ejecute: chmod 700 {path}",
    }
    /// It may contain other programs' files, whose owner and mode nobody should change.
    pub(crate) fn directory_shared(path: &str) {
        en: "{path} is not the agent's alone. Name a directory of its own: [agent] state_dir",
        es: "{path} no es solo del agente. Indique un directorio propio: [agent] state_dir",
    }
    /// It is another user's.
    pub(crate) fn directory_of_other(path: &str, owner: &str, user: &str, account: &str) {
        en: "{path} belongs to {owner}, but the agent runs as {user}. chown -R {account} {path}",
        es: "{path} pertenece a {owner}, pero el agente se ejecuta como {user}. Ejecute: chown -R {account} {path}",
    }
    /// The database is another user's.
    pub(crate) fn database_of_other(file: &str, owner: &str, of_directory: &str, remedy: &str) {
        en: "{file} belongs to {owner}, its directory to {of_directory}. {remedy}",
        es: "{file} pertenece a {owner} y su directorio, a {of_directory}. {remedy}",
    }
    /// It is well.
    pub(crate) fn directory_well(path: &str, owner: &str, mode: u32) {
        en: "{path} belongs to {owner}, mode {mode:04o}",
        es: "{path} pertenece a {owner}, modo {mode:04o}",
    }
    /// No agent has run with it.
    pub(crate) fn no_database(path: &str) {
        en: "{path} contains no database: no agent has run with it. systemctl start resyncd, or: resyncd run",
        es: "{path} no contiene ninguna base de datos: ningún agente lo ha usado. Ejecute: systemctl start resyncd, o bien: \
             resyncd run",
    }
    /// This user may not look into it.
    pub(crate) fn directory_closed(path: &str, error: &str) {
        en: "{path} cannot be read: {error}. Use sudo",
        es: "no se puede leer {path}: {error}. Use sudo",
    }
    /// Its owner's identity could not be assumed.
    pub(crate) fn not_its_owner(path: &str, why: &str) {
        en: "acting as the owner of {path}: {why}",
        es: "al actuar como propietario de {path}: {why}",
    }
    /// A file could not be written.
    pub(crate) fn not_written(path: &str, why: &str) {
        en: "writing {path}: {why}",
        es: "al escribir {path}: {why}",
    }
    /// Too little free disk space.
    pub(crate) fn disk_full(free: &str, path: &str) {
        en: "{free} are free under {path}: nothing is recorded until there is more (limits.min_free_disk). Make room: \
             du -xh / | sort -h | tail",
        es: "quedan {free} libres en {path}: no se registra nada hasta que haya más (limits.min_free_disk). Libere \
             espacio: du -xh / | sort -h | tail",
    }
    /// Soon too little free disk space.
    pub(crate) fn disk_low(free: &str, path: &str, least: &str) {
        en: "{free} are free under {path}; at {least} recording stops. Make room soon",
        es: "quedan {free} libres en {path}; con {least} se deja de registrar. Libere espacio pronto",
    }
    /// Enough free disk space.
    pub(crate) fn disk_free(free: &str, path: &str) {
        en: "{free} are free under {path}",
        es: "quedan {free} libres en {path}",
    }
    /// A terminal's name that is probably not unique.
    pub(crate) fn common_name(terminal_id: &str) {
        en: "{terminal_id:?} is a name that cloned terminals share: the head office could not tell them apart. Set \
             terminal_id in [agent], or the host's name",
        es: "{terminal_id:?} es un nombre que comparten los terminales clonados: la central no podría distinguirlos. \
             Indique terminal_id en [agent], o cambie el nombre del equipo",
    }
    /// The limit of descriptors suffices.
    pub(crate) fn descriptors_suffice(most: u64, wanted: Count) {
        en: "the agent may open 1, it needs at most {wanted}" | "the agent may open {most}, it needs at most {wanted}",
        es: "el agente puede abrir 1; necesita como máximo {wanted}"
            | "el agente puede abrir {most}; necesita como máximo {wanted}",
    }
    /// The limit of descriptors does not suffice.
    pub(crate) fn descriptors_lack(most: u64, wanted: usize) {
        en: "the agent may open 1 and may need {wanted}. LimitNOFILE={wanted} in its unit, or a smaller \
             limits.max_connections"
            | "the agent may open {most} and may need {wanted}. LimitNOFILE={wanted} in its unit, or a smaller \
               limits.max_connections",
        es: "el agente puede abrir 1 y puede necesitar {wanted}. LimitNOFILE={wanted} en su unidad, o un valor menor \
             en limits.max_connections"
            | "el agente puede abrir {most} y puede necesitar {wanted}. LimitNOFILE={wanted} en su unidad, o un valor \
               menor en limits.max_connections",
    }

    // Upstreams.

    /// There is nowhere to send.
    pub(crate) fn no_upstream() {
        en: "none is configured: nothing will be delivered. Set url in [upstream.NAME] of the configuration, then: \
             resyncd reload",
        es: "no hay ninguna configurada: no se entregará nada. Indique url en [upstream.NOMBRE] de la configuración; \
             después: resyncd reload",
    }
    /// Deliveries succeed, probes do not.
    pub(crate) fn no_probe_answered(name: &str, url: &str) {
        en: "{name} accepts failures, but answers no probe at {url}. Set probe_url to something that it answers",
        es: "{name} acepta incidencias, pero no responde a los sondeos en {url}. Indique en probe_url una \
             dirección que responda",
    }
    /// It was paused.
    pub(crate) fn paused(name: &str) {
        en: "{name}: paused. To send again: resyncd resume {name}",
        es: "{name}: en pausa. Para volver a enviar: resyncd resume {name}",
    }
    /// It was paused; `by` says when, by whom and why.
    pub(crate) fn paused_by(name: &str, by: &str) {
        en: "{name}: paused {by}. To send again: resyncd resume {name}",
        es: "{name}: puesta en pausa {by}. Para volver a enviar: resyncd resume {name}",
    }
    /// It accepts nothing.
    pub(crate) fn accepts_nothing(name: &str, remedy: &str) {
        en: "{name} accepts nothing. {remedy}",
        es: "{name} no acepta nada. {remedy}",
    }
    /// It accepts nothing; `reason` is the agent's.
    pub(crate) fn accepts_nothing_because(name: &str, reason: &str, remedy: &str) {
        en: "{name} accepts nothing ({reason}). {remedy}",
        es: "{name} no acepta nada ({reason}). {remedy}",
    }
    /// It asked for a pause.
    pub(crate) fn asked_to_wait(name: &str, reason: &str) {
        en: "{name} asked to wait ({reason}); the agent sends again automatically",
        es: "{name} pidió esperar ({reason}); el agente volverá a enviar automáticamente",
    }
    /// The newest request did not succeed.
    pub(crate) fn last_failed(name: &str, reason: &str) {
        en: "{name}: the last request failed ({reason}); the agent sends it again automatically",
        es: "{name}: la última petición falló ({reason}); el agente la volverá a enviar automáticamente",
    }
    /// A response to a probe.
    pub(crate) fn answers(name: &str, url: &str, ms: u128, status: u16) {
        en: "{name}: {url} answers in {ms} ms (HTTP {status})",
        es: "{name}: {url} responde en {ms} ms (HTTP {status})",
    }
    /// A response to a probe by TLS.
    pub(crate) fn answers_with_certificate(name: &str, url: &str, ms: u128, status: u16) {
        en: "{name}: {url} answers in {ms} ms (HTTP {status}), its certificate is valid",
        es: "{name}: {url} responde en {ms} ms (HTTP {status}); su certificado es válido",
    }
    /// A redirect, with its target.
    pub(crate) fn redirects_to(status: u16, target: &str, remedy: &str) {
        en: "HTTP {status}: redirects to {target}. {remedy}",
        es: "HTTP {status}: redirige a {target}. {remedy}",
    }
    /// A redirect without a target.
    pub(crate) fn redirects(status: u16, remedy: &str) {
        en: "HTTP {status}: redirects. {remedy}",
        es: "HTTP {status}: redirige. {remedy}",
    }
    /// A web page over plain HTTP.
    pub(crate) fn web_page(status: u16, name: &str) {
        en: "answers with a web page (HTTP {status}). If that is a login page of the network, log in there; if it is a \
             page of {name}, set probe_url to something else",
        es: "responde con una página web (HTTP {status}). Si es la página de acceso de la red, inicie sesión en ella; \
             si es una página de {name}, indique otra dirección en probe_url",
    }
    /// A connection, and no response.
    pub(crate) fn no_response(name: &str) {
        en: "accepted the connection but sent no response. Is there a proxy or firewall in between? If not, tell the \
             people who run {name}",
        es: "aceptó la conexión, pero no envió ninguna respuesta. ¿Hay un proxy o un firewall en medio? Si no, \
             avise a los responsables de {name}",
    }
    /// A connection that was closed.
    pub(crate) fn closed(why: &str) {
        en: "closed the connection ({why}). Is it HTTP on this port, and not HTTPS?",
        es: "cerró la conexión ({why}). ¿Usa este puerto HTTP, y no HTTPS?",
    }
    /// A redirect to another host.
    pub(crate) fn led_elsewhere(reason: &str, name: &str, remedy: &str) {
        en: "{reason}. If that is a login page of the network, log in there. If it is {name}: {remedy}",
        es: "{reason}. Si es la página de acceso de la red, inicie sesión en ella. Si es {name}: {remedy}",
    }
    /// A response of another server.
    pub(crate) fn answered_by_other(reason: &str) {
        en: "{reason}. If that is a login page of the network, log in there",
        es: "{reason}. Si es la página de acceso de la red, inicie sesión en ella",
    }

    // Remedies for an upstream that cannot be reached.

    /// The name is not found.
    pub(crate) fn look_up() {
        en: "Is the cable connected? Is the name right? If so, check the name server: cat /etc/resolv.conf",
        es: "¿Está conectado el cable? ¿Es correcto el nombre? Si es así, revise el servidor DNS: cat /etc/resolv.conf",
    }
    /// No connection.
    pub(crate) fn connect(name: &str) {
        en: "Is the cable connected? Are host and port right? If so, a firewall blocks the connection, or {name} is down",
        es: "¿Está conectado el cable? ¿Son correctos el servidor y el puerto? Si es así, un firewall bloquea la \
             conexión o {name} está fuera de servicio",
    }
    /// A certificate that is its own authority.
    pub(crate) fn self_signed(name: &str) {
        en: "The server needs a certificate of its own (CA:FALSE), issued by an authority that ca_file in \
             [upstream.{name}] names",
        es: "El servidor necesita un certificado propio (CA:FALSE), emitido por una autoridad que indique ca_file en \
             [upstream.{name}]",
    }
    /// Our certificate is not accepted.
    pub(crate) fn client_certificate(name: &str) {
        en: "Check client_cert and client_key in [upstream.{name}], and ask the people who run {name} what it accepts",
        es: "Revise client_cert y client_key en [upstream.{name}] y pregunte a los responsables de {name} qué acepta",
    }
    /// An authority that the system does not know.
    pub(crate) fn unknown_authority(name: &str) {
        en: "Is it really {name}? If it has an authority of its own, set ca_file in [upstream.{name}] to the \
             authority's certificate, then: resyncd reload",
        es: "¿Es realmente {name}? Si tiene una autoridad propia, indique en ca_file de [upstream.{name}] el \
             certificado de esa autoridad; después: resyncd reload",
    }
    /// An authority that `ca_file` does not contain.
    pub(crate) fn other_authority(file: &str) {
        en: "{file} does not contain the authority that issued it. Put that authority's certificate there, then: \
             resyncd reload",
        es: "{file} no contiene la autoridad que lo emitió. Ponga ahí el certificado de esa autoridad; después: \
             resyncd reload",
    }
    /// A certificate for another name.
    pub(crate) fn other_name(name: &str) {
        en: "Write the name that is in the certificate into url of [upstream.{name}], then: resyncd reload",
        es: "Escriba en url de [upstream.{name}] el nombre que figura en el certificado; después: resyncd reload",
    }
    /// Another fault of a certificate.
    pub(crate) fn wrong_certificate(name: &str) {
        en: "Is it really {name}? If so, its certificate must be renewed or replaced there",
        es: "¿Es realmente {name}? Si es así, allí deben renovar o reemplazar su certificado",
    }
    /// A certificate that has expired or is not valid yet.
    pub(crate) fn certificate_time(name: &str) {
        en: "Compare this terminal's clock (timedatectl); if it is right, the certificate of {name} must be renewed",
        es: "Compruebe el reloj de este terminal (timedatectl); si está bien, hay que renovar el certificado de {name}",
    }
    /// TLS with a port that does not speak it.
    pub(crate) fn no_tls(name: &str) {
        en: "In url of [upstream.{name}], correct the port, or write http:// if this port is plain HTTP; then: resyncd \
             reload",
        es: "En url de [upstream.{name}], corrija el puerto, o escriba http:// si este puerto es HTTP sin cifrar; \
             después: resyncd reload",
    }
    /// Another fault of TLS.
    pub(crate) fn tls(name: &str) {
        en: "Ask the people who run {name} which TLS it speaks; the url is in [upstream.{name}]",
        es: "Pregunte a los responsables de {name} qué versión de TLS usa; la url está en [upstream.{name}]",
    }
    /// A file of credentials that cannot be used.
    pub(crate) fn credential_files(name: &str) {
        en: "Check the files of [upstream.{name}]",
        es: "Revise los archivos de [upstream.{name}]",
    }
    /// A bug of resyncd.
    pub(crate) fn bug() {
        en: "Please report it, with the log: journalctl -u resyncd",
        es: "Comuníquelo y adjunte el log: journalctl -u resyncd",
    }

    // The clock and the credentials.

    /// Our clock is fast.
    pub(crate) fn clock_ahead(difference: &str, name: &str) {
        en: "this terminal's is {difference} ahead of that of {name}. timedatectl set-ntp true, or set it by hand",
        es: "el de este terminal va {difference} adelantado respecto al de {name}. Ejecute: timedatectl set-ntp true, o \
             ajústelo a mano",
    }
    /// Our clock is slow.
    pub(crate) fn clock_behind(difference: &str, name: &str) {
        en: "this terminal's is {difference} behind that of {name}. timedatectl set-ntp true, or set it by hand",
        es: "el de este terminal va {difference} atrasado respecto al de {name}. Ejecute: timedatectl set-ntp true, o \
             ajústelo a mano",
    }
    /// Our clock is right.
    pub(crate) fn clock_right(seconds: u64, name: &str) {
        en: "within 1 s of that of {name}" | "within {seconds} s of that of {name}",
        es: "difiere como máximo 1 s del de {name}" | "difiere como máximo {seconds} s del de {name}",
    }
    /// Our credentials are rejected.
    pub(crate) fn credentials_rejected(name: &str, status: u16, remedy: &str) {
        en: "{name} rejects our credentials (HTTP {status}). {remedy}",
        es: "{name} rechaza nuestras credenciales (HTTP {status}). {remedy}",
    }
    /// A redirect, with its target.
    pub(crate) fn url_redirects_to(name: &str, url: &str, target: &str, status: u16) {
        en: "{name}: {url} redirects to {target} (HTTP {status}). Set url to where failures are to go",
        es: "{name}: {url} redirige a {target} (HTTP {status}). Indique en url adónde deben enviarse las incidencias",
    }
    /// A redirect without a target.
    pub(crate) fn url_redirects(name: &str, url: &str, status: u16) {
        en: "{name}: {url} redirects (HTTP {status}). Set url to where failures are to go",
        es: "{name}: {url} redirige (HTTP {status}). Indique en url adónde deben enviarse las incidencias",
    }
    /// Our credentials are accepted.
    pub(crate) fn credentials_accepted(name: &str, status: u16, method: &str) {
        en: "{name} accepts ours (HTTP {status} to a {method})",
        es: "{name} acepta las nuestras (HTTP {status} a una petición {method})",
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, check, ill, well};
    use crate::text::Language;

    #[test]
    fn findings_are_aligned_in_every_language() {
        for (_, language) in Language::NAMED {
            language.during(|| {
                assert_eq!(well().chars().count(), ill().chars().count());
                for one in Check::ALL {
                    assert!((1..=12).contains(&check(one).chars().count()), "{}", check(one));
                }
            });
        }
    }
}
