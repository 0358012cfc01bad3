//! Problems of a configuration.

use super::Phrase;

/// In the order in which they are tried: a longer one before one that it begins with.
pub(super) const PHRASES: &[Phrase] = &[
    // Values.
    ("expected a table [{name}], found {why}", "se esperaba una tabla [{name}] y hay {why}"),
    ("expected a table [[{name}]], found {why}", "se esperaba una tabla [[{name}]] y hay {why}"),
    (
        "expected a list of tables: write its header as [[{name}]], in double brackets",
        "se esperaba una lista de tablas: escriba su encabezado como [[{name}]], entre corchetes dobles",
    ),
    ("expected a text in quotes, found {why}", "se esperaba un texto entre comillas y hay {why}"),
    ("expected a duration in quotes, found {why}", "se esperaba una duración entre comillas y hay {why}"),
    ("expected true or false, found {why}", "se esperaba true o false y hay {why}"),
    ("expected 1 to 128 bytes without control characters", "se esperaban de 1 a 128 bytes sin caracteres de control"),
    ("{known}, found {value}", "{known} y hay {value}"),
    (
        "expected an absolute path as the first word, found {value}",
        "la primera palabra debe ser una ruta absoluta y es {value}",
    ),
    ("expected an absolute path, found {value}", "se esperaba una ruta absoluta y hay {value}"),
    ("expected {least} to {most} bytes, found {value}", "se esperaban de {least} a {most} bytes y hay {value}"),
    ("expected {least} to {most} steps, found {value}", "se esperaban de {least} a {most} pasos y hay {value}"),
    ("expected a list such as [\"5m\", \"15m\", \"30m\"]", "se esperaba una lista como [\"5m\", \"15m\", \"30m\"]"),
    ("expected a whole number from {least} to {most}", "se esperaba un número entero de {least} a {most}"),
    ("expected a number from {least} to {most}", "se esperaba un número de {least} a {most}"),
    ("expected one of {names}, found {value}", "se esperaba uno de {names} y hay {value}"),
    ("expected a list of texts in quotes", "se esperaba una lista de textos entre comillas"),
    ("expected a list of HTTP statuses such as [200, 409]", "se esperaba una lista de códigos HTTP como [200, 409]"),
    (
        "expected a JSON pointer and a text, number or truth value, such as {example}",
        "se esperaba un puntero JSON y un texto, un número o true/false, como {example}",
    ),
    (
        "expected a JSON pointer such as \"/error/message\", found {value}",
        "se esperaba un puntero JSON como \"/error/message\" y hay {value}",
    ),
    (
        "expected a duration such as \"250ms\", \"30s\", \"5m\", \"12h\" or \"7d\", found {value}",
        "se esperaba una duración como \"250ms\", \"30s\", \"5m\", \"12h\" o \"7d\" y hay {value}",
    ),
    (
        "expected a size such as \"64KiB\", \"256MiB\" or \"1GiB\", found {value}",
        "se esperaba un tamaño como \"64KiB\", \"256MiB\" o \"1GiB\" y hay {value}",
    ),
    (
        "expected a rate such as \"10/s\" or \"30/m\", found {value}",
        "se esperaba un ritmo como \"10/s\" o \"30/m\" y hay {value}",
    ),
    ("expected a port from 1 to 65535, found {value}", "se esperaba un puerto de 1 a 65535 y hay {value}"),
    ("expected http:// or https://", "se esperaba http:// o https://"),
    ("expected visible ASCII on one line", "se esperaban caracteres ASCII visibles en una línea"),
    ("expected visible ASCII", "se esperaban caracteres ASCII visibles"),
    ("expected {known}, found {value}", "se esperaba {known} y hay {value}"),
    (
        "expected \"payload\", \"envelope\", \"template\" with a template, or \"none\"",
        "se esperaba \"payload\", \"envelope\", \"template\" con una plantilla, o \"none\"",
    ),
    (
        "expected \"Name: value\", with {example} from the answer",
        "se esperaba \"Nombre: valor\", con {example} de la respuesta",
    ),
    // Keys.
    ("unknown key {key} in [{place}]; {what}", "clave desconocida {key} en [{place}]; {what}"),
    ("unknown key {key}; {what}", "clave desconocida {key}; {what}"),
    ("{key} is already set at {place}", "{key} ya se definió en {place}"),
    // URLs.
    (
        "a query does not belong here, because the path of a route is appended; put it into the path",
        "aquí no va una consulta (?…), porque se añade la ruta de cada [[route]]; póngala en path",
    ),
    (
        "a URL begins with https://, as in \"https://hq.example/sync\"; found {value}",
        "una URL empieza por https://, como \"https://hq.example/sync\"; hay {value}",
    ),
    (
        "a fragment (#…) is never sent, and does not belong in a URL",
        "un fragmento (#…) nunca se envía y no va en una URL",
    ),
    (
        "not a URL with a host, such as \"https://hq.example/sync\"",
        "no es una URL con servidor, como \"https://hq.example/sync\"",
    ),
    ("not a URL: {error}", "no es una URL: {error}"),
    (
        "user and password do not belong in a URL, because URLs are logged",
        "el usuario y la contraseña no van en una URL, porque las URL aparecen en los logs",
    ),
    (
        "plain http to {host} can be read and changed on the way; use https, or set insecure = true if the network is \
         trusted",
        "por http sin cifrar, lo enviado a {host} se puede leer y modificar por el camino; use https, o ponga \
         insecure = true si la red es de confianza",
    ),
    // Upstreams.
    (
        "an upstream's name has 1 to {most} characters and no control character",
        "el nombre de una central tiene de 1 a {most} caracteres y ningún carácter de control",
    ),
    (
        "upstream {name} needs a url, such as url = \"https://hq.example/sync\"",
        "la central {name} necesita url, por ejemplo url = \"https://hq.example/sync\"",
    ),
    ("client_cert and client_key go together", "client_cert y client_key van juntos"),
    ("proxy_auth_file needs proxy", "proxy_auth_file necesita proxy"),
    ("token_file and basic_file exclude each other", "token_file y basic_file se excluyen"),
    ("not a header's name", "no es un nombre de cabecera"),
    ("{name} is not a header's name", "{name} no es un nombre de cabecera"),
    (
        "{name} has a meaning of its own and cannot carry the key",
        "{name} tiene un significado propio y no puede llevar la clave",
    ),
    (
        "{name} is set by the agent itself and cannot be replaced",
        "{name} la pone el propio agente y no se puede reemplazar",
    ),
    (
        "a login needs url, body_file, and cookies or a header",
        "un inicio de sesión necesita url, body_file y, además, cookies o header",
    ),
    (
        "an answer rule needs is = one of the classes, or \"login\"",
        "una regla de respuesta necesita is = una de las clases, o \"login\"",
    ),
    // Routes.
    ("{names} need routes that choose between them", "{names} necesitan rutas que elijan entre ellas"),
    ("there is no upstream {name}; known: {names}", "no existe la central {name}; las conocidas: {names}"),
    ("a route needs upstream = one of: {names}", "una ruta necesita upstream = una de estas: {names}"),
    ("template goes with body = \"template\"", "template va con body = \"template\""),
    ("body = \"template\" needs template = '…'", "body = \"template\" necesita template = '…'"),
    ("verify needs path and found", "verify necesita path y found"),
    (
        "verify with a template needs a method that has a body, such as method = \"POST\"",
        "verify con una plantilla necesita un método con cuerpo, como method = \"POST\"",
    ),
    (
        "on_unsure = \"verify\" needs verify = { path = …, found = … }",
        "on_unsure = \"verify\" necesita verify = { path = …, found = … }",
    ),
    // Templates.
    (
        "a path is appended to the upstream's URL and begins with one slash, found {value}",
        "path se añade a la URL de la central y empieza por una sola barra; hay {value}",
    ),
    (
        "a fragment (#…) is never sent, and does not belong in a path",
        "un fragmento (#…) nunca se envía y no va en path",
    ),
    (
        "{place} as it is could break out of its place in {language}; write {form}, without quotes around it",
        "{place} sin filtro podría salirse de su lugar en {language}; escriba {form}, sin comillas alrededor",
    ),
    (
        "{place} as it is could break out of its place in {language}; write {form}",
        "{place} sin filtro podría salirse de su lugar en {language}; escriba {form}",
    ),
    ("{place} needs a name", "{place} necesita un nombre"),
    (
        "a secret in a path would be logged; put it into a header or the body",
        "un secreto en path aparecería en los logs; póngalo en una cabecera o en el cuerpo",
    ),
    ("unknown placeholder {place}; known: {names}", "marcador desconocido {place}; los conocidos: {names}"),
    (
        "unknown form {form} of {place}; known: lower, and in a body string, xml, members, base64",
        "forma desconocida {form} de {place}; las conocidas: lower y, en un cuerpo, string, xml, members, base64",
    ),
    ("{place} does not belong in a path", "{place} no va en path"),
    ("{place} would change the payload", "{place} modificaría el contenido"),
    ("only the payload has members", "solo el contenido tiene miembros"),
    ("a brace is never closed", "una llave no se cierra nunca"),
    ("{place} is never closed", "{place} no se cierra nunca"),
    ("{name} is not a cookie's name", "{name} no es un nombre de cookie"),
    // Sockets.
    (
        "{path} has {bytes} bytes; a socket's path may have {most}",
        "{path} tiene {bytes} bytes; la ruta de un socket puede tener {most}",
    ),
    ("is the same path as socket: {path}", "es la misma ruta que la de socket: {path}"),
    // Files.
    ("is not UTF-8; {what}. Save the file as UTF-8", "no es UTF-8; {what}. Guarde el archivo como UTF-8"),
    ("reading the configuration {path}: {why}", "al leer la configuración {path}: {why}"),
];

