//! Why an attempt used up a retry or did not, by the code that is stored with it.

crate::texts! {
    /// `show`: the sentence about the last attempt. `upstream` is its name.
    pub(crate) fn last_attempt(why: &str, upstream: &str) {
        "accepted" => { en: "Last attempt: {upstream} accepted it.", es: "Último intento: {upstream} la aceptó." }
        "handed_over" => {
            en: "Last attempt: the application handed it over, and {upstream} accepted it at the first attempt.",
            es: "Último intento: la aplicación la pasó al agente sin enviarla y {upstream} la aceptó a la primera.",
        }
        "found" => {
            en: "Last attempt: an earlier one had arrived. {upstream} already has it, so it is not sent again.",
            es: "Último intento: uno anterior había llegado. {upstream} ya la tiene, así que no se vuelve a enviar.",
        }
        "not_there" => {
            en: "Last attempt: {upstream} does not have it, so no earlier attempt had arrived and it was sent again.",
            es: "Último intento: {upstream} no la tiene; ningún intento anterior había llegado y se volvió a enviar.",
        }
        "unreachable" => {
            en: "Last attempt: {upstream} could not be reached. This is not due to the failure, so no retry was used.",
            es: "Último intento: no se pudo contactar con {upstream}. No se debe a la incidencia y no consume \
                 reintentos.",
        }
        "throttled" => {
            en: "Last attempt: {upstream} asked to slow down. This is not due to the failure, so no retry was used.",
            es: "Último intento: {upstream} pidió reducir el ritmo. No se debe a la incidencia y no consume \
                 reintentos.",
        }
        "busy" => {
            en: "Last attempt: {upstream} was temporarily unavailable. This is not due to the failure, so no retry \
                 was used.",
            es: "Último intento: {upstream} no estaba disponible temporalmente. No se debe a la incidencia y no \
                 consume \
                 reintentos.",
        }
        "unsure" => {
            en: "Last attempt: no clear answer from {upstream}. It will be sent again with the same key; no retry \
                 was used.",
            es: "Último intento: {upstream} no dio una respuesta clara. Se volverá a enviar con la misma clave; no \
                 consume \
                 reintentos.",
        }
        "unreadable" => {
            en: "Last attempt: whether {upstream} accepted it depends on its answer, which could not be read. It \
                 will be \
                 sent again with the same key; no retry was used.",
            es: "Último intento: de la respuesta de {upstream} depende si la aceptó, y no se pudo leer. Se volverá a \
                 enviar con la misma clave; no consume reintentos.",
        }
        "misconfigured" => {
            en: "Last attempt: the settings for {upstream} are wrong (credentials, address or clock); no retry was \
                 used.",
            es: "Último intento: la configuración de {upstream} es incorrecta (credenciales, dirección o reloj); no \
                 consume reintentos.",
        }
        "shut" => {
            en: "Last attempt: {upstream} accepted nothing at that time, so this says nothing about the failure; no \
                 retry \
                 was used.",
            es: "Último intento: {upstream} no aceptaba nada en ese momento, así que el problema no es de la incidencia y no \
                 consume reintentos.",
        }
        "upstream_failing" => {
            en: "Last attempt: another failure failed as well and nothing was accepted in between. The cause is \
                 {upstream}; both get their retries back.",
            es: "Último intento: otra incidencia también falló y entretanto no se aceptó nada. La causa está en \
                 {upstream}; ambas recuperan sus reintentos.",
        }
        "last_chance" => {
            en: "Last attempt: all retries were used up, and one extra attempt failed too.",
            es: "Último intento: ya no quedaban reintentos y un intento adicional también falló.",
        }
        "singled_out" => {
            en: "Last attempt: {upstream} asks this failure to wait while it accepts others. Only this one waits; it \
                 uses \
                 up no retry until it is a day old.",
            es: "Último intento: {upstream} pide que esta incidencia espere mientras acepta otras. Solo espera esta; \
                 no \
                 consume reintentos hasta cumplir un día.",
        }
        "failed" => {
            en: "Last attempt: {upstream} answered but did not accept it. One retry was used.",
            es: "Último intento: {upstream} respondió, pero no la aceptó. Consume un reintento.",
        }
        "last_retry" => {
            en: "Last attempt: {upstream} answered but did not accept it. That was its last retry.",
            es: "Último intento: {upstream} respondió, pero no la aceptó. Era su último reintento.",
        }
        "one_shot" => {
            en: "Last attempt: an operator had requested it, and it failed.",
            es: "Último intento: lo había solicitado un operador y falló.",
        }
        "contrast" => {
            en: "Last attempt: {upstream} accepts others, while this one gets no clear answer more often than chance \
                 explains. One retry was used.",
            es: "Último intento: {upstream} acepta otras, mientras que esta queda sin respuesta clara más veces de \
                 lo que \
                 explica el azar. Consume un reintento.",
        }
        "last_by_contrast" => {
            en: "Last attempt: {upstream} accepts others, while this one gets no clear answer more often than chance \
                 explains. That was its last retry.",
            es: "Último intento: {upstream} acepta otras, mientras que esta queda sin respuesta clara más veces de \
                 lo que \
                 explica el azar. Era su último reintento.",
        }
        "refused" => {
            en: "Last attempt: {upstream} rejects it as it is; sending it again will not help.",
            es: "Último intento: {upstream} la rechaza tal como está; volver a enviarla no sirve.",
        }
        "unbuildable" => {
            en: "Last attempt: no valid request can be built from it as it is.",
            es: "Último intento: no se puede construir una petición válida con ella tal como está.",
        }
        _ => { en: "", es: "" }
    }
    /// `show`: whether the last attempt counts is not decided yet.
    pub(crate) fn provisional(upstream: &str) {
        en: "Last attempt: {upstream} answered but did not accept it. Whether that uses up a retry is decided when the \
             next failures are sent: if none is accepted, the cause is {upstream}.",
        es: "Último intento: {upstream} respondió, pero no la aceptó. Si consume un reintento se decide al enviar las \
             siguientes: si no se acepta ninguna, la causa está en {upstream}.",
    }
    /// The name of an upstream that is not known any more, within a sentence.
    pub(crate) fn the_upstream() { en: "the upstream", es: "la central" }
}
