//! Why an upstream cannot be reached, and what is wrong with its answers.

use super::Phrase;

/// In the order in which they are tried.
pub(super) const PHRASES: &[Phrase] = &[
    // A certificate beside the time that it was compared with.
    ("{why}; this terminal's clock says {time}", "{why}; el reloj de este terminal marca {time}"),
    // Connections.
    ("name lookup fails: {why}", "la resolución de nombres falla: {why}"),
    ("no connection in time", "no se conectó a tiempo"),
    ("no answer in time", "no respondió a tiempo"),
    ("no thread could be started: {why}", "no se pudo iniciar ningún hilo: {why}"),
    ("no thread could be started", "no se pudo iniciar ningún hilo"),
    ("the server sent data before the request", "el servidor envió datos antes de la petición"),
    (
        "the connection was closed, or the server sent data without a request",
        "la conexión se cerró o el servidor envió datos sin petición",
    ),
    (
        "a body of {size} was not answered in time: {sent} were sent in {seconds} s ({rate} a second); {key} is \
         {limit} s",
        "un cuerpo de {size} quedó sin respuesta: se enviaron {sent} en {seconds} s ({rate} por segundo); {key} es \
         {limit} s",
    ),
    (
        "the request cannot be sent as it is configured: {why}",
        "la petición no se puede enviar con esta configuración: {why}",
    ),
    (
        "{file} cannot be used in a header: it has more than one line, or is not visible ASCII",
        "{file} no sirve para una cabecera: tiene más de una línea o no es ASCII visible",
    ),
    (
        "the proxy makes no connection to the upstream: HTTP {status}",
        "el proxy no conecta con la central: HTTP {status}",
    ),
    ("the proxy makes no connection: {error}", "el proxy no conecta: {error}"),
    ("the proxy {proxy} cannot be used: {error}", "el proxy {proxy} no se puede usar: {error}"),
    (
        "the proxy asks for a user and a password: set proxy_auth_file",
        "el proxy pide usuario y contraseña: defina proxy_auth_file",
    ),
    // TLS.
    (
        "what answers there does not speak TLS: an http port, perhaps",
        "lo que responde ahí no usa TLS: quizá sea un puerto http",
    ),
    (
        "the upstream speaks only a TLS that is too old (1.2 or newer is needed)",
        "la central solo usa una versión de TLS demasiado antigua (se necesita 1.2 o posterior)",
    ),
    ("the upstream's certificate is not accepted: {why}", "no se acepta el certificado de la central: {why}"),
    ("the upstream's certificate {known}", "el certificado de la central {known}"),
    (
        "the upstream asks for a client certificate, and none is configured",
        "la central pide un certificado de cliente y no hay ninguno configurado",
    ),
    (
        "the upstream does not accept this terminal's client certificate ({alert})",
        "la central no acepta el certificado de cliente de este terminal ({alert})",
    ),
    (
        "the upstream and this terminal have no version of TLS in common (1.2 or newer is needed)",
        "la central y este terminal no tienen ninguna versión de TLS en común (se necesita 1.2 o posterior)",
    ),
    (
        "the upstream and this terminal have no TLS cipher in common",
        "la central y este terminal no tienen ningún cifrado TLS en común",
    ),
    ("the server does not know the upstream's name", "el servidor no conoce el nombre de la central"),
    ("the upstream broke TLS off ({alert})", "la central interrumpió TLS ({alert})"),
    ("{file} holds no certificate", "{file} no contiene ningún certificado"),
    (
        "the key in {key} does not belong to the certificate in {cert}",
        "la clave de {key} no corresponde al certificado de {cert}",
    ),
    ("{file} cannot be used: {why}", "no se puede usar {file}: {why}"),
    ("{file} does not hold user:password on one line", "{file} no contiene usuario:contraseña en una línea"),
    // Answers.
    ("redirects to {target} (a login page of the network?)", "redirige a {target} (¿la página de acceso de la red?)"),
    ("redirects to {target}", "redirige a {target}"),
    (
        "a web page instead of an answer (a login page of the network?)",
        "una página web en lugar de una respuesta (¿la página de acceso de la red?)",
    ),
    (
        "somebody else answers (a login page of the network?)",
        "responde otro servidor (¿la página de acceso de la red?)",
    ),
    ("a body in {encoding}, which cannot be shown", "un cuerpo en {encoding}, que no se puede mostrar"),
    ("no text", "sin texto"),
    (
        "it refused ten failures in a row, each with another order key",
        "rechazó diez incidencias seguidas, cada una con otra clave de orden",
    ),
    ("nothing is accepted any more; the last answer was: {why}", "ya no acepta nada; la última respuesta fue: {why}"),
    ("its answers cannot be understood: {why}", "sus respuestas no se entienden: {why}"),
    ("answer rule {number} cannot be evaluated: {why}", "la regla de respuesta {number} no se puede evaluar: {why}"),
    ("the answer cannot prove the delivery: {why}", "la respuesta no puede demostrar la entrega: {why}"),
    ("the answer has no {pointer}", "la respuesta no tiene {pointer}"),
    (
        "{pointer} of the answer is neither this failure's id nor its key",
        "{pointer} de la respuesta no es ni el id de esta incidencia ni su clave",
    ),
    (
        "the adapter's Resync-Outcome is {outcome}, which is none of the outcomes",
        "el Resync-Outcome del adaptador es {outcome}, que no es ninguno de los previstos",
    ),
    ("it was not there yet", "todavía no estaba"),
    (
        "the answer to the verify question cannot be read: {why}",
        "no se puede leer la respuesta a la verificación: {why}",
    ),
    // Logins.
    (
        "{why}; the next login is in {seconds} s, or after: resyncd resume",
        "{why}; el próximo inicio de sesión es en {seconds} s o después de: resyncd resume",
    ),
    ("the login was refused: HTTP {status}", "se rechazó el inicio de sesión: HTTP {status}"),
    ("the login got no answer: {why}", "el inicio de sesión no tuvo respuesta: {why}"),
    (
        "the login's answer does not hold what {name} needs: {why}",
        "la respuesta al inicio de sesión no contiene lo que necesita {name}: {why}",
    ),
    (
        "the login's answer does not hold what {name} needs",
        "la respuesta al inicio de sesión no contiene lo que necesita {name}",
    ),
    ("the login set none of the cookies {names}", "el inicio de sesión no envió ninguna de las cookies {names}"),
    (
        "the login's answer holds for {name} what no header can hold (a line end?)",
        "la respuesta al inicio de sesión contiene para {name} algo que no cabe en una cabecera (¿un salto de línea?)",
    ),
    ("the login got HTTP {status}: {why}", "el inicio de sesión recibió HTTP {status}: {why}"),
    // Requests that cannot be built.
    (
        "the payload is bytes: the route's template needs {place}",
        "el contenido es binario: la plantilla de la ruta necesita {place}",
    ),
    (
        "the payload is not valid JSON: the route's template needs {place}",
        "el contenido no es JSON válido: la plantilla de la ruta necesita {place}",
    ),
    (
        "the payload is not a JSON object with members, as the route's template asks for",
        "el contenido no es un objeto JSON con miembros, como pide la plantilla de la ruta",
    ),
    ("a path has no secrets", "una ruta no lleva secretos"),
    ("{url} is not an address of the upstream {name}", "{url} no es una dirección de la central {name}"),
    ("{text} cannot be used in a path", "{text} no puede formar parte de una ruta"),
    ("the sender stopped on a bug; see the log", "el envío se detuvo por un error interno; vea el log"),
    // Failures without an attempt.
    ("not sent yet", "aún sin enviar"),
    (
        "its request was cut off when the agent ended, and may have arrived (on_unsure = \"hold\")",
        "su petición se interrumpió al terminar el agente y es posible que llegara (on_unsure = \"hold\")",
    ),
    // Reasons of the agent's own operations.
    ("behind no. {seq}, discarded: {reason}", "detrás de la n.º {seq}, descartada: {reason}"),
    ("more than {count} retries and older than {span}", "más de {count} reintentos y más antigua de {span}"),
    ("older than {span}", "más antigua de {span}"),
    // Files of secrets.
    (
        "reading {file}: {why}. Is there a LoadCredential= for it in the service's unit?",
        "al leer {file}: {why}. ¿Tiene su LoadCredential= en la unidad del servicio?",
    ),
    ("reading {file}: {why}", "al leer {file}: {why}"),
];

