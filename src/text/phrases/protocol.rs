//! Refusals of the agent.

use super::Phrase;

/// In the order in which they are tried.
pub(super) const PHRASES: &[Phrase] = &[
    // Operations on a failure.
    ("failure {seq} {known}", "la incidencia n.º {seq} {known}"),
    ("nothing is different; to send it again: retry", "no hay ningún cambio; para volver a enviarla: retry"),
    ("no live failure {name}", "no hay ninguna incidencia {name} en la cola"),
    ("nothing is known of {name}", "no se sabe nada de {name}"),
    ("no upstream {name}", "no existe la central {name}"),
    ("too many operations at once; send it again shortly", "demasiadas operaciones a la vez; repítalo en breve"),
    (
        "the disk is full, and the remaining space is reserved for delivery results; nothing was changed. Free some \
         space, then send it again",
        "el disco está lleno y el espacio restante se reserva para los resultados de las entregas; no se cambió nada. \
         Libere espacio y repítalo",
    ),
    (
        "the disk is full, and the archive has no room; nothing was deleted",
        "el disco está lleno y no hay espacio para el archivo; no se eliminó nada",
    ),
    (
        "the clock has jumped, or the agent was off for days: nothing is cleaned up for another {hours} h, so that \
         nothing is removed because of that alone",
        "el reloj dio un salto o el agente estuvo parado varios días: durante {hours} h más no se retira nada, para \
         que no se pierda de vista lo que solo parece antiguo",
    ),
    // Recording and importing.
    (
        "the agent is stopping; send it again when it is back",
        "el agente se está deteniendo; repítalo cuando vuelva a estar en marcha",
    ),
    (
        "the agent is stopping; its next start reads the files",
        "el agente se está deteniendo; leerá los archivos al volver a iniciarse",
    ),
    (
        "{free} are free on the disk, limits.min_free_disk is {least}",
        "quedan {free} libres en el disco; limits.min_free_disk es {least}",
    ),
    (
        "the disk is full; the remaining space is reserved for delivery results",
        "el disco está lleno; el espacio restante se reserva para los resultados",
    ),
    (
        "the database's WAL has {size}: another program keeps a read transaction open; end that program",
        "el archivo WAL de la base de datos ocupa {size}: otro programa mantiene abierta una lectura; ciérrelo",
    ),
    ("{count} failures are waiting, limits.max_failures", "hay {count} incidencias en espera (limits.max_failures)"),
    (
        "the database has reached {size}, limits.max_database",
        "la base de datos ha alcanzado {size} (limits.max_database)",
    ),
    (
        "{what} is already used by failure {id}; the upstream would take this failure for a repetition of that one and \
         drop it",
        "{what} ya pertenece a la incidencia {id}; la central tomaría esta por una repetición de aquella y la \
         descartaría",
    ),
    (
        "this idempotency_key was used for other content, as failure {id}",
        "esta idempotency_key se usó para otro contenido, en la incidencia {id}",
    ),
    (
        "its idempotency_key was used here for other content, as failure {id}",
        "su idempotency_key se usó aquí para otro contenido, en la incidencia {id}",
    ),
    (
        "failure {id} under this key was deleted by another program; use a new key",
        "otro programa borró la incidencia {id}, que tenía esta clave; use una clave nueva",
    ),
    (
        "{field} holds what looks like a card number; {what} (limits.card_numbers)",
        "{field} contiene lo que parece un número de tarjeta; {what} (limits.card_numbers)",
    ),
    (
        "this line of our own archive is void: the failure did not leave then, and may have been delivered since; look \
         at its history; to import it anyway: force",
        "esta línea de nuestro archivo está anulada: la incidencia no se retiró entonces y puede haberse entregado \
         después; revise su historial y para importarla de todos modos: --force",
    ),
    // Replaying.
    (
        "a later failure of the same order, no. {seq}, is being sent; send this one again when that has ended",
        "se está enviando una incidencia posterior del mismo orden, la n.º {seq}; repítalo cuando termine",
    ),
    (
        "it came back after this delivery and was given up; import brings it back from the archive",
        "volvió a la cola después de esta entrega y se descartó; import la recupera del archivo",
    ),
    (
        "it was attempted again after this delivery, and its last delivery is not in the archive",
        "se volvió a intentar después de esta entrega y su última entrega no está en el archivo",
    ),
    (
        "it was delivered; if the head office has lost it, bring it back by replay",
        "ya se entregó; si la central la perdió, recupérela con replay",
    ),
    // The database.
    (
        "the disk is full, or the database is at its hard limit",
        "el disco está lleno o la base de datos llegó a su límite",
    ),
    ("{why}; nothing was stored; send it again shortly", "{why}; no se guardó nada; repítalo en breve"),
    ("{why}; nothing was stored", "{why}; no se guardó nada"),
    ("{why}; send it again with the same idempotency_key", "{why}; repítalo con la misma idempotency_key"),
    (
        "the database was deleted or replaced by another program; what it held is being saved; try again shortly",
        "otro programa borró o reemplazó la base de datos; se está salvando su contenido; repítalo en breve",
    ),
    (
        "the database cannot be opened, and nothing is recorded until it can: {why}",
        "no se puede abrir la base de datos y mientras tanto no se registra nada: {why}",
    ),
    (
        "the database failed and is being opened again; send it again shortly",
        "la base de datos falló y se está abriendo de nuevo; repítalo en breve",
    ),
    (
        "another program holds the database's write lock; send it again shortly",
        "otro programa bloquea la escritura en la base de datos; repítalo en breve",
    ),
    (
        "the database was damaged, and what it held is being brought back; failures are recorded meanwhile; try again \
         shortly",
        "la base de datos se dañó y se está recuperando su contenido; entretanto se registran incidencias; repítalo \
         en breve",
    ),
    ("no room for the database: {why}", "no hay espacio para la base de datos: {why}"),
    (
        "another program holds the database's write lock: {why}",
        "otro programa bloquea la escritura en la base de datos: {why}",
    ),
    ("the database is damaged: {why}", "la base de datos está dañada: {why}"),
    ("the database was deleted or replaced by another program", "otro programa borró o reemplazó la base de datos"),
    ("the database could not be written: {why}", "no se pudo escribir en la base de datos: {why}"),
    (
        "another resyncd (pid {pid}) holds {dir}; a directory has one agent. To stop that one: systemctl stop resyncd, or: \
         kill {pid}",
        "otro resyncd (pid {pid}) usa {dir}; un directorio tiene un solo agente. Para detener ese: systemctl stop \
         resyncd, o bien: kill {pid}",
    ),
    (
        "another resyncd holds {dir}; a directory has one agent",
        "otro resyncd usa {dir}; un directorio tiene un solo agente",
    ),
    (
        "{file} has {names} names (hard links): another agent may use it under another name, and the two would damage it. \
         Remove the other names (find them: find / -samefile {file}), or make this one a file of its own: cp -p {file} \
         {file}.copy && mv {file}.copy {file}",
        "{file} tiene {names} nombres (enlaces duros): otro agente podría usarlo con otro nombre, y entre los dos lo \
         dañarían. Elimine los otros nombres (para encontrarlos: find / -samefile {file}) o convierta este en un archivo \
         propio: cp -p {file} {file}.copy && mv {file}.copy {file}",
    ),
    ("a question is being answered from the file", "se está leyendo el archivo para responder a una consulta"),
    (
        "{file} was written by a newer resyncd (schema {found}, this one knows {known}); it is left untouched. Install \
         that version again, or move the file away to start with an empty one",
        "{file} lo escribió un resyncd más reciente (esquema {found}; este conoce {known}); no se modifica. Vuelva a \
         instalar esa versión o quite el archivo de ahí para empezar con uno vacío",
    ),
    (
        "{file} is damaged ({why}); the daemon moves it away and salvages what can be read",
        "{file} está dañado ({why}); el agente lo aparta y recupera lo que se pueda leer",
    ),
    ("the agent met a bug; its log says more", "el agente encontró un error interno; su log dice más"),
    ("too much is under way; send it again shortly", "hay demasiado en curso; repítalo en breve"),
    (
        "a line has more than {most} bytes; the connection is closed",
        "una línea tiene más de {most} bytes; se cierra la conexión",
    ),
    // Fields of a request, and of a line that is imported.
    ("not UTF-8 at byte {at}", "no es UTF-8 en el byte {at}"),
    ("nested deeper than {most}", "tiene más de {most} niveles"),
    ("not a JSON object: {error}", "no es un objeto JSON: {error}"),
    ("an object of a request has at most {most} names", "un objeto de una petición tiene como máximo {most} nombres"),
    ("{name} is given twice", "{name} aparece dos veces"),
    ("{name} is missing", "falta {name}"),
    ("reason is missing: say why they are sent again", "falta reason: indique por qué se vuelven a enviar"),
    ("reason is missing: say why they are given up", "falta reason: indique por qué se descartan"),
    ("unknown field {name}; did you mean {near}?", "campo desconocido {name}; ¿quería decir {near}?"),
    ("unknown field {name}", "campo desconocido {name}"),
    ("{op} is an operation of the admin socket", "{op} es una operación del socket de administración"),
    ("{name} must be a string or an integer", "{name} debe ser un texto o un número entero"),
    ("{name} must be a string", "{name} debe ser un texto"),
    ("{name} must be an object", "{name} debe ser un objeto"),
    ("{name} must be a list", "{name} debe ser una lista"),
    ("{name} must be true or false", "{name} debe ser true o false"),
    ("{name} must be a whole number from {least} to {most}", "{name} debe ser un número entero de {least} a {most}"),
    ("{name} names more than {most}; send several requests", "{name} nombra más de {most}; envíe varias peticiones"),
    (
        "{name} may only be {nothing} in a record; a failure with a past comes in by import",
        "{name} solo puede ser {nothing} en record; una incidencia con historial entra por import",
    ),
    (
        "{name} must be 1 to {most} characters, none of them a control character, with no blank at either end",
        "{name} debe tener de 1 a {most} caracteres, ninguno de control, y ningún espacio al principio ni al final",
    ),
    (
        "{name} must be 1 to {most} characters, none of them a control character",
        "{name} debe tener de 1 a {most} caracteres, ninguno de control",
    ),
    (
        "{name} must be 1 to {most} visible ASCII characters",
        "{name} debe tener de 1 a {most} caracteres ASCII visibles",
    ),
    (
        "{name} must not be # and digits: that names an insertion number",
        "{name} no puede ser # y cifras: así se nombra un número de inserción",
    ),
    ("payload_kind must be json, text or bytes", "payload_kind debe ser json, text o bytes"),
    ("payload and payload_base64 exclude each other", "payload y payload_base64 se excluyen"),
    ("payload_base64 is not base64", "payload_base64 no es base64"),
    (
        "payload is not valid JSON, although payload_kind says so",
        "payload no es JSON válido, aunque payload_kind lo diga",
    ),
    (
        "payload has {bytes} bytes; limits.max_payload is {most}",
        "payload tiene {bytes} bytes; limits.max_payload es {most}",
    ),
    (
        "payload is not valid Unicode text; other bytes belong in payload_base64",
        "payload no es texto Unicode válido; otros bytes van en payload_base64",
    ),
    (
        "{name} must be a time such as 2026-11-24T06:12:34Z, or milliseconds",
        "{name} debe ser una hora como 2026-11-24T06:12:34Z, o milisegundos",
    ),
    ("{name} is longer than {most} characters", "{name} tiene más de {most} caracteres"),
    (
        "outcome must be discarded or cleaned, as in an archive line",
        "outcome debe ser discarded o cleaned, como en una línea del archivo",
    ),
    ("left_at and outcome belong together", "left_at y outcome van juntos"),
];

