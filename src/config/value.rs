//! Parses durations, sizes and URLs of the configuration. Errors state what was expected.

use crate::limits::quote;
use std::net::IpAddr;
use std::time::Duration;
use ureq::http::Uri;

/// `"250ms" "30s" "5m" "12h" "7d"`
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || {
        let found = format!("{:?}{}", quote(text), meant(text, "s", &DURATIONS));
        format!("expected a duration such as \"250ms\", \"30s\", \"5m\", \"12h\" or \"7d\", found {found}")
    };
    let (number, unit) = split(text).ok_or_else(expected)?;
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(expected)
}

/// `"64KiB" "256MiB"`
pub fn size(text: &str) -> Result<u64, String> {
    let expected = || {
        let found = format!("{:?}{}", quote(text), meant(text, "B", &SIZES));
        format!("expected a size such as \"64KiB\", \"256MiB\" or \"1GiB\", found {found}")
    };
    let (number, unit) = split(text).ok_or_else(expected)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(expected()),
    };
    number.checked_mul(1 << shift).ok_or_else(expected)
}

/// Other spellings of units, in lower case.
type Spellings = [(&'static str, &'static [&'static str])];
const DURATIONS: [(&str, &[&str]); 5] = [
    ("ms", &["ms", "msec", "msecs", "millis", "milliseconds"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
    ("m", &["m", "min", "mins", "minute", "minutes"]),
    ("h", &["h", "hr", "hrs", "hour", "hours"]),
    ("d", &["d", "day", "days"]),
];
const SIZES: [(&str, &[&str]); 4] = [
    ("B", &["b", "byte", "bytes"]),
    ("KiB", &["kib", "kb", "k", "ki"]),
    ("MiB", &["mib", "mb", "m", "mi"]),
    ("GiB", &["gib", "gb", "g", "gi"]),
];

/// What was probably meant by a number with another spelling of a unit, or with none: then the `plain` one.
fn meant(text: &str, plain: &str, units: &Spellings) -> String {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim().to_ascii_lowercase());
    let known = units.iter().find(|(_, spellings)| spellings.contains(&unit.as_str())).map(|(unit, _)| *unit);
    let unit = if unit.is_empty() { Some(plain) } else { known };
    match unit {
        Some(unit) if (1..=18).contains(&number.len()) => format!("; did you mean \"{number}{unit}\"?"),
        _ => String::new(),
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// A level of the log, or a filter such as `"warn,resyncd::io=debug"`.
pub fn log_filter(text: &str) -> Result<String, String> {
    let is_level = |word: &str| word.parse::<log::LevelFilter>().is_ok();
    let right = if text.contains(['=', ',']) {
        text.split(',').all(|part| part.split_once('=').is_none_or(|(_, level)| is_level(level.trim())))
    } else {
        is_level(text)
    };
    let expected =
        || format!("expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\", found {:?}", quote(text));
    if right { Ok(text.to_owned()) } else { Err(expected()) }
}

/// A URL that paths are appended to: it has no query, because that would swallow them.
pub fn base_url(text: &str, insecure: bool) -> Result<(), String> {
    url(text, insecure)?;
    if text.contains('?') {
        return Err(
            "a query does not belong here, because the path of a route is appended; put it into the path".into()
        );
    }
    Ok(())
}

/// Returns whether both URLs have the same scheme and server.
#[must_use]
pub fn same_server(one: &str, other: &str) -> bool {
    let server = |text: &str| -> Option<(String, String)> {
        let uri: Uri = text.parse().ok()?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_owned()))
    };
    server(one).is_some_and(|one| server(other) == Some(one))
}

/// A URL: https, or http to this machine, or http if `insecure` is set.
pub fn url(text: &str, insecure: bool) -> Result<(), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("a URL begins with https://, as in \"https://hq.example/sync\"; found {:?}", quote(text)));
    };
    if !["http", "https"].contains(&scheme) {
        return Err(format!("a URL begins with https:// or http://, found {:?}", quote(scheme)));
    }
    if let Some(wrong) = text.chars().find(|c| !c.is_ascii_graphic()) {
        let instead = match wrong {
            ' ' => "a blank is written %20",
            _ => "other letters are written as %XX, and in a host's name in its xn-- form",
        };
        return Err(format!("a URL does not contain {wrong:?}: {instead}"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !authority.contains(['[', '@']) && authority.matches(':').count() > 1 {
        return Err(format!("an IPv6 address stands in brackets, as in \"{scheme}://[fd00::1]:8443/sync\""));
    }
    let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    if text.contains('#') {
        return Err("a fragment (#…) is never sent, and does not belong in a URL".to_owned());
    }
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return Err("not a URL with a host, such as \"https://hq.example/sync\"".to_owned());
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("user and password do not belong in a URL, because URLs are logged".to_owned());
    }
    if let Some(port) = uri.authority().and_then(|authority| port_of(authority.as_str()))
        && !(port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0))
    {
        return Err(format!("expected a port from 1 to 65535, found {port:?}"));
    }
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if insecure || is_loopback(host) => Ok(()),
        Some("http") => Err(format!(
            "plain http to {host} can be read and changed on the way; use https, or set insecure = true if the network is trusted"
        )),
        _ => Err("expected http:// or https://".to_owned()),
    }
}

/// The port in an authority without user and password.
fn port_of(authority: &str) -> Option<&str> {
    let behind_host = authority.rfind(']').map_or(authority, |bracket| &authority[bracket + 1..]);
    behind_host.split_once(':').map(|(_, port)| port)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("expected a JSON pointer such as \"/error/message\", found {text:?}"))
    }
}

