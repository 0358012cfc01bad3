//! Chooses the language: `--lang`, then `RESYNCD_LANG`, then the locale (`LC_ALL`, `LC_MESSAGES`, `LANG`).
//!
//! The agent also has `[agent] language`, which precedes the locale. With `--json` everything is English, because
//! programs read it.

use super::Failure;
use super::args::Global;
use crate::text::Language;
use std::env;

const VARIABLE: &str = "RESYNCD_LANG";
/// The variables of the locale, in the order of POSIX.
const LOCALE: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

/// The language of a command.
pub(super) fn of_command(global: &Global) -> Result<Language, Failure> {
    if global.json {
        return Ok(Language::English);
    }
    chosen(global.lang, None, &variable)
}

/// The language of what the agent says on its own; `configured` is `[agent] language`, `None`: `auto`.
pub(super) fn of_agent(global: &Global, configured: Option<Language>) -> Result<Language, Failure> {
    chosen(global.lang, configured, &variable)
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn chosen(
    flag: Option<Language>,
    configured: Option<Language>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Language, Failure> {
    // An empty variable is an unset one.
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    if let Some(language) = flag {
        return Ok(language);
    }
    if let Some(name) = set(&VARIABLE) {
        return Language::parse(&name)
            .ok_or_else(|| Failure::Usage(format!("{VARIABLE}: expected en or es, found {name:?}")));
    }
    let locale = || LOCALE.iter().find_map(set).map_or(Language::English, |locale| Language::of_locale(&locale));
    Ok(configured.unwrap_or_else(locale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{English, Spanish};

    fn with(
        variables: &[(&str, &str)],
        flag: Option<Language>,
        configured: Option<Language>,
    ) -> Result<Language, String> {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        chosen(flag, configured, &variable).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn each_source_precedes_the_next() {
        let mut variables = vec![("LANG", "es_ES.UTF-8")];
        assert_eq!(with(&[], None, None), Ok(English), "nothing is set");
        assert_eq!(with(&variables, None, None), Ok(Spanish), "LANG");
        variables.push(("LC_MESSAGES", "C"));
        assert_eq!(with(&variables, None, None), Ok(English), "LC_MESSAGES before LANG");
        variables.push(("LC_ALL", "es_CO.UTF-8"));
        assert_eq!(with(&variables, None, None), Ok(Spanish), "LC_ALL before LC_MESSAGES");
        assert_eq!(with(&variables, None, Some(English)), Ok(English), "the configuration before the locale");
        variables.push(("RESYNCD_LANG", "es"));
        assert_eq!(with(&variables, None, Some(English)), Ok(Spanish), "RESYNCD_LANG before the configuration");
        assert_eq!(with(&variables, Some(English), None), Ok(English), "the flag before all");
        assert_eq!(with(&[("LC_ALL", ""), ("LANG", "es")], None, None), Ok(Spanish), "an empty variable is unset");
        assert_eq!(with(&[("RESYNCD_LANG", "es"), ("LC_ALL", "C.UTF-8")], None, None), Ok(Spanish));
    }

    #[test]
    fn an_unknown_language_is_an_error_that_names_the_known_ones() {
        let wrong = with(&[("RESYNCD_LANG", "fr")], None, None).expect_err("there is no French");
        assert_eq!(wrong, "RESYNCD_LANG: expected en or es, found \"fr\"");
        assert_eq!(with(&[("LC_ALL", "fr_FR.UTF-8")], None, None), Ok(English), "another locale is no error");
    }
}