/// Parts of the phrases above, which mean nothing alone.
pub(super) const PARTS: &[Phrase] = &[
    ("a text", "un texto"),
    ("a number", "un número"),
    ("true or false", "true o false"),
    ("a date", "una fecha"),
    ("a list", "una lista"),
    ("a table", "una tabla"),
    (
        "expected an absolute path, or the name of a credential that systemd passes on",
        "se esperaba una ruta absoluta o el nombre de una credencial que entrega systemd",
    ),
    (
        "a host, a domain such as .example.com, an address or a network, with or without a port",
        "un servidor, un dominio como .example.com, una dirección o una red, con o sin puerto,",
    ),
    ("did you mean {near} or {other}?", "¿quería decir {near} o {other}?"),
    ("did you mean {near}?", "¿quería decir {near}?"),
    ("known here: {names}", "aquí se conocen: {names}"),
    ("it seems to be UTF-16", "parece UTF-16"),
    ("it seems to be no text", "no parece texto"),
    ("it seems to be Latin-1 (ISO 8859-1)", "parece Latin-1 (ISO 8859-1)"),
];

/// Parts of the messages of the TOML parser.
pub(super) const TOML_PARTS: &[Phrase] = &[
    ("nothing", "nada"),
    ("key", "una clave"),
    ("value", "un valor"),
    ("letters, numbers, `-`, `_`", "letras, números, `-`, `_`"),
    ("basic string, literal string", "un texto entre comillas"),
    ("literal string", "un texto entre comillas simples"),
    ("digits", "cifras"),
];

