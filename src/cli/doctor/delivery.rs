//! Checks the upstreams: name, connection, certificate, response, credentials, and clock.

use super::Finding;
use crate::cli::render::span;
use crate::cli::session::Session;
use crate::cli::{advice, deeds};
use crate::config::Upstream;
use crate::config::upstream::Authorization;
use crate::figures::snapshot::{self, Part, Snapshot};
use crate::io::clock::{since_boot, wall};
use crate::io::http::Exchange;
use crate::io::resolve::CachingResolver;
use crate::io::secrets::Secrets;
use crate::io::sender;
use crate::moment::WallTime;
use crate::policy::alert::kind::Kind;
use crate::policy::ending::Answer;
use crate::policy::ending::ConnectError;
use crate::policy::ending::Ending;
use crate::policy::ending::InterruptKind;
use crate::policy::ending::Target;
use crate::policy::probe::ProbeEnd;
use crate::store::StoreSettings;
use crate::store::reader::Reader;
use crate::text::doctor as text;
use crate::text::doctor::Check;
use crate::text::phrases::of_attempt;
use crate::wire::delivery::{HttpRequest, credentials};
use std::time::Duration;

const CHECK: Check = Check::Upstream;
/// Time limit per upstream, because an operator is waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each upstream, asked as the agent asks; and what the agent has met there.
pub(super) fn upstreams(session: &Session) -> Vec<Finding> {
    let config = &session.config;
    if config.upstreams.is_empty() {
        return vec![Finding::ill(CHECK, text::no_upstream())];
    }
    let stored = Reader::open(&StoreSettings::of(config)).ok().and_then(|reader| reader.upstreams().ok());
    let deaf = |name: &str| stored.iter().flatten().any(|(known, state)| known == name && state.is_deaf());
    let mut snapshot = Snapshot::default();
    // Without an agent and without a store, no response is known.
    let _ = session.fill(&mut snapshot, Part::Health, &Part::Health.question(wall()));
    deeds::name_pauses(&mut snapshot.health, &mut |request| session.quietly(request).ok().map(|reply| reply.value));
    let known = |name: &str| snapshot.health.upstreams.iter().find(|one| one.name == name);
    let of = |upstream: &Upstream| one(upstream, deaf(&upstream.name), known(&upstream.name));
    let mut found: Vec<Finding> = config.upstreams.iter().flat_map(of).collect();
    // A probe has no body, so it cannot show this.
    let reasons = snapshot.health.reasons.iter().filter_map(|why| why.split_once(": "));
    let uploads = reasons.filter(|(kind, _)| Kind::parse(kind) == Some(Kind::UploadTimeout));
    found.extend(uploads.map(|(_, message)| Finding::ill(Check::Delivery, message)));
    found
}

fn one(upstream: &Upstream, deaf: bool, known: Option<&snapshot::Upstream>) -> Vec<Finding> {
    let time = upstream.timeout.min(PATIENCE);
    let upstream = &Upstream { timeout: time, total_timeout: time, ..upstream.clone() };
    let mut found = Vec::new();
    let (ending, took) = probe(upstream);
    found.push(reached(upstream, &ending, took));
    if deaf {
        found.push(Finding::ill(CHECK, text::no_probe_answered(&upstream.name, &upstream.probe.url)));
    }
    if let Ending::Answered(answer) = &ending {
        found.extend(clock(&upstream.name, answer, wall()));
        found.extend(let_in(upstream));
    }
    found.extend(known.and_then(|known| met(upstream, known)));
    found
}

/// What the agent has met when it sent failures. A probe carries none, so its answer may look well meanwhile.
fn met(upstream: &Upstream, known: &snapshot::Upstream) -> Option<Finding> {
    const CHECK: Check = Check::Delivery;
    let name = &upstream.name;
    Some(match (known.state.as_str(), known.reason.as_deref()) {
        ("paused", _) => {
            let by = known.paused_by.as_ref();
            Finding::ill(CHECK, by.map_or_else(|| text::paused(name), |by| text::paused_by(name, by)))
        }
        ("blocked" | "failing", Some(reason)) => {
            let remedy = advice::about_answers(reason, upstream);
            Finding::ill(CHECK, text::accepts_nothing_because(name, &of_attempt(reason), &remedy))
        }
        ("blocked" | "failing", None) => {
            Finding::ill(CHECK, text::accepts_nothing(name, &advice::about_answers("", upstream)))
        }
        ("throttled" | "waiting", Some(reason)) => Finding::well(CHECK, text::asked_to_wait(name, &of_attempt(reason))),
        ("online", Some(reason)) => Finding::well(CHECK, text::last_failed(name, &of_attempt(reason))),
        _ => return None,
    })
}

/// Probes without credentials, like the agent, because `probe_url` may be on another machine.
fn probe(upstream: &Upstream) -> (Ending, Duration) {
    let begun = since_boot();
    let prober = Exchange::for_probes(upstream, CachingResolver::default());
    let ending = sender::ask(&prober, &upstream.probe, &Secrets::default());
    (ending, since_boot().saturating_sub(begun))
}

