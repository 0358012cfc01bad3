//! Errors of the operating system, and what an operator can do about a path.

use super::Phrase;

/// Errors as the C library words them. With their number they are unmistakable anywhere in a text.
pub(super) const ERRORS: &[(&str, &str, &str)] = &[
    ("Operation not permitted", "1", "operación no permitida"),
    ("No such file or directory", "2", "no existe el archivo o el directorio"),
    ("Input/output error", "5", "error de entrada/salida"),
    ("Permission denied", "13", "permiso denegado"),
    ("File exists", "17", "el archivo ya existe"),
    ("Not a directory", "20", "no es un directorio"),
    ("Is a directory", "21", "es un directorio"),
    ("Too many open files", "24", "demasiados archivos abiertos"),
    ("No space left on device", "28", "no queda espacio en el disco"),
    ("Read-only file system", "30", "sistema de archivos de solo lectura"),
    ("Broken pipe", "32", "tubería rota"),
    ("File name too long", "36", "nombre de archivo demasiado largo"),
    ("Too many levels of symbolic links", "40", "demasiados enlaces simbólicos"),
    ("Address already in use", "98", "la dirección ya está en uso"),
    ("Network is unreachable", "101", "la red no está accesible"),
    ("Connection reset by peer", "104", "el otro extremo cortó la conexión"),
    ("Connection timed out", "110", "se agotó el tiempo de la conexión"),
    ("Connection refused", "111", "conexión rechazada"),
    ("No route to host", "113", "no hay ruta hasta el servidor"),
    ("Disk quota exceeded", "122", "cuota de disco superada"),
];

/// Errors about a path, and what they end with.
pub(super) const PHRASES: &[Phrase] = &[
    ("opening {path}: {why}", "al abrir {path}: {why}"),
    ("looking into {path}: {why}", "al leer {path}: {why}"),
    ("writing to {path}: {why}", "al escribir en {path}: {why}"),
    ("adding to the archive {path}: {why}", "al escribir en el archivo {path}: {why}"),
    ("making the state directory {path}: {why}", "al crear el directorio de estado {path}: {why}"),
    ("acting as the state directory's owner: {why}", "al actuar como propietario del directorio de estado: {why}"),
    ("making the address of {path}: {why}", "al formar la dirección de {path}: {why}"),
    ("making the directory of {path}: {why}", "al crear el directorio de {path}: {why}"),
    ("making a socket for {path}: {why}", "al crear un socket para {path}: {why}"),
    ("making {path}: {why}", "al crear {path}: {why}"),
    ("binding {path}: {why}", "al abrir el socket {path}: {why}"),
    ("removing {path}: {why}", "al eliminar {path}: {why}"),
    ("syncing {path}: {why}", "al asegurar en disco {path}: {why}"),
    ("salvaging {path}: {why}", "al recuperar {path}: {why}"),
    ("registering signals: {why}", "al registrar las señales: {why}"),
    ("starting a thread: {why}", "al iniciar un hilo: {why}"),
    ("starting the loop: {why}", "al iniciar el bucle principal: {why}"),
    ("reading random bytes: {why}", "al leer bytes aleatorios: {why}"),
    ("waiting for clients: {why}", "al esperar a los clientes: {why}"),
    (
        "another user's file of that name is there. {what}",
        "ya existe un archivo de otro usuario con ese nombre. {what}",
    ),
    ("bringing the schema up to date in {path}: {why}", "al actualizar el esquema de {path}: {why}"),
    (
        "{why} (os error {number}) ({path} belongs to uid {owner}, gid {group}, mode {mode}; this process runs as uid \
         {uid}). {what}",
        "{why} ({path} pertenece a uid {owner}, gid {group}, modo {mode}; este proceso usa uid {uid}). {what}",
    ),
    (
        "{why} (os error {number}) ({path} belongs to uid {owner}, gid {group}, mode {mode}; this process runs as uid \
         {uid})",
        "{why} ({path} pertenece a uid {owner}, gid {group}, modo {mode}; este proceso usa uid {uid})",
    ),
    (
        "{why} ({path} belongs to uid {owner}, gid {group}, mode {mode}; this process runs as uid {uid}). {what}",
        "{why} ({path} pertenece a uid {owner}, gid {group}, modo {mode}; este proceso usa uid {uid}). {what}",
    ),
    (
        "{why} ({path} belongs to uid {owner}, gid {group}, mode {mode}; this process runs as uid {uid})",
        "{why} ({path} pertenece a uid {owner}, gid {group}, modo {mode}; este proceso usa uid {uid})",
    ),
];

/// Parts of the phrases above.
pub(super) const PARTS: &[Phrase] = &[
    (
        "Its file system is mounted read-only: the kernel's log says why (dmesg); then mount -o remount,rw",
        "Su sistema de archivos está montado en solo lectura: el log del núcleo dice por qué (dmesg); después: mount \
         -o remount,rw",
    ),
    (
        "Let this process read it: chgrp to its group and chmod 0640, or chmod 0644 if it holds no secret",
        "Permita que este proceso lo lea: chgrp a su grupo y chmod 0640, o chmod 0644 si no contiene secretos",
    ),
    ("Let its owner in: chmod u+rwX {path}", "Permita el acceso a su propietario: chmod u+rwX {path}"),
    ("Its file system is full: df {path}", "Su sistema de archivos está lleno: df {path}"),
    (
        "Give it to the owner of its directory, as root: chown --reference={dir} {path}",
        "Asígnelo al propietario de su directorio, como root: chown --reference={dir} {path}",
    ),
    (
        "Run this as root (sudo), or name a directory of this user's own: install -d -o {uid} -m 0700 DIRECTORY",
        "Ejecute esto como root (sudo) o indique un directorio propio de este usuario: install -d -o {uid} -m 0700 \
         DIRECTORIO",
    ),
    (
        "Run this as its owner (sudo -u '{owner}'), or as root",
        "Ejecute esto como su propietario (sudo -u '{owner}') o como root",
    ),
];

/// Of the C library and of others.
pub(super) const OTHERS: &[Phrase] = &[
    (
        "the disk is full, and the remaining space is reserved for delivery results",
        "el disco está lleno y el espacio restante se reserva para los resultados de las entregas",
    ),
    ("failed to lookup address information: {why}", "no se pudo obtener la dirección: {why}"),
    ("Name or service not known", "nombre o servicio desconocido"),
    ("Temporary failure in name resolution", "fallo temporal en la resolución de nombres"),
    ("No address associated with hostname", "el nombre no tiene ninguna dirección"),
    ("unexpected end of file", "la conexión se cerró antes de tiempo"),
];