/// Messages of the TOML parser.
pub(super) const TOML: &[Phrase] = &[
    ("{known}, expected {what}", "{known}, se esperaba {what}"),
    ("string values must be quoted", "los textos van entre comillas"),
    ("key with no value", "clave sin valor"),
    ("missing value for key", "falta el valor de la clave"),
    ("missing value", "falta el valor"),
    ("missing assignment between key-value pairs", "falta el signo = entre clave y valor"),
    ("extra assignment between key-value pairs", "sobra un signo = entre clave y valor"),
    ("extra `=`", "sobra un signo ="),
    ("missing comma between key-value pairs", "falta una coma entre dos claves"),
    ("missing comma between array elements", "falta una coma entre los elementos de la lista"),
    ("extra comma in array", "sobra una coma en la lista"),
    ("extra comma in inline table", "sobra una coma en la tabla entre llaves"),
    ("missing key for inline table element", "falta la clave de un elemento de la tabla entre llaves"),
    ("missing opening quote", "faltan las comillas iniciales"),
    ("invalid unquoted key", "clave no válida sin comillas"),
    ("unquoted keys cannot be empty", "una clave sin comillas no puede estar vacía"),
    ("unclosed array table", "tabla [[…]] sin cerrar"),
    ("unclosed table", "tabla sin cerrar"),
    ("unclosed inline table", "tabla entre llaves sin cerrar"),
    ("unclosed array", "lista sin cerrar"),
    ("unexpected key or value", "clave o valor inesperado"),
    ("unexpected content", "contenido inesperado"),
    ("unexpected leading zero", "cero inicial inesperado"),
    ("invalid value", "valor no válido"),
    ("invalid key-value pair", "clave y valor no válidos"),
    ("invalid basic string", "texto no válido"),
    ("invalid literal string", "texto no válido entre comillas simples"),
    ("invalid escape sequence", "secuencia de escape no válida"),
    ("missing escaped value", "secuencia de escape incompleta"),
    ("duplicate key", "clave repetida"),
];