fn reached(upstream: &Upstream, ending: &Ending, took: Duration) -> Finding {
    let (name, url) = (&upstream.name, &upstream.probe.url);
    let target = Target::of(url);
    let https = target.https;
    let end = ProbeEnd::of(ending.clone(), took, &target, wall());
    let remedy = match (ending, end) {
        (Ending::Answered(answer), ProbeEnd::Answered { status: 300..=399, .. }) => {
            let (status, remedy) = (answer.status, advice_about(answer, upstream));
            match answer.redirect_target() {
                Some(target) => text::redirects_to(status, &target, &remedy),
                None => text::redirects(status, &remedy),
            }
        }
        (_, ProbeEnd::Answered { status, took }) => {
            let answers = if https { text::answers_with_certificate } else { text::answers };
            return Finding::well(CHECK, answers(name, url, took.as_millis(), status));
        }
        (_, ProbeEnd::Page { status, .. }) => text::web_page(status, name),
        (Ending::NotSent(fault, why), _) => format!("{}. {}", of_attempt(why), mend(*fault, why, upstream)),
        (Ending::LoginError(end), _) => of_attempt(&end.error).into_owned(),
        (Ending::Broken(InterruptKind::Timeout | InterruptKind::Upload, _), _) => text::no_response(name),
        (Ending::Broken(InterruptKind::Reset, why), _) => text::closed(&of_attempt(why)),
        (Ending::InvalidRequest(why), _) => of_attempt(why).into_owned(),
        (Ending::Answered(answer), ProbeEnd::Silence { reason }) if answer.status / 100 == 3 => {
            text::led_elsewhere(&of_attempt(&reason), name, &advice_about(answer, upstream))
        }
        (Ending::Answered(_), ProbeEnd::Silence { reason }) => text::answered_by_other(&of_attempt(&reason)),
    };
    Finding::ill(CHECK, format!("{name}: {url}: {remedy}"))
}

fn advice_about(answer: &Answer, upstream: &Upstream) -> String {
    advice::about_answers(&format!("HTTP {}", answer.status), upstream)
}

fn mend(fault: ConnectError, why: &str, upstream: &Upstream) -> String {
    let name = &upstream.name;
    match fault {
        ConnectError::Lookup => text::look_up().to_owned(),
        ConnectError::NoConnection | ConnectError::ConnectTimeout => text::connect(name),
        ConnectError::Certificate if why.contains("self-signed") => text::self_signed(name),
        ConnectError::Certificate if why.contains("client certificate") => text::client_certificate(name),
        ConnectError::Certificate if why.contains("authority that is not known") => {
            match &upstream.connection.ca_file {
                None => text::unknown_authority(name),
                Some(file) => text::other_authority(&file.display().to_string()),
            }
        }
        ConnectError::Certificate if why.contains("it is for") => text::other_name(name),
        ConnectError::Certificate => text::wrong_certificate(name),
        ConnectError::CertificateTime => text::certificate_time(name),
        ConnectError::Tls if why.contains("does not speak TLS") => text::no_tls(name),
        ConnectError::Tls => text::tls(name),
        ConnectError::Credentials => text::credential_files(name),
        ConnectError::Bug => text::bug().to_owned(),
    }
}

/// Compares the upstream's clock with ours; its dates have whole seconds.
fn clock(name: &str, answer: &Answer, now: WallTime) -> Option<Finding> {
    /// Difference from which the agent reports a wrong clock too.
    const WRONG: Duration = Duration::from_secs(300);
    let theirs = answer.date?;
    let (ahead, behind) = (now.since(theirs), theirs.since(now));
    let off = ahead.max(behind);
    let difference = &span(off);
    Some(if off <= WRONG {
        Finding::well(Check::Clock, text::clock_right(off.as_secs() + 1, name))
    } else if ahead > behind {
        Finding::ill(Check::Clock, text::clock_ahead(difference, name))
    } else {
        Finding::ill(Check::Clock, text::clock_behind(difference, name))
    })
}

/// Checks the credentials: sends a probe without a body to the failures' URL, with all credentials.
fn let_in(upstream: &Upstream) -> Option<Finding> {
    const CHECK: Check = Check::Credentials;
    let held = &upstream.credentials;
    let has_some = held.authorization != Authorization::None
        || held.login.is_some()
        || !held.header_files.is_empty()
        || upstream.connection.client_cert.is_some();
    if !has_some {
        return None;
    }
    let method = upstream.probe.method.as_str();
    let request = HttpRequest { headers: credentials(upstream), ..HttpRequest::bare(method, &upstream.url) };
    let name = &upstream.name;
    Some(match sender::send_once(upstream, &request) {
        Ending::Answered(answer) if matches!(answer.status, 401 | 403 | 407) => {
            let remedy = advice_about(&answer, upstream);
            Finding::ill(CHECK, text::credentials_rejected(name, answer.status, &remedy))
        }
        Ending::Answered(answer) if answer.status / 100 == 3 => {
            let (url, status) = (&upstream.url, answer.status);
            Finding::ill(
                CHECK,
                match answer.redirect_target() {
                    Some(target) => text::url_redirects_to(name, url, &target, status),
                    None => text::url_redirects(name, url, status),
                },
            )
        }
        Ending::Answered(answer) => Finding::well(CHECK, text::credentials_accepted(name, answer.status, method)),
        Ending::NotSent(fault, why) => {
            Finding::ill(CHECK, format!("{name}: {}. {}", of_attempt(&why), mend(fault, &why, upstream)))
        }
        Ending::LoginError(end) => Finding::ill(CHECK, format!("{name}: {}", end.error)),
        Ending::Broken(_, why) | Ending::InvalidRequest(why) => Finding::ill(CHECK, format!("{name}: {why}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_from_five_minutes_on_in_either_direction() {
        let now = WallTime::from_millis(1_795_500_754_123);
        let found = |theirs: WallTime| {
            let answer = Answer { date: Some(theirs), ..Answer::default() };
            clock("hq", &answer, now).expect("there is a date")
        };
        assert!(found(now).ok && found(now.before(Duration::from_secs(299))).ok);
        let (late, early) = (found(now.after(Duration::from_secs(900))), found(now.before(Duration::from_secs(900))));
        assert!(!late.ok && late.message.contains("15 min behind that of hq"), "{}", late.message);
        assert!(!early.ok && early.message.contains("ahead of"), "{}", early.message);
        assert!(clock("hq", &Answer::default(), now).is_none());
    }
}