/// Formats a duration in the largest unit that is exact.
pub(super) fn shown_duration(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let unit = units.into_iter().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    match unit {
        _ if ms == 0 => quoted("0s"),
        Some((name, unit)) => quoted(&format!("{}{name}", ms / unit)),
        None => quoted(&format!("{ms}ms")),
    }
}

/// Formats a size in the largest unit that is exact.
pub(super) fn shown_size(bytes: u64) -> String {
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    let (name, shift) = unit.unwrap_or(("B", 0));
    quoted(&format!("{}{name}", bytes >> shift))
}

/// A key in TOML syntax, quoted if necessary.
pub(super) fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain { key.to_owned() } else { quoted(key) }
}

/// A JSON string is also a TOML string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("0B"), Ok(0));
        for wrong in ["", "5", "m", "5 m", "-5m", "5min", "1.5h", "99999999999999999999d", "9999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "5", "64KB", "1e3KiB", "99999999999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_spelling_of_a_unit_is_understood() {
        for (wrong, right) in
            [("5min", "5m"), ("30", "30s"), ("30 s", "30s"), ("2 hours", "2h"), ("500 Millis", "500ms"), ("1D", "1d")]
        {
            let told = duration(wrong).expect_err(wrong);
            assert!(told.ends_with(&format!("did you mean {right:?}?")), "{told}");
        }
        for (wrong, right) in [("64KB", "64KiB"), ("1M", "1MiB"), ("2 gb", "2GiB"), ("512", "512B")] {
            let told = size(wrong).expect_err(wrong);
            assert!(told.ends_with(&format!("did you mean {right:?}?")), "{told}");
        }
        for wrong in ["", "m", "1.5h", "5 weeks", "-5m"] {
            let told = duration(wrong).expect_err(wrong);
            assert!(!told.contains("did you mean"), "{told}");
        }
    }

    #[test]
    fn a_log_filter_has_levels_that_are_known() {
        for right in ["info", "DEBUG", "off", "warn,resyncd::io=debug", "resyncd=trace"] {
            assert!(log_filter(right).is_ok(), "{right}");
        }
        for wrong in ["verbose", "", "resyncd=loud", "warn,resyncd=2"] {
            assert!(log_filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_url_says_what_to_write() {
        for (wrong, part) in [
            ("https://fd00::1/sync", "\"https://[fd00::1]:8443/sync\""),
            ("https://fd00::1:8443/", "in brackets"),
            ("https://hq.example/a b", "%20"),
            ("https://h\u{fc}.example/", "xn--"),
            ("htps://hq.example/", "https:// or http://"),
        ] {
            let told = url(wrong, true).expect_err(wrong);
            assert!(told.contains(part), "{wrong}: {told}");
        }
    }

    #[test]
    fn urls() {
        for right in ["https://hq.example/sync", "http://localhost:9001/x", "http://127.0.0.1:1/", "http://[::1]:80/"] {
            assert_eq!(url(right, false), Ok(()), "{right}");
        }
        for wrong in [
            "hq.example/sync",
            "ftp://hq/",
            "http://hq.example/",
            "https://u:p@hq/",
            "https://",
            "x",
            "http://127.0.0.1.evil/",
            "https://hq.example:0/",
            "https://hq.example:99999/",
            "https://hq.example:65536",
            "https://hq.example:/",
            "https://[::1]:/",
            "https://hq.example/#x",
            "https://hq.example\\@evil/",
            "https://hq.example:80:80/",
            "https://fd00::1/sync",
            "https://hq.example/a b",
            "https://hü.example/",
            "https://hq.example:+80/",
        ] {
            assert!(url(wrong, false).is_err(), "{wrong}");
        }
        assert_eq!(url("http://hq.example/", true), Ok(()));
        assert_eq!(url("https://hq.example:65535/?probe=1", false), Ok(()));
        assert!(
            base_url("https://hq.example/?probe=1", false).is_err() && base_url("https://hq.example", false).is_ok()
        );
    }

    #[test]
    fn servers_are_told_apart() {
        assert!(same_server("https://hq.example/a", "https://hq.example/a/b?c"));
        for other in [
            "http://hq.example/a",
            "https://hq.example:1/a",
            "https://hq.example.evil/a",
            "https://hq.examplea",
            "/a",
            "",
        ] {
            assert!(!same_server("https://hq.example/a", other), "{other}");
        }
    }
}
