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
    ("expected a text in quotes", "se esperaba un texto entre comillas"),
    ("expected a value", "se esperaba un valor"),
    ("expected true or false, found {why}", "se esperaba true o false y hay {why}"),
    ("expected 1 to 128 bytes without control characters", "se esperaban de 1 a 128 bytes sin caracteres de control"),
    ("{known}, found {value}", "{known} y hay {value}"),
    (
        "expected an absolute path as the first word, found {value}",
        "la primera palabra debe ser una ruta absoluta y es {value}",
    ),
    ("expected an absolute path, found {value}", "se esperaba una ruta absoluta y hay {value}"),
    ("expected {least} to {most} steps, found {value}", "se esperaban de {least} a {most} pasos y hay {value}"),
    ("expected a list such as [\"5m\", \"15m\", \"30m\"]", "se esperaba una lista como [\"5m\", \"15m\", \"30m\"]"),
    (
        "expected a whole number from {least} to {most}, found {why}",
        "se esperaba un número entero de {least} a {most} y hay {why}",
    ),
    ("expected a number from {least} to {most}, found {why}", "se esperaba un número de {least} a {most} y hay {why}"),
    ("expected one of {names}, found {value}", "se esperaba uno de {names} y hay {value}"),
    ("expected a list of texts in quotes, found {why}", "se esperaba una lista de textos entre comillas y hay {why}"),
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
    (
        "expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\", found {value}",
        "se esperaba \"error\", \"warn\", \"info\", \"debug\" o \"trace\" y hay {value}",
    ),
    (
        "expected a URL such as \"http://proxy:3128\", found {value}",
        "se esperaba una URL como \"http://proxy:3128\" y hay {value}",
    ),
    ("expected http:// or https://", "se esperaba http:// o https://"),
    ("expected visible ASCII on one line", "se esperaban caracteres ASCII visibles en una línea"),
    (
        "expected visible ASCII, because a header carries nothing else",
        "se esperaban caracteres ASCII visibles, porque una cabecera no admite otros",
    ),
    ("expected {known}, found {value}", "se esperaba {known} y hay {value}"),
    ("expected {least} to {most}, found {value}", "se esperaba un valor de {least} a {most} y hay {value}"),
    (
        "expected \"payload\", \"envelope\", \"template\" with a template, or \"none\"",
        "se esperaba \"payload\", \"envelope\", \"template\" con una plantilla, o \"none\"",
    ),
    (
        "expected \"Name: value\", with {example} from the answer",
        "se esperaba \"Nombre: valor\", con {example} de la respuesta",
    ),
    // Keys.
    ("unknown table [{key}]", "tabla desconocida [{key}]"),
    ("unknown key {key} in [{place}]", "clave desconocida {key} en [{place}]"),
    ("unknown key {key}", "clave desconocida {key}"),
    ("{key} is already set at {place}", "{key} ya se definió en {place}"),
    ("{key} is already set", "{key} ya se definió"),
    ("{line} is already there at {place}; keep one of them", "{line} ya está en {place}; conserve solo una"),
    // Syntax.
    (
        "this seems to be JSON; the file is TOML, with tables such as [retry] and lines such as batch = 10",
        "parece JSON; el archivo es TOML, con tablas como [retry] y líneas como batch = 10",
    ),
    ("a comment begins with #", "un comentario empieza por #"),
    (
        "a table begins with its name in brackets: write [{key}]",
        "una tabla empieza por su nombre entre corchetes: escriba [{key}]",
    ),
    (
        "an equals sign stands between key and value: write {key} = …",
        "entre clave y valor va un signo igual: escriba {key} = …",
    ),
    (
        "expected key = value, with a key of letters, digits, - and _",
        "se esperaba clave = valor, con una clave de letras, cifras, - y _",
    ),
    ("the bracket that closes the name of the table is missing", "falta el corchete que cierra el nombre de la tabla"),
    (
        "a number does not begin with 0; write a text in quotes: {text}",
        "un número no empieza por 0; escriba un texto entre comillas: {text}",
    ),
    ("unexpected text after the value; {what}", "texto inesperado después del valor; {what}"),
    (
        "the closing quotation mark is missing, or a backslash in the text is not doubled",
        "faltan las comillas de cierre, o una barra invertida del texto no está duplicada",
    ),
    (
        "the lines of this file end with a carriage return alone; save it with Unix line ends",
        "las líneas de este archivo terminan solo con un retorno de carro; guárdelo con finales de línea de Unix",
    ),
    (
        "a value is missing after the equals sign; to keep the default, remove the line",
        "falta un valor después del signo igual; para conservar el predeterminado, elimine la línea",
    ),
    ("a text stands in straight quotation marks: {text}", "un texto va entre comillas rectas: {text}"),
    ("a text stands in quotation marks: {text}", "un texto va entre comillas: {text}"),
    // URLs.
    (
        "a query does not belong here, because the path of a route is appended; put it into the path",
        "aquí no va una consulta (?…), porque se añade la ruta de cada [[route]]; póngala en path",
    ),
    (
        "a URL begins with https://, as in \"https://hq.example/sync\"; found {value}",
        "una URL empieza por https://, como \"https://hq.example/sync\"; hay {value}",
    ),
    ("a URL begins with https:// or http://, found {value}", "una URL empieza por https:// o http:// y hay {value}"),
    ("a URL does not contain {value}: {what}", "una URL no contiene {value}: {what}"),
    ("an IPv6 address stands in brackets, as in {example}", "una dirección IPv6 va entre corchetes, como {example}"),
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
        "an upstream has a name: write [upstream.hq] above {key}, instead of [upstream]",
        "una central tiene nombre: escriba [upstream.hq] encima de {key}, en lugar de [upstream]",
    ),
    (
        "an upstream's name has 1 to {most} characters and no control character",
        "el nombre de una central tiene de 1 a {most} caracteres y ningún carácter de control",
    ),
    (
        "upstream {name} needs a url, such as url = \"https://hq.example/sync\"",
        "la central {name} necesita url, por ejemplo url = \"https://hq.example/sync\"",
    ),
    ("client_cert and client_key go together: set both", "client_cert y client_key van juntos: defina ambos"),
    ("proxy_auth_file needs proxy, such as {example}", "proxy_auth_file necesita proxy, por ejemplo {example}"),
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
    ("an answer rule needs is = one of: {names}", "una regla de respuesta necesita is = uno de estos valores: {names}"),
    // Routes.
    (
        "with more than one upstream, routes choose between them: add [[route]] tables, each with upstream = {first} or \
         {second}, and with entity_type where it is not for all",
        "con más de una central, las rutas eligen entre ellas: añada tablas [[route]], cada una con upstream = {first} o \
         {second}, y con entity_type si no es para todas las incidencias",
    ),
    ("there is no upstream {value}", "no existe la central {value}"),
    (
        "a route needs an upstream: define one, [upstream.hq] with a url",
        "una ruta necesita una central: defina una, [upstream.hq] con url",
    ),
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
        "{place} as it is could break out of its place in {what}",
        "{place} sin filtro podría salirse de su lugar en {what}",
    ),
    (
        "{place} is a whole value of JSON; write it without quotes around it",
        "{place} es un valor JSON completo; escríbalo sin comillas alrededor",
    ),
    ("{place} needs quotes around it in JSON", "{place} necesita comillas alrededor en JSON"),
    (
        "a form does not begin with {start}; set the content_type of this template",
        "un formulario no empieza por {start}; defina el content_type de esta plantilla",
    ),
    ("{place} needs a name", "{place} necesita un nombre"),
    (
        "a secret in a path would be logged; put it into a header or the body",
        "un secreto en path aparecería en los logs; póngalo en una cabecera o en el cuerpo",
    ),
    ("unknown placeholder {place}", "marcador desconocido {place}"),
    (
        "unknown form {form} of {place}; known: lower, and in a body string, xml, url, members, base64",
        "forma desconocida {form} de {place}; las conocidas: lower y, en un cuerpo, string, xml, url, members, base64",
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
    ("the same path as socket, {path}", "la misma ruta que socket, {path}"),
    // Files.
    ("is not UTF-8; {what}. Save the file as UTF-8", "no es UTF-8; {what}. Guarde el archivo como UTF-8"),
    ("reading the configuration {path}: {why}", "al leer la configuración {path}: {why}"),
];

