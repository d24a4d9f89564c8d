//! Why there was no answer at all, and what the user can do about it.

use std::{error::Error, io, time::Duration};

use hyper::StatusCode;
use rustls::{AlertDescription, CertificateError};

use super::{
    answer::{Obstacle, Pace, Place, first_line},
    connector::ProxyUnreachable,
    tls::IS_AUTHORITY,
};

/// The whole request took longer than `loki.timeout`.
///
/// `all_sent`: the whole body had been handed to the connection.
pub(super) fn timed_out(after: Duration, all_sent: bool) -> Obstacle {
    let summary = format!("Loki does not answer within {after:?} (loki.timeout)");
    Obstacle { place: Place::Timeout { all_sent }, ..obstacle(summary, String::new(), None, Pace::Soon) }
}

/// The body of an answer with this status broke off.
pub(super) fn broken_off(status: StatusCode, error: &(dyn Error + 'static)) -> Obstacle {
    let advice = "its lines are sent again; look at what stands between Pilcrow and Loki";
    obstacle(format!("an answer {status} broke off"), chain_text(error), Some(advice), Pace::Soon)
}

/// An obstacle in one line.
pub(super) fn sentence(obstacle: &Obstacle) -> String {
    let Obstacle { summary, detail, advice, .. } = obstacle;
    let colon = if detail.is_empty() { "" } else { ": " };
    let advice = advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
    format!("{summary}{colon}{detail}{advice}")
}

/// The connection could not be made or broke before the answer was whole.
pub(super) fn explain(error: &(dyn Error + 'static)) -> Obstacle {
    let detail = chain_text(error);
    if let Some(unreachable) = find::<ProxyUnreachable>(error) {
        let why = unreachable.source().map(chain_text).unwrap_or_default();
        let summary = format!("the proxy {} does not accept connections", unreachable.proxy);
        let fix = "is it running, and is its address in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY right? A Loki that needs no \
                    proxy belongs into NO_PROXY";
        return obstacle(summary, why, Some(fix), Pace::Soon);
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return explain_tls(error);
    }
    let says = |words: &str| detail.contains(words);
    if let Some((_, detail)) = detail.rsplit_once("dns error: ") {
        let advice = "check the host in loki.url; in a pod also its dnsPolicy";
        return obstacle("the name of Loki's host cannot be resolved", detail.to_owned(), Some(advice), Pace::Soon);
    }
    if says("proxy authorization required") {
        let advice = "put user and password into HTTPS_PROXY (http://user:password@proxy:port)";
        return obstacle("the proxy wants credentials", String::new(), Some(advice), Pace::Fix);
    }
    if says("tunnel error: unsuccessful") {
        let advice = "check that the proxy may connect to the host of loki.url, or add the host to NO_PROXY";
        return obstacle("the proxy refuses to connect to Loki", String::new(), Some(advice), Pace::Soon);
    }
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse_too_large) {
        let advice = "look at what stands between Pilcrow and Loki, and whether the address in loki.url is right";
        return obstacle("an answer has more headers than Pilcrow takes", String::new(), Some(advice), Pace::Soon);
    }
    // The second where something else's greeting comes before the request is sent.
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) || says("unexpected message from connection") {
        let advice = "is the port in loki.url right, and is it https:// where Loki wants TLS?";
        return obstacle("what answers at Loki's address does not speak HTTP", detail, Some(advice), Pace::Soon);
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            let advice = "is Loki running, and is the port in loki.url right?";
            obstacle("the connection to Loki is refused", String::new(), Some(advice), Pace::Soon)
        }
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            obstacle("Loki's host cannot be reached", detail, None, Pace::Soon)
        }
        Some(io::ErrorKind::TimedOut) => {
            let advice = "does a firewall or a network policy drop packets, and is the address in loki.url right?";
            obstacle("the connection to Loki timed out", String::new(), Some(advice), Pace::Soon)
        }
        _ => obstacle("the connection to Loki broke", detail, None, Pace::Soon),
    }
}

fn explain_tls(error: &rustls::Error) -> Obstacle {
    let summary = "the TLS connection to Loki fails";
    let detail = error.to_string();
    let advice = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            // The latter where an authority of the same name has another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "name the PEM file of the authority that signed Loki's certificate in loki.tls.ca_file"
            }
            // curl and Go before 1.15 fell back to the common name.
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                "Loki's certificate names no host: create one with a subjectAltName (openssl req -x509 … -addext \
                 subjectAltName=DNS:loki.example)"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "use a name of Loki's certificate in loki.url, or set loki.tls.server_name to one"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew Loki's certificate, or set this machine's clock"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "set this machine's clock (a Pi has none that runs without power)"
            }
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                "Loki's certificate, or its authority's, has a key or signature that Pilcrow cannot check, such as P-521 or \
                 SHA-1: make it with P-256, P-384, Ed25519 or RSA from 2048 bits on, and SHA-256 or more"
            }
            CertificateError::Other(other) if other.to_string().contains(IS_AUTHORITY) => {
                "Loki's certificate is one of an authority (CA:TRUE, as openssl req -x509 makes it): name this very \
                 certificate in loki.tls.ca_file, or make one with -addext basicConstraints=critical,CA:FALSE"
            }
            _ => "Loki's certificate cannot be used",
        },
        rustls::Error::InvalidMessage(_) => "this port seems not to speak TLS: write http:// in loki.url",
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied,
        ) => "Loki wants another client certificate: check loki.tls.cert_file and loki.tls.key_file",
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "Loki's host and Pilcrow have no cipher or signature in common, or it wants a client certificate \
             (loki.tls.cert_file and loki.tls.key_file). A server certificate with a P-521 key cannot be used: make it with \
             P-256, P-384, Ed25519 or RSA"
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "Loki's host speaks neither TLS 1.2 nor 1.3: switch one of them on there"
        }
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "Loki's host does not know that name: check loki.url and loki.tls.server_name"
        }
        _ => return obstacle(summary, detail, None, Pace::Soon),
    };
    obstacle(summary, detail, Some(advice), Pace::Fix)
}

fn obstacle(
    summary: impl Into<std::borrow::Cow<'static, str>>,
    detail: String,
    advice: Option<&str>,
    pace: Pace,
) -> Obstacle {
    Obstacle {
        summary: summary.into(),
        detail,
        advice: advice.map(str::to_owned),
        pace,
        place: Place::Connection,
        retry_after: None,
    }
}

/// The first error of this type in the chain. An `io::Error` hides the error that it wraps from `source`.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref::<T>() {
        // An io::Error that only wraps something says less than what it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        return wrapped.and_then(|inner| find::<T>(inner)).or(Some(found));
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => find::<T>(inner),
        None => error.source().and_then(find::<T>),
    }
}

/// The errors of the chain, the outermost left out where it only says that something failed.
fn chain_text(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !text.ends_with(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = error.source();
    }
    first_line(&text)
}
