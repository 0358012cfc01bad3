//! How connections to an upstream are made: trusted certificates, the client certificate, the proxy. Translates the
//! configuration to the HTTP client's settings, and TLS errors to messages.

use super::secrets::{Secrets, located, unread};
use crate::config::upstream::{Connection, Exception, Tunnel, Upstream};
use crate::moment::WallTime;
use crate::policy::ending::ConnectError;
use crate::policy::ending::Target;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, InconsistentKeys};
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use ureq::Proxy;
use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// The TLS configuration of a connection, or which file could not be used and why.
pub fn config(connection: &Connection) -> Result<TlsConfig, String> {
    let mut builder = TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(default_provider()));
    builder = match &connection.ca_file {
        None => builder.root_certs(RootCerts::PlatformVerifier),
        Some(file) => builder.root_certs(RootCerts::new_with_certs(&with_system_roots(file)?)),
    };
    if let Some((cert, key)) = &connection.client_cert {
        let (chain, private) = pair(cert, key)?;
        builder = builder.client_cert(Some(ClientCert::new_with_certs(&chain, private)));
    }
    Ok(builder.build())
}

/// What is wrong with the contents of an upstream's certificate files, if anything. Files that the current user
/// cannot read are not reported here.
#[must_use]
pub fn fault(upstream: &Upstream) -> Option<String> {
    let connection = &upstream.connection;
    let own = connection.client_cert.iter().flat_map(|(cert, key)| [cert, key]);
    if connection.ca_file.iter().chain(own).any(|file| read(file).is_err()) {
        return None;
    }
    let authority = connection.ca_file.as_ref().map_or(Ok(()), |file| certificates(file).map(drop));
    let own = connection.client_cert.as_ref().map_or(Ok(()), |(cert, key)| pair(cert, key).map(drop));
    authority.and(own).err()
}

/// Logs errors in certificate files at the start and after a reload, before the first request fails on them.
pub fn report(upstreams: &[Upstream]) {
    for upstream in upstreams {
        if let Some(why) = fault(upstream) {
            log::error!("event=certificate_unusable upstream={} error={why:?}", upstream.name);
        }
    }
}

/// Configured authorities are used in addition to the system's.
fn with_system_roots(file: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let mut roots = certificates(file)?;
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        log::debug!("event=system_certificate_unusable error={:?}", error.to_string());
    }
    roots.extend(system.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()));
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = read(file)?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(file, &error))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        Err(format!("{} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", file.display()))
    } else {
        Ok(found)
    }
}

/// The client certificate and its key, which must match: a renewal replaces one file after the other, and the HTTP
/// client panics on a pair that does not match.
fn pair(cert: &Path, key: &Path) -> Result<(Vec<Certificate<'static>>, PrivateKey<'static>), String> {
    let chain = certificates(cert)?;
    let private = PrivateKey::from_pem(&read(key)?).map_err(|error| wrong(key, &error))?;
    let der: Vec<CertificateDer<'static>> = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    let unusable = |what: &Path, why: &dyn std::fmt::Display| format!("{} cannot be used: {why}", what.display());
    let secret = PrivateKeyDer::try_from(private.der().to_vec()).map_err(|why| unusable(key, &why))?;
    match CertifiedKey::from_der(der, secret, &default_provider()) {
        Ok(_) => Ok((chain, private)),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(format!("the key in {} does not belong to the certificate in {}", key.display(), cert.display()))
        }
        Err(rustls::Error::InvalidCertificate(_)) => Err(unusable(cert, &"its first certificate is malformed")),
        Err(why) => Err(unusable(key, &why)),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let file = located(file);
    fs::read(&file).map_err(|error| unread(&file, &error))
}

fn wrong(file: &Path, error: &ureq::Error) -> String {
    format!("{} cannot be used: {error}", file.display())
}

// ---- proxies

/// How a request gets to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Directly.
    Direct,
    /// Through a proxy, with CONNECT.
    Tunnel,
    /// Through a proxy, with an absolute URL.
    Absolute,
}

/// The way to this URL.
#[must_use]
pub fn way(connection: &Connection, url: &str) -> Way {
    let target = Target::of(url);
    let Some(proxy) = &connection.proxy else { return Way::Direct };
    let port = url.parse::<Uri>().ok().and_then(|uri| uri.port_u16()).unwrap_or(if target.https { 443 } else { 80 });
    if connection.no_proxy.iter().any(|except| spares(except, &target.host, port)) {
        return Way::Direct;
    }
    match connection.proxy_tunnel {
        Tunnel::Always => Way::Tunnel,
        Tunnel::Never if target.https => Way::Direct,
        // TLS to the proxy but not to the upstream: the HTTP client supports that in a tunnel only.
        Tunnel::Auto if target.https || proxy.starts_with("https:") => Way::Tunnel,
        Tunnel::Auto | Tunnel::Never => Way::Absolute,
    }
}