/// Parts of the phrases above.
pub(super) const PARTS: &[Phrase] = &[
    ("is in flight; try again when its request has ended", "se está enviando; repítalo cuando termine su petición"),
    (
        "is damaged, and a part of its content is lost; give it the right one: resyncd edit",
        "está dañada y se perdió parte de su contenido; complételo con: resyncd edit",
    ),
    (
        "was changed after it was recorded, by another program or a damaged disk; look at its payload. Then repeat \
         this to send it unchanged, or edit it",
        "se modificó después de registrarla, por otro programa o por un disco dañado; revise su contenido. Después, \
         repítalo para enviarla tal como está, o corríjala",
    ),
    ("is held; release it", "está retenida; libérela"),
    ("is held already", "ya está retenida"),
    (
        "needs a person and is not sent automatically; there is nothing to hold",
        "requiere intervención y no se envía automáticamente; no hay nada que retener",
    ),
    ("is not held", "no está retenida"),
    (
        "has no route; add one to the configuration and reload it: resyncd reload",
        "no tiene ruta; añada una a la configuración y recárguela: resyncd reload",
    ),
    (
        "has a route that does not allow changes (editable = false)",
        "tiene una ruta que no permite modificarla (editable = false)",
    ),
    ("this idempotency_key", "esta idempotency_key"),
    ("its idempotency_key", "su idempotency_key"),
    ("its id, which is its key,", "su id, que es su clave,"),
    (
        "store a token, or at most the first six and last four digits",
        "guarde un token o, como máximo, las seis primeras y las cuatro últimas cifras",
    ),
];
