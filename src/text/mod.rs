//! What people read, in English and Spanish, side by side: sentences of commands, table headings, alert messages.
//!
//! An entry of [`texts!`](crate::texts) is a function with typed arguments and both languages; an entry that lacks one
//! of them does not compile. The language is a value of the process, set once at its start, because every sentence of a
//! process is for the same reader. Logs, JSON names, metrics, `--help` and the manual are English and are not here.
//! `phrases` has what the agent says in English and a command shows in its reader's language.

pub(crate) mod advice;
pub(crate) mod alert_list;
pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod choose;
pub(crate) mod cleanup;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod deeds;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod edit;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod moments;
pub mod numbers;
pub(crate) mod operate;
pub(crate) mod payload;
pub(crate) mod phrases;
pub(crate) mod record;
pub(crate) mod reload;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod session;
pub(crate) mod show;
pub(crate) mod statistics;
pub(crate) mod status;
pub(crate) mod times;
pub(crate) mod top;
pub(crate) mod trial;
pub(crate) mod why;
pub(crate) mod words;

pub use numbers::Count;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// A language of the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// `en`
    #[default]
    English,
    /// `es`
    Spanish,
}

static SPANISH: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The language of a part, in place of that of the process.
    static OF_THIS_PART: Cell<Option<Language>> = const { Cell::new(None) };
}

impl Language {
    /// All languages, by the names that flags, variables and the configuration use.
    pub const NAMED: [(&str, Self); 2] = [("en", Self::English), ("es", Self::Spanish)];

    /// The language of this process, English until it is set; within `during` the language of that part.
    #[must_use]
    pub fn current() -> Self {
        if let Some(language) = OF_THIS_PART.get() {
            return language;
        }
        if SPANISH.load(Ordering::Relaxed) { Self::Spanish } else { Self::English }
    }

    /// Makes this the language of the process.
    pub fn set(self) {
        SPANISH.store(self == Self::Spanish, Ordering::Relaxed);
    }

    /// Runs a part in this language, on its thread alone. What programs read, such as the log, is English whatever the
    /// language of the process is.
    pub(crate) fn during<T>(self, part: impl FnOnce() -> T) -> T {
        let before = OF_THIS_PART.replace(Some(self));
        let result = part();
        OF_THIS_PART.set(before);
        result
    }

    /// The name in flags, variables and the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
        }
    }

    /// Parses what [`as_str`](Self::as_str) returns.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, language)| *language)
    }

    /// The language of a locale such as `es_CO.UTF-8`; English for `C`, `POSIX` and all that the catalogue lacks.
    #[must_use]
    pub fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
        Self::parse(&language.to_ascii_lowercase()).unwrap_or_default()
    }
}