/// The proxy for a tunnel, with its credentials.
pub fn tunnel(connection: &Connection, secrets: &Secrets) -> Result<Option<Proxy>, String> {
    let Some(proxy) = &connection.proxy else { return Ok(None) };
    let url = match credentials(connection, secrets)? {
        None => proxy.clone(),
        Some((user, password)) => {
            let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
            format!("{scheme}://{}:{}@{rest}", encoded(&user), encoded(&password))
        }
    };
    Proxy::new(&url).map(Some).map_err(|error| format!("the proxy {proxy} cannot be used: {error}"))
}

/// The header line with the credentials of a proxy that gets absolute URLs; empty without credentials.
pub fn authorization(connection: &Connection, secrets: &Secrets) -> Result<String, String> {
    use base64::Engine;
    let pair = credentials(connection, secrets)?;
    Ok(pair.map_or_else(String::new, |(user, password)| {
        let encoded = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
        format!("Proxy-Authorization: Basic {encoded}\r\n")
    }))
}

fn credentials(connection: &Connection, secrets: &Secrets) -> Result<Option<(String, String)>, String> {
    let Some(file) = &connection.proxy_auth else { return Ok(None) };
    let text = secrets.file(file)?;
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !text.contains(['\n', '\r']) => {
            Ok(Some((user.to_owned(), password.to_owned())))
        }
        _ => Err(format!("{} does not hold user:password on one line", file.display())),
    }
}

/// Percent-encodes text for the user information of a URL.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Returns whether an entry of `no_proxy` matches this host and port: its name, a domain (`.example.com`), an
/// address, or a network (`10.0.0.0/8`).
fn spares(entry: &str, host: &str, port: u16) -> bool {
    let Some(except) = Exception::parse(entry) else { return false };
    if except.port.is_some_and(|only| only != port) {
        return false;
    }
    let entry = except.host.as_str();
    let domain = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.'));
    if let Some(domain) = domain {
        return host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.'));
    }
    match (entry.split_once('/'), host.parse::<IpAddr>()) {
        (Some((network, bits)), Ok(address)) => match (network.parse::<IpAddr>(), bits.parse::<u32>()) {
            (Ok(network), Ok(bits)) => same_network(network, address, bits),
            _ => false,
        },
        (None, Ok(address)) => entry == "*" || entry.parse() == Ok(address),
        _ => entry == "*" || entry == host,
    }
}

fn same_network(network: IpAddr, address: IpAddr, bits: u32) -> bool {
    let differ = match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    differ >= bits
}

// ---- what went wrong

/// Classifies a failed handshake, with a message for operators.
#[must_use]
pub fn told(error: &rustls::Error) -> (ConnectError, String) {
    match error {
        rustls::Error::InvalidCertificate(fault) => certificate(fault),
        rustls::Error::AlertReceived(alert) => alerted(*alert),
        rustls::Error::InvalidMessage(_) => {
            (ConnectError::Tls, "what answers there does not speak TLS: an http port, perhaps".to_owned())
        }
        rustls::Error::PeerIncompatible(_) => {
            (ConnectError::Tls, "the upstream speaks only a TLS that is too old (1.2 or newer is needed)".to_owned())
        }
        other => (ConnectError::Tls, format!("TLS: {}", crate::limits::cut(&other.to_string(), 160))),
    }
}

fn certificate(fault: &CertificateError) -> (ConnectError, String) {
    let because = |why: &str| (ConnectError::Certificate, format!("the upstream's certificate is not accepted: {why}"));
    let out_of_time = |why: String| (ConnectError::CertificateTime, format!("the upstream's certificate {why}"));
    match fault {
        CertificateError::Expired => out_of_time("has expired".to_owned()),
        CertificateError::ExpiredContext { not_after, .. } => out_of_time(format!("expired on {}", date(*not_after))),
        CertificateError::NotValidYet => out_of_time("is not valid yet".to_owned()),
        CertificateError::NotValidYetContext { not_before, .. } => {
            out_of_time(format!("is not valid before {}", date(*not_before)))
        }
        CertificateError::UnknownIssuer => because("it was issued by an authority that is not known here"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            because(&format!("it is for {}, and not for {}", presented.join(", "), expected.to_str()))
        }
        CertificateError::NotValidForName => because("it is for another name"),
        CertificateError::Revoked => because("it was revoked"),
        CertificateError::BadSignature => because("its signature is wrong"),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            because("it, or its issuer's, is signed by a method that is not secure any more, such as SHA-1")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            because("it was not issued for a server")
        }
        CertificateError::BadEncoding => because("it is malformed"),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            because("it is the certificate of an authority and not of a server (self-signed, CA:TRUE)")
        }
        other => because(&crate::limits::cut(&other.to_string(), 160)),
    }
}