/// Parts of the phrases above, which mean nothing alone.
pub(super) const PARTS: &[Phrase] = &[
    ("the text {value}", "el texto {value}"),
    ("the number {value}", "el número {value}"),
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
    ("decimals have a point, as in 0.2", "los decimales llevan punto, como 0.2"),
    ("a blank is written %20", "un espacio se escribe %20"),
    (
        "other letters are written as %XX, and in a host's name in its xn-- form",
        "otras letras se escriben como %XX y, en el nombre de un servidor, en su forma xn--",
    ),
    ("a form", "un formulario"),
    ("a body with content_type {kind}", "un cuerpo con content_type {kind}"),
    ("it seems to be UTF-16", "parece UTF-16"),
    ("it seems to be no text", "no parece texto"),
    ("it seems to be Latin-1 (ISO 8859-1)", "parece Latin-1 (ISO 8859-1)"),
];

/// What to write instead, behind a semicolon at the end of a problem.
pub(super) const HINTS: &[Phrase] = &[
    ("did you mean {near} or {other} or {third}?", "¿quería decir {near}, {other} o {third}?"),
    ("did you mean {near} or {other}?", "¿quería decir {near} o {other}?"),
    ("did you mean {near}?", "¿quería decir {near}?"),
    ("it belongs in one of {names}", "va en una de {names}"),
    ("it belongs in {table}", "va en {table}"),
    ("the tables are {names}", "las tablas son {names}"),
    ("known here: {names}", "aquí se conocen: {names}"),
    ("known: {names}", "se conocen: {names}"),
    ("define it: {table} with a url", "defínala: {table} con url"),
    ("write it as in {example}", "escríbala como en {example}"),
    ("write it in brackets", "escríbala entre corchetes"),
    ("write {form}, without quotes around it", "escriba {form}, sin comillas alrededor"),
    (
        "write {one}, {two}, {three} or {four}, or set a content_type that tells the body's language",
        "escriba {one}, {two}, {three} o {four}, o defina un content_type que indique el lenguaje del cuerpo",
    ),
    ("write {example}", "escriba {example}"),
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
    ("unquoted keys cannot be empty", "una clave sin comillas no puede estar vacía"),
    ("unclosed array table", "tabla [[…]] sin cerrar"),
    ("unclosed inline table", "tabla entre llaves sin cerrar"),
    ("unclosed array", "lista sin cerrar"),
    ("unexpected content", "contenido inesperado"),
    ("invalid value", "valor no válido"),
    ("invalid boolean", "true o false mal escrito"),
    ("invalid date-time", "fecha no válida"),
    ("invalid datetime", "fecha no válida"),
    ("invalid integer number", "número entero no válido"),
    ("invalid float", "número decimal no válido"),
    ("redundant numeric sign", "sobra un signo en el número"),
    ("unexpected sign", "signo inesperado"),
    ("`_` may only go between digits", "`_` solo puede ir entre cifras"),
    ("invalid key-value pair", "clave y valor no válidos"),
    ("invalid escape sequence", "secuencia de escape no válida"),
    ("missing escaped value", "secuencia de escape incompleta"),
    ("duplicate key", "clave repetida"),
];
