//! What to do about an upstream that takes nothing: one text a cause, for `status`, `top` and `doctor`.
//!
//! The agent tells its state and its reason, in words that begin with the status where there was a response
//! (`HTTP 403: …`). Each piece of advice is carried out by a test, which shows that it helps.

use crate::config::Upstream as Configured;
use crate::config::upstream::Authorization;
use crate::figures::snapshot::Upstream;
use crate::moment::WallTime;
use crate::text::advice as text;
use std::path::Path;
use std::time::Duration;

/// Words of a reason that only a person removes: credentials, certificates, addresses, files.
const CAUSES: [&str; 14] = [
    "certificate",
    "issuer",
    "tls",
    "ssl",
    "handshake",
    "credential",
    "no such file",
    "permission denied",
    "proxy",
    "redirects to",
    "login page",
    "http 401",
    "http 403",
    "http 404",
];

/// Can waiting not help, as far as its state and reason tell? An outage that lasts, an upstream that fails on
/// every request, and causes that only a person removes.
pub(super) fn needs_a_person(upstream: &Upstream, now: WallTime) -> bool {
    /// An outage that is shorter is commonly over before anybody has looked.
    const LASTS: Duration = Duration::from_secs(15 * 60);
    let lasts = || upstream.since.is_some_and(|since| now.since(since) >= LASTS);
    takes_nothing(upstream) || (upstream.state == "offline" && lasts())
}

/// Does it reject or fail on everything, or is the cause one that only a person removes? No failure reaches it then, so
/// that this comes before what is wrong with a single one.
pub(super) fn takes_nothing(upstream: &Upstream) -> bool {
    let reason = upstream.reason.as_deref().unwrap_or_default().to_lowercase();
    match upstream.state.as_str() {
        "failing" | "blocked" => true,
        "online" | "paused" => false,
        _ => CAUSES.iter().any(|cause| reason.contains(cause)),
    }
}

/// The status of the response that a reason names.
fn status(reason: &str) -> Option<u16> {
    let at = reason.find("HTTP ")? + "HTTP ".len();
    reason.get(at..at + 3)?.parse().ok()
}

/// What to do about an upstream that answers and accepts nothing, by the answer that it gives.
pub(super) fn about_answers(reason: &str, upstream: &Configured) -> String {
    let name = &upstream.name;
    match status(reason) {
        Some(401) => rejected_credentials(upstream),
        Some(407) => text::proxy_credentials(name),
        Some(403) => match secret_files(upstream).first() {
            Some(file) => text::not_admitted_with(name, &file.display().to_string()),
            None => text::not_admitted(name),
        },
        Some(404 | 405 | 410) => text::wrong_address(name),
        Some(300..=399) => text::redirected(name),
        _ => text::tell_head_office(name),
    }
}

/// The upstream did not accept what we sent to show who we are.
pub(super) fn rejected_credentials(upstream: &Configured) -> String {
    let name = &upstream.name;
    match &secret_files(upstream)[..] {
        [] => text::no_credentials(name),
        files => {
            let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            text::replace_credentials(name, &files.join(", "))
        }
    }
}

/// Files that say who this terminal is; an authority's certificate does not.
pub(super) fn secret_files(upstream: &Configured) -> Vec<&Path> {
    let held = &upstream.credentials;
    let own = match &held.authorization {
        Authorization::None => None,
        Authorization::Token(file) | Authorization::Basic(file) => Some(file),
    };
    let headers = held.header_files.iter().map(|(_, file)| file);
    let login = held.login.iter().map(|login| &login.body_file);
    let certificate = upstream.connection.client_cert.iter().map(|(cert, _)| cert);
    own.into_iter().chain(headers).chain(login).chain(certificate).map(std::path::PathBuf::as_path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_wherever_the_reason_has_it() {
        assert_eq!(status("HTTP 403: Forbidden"), Some(403));
        assert_eq!(status("nothing is accepted any more; the last answer was: HTTP 404: no"), Some(404));
        assert_eq!(status("Connection refused"), None);
        assert_eq!(status("HTTP 4"), None);
    }
}