fn alerted(alert: AlertDescription) -> (ConnectError, String) {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => {
            (ConnectError::Certificate, "the upstream asks for a client certificate, and none is configured".to_owned())
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => (
            ConnectError::Certificate,
            format!("the upstream does not accept this terminal's client certificate ({alert:?})"),
        ),
        Alert::ProtocolVersion => (
            ConnectError::Tls,
            "the upstream and this terminal have no version of TLS in common (1.2 or newer is needed)".to_owned(),
        ),
        Alert::HandshakeFailure => {
            (ConnectError::Tls, "the upstream and this terminal have no TLS cipher in common".to_owned())
        }
        Alert::UnrecognisedName => (ConnectError::Tls, "the server does not know the upstream's name".to_owned()),
        other => (ConnectError::Tls, format!("the upstream broke TLS off ({other:?})")),
    }
}

/// `2026-11-24 06:12 UTC`
fn date(time: UnixTime) -> String {
    let ms = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000);
    let text = WallTime::from_millis(ms).sql();
    format!("{} UTC", &text[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Language, phrases};

    #[test]
    fn who_is_spared_the_proxy() {
        for (entry, host) in [
            ("localhost", "localhost"),
            (".example.com", "hq.example.com"),
            ("*.example.com", "a.hq.example.com"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3"),
            ("fd00::/8", "fd12::1"),
            ("fd12:0::1", "fd12::1"),
            ("[fd12::1]:8443", "fd12::1"),
            ("hq.example:8443", "hq.example"),
            (".example.com:8443", "hq.example.com"),
            ("10.0.0.0/8:8443", "10.1.2.3"),
            ("0.0.0.0/0", "192.168.1.1"),
            ("*", "anything"),
        ] {
            assert!(spares(entry, host, 8443), "{entry} {host}");
        }
        for (entry, host) in [
            ("localhost", "local"),
            (".example.com", "example.com"),
            (".example.com", "notexample.com"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.0/33", "10.0.0.1"),
            ("10.0.0.0/8", "ten.example"),
            ("hq.example:443", "hq.example"),
        ] {
            assert!(!spares(entry, host, 8443), "{entry} {host}");
        }
    }

    #[test]
    fn the_way_through_a_proxy() {
        let over = |tunnel, proxy: &str, url: &str| {
            let connection = Connection { proxy: Some(proxy.into()), proxy_tunnel: tunnel, ..Connection::default() };
            way(&connection, url)
        };
        assert_eq!(over(Tunnel::Auto, "http://p:3128", "https://hq/x"), Way::Tunnel);
        assert_eq!(over(Tunnel::Auto, "http://p:3128", "http://hq/x"), Way::Absolute);
        assert_eq!(over(Tunnel::Auto, "https://p:3128", "http://hq/x"), Way::Tunnel);
        assert_eq!(over(Tunnel::Always, "http://p:3128", "http://hq/x"), Way::Tunnel);
        assert_eq!(over(Tunnel::Never, "http://p:3128", "http://hq/x"), Way::Absolute);
        assert_eq!(over(Tunnel::Never, "http://p:3128", "https://hq/x"), Way::Direct);
        assert_eq!(way(&Connection::default(), "http://hq/x"), Way::Direct);
    }

    #[test]
    fn a_failed_handshake_is_told_in_plain_words() {
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_500_754));
        let cases: [(rustls::Error, ConnectError, &str); 5] = [
            (
                CertificateError::ExpiredContext { time: at, not_after: at }.into(),
                ConnectError::CertificateTime,
                "expired on 2026-11-24 06:12 UTC",
            ),
            (
                CertificateError::NotValidYetContext { time: at, not_before: at }.into(),
                ConnectError::CertificateTime,
                "not valid before 2026-11-24",
            ),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: vec![0; 300],
                    supported_algorithms: Vec::new(),
                }
                .into(),
                ConnectError::Certificate,
                "SHA-1",
            ),
            (
                rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                ConnectError::Tls,
                "does not speak TLS",
            ),
            (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), ConnectError::Tls, "1.2 or newer"),
        ];
        for (error, fault, part) in cases {
            let (found, words) = told(&error);
            assert!(found == fault && words.contains(part) && words.len() < 200, "{found:?} {words}");
            let spanish = Language::Spanish.during(|| phrases::of_attempt(&words).into_owned());
            assert!(!spanish.contains(" the ") && spanish != words, "not in the catalogue: {words}");
        }
    }
}
