//! Times: relative to now, and in the form of input.

crate::texts! {
    /// A past time: its clock time, and how long ago it was.
    pub(crate) fn past(clock: &str, span: &str) { en: "{clock}, {span} ago", es: "{clock}, hace {span}" }
    /// A time in the future.
    pub(crate) fn future(clock: &str, span: &str) { en: "{clock}, in {span}", es: "{clock}, dentro de {span}" }
    /// How long ago.
    pub(crate) fn ago(span: &str) { en: "{span} ago", es: "hace {span}" }
    /// `--since`, `--until`: not a time.
    pub(crate) fn not_a_time(name: &str, given: &str) {
        en: "--{name} {given}: expected a time such as 24h (ago), 06:12, 2026-11-24, \"2026-11-24 06:12\" or \
             2026-11-24T06:12:34Z",
        es: "--{name} {given}: se esperaba una hora como 24h (hace 24 horas), 06:12, 2026-11-24, \"2026-11-24 \
             06:12\" o 2026-11-24T06:12:34Z",
    }
}