/// Defines texts. Every entry becomes a function that returns the text in the language of the process.
///
/// ```
/// resyncd::texts! {
///     /// A text without arguments is a `&'static str`.
///     pub fn nothing() { en: "Nothing to do.", es: "No hay nada que hacer." }
///     /// With arguments it is a `String`; what can be formatted can be an argument.
///     pub fn sent(entity: &str, ago: &str) { en: "{entity} sent {ago}.", es: "{entity}: enviado {ago}." }
///     /// Singular and plural: the first argument is a `u64`, and decides. It is shown as a [`Count`].
///     pub fn waiting(count: u64, upstream: &str) {
///         en: "1 failure waits for {upstream}." | "{count} failures wait for {upstream}.",
///         es: "1 incidencia espera a {upstream}." | "{count} incidencias esperan a {upstream}.",
///     }
///     /// A table of codes: the first argument is matched. With more arguments it is a `String`.
///     pub fn state(state: &str) {
///         "held" => { en: "on hold", es: "retenida" }
///         _ => { en: "", es: "" }
///     }
///     /// Headings: both languages have the same number of columns.
///     pub fn headings() { en: ["NO.", "STATE"], es: ["N.º", "ESTADO"] }
/// }
/// assert_eq!(nothing(), "Nothing to do.");
/// assert_eq!(waiting(1, "hq"), "1 failure waits for hq.");
/// assert_eq!(waiting(1234, "hq"), "1,234 failures wait for hq.");
/// assert_eq!(state("held"), "on hold");
/// resyncd::text::Language::Spanish.set();
/// assert_eq!(waiting(1234, "hq"), "1.234 incidencias esperan a hq.");
/// assert_eq!(headings(), ["N.º", "ESTADO"]);
/// ```
///
/// A text that lacks a language does not compile:
///
/// ```compile_fail
/// resyncd::texts! { pub fn nothing() { en: "Nothing to do." } }
/// ```
/// ```compile_fail
/// resyncd::texts! { pub fn sent(ago: &str) { es: "Enviado {ago}." } }
/// ```
/// ```compile_fail
/// resyncd::texts! { pub fn waiting(count: u64) { en: "1 waits" | "{count} wait" } }
/// ```
/// ```compile_fail
/// resyncd::texts! { pub fn headings() { en: ["NO.", "STATE"], es: ["N.º"] } }
/// ```
#[macro_export]
macro_rules! texts {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:tt)*) => {
        $($crate::__text! { [$(#[$meta])*] [$vis] $name ($($arg: $type),*) $body })*
    };
}

/// One entry of [`texts!`](crate::texts).
#[doc(hidden)]
#[macro_export]
macro_rules! __text {
    ([$($meta:tt)*] [$vis:vis] $name:ident () { en: $en:literal, es: $es:literal $(,)? }) => {
        $($meta)*
        #[must_use]
        $vis fn $name() -> &'static str {
            match $crate::text::Language::current() {
                $crate::text::Language::English => $en,
                $crate::text::Language::Spanish => $es,
            }
        }
    };
    ([$($meta:tt)*] [$vis:vis] $name:ident ()
        { en: [$($en:literal),+ $(,)?], es: [$($es:literal),+ $(,)?] $(,)? }
    ) => {
        $($meta)*
        #[must_use]
        $vis fn $name() -> [&'static str; [$($en),+].len()] {
            match $crate::text::Language::current() {
                $crate::text::Language::English => [$($en),+],
                $crate::text::Language::Spanish => [$($es),+],
            }
        }
    };
    ([$($meta:tt)*] [$vis:vis] $name:ident ($($arg:ident: $type:ty),+)
        { en: $en:literal, es: $es:literal $(,)? }
    ) => {
        $($meta)*
        #[must_use]
        $vis fn $name($($arg: $type),+) -> String {
            $crate::say!(en: $en, es: $es)
        }
    };
    ([$($meta:tt)*] [$vis:vis] $name:ident ($count:ident: $number:ty $(, $arg:ident: $type:ty)*)
        { en: $en_one:literal | $en:literal, es: $es_one:literal | $es:literal $(,)? }
    ) => {
        $($meta)*
        #[must_use]
        $vis fn $name($count: $number $(, $arg: $type)*) -> String {
            let $count = $crate::text::Count($count);
            if $count.0 == 1 { $crate::say!(en: $en_one, es: $es_one) } else { $crate::say!(en: $en, es: $es) }
        }
    };
    ([$($meta:tt)*] [$vis:vis] $name:ident $args:tt { $language:ident: $($rest:tt)* }) => {
        compile_error!(concat!("the text ", stringify!($name), " needs en: and es:, in this order and the same form"));
    };
    ([$($meta:tt)*] [$vis:vis] $name:ident ($code:ident: $codes:ty)
        { $($pattern:pat => { en: $en:literal, es: $es:literal $(,)? } $(,)?)+ }
    ) => {
        $($meta)*
        #[must_use]
        $vis fn $name($code: $codes) -> &'static str {
            let language = $crate::text::Language::current();
            match $code {
                $($pattern => match language {
                    $crate::text::Language::English => $en,
                    $crate::text::Language::Spanish => $es,
                },)+
            }
        }
    };
    ([$($meta:tt)*] [$vis:vis] $name:ident ($code:ident: $codes:ty, $($arg:ident: $type:ty),+)
        { $($pattern:pat => { en: $en:literal, es: $es:literal $(,)? } $(,)?)+ }
    ) => {
        $($meta)*
        #[must_use]
        $vis fn $name($code: $codes, $($arg: $type),+) -> String {
            match $code {
                $($pattern => $crate::say!(en: $en, es: $es),)+
            }
        }
    };
}

/// A text in the middle of a function of the catalogue, where an entry of [`texts!`](crate::texts) does not suffice.
#[doc(hidden)]
#[macro_export]
macro_rules! say {
    (en: $en:literal, es: $es:literal $(,)?) => {
        match $crate::text::Language::current() {
            $crate::text::Language::English => format!($en),
            $crate::text::Language::Spanish => format!($es),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::Language;

    #[test]
    fn locales_choose_a_language() {
        for (locale, language) in [
            ("es_CO.UTF-8", Language::Spanish),
            ("es_ES@euro", Language::Spanish),
            ("es", Language::Spanish),
            ("ES_MX", Language::Spanish),
            ("C", Language::English),
            ("C.UTF-8", Language::English),
            ("POSIX", Language::English),
            ("en_GB.UTF-8", Language::English),
            ("et_EE.UTF-8", Language::English),
            ("est", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
        assert!(Language::NAMED.iter().all(|(name, language)| language.as_str() == *name));
    }
}