/// Parts of the phrases above.
pub(super) const PARTS: &[Phrase] = &[
    ("has expired", "ha caducado"),
    ("expired on {date}", "caducó el {date}"),
    ("is not valid yet", "todavía no es válido"),
    ("is not valid before {date}", "no es válido hasta el {date}"),
    ("it was issued by an authority that is not known here", "lo emitió una autoridad que este terminal no conoce"),
    ("it is for {names}, and not for {name}", "es para {names}, y no para {name}"),
    ("it is for another name", "es para otro nombre"),
    ("it was revoked", "está revocado"),
    ("its signature is wrong", "su firma no es válida"),
    (
        "it, or its issuer's, is signed by a method that is not secure any more, such as SHA-1",
        "él o el de su emisor está firmado con un método que ya no es seguro, como SHA-1",
    ),
    ("it was not issued for a server", "no se emitió para un servidor"),
    ("it is malformed", "tiene un formato incorrecto"),
    (
        "it is the certificate of an authority and not of a server (self-signed, CA:TRUE)",
        "es el certificado de una autoridad y no el de un servidor (autofirmado, CA:TRUE)",
    ),
    ("its first certificate is malformed", "su primer certificado tiene un formato incorrecto"),
    ("a redirect", "una redirección"),
    ("the whole text of its body was not read", "no se leyó el texto completo de su cuerpo"),
    ("there is nothing to log in to at this URL", "en esta URL no se puede iniciar sesión"),
    ("its server could not answer", "su servidor no pudo responder"),
    ("its body is empty", "su cuerpo está vacío"),
    ("its body is larger than the {size} that are read", "su cuerpo supera los {size} que se leen"),
    ("its body is not JSON ({error}); it begins with {start}", "su cuerpo no es JSON ({error}); empieza por {start}"),
    (
        "its body is compressed ({encoding}), which the request did not ask for",
        "su cuerpo está comprimido ({encoding}), y la petición no lo pidió",
    ),
    (
        "its charset is {charset}, which the agent cannot read",
        "su juego de caracteres es {charset}, que el agente no sabe leer",
    ),
    ("its body is not UTF-8 (byte {at})", "su cuerpo no es UTF-8 (byte {at})"),
    ("its body is not UTF-16", "su cuerpo no es UTF-16"),
];
