//! How a connection to an upstream is made: which certificates it trusts, which one it shows,
//! through which proxy. From the configuration to the HTTP client's own settings.

use super::secrets::{located, unread};
use crate::config::upstream::Connection;
use crate::policy::class::Target;
use rustls::crypto::ring::default_provider;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use ureq::Proxy;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// The certificates of a connection, or which file could not be used and why.
pub fn config(connection: &Connection) -> Result<TlsConfig, String> {
    let mut builder = TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(default_provider()));
    builder = match &connection.ca_file {
        None => builder.root_certs(RootCerts::PlatformVerifier),
        Some(file) => builder.root_certs(RootCerts::new_with_certs(&with_system_roots(file)?)),
    };
    if let Some((cert, key)) = &connection.client_cert {
        builder = builder.client_cert(Some(ClientCert::new_with_certs(&certificates(cert)?, private_key(key)?)));
    }
    Ok(builder.build())
}

/// Stores have their own authorities, beside the system's and not instead of them.
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
    if found.is_empty() { Err(format!("{} holds no certificate", file.display())) } else { Ok(found) }
}

fn private_key(file: &Path) -> Result<PrivateKey<'static>, String> {
    PrivateKey::from_pem(&read(file)?).map_err(|error| wrong(file, &error))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let file = located(file);
    fs::read(&file).map_err(|error| unread(&file, &error))
}

fn wrong(file: &Path, error: &ureq::Error) -> String {
    format!("{} cannot be used: {error}", file.display())
}

/// The proxy for this URL, if it goes through one.
pub fn proxy(connection: &Connection, url: &str) -> Result<Option<Proxy>, String> {
    let host = Target::of(url).host;
    match &connection.proxy {
        Some(proxy) if !connection.no_proxy.iter().any(|except| spares(except, &host)) => {
            Proxy::new(proxy).map(Some).map_err(|error| format!("the proxy {proxy} cannot be used: {error}"))
        }
        _ => Ok(None),
    }
}

/// Does an entry of `no_proxy` mean this host: its name, a domain (`.example.com`), an address, or a
/// network (`10.0.0.0/8`)?
fn spares(entry: &str, host: &str) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    let domain = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.'));
    if let Some(domain) = domain {
        return host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.'));
    }
    match (entry.split_once('/'), host.parse::<IpAddr>()) {
        (Some((network, bits)), Ok(address)) => match (network.parse::<IpAddr>(), bits.parse::<u32>()) {
            (Ok(network), Ok(bits)) => same_network(network, address, bits),
            _ => false,
        },
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

#[cfg(test)]
mod tests {
    use super::spares;

    #[test]
    fn who_is_spared_the_proxy() {
        for (entry, host) in [
            ("localhost", "localhost"),
            (".example.com", "hq.example.com"),
            ("*.example.com", "a.hq.example.com"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3"),
            ("fd00::/8", "fd12::1"),
            ("0.0.0.0/0", "192.168.1.1"),
            ("*", "anything"),
        ] {
            assert!(spares(entry, host), "{entry} {host}");
        }
        for (entry, host) in [
            ("localhost", "local"),
            (".example.com", "example.com"),
            (".example.com", "notexample.com"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.0/33", "10.0.0.1"),
            ("10.0.0.0/8", "ten.example"),
        ] {
            assert!(!spares(entry, host), "{entry} {host}");
        }
    }
}
